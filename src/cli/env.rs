//! `muster env` and `muster ca`: what other tools need to know to reach this head.

use std::net::ToSocketAddrs as _;

use clap::{Args, ValueEnum};

use crate::app::config::Config;
use crate::cli::client::Client;
use crate::cli::token::{Issue, Span};
use crate::cli::{Global, serve, table};
use crate::engine::token::Algorithm;
use crate::model::{Network, Role};
use crate::transport::vault::certificate_path;

/// Print shell lines that point ochami and scripts to this head, with a token
#[derive(Debug, Args)]
#[command(after_help = "\
Sets CLUSTER_ACCESS_TOKEN, which ochami reads (DEMO_ACCESS_TOKEN for the cluster demo),
ACCESS_TOKEN, SMD_URL, BSS_URL, CLOUD_INIT_URL, CLOUD_INIT_SECURE_URL, and CACERT, the file
of the head's certificate authority.

Examples:
  eval \"$(muster env)\"
  eval \"$(muster env --role viewer --ttl 1h)\"
  ochami --cacert \"$CACERT\" --cluster-uri \"${SMD_URL%/hsm/v2}\" smd component get")]
pub(crate) struct Env {
    /// What the token allows: viewer, operator, admin
    #[arg(long, default_value = "operator")]
    role: Role,
    /// How long the token lives
    #[arg(long, default_value = "8h")]
    ttl: Span,
    /// How it is signed: EdDSA, RS256
    #[arg(long, value_name = "ALG", default_value = "EdDSA")]
    alg: Algorithm,
}

/// Print what clients of the head must trust: the root certificates of its authority
#[derive(Debug, Args)]
#[command(after_help = "\
While an authority is replaced, both roots are printed. The fingerprints (SHA-256) are those that the
head's journal shows at its start: compare them before a client is told to trust what it fetched over
plain HTTP from /ca.pem.

Examples:
  muster ca > /usr/local/share/ca-certificates/muster.crt && update-ca-certificates
  muster ca --all > roots.pem                      also the one for iPXE, with an RSA key
  muster ca fingerprint")]
pub(crate) struct Ca {
    /// What to print: show, fingerprint
    #[arg(default_value = "show")]
    what: What,
    /// The authority for clients that know RSA only, too
    #[arg(long)]
    all: bool,
}

/// What of an authority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum What {
    /// The root certificates, PEM
    Show,
    /// Their SHA-256, one a line
    Fingerprint,
}

impl Ca {
    pub(crate) fn run(self, client: &Client) -> anyhow::Result<()> {
        let path = match (self.what, self.all) {
            (What::Fingerprint, _) => "/ca.sha256",
            (What::Show, true) => "/ca.pem",
            (What::Show, false) => "/ca.crt",
        };
        table::print(&client.fetch(path)?)
    }
}

impl Env {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let Env { role, ttl, alg } = self;
        let config = serve::load(global)?;
        let made = Issue { role, subject: None, ttl, alg, name: "muster env".to_owned(), areas: Vec::new() }
            .ask(client)?;
        let token = made.token.unwrap_or_default();
        let base = global.url.clone().unwrap_or_else(|| base(&config));
        let base = base.trim_end_matches('/');
        let own = variable(&config.site.name).map(|name| (format!("{name}_ACCESS_TOKEN"), token.clone()));
        let mut lines: Vec<(String, String)> = own.into_iter().collect();
        lines.push(("ACCESS_TOKEN".to_owned(), token));
        let services = [("SMD", "/hsm/v2"), ("BSS", "/boot/v1"), ("CLOUD_INIT", "/cloud-init")];
        lines.extend(services.map(|(name, path)| (format!("{name}_URL"), format!("{base}{path}"))));
        lines.push(("CLOUD_INIT_SECURE_URL".to_owned(), format!("{base}/cloud-init-secure")));
        let authority = global.cacert.clone().unwrap_or_else(|| certificate_path(&global.data_dir));
        // The shell that reads this may go elsewhere.
        let authority = std::path::absolute(&authority).unwrap_or(authority);
        lines.push(("CACERT".to_owned(), authority.display().to_string()));
        let text: Vec<String> =
            lines.iter().map(|(name, value)| format!("export {name}={}\n", quote(value))).collect();
        table::print(&text.concat())
    }
}

/// The head's URL by a name or address that works here.
fn base(config: &Config) -> String {
    let (scheme, address) = match (config.https.first(), config.http.first()) {
        (Some(address), _) => ("https", Some(address)),
        (None, address) => ("http", address),
    };
    let port = address.map_or(8443, std::net::SocketAddr::port);
    let site = &config.site;
    let named = (site.domain.as_str(), port).to_socket_addrs().is_ok();
    let bound = address.map(std::net::SocketAddr::ip).filter(|address| !address.is_unspecified());
    let head = || site.head.or_else(|| site.networks.iter().find_map(Network::head));
    let host = match bound {
        _ if named => site.domain.clone(),
        Some(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        Some(address) => address.to_string(),
        None => head().map_or_else(|| "127.0.0.1".to_owned(), |head| head.to_string()),
    };
    format!("{scheme}://{host}:{port}")
}

/// The cluster's name as ochami makes a variable of it; None if a shell would not take that.
fn variable(cluster: &str) -> Option<String> {
    let name: String =
        cluster.chars().map(|c| if matches!(c, '-' | ' ') { '_' } else { c.to_ascii_uppercase() }).collect();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (plain && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

/// Quotes a value for a shell.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use crate::app::config::Config;
    use crate::cli::env::{base, quote, variable};

    #[test]
    fn variables_are_named_as_ochami_names_them() {
        assert_eq!(variable("demo").unwrap(), "DEMO");
        assert_eq!((variable("1st"), variable("a.b"), variable("a;b")), (None, None, None));
        assert_eq!(variable("my-big cluster2").unwrap(), "MY_BIG_CLUSTER2");
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        assert_eq!(quote("it's $(true)"), r"'it'\''s $(true)'");
    }

    #[test]
    fn the_url_is_one_that_reaches_the_head() {
        let url = |text: &str| {
            base(&Config::parse(&format!("[cluster]\ndomain = \"head.invalid\"\n{text}")).unwrap())
        };
        assert_eq!(url("address = \"192.0.2.254\""), "https://192.0.2.254:8443");
        assert_eq!(url("[https]\nlisten = [\"127.0.0.1:9443\"]"), "https://127.0.0.1:9443");
        assert_eq!(url("[https]\nlisten = []\n[http]\nlisten = [\"[::1]:80\"]"), "http://[::1]:80");
    }
}
