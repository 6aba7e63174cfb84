//! The option field: a scanner that survives what real clients send, and an ordered list to build replies.

use std::net::Ipv4Addr;

use dhcproto::v4::DhcpOption;
use dhcproto::{Encodable, Encoder};

/// Options in the order of their first appearance; one entry for each code.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Options(Vec<(u8, Vec<u8>)>);

const PAD: u8 = 0;
const END: u8 = 255;

impl Options {
    /// Reads one field of tag-length-value options into the list. An option whose length runs beyond the
    /// field ends the scan; all before it count. Instances of one code are joined in order (RFC 3396).
    pub fn scan(&mut self, mut field: &[u8]) {
        while let Some((&code, rest)) = field.split_first() {
            match code {
                PAD => field = rest,
                END => return,
                _ => {
                    let Some((&length, rest)) = rest.split_first() else { return };
                    let Some((value, rest)) = rest.split_at_checked(usize::from(length)) else { return };
                    self.append(code, value);
                    field = rest;
                }
            }
        }
    }

    #[must_use]
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }

    #[must_use]
    pub fn contains(&self, code: u8) -> bool {
        self.get(code).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, value.as_slice()))
    }

    /// The address in an option of exactly four octets.
    #[must_use]
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        <[u8; 4]>::try_from(self.get(code)?).ok().map(Ipv4Addr::from)
    }

    /// The number in an option of exactly two octets.
    #[must_use]
    pub fn number(&self, code: u8) -> Option<u16> {
        <[u8; 2]>::try_from(self.get(code)?).ok().map(u16::from_be_bytes)
    }

    /// Text, without the NULs at its end that some clients add; what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self, code: u8) -> Option<String> {
        let value = self.get(code)?;
        let end = value.iter().rposition(|octet| *octet != 0).map_or(0, |last| last.saturating_add(1));
        Some(String::from_utf8_lossy(value.get(..end)?).into_owned())
    }

    /// Sets an option, in its old place if it had one.
    pub fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == code) {
            Some((_, old)) => *old = value,
            None => self.0.push((code, value)),
        }
    }

    /// Sets an option by its meaning.
    pub fn put(&mut self, option: &DhcpOption) {
        let mut field = Vec::new();
        // Only a message of 64 kB can fail to encode; options of ours are shorter, and an empty field adds
        // nothing.
        if option.encode(&mut Encoder::new(&mut field)).is_ok() {
            self.scan(&field);
        }
    }

    pub fn remove(&mut self, code: u8) {
        self.0.retain(|(known, _)| *known != code);
    }

    /// Joins a further instance of an option to those before it.
    fn append(&mut self, code: u8, value: &[u8]) {
        match self.0.iter_mut().find(|(known, _)| *known == code) {
            Some((_, joined)) => joined.extend_from_slice(value),
            None => self.0.push((code, value.to_vec())),
        }
    }
}

/// Number of octets that a value takes in the option field (RFC 3396 splits it every 255 octets).
pub(crate) fn emitted_len(value: &[u8]) -> usize {
    let headers = value.len().div_ceil(usize::from(u8::MAX)).max(1).saturating_mul(2);
    value.len().saturating_add(headers)
}

/// Writes one option, split every 255 octets (RFC 3396 section 5).
pub(crate) fn emit(code: u8, value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        out.extend_from_slice(&[code, 0]);
    }
    for part in value.chunks(usize::from(u8::MAX)) {
        out.push(code);
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
}
