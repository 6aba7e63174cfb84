//! Secrets for all who handle them: whose a person means, values read and sealed, and host keys on demand.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::who::Who;
use crate::base::Timestamp;
use crate::base::limits::{SECRET_BYTES_MAX, SECRET_VERSIONS_MAX};
use crate::engine::trust::choose::missing_host_keys;
use crate::model::audit::Outcome;
use crate::model::secret::{Scope, Version, What};
use crate::model::{Change, NodeId, Secret, SecretKey, Snapshot};
use crate::transport::clock::now;
use crate::transport::journal::Entry;
use crate::transport::vault::{Chest, VaultError, make_value};

/// Octets of a munge key that munged takes (`MUNGE_KEY_LEN_MIN_BYTES` and `MUNGE_KEY_LEN_MAX_BYTES` in its source).
const MUNGE_KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=1024;

/// The key of a path: `munge`, `munge@group:compute`, `munge@node:nid001`. `find` finds nodes.
///
/// # Errors
/// It is none, or the node is not there.
pub fn key(text: &str, find: impl FnOnce(&str) -> Option<NodeId>) -> Result<SecretKey, Problem> {
    let wrong = |text: String| Problem::field("secret", text);
    let (name, scope) = text.split_once('@').unwrap_or((text, "site"));
    let name = name.parse().map_err(|error: crate::base::name::NameError| wrong(error.to_string()))?;
    let scope = match scope.split_once(':') {
        None if scope == "site" => Scope::Site,
        Some(("group", group)) => Scope::Group(
            group.parse().map_err(|error: crate::base::name::NameError| wrong(error.to_string()))?,
        ),
        Some(("node", node)) => {
            let id = find(node).ok_or_else(|| Problem::not_found(format!("no node is called {node:?}")))?;
            Scope::Node(id)
        }
        _ => {
            let text = format!("{scope:?} is no scope: NAME, NAME@group:GROUP or NAME@node:NODE");
            return Err(wrong(text));
        }
    };
    Ok(SecretKey { scope, name })
}

/// Reads a value as it comes over the API.
///
/// # Errors
/// It is no base64, too long, or not what the secret is.
pub fn read_value(text: &str, what: &What) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let wrong = |text: &str| Problem::field("value", text);
    if text.len() / 4 > SECRET_BYTES_MAX.div_ceil(3) {
        return Err(wrong(&format!("is longer than {SECRET_BYTES_MAX} octets")));
    }
    // Not the library's words: they repeat a part of the value.
    let value = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| wrong("is no base64"))?;
    if value.is_empty() || value.len() > SECRET_BYTES_MAX {
        return Err(wrong(&format!("must have from 1 to {SECRET_BYTES_MAX} octets")));
    }
    match what {
        What::SshHostKey => Err(wrong("the head makes host keys itself; keep your own as files")),
        What::MungeKey if !MUNGE_KEY_BYTES.contains(&value.len()) => {
            Err(wrong("munge takes keys of 32 to 1024 octets"))
        }
        What::Env { .. } if value.iter().any(|octet| matches!(octet, 0 | b'\n' | b'\r')) => {
            Err(wrong("a variable holds one line without NUL"))
        }
        What::Env { .. } if std::str::from_utf8(&value).is_err() => Err(wrong("a variable holds text")),
        What::MungeKey | What::File(_) | What::Env { .. } | What::Opaque => Ok(value),
    }
}

/// Adds a version, and forgets the oldest beyond what is kept.
///
/// # Errors
/// It cannot be sealed.
pub fn add_version(
    chest: &Chest,
    secret: &mut Secret,
    value: &[u8],
    by: &str,
    now: Timestamp,
) -> Result<(), Problem> {
    let number = secret.next_number();
    let sealed = chest.seal_secret(&secret.key, number, value).map_err(failed)?;
    secret.versions.push(Version { number, created: now, by: by.to_owned(), sealed });
    let surplus = secret.versions.len().saturating_sub(SECRET_VERSIONS_MAX);
    secret.versions.drain(..surplus);
    Ok(())
}

/// A value that the head makes.
///
/// # Errors
/// The operating system has no dice.
pub fn generate(what: &What) -> Result<Zeroizing<Vec<u8>>, Problem> {
    make_value(what).map_err(failed)
}

/// True if this is the newest value. One that cannot be opened is not.
#[must_use]
pub fn is_current(chest: &Chest, secret: &Secret, value: &[u8]) -> bool {
    let current = secret.current().and_then(|version| chest.open_secret(secret, version.number).ok());
    current.is_some_and(|current| bool::from(current.as_slice().ct_eq(value)))
}

/// Makes the host keys that a node is to have and has not. Whoever delivers secrets asks before; a node keeps what it
/// got, so that it is known again after a new installation.
///
/// # Errors
/// The keys cannot be made or stored.
pub async fn ensure_host_keys(context: &Context, id: NodeId) -> Result<Arc<Snapshot>, Problem> {
    // Made before the turn, by name, and once however often the change is planned.
    let mut made: BTreeMap<SecretKey, Zeroizing<Vec<u8>>> = BTreeMap::new();
    let plan = |snapshot: &Snapshot| {
        let inventory = &snapshot.inventory;
        let Some(node) = inventory.nodes.get(&id) else { return Ok(Vec::new()) };
        let mut changes = Vec::new();
        for (key, order) in missing_host_keys(inventory, node) {
            if !made.contains_key(&key) {
                made.insert(key.clone(), generate(&What::SshHostKey)?);
            }
            let Secret { min_level, rotate, .. } = *order;
            let (what, versions) = (What::SshHostKey, Vec::new());
            let mut secret = Secret { key: key.clone(), min_level, what, rotate, versions };
            add_version(&context.chest, &mut secret, &made[&key], "muster", now())?;
            changes.push(Change::PutSecret(Arc::new(secret)));
        }
        Ok(changes)
    };
    context.change(plan).await
}

/// Notes who did what to which secret, or why not. What it is worth nobody learns from this: a refusal's words name
/// places, never values.
///
/// A change that was made stands in the audit log already, in its own transaction. A refusal of somebody who may
/// touch secrets is a line too, and counted, because he can repeat it at will.
pub fn audit(
    context: &Context,
    action: &'static str,
    (kind, name): (&str, &str),
    outcome: Result<(), &Problem>,
) {
    let who = Who::asks();
    let actor = if who.actor.is_empty() { "root" } else { &who.actor };
    let word = outcome.map_or_else(|problem| problem.title.as_str(), |()| "done");
    tracing::info!(actor, action, kind, name, outcome = word, "secret");
    let text = format!("{actor}: {action} {kind} {name}: {word}");
    let entry = Entry::new(now(), "secret", text).with("actor", actor).with("action", action);
    context.journal.write(entry.with("name", name).with("outcome", word));
    if let Err(problem) = outcome {
        let detail = format!("{action}: {}", problem.detail);
        context.audit.put_counted(who.entry(format!("{kind} {name}"), Outcome::Refused, detail));
    }
}

/// What is answered if the vault fails: its words name places, never values.
pub(crate) fn failed(error: VaultError) -> Problem {
    tracing::error!(%error, "the vault failed");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use crate::api::secrets::{key, read_value};
    use crate::base::limits::SECRET_BYTES_MAX;
    use crate::model::NodeId;
    use crate::model::secret::What;

    #[test]
    fn keys_say_whose_a_secret_is() {
        let row = |text| key(text, |name| (name == "nid001").then_some(NodeId(7))).map(|key| key.row());
        assert_eq!(row("munge").unwrap(), "munge");
        assert_eq!(row("Munge@site").unwrap(), "munge");
        assert_eq!(row("munge@group:Rack1").unwrap(), "munge@group:rack1");
        assert_eq!(row("munge@node:nid001").unwrap(), "munge@node#7");
        for (bad, status) in [
            ("", 422),
            ("a:b", 422),
            ("a@", 422),
            ("a@group:", 422),
            ("a@rack:1", 422),
            ("a@b@c", 422),
            ("a@node:nid002", 404),
        ] {
            assert_eq!(row(bad).unwrap_err().status, status, "{bad}");
        }
    }

    #[test]
    fn values_have_bounds_and_a_refusal_does_not_repeat_them() {
        let env = || What::Env { file: "/etc/a".to_owned(), name: "A".to_owned() };
        let read =
            |value: &[u8], what: What| read_value(&STANDARD.encode(value), &what).map(|value| value.len());
        assert_eq!(read(&vec![7; SECRET_BYTES_MAX], What::Opaque).unwrap(), SECRET_BYTES_MAX);
        assert!(read(&vec![7; SECRET_BYTES_MAX + 1], What::Opaque).is_err());
        assert!(read(&vec![7; 4 * SECRET_BYTES_MAX], What::Opaque).is_err());
        assert!(read(b"", What::Opaque).is_err());
        assert_eq!(read(b"line", env()).unwrap(), 4);
        for bad in [&b"a\nb"[..], b"a\0", b"\xff"] {
            assert!(read(bad, env()).is_err());
        }
        assert!(read(&[7; 31], What::MungeKey).is_err() && read(&[7; 32], What::MungeKey).is_ok());
        assert!(read(&[7; 64], What::SshHostKey).is_err());
        let problem = read_value("hunter2!hunter2!", &What::Opaque).unwrap_err();
        assert!(!problem.detail.contains("hunter2"), "{}", problem.detail);
    }
}
