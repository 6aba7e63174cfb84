//! Booting: processor families, firmware classes, how far a machine got, and what it is to run.

use crate::model::ImageRef;

/// Processor family: picks the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Arch {
    X86_64,
    Arm64,
    /// 32-bit x86 firmware: no kernel of ours runs there.
    X86,
    Arm32,
    RiscV64,
    LoongArch64,
}

/// What the machine's firmware can load: picks the loader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Firmware {
    /// PC BIOS with a PXE ROM (architecture 0).
    Bios,
    /// UEFI with PXE (TFTP).
    Uefi,
    /// UEFI HTTP boot: wants a URL and option 60 `HTTPClient`.
    UefiHttp,
    /// The boot ROM of a Raspberry Pi (architecture 0, recognised by its OUI).
    RaspberryPi,
    /// The client named no firmware.
    Unknown,
}

/// Which program on the machine is asking: the stages of one boot, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// Firmware: wants a loader.
    Firmware,
    /// An iPXE that cannot run our script (no HTTP, or no kernel format): wants our iPXE.
    ForeignIpxe,
    /// An iPXE that can: wants its script.
    Ipxe,
    /// An operating system or an installer: wants an address only.
    System,
}

/// The resolved answer to "what is this machine to run".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BootTarget {
    /// Kernel and initrds by URL, or by path below this head's image root.
    Linux { kernel: String, initrds: Vec<String>, params: String },
    /// A version of an image; the parameters come after the image's own.
    Image { image: ImageRef, params: String },
    /// An iPXE script written by the site, sent as it is.
    Script(String),
    /// Another script or program by URL.
    Chain(String),
    /// The next boot device of the firmware.
    LocalDisk,
}

impl Arch {
    pub const ALL: [(Arch, &str); 6] = [
        (Arch::X86_64, "x86_64"),
        (Arch::Arm64, "arm64"),
        (Arch::X86, "i386"),
        (Arch::Arm32, "arm32"),
        (Arch::RiscV64, "riscv64"),
        (Arch::LoongArch64, "loong64"),
    ];

    /// As iPXE's `${buildarch}` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Arm64 => "arm64",
            Arch::X86 => "i386",
            Arch::Arm32 => "arm32",
            Arch::RiscV64 => "riscv64",
            Arch::LoongArch64 => "loong64",
        }
    }

    /// Reads iPXE's names and the usual others (`x86`, `amd64`, `aarch64`), in either case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Arch> {
        match name.to_ascii_lowercase().as_str() {
            "x86_64" | "amd64" | "x64" | "x86" => Some(Arch::X86_64),
            "arm64" | "aarch64" | "arm" => Some(Arch::Arm64),
            "i386" => Some(Arch::X86),
            "arm32" => Some(Arch::Arm32),
            "riscv64" => Some(Arch::RiscV64),
            "loong64" => Some(Arch::LoongArch64),
            _ => None,
        }
    }
}

impl Firmware {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Firmware::Bios => "BIOS",
            Firmware::Uefi => "UEFI",
            Firmware::UefiHttp => "UEFI HTTP",
            Firmware::RaspberryPi => "Raspberry Pi",
            Firmware::Unknown => "unknown",
        }
    }
}

impl Stage {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Firmware => "firmware",
            Stage::ForeignIpxe => "foreign iPXE",
            Stage::Ipxe => "iPXE",
            Stage::System => "system",
        }
    }
}
