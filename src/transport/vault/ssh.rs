//! SSH host keys of nodes, and the authority that signs them, so that one line in `known_hosts` is good for all.

use std::path::Path;

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use crate::base::{Millis, Timestamp};
use crate::transport::vault::site::make_ed25519;
use crate::transport::vault::{Chest, VaultError, keyfile};
use crate::wire::ssh::{HostClaims, PrivateKey, PublicKey, host_certificate, private_file};

/// Life of a host certificate: longer than a node runs between two boots, at each of which it gets another.
const HOST_LIFE: Millis = Millis::from_secs(365 * 86_400);

/// How long before now it begins: clocks of clients may be behind.
const BACKDATE: Millis = Millis::from_secs(3600);

/// Octets of the two seeds of a node's host keys.
pub const HOST_KEYS_BYTES: usize = 64;

/// The authority of host keys.
pub struct SshAuthority {
    key: SigningKey,
}

/// A node's host keys: one seed for each kind, from which everything else follows.
pub struct HostKeys {
    ed25519: SigningKey,
    p256: p256::SecretKey,
}

/// A file of a node's host keys.
pub struct HostFile {
    /// Below `/etc/ssh`.
    pub name: &'static str,
    pub mode: u16,
    pub content: Zeroizing<String>,
}

impl SshAuthority {
    /// Reads the key, or makes it.
    ///
    /// # Errors
    /// A file cannot be read, written or used.
    pub fn open(chest: &Chest, folder: &Path) -> Result<SshAuthority, VaultError> {
        let read = |pem: &str| SigningKey::from_pkcs8_pem(pem).map_err(|error| error.to_string());
        keyfile::open(chest, folder, "ssh-ca", read, make_ed25519).map(|key| SshAuthority { key })
    }

    /// The public key, as it stands behind `@cert-authority *` in `known_hosts`.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::Ed25519(self.key.verifying_key().to_bytes())
    }

    /// The files of a node's host keys, with certificates for these names and addresses.
    ///
    /// # Errors
    /// The operating system has no dice.
    pub fn host_files(
        &self,
        keys: &HostKeys,
        node: &str,
        principals: &[String],
        now: Timestamp,
    ) -> Result<Vec<HostFile>, VaultError> {
        let [ed25519, p256] = keys.pairs();
        let private = |(private, public): &(PrivateKey, PublicKey)| {
            Ok::<_, VaultError>(private_file(private, public, node, u32::from_be_bytes(dice()?)))
        };
        let certificate = |(_, public): &(PrivateKey, PublicKey)| {
            let claims = HostClaims {
                serial: u64::from_be_bytes(dice()?),
                id: node,
                principals,
                after: (now - BACKDATE).0 / 1000,
                before: (now + HOST_LIFE).0 / 1000,
            };
            let authority = self.key.verifying_key().to_bytes();
            let sign = |message: &[u8]| self.key.sign(message).to_bytes();
            let line = host_certificate(public, &claims, &dice()?, &authority, sign);
            Ok::<_, VaultError>(Zeroizing::new(format!("{line} {node}\n")))
        };
        let public =
            |(_, public): &(PrivateKey, PublicKey)| Zeroizing::new(format!("{} {node}\n", public.line()));
        let file = |name, mode, content| HostFile { name, mode, content };
        Ok(vec![
            file("ssh_host_ed25519_key", 0o600, private(&ed25519)?),
            file("ssh_host_ed25519_key.pub", 0o644, public(&ed25519)),
            file("ssh_host_ed25519_key-cert.pub", 0o644, certificate(&ed25519)?),
            file("ssh_host_ecdsa_key", 0o600, private(&p256)?),
            file("ssh_host_ecdsa_key.pub", 0o644, public(&p256)),
            file("ssh_host_ecdsa_key-cert.pub", 0o644, certificate(&p256)?),
        ])
    }
}

impl HostKeys {
    /// Makes the seeds of new ones. Of 2^32 draws one is no scalar of P-256; then another is drawn.
    ///
    /// # Errors
    /// The operating system has no dice.
    pub fn make() -> Result<Zeroizing<Vec<u8>>, VaultError> {
        loop {
            let mut seeds = Zeroizing::new(vec![0; HOST_KEYS_BYTES]);
            getrandom::fill(&mut seeds).map_err(|error| VaultError::Make(error.to_string()))?;
            if HostKeys::read(&seeds).is_ok() {
                return Ok(seeds);
            }
        }
    }

    /// Reads what `make` made.
    ///
    /// # Errors
    /// It did not make it.
    pub fn read(seeds: &[u8]) -> Result<HostKeys, VaultError> {
        let wrong = || VaultError::Damaged("a node's SSH host keys".to_owned());
        let (first, second) = seeds.split_at_checked(32).ok_or_else(wrong)?;
        let first = Zeroizing::new(<[u8; 32]>::try_from(first).map_err(|_| wrong())?);
        let p256 = p256::SecretKey::from_slice(second).map_err(|_| wrong())?;
        Ok(HostKeys { ed25519: SigningKey::from_bytes(&first), p256 })
    }

    /// Their public halves.
    #[must_use]
    pub fn public(&self) -> [PublicKey; 2] {
        self.pairs().map(|(_, public)| public)
    }

    fn pairs(&self) -> [(PrivateKey, PublicKey); 2] {
        let ed25519 = PublicKey::Ed25519(self.ed25519.verifying_key().to_bytes());
        let seed = PrivateKey::Ed25519(Zeroizing::new(self.ed25519.to_bytes()));
        let mut point = [0; 65];
        let sec1 = self.p256.public_key().to_sec1_bytes();
        point.iter_mut().zip(&sec1).for_each(|(to, from)| *to = *from);
        let mut scalar = Zeroizing::new([0; 32]);
        let octets = Zeroizing::new(self.p256.to_bytes());
        scalar.copy_from_slice(octets.as_slice());
        [(seed, ed25519), (PrivateKey::P256(scalar), PublicKey::P256(point))]
    }
}

fn dice<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|error| VaultError::Make(error.to_string()))?;
    Ok(octets)
}
