//! What the rest of the head tells the recorder: one value for each thing that it saw of a machine. They are made
//! where packets and requests are answered, so making one is a few moves and no text.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::base::{Mac, Millis, NetworkName, Timestamp, Uuid};
use crate::engine::boot::{Decision, Outcome, Program};
use crate::engine::dhcp::{Answer, Boot, NoBoot, PXE_PORT, Reason, Request, Verdict};
use crate::model::{Arch, Firmware, Stage};
use crate::wire::dhcp::MessageType;
use crate::wire::dhcp::message::INFINIBAND;

/// One thing that was seen of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    pub at: Timestamp,
    pub who: Who,
    pub what: What,
}

/// How the machine showed itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    Mac(Mac),
    Address(Ipv4Addr),
}

/// What was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A DHCP message of the machine, and the answer.
    Dhcp(Box<DhcpSeen>),
    /// Another server's message to it.
    OtherServer {
        server: Ipv4Addr,
        mac: Mac,
        kind: Option<MessageType>,
        offered: Option<Ipv4Addr>,
    },
    /// A frame of it that was damaged.
    Damaged(&'static str),
    /// A reply to it could not be sent.
    NotSent,
    /// A request over TFTP that ended.
    Tftp(TftpSeen),
    /// It asked for a loader over HTTP.
    Loader {
        file: String,
        status: u16,
        bytes: u64,
        /// Only its head was asked for.
        head: bool,
    },
    Script(Box<ScriptSeen>),
    /// A file of an image went to it, whole or not.
    File {
        label: Arc<str>,
        sent: u64,
        total: u64,
        duration: Millis,
    },
    /// A file below the images that it did not get.
    FileRefused {
        path: String,
        status: u16,
    },
    /// A document of cloud-init.
    Document {
        name: String,
        status: u16,
    },
    /// It claimed its secrets.
    Claim {
        status: u16,
    },
    /// It has all its secrets.
    Sealed,
    PhoneHome,
    /// It asked DNS for this name.
    Asked(String),
    /// TLS failed with it.
    TlsFailed(String),
    /// A line of its log.
    Log {
        severity: u8,
        text: String,
    },
}

/// A DHCP message and its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpSeen {
    pub kind: Option<MessageType>,
    pub xid: u32,
    pub secs: u16,
    pub stage: Stage,
    pub firmware: Firmware,
    pub arch: Option<Arch>,
    pub arch_code: u16,
    pub vendor_class: Option<String>,
    pub uuid: Option<Uuid>,
    pub relay: Option<Ipv4Addr>,
    pub wants_broadcast: bool,
    pub to_proxy_port: bool,
    pub infiniband: bool,
    pub network: Option<NetworkName>,
    /// The network's addresses are another server's.
    pub is_proxy: bool,
    /// None: no answer, for this reason.
    pub reply: Result<MessageType, Reason>,
    pub address: Option<Ipv4Addr>,
    pub boot: Option<Boot>,
}

/// A request over TFTP that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TftpSeen {
    pub file: String,
    pub bytes: u64,
    pub duration: Millis,
    pub fate: TftpFate,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TftpFate {
    Done,
    /// Only the size was wanted.
    Probed,
    Aborted(u16),
    /// The client fell silent. `opened`: it had acknowledged the options, or a block.
    Lost {
        opened: bool,
    },
    NotFound,
    Refused,
}

/// A boot script that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptSeen {
    pub status: u16,
    pub attempt: u32,
    /// What its iPXE calls itself.
    pub agent: Option<String>,
    pub node: Option<String>,
    pub rule: String,
    pub image: Option<String>,
    pub target: Target,
}

/// What a script has the machine do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Linux {
        kernel: String,
        initrds: Vec<String>,
        /// The kernel's parameters as they were sent.
        line: String,
    },
    /// A script of the site, or another one elsewhere.
    Other(&'static str),
    LocalDisk,
    Hold,
    Refuse,
}

impl DhcpSeen {
    /// What a message and its answer say to the recorder.
    #[must_use]
    pub fn of(request: &Request, answer: &Answer, is_proxy: bool) -> DhcpSeen {
        let (message, explanation) = (&request.message, &answer.explanation);
        // Systems renew for years; their class says nothing about a boot.
        let vendor_class = (request.stage != Stage::System).then(|| message.vendor_class()).flatten();
        let reply = match (&answer.verdict, explanation.reply) {
            (Verdict::Silence(reason), _) => Err(*reason),
            (Verdict::Reply { .. }, Some(kind)) => Ok(kind),
            (Verdict::Reply { .. }, None) => Err(Reason::UnexpectedType),
        };
        DhcpSeen {
            kind: message.message_type(),
            xid: message.xid,
            secs: message.secs,
            stage: request.stage,
            firmware: request.firmware,
            arch: request.arch,
            arch_code: request.arch_code,
            vendor_class,
            uuid: message.uuid(),
            relay: Some(message.giaddr).filter(|relay| !relay.is_unspecified()),
            wants_broadcast: message.wants_broadcast(),
            to_proxy_port: request.ingress.destination.port() == PXE_PORT,
            infiniband: message.htype == INFINIBAND,
            network: explanation.network.as_ref().map(|(name, _)| name.clone()),
            is_proxy,
            reply,
            address: explanation.address.map(|(address, _)| address),
            boot: explanation.boot.clone(),
        }
    }

    /// Why it was told of nothing to boot.
    #[must_use]
    pub fn no_boot(&self) -> Option<NoBoot> {
        match self.boot {
            Some(Boot::None(why)) => Some(why),
            _ => None,
        }
    }
}

impl ScriptSeen {
    /// What a decision and its script say to the recorder. `script` is the text that left; none: an error did.
    #[must_use]
    pub fn of(decision: &Decision, script: Option<&str>, status: u16, attempt: u32) -> ScriptSeen {
        let target = match &decision.outcome {
            Outcome::Hold => Target::Hold,
            Outcome::Refuse => Target::Refuse,
            Outcome::Boot(Program::LocalDisk) => Target::LocalDisk,
            Outcome::Boot(Program::Script(_)) => Target::Other("a script of the site"),
            Outcome::Boot(Program::Chain(_)) => Target::Other("another script"),
            Outcome::Boot(Program::Linux { kernel, initrds, .. }) => Target::Linux {
                kernel: kernel.clone(),
                initrds: initrds.clone(),
                line: script.and_then(kernel_line).unwrap_or_default().to_owned(),
            },
        };
        ScriptSeen {
            status,
            attempt,
            agent: None,
            node: decision.node.as_ref().map(|node| node.name.to_string()),
            rule: decision.rule.to_string(),
            image: decision.image.as_ref().map(|(image, _)| image.to_string()),
            target,
        }
    }
}

/// The kernel's line in a script of ours.
fn kernel_line(script: &str) -> Option<&str> {
    script.lines().find_map(|line| line.strip_prefix("kernel "))
}
