//! Whom a proxy speaks for. A forwarding header is a claim; it counts only from proxies that the configuration
//! names.
//!
//! The replaced services take the first address of `X-Forwarded-For`. Proxies append to that header, so its
//! first address is whatever a client wrote there. Here the list is read from its end, where the nearest proxy
//! wrote, up to the first address that is no proxy of ours: that one a proxy of ours has seen.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::base::Cidr;
use crate::base::limits::FORWARD_HOPS_MAX;

/// The header that proxies write.
const HEADER: &str = "x-forwarded-for";

/// The client for whom a peer speaks; None if it speaks for itself, or what it says cannot be read.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[Cidr]) -> Option<IpAddr> {
    let is_proxy = |address: IpAddr| proxies.iter().any(|net| net.contains(address));
    if !is_proxy(peer) {
        return None;
    }
    let lines: Vec<&str> = headers.get_all(HEADER).iter().map(|line| line.to_str().unwrap_or("")).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut last = None;
    for hop in hops.take(FORWARD_HOPS_MAX) {
        // Behind something that is no address nothing can be believed.
        let Some(address) = parse(hop.trim()) else { break };
        last = Some(address);
        if !is_proxy(address) {
            break;
        }
    }
    last
}

/// An address, as proxies write it: bare, with a port, in brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    use crate::api::auth::forwarded::client;

    fn check(peer: &str, lines: &[&str], wanted: Option<&str>) {
        let proxies = ["192.0.2.1", "10.0.0.0/8", "2001:db8::1"].map(|net| net.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("X-Forwarded-For", HeaderValue::from_str(line).unwrap());
        }
        let found = client(peer.parse().unwrap(), &headers, &proxies);
        assert_eq!(found, wanted.map(|text| text.parse().unwrap()), "{peer} {lines:?}");
    }

    #[test]
    fn a_proxy_speaks_for_the_client_that_it_saw() {
        check("192.0.2.1", &["203.0.113.7"], Some("203.0.113.7"));
        check("192.0.2.1", &["203.0.113.7, 10.1.1.1"], Some("203.0.113.7"));
        check("2001:db8::1", &["[2001:db8:9::9]:4711"], Some("2001:db8:9::9"));
        check("::ffff:192.0.2.1", &["203.0.113.7:4711"], Some("203.0.113.7"));
        check("192.0.2.1", &["10.0.0.5"], Some("10.0.0.5"));
    }

    #[test]
    fn what_a_client_wrote_in_front_does_not_count() {
        check("192.0.2.1", &["198.51.100.1, 203.0.113.7"], Some("203.0.113.7"));
        check("192.0.2.1", &["198.51.100.1", "203.0.113.7"], Some("203.0.113.7"));
        check("192.0.2.1", &["198.51.100.1, nonsense, 10.1.1.1"], Some("10.1.1.1"));
        check("192.0.2.1", &["198.51.100.1, nonsense"], None);
    }

    #[test]
    fn anybody_else_speaks_for_himself() {
        check("203.0.113.9", &["198.51.100.1"], None);
        check("192.0.2.2", &["198.51.100.1"], None);
        check("192.0.2.1", &[], None);
        check("192.0.2.1", &[""], None);
    }
}
