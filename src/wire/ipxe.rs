//! iPXE scripts: a writer that knows what iPXE would misread. Quoting is done here and nowhere else.
//!
//! One command stands on one line. `||`, `&&` and `;` are operators only as words of their own; a trailing
//! backslash continues the line; there is no other quoting (ipxe src/core/exec.c and
//! src/image/script.c, builds of 2019 and 2025). An unknown command fails the script unless `||` follows.

use std::fmt::Write as _;

/// A script under construction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script(String);

/// Says why a text cannot stand in a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    #[error("control characters cannot stand in an iPXE command: {0:?}")]
    Control(String),
    #[error("{0:?} alone is an operator of iPXE and cannot be a parameter")]
    Operator(String),
    #[error("a trailing backslash would join the next line: {0:?}")]
    Backslash(String),
    #[error("a command of {0} bytes is longer than the {LINE_BYTES_MAX} that iPXE and the kernel read")]
    Long(usize),
}

/// Linux reads at most 2048 bytes of command line on x86 (COMMAND_LINE_SIZE); URLs and names come on top.
const LINE_BYTES_MAX: usize = 4096;

/// Checks that a parameter list (several words allowed) can stand in a command as it is.
///
/// # Errors
/// Names the character or word that iPXE would misread.
pub fn check(text: &str) -> Result<&str, Unwritable> {
    if text.chars().any(char::is_control) {
        return Err(Unwritable::Control(text.to_owned()));
    }
    if let Some(word) = text.split(' ').find(|word| matches!(*word, "||" | "&&" | ";")) {
        return Err(Unwritable::Operator(word.to_owned()));
    }
    if text.ends_with('\\') {
        return Err(Unwritable::Backslash(text.to_owned()));
    }
    if text.len() > LINE_BYTES_MAX {
        return Err(Unwritable::Long(text.len()));
    }
    Ok(text)
}

impl Default for Script {
    fn default() -> Self {
        Script("#!ipxe\n".to_owned())
    }
}

impl Script {
    /// A comment for people who fetch the script by hand.
    #[must_use]
    pub fn comment(mut self, text: &str) -> Script {
        let text = printable(text);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# {text}");
        self
    }

    /// A line on the node's console. Operators and settings in it are defused.
    #[must_use]
    pub fn echo(mut self, text: &str) -> Script {
        let text = printable(text).replace("${", "$ {");
        let words = text.split(' ').map(|word| match word {
            "||" | "&&" | ";" => "-",
            _ => word,
        });
        let text = words.collect::<Vec<_>>().join(" ");
        let _ = writeln!(self.0, "echo {}", text.trim_end_matches('\\'));
        self
    }

    /// A command of ours, written as it is. `command` must be a literal of the program.
    #[must_use]
    pub fn command(mut self, command: &'static str) -> Script {
        self.0.push_str(command);
        self.0.push('\n');
        self
    }

    /// A command with one foreign argument list, which is checked, and a literal tail such as ` || goto x`.
    ///
    /// # Errors
    /// The argument cannot stand in a script.
    pub fn with(
        mut self,
        verb: &'static str,
        argument: &str,
        tail: &'static str,
    ) -> Result<Script, Unwritable> {
        let argument = check(argument)?;
        let _ = writeln!(self.0, "{verb} {argument}{tail}");
        Ok(self)
    }

    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
