//! Machine identifiers as SMBIOS and DHCP option 97 carry them.

use std::fmt;
use std::str::FromStr;

/// A UUID in the order in which people read it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// Says why a text is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UUID (expected 8-4-4-4-12 hex digits)")]
pub struct UuidError(pub String);

impl Uuid {
    /// From the bytes of option 97 after the type octet: the first three fields are little-endian
    /// (RFC 4578 section 2.3, EFI byte order). All-zero and all-ones mean "none".
    #[must_use]
    pub fn from_wire(mut octets: [u8; 16]) -> Option<Uuid> {
        if octets == [0; 16] || octets == [0xff; 16] {
            return None;
        }
        octets[0..4].reverse();
        octets[4..6].reverse();
        octets[6..8].reverse();
        Some(Uuid(octets))
    }

    /// A version 4 UUID of these random octets (RFC 9562 section 5.4).
    #[must_use]
    pub fn version_4(mut octets: [u8; 16]) -> Uuid {
        octets[6] = octets[6] & 0x0f | 0x40;
        octets[8] = octets[8] & 0x3f | 0x80;
        Uuid(octets)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let wrong = || UuidError(text.to_owned());
        let hex: String = text.trim().chars().filter(|c| *c != '-').collect();
        if hex.len() != 32 || !hex.is_ascii() {
            return Err(wrong());
        }
        let mut octets = [0; 16];
        for (index, octet) in octets.iter_mut().enumerate() {
            *octet = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Uuid(octets))
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Uuid;

    #[test]
    fn option_97_turns_into_the_text_that_people_read() {
        let wire =
            [0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0];
        let uuid = Uuid::from_wire(wire).unwrap();
        assert_eq!(uuid.to_string(), "11223344-5566-7788-99aa-bbccddeeff00");
        assert_eq!("11223344-5566-7788-99AA-BBCCDDEEFF00".parse::<Uuid>().unwrap(), uuid);
        assert_eq!(Uuid::from_wire([0; 16]), None);
        assert_eq!(Uuid::from_wire([0xff; 16]), None);
    }
}
