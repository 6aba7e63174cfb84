//! Messages as clients of each class would send them, so that `explain`, self-tests and tests can ask what a
//! machine would get without the machine. Layouts are those of firmware measured in November 2026: edk2
//! 2025.02, iPXE of Debian bookworm (ROM, 2019) and trixie (EFI, May 2025).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crate::base::{Mac, Uuid};
use crate::engine::dhcp::Ingress;
use crate::model;
use crate::wire::dhcp::message::ETHERNET;
use crate::wire::dhcp::{Message, Options, code};

/// A class of client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Client {
    /// PXE ROM of a PC BIOS.
    BiosRom,
    /// edk2, PXE over IPv4.
    UefiPxe,
    /// edk2, HTTP boot.
    UefiHttp,
    /// iPXE as a BIOS network ROM, able to run our script.
    IpxeRom,
    /// An iPXE of somebody else without HTTP.
    ForeignIpxe,
    /// Our iPXE, loaded by UEFI firmware.
    Ipxe,
    /// An operating system: BusyBox udhcpc.
    System,
}

/// One imagined machine at one stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imagined {
    pub client: Client,
    /// Family of UEFI clients; the BIOS is always x86.
    pub arch: model::Arch,
    pub mac: Mac,
    pub uuid: Option<Uuid>,
    pub xid: u32,
}

const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
/// What edk2 and iPXE can receive; edk2 swaps the octets in its REQUEST, which makes 65280.
const SIZE: [u8; 2] = 1472u16.to_be_bytes();
const EDK2_PXE_LIST: &[u8] = &[
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97,
    128, 129, 130, 131, 132, 133, 134, 135,
];
/// The last but one is an octet that edk2 never initialised.
const EDK2_HTTP_LIST: &[u8] =
    &[1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 0xe8, 67, 97];
const IPXE_2019_LIST: &[u8] =
    &[1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203];
const IPXE_2025_LIST: &[u8] =
    &[1, 3, 6, 7, 12, 15, 17, 26, 42, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203];
const SYSTEM_LIST: &[u8] = &[1, 3, 6, 12, 15, 28, 42];
/// Option 175: bus id of a virtio card, version 1.0.0.
const IPXE_HEAD: [u8; 12] = [0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0, 0xeb, 3, 1, 0, 0];
const PXE_EXTENSIONS: u8 = 0x10;
const ROM_FEATURES: &[u8] = &[0x17, 0x22, 0x13, 0x11, 0x27, 0x19, 0x29, 0x10, 0x21, 0x15, 0x18, 0x12];
/// A ROM built without HTTP.
const FOREIGN_FEATURES: &[u8] = &[0x17, 0x22, 0x11, 0x27, 0x19, 0x10, 0x21, 0x15, 0x18, 0x12];
const EFI_FEATURES: &[u8] = &[0x26, 0x17, 0x27, 0x24, 0x13, 0x14, 0x11, 0x29, 0x15, 0x12];

impl Client {
    pub const ALL: [(Client, &str); 7] = [
        (Client::BiosRom, "bios"),
        (Client::UefiPxe, "uefi"),
        (Client::UefiHttp, "uefi-http"),
        (Client::IpxeRom, "ipxe-rom"),
        (Client::ForeignIpxe, "foreign-ipxe"),
        (Client::Ipxe, "ipxe"),
        (Client::System, "system"),
    ];

    /// The class of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Client> {
        Client::ALL.into_iter().find(|(_, known)| *known == name).map(|(client, _)| client)
    }
}

impl Imagined {
    /// The DISCOVER.
    #[must_use]
    pub fn discover(&self) -> Message {
        let broadcast = match self.client {
            Client::UefiPxe | Client::UefiHttp | Client::Ipxe | Client::BiosRom => Message::BROADCAST,
            Client::IpxeRom | Client::ForeignIpxe | Client::System => 0,
        };
        let mut chaddr = [0; 16];
        for (octet, own) in chaddr.iter_mut().zip(self.mac.0) {
            *octet = own;
        }
        Message {
            request: true,
            htype: ETHERNET,
            hlen: 6,
            hops: 0,
            xid: self.xid,
            secs: 0,
            flags: broadcast,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            sname: Vec::new(),
            file: Vec::new(),
            options: self.options(),
        }
    }

    /// The REQUEST that follows an OFFER (SELECTING).
    #[must_use]
    pub fn request(&self, offer: &Message) -> Message {
        let mut message = self.discover();
        message.options.set(code::MESSAGE_TYPE, [REQUEST]);
        message.options.set(code::REQUESTED_ADDRESS, offer.yiaddr.octets());
        if let Some(server) = offer.server_id() {
            message.options.set(code::SERVER_ID, server.octets());
        }
        match self.client {
            Client::UefiPxe | Client::UefiHttp => message.options.set(code::MAX_SIZE, [0xff, 0]),
            Client::BiosRom | Client::IpxeRom | Client::ForeignIpxe => {}
            Client::Ipxe | Client::System => {}
        }
        message
    }

    /// Where a broadcast of the machine enters the head.
    #[must_use]
    pub fn ingress(&self, interface: &str) -> Ingress {
        Ingress {
            interface: Arc::from(interface),
            source_mac: self.mac,
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
            destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::default();
        options.set(code::MESSAGE_TYPE, [DISCOVER]);
        match self.client {
            Client::BiosRom => self.add_firmware(&mut options, EDK2_PXE_LIST, "PXEClient", [1, 2, 1]),
            Client::UefiPxe => self.add_firmware(&mut options, EDK2_PXE_LIST, "PXEClient", [1, 3, 0]),
            Client::UefiHttp => self.add_firmware(&mut options, EDK2_HTTP_LIST, "HTTPClient", [1, 3, 0]),
            Client::IpxeRom => self.add_ipxe(&mut options, IPXE_2019_LIST, [1, 2, 1], ROM_FEATURES),
            Client::ForeignIpxe => self.add_ipxe(&mut options, IPXE_2019_LIST, [1, 2, 1], FOREIGN_FEATURES),
            Client::Ipxe => self.add_ipxe(&mut options, IPXE_2025_LIST, [1, 3, 10], EFI_FEATURES),
            Client::System => {
                options.set(code::CLIENT_ID, self.client_id());
                options.set(code::MAX_SIZE, 576u16.to_be_bytes());
                options.set(code::PARAMETER_LIST, SYSTEM_LIST);
                options.set(code::VENDOR_CLASS, *b"udhcp 1.36.1");
            }
        }
        options
    }

    fn add_firmware(&self, options: &mut Options, list: &[u8], class: &str, undi: [u8; 3]) {
        options.set(code::MAX_SIZE, SIZE);
        options.set(code::PARAMETER_LIST, list);
        options.set(code::UUID, self.uuid_option());
        options.set(code::UNDI, undi);
        options.set(code::ARCH, self.arch_code().to_be_bytes());
        options.set(code::VENDOR_CLASS, self.vendor_class(class, undi));
    }

    fn add_ipxe(&self, options: &mut Options, list: &[u8], undi: [u8; 3], features: &[u8]) {
        options.set(code::MAX_SIZE, SIZE);
        options.set(code::ARCH, self.arch_code().to_be_bytes());
        options.set(code::UNDI, undi);
        options.set(code::VENDOR_CLASS, self.vendor_class("PXEClient", undi));
        options.set(code::USER_CLASS, *b"iPXE");
        options.set(code::PARAMETER_LIST, list);
        // Each is a flag; only the PXE extensions have a version, 2.
        let version = |feature: u8| if feature == PXE_EXTENSIONS { 2 } else { 1 };
        let flags = features.iter().flat_map(|feature| [*feature, 1, version(*feature)]);
        options.set(code::IPXE, IPXE_HEAD.into_iter().chain(flags).collect::<Vec<u8>>());
        options.set(code::CLIENT_ID, self.client_id());
        if self.uuid.is_some() || self.client == Client::Ipxe {
            options.set(code::UUID, self.uuid_option());
        }
    }

    fn vendor_class(&self, class: &str, [_, major, minor]: [u8; 3]) -> String {
        format!("{class}:Arch:{:05}:UNDI:{major:03}{minor:03}", self.arch_code())
    }

    /// The hardware type and the address: what iPXE and most systems take for option 61.
    fn client_id(&self) -> Vec<u8> {
        [ETHERNET].into_iter().chain(self.mac.0).collect()
    }

    /// Option 97. Reversing the order of its first fields is its own inverse; no id is all zeros.
    fn uuid_option(&self) -> Vec<u8> {
        let wire = self.uuid.and_then(|uuid| Uuid::from_wire(uuid.0)).map_or([0; 16], |uuid| uuid.0);
        [0].into_iter().chain(wire).collect()
    }

    /// The architecture number that this class names.
    fn arch_code(&self) -> u16 {
        let (pxe, http) = match self.arch {
            model::Arch::X86_64 => (7, 16),
            model::Arch::Arm64 => (11, 19),
            model::Arch::X86 => (6, 15),
            model::Arch::Arm32 => (10, 18),
            model::Arch::RiscV64 => (27, 28),
            model::Arch::LoongArch64 => (39, 40),
        };
        match self.client {
            Client::BiosRom | Client::IpxeRom | Client::ForeignIpxe | Client::System => 0,
            Client::UefiPxe | Client::Ipxe => pxe,
            Client::UefiHttp => http,
        }
    }
}

#[cfg(test)]
mod tests;
