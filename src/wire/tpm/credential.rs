//! A credential on its way to a TPM: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET (part 2, sections 12.4.3 and
//! 11.4.33), and the file in which tpm2-tools keep the two.

use crate::wire::WireError;
use crate::wire::tpm::{Reader, put_sized};

/// What tpm2-tools put in front: their magic and version 1.
const TOOLS_HEAD: [u8; 8] = [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1];

/// HMAC of SHA-512 and the encrypted credential, each with its length.
const OBJECT_BYTES_MAX: usize = 132;
/// RSA-4096.
const SECRET_BYTES_MAX: usize = 512;

/// Octets of the longest file of tpm2-tools.
pub const TOOLS_BLOB_BYTES_MAX: usize = TOOLS_HEAD.len() + 2 + OBJECT_BYTES_MAX + 2 + SECRET_BYTES_MAX;

/// A credential that one TPM alone can unpack. Both parts are without their TPM2B lengths.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    pub id_object: Vec<u8>,
    pub encrypted_secret: Vec<u8>,
}

impl Credential {
    /// As the file that `tpm2_activatecredential -i` reads.
    #[must_use]
    pub fn tools_blob(&self) -> Vec<u8> {
        let mut out = TOOLS_HEAD.to_vec();
        put_sized(&mut out, &self.id_object);
        put_sized(&mut out, &self.encrypted_secret);
        out
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// It is none, or of another version.
    pub fn parse_tools_blob(octets: &[u8]) -> Result<Credential, WireError> {
        let mut from = Reader::new(octets);
        if from.take(TOOLS_HEAD.len(), "head of the credential")? != TOOLS_HEAD {
            return Err(WireError::Invalid("head of the credential"));
        }
        let id_object = from.sized(OBJECT_BYTES_MAX, "idObject")?.to_vec();
        let encrypted_secret = from.sized(SECRET_BYTES_MAX, "encryptedSecret")?.to_vec();
        from.end("octets behind the credential")?;
        Ok(Credential { id_object, encrypted_secret })
    }
}
