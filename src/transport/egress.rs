//! The one way in which the daemon calls URLs that somebody gave it. A name is resolved once for each connection,
//! what it means is judged, and the connection goes to just that address: a name that means something else a
//! moment later gains nothing. Redirects are not followed, proxies of the environment are not asked.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

use crate::base::Cidr;
use crate::engine::egress::{Refused, permit};

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 16;

/// How a name becomes addresses.
pub type Lookup =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// Where the daemon may connect to. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    allow: Arc<[Cidr]>,
    lookup: Lookup,
}

/// Says why a URL is not called.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("the scheme must be http or https")]
    Scheme,
    #[error("no host")]
    NoHost,
    #[error("{address} {why}; see egress.allow in the configuration")]
    Refused { address: IpAddr, why: Refused },
}

impl Egress {
    /// `allow`: networks that may be called though they are the head's own.
    #[must_use]
    pub fn new(allow: Vec<Cidr>) -> Egress {
        let lookup: Lookup = Arc::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        });
        Egress { allow: allow.into(), lookup }
    }

    /// The same with names looked up otherwise, for tests.
    #[must_use]
    pub fn with_lookup(self, lookup: Lookup) -> Egress {
        Egress { lookup, ..self }
    }

    /// Judges a URL before it is called. A host that is an address is judged here, because clients look up names
    /// only; a name is judged when it is looked up.
    ///
    /// # Errors
    /// Why it is not called.
    pub fn check(&self, url: &Url) -> Result<(), EgressError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EgressError::Scheme);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EgressError::NoHost)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) => self.permit(address),
            Err(_) => Ok(()),
        }
    }

    /// An HTTP client that connects to nothing else. Reads the system's certificates; without them it reaches
    /// `http` only, which is logged.
    ///
    /// # Errors
    /// The library cannot be set up.
    pub fn client(&self, patience: Duration) -> Result<Client, reqwest::Error> {
        self.builder(patience).build().or_else(|error| {
            tracing::warn!(%error, "no certificates: https targets cannot be reached");
            self.builder(patience).tls_certs_only([]).build()
        })
    }

    /// The same, which believes these root certificates (PEM) and no others.
    ///
    /// # Errors
    /// They are no certificates, or the library cannot be set up.
    pub fn client_trusting(&self, patience: Duration, roots: &[u8]) -> Result<Client, reqwest::Error> {
        let roots = reqwest::Certificate::from_pem_bundle(roots)?;
        self.builder(patience).tls_certs_only(roots).build()
    }

    fn builder(&self, patience: Duration) -> reqwest::ClientBuilder {
        // An error means that somebody installed one before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .timeout(patience)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Judge(self.clone())))
    }

    fn permit(&self, address: IpAddr) -> Result<(), EgressError> {
        let own = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|link| {
            let address = link.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        let own: Vec<IpAddr> = own.collect();
        permit(address, &own, &self.allow).map_err(|why| EgressError::Refused { address, why })
    }
}

/// Looks names up, and gives the client only addresses that it may connect to.
struct Judge(Egress);

impl Resolve for Judge {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.0.clone();
        Box::pin(async move {
            let mut refused = None;
            let mut good = Vec::new();
            for address in (egress.lookup)(name.as_str().to_owned()).await?.into_iter().take(ADDRESSES_MAX) {
                match egress.permit(address) {
                    Ok(()) => good.push(SocketAddr::new(address, 0)),
                    Err(error) => refused = Some(error),
                }
            }
            match refused {
                Some(error) if good.is_empty() => Err(error.into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use reqwest::Url;

    use crate::transport::egress::{Egress, Lookup};

    /// Gives one address after the other, whatever the name.
    fn flips(addresses: &'static [&'static str]) -> (Lookup, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&count);
        let lookup: Lookup = Arc::new(move |_| {
            let index = asked.fetch_add(1, Ordering::Relaxed).min(addresses.len() - 1);
            let address: IpAddr = addresses[index].parse().unwrap();
            Box::pin(async move { Ok(vec![address]) })
        });
        (lookup, count)
    }

    /// T48: a listener on the loopback hears nothing, whatever leads to it.
    #[tokio::test]
    async fn nothing_leads_to_the_loopback_and_a_name_is_looked_up_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let call = async |egress: &Egress, host: &str| {
            let url: Url = format!("http://{host}:{port}/").parse().unwrap();
            egress.check(&url).map_err(|error| error.to_string())?;
            let client = egress.client(Duration::from_millis(300)).unwrap();
            client.get(url).send().await.map(drop).map_err(|error| format!("{error:?}").to_lowercase())
        };
        let egress = Egress::new(Vec::new());
        for host in
            ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0", "127.1", "2130706433"]
        {
            let error = call(&egress, host).await.unwrap_err();
            assert!(error.contains("see egress.allow"), "{host}: {error}");
        }
        assert!(call(&egress, "localhost").await.unwrap_err().contains("loopback"));
        // A name that means another host when it is judged, and the loopback when it is asked again.
        let (lookup, count) = flips(&["192.0.2.1", "127.0.0.1"]);
        let flipping = Egress::new(Vec::new()).with_lookup(lookup);
        assert!(call(&flipping, "rebinds.test").await.is_err());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(call(&flipping, "rebinds.test").await.unwrap_err().contains("loopback"));
        assert!(listener.accept().is_err(), "somebody connected");
        // What the configuration allows is reached.
        let (lookup, _) = flips(&["127.0.0.1"]);
        let allowed = Egress::new(vec!["127.0.0.0/8".parse().unwrap()]).with_lookup(lookup);
        let _ = call(&allowed, "service.test").await;
        assert!(listener.accept().is_ok());
    }

    /// T48: a redirect is an answer like any other.
    #[tokio::test]
    async fn redirects_are_not_followed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = async {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let answer =
                format!("HTTP/1.1 307 x\r\nLocation: http://127.0.0.2:{port}/\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let egress = Egress::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let client = egress.client(Duration::from_secs(5)).unwrap();
        let asked = client.get(format!("http://127.0.0.1:{port}/")).send();
        let (answer, ()) = tokio::join!(asked, served);
        assert_eq!(answer.unwrap().status().as_u16(), 307);
    }
}
