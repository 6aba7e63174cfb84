//! Keys that sign tokens.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize, SigningKey as _};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::engine::token::Algorithm;
use crate::transport::vault::{Chest, VaultError, keyfile};

/// A key that signs tokens, with its public half.
pub(crate) struct Signer {
    key: KeyPair,
    public: Jwk,
    /// Encoded header of every token.
    header: String,
}

impl Signer {
    /// Reads a key, or makes it.
    pub(crate) fn open(
        chest: &Chest,
        folder: &Path,
        name: &str,
        algorithm: Algorithm,
    ) -> Result<Signer, VaultError> {
        let read = |pem: &str| {
            let key = KeyPair::from_pem(pem).map_err(|error| error.to_string())?;
            Signer::new(key, algorithm)
        };
        keyfile::open(chest, folder, name, read, || Signer::make(algorithm))
    }

    /// A new key, and its PEM.
    pub(crate) fn make(algorithm: Algorithm) -> Result<(Signer, Zeroizing<String>), VaultError> {
        let key = match algorithm {
            Algorithm::EdDsa => KeyPair::generate_for(&PKCS_ED25519),
            Algorithm::Rs256 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let key = key.map_err(|error| VaultError::Make(error.to_string()))?;
        let pem = Zeroizing::new(key.serialize_pem());
        Ok((Signer::new(key, algorithm).map_err(VaultError::Make)?, pem))
    }

    fn new(key: KeyPair, algorithm: Algorithm) -> Result<Signer, String> {
        let (raw, wanted) = (
            key.der_bytes(),
            match algorithm {
                Algorithm::EdDsa => &PKCS_ED25519,
                Algorithm::Rs256 => &PKCS_RSA_SHA256,
            },
        );
        if !key.is_compatible(wanted) {
            return Err(format!("it is not for {algorithm}"));
        }
        let (decoding, name) = match algorithm {
            Algorithm::EdDsa => (DecodingKey::from_ed_der(raw), jsonwebtoken::Algorithm::EdDSA),
            Algorithm::Rs256 => (DecodingKey::from_rsa_der(raw), jsonwebtoken::Algorithm::RS256),
        };
        let public = published(&decoding, name).map_err(|error| error.to_string())?;
        let kid = public.common.key_id.as_deref().unwrap_or_default();
        let header = json!({"alg": algorithm.name(), "typ": "JWT", "kid": kid}).to_string();
        let header = URL_SAFE_NO_PAD.encode(header);
        Ok(Signer { key, public, header })
    }

    pub(crate) fn public(&self) -> &Jwk {
        &self.public
    }

    /// A compact JSON Web Signature (RFC 7515 section 7.1). `jsonwebtoken` would read the key again for each,
    /// and takes RSA keys only in the older of the two forms.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, VaultError> {
        let message = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(message.as_bytes());
        let signature = signature.map_err(|error| VaultError::Make(error.to_string()))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The public half as it is published, named by its thumbprint (RFC 7638): TokenSmith's services want that.
fn published(key: &DecodingKey, name: jsonwebtoken::Algorithm) -> jsonwebtoken::errors::Result<Jwk> {
    let mut jwk = Jwk::from_decoding_key(key, Some(name))?;
    jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256)?);
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(jwk)
}
