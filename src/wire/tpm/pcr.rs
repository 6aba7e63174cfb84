//! Selections of PCRs: TPML_PCR_SELECTION (part 2, sections 10.6 and 10.9.7).

use crate::wire::WireError;
use crate::wire::tpm::{Hash, Reader};

/// PCRs of a PC: three octets of bits.
pub const PCRS: u8 = 24;

/// Banks in one selection; a TPM has two or three.
const BANKS_MAX: u32 = 16;

/// PCRs of one bank. A bank of a hash that we do not compute (SHA-1, SM3) is kept by its number, so that a
/// selection with such a bank is seen to be another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Selection {
    /// TPM_ALG_ID of the bank.
    pub bank: u16,
    /// Bit n of octet n/8 is PCR n.
    pub bitmap: [u8; 3],
}

impl Selection {
    /// These PCRs of the SHA-256 bank. Numbers beyond [`PCRS`] are no PCRs and are left out.
    #[must_use]
    pub fn sha256(pcrs: &[u8]) -> Selection {
        let mut bits = 0_u32;
        for pcr in pcrs.iter().filter(|pcr| **pcr < PCRS) {
            bits |= 1 << pcr;
        }
        let [a, b, c, _] = bits.to_le_bytes();
        Selection { bank: Hash::Sha256.id(), bitmap: [a, b, c] }
    }

    /// The selected PCRs, ascending.
    #[must_use]
    pub fn pcrs(&self) -> Vec<u8> {
        let [a, b, c] = self.bitmap;
        let bits = u32::from_le_bytes([a, b, c, 0]);
        (0..PCRS).filter(|pcr| bits & (1 << pcr) != 0).collect()
    }

    /// Reads a list.
    ///
    /// # Errors
    /// It is cut off, has more banks than any TPM, or a bitmap that is not of a PC.
    pub fn parse_list(from: &mut Reader<'_>) -> Result<Vec<Selection>, WireError> {
        let count = from.u32("PCR selection")?;
        if count > BANKS_MAX {
            return Err(WireError::Invalid("PCR selection"));
        }
        let one = |_| {
            let bank = from.u16("PCR bank")?;
            let bitmap = match from.u8("size of the PCR bitmap")? {
                3 => from.take(3, "PCR bitmap")?,
                _ => return Err(WireError::Invalid("size of the PCR bitmap")),
            };
            let bitmap = bitmap.try_into().map_err(|_| WireError::Truncated("PCR bitmap"))?;
            Ok(Selection { bank, bitmap })
        };
        (0..count).map(one).collect()
    }

    /// Writes a list.
    pub fn emit_list(list: &[Selection], out: &mut Vec<u8>) {
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for Selection { bank, bitmap } in list {
            out.extend_from_slice(&bank.to_be_bytes());
            out.push(3);
            out.extend_from_slice(bitmap);
        }
    }
}
