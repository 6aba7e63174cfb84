//! Locational names of the Shasta/OpenCHAMI world. muster needs none of its own: where a client must see
//! one, `Xname::synthetic` makes it.

pub mod kind;

use std::fmt;
use std::str::FromStr;

/// A normalised component name such as `x1000c0s0b0n0`: lower case, numbers without leading zeros.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xname(Box<str>);

/// Says why a text is no xname of a node or BMC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an xname (expected a form such as x1000c0s0b0n0)")]
pub struct XnameError(pub String);

/// The cabinet under which synthesised names live: the highest of four digits, far from real racks.
const SYNTHETIC_CABINET: u32 = 9999;

impl Xname {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The stable name of the node with this internal number.
    #[must_use]
    pub fn synthetic(number: u64) -> Xname {
        Xname(format!("x{SYNTHETIC_CABINET}c0s{number}b0n0").into())
    }

    /// The number that `synthetic` was given, if this name is one of ours.
    #[must_use]
    pub fn synthetic_number(&self) -> Option<u64> {
        let number: u64 = self.0.strip_prefix("x9999c0s")?.strip_suffix("b0n0")?.parse().ok()?;
        (Xname::synthetic(number) == *self).then_some(number)
    }

    /// True for `x#c#s#b#n#`.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.letters().eq("xcsbn".chars())
    }

    /// True for `x#c#s#b#`.
    #[must_use]
    pub fn is_bmc(&self) -> bool {
        self.letters().eq("xcsb".chars())
    }

    /// The name without its last part: a node's BMC.
    #[must_use]
    pub fn parent(&self) -> Option<Xname> {
        let cut = self.0.rfind(|c: char| c.is_ascii_lowercase())?;
        (cut > 0).then(|| Xname(self.0[..cut].into()))
    }

    fn letters(&self) -> impl Iterator<Item = char> {
        self.0.chars().filter(char::is_ascii_lowercase)
    }
}

impl std::borrow::Borrow<str> for Xname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Xname {
    type Err = XnameError;

    fn from_str(text: &str) -> Result<Self, XnameError> {
        let wrong = || XnameError(text.to_owned());
        let lowered = text.trim().to_ascii_lowercase();
        let mut out = String::with_capacity(lowered.len());
        let mut rest = lowered.as_str();
        while let Some(letter) = rest.chars().next() {
            let digits = rest.get(1..).unwrap_or("");
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            if !letter.is_ascii_lowercase() || end == 0 || end > 9 {
                return Err(wrong());
            }
            let number: u32 = digits[..end].parse().map_err(|_| wrong())?;
            out.push(letter);
            out.push_str(&number.to_string());
            rest = &digits[end..];
        }
        let known = out.starts_with(['x', 's', 'd', 'p']);
        if known && out.len() <= 64 { Ok(Xname(out.into())) } else { Err(wrong()) }
    }
}

impl fmt::Display for Xname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Xname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Xname;

    #[test]
    fn numbers_are_normalised_and_parents_found() {
        let node: Xname = "X1000C0S00B0N01".parse().unwrap();
        assert_eq!(node.as_str(), "x1000c0s0b0n1");
        assert!(node.is_node() && !node.is_bmc());
        let bmc = node.parent().unwrap();
        assert_eq!(bmc.as_str(), "x1000c0s0b0");
        assert!(bmc.is_bmc());
        for bad in ["", "x", "foo", "x1000c", "1000", "x1 c0", "é1"] {
            assert!(bad.parse::<Xname>().is_err(), "{bad}");
        }
    }

    #[test]
    fn synthesised_names_come_back() {
        let name = Xname::synthetic(41);
        assert_eq!(name.as_str().parse::<Xname>().unwrap(), name);
        assert_eq!(name.synthetic_number(), Some(41));
        assert!(name.is_node());
        assert_eq!("x1000c0s0b0n0".parse::<Xname>().unwrap().synthetic_number(), None);
    }
}
