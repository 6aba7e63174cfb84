//! A message together with where it came from, and what that says about the machine behind it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crate::base::Mac;
use crate::model::{Arch, Firmware, LeaseKey, Stage};
use crate::wire::dhcp::message::INFINIBAND;
use crate::wire::dhcp::{IpxeFeatures, Message, code};

/// Where a message entered the head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ingress {
    /// The link it was received on.
    pub interface: Arc<str>,
    /// Source of the Ethernet frame: the client, a relay or a router.
    pub source_mac: Mac,
    pub source: SocketAddrV4,
    /// Port 67, or 4011 for ProxyDHCP requests.
    pub destination: SocketAddrV4,
}

/// A classified message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub message: Message,
    pub ingress: Ingress,
    /// Which program speaks.
    pub stage: Stage,
    pub firmware: Firmware,
    /// None: the client named no architecture, or one we do not know.
    pub arch: Option<Arch>,
    /// The architecture number behind `arch` (option 93, else option 60); 0 if the client names none.
    pub arch_code: u16,
    pub features: IpxeFeatures,
    /// The machine's hardware address; none for InfiniBand without a usable identifier.
    pub mac: Option<Mac>,
}

/// Port of ProxyDHCP requests (PXE 2.1 section 2.2.3).
pub const PXE_PORT: u16 = 4011;

/// Prefixes of the Raspberry Pi's makers: its ROM claims to be a PC BIOS.
const RASPBERRY_PI: [[u8; 3]; 6] = [
    [0xb8, 0x27, 0xeb],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
    [0xd8, 0x3a, 0xdd],
    [0x28, 0xcd, 0xc1],
    [0x2c, 0xcf, 0x67],
];

impl Request {
    /// Classifies a message. iPXE is recognised before the vendor class: a chained iPXE repeats the vendor
    /// class of the reply that loaded it (measured 2026-11, iPXE of May 2025).
    #[must_use]
    pub fn new(message: Message, ingress: Ingress) -> Request {
        let vendor = message.vendor_class().unwrap_or_default();
        let mac = message.mac().or_else(|| infiniband_mac(&message));
        let arch_code = architecture(&message, &vendor);
        let features = message.ipxe_features();
        let is_http = vendor.starts_with("HTTPClient");
        let is_firmware = is_http || vendor.starts_with("PXEClient") || message.options.contains(code::ARCH);
        let runs_scripts = features.http && if arch_code == 0 { features.bzimage } else { features.efi };
        let stage = match () {
            () if message.is_ipxe() && runs_scripts => Stage::Ipxe,
            () if message.is_ipxe() => Stage::ForeignIpxe,
            () if is_firmware => Stage::Firmware,
            () => Stage::System,
        };
        let (arch, named) =
            if stage == Stage::System { (None, Firmware::Unknown) } else { platform(arch_code) };
        let firmware = match named {
            Firmware::Bios if mac.is_some_and(|mac| RASPBERRY_PI.contains(&mac.oui())) => {
                Firmware::RaspberryPi
            }
            Firmware::Uefi if is_http && stage == Stage::Firmware => Firmware::UefiHttp,
            Firmware::Bios | Firmware::Uefi | Firmware::UefiHttp => named,
            Firmware::RaspberryPi | Firmware::Unknown => named,
        };
        let arch = if firmware == Firmware::RaspberryPi { Some(Arch::Arm64) } else { arch };
        Request { message, ingress, stage, firmware, arch, arch_code, features, mac }
    }

    /// The key of this machine's leases: its hardware address, whatever option 61 says, because firmware,
    /// iPXE and system use four different ids (RFC 4361 section 6.3 permits it). None: it has no identity.
    #[must_use]
    pub fn key(&self) -> Option<LeaseKey> {
        let by_id = || self.message.client_id().map(|id| LeaseKey::ClientId(id.to_vec()));
        self.mac.map(LeaseKey::Mac).or_else(by_id)
    }

    /// True if the message was sent to the ProxyDHCP port.
    #[must_use]
    pub fn is_proxy_port(&self) -> bool {
        self.ingress.destination.port() == PXE_PORT
    }

    /// True if the message came to one address of ours: RENEWING, INFORM, RELEASE, port 4011.
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        *self.ingress.destination.ip() != Ipv4Addr::BROADCAST
    }
}

/// Family and firmware of an architecture number (IANA "Processor Architecture Types"). 7 is x64 in every
/// firmware, although RFC 4578 says EBC; some old x64 firmware says 9.
fn platform(code: u16) -> (Option<Arch>, Firmware) {
    match code {
        0 => (Some(Arch::X86_64), Firmware::Bios),
        6 => (Some(Arch::X86), Firmware::Uefi),
        7 | 9 => (Some(Arch::X86_64), Firmware::Uefi),
        10 => (Some(Arch::Arm32), Firmware::Uefi),
        11 => (Some(Arch::Arm64), Firmware::Uefi),
        15 => (Some(Arch::X86), Firmware::UefiHttp),
        16 | 17 => (Some(Arch::X86_64), Firmware::UefiHttp),
        18 => (Some(Arch::Arm32), Firmware::UefiHttp),
        19 => (Some(Arch::Arm64), Firmware::UefiHttp),
        27 => (Some(Arch::RiscV64), Firmware::Uefi),
        28 => (Some(Arch::RiscV64), Firmware::UefiHttp),
        39 => (Some(Arch::LoongArch64), Firmware::Uefi),
        40 => (Some(Arch::LoongArch64), Firmware::UefiHttp),
        41 => (Some(Arch::Arm64), Firmware::RaspberryPi),
        _ => (None, Firmware::Unknown),
    }
}

/// Option 93: the first number we know, else its first; without it the digits after `:Arch:` in option 60.
fn architecture(message: &Message, vendor: &str) -> u16 {
    let named = message.architectures();
    let known = named.iter().find(|code| platform(**code).0.is_some()).or(named.first()).copied();
    let from_vendor = || vendor.split_once(":Arch:").and_then(|(_, rest)| rest.get(..5)?.parse().ok());
    known.or_else(from_vendor).unwrap_or(0)
}

/// The 48-bit address that newer firmware and iPXE make of an InfiniBand port's GUID by leaving out its two
/// middle octets, so that a client without chaddr (RFC 4390 section 2.1) is the same machine as before.
/// Option 61 carries the GUID after `20`, or at the end of a DUID (`ff` + IAID + type + id).
fn infiniband_mac(message: &Message) -> Option<Mac> {
    if message.htype != INFINIBAND || message.hlen != 0 {
        return None;
    }
    let guid = match message.client_id()? {
        [0x20, guid @ ..] if guid.len() == 8 => guid,
        [0xff, rest @ ..] if rest.len() > 12 => rest.last_chunk::<8>()?,
        _ => return None,
    };
    match guid {
        [a, b, c, _, _, d, e, f] => Some(Mac([*a, *b, *c, *d, *e, *f])),
        _ => None,
    }
}
