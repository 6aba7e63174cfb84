//! What a machine fetches, and from where: URLs as firmware, iPXE and systems read them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::base::{Mac, Uuid};
use crate::engine::swarm::report::{Reason, Stage};
use crate::engine::swarm::tftp::Manner;
use crate::engine::swarm::{Firmware, Moment};
use crate::wire::dhcp::{Message, code};

/// One download, or one try of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    pub stage: Stage,
    pub source: Source,
    /// What is there already: the rest is asked for by range.
    pub offset: u64,
    pub not_before: Moment,
    /// Tells the throws of one fetch from those of another.
    pub serial: u64,
}

/// What a fetch came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    pub result: Result<(), Reason>,
    /// Octets of content that came in this try.
    pub bytes: u64,
    /// The content of scripts and documents.
    pub body: Vec<u8>,
    /// Seconds after which the server wants to be asked again.
    pub retry_after: Option<u64>,
    pub retries: u64,
}

impl Fetched {
    /// Nothing came.
    #[must_use]
    pub fn failed(reason: Reason) -> Fetched {
        Fetched { result: Err(reason), bytes: 0, body: Vec::new(), retry_after: None, retries: 0 }
    }
}

/// Where a file lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Tftp { server: Ipv4Addr, name: String, manner: Manner },
    Http { server: SocketAddrV4, path: String },
}

impl Source {
    /// Reads a URL. None: another scheme, or a host that is no address (a machine has no resolver here).
    #[must_use]
    pub fn parse(url: &str) -> Option<Source> {
        let (scheme, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let sound = !path.bytes().any(|octet| octet.is_ascii_control() || octet == b' ');
        match scheme.to_ascii_lowercase().as_str() {
            "http" if sound => {
                let (host, port) = host.split_once(':').unwrap_or((host, "80"));
                let server = SocketAddrV4::new(host.parse().ok()?, port.parse().ok()?);
                Some(Source::Http { server, path: format!("/{path}") })
            }
            "tftp" if sound => {
                let server = host.trim_end_matches(":69").parse().ok()?;
                Some(Source::Tftp { server, name: path.to_owned(), manner: Manner::IPXE })
            }
            _ => None,
        }
    }

    /// The same; a name without a scheme lies on the TFTP server that the ACK names.
    #[must_use]
    pub fn parse_or_tftp(name: &str, ack: Option<&Message>, manner: Manner) -> Option<Source> {
        if name.contains("://") {
            return Source::parse(name).map(|source| source.with(manner));
        }
        let ack = ack?;
        let named = ack.options.text(code::TFTP_SERVER).and_then(|text| text.parse().ok());
        let next = Some(ack.siaddr).filter(|address| !address.is_unspecified());
        let server = next.or(named).or_else(|| ack.server_id())?;
        Some(Source::Tftp { server, name: name.to_owned(), manner })
    }

    /// The same file, asked for in another manner.
    #[must_use]
    pub fn with(self, manner: Manner) -> Source {
        match self {
            Source::Tftp { server, name, .. } => Source::Tftp { server, name, manner },
            http @ Source::Http { .. } => http,
        }
    }
}

/// The file that an ACK names: option 67, else the header's field.
pub(in crate::engine::swarm) fn boot_file(ack: &Message) -> Option<String> {
    let header = || String::from_utf8_lossy(&ack.file).into_owned();
    let name = ack.options.text(code::BOOT_FILE).filter(|name| !name.is_empty()).unwrap_or_else(header);
    Some(name).filter(|name| !name.is_empty())
}

/// Settings that iPXE has by itself.
pub(in crate::engine::swarm) fn ipxe_settings(
    firmware: Firmware,
    mac: Mac,
    uuid: Uuid,
    address: Option<Ipv4Addr>,
) -> BTreeMap<String, String> {
    let (arch, platform) = firmware.platform();
    let own = [
        ("buildarch", arch.to_owned()),
        ("platform", platform.to_owned()),
        ("mac", mac.to_string()),
        ("mac:hexhyp", mac.hyphenated()),
        ("uuid", uuid.to_string()),
        ("ip", address.map(|address| address.to_string()).unwrap_or_default()),
    ];
    own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Fills the scenario's placeholders in.
pub(in crate::engine::swarm) fn fill(url: &str, mac: Mac, address: Option<Ipv4Addr>, uuid: Uuid) -> String {
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    url.replace("{mac}", &mac.to_string()).replace("{ip}", &address).replace("{uuid}", &uuid.to_string())
}

/// Where a document of cloud-init wants to be called: the `url` of its `phone_home`.
pub(in crate::engine::swarm) fn phone_home_url(document: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(document);
    let (_, section) = text.split_once("phone_home:")?;
    let line = section.lines().find_map(|line| line.trim().strip_prefix("url:"))?;
    Some(line.trim().trim_matches(['"', '\'']).to_owned())
}
