//! What is in a sealed bundle: secrets, tokens, and what the node is told besides.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::base::Level;

/// Secrets of one bundle: a node has some dozens.
const ITEMS_MAX: usize = 1024;

/// A secret on its way to a node.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name in the vault.
    pub id: String,
    pub version: u64,
    /// Where it becomes a file; none: it becomes no file.
    pub path: Option<String>,
    /// Permissions of the file.
    pub mode: u32,
    /// `user:group` of the file, by name.
    pub owner: String,
    /// The name under which systemd hands it to a unit.
    pub credential: Option<String>,
    pub data: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Item({} version {})", self.id, self.version)
    }
}

/// A secret that the node is to have, but does not get now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withheld {
    pub id: String,
    /// What it would take.
    pub needs: Level,
    pub reason: String,
}

/// What is chosen for a node at a level.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Choice {
    pub items: Vec<Item>,
    pub withheld: Vec<Withheld>,
    /// Units of the node that are to start after its secrets are in place.
    pub after: Vec<String>,
}

/// The whole content of a bundle.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Contents {
    pub choice: Choice,
    /// The node's token for `/node/v1`.
    pub token: String,
    /// Seconds since 1970: a node may set its clock by it.
    pub server_time: u64,
}

/// The content is not what a head writes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the bundle's content: {0} is missing or malformed")]
pub struct Malformed(pub String);

impl Contents {
    /// The octets to be sealed. Written piece by piece, so that no copy of a secret stays behind.
    #[must_use]
    pub fn emit(&self) -> Zeroizing<Vec<u8>> {
        let Choice { items, withheld, after } = &self.choice;
        let secrets = items.iter().map(|item| item.data.len().saturating_mul(2));
        let room = secrets.fold(self.token.len(), usize::saturating_add);
        // Never grown: growing would leave a copy.
        let mut out = Zeroizing::new(Vec::with_capacity(
            room.saturating_add(items.len().saturating_add(withheld.len()).saturating_mul(2048))
                .saturating_add(4096),
        ));
        out.extend_from_slice(b"{\"secrets\":[");
        for (index, item) in items.iter().enumerate() {
            let Item { id, version, path, mode, owner, credential, data } = item;
            let head = json!({
                "id": id, "version": version, "path": path, "mode": format!("{mode:04o}"), "owner": owner,
                "credential": credential, "sha256": hex(&Sha256::digest(data.as_slice())),
            });
            let head = head.to_string();
            out.extend_from_slice(if index == 0 { b"" } else { b"," });
            out.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
            out.extend_from_slice(b",\"data_b64\":\"");
            let data = Zeroizing::new(STANDARD.encode(data.as_slice()));
            out.extend_from_slice(data.as_bytes());
            out.extend_from_slice(b"\"}");
        }
        let withheld: Vec<Value> = withheld
            .iter()
            .map(|one| json!({"id": one.id, "needs": one.needs.as_str(), "reason": one.reason}))
            .collect();
        let rest = json!({
            "withheld": withheld, "token": self.token, "server_time": self.server_time, "after": after,
        });
        let rest = rest.to_string();
        out.extend_from_slice(b"],");
        out.extend_from_slice(rest.strip_prefix('{').unwrap_or(&rest).as_bytes());
        out
    }

    /// Reads what was opened.
    ///
    /// # Errors
    /// Names the field; nothing of it may be used.
    pub fn parse(octets: &[u8]) -> Result<Contents, Malformed> {
        let bad = |field: &str| Malformed(field.to_owned());
        let mut value: Value = serde_json::from_slice(octets).map_err(|_| bad("JSON"))?;
        let mut items = Vec::new();
        let listed = value.get_mut("secrets").and_then(Value::as_array_mut).ok_or_else(|| bad("secrets"))?;
        if listed.len() > ITEMS_MAX {
            return Err(bad("secrets"));
        }
        for (index, secret) in listed.iter_mut().enumerate() {
            let item = item(secret).ok_or_else(|| Malformed(format!("secrets[{index}]")));
            items.push(item?);
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let list = |name: &str| value.get(name).and_then(Value::as_array).ok_or_else(|| bad(name));
        let withheld = list("withheld")?.iter().map(|one| {
            let text = |name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
            Some(Withheld { id: text("id")?, needs: text("needs")?.parse().ok()?, reason: text("reason")? })
        });
        let after = list("after")?.iter().map(|unit| unit.as_str().map(str::to_owned));
        let choice = Choice {
            items,
            withheld: withheld.collect::<Option<_>>().ok_or_else(|| bad("withheld"))?,
            after: after.collect::<Option<_>>().ok_or_else(|| bad("after"))?,
        };
        let server_time =
            value.get("server_time").and_then(Value::as_u64).ok_or_else(|| bad("server_time"))?;
        Ok(Contents { choice, token: text("token").ok_or_else(|| bad("token"))?, server_time })
    }
}

/// Reads a secret, wipes its text, and holds the octets to their sum.
fn item(secret: &mut Value) -> Option<Item> {
    let Some(Value::String(encoded)) = secret.get_mut("data_b64") else { return None };
    let data = STANDARD.decode(encoded.as_bytes()).ok().map(Zeroizing::new);
    encoded.zeroize();
    let data = data?;
    let text = |name: &str| secret.get(name).and_then(Value::as_str).map(str::to_owned);
    if text("sha256")? != hex(&Sha256::digest(data.as_slice())) {
        return None;
    }
    Some(Item {
        id: text("id")?,
        version: secret.get("version").and_then(Value::as_u64)?,
        path: text("path"),
        mode: u32::from_str_radix(&text("mode")?, 8).ok().filter(|mode| *mode <= 0o777)?,
        owner: text("owner")?,
        credential: text("credential"),
        data,
    })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use crate::base::Level;
    use crate::engine::trust::contents::{Choice, Contents, Item, Withheld};

    fn contents(data: &[u8]) -> Contents {
        let item = |id: &str, path: Option<&str>| Item {
            id: id.to_owned(),
            version: 3,
            path: path.map(str::to_owned),
            mode: 0o400,
            owner: "munge:munge".to_owned(),
            credential: None,
            data: Zeroizing::new(data.to_vec()),
        };
        let withheld =
            Withheld { id: "host-key".to_owned(), needs: Level::Tpm, reason: "no TPM \"here\"".to_owned() };
        let choice = Choice {
            items: vec![item("munge", Some("/etc/munge/munge.key")), item("env", None)],
            withheld: vec![withheld],
            after: vec!["munge.service".to_owned()],
        };
        Contents { choice, token: "a.b.c".to_owned(), server_time: 7 }
    }

    #[test]
    fn what_is_written_is_read_and_no_secret_shows_in_debug() {
        for data in [&b""[..], b"marker-in-the-clear", &[0; 70_000]] {
            let written = contents(data).emit();
            assert_eq!(Contents::parse(&written).unwrap(), contents(data));
        }
        assert!(!format!("{:?}", contents(b"marker")).contains("marker"));
        assert_eq!(Contents::parse(&Contents::default().emit()).unwrap(), Contents::default());
    }

    #[test]
    fn data_that_is_not_what_was_summed_is_refused() {
        let written = String::from_utf8(contents(b"abc").emit().to_vec()).unwrap();
        let altered = written.replacen("YWJj", "YWJk", 1);
        assert_ne!(written, altered);
        assert_eq!(Contents::parse(altered.as_bytes()).unwrap_err().0, "secrets[0]");
        let wide = written.replacen("\"0400\"", "\"4755\"", 1);
        assert_eq!(Contents::parse(wide.as_bytes()).unwrap_err().0, "secrets[0]");
    }

    proptest! {
        #[test]
        fn any_octets_get_a_verdict(octets: Vec<u8>) {
            prop_assert!(Contents::parse(&octets).is_err());
        }
    }
}
