//! The grant: what a node finds in its initrd. It travels as an archive of its own behind the image's, so that
//! neither the command line nor a URL holds the nonce.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::model::SessionId;
use crate::wire::newc::Archive;

/// Where the node finds it.
pub const PATH: &str = "etc/muster/boot.json";

/// What a node is told to begin with.
pub struct Grant {
    pub session: SessionId,
    pub nonce: Zeroizing<[u8; 32]>,
    /// URL below which `/node/v1` lies.
    pub head: String,
    /// The same over TLS, for images that have curl alone. None: this head has none.
    pub tls: Option<String>,
    /// Fingerprint of the site key.
    pub root: [u8; 32],
}

/// The grant is none that a head wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{PATH}: {0} is missing or malformed")]
pub struct BadGrant(pub &'static str);

impl Grant {
    /// The archive (cpio, newc) with the file, readable by root alone.
    #[must_use]
    pub fn archive(&self) -> Zeroizing<Vec<u8>> {
        let mut archive = Archive::default();
        archive.folder("etc", 0o755);
        archive.folder("etc/muster", 0o700);
        archive.file(PATH, 0o400, &self.emit());
        archive.finish()
    }

    fn emit(&self) -> Zeroizing<Vec<u8>> {
        let nonce = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.nonce.as_slice()));
        let rest = json!({
            "v": 1, "session": self.session.to_string(), "head": self.head, "tls": self.tls,
            "keyset_url": format!("{}/node/v1/keyset", self.head), "root_fp": URL_SAFE_NO_PAD.encode(self.root),
        });
        let rest = rest.to_string();
        let mut out = Zeroizing::new(Vec::with_capacity(rest.len().saturating_add(128)));
        out.extend_from_slice(rest.strip_suffix('}').unwrap_or(&rest).as_bytes());
        out.extend_from_slice(b",\"nonce\":\"");
        out.extend_from_slice(nonce.as_bytes());
        out.extend_from_slice(b"\"}\n");
        out
    }

    /// Reads the file on the node.
    ///
    /// # Errors
    /// Names the field.
    pub fn parse(octets: &[u8]) -> Result<Grant, BadGrant> {
        let value: Value = serde_json::from_slice(octets).map_err(|_| BadGrant("JSON"))?;
        if value.get("v").and_then(Value::as_u64) != Some(1) {
            return Err(BadGrant("v"));
        }
        let text = |name: &'static str| value.get(name).and_then(Value::as_str).ok_or(BadGrant(name));
        let octets = |name: &'static str| {
            let octets = URL_SAFE_NO_PAD.decode(text(name)?).map(Zeroizing::new).ok();
            octets.and_then(|octets| <[u8; 32]>::try_from(octets.as_slice()).ok()).ok_or(BadGrant(name))
        };
        Ok(Grant {
            session: text("session")?.parse().map_err(|_| BadGrant("session"))?,
            nonce: Zeroizing::new(octets("nonce")?),
            head: text("head")?.to_owned(),
            tls: text("tls").ok().map(str::to_owned),
            root: octets("root_fp")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use crate::engine::trust::grant::{Grant, PATH};
    use crate::model::SessionId;

    #[test]
    fn the_node_reads_what_the_head_wrote() {
        let grant = Grant {
            session: SessionId([3; 16]),
            nonce: Zeroizing::new([9; 32]),
            head: "http://192.0.2.254:8081".to_owned(),
            tls: Some("https://192.0.2.254:8443".to_owned()),
            root: [4; 32],
        };
        let read = Grant::parse(&grant.emit()).unwrap();
        assert_eq!((read.session, *read.nonce, read.root), (grant.session, *grant.nonce, grant.root));
        assert_eq!((read.head, read.tls), (grant.head.clone(), grant.tls.clone()));
        let archive = grant.archive();
        let text = String::from_utf8_lossy(&archive);
        assert!(
            text.contains(PATH) && text.contains("\"keyset_url\":\"http://192.0.2.254:8081/node/v1/keyset\"")
        );
        for bad in [&b""[..], b"{}", b"{\"v\":2}", b"[]", b"{\"v\":1,\"session\":7}"] {
            assert!(Grant::parse(bad).is_err());
        }
    }
}
