//! The command line. By hand, since a library for it would be larger than the rest.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Gets this node's secrets from its head. Usage: muster-node COMMAND [OPTION]...

commands:
  run       all of the following, in this order, and nothing if the node was given no grant
  claim     redeem the grant of this boot
  attest    show the head this node's TPM
  open      open what the head sent, and write the files
  seal      say that no more is wanted in this boot, to the TPM and to the head

options:
  --grant FILE      the grant (default /etc/muster/boot.json)
  --state DIR       what is kept between commands, root's alone (default /run/muster-node)
  --root DIR        below which files are written (default /)
  --tpm DEVICE      a TPM's device, tcp:HOST:PORT for a simulated one, or none
                    (default /dev/tpmrm0, and none where there is no such device)
  --event-log FILE  what the firmware measured
                    (default /sys/kernel/security/tpm0/binary_bios_measurements)
  --latch PCR       the PCR that is extended by seal (default 15)
  --help, --version";

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Run,
    Claim,
    Attest,
    Open,
    Seal,
}

/// Which TPM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Device {
    /// The kernel's, where there is one.
    Default,
    None,
    File(PathBuf),
    Tcp(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) grant: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) device: Device,
    pub(crate) event_log: PathBuf,
    pub(crate) latch: u8,
}

pub(crate) enum Asked {
    Help,
    Version,
    Do(Options),
}

/// Reads the arguments behind the program's name.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut arguments = arguments;
    let mut command = None;
    let mut options = Options {
        command: Command::Run,
        grant: "/etc/muster/boot.json".into(),
        state: "/run/muster-node".into(),
        root: "/".into(),
        device: Device::Default,
        event_log: "/sys/kernel/security/tpm0/binary_bios_measurements".into(),
        latch: 15,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "-h" | "--help" | "help" => return Ok(Asked::Help),
            "-V" | "--version" => return Ok(Asked::Version),
            "--grant" => options.grant = value()?.into(),
            "--state" => options.state = value()?.into(),
            "--root" => options.root = value()?.into(),
            "--event-log" => options.event_log = value()?.into(),
            "--tpm" => options.device = device(&value()?),
            "--latch" => {
                let latch = value()?.parse().ok().filter(|pcr| (8..24).contains(pcr));
                options.latch = latch.ok_or("--latch must be a PCR from 8 to 23")?;
            }
            name => {
                let known = match name {
                    "run" => Command::Run,
                    "claim" => Command::Claim,
                    "attest" => Command::Attest,
                    "open" => Command::Open,
                    "seal" => Command::Seal,
                    other => return Err(format!("{other:?} is neither a command nor an option")),
                };
                if command.replace(known).is_some() {
                    return Err("one command at a time".to_owned());
                }
            }
        }
    }
    options.command = command.ok_or("a command is missing")?;
    Ok(Asked::Do(options))
}

fn device(text: &str) -> Device {
    match text.strip_prefix("tcp:") {
        Some(address) => Device::Tcp(address.to_owned()),
        None if text == "none" => Device::None,
        None => Device::File(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::options::{Asked, Command, Device, Options, parse};

    fn options(line: &str) -> Result<Options, String> {
        match parse(line.split_whitespace().map(str::to_owned))? {
            Asked::Do(options) => Ok(options),
            Asked::Help | Asked::Version => panic!("{line} asks for no work"),
        }
    }

    #[test]
    fn a_command_line_is_read_or_refused_with_its_reason() {
        let read = options("run --root /sysroot --tpm tcp:127.0.0.1:9 --latch 23").unwrap();
        assert_eq!((read.command, read.latch), (Command::Run, 23));
        assert_eq!(read.device, Device::Tcp("127.0.0.1:9".to_owned()));
        assert_eq!(options("seal --tpm none").unwrap().device, Device::None);
        for (line, reason) in [
            ("", "missing"),
            ("run claim", "one command"),
            ("run --latch 4", "from 8 to 23"),
            ("run --latch x", "from 8 to 23"),
            ("run --grant", "needs a value"),
            ("rum", "neither"),
        ] {
            assert!(options(line).unwrap_err().contains(reason), "{line}");
        }
    }
}
