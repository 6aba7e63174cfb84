//! One boot attempt of one machine, as far as the head saw it: its steps, what was remarkable about them, and,
//! if it failed, why. Plain values; what they follow from is `engine/record`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use crate::base::{Mac, Timestamp, Uuid};
use crate::model::{Arch, Firmware};

/// Gives a closed enum its names, which stand in records for ever: none is renamed or taken back.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            pub const ALL: &[$type] = &[$($type::$variant),*];

            /// Its stable name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// The one of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<$type> {
                $type::ALL.iter().copied().find(|known| known.as_str() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// A step of a boot, in the order in which machines take them.
    Phase {
        /// Firmware, or an iPXE that cannot run our script, asks for an address and a loader.
        Firmware "firmware",
        /// It fetches the loader.
        Loader "loader",
        /// iPXE asks for its address and its script.
        Ipxe "ipxe",
        Script "script",
        Kernel "kernel",
        Initrd "initrd",
        /// The system that was started asks for an address.
        System "system",
        /// It fetches its root.
        Root "root",
        CloudInit "cloud-init",
        /// It claims its secrets.
        Secrets "secrets",
        /// It says that it is done.
        PhoneHome "phone-home",
    }
}

named! {
    /// How a step stands.
    Fate {
        Going "going",
        Done "done",
        /// The machine broke it off, or fell silent.
        Broken "broken",
        /// The head said no.
        Refused "refused",
    }
}

named! {
    /// How an attempt stands.
    Outcome {
        UnderWay "under way",
        /// It waits for somebody's decision: nothing is assigned to it, or it is not declared.
        Waits "waits",
        /// The node said that it is done.
        Up "up",
        /// As far as the head can see the system runs; nobody said so.
        Settled "settled",
        /// It left for something that is not the head's: its disk, another script.
        Left "left",
        /// The machine went on by another of its interfaces.
        Dropped "dropped",
        Failed "failed",
    }
}

named! {
    /// How far a verdict may be relied on.
    Sure {
        /// One of several explanations.
        Possible "possible",
        /// The usual explanation of what was seen.
        Likely "likely",
        /// What was seen has no other one.
        Certain "certain",
    }
}

named! {
    /// Something remarkable about an attempt: what the rules of `engine/record/rules` are about.
    Sign {
        SameExchange "same-exchange",
        Offered "offered",
        Requested "requested",
        Acknowledged "acknowledged",
        Refused "refused",
        ByRelay "by-relay",
        WantsBroadcast "wants-broadcast",
        BesideAnother "beside-another",
        OtherServer "other-server",
        OtherChosen "other-chosen",
        AskedProxyPort "asked-proxy-port",
        LinkLate "link-late",
        Ignored "ignored",
        NodeIgnored "node-ignored",
        PoolEmpty "pool-empty",
        NoNetwork "no-network",
        AddressInUse "address-in-use",
        NoLoader "no-loader",
        NotSent "not-sent",
        Damaged "damaged",
        Infiniband "infiniband",
        SecondMac "second-mac",
        OtherMac "other-mac",
        AddressChanged "address-changed",
        LoaderTold "loader-told",
        SizeProbe "size-probe",
        TransferUnopened "transfer-unopened",
        TransferStalled "transfer-stalled",
        TransferAborted "transfer-aborted",
        TransferSlow "transfer-slow",
        FileMissing "file-missing",
        HeadOnly "head-only",
        LoaderFetched "loader-fetched",
        LoaderAgain "loader-again",
        NativeDriver "native-driver",
        WrongArch "wrong-arch",
        Shim "shim",
        ShimsSecond "shims-second",
        MokManager "mok-manager",
        IpxeRuns "ipxe-runs",
        ForeignIpxe "foreign-ipxe",
        ChainLoop "chain-loop",
        CameBack "came-back",
        AskedAuthority "asked-authority",
        TlsFailed "tls-failed",
        ScriptRefused "script-refused",
        ScriptBroken "script-broken",
        ScriptAgain "script-again",
        KernelMissing "kernel-missing",
        InitrdMissing "initrd-missing",
        RootMissing "root-missing",
        FileDamaged "file-damaged",
        CutOff "cut-off",
        CutOffAgain "cut-off-again",
        BigInitrd "big-initrd",
        NoInitrdWord "no-initrd-word",
        BadIpWord "bad-ip-word",
        OwnScript "own-script",
        AskedMeta "asked-meta",
        AskedUser "asked-user",
        DocumentRefused "document-refused",
        ClaimRefused "claim-refused",
        Panic "panic",
        PanicNoRoot "panic-no-root",
        PanicNoInit "panic-no-init",
        OutOfMemory "out-of-memory",
        NoDriver "no-driver",
        RootTimeout "root-timeout",
        DigestWrong "digest-wrong",
        IpxeError "ipxe-error",
        CloudInitError "cloud-init-error",
        ClockWrong "clock-wrong",
        /// What the recorder dropped, or did not see because the head did not run.
        Gap "gap",
    }
}

/// How often, when and how a sign was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub count: u32,
    pub first: Timestamp,
    pub last: Timestamp,
    /// For people: what it was, the last time.
    pub text: String,
}

/// One step of an attempt. Repetitions are counted, not listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub phase: Phase,
    pub fate: Fate,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Messages or requests, repetitions included.
    pub tries: u32,
    /// Octets that the machine took.
    pub bytes: u64,
    /// Octets that there were to take; 0 if nobody knows.
    pub of: u64,
    /// The machine's address in it.
    pub address: Option<Ipv4Addr>,
    /// Which file, document or message.
    pub what: String,
    /// What became of it, for people.
    pub result: String,
}

/// A line that the machine wrote to the head's log port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    pub at: Timestamp,
    /// Syslog's severity, 0 to 7.
    pub severity: u8,
    pub text: String,
}

/// Who the machine is, by its own words.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Client {
    pub firmware: Option<Firmware>,
    pub arch: Option<Arch>,
    /// Option 93.
    pub arch_code: u16,
    /// Option 60.
    pub vendor_class: Option<String>,
    pub uuid: Option<Uuid>,
    /// What its iPXE calls itself over HTTP, with its version.
    pub agent: Option<String>,
}

/// What its script told the machine to run.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Told {
    /// `NAME:TAG` or the kernel's path: what siblings have in common.
    pub image: String,
    pub kernel: String,
    pub initrds: Vec<String>,
    /// The path of its root, if that is the head's.
    pub root: Option<String>,
    /// The rule that decided.
    pub rule: String,
}

/// Why an attempt failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The rule's name.
    pub rule: String,
    pub at: Timestamp,
    /// The step that failed.
    pub phase: Phase,
    pub sure: Sure,
    pub summary: String,
    /// What was seen, line by line.
    pub evidence: Vec<String>,
    pub cause: String,
    /// What to look at next.
    pub check: String,
}

/// One boot attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootRecord {
    /// The interface that boots.
    pub mac: Mac,
    /// When it began; with `mac` the attempt's name.
    pub started: Timestamp,
    /// When something was last heard of it.
    pub last: Timestamp,
    /// The declared node's name.
    pub node: Option<String>,
    pub network: Option<String>,
    pub relay: Option<Ipv4Addr>,
    /// Its addresses, the newest last.
    pub addresses: Vec<Ipv4Addr>,
    pub client: Client,
    pub told: Option<Told>,
    /// What its siblings have in common with it: groups and image.
    pub kin: String,
    pub steps: Vec<Step>,
    pub signs: BTreeMap<Sign, Seen>,
    pub logs: Vec<LogLine>,
    pub outcome: Outcome,
    pub verdict: Option<Verdict>,
    /// Requests for renewal by the system that came up.
    pub renewals: u32,
}

impl BootRecord {
    /// An attempt that begins now.
    #[must_use]
    pub fn new(mac: Mac, now: Timestamp) -> BootRecord {
        BootRecord {
            mac,
            started: now,
            last: now,
            node: None,
            network: None,
            relay: None,
            addresses: Vec::new(),
            client: Client::default(),
            told: None,
            kin: String::new(),
            steps: Vec::new(),
            signs: BTreeMap::new(),
            logs: Vec::new(),
            outcome: Outcome::UnderWay,
            verdict: None,
            renewals: 0,
        }
    }

    /// The name by which it is asked for: `52:54:00:be:ef:01/1795402800123`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.mac, self.started.0)
    }

    /// How often a sign was seen.
    #[must_use]
    pub fn count(&self, sign: Sign) -> u32 {
        self.signs.get(&sign).map_or(0, |seen| seen.count)
    }

    #[must_use]
    pub fn saw(&self, sign: Sign) -> bool {
        self.signs.contains_key(&sign)
    }

    /// True if a step of this kind was completed.
    #[must_use]
    pub fn did(&self, phase: Phase) -> bool {
        self.steps.iter().any(|step| step.phase == phase && step.fate == Fate::Done)
    }

    /// True if a step of this kind was begun.
    #[must_use]
    pub fn began(&self, phase: Phase) -> bool {
        self.steps.iter().any(|step| step.phase == phase)
    }

    /// The furthest step that was completed.
    #[must_use]
    pub fn furthest(&self) -> Option<Phase> {
        self.steps.iter().filter(|step| step.fate == Fate::Done).map(|step| step.phase).max()
    }

    /// The node's name, else the address of its interface.
    #[must_use]
    pub fn who(&self) -> String {
        self.node.clone().unwrap_or_else(|| self.mac.to_string())
    }
}

impl Outcome {
    /// True if nothing more is expected of the attempt.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Outcome::UnderWay | Outcome::Waits => false,
            Outcome::Up | Outcome::Settled | Outcome::Left | Outcome::Dropped | Outcome::Failed => true,
        }
    }
}

impl Phase {
    /// What the machine does in it, for people: `waits for …`.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Phase::Firmware => "firmware's DHCP",
            Phase::Loader => "fetching the loader",
            Phase::Ipxe => "iPXE's DHCP",
            Phase::Script => "fetching the boot script",
            Phase::Kernel => "fetching the kernel",
            Phase::Initrd => "fetching the initrd",
            Phase::System => "start of the system",
            Phase::Root => "fetching the root image",
            Phase::CloudInit => "cloud-init's documents",
            Phase::Secrets => "claiming secrets",
            Phase::PhoneHome => "phoning home",
        }
    }
}
