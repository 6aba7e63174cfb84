//! The keys that sign tokens, and those that did: a token that was given under a former key counts until it ends.

use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::Jwk;

use crate::base::Timestamp;
use crate::base::limits::{TOKEN_KEYS_FORMER_MAX, TOKEN_LIFE_MAX};
use crate::engine::token::{Algorithm, Claims};
use crate::transport::vault::signer::Signer;
use crate::transport::vault::{Chest, VaultError, file};

/// Public halves of former keys in the folder of keys. Nothing in it is secret, but whoever could add one could sign.
const FORMER: &str = "token-former.json";

const EDDSA: &str = "token-ed25519";
const RS256: &str = "token-rs256";

/// The keys of one time.
pub(crate) struct TokenKeys {
    eddsa: Signer,
    rs256: Signer,
    /// Those that sign, then former ones.
    public: Vec<Jwk>,
    former: Vec<Former>,
}

/// A former key's public half, and when the last token under it ends.
type Former = (Jwk, u64);

impl TokenKeys {
    /// Reads the keys, or makes them.
    pub(crate) fn open(chest: &Chest, folder: &Path, now: Timestamp) -> Result<TokenKeys, VaultError> {
        let eddsa = Signer::open(chest, folder, EDDSA, Algorithm::EdDsa)?;
        let rs256 = Signer::open(chest, folder, RS256, Algorithm::Rs256)?;
        Ok(TokenKeys::of(eddsa, rs256, read(folder)?, now))
    }

    fn of(eddsa: Signer, rs256: Signer, mut former: Vec<Former>, now: Timestamp) -> TokenKeys {
        let mut public = vec![eddsa.public().clone(), rs256.public().clone()];
        // A rotation that was cut off wrote a key down that signs still.
        former.retain(|(key, until)| *until > now.0 && !public.contains(key));
        public.extend(former.iter().map(|(key, _)| key.clone()));
        TokenKeys { eddsa, rs256, public, former }
    }

    pub(crate) fn public(&self) -> &[Jwk] {
        &self.public
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, claims: &Claims) -> Result<String, VaultError> {
        match algorithm {
            Algorithm::EdDsa => self.eddsa.sign(&claims.to_json()),
            Algorithm::Rs256 => self.rs256.sign(&claims.to_json()),
        }
    }

    /// Makes new keys. Tokens under the old ones count until they end, or with `end` no longer. What still counts
    /// is on disk before the keys that replace it: wherever the power fails, no good token is refused afterwards.
    pub(crate) fn next(
        &self,
        chest: &Chest,
        folder: &Path,
        end: bool,
        now: Timestamp,
    ) -> Result<TokenKeys, VaultError> {
        let ((eddsa, first), (rs256, second)) =
            (Signer::make(Algorithm::EdDsa)?, Signer::make(Algorithm::Rs256)?);
        let mut former: Vec<Former> = Vec::new();
        if !end {
            let until = (now + TOKEN_LIFE_MAX).0;
            let signing = [self.eddsa.public(), self.rs256.public()];
            former.extend(signing.into_iter().map(|key| (key.clone(), until)));
            former.extend(self.former.iter().filter(|(_, until)| *until > now.0).cloned());
            if former.len() > TOKEN_KEYS_FORMER_MAX {
                return Err(VaultError::TooMany(TOKEN_KEYS_FORMER_MAX));
            }
        }
        if end {
            // First the keys: as long as the old ones sign, they count.
            chest.write_file(EDDSA, first.as_bytes())?;
            chest.write_file(RS256, second.as_bytes())?;
            write(folder, &former)?;
        } else {
            write(folder, &former)?;
            chest.write_file(EDDSA, first.as_bytes())?;
            chest.write_file(RS256, second.as_bytes())?;
        }
        Ok(TokenKeys::of(eddsa, rs256, former, now))
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FORMER)
}

fn read(folder: &Path) -> Result<Vec<Former>, VaultError> {
    let Some(octets) = file::read_private(&path(folder))? else { return Ok(Vec::new()) };
    let wrong = |error: serde_json::Error| VaultError::Key { path: path(folder), why: error.to_string() };
    serde_json::from_slice(&octets).map_err(wrong)
}

fn write(folder: &Path, former: &[Former]) -> Result<(), VaultError> {
    let octets = serde_json::to_vec(former).map_err(|error| VaultError::Make(error.to_string()))?;
    file::write(&path(folder), &octets, 0o600)
}
