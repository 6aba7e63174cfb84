//! OpenSSH's forms of keys: public keys (RFC 4253 section 6.6, RFC 5656, RFC 8709), private key files
//! (PROTOCOL.key) and host certificates (PROTOCOL.certkeys). By hand, because the crate that writes them brings an
//! RSA implementation with an open advisory; this is what is written, nothing is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// First octets of a private key file.
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// Block of the cipher `none`, to which the private section is padded.
const BLOCK: usize = 8;

/// Characters of base64 in a line, as ssh-keygen writes it.
const LINE: usize = 70;

/// SSH_CERT_TYPE_HOST.
const HOST: u32 = 2;

/// A public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublicKey {
    Ed25519([u8; 32]),
    /// An uncompressed point, SEC 1: `04 ‖ x ‖ y`.
    P256([u8; 65]),
}

/// A private key.
pub enum PrivateKey {
    /// The seed.
    Ed25519(Zeroizing<[u8; 32]>),
    /// The scalar, big-endian.
    P256(Zeroizing<[u8; 32]>),
}

/// What a host certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostClaims<'a> {
    pub serial: u64,
    /// What logs call it.
    pub id: &'a str,
    /// Names and addresses by which clients may reach the host.
    pub principals: &'a [String],
    /// Seconds since 1970, from which and before which it holds.
    pub after: u64,
    pub before: u64,
}

impl PublicKey {
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            PublicKey::Ed25519(_) => "ssh-ed25519",
            PublicKey::P256(_) => "ecdsa-sha2-nistp256",
        }
    }

    fn certificate_kind(&self) -> &'static str {
        match self {
            PublicKey::Ed25519(_) => "ssh-ed25519-cert-v01@openssh.com",
            PublicKey::P256(_) => "ecdsa-sha2-nistp256-cert-v01@openssh.com",
        }
    }

    fn put_fields(&self, out: &mut Vec<u8>) {
        match self {
            PublicKey::Ed25519(key) => put(out, key),
            PublicKey::P256(point) => {
                put(out, b"nistp256");
                put(out, point);
            }
        }
    }

    /// The key's octets on the wire.
    #[must_use]
    pub fn blob(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.kind().as_bytes());
        self.put_fields(&mut out);
        out
    }

    /// As it stands in `known_hosts` behind the names, and in `*.pub`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.kind(), STANDARD.encode(self.blob()))
    }
}

/// A private key file without a passphrase. `check` is any number; it tells a right passphrase from a wrong one.
#[must_use]
pub fn private_file(
    private: &PrivateKey,
    public: &PublicKey,
    comment: &str,
    check: u32,
) -> Zeroizing<String> {
    let mut inner = Zeroizing::new(Vec::with_capacity(512));
    inner.extend_from_slice(&check.to_be_bytes());
    inner.extend_from_slice(&check.to_be_bytes());
    put(&mut inner, public.kind().as_bytes());
    public.put_fields(&mut inner);
    match (private, public) {
        (PrivateKey::Ed25519(seed), PublicKey::Ed25519(key)) => {
            let both = Zeroizing::new([seed.as_slice(), key].concat());
            put(&mut inner, &both);
        }
        (PrivateKey::Ed25519(octets) | PrivateKey::P256(octets), _) => {
            put_mpint(&mut inner, octets.as_slice())
        }
    }
    put(&mut inner, comment.as_bytes());
    let fill = inner.len().next_multiple_of(BLOCK).saturating_sub(inner.len());
    inner.extend((1..=BLOCK).take(fill).filter_map(|octet| u8::try_from(octet).ok()));

    let mut out = Zeroizing::new(Vec::with_capacity(1024));
    out.extend_from_slice(MAGIC);
    put(&mut out, b"none"); // cipher
    put(&mut out, b"none"); // key derivation
    put(&mut out, b""); // and its options
    out.extend_from_slice(&1_u32.to_be_bytes());
    put(&mut out, &public.blob());
    put(&mut out, &inner);
    let encoded = Zeroizing::new(STANDARD.encode(&out));
    let mut text = Zeroizing::new(String::with_capacity(2048));
    text.push_str("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for line in encoded.as_bytes().chunks(LINE) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    text
}

/// The line of a host certificate, as it stands in `*-cert.pub`. `sign` makes an Ed25519 signature with the key of
/// `authority`; `nonce` is random.
#[must_use]
pub fn host_certificate(
    key: &PublicKey,
    claims: &HostClaims<'_>,
    nonce: &[u8; 32],
    authority: &[u8; 32],
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> String {
    let HostClaims { serial, id, principals, after, before } = claims;
    let mut out = Vec::new();
    put(&mut out, key.certificate_kind().as_bytes());
    put(&mut out, nonce);
    key.put_fields(&mut out);
    out.extend_from_slice(&serial.to_be_bytes());
    out.extend_from_slice(&HOST.to_be_bytes());
    put(&mut out, id.as_bytes());
    let mut names = Vec::new();
    principals.iter().for_each(|name| put(&mut names, name.as_bytes()));
    put(&mut out, &names);
    out.extend_from_slice(&after.to_be_bytes());
    out.extend_from_slice(&before.to_be_bytes());
    put(&mut out, b""); // critical options
    put(&mut out, b""); // extensions; hosts have none
    put(&mut out, b""); // reserved
    put(&mut out, &PublicKey::Ed25519(*authority).blob());
    let signature = sign(&out);
    let mut signed = Vec::new();
    put(&mut signed, b"ssh-ed25519");
    put(&mut signed, &signature);
    put(&mut out, &signed);
    format!("{} {}", key.certificate_kind(), STANDARD.encode(&out))
}

/// A string (RFC 4251 section 5). What is longer than its length field can say is cut; nothing here is.
fn put(out: &mut Vec<u8>, octets: &[u8]) {
    let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(octets);
}

/// A positive number: no leading zeros, but one where the first bit would be taken for a sign.
fn put_mpint(out: &mut Vec<u8>, octets: &[u8]) {
    let first = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len());
    let bare = octets.get(first..).unwrap_or_default();
    let mut number = Zeroizing::new(Vec::with_capacity(bare.len().saturating_add(1)));
    number.extend(bare.first().filter(|octet| **octet >= 0x80).map(|_| 0));
    number.extend_from_slice(bare);
    put(out, &number);
}

#[cfg(test)]
mod tests {
    use crate::wire::ssh::{PrivateKey, PublicKey, private_file, put_mpint};
    use zeroize::Zeroizing;

    #[test]
    fn numbers_have_no_needless_zeros_and_no_sign() {
        for (octets, wanted) in [
            (&[0, 0, 1][..], &[0, 0, 0, 1, 1][..]),
            (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
            (&[0, 0x7f], &[0, 0, 0, 1, 0x7f]),
            (&[0, 0], &[0, 0, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_mpint(&mut out, octets);
            assert_eq!(out, wanted);
        }
    }

    /// The key of RFC 8032 section 7.1, test 1. That OpenSSH reads the rest, `tests/secrets.rs` asks itself.
    #[test]
    fn a_known_key_is_written_as_openssh_writes_it() {
        let public = PublicKey::Ed25519([
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
            0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ]);
        assert_eq!(
            public.line(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
        );
        let seed = Zeroizing::new([7; 32]);
        let file = private_file(&PrivateKey::Ed25519(seed), &public, "c", 1);
        assert!(file.lines().all(|line| line.len() <= 70) && file.ends_with("KEY-----\n"), "{}", *file);
    }
}
