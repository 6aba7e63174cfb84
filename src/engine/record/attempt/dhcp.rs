//! What DHCP says about an attempt.

use crate::base::Timestamp;
use crate::engine::dhcp::{Boot, NoBoot, Reason};
use crate::engine::record::attempt::{Attempt, short};
use crate::engine::record::evidence::DhcpSeen;
use crate::model::boot_record::{Fate, Outcome, Phase, Sign};
use crate::model::{Arch, Firmware, Stage};
use crate::wire::dhcp::MessageType;

/// A machine that has tried for so long before it was first heard had no link until then: spanning tree keeps a
/// port silent for 30 seconds, and firmware asks at once (RFC 2131 section 2: `secs`).
const LINK_LATE_S: u16 = 15;

impl Attempt {
    pub(crate) fn on_dhcp(&mut self, seen: &DhcpSeen, at: Timestamp) {
        let phase = phase_of(seen.stage);
        let first = !self.record.began(phase);
        self.on_client(seen);
        if seen.stage != Stage::System {
            self.on_exchange(seen, first, at);
        }
        self.on_circumstances(seen, at);
        let what = match seen.firmware {
            _ if phase == Phase::System => "dhcp",
            Firmware::UefiHttp => "dhcp, HTTP boot",
            _ if seen.is_proxy => "dhcp beside another server",
            _ => "dhcp",
        };
        let result = result(seen);
        let step = self.step(phase, what, at);
        step.address = seen.address.or(step.address);
        let reply = seen.reply.as_ref().ok().copied();
        let acknowledged = reply == Some(MessageType::Ack);
        // An answer to one more DISCOVER takes nothing back.
        if step.fate != Fate::Done || acknowledged {
            step.result = result;
            step.fate = match (reply, &seen.reply) {
                (Some(MessageType::Ack), _) => Fate::Done,
                (Some(MessageType::Nak), _) => Fate::Refused,
                (_, Err(reason)) if is_refusal(*reason) => Fate::Refused,
                _ => Fate::Going,
            };
        }
        self.on_reply(seen, acknowledged, at);
    }

    fn on_client(&mut self, seen: &DhcpSeen) {
        if seen.stage == Stage::System {
            return;
        }
        let client = &mut self.record.client;
        if seen.stage == Stage::Firmware || client.firmware.is_none() {
            client.firmware = Some(seen.firmware);
            client.arch = seen.arch;
            client.arch_code = seen.arch_code;
            client.vendor_class = seen.vendor_class.as_deref().map(short);
        }
        client.uuid = seen.uuid.or(client.uuid);
        if let Some(network) = &seen.network {
            self.record.network = Some(network.to_string());
        }
        self.record.relay = seen.relay.or(self.record.relay);
    }

    /// Repetitions of one exchange, and machines that nobody heard at first.
    fn on_exchange(&mut self, seen: &DhcpSeen, first: bool, at: Timestamp) {
        if seen.kind != Some(MessageType::Discover) {
            return;
        }
        if self.xid == Some(seen.xid) {
            let text = format!("it repeats its DISCOVER (transaction {:08x})", seen.xid);
            self.sign(Sign::SameExchange, at, text);
        }
        self.xid = Some(seen.xid);
        if first && seen.secs >= LINK_LATE_S {
            let text = format!("it had asked for {} s when it was first heard", seen.secs);
            self.sign(Sign::LinkLate, at, text);
        }
    }

    fn on_circumstances(&mut self, seen: &DhcpSeen, at: Timestamp) {
        if let Some(relay) = seen.relay {
            self.sign(Sign::ByRelay, at, format!("it asks through the relay {relay}"));
        }
        if seen.stage == Stage::System {
            return;
        }
        if seen.wants_broadcast {
            self.sign(Sign::WantsBroadcast, at, "it hears broadcasts only".to_owned());
        }
        if seen.is_proxy {
            let text = "on this network another server gives the addresses".to_owned();
            self.sign(Sign::BesideAnother, at, text);
        }
        if seen.infiniband {
            self.sign(Sign::Infiniband, at, "it asks over InfiniBand (hardware type 32)".to_owned());
        }
        if seen.to_proxy_port {
            let text = "it asked for a boot server at port 4011".to_owned();
            self.sign(Sign::AskedProxyPort, at, text);
        }
        if seen.stage == Stage::ForeignIpxe {
            let text = "its iPXE cannot run the head's script (no HTTP, or no kernel format)".to_owned();
            self.sign(Sign::ForeignIpxe, at, text);
        }
        if seen.kind == Some(MessageType::Request) && seen.reply != Err(Reason::OtherServerChosen) {
            self.sign(Sign::Requested, at, "it asked for what it was offered".to_owned());
        }
    }

    fn on_reply(&mut self, seen: &DhcpSeen, acknowledged: bool, at: Timestamp) {
        match &seen.reply {
            Ok(MessageType::Offer) => {
                let address = seen.address.map_or_else(String::new, |address| format!(" of {address}"));
                self.sign(Sign::Offered, at, format!("it was sent an OFFER{address}"));
            }
            Ok(MessageType::Nak) => self.sign(Sign::Refused, at, "it was sent a NAK".to_owned()),
            Ok(_) => {}
            Err(reason) => self.on_silence(*reason, at),
        }
        if let (true, Some(address)) = (acknowledged, seen.address) {
            self.sign(Sign::Acknowledged, at, format!("it has {address}"));
            self.address(address, at);
        }
        match &seen.boot {
            Some(Boot::File { name, .. } | Boot::Url { url: name, .. }) => {
                self.on_loader_told(name, seen, at)
            }
            Some(Boot::None(NoBoot::ChainLoop)) => {
                let text = "its own iPXE came back moments after it was handed the head's".to_owned();
                self.sign(Sign::ChainLoop, at, text);
            }
            Some(Boot::None(why @ (NoBoot::UnsupportedArch | NoBoot::UnknownFirmware))) => {
                let text = format!("it was told of no loader: {why} (option 93: {})", seen.arch_code);
                self.sign(Sign::NoLoader, at, text);
            }
            Some(Boot::None(NoBoot::LocalDisk)) if acknowledged => self.record.outcome = Outcome::Left,
            _ => {}
        }
    }

    fn on_silence(&mut self, reason: Reason, at: Timestamp) {
        let sign = match reason {
            Reason::UnknownIgnored => Sign::Ignored,
            Reason::NodeIgnored => Sign::NodeIgnored,
            Reason::PoolEmpty => Sign::PoolEmpty,
            Reason::NoNetwork | Reason::NoHead | Reason::DhcpOff => Sign::NoNetwork,
            Reason::OtherServerChosen => Sign::OtherChosen,
            Reason::Declined | Reason::DeclinedDeclared | Reason::DeclineNotIts => Sign::AddressInUse,
            _ => return,
        };
        self.sign(sign, at, reason.sentence().to_owned());
    }

    fn on_loader_told(&mut self, name: &str, seen: &DhcpSeen, at: Timestamp) {
        let file = name.rsplit('/').next().unwrap_or(name);
        self.sign(Sign::LoaderTold, at, format!("it was told to load {}", short(name)));
        if is_native(file) {
            let text = format!("{file} drives the network card by a driver of its own");
            self.sign(Sign::NativeDriver, at, text);
        }
        if file.starts_with("shim") {
            self.sign(Sign::Shim, at, format!("{file} starts a second loader"));
        }
        if let Some(why) = mismatch(file, seen.firmware, seen.arch) {
            let text = format!("{file} is {why}, and the machine says {}", machine(seen));
            self.sign(Sign::WrongArch, at, text);
        }
    }
}

/// The step that a message of this program belongs to.
pub(crate) fn phase_of(stage: Stage) -> Phase {
    match stage {
        Stage::Firmware | Stage::ForeignIpxe => Phase::Firmware,
        Stage::Ipxe => Phase::Ipxe,
        Stage::System => Phase::System,
    }
}

fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NodeIgnored
            | Reason::UnknownIgnored
            | Reason::PoolEmpty
            | Reason::NoNetwork
            | Reason::NoHead
            | Reason::DhcpOff
            | Reason::ProxyNothingToOffer
    )
}

fn result(seen: &DhcpSeen) -> String {
    let reply = match &seen.reply {
        Ok(kind) => crate::wire::dhcp::code::kind(*kind),
        Err(reason) => return short(&format!("no answer: {reason}")),
    };
    let address = seen.address.map_or_else(String::new, |address| format!(" {address}"));
    let boot = match &seen.boot {
        Some(boot @ (Boot::File { .. } | Boot::Url { .. } | Boot::Script { .. } | Boot::RaspberryPi)) => {
            format!(", {boot}")
        }
        Some(Boot::None(NoBoot::System)) | None => String::new(),
        Some(boot @ Boot::None(_)) => format!(", {boot}"),
    };
    short(&format!("{reply}{address}{boot}"))
}

fn machine(seen: &DhcpSeen) -> String {
    let arch = seen.arch.map_or("unknown", Arch::as_str);
    format!("{arch} {} (option 93: {})", seen.firmware.as_str(), seen.arch_code)
}

/// Builds of iPXE that bring drivers of their own: all but `snponly`, `snp` and `undionly`, which use the
/// firmware's (ipxe.org/appnote/buildtargets).
fn is_native(file: &str) -> bool {
    let stem = file.split(['.', '-']).next().unwrap_or(file);
    matches!(stem, "ipxe" | "intel" | "realtek" | "virtio")
}

/// What a loader is made for, by the marks that builders put into its name, if the machine is something else.
fn mismatch(file: &str, firmware: Firmware, arch: Option<Arch>) -> Option<&'static str> {
    let arch = arch?;
    let name = file.to_ascii_lowercase();
    let has = |marks: &[&str]| marks.iter().any(|mark| name.contains(mark));
    let for_bios = has(&[".kpxe", ".kkpxe", ".pxe"]);
    let is_bios = firmware == Firmware::Bios;
    match () {
        () if for_bios && !is_bios => Some("a loader for BIOS"),
        () if name.ends_with(".efi") && is_bios => Some("a loader for UEFI"),
        () if has(&["arm64", "aa64", "aarch64"]) && arch != Arch::Arm64 => Some("built for arm64"),
        () if has(&["x64", "x86_64", "amd64"]) && arch != Arch::X86_64 => Some("built for x86_64"),
        () if has(&["ia32", "i386"]) && arch != Arch::X86 => Some("built for 32-bit x86"),
        () if has(&["riscv64"]) && arch != Arch::RiscV64 => Some("built for riscv64"),
        () => None,
    }
}
