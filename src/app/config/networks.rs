//! The cluster and its networks: reading them, and checking that they make sense together.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::app::config::Span;
use crate::app::config::images::LinkRate;
use crate::app::config_file::{At, Problems, Section};
use crate::base::{Ipv4Net, Ipv4Range, Millis, NetworkName};
use crate::model::{DhcpMode, LoaderTls, Network, Site, UnknownPolicy};

/// Leases shorter than this keep clients and disk busy for nothing.
const LEASE_MIN_S: u64 = 30;

/// Longer ones outlive every plan.
const LEASE_MAX_S: u64 = 366 * 86_400;

/// Lease of an operating system where none is configured.
const LEASE_S: u64 = 3600;

/// Lease of firmware, loaders and unknown machines where none is configured; never above the other.
const SHORT_LEASE_S: u64 = 300;

/// Linux's IFNAMSIZ without the closing zero.
const LINK_NAME_MAX: usize = 15;

/// Reads `[cluster]`, `[boot]` and every `[[network]]`.
pub(crate) fn site(
    root: &mut Section<'_, '_>,
    http: &[SocketAddr],
    https: &[SocketAddr],
    problems: &mut Problems<'_>,
) -> Site {
    let mut cluster = root.section("cluster", problems);
    let name = cluster.parsed::<Label>("name", problems);
    let short_name = cluster.parsed::<Label>("short_name", problems);
    let domain = cluster.parsed::<Domain>("domain", problems);
    let head = cluster.parsed::<Ipv4Addr>("address", problems);
    cluster.finish(problems);
    let mut boot = root.section("boot", problems);
    let kernel_params = boot.text("kernel_params", problems);
    let loader_tls = loader_tls(&mut boot, https, problems);
    boot.finish(problems);
    if let Some(At { value, line }) = &kernel_params
        && let Err(error) = crate::wire::ipxe::check(value)
    {
        problems.add(*line, "boot.kernel_params", error.to_string());
    }
    let mut networks: Vec<(Network, usize)> = Vec::new();
    for mut section in root.sections("network", problems) {
        let line = section.line;
        let read = network(&mut section, problems);
        section.finish(problems);
        networks.extend(read.map(|network| (network, line)));
    }
    check_together(&networks, problems);
    let default = Site::default();
    Site {
        takes_logs: false,
        name: name.map_or_else(host_name, |at| at.value.0),
        short_name: short_name.map_or(default.short_name, |at| at.value.0),
        domain: domain.map_or(default.domain, |at| at.value.0),
        networks: networks.into_iter().map(|(network, _)| network).collect(),
        http_port: http.first().map_or(default.http_port, SocketAddr::port),
        head: head.map(|at| at.value),
        kernel_params: kernel_params.map_or_else(String::new, |at| at.value),
        loader_tls,
    }
}

/// `boot.https`. Whom loaders are to trust, the head's authority says at its start.
fn loader_tls(
    boot: &mut Section<'_, '_>,
    https: &[SocketAddr],
    problems: &mut Problems<'_>,
) -> Option<LoaderTls> {
    let At { value, line } = boot.text("https", problems)?;
    let always = match value.as_str() {
        "off" => return None,
        "auto" => false,
        "on" => true,
        _ => {
            problems.add(line, "boot.https", format!("{value:?} is none of off, auto, on"));
            return None;
        }
    };
    let Some(address) = https.first() else {
        problems.add(line, "boot.https", "needs an address in https.listen");
        return None;
    };
    Some(LoaderTls { port: address.port(), always, roots: Vec::new() })
}

fn network(section: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Option<Network> {
    let line = section.line;
    let name = section.parsed::<NetworkName>("name", problems);
    let interface = section.parsed::<Link>("interface", problems).map(|at| at.value.0);
    let address = section.parsed::<Ipv4Net>("address", problems);
    let manage = section.flag("manage", problems).unwrap_or(false);
    let dhcp = section.parsed::<Mode>("dhcp", problems);
    let ranges = section.list::<Ipv4Range>("range", problems).unwrap_or_default();
    let unknown = section.parsed::<Unknown>("unknown", problems);
    let routers = section.list::<Ipv4Addr>("router", problems).unwrap_or_default();
    let dns = section.list::<Ipv4Addr>("dns", problems).unwrap_or_default();
    let ntp = section.list::<Ipv4Addr>("ntp", problems).unwrap_or_default();
    let domain = section.parsed::<Domain>("domain", problems).map(|at| at.value.0);
    let mtu = section.number("mtu", (576, 9216), problems).and_then(|mtu| u16::try_from(mtu).ok());
    let image_rate = section.parsed::<LinkRate>("image_rate", problems).map(|at| at.value.0);
    let long_lease = lease(section, "lease", LEASE_S, problems);
    let short_lease = lease(section, "short_lease", SHORT_LEASE_S.min(long_lease.as_secs()), problems);
    let trust_option82 = section.flag("trust_option82", problems).unwrap_or(false);
    for (key, missing) in [("name", name.is_none()), ("address", address.is_none())] {
        if missing && !problems.list.iter().any(|problem| problem.key == section.path(key)) {
            problems.add(line, section.path(key), "is needed");
        }
    }
    let address = address?;
    check_addresses(section, &address, interface.is_some(), &ranges, &routers, problems);
    if manage && interface.is_none() {
        problems.add(line, section.path("manage"), "needs an interface");
    }
    Some(Network {
        name: name?.value,
        interface,
        address: address.value,
        manage,
        dhcp: dhcp.map_or(DhcpMode::Authoritative, |at| at.value.0),
        ranges: ranges.into_iter().map(|at| at.value).collect(),
        unknown: unknown.map_or(UnknownPolicy::Hold, |at| at.value.0),
        routers: values(routers),
        dns: values(dns),
        ntp: values(ntp),
        domain,
        mtu,
        image_rate,
        lease: long_lease,
        short_lease,
        trust_option82,
    })
}

fn values<T>(list: Vec<At<T>>) -> Vec<T> {
    list.into_iter().map(|at| at.value).collect()
}

fn lease(
    section: &mut Section<'_, '_>,
    key: &'static str,
    default_s: u64,
    problems: &mut Problems<'_>,
) -> Millis {
    let Some(At { value: Span(span), line }) = section.parsed::<Span>(key, problems) else {
        return Millis::from_secs(default_s);
    };
    if !(LEASE_MIN_S..=LEASE_MAX_S).contains(&span.as_secs()) {
        problems.add(
            line,
            section.path(key),
            format!("must be between {LEASE_MIN_S}s and {}d", LEASE_MAX_S / 86_400),
        );
    }
    span
}

/// What must hold within one network.
fn check_addresses(
    section: &Section<'_, '_>,
    address: &At<Ipv4Net>,
    attached: bool,
    ranges: &[At<Ipv4Range>],
    routers: &[At<Ipv4Addr>],
    problems: &mut Problems<'_>,
) {
    let net = address.value;
    if net.prefix() < 8 {
        problems.add(address.line, section.path("address"), "a network larger than /8 is surely a mistake");
    }
    let first = net.address();
    if first.is_loopback() || first.is_multicast() || first.is_unspecified() || first.is_broadcast() {
        problems.add(address.line, section.path("address"), format!("{first} is no address for machines"));
    } else if attached && !net.is_host(net.address()) {
        let text = format!("{} is the network or broadcast address, not the head's own", net.address());
        problems.add(address.line, section.path("address"), text);
    }
    for (index, At { value: range, line }) in ranges.iter().enumerate() {
        let mut wrong = |text: String| problems.add(*line, section.path("range"), format!("{range} {text}"));
        if !net.is_host(range.first()) || !net.is_host(range.last()) {
            wrong(format!("is not within the hosts of {}/{}", net.network(), net.prefix()));
        }
        if attached && range.contains(net.address()) {
            wrong(format!("holds the head's own address {}", net.address()));
        }
        for router in routers.iter().filter(|router| range.contains(router.value)) {
            wrong(format!("holds the router {}", router.value));
        }
        for other in ranges.iter().take(index).filter(|other| other.value.overlaps(*range)) {
            wrong(format!("overlaps {}", other.value));
        }
    }
    for At { value: router, line } in routers.iter().filter(|router| !net.is_host(router.value)) {
        problems.add(
            *line,
            section.path("router"),
            format!("{router} is no host of {}/{}", net.network(), net.prefix()),
        );
    }
}

/// What must hold between networks.
fn check_together(networks: &[(Network, usize)], problems: &mut Problems<'_>) {
    for (index, (network, line)) in networks.iter().enumerate() {
        for (other, _) in networks.iter().take(index) {
            let mut wrong = |key: &str, text: String| {
                problems.add(*line, format!("network[{index}].{key}"), text);
            };
            if other.name == network.name {
                wrong("name", format!("{} is used twice", network.name));
            }
            if other.address.overlaps(network.address) {
                wrong(
                    "address",
                    format!("{} overlaps the network {} ({})", network.address, other.name, other.address),
                );
            }
            if other.interface.is_some() && other.interface == network.interface {
                wrong("interface", format!("{} has it already", other.name));
            }
        }
    }
}

/// The machine's own name, without its domain.
fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let short = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    short.parse::<Label>().map_or_else(|_| "muster".to_owned(), |label| label.0)
}

struct Mode(DhcpMode);

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "authoritative" => Ok(Mode(DhcpMode::Authoritative)),
            "proxy" => Ok(Mode(DhcpMode::Proxy)),
            "off" => Ok(Mode(DhcpMode::Off)),
            _ => Err("is none of authoritative, proxy, off"),
        }
    }
}

struct Unknown(UnknownPolicy);

impl FromStr for Unknown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(' ') {
            None if text == "hold" => Ok(Unknown(UnknownPolicy::Hold)),
            None if text == "ignore" => Ok(Unknown(UnknownPolicy::Ignore)),
            None if text == "discover" => Ok(Unknown(UnknownPolicy::Discover)),
            Some(("boot", profile)) => match profile.parse() {
                Ok(profile) => Ok(Unknown(UnknownPolicy::Boot(profile))),
                Err(error) => Err(format!("{error}")),
            },
            _ => Err("is none of hold, ignore, discover, boot PROFILE".to_owned()),
        }
    }
}

/// A link's name, as Linux allows it (dev_valid_name).
struct Link(String);

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = !text.is_empty()
            && text.len() <= LINK_NAME_MAX
            && !matches!(text, "." | "..")
            && !text.contains(|c: char| c.is_whitespace() || c == '/' || c == ':');
        if good {
            Ok(Link(text.to_owned()))
        } else {
            Err(format!("is not the name of a link: 1 to {LINK_NAME_MAX} characters, no spaces, / or :"))
        }
    }
}

/// A host label.
struct Label(String);

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name: crate::base::NodeName =
            text.parse().map_err(|error: crate::base::name::NameError| error.why.to_owned())?;
        Ok(Label(name.to_string()))
    }
}

/// A DNS domain of host labels.
struct Domain(String);

impl FromStr for Domain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let domain = text.trim_end_matches('.').to_ascii_lowercase();
        if domain.len() > 253 {
            return Err("is longer than 253 characters".to_owned());
        }
        for label in domain.split('.') {
            label.parse::<Label>().map_err(|why| format!("label {label:?}: {why}"))?;
        }
        Ok(Domain(domain))
    }
}
