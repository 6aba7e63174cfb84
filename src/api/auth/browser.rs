//! What protects people whose browser holds a session from the other pages in it.
//!
//! A page elsewhere can make a browser send requests here, with our cookie if the browser lets it. Browsers say
//! where a request comes from (`Sec-Fetch-Site`, `Origin`), and no page can change that; a request that changes
//! something counts only from our own pages. A page can also have its own name point to our address (DNS
//! rebinding); then the name in `Host` is not one of ours.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;

use crate::api::page;
use crate::api::v1;

/// The session's cookie. Browsers take a name that begins so only over TLS, for the whole host, from itself.
pub(crate) const COOKIE: &str = "__Host-muster";

/// On every answer of the admin side. No HSTS: it would hold for the whole host name, and so for the plain
/// listeners on its other ports, which nodes and people need.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Why a browser's request does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Foreign {
    /// It was sent to a name that is not ours.
    Host,
    /// A page elsewhere made it.
    Page,
    /// It has a cookie, and says not where it comes from.
    Unsaid,
}

impl Foreign {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Foreign::Host => {
                "this head is not known by the name in Host; see http.names in its configuration"
            }
            Foreign::Page => "a page elsewhere made this request; only the head's own pages may",
            Foreign::Unsaid => {
                "a request with a cookie must say where it comes from (Sec-Fetch-Site or Origin)"
            }
        }
    }
}

/// The value of the session's cookie. Two are none: some page put one of its own before ours.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    named_cookie(headers, COOKIE)
}

/// The same for another name.
pub(crate) fn named_cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| value);
    let (value, None) = (values.next()?, values.next()) else { return None };
    Some(value)
}

/// Refuses what other pages can make a browser send. What carries a token of its own is no browser's doing.
pub(crate) fn check(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    hosts: &BTreeSet<String>,
) -> Result<(), Foreign> {
    let cookie = cookie(headers).is_some();
    let writes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !(cookie || writes && is_admin_side(path)) {
        return Ok(()); // nodes and clients, who call us by whatever name they know
    }
    if !headers.get_all(header::HOST).iter().all(|host| is_ours(host, hosts)) {
        return Err(Foreign::Host);
    }
    if !writes || headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text(HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some("same-origin"), _) => Ok(()),
        (Some(_), _) => Err(Foreign::Page),
        (None, Some(origin)) if is_own_origin(origin, headers) => Ok(()),
        (None, Some(_)) => Err(Foreign::Page),
        // No browser, or a very old one.
        (None, None) if cookie => Err(Foreign::Unsaid),
        (None, None) => Ok(()),
    }
}

/// Marks an answer of the admin side, and every page.
pub(crate) fn protect(path: &str, mut answer: Response) -> Response {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if is_admin_side(path) || kind.is_some_and(|kind| kind.starts_with("text/html")) {
        HEADERS.into_iter().for_each(|(name, value)| drop(answer.headers_mut().insert(name, value)));
    }
    answer
}

/// True for our own API and the pages on top of it.
pub(crate) fn is_admin_side(path: &str) -> bool {
    [v1::PREFIX, page::PREFIX]
        .iter()
        .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// An address cannot be rebound: a page under it is one of ours.
fn is_ours(host: &HeaderValue, hosts: &BTreeSet<String>) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.split_once(']').map_or("", |(address, _)| address);
            return address.parse::<Ipv6Addr>().is_ok();
        }
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || hosts.contains(&name)
}

/// True if a page of the host that this request was sent to made it.
fn is_own_origin(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let from = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    host.is_some() && from == host
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

    use crate::api::auth::browser::{Foreign, check, cookie};

    const NODES: &str = "/api/v1/nodes";
    const COOKIE: (&str, &str) = ("cookie", "a=b; __Host-muster=x");

    fn judge(method: Method, path: &str, fields: &[(&'static str, &str)]) -> Result<(), Foreign> {
        let hosts = BTreeSet::from(["head.example".to_owned()]);
        check(&method, path, &headers(fields), &hosts)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_write_with_a_cookie_counts_only_from_our_own_pages() {
        let host = ("host", "head.example:8443");
        for (more, wanted) in [
            (("sec-fetch-site", "same-origin"), Ok(())),
            (("sec-fetch-site", "cross-site"), Err(Foreign::Page)),
            (("sec-fetch-site", "same-site"), Err(Foreign::Page)),
            (("sec-fetch-site", "none"), Err(Foreign::Page)),
            (("origin", "https://head.example:8443"), Ok(())),
            (("origin", "https://head.example"), Err(Foreign::Page)),
            (("origin", "https://evil.test"), Err(Foreign::Page)),
            (("origin", "null"), Err(Foreign::Page)),
            (("x-other", "x"), Err(Foreign::Unsaid)),
        ] {
            assert_eq!(judge(Method::POST, NODES, &[COOKIE, host, more]), wanted, "{more:?}");
            assert_eq!(judge(Method::GET, NODES, &[COOKIE, host, more]), Ok(()), "{more:?}");
            // A token of its own is something that no page elsewhere has.
            let token = ("authorization", "Bearer x");
            assert_eq!(judge(Method::POST, NODES, &[host, token, more]), Ok(()), "{more:?}");
        }
        let both = [("sec-fetch-site", "cross-site"), ("origin", "https://head.example:8443")];
        assert_eq!(judge(Method::POST, NODES, &[COOKIE, host, both[0], both[1]]), Err(Foreign::Page));
        assert_eq!(judge(Method::POST, "/api/v1/login", &[host]), Ok(()), "curl");
        assert_eq!(judge(Method::POST, "/api/v1/login", &[host, both[0]]), Err(Foreign::Page));
    }

    #[test]
    fn a_name_that_is_not_ours_is_refused_where_it_could_harm() {
        let evil = ("host", "evil.test:8443");
        assert_eq!(judge(Method::GET, NODES, &[COOKIE, evil]), Err(Foreign::Host));
        assert_eq!(judge(Method::POST, NODES, &[evil]), Err(Foreign::Host));
        assert_eq!(judge(Method::GET, "/boot/script", &[COOKIE, evil]), Err(Foreign::Host));
        assert_eq!(judge(Method::GET, NODES, &[evil]), Ok(()), "without a cookie nobody is anybody");
        assert_eq!(judge(Method::GET, "/boot/script", &[evil]), Ok(()));
        assert_eq!(judge(Method::POST, "/hsm/v2/groups", &[evil]), Ok(()));
        assert_eq!(judge(Method::POST, "/cloud-init/phone-home/x", &[evil]), Ok(()));
        for ours in ["head.example", "HEAD.example.:80", "192.0.2.1:8443", "[2001:db8::1]:8443", "[::1]"] {
            assert_eq!(judge(Method::GET, NODES, &[COOKIE, ("host", ours)]), Ok(()), "{ours}");
        }
        for other in ["", "head.example.evil.test", "[head.example]", "192.0.2.1.evil.test"] {
            assert_eq!(judge(Method::GET, NODES, &[COOKIE, ("host", other)]), Err(Foreign::Host), "{other}");
        }
    }

    #[test]
    fn one_cookie_counts_and_two_do_not() {
        assert_eq!(cookie(&headers(&[COOKIE])), Some("x"));
        assert_eq!(cookie(&headers(&[("cookie", "__Host-muster=x; __Host-muster=y")])), None);
        assert_eq!(cookie(&headers(&[COOKIE, COOKIE])), None);
        assert_eq!(cookie(&headers(&[("cookie", "muster=x; x__Host-muster=y")])), None);
    }
}
