//! What a quote says: TPMS_ATTEST with TPMS_QUOTE_INFO (part 2, sections 10.12.8 and 10.12.1).

use crate::wire::WireError;
use crate::wire::tpm::{Reader, Selection, put_sized};

/// TPM_GENERATED_VALUE: a restricted key signs nothing from outside that begins so.
const GENERATED: u32 = 0xff54_4347;

/// TPM_ST_ATTEST_QUOTE.
pub const QUOTE: u16 = 0x8018;

/// Octets of the longest name: algorithm and SHA-512.
const NAME_BYTES_MAX: usize = 66;
/// Octets of the longest extraData.
const DATA_BYTES_MAX: usize = 64;

/// A quote's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attest {
    /// Qualified name of the key that signed.
    pub qualified_signer: Vec<u8>,
    /// What the asker gave.
    pub extra_data: Vec<u8>,
    /// Milliseconds that the TPM ran. It falls after a power cut: no measure of freshness.
    pub clock: u64,
    /// Starts of the TPM since it was cleared.
    pub reset_count: u32,
    /// Resumes since the last start.
    pub restart_count: u32,
    /// Whether `clock` is sure.
    pub safe: bool,
    pub firmware: u64,
    pub selection: Vec<Selection>,
    /// Over the selected values in ascending order.
    pub pcr_digest: Vec<u8>,
}

impl Attest {
    /// Reads a TPMS_ATTEST that is a quote, and nothing behind it.
    ///
    /// # Errors
    /// It is not made by a TPM (magic), is no quote, or is malformed.
    pub fn parse(octets: &[u8]) -> Result<Attest, WireError> {
        let mut from = Reader::new(octets);
        if from.u32("magic")? != GENERATED {
            return Err(WireError::Invalid("magic"));
        }
        if from.u16("type")? != QUOTE {
            return Err(WireError::Invalid("type"));
        }
        let attest = Attest {
            qualified_signer: from.sized(NAME_BYTES_MAX, "qualifiedSigner")?.to_vec(),
            extra_data: from.sized(DATA_BYTES_MAX, "extraData")?.to_vec(),
            clock: from.u64("clock")?,
            reset_count: from.u32("resetCount")?,
            restart_count: from.u32("restartCount")?,
            safe: match from.u8("safe")? {
                0 => false,
                1 => true,
                _ => return Err(WireError::Invalid("safe")),
            },
            firmware: from.u64("firmwareVersion")?,
            selection: Selection::parse_list(&mut from)?,
            pcr_digest: from.sized(DATA_BYTES_MAX, "pcrDigest")?.to_vec(),
        };
        from.end("octets behind the quote")?;
        Ok(attest)
    }

    /// As a TPM writes it.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut out = GENERATED.to_be_bytes().to_vec();
        out.extend_from_slice(&QUOTE.to_be_bytes());
        put_sized(&mut out, &self.qualified_signer);
        put_sized(&mut out, &self.extra_data);
        out.extend_from_slice(&self.clock.to_be_bytes());
        out.extend_from_slice(&self.reset_count.to_be_bytes());
        out.extend_from_slice(&self.restart_count.to_be_bytes());
        out.push(u8::from(self.safe));
        out.extend_from_slice(&self.firmware.to_be_bytes());
        Selection::emit_list(&self.selection, &mut out);
        put_sized(&mut out, &self.pcr_digest);
        out
    }
}
