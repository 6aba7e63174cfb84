//! Base32 (RFC 4648 section 6) in lower case and without padding: names of random octets that people read out.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The text of these octets.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().saturating_mul(8).div_ceil(5));
    let (mut buffer, mut bits) = (0_u16, 0_u32);
    for octet in octets {
        buffer = (buffer << 8) | u16::from(*octet);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[usize::from((buffer >> bits) & 31)]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[usize::from((buffer << (5 - bits)) & 31)]));
    }
    text
}

/// The octets of a text, of either case. None: it is no base32, or not the one text of its octets.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len().saturating_mul(5) / 8);
    let (mut buffer, mut bits) = (0_u16, 0_u32);
    for letter in text.bytes().map(|letter| letter.to_ascii_lowercase()) {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        buffer = (buffer << 5) | u16::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            octets.push(u8::try_from(buffer >> bits).ok()?);
            buffer &= (1 << bits) - 1;
        }
    }
    (buffer == 0 && bits < 5).then_some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::base::base32::{decode, encode};

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        let vectors = ["", "my", "mzxq", "mzxw6", "mzxw6yq", "mzxw6ytb", "mzxw6ytboi"];
        for (length, text) in vectors.iter().enumerate() {
            assert_eq!(encode(&b"foobar"[..length]), *text);
            assert_eq!(decode(&text.to_uppercase()).as_deref(), Some(&b"foobar"[..length]));
        }
        for bad in ["m", "mz", "mzxw1", "my=", "mzx"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(octets: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&octets)), Some(octets));
        }
    }
}
