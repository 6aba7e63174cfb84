//! SHA-256 digests: the names of immutable files.

use std::fmt;
use std::str::FromStr;

/// How digests are introduced in text, as OCI does it.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a file's octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// The text is no SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected sha256: and 64 hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// Without the name of the algorithm: 64 lower-case digits.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, octet| {
            write!(hex, "{octet:02x}").expect("a string takes everything");
            hex
        })
    }

    /// Enough of it to tell files of one site apart by eye.
    #[must_use]
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }
}

/// With or without `sha256:`, in either case.
impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix(PREFIX).unwrap_or(text).as_bytes();
        let mut octets = [0; 32];
        let (pairs, rest) = hex.as_chunks::<2>();
        if pairs.len() != octets.len() || !rest.is_empty() {
            return Err(DigestError);
        }
        for (octet, pair) in octets.iter_mut().zip(pairs) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (high, low) = (digit(pair[0]).ok_or(DigestError)?, digit(pair[1]).ok_or(DigestError)?);
            *octet = high << 4 | low;
        }
        Ok(Digest(octets))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Digest;

    #[test]
    fn digests_read_what_they_write_and_refuse_the_rest() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.to_ascii_uppercase()[7..].parse(), Ok(digest));
        for bad in ["", "sha256:", &text[..70], &format!("{text}0"), &text.replace('e', "g"), "sha512:ab"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
