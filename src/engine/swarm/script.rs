//! Runs an iPXE script as far as a boot needs it: downloads, pauses, jumps, conditions. What a command does on a
//! console or in a setting's exotic corners is taken for done.

use std::collections::BTreeMap;

use crate::base::limits::SWARM_SCRIPT_STEPS_MAX;

/// What a script wants next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Want {
    Kernel(String),
    /// An initrd, or any other file that is loaded.
    Initrd(String),
    /// Another script, or a program, takes over.
    Chain(String),
    Sleep(u64),
    /// The kernel starts, with these parameters.
    Boot(String),
    /// Back to the firmware.
    Leave(&'static str),
}

/// A script under way.
#[derive(Clone, Debug)]
pub struct Run {
    lines: Vec<String>,
    at: usize,
    /// Commands of the line that are still to come, each with the operator before it.
    rest: Vec<(Operator, Vec<String>)>,
    status: bool,
    settings: BTreeMap<String, String>,
    /// Parameters of the kernel that was loaded.
    kernel: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Always,
    And,
    Or,
}

/// What one command came to.
enum Done {
    Status(bool),
    Want(Want),
}

impl Run {
    /// Reads a script; `settings` are iPXE's own, such as `platform`. None: it is no script.
    #[must_use]
    pub fn new(text: &str, settings: BTreeMap<String, String>) -> Option<Run> {
        let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        let first = lines.first()?;
        if !["#!ipxe", "#!gpxe"].iter().any(|magic| first.starts_with(magic)) {
            return None;
        }
        Some(Run { lines, at: 0, rest: Vec::new(), status: true, settings, kernel: None })
    }

    /// Goes on to the next thing that takes time. `status` says whether the last one succeeded.
    pub fn resume(&mut self, status: bool) -> Want {
        self.status = status;
        for _ in 0..SWARM_SCRIPT_STEPS_MAX {
            if self.rest.is_empty() {
                // A command that failed, and nothing behind it caught that.
                if !self.status {
                    return Want::Leave("a command failed");
                }
                let Some(line) = self.lines.get(self.at) else {
                    return Want::Leave("it ends without a boot");
                };
                self.rest = commands(&expand(line, &self.settings));
                self.at = self.at.saturating_add(1);
                continue;
            }
            let (operator, words) = self.rest.remove(0);
            let runs = match operator {
                Operator::Always => true,
                Operator::And => self.status,
                Operator::Or => !self.status,
            };
            if runs {
                match self.execute(&words) {
                    Done::Status(status) => self.status = status,
                    Done::Want(want) => return want,
                }
            }
        }
        Want::Leave("it runs in circles")
    }

    fn execute(&mut self, words: &[String]) -> Done {
        let Some((verb, words)) = words.split_first() else { return Done::Status(true) };
        let plain = arguments(words);
        let first = plain.first().copied().unwrap_or_default();
        match verb.as_str() {
            "kernel" | "imgselect" if !first.is_empty() => {
                self.kernel = Some(plain.get(1..).unwrap_or_default().join(" "));
                Done::Want(Want::Kernel(first.to_owned()))
            }
            "imgargs" => {
                self.kernel = Some(plain.get(1..).unwrap_or_default().join(" "));
                Done::Status(true)
            }
            "initrd" | "module" | "imgfetch" | "imgload" if !first.is_empty() => {
                Done::Want(Want::Initrd(first.to_owned()))
            }
            "chain" | "imgexec" if !first.is_empty() => Done::Want(Want::Chain(first.to_owned())),
            "boot" | "imgexec" => match self.kernel.clone() {
                Some(line) => Done::Want(Want::Boot(line)),
                None => Done::Status(false),
            },
            "sleep" => Done::Want(Want::Sleep(first.parse().unwrap_or(0))),
            "goto" => Done::Status(self.jump(first)),
            "set" => {
                self.settings.insert(first.to_owned(), plain.get(1..).unwrap_or_default().join(" "));
                Done::Status(true)
            }
            "isset" => Done::Status(!first.is_empty()),
            "iseq" => Done::Status(plain.first() == plain.get(1)),
            "exit" => Done::Want(Want::Leave("it gives the machine back to its firmware")),
            "sanboot" | "reboot" | "poweroff" | "shell" => Done::Want(Want::Leave("it boots no kernel")),
            "kernel" | "initrd" | "chain" => Done::Status(false),
            _ => Done::Status(true), // echo, dhcp, ifopen, console, imgfree …
        }
    }

    /// Goes to a label; the rest of the line is forgotten.
    fn jump(&mut self, label: &str) -> bool {
        let wanted = |line: &String| line.strip_prefix(':').is_some_and(|name| name.trim() == label);
        match self.lines.iter().position(wanted) {
            Some(at) => {
                self.at = at;
                self.rest.clear();
                true
            }
            None => false,
        }
    }
}

/// A line's commands. Operators are words of their own (see `wire/ipxe.rs`).
fn commands(line: &str) -> Vec<(Operator, Vec<String>)> {
    if line.starts_with('#') || line.starts_with(':') {
        return Vec::new();
    }
    let mut commands = vec![(Operator::Always, Vec::new())];
    for word in line.split_ascii_whitespace() {
        let operator = match word {
            "||" => Some(Operator::Or),
            "&&" => Some(Operator::And),
            ";" => Some(Operator::Always),
            _ => None,
        };
        match (operator, commands.last_mut()) {
            (Some(operator), _) => commands.push((operator, Vec::new())),
            (None, Some((_, words))) => words.push(word.to_owned()),
            (None, None) => {}
        }
    }
    commands
}

/// Words that are no options. `--name`, `-n` and `--timeout` have a value of their own.
fn arguments(words: &[String]) -> Vec<&str> {
    let mut plain = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--name" | "-n" | "--timeout" | "-t" if plain.is_empty() => drop(words.next()),
            word if word.starts_with('-') && plain.is_empty() => {}
            word => {
                plain.push(word);
                break;
            }
        }
    }
    plain.extend(words);
    plain
}

/// Puts settings in the place of `${name}`; what is not set is nothing, as in iPXE.
#[must_use]
pub fn expand(text: &str, settings: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            rest = after;
            break;
        };
        // `netX/mac:hexhyp`: any port is the one that the machine boots from.
        let name = match name.split_once('/') {
            Some((port, name)) if port.starts_with("net") => name,
            _ => name,
        };
        out.push_str(settings.get(name).map_or("", String::as_str));
        rest = behind;
    }
    out.push_str(rest);
    out
}
