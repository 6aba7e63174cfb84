//! Takes fields off the front of some octets, and never more than there is.

use crate::wire::WireError;

/// What is left to read. Numbers are big-endian unless the method says otherwise.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(octets: &'a [u8]) -> Reader<'a> {
        Reader(octets)
    }

    /// The next `count` octets.
    ///
    /// # Errors
    /// There are fewer; `field` is named.
    pub fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(WireError::Truncated(field))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated(field))?;
        self.0 = rest;
        Ok(*head)
    }

    /// # Errors
    /// The octets end before.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// # Errors
    /// The octets end before.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// # Errors
    /// The octets end before.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// # Errors
    /// The octets end before.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Little-endian, as firmware writes it.
    ///
    /// # Errors
    /// The octets end before.
    pub fn u16_le(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Little-endian, as firmware writes it.
    ///
    /// # Errors
    /// The octets end before.
    pub fn u32_le(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A TPM2B of at most `most` octets.
    ///
    /// # Errors
    /// It is longer, or cut off.
    pub fn sized(&mut self, most: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let length = usize::from(self.u16(field)?);
        if length > most {
            return Err(WireError::Invalid(field));
        }
        self.take(length, field)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Holds the octets to an end here.
    ///
    /// # Errors
    /// Something follows.
    pub fn end(self, field: &'static str) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Invalid(field)) }
    }
}
