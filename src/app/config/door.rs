//! The keys of `[auth]`, `[http]` and `[https]`: who may call, and over what.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::app::config::{Auth, Https, Namespace, Text, Tokens, listen};
use crate::app::config_file::{At, Problems, Section};
use crate::base::Cidr;
use crate::model::Role;
use crate::transport::acme::Acme;

/// `[http]`: listeners, and the proxies in front of them.
pub(crate) fn http(
    root: &mut Section<'_, '_>,
    taken: &mut Vec<SocketAddr>,
    problems: &mut Problems<'_>,
) -> (Vec<SocketAddr>, Vec<Cidr>, BTreeSet<String>) {
    let mut section = root.section("http", problems);
    let addresses = listen(&mut section, &["0.0.0.0:8081", "0.0.0.0:8080"], taken, problems);
    let proxies = section.list::<Cidr>("trusted_proxies", problems).unwrap_or_default();
    let names = section.list::<CertifiedName>("names", problems).unwrap_or_default();
    section.finish(problems);
    let names = names.into_iter().map(|at| at.value.0).collect();
    (addresses, proxies.into_iter().map(|at| at.value).collect(), names)
}

/// `[https]`: listeners and certificate.
pub(crate) fn https(
    root: &mut Section<'_, '_>,
    taken: &mut Vec<SocketAddr>,
    problems: &mut Problems<'_>,
) -> (Vec<SocketAddr>, Https) {
    let mut section = root.section("https", problems);
    let addresses = listen(&mut section, &["0.0.0.0:8443"], taken, problems);
    let file = |at: At<Text>| (PathBuf::from(at.value.0), at.line);
    let certificate = section.parsed::<Text>("certificate", problems).map(file);
    let key = section.parsed::<Text>("key", problems).map(file);
    let files = match (certificate, key) {
        (Some((certificate, _)), Some((key, _))) => Some((certificate, key)),
        (None, None) => None,
        (Some((_, line)), None) => {
            problems.add(line, "https.key", "is missing; a certificate needs its key");
            None
        }
        (None, Some((_, line))) => {
            problems.add(line, "https.certificate", "is missing; a key needs its certificate");
            None
        }
    };
    let names = section.list::<CertifiedName>("names", problems).unwrap_or_default();
    let acme = acme(&mut section, problems);
    if acme.is_some() && files.is_some() {
        problems.add(section.line, "https.acme", "certificate and key are given; leave one of the two out");
    }
    section.finish(problems);
    let names = names.into_iter().map(|at| at.value.0).collect::<BTreeSet<_>>();
    (addresses, Https { files, acme, names })
}

/// `[https.acme]`: who gives the certificate instead.
fn acme(https: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Option<Acme> {
    let mut section = https.section("acme", problems);
    let directory = section.parsed::<Directory>("directory", problems).map(|at| at.value.0);
    let names = section.list::<CertifiedName>("names", problems).unwrap_or_default();
    let contact = section.list::<Contact>("contact", problems).unwrap_or_default();
    let ca = section.parsed::<Text>("ca", problems).map(|at| PathBuf::from(at.value.0));
    let line = section.line;
    section.finish(problems);
    if line == 0 {
        return None;
    }
    for at in names.iter().filter(|at| at.value.0.parse::<IpAddr>().is_ok()) {
        problems.add(at.line, "https.acme.names", "an address; outside authorities certify DNS names");
    }
    if names.is_empty() {
        problems.add(
            line,
            "https.acme.names",
            "is needed: the DNS names of the head that the authority can reach",
        );
    }
    let Some(directory) = directory else {
        // One that cannot be read was reported.
        if !problems.list.iter().any(|problem| problem.key == "https.acme.directory") {
            problems.add(
                line,
                "https.acme.directory",
                "is needed: the URL of the authority's ACME directory",
            );
        }
        return None;
    };
    let contact = contact.into_iter().map(|at| at.value.0).collect();
    Some(Acme { directory, contact, names: names.into_iter().map(|at| at.value.0).collect(), ca })
}

/// The URL of an authority's directory: over TLS, as RFC 8555 section 6.1 wants it.
struct Directory(String);

impl FromStr for Directory {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.contains(' '));
        if good { Ok(Directory(text.to_owned())) } else { Err("must begin with https://") }
    }
}

/// An address at which the authority warns.
struct Contact(String);

impl FromStr for Contact {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.strip_prefix("mailto:").is_some_and(|rest| rest.contains('@'));
        if good { Ok(Contact(text.to_owned())) } else { Err("expected mailto: and an address") }
    }
}

/// `[auth]`.
pub(crate) fn auth(
    root: &mut Section<'_, '_>,
    loopback_only: bool,
    problems: &mut Problems<'_>,
) -> (Auth, Tokens, bool) {
    let mut section = root.section("auth", problems);
    let mode = section.text("mode", problems);
    let namespace = section.parsed::<Namespace>("test_namespace", problems).map(|at| at.value.0);
    let open = section.parsed::<OpenToken>("open_token", problems).and_then(|at| at.value.0);
    let jwks = section.parsed::<Text>("jwks", problems).map(|at| PathBuf::from(at.value.0));
    let jwks_role = section.parsed::<Role>("jwks_role", problems).map_or(Role::Viewer, |at| at.value);
    let claim = match section.text("claim", problems) {
        None => false,
        Some(At { value, .. }) if value == "off" => false,
        Some(At { value, .. }) if value == "required" => true,
        Some(At { value, line }) => {
            problems.add(line, "auth.claim", format!("{value:?} is none of required, off"));
            false
        }
    };
    section.finish(problems);
    let tokens = Tokens { open, jwks, jwks_role };
    let auth = match mode {
        None => Auth::Required,
        Some(At { value, .. }) if value == "required" => Auth::Required,
        Some(At { value, line }) if value == "off" => {
            if !loopback_only && namespace.is_none() {
                let text = "off is refused: a listener is reachable from outside. Bind http and https to loopback, \
                            or name the test's network namespace in auth.test_namespace";
                problems.add(line, "auth.mode", text);
            }
            Auth::Off { namespace }
        }
        Some(At { value, line }) => {
            problems.add(line, "auth.mode", format!("{value:?} is none of required, off"));
            Auth::Required
        }
    };
    (auth, tokens, claim)
}

/// `none`, or the role of the token that everybody gets.
struct OpenToken(Option<Role>);

impl FromStr for OpenToken {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(OpenToken(None));
        }
        let role = text.parse().map_err(|_| "is none of none, viewer, operator, admin")?;
        Ok(OpenToken(Some(role)))
    }
}

/// A DNS name or an address, as it can stand in a certificate.
struct CertifiedName(String);

impl FromStr for CertifiedName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.parse::<IpAddr>().is_ok() || is_dns_name(text);
        if good {
            Ok(CertifiedName(text.to_ascii_lowercase()))
        } else {
            Err("is neither a DNS name nor an address")
        }
    }
}

/// True for a name that clients would compare with a host of a URL (RFC 1123 section 2.1, and underscores,
/// which occur).
pub(crate) fn is_dns_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(plain);
    (1..=253).contains(&text.len()) && text.split('.').all(label)
}
