//! The answer to one message: what is sent and where, what becomes of the lease table, and why.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::base::{Mac, Millis, NetworkName};
use crate::engine::boot::loader::LoaderRule;
use crate::engine::dhcp::{NoBoot, Reason};
use crate::model::lease::LeaseChange;
use crate::model::lease_table::Choice;
use crate::model::{Firmware, Lease, Sighting, Stage};
use crate::wire::dhcp::MessageType;

/// Everything that follows from one message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Answer {
    pub verdict: Verdict,
    /// To apply to the lease table; a `Bind` must be durable before the reply leaves.
    pub lease: Option<LeaseChange>,
    /// An undeclared machine was seen.
    pub sighting: Option<Sighting>,
    /// True: our iPXE is handed to a foreign iPXE now; remember the time for `Observed::chained`.
    pub chained: bool,
    /// True: the firmware's loader is told whom to trust; `Observed::anchored` from now on.
    pub anchored: bool,
    pub explanation: Explanation,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Send `message` from the head's `source` address and port.
    Reply {
        message: Vec<u8>,
        route: Route,
        source: SocketAddrV4,
    },
    Silence(Reason),
}

/// Where a reply goes (RFC 2131 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// To ff:ff:ff:ff:ff:ff, 255.255.255.255 port 68, on the link the request came from.
    Broadcast,
    /// One frame on the link the request came from, without ARP: the client may not answer it yet.
    Unicast { mac: Mac, address: Ipv4Addr, port: u16 },
    /// By the kernel's routes, to a relay or a client behind a router.
    Routed(SocketAddrV4),
}

/// What was decided and by which rule; `explain`, `replay` and the boot records print it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Explanation {
    pub request: Option<MessageType>,
    /// None: no answer.
    pub reply: Option<MessageType>,
    pub stage: Option<Stage>,
    pub firmware: Option<Firmware>,
    pub network: Option<(NetworkName, NetworkRule)>,
    /// Name of the declared node or BMC; none: the machine is not declared.
    pub machine: Option<String>,
    pub address: Option<(Ipv4Addr, AddressRule)>,
    pub lease: Option<Millis>,
    /// Another client's binding at the address declared for this machine: it must end first.
    pub squatter: Option<Lease>,
    pub boot: Option<Boot>,
    /// Options of the reply with their values, in the order of sending.
    pub options: Vec<(u8, Vec<u8>)>,
}

/// How the client's network was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetworkRule {
    /// Option 82 sub-option 5 (RFC 3527).
    LinkSelection,
    /// Option 118 (RFC 3011).
    SubnetSelection,
    /// The relay's address.
    Relay,
    /// The client's own address, in a message sent to ours.
    ClientAddress,
    /// A network on this link in which an address is declared for the machine.
    Declared,
    /// The link it was received on.
    Link,
}

/// Where the client's address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressRule {
    /// Declared for this machine.
    Declared,
    /// From the network's pool.
    Pool(Choice),
    /// The client's own, which it merely told (INFORM).
    Told,
    /// Refused by a NAK.
    Refused(Refusal),
}

/// Why an address is refused with a NAK (RFC 2131 section 4.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Another address is declared for this machine.
    AnotherDeclared,
    /// The address is declared for another machine, or is the head's or a router's.
    DeclaredForAnother,
    /// Another client holds it.
    LeasedToAnother,
    /// It does not lie in the client's network.
    WrongNetwork,
    /// It lies in the network, outside of the pool.
    OutsidePool,
    /// No further binding fits the lease table.
    TableFull,
}

/// The boot part of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Boot {
    /// A loader by TFTP from the head.
    File {
        name: String,
        rule: LoaderRule,
    },
    /// A loader by HTTP.
    Url {
        url: String,
        rule: LoaderRule,
    },
    /// The machine's iPXE script.
    Script {
        url: String,
    },
    /// A Raspberry Pi ROM: it knows its own file names and only needs to hear that it is welcome.
    RaspberryPi,
    None(NoBoot),
}

impl NetworkRule {
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            NetworkRule::LinkSelection => "the relay selected the link (option 82.5)",
            NetworkRule::SubnetSelection => "the client selected the subnet (option 118)",
            NetworkRule::Relay => "the relay's address lies in it",
            NetworkRule::ClientAddress => "the client's address lies in it",
            NetworkRule::Declared => "an address in it is declared for the machine",
            NetworkRule::Link => "the request came over its link",
        }
    }
}

impl AddressRule {
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            AddressRule::Declared => "declared for this machine",
            AddressRule::Pool(Choice::Own) => "its own lease",
            AddressRule::Pool(Choice::Requested) => "from the pool: it asked for it and it was free",
            AddressRule::Pool(Choice::Probed) => "from the pool: probed, nobody answered",
            AddressRule::Pool(Choice::Unprobed) => "from the pool: free as far as is known",
            AddressRule::Told => "its own, as it says",
            AddressRule::Refused(refusal) => refusal.sentence(),
        }
    }
}

impl Refusal {
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Refusal::AnotherDeclared => "refused: another address is declared for this machine",
            Refusal::DeclaredForAnother => "refused: the address is declared for another machine",
            Refusal::LeasedToAnother => "refused: another client holds the address",
            Refusal::WrongNetwork => "refused: the address lies outside of the network",
            Refusal::OutsidePool => "refused: the address is neither declared nor in the pool",
            Refusal::TableFull => "refused: the lease table is full",
        }
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Boot::File { name, rule } => write!(f, "loader {name} by TFTP ({})", rule.sentence()),
            Boot::Url { url, rule } => write!(f, "loader {url} ({})", rule.sentence()),
            Boot::Script { url } => write!(f, "script {url}"),
            Boot::RaspberryPi => f.write_str("a Raspberry Pi's own files by TFTP"),
            Boot::None(why) => write!(f, "nothing to boot: {why}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Broadcast => f.write_str("broadcast"),
            Route::Unicast { mac, address, port } => write!(f, "{address}:{port} at {mac}"),
            Route::Routed(to) => write!(f, "{to} by the routing table"),
        }
    }
}
