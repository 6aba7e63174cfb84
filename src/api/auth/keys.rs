//! `/api/v1/keys`: rotation of the head's own keys.

use std::ops::Bound;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::auth::{Door, second};
use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::secrets::{audit, failed};
use crate::api::v1::query;
use crate::api::who::Who;
use crate::base::limits::SECRETS_PER_CHANGE_MAX;
use crate::model::audit::Outcome;
use crate::model::{Change, Secret, SecretKey, Snapshot};
use crate::transport::clock::now;
use crate::transport::vault::{Chest, Replaced, VaultError};

/// How a key is rotated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// Of tokens and authorities: what was signed with the old keys counts no longer.
    #[serde(default)]
    pub end: bool,
}

/// What was rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RotatedBody {
    pub key: String,
    /// What is so now, for people.
    pub text: String,
}

/// `POST /keys/{key}/rotate`: `kek`, `token`, `ca`, `site` or `node`.
pub(crate) async fn rotate(
    State(door): State<Door>,
    Path(key): Path<String>,
    bytes: Bytes,
) -> Result<Json<RotatedBody>, Problem> {
    let RotateBody { end } = if bytes.is_empty() { RotateBody::default() } else { query::body(&bytes)? };
    let outcome = match key.as_str() {
        "kek" if end => Err(Problem::field("end", "is for keys that sign")),
        "kek" => rotate_kek(&door.0.context).await,
        "token" => rotate_tokens(&door, end).await,
        "ca" => rotate_authorities(&door, end).await,
        "site" => rotate_site(&door, end).await,
        "node" => rotate_nodes(&door, end).await,
        _ => Err(Problem::not_found(format!(
            "{key:?} cannot be rotated; known are kek, token, ca, site and node"
        ))),
    };
    let context = &door.0.context;
    audit(context, "rotate", ("key", &key), outcome.as_ref().map(|_| ()));
    let text = outcome?;
    // Its parts that are declared state have lines of their own; this one says that all of it is done.
    context.audit.note(Who::asks().entry(format!("key {key}"), Outcome::Done, "rotated")).await?;
    Ok(Json(RotatedBody { key, text }))
}

async fn rotate_tokens(door: &Door, end: bool) -> Result<String, Problem> {
    let vault = Arc::clone(&door.0.vault);
    in_vault(move || vault.rotate_tokens(end, now())).await?;
    door.0.trust.rcu(|trust| trust.with_own(&door.0.vault.public()));
    Ok(if end {
        "new tokens are signed with new keys; no older one counts any more".to_owned()
    } else {
        "new tokens are signed with new keys; older ones count until they end".to_owned()
    })
}

async fn rotate_authorities(door: &Door, end: bool) -> Result<String, Problem> {
    let vault = Arc::clone(&door.0.vault);
    let replaced = in_vault(move || vault.rotate_authorities(end, now())).await?;
    Ok(match replaced {
        Replaced::Announced(at) => format!(
            "the next authorities are published beside those that sign, and take over at {at}, or when this is asked \
             again; give clients the new roots until then (muster ca)"
        ),
        Replaced::TookOver => {
            "the new authorities sign; the former ones are published for 30 days".to_owned()
        }
        Replaced::Ended => {
            "new authorities sign; who trusts the former ones is led astray no longer, and must be \
                            given the new roots (muster ca)"
                .to_owned()
        }
    })
}

async fn rotate_site(door: &Door, end: bool) -> Result<String, Problem> {
    let vault = Arc::clone(&door.0.vault);
    let replaced = in_vault(move || vault.rotate_site(end, now())).await?;
    Ok(match replaced {
        Replaced::Announced(at) => format!(
            "the next site key is published beside the one that signs, and takes over at {at}, or when this is asked \
             again; give initramfs that hold site.pub the new one until then"
        ),
        Replaced::TookOver => {
            "the new site key signs; for a day the former one signs beside it, for nodes that booted before"
                .to_owned()
        }
        Replaced::Ended => "a new site key signs; nodes that boot now must boot again".to_owned(),
    })
}

async fn rotate_nodes(door: &Door, end: bool) -> Result<String, Problem> {
    let vault = Arc::clone(&door.0.vault);
    in_vault(move || vault.rotate_nodes(end, now())).await?;
    Ok(if end {
        "bundles and tokens of nodes are signed with new keys; nodes that boot now must boot again".to_owned()
    } else {
        "bundles and tokens of nodes are signed with new keys; the former ones count for an hour".to_owned()
    })
}

/// Seals everything anew: first under both keys' eyes, so that a power loss at any point loses nothing; at last the
/// former key goes.
async fn rotate_kek(context: &Context) -> Result<String, Problem> {
    let chest = Arc::clone(&context.chest);
    in_vault(move || chest.begin_rotation()).await?;
    let (mut sealed, mut left, mut last) = (0_usize, 0_usize, None);
    loop {
        let mut planned = Planned::default();
        context
            .change(|snapshot| {
                planned = resealed(&context.chest, snapshot, last.as_ref())?;
                Ok(planned.changes.clone())
            })
            .await?;
        (sealed, left) = (sealed.saturating_add(planned.changes.len()), left.saturating_add(planned.left));
        match planned.last {
            Some(key) => last = Some(key),
            None => break,
        }
    }
    context.change(|snapshot| second::resealed(&context.chest, snapshot)).await?;
    let chest = Arc::clone(&context.chest);
    in_vault(move || chest.reseal_files().and_then(|()| chest.end_rotation())).await?;
    let source = context.chest.source();
    let mut text = format!("the private keys and {sealed} secrets are sealed anew; the key is the {source}");
    if left > 0 {
        text.push_str(&format!("; {left} values could not be opened and stay as they were"));
    }
    Ok(text)
}

/// One step of the way through all secrets.
#[derive(Default)]
struct Planned {
    changes: Vec<Change>,
    /// Values that cannot be opened.
    left: usize,
    /// Where the next step goes on; none: this was the last.
    last: Option<SecretKey>,
}

fn resealed(chest: &Chest, snapshot: &Snapshot, after: Option<&SecretKey>) -> Result<Planned, Problem> {
    let secrets = &snapshot.inventory.secrets;
    let is_stale =
        |secret: &Secret| secret.versions.iter().any(|version| !chest.is_current(&version.sealed.0));
    let rest: Box<dyn Iterator<Item = (&SecretKey, &Arc<Secret>)>> = match after {
        Some(key) => Box::new(secrets.range_from(Bound::Excluded(key))),
        None => Box::new(secrets.iter()),
    };
    let mut planned = Planned::default();
    for (key, secret) in rest.filter(|(_, secret)| is_stale(secret)).take(SECRETS_PER_CHANGE_MAX) {
        let mut next = Secret::clone(secret);
        for version in next.versions.iter_mut().filter(|version| !chest.is_current(&version.sealed.0)) {
            match chest.open_secret(secret, version.number) {
                Ok(value) => {
                    version.sealed = chest.seal_secret(key, version.number, &value).map_err(failed)?;
                }
                Err(error) => {
                    tracing::warn!(%error, "a value cannot be sealed anew");
                    planned.left = planned.left.saturating_add(1);
                }
            }
        }
        if next != **secret {
            planned.changes.push(Change::PutSecret(Arc::new(next)));
        }
        planned.last = Some(key.clone());
    }
    Ok(planned)
}

/// Runs what writes files of keys where it may wait.
async fn in_vault<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ (VaultError::NoSuccessor(_) | VaultError::TooMany(_)))) => {
            Err(Problem::conflict(error.to_string()))
        }
        Ok(Err(error)) => Err(failed(error)),
        Err(error) => {
            tracing::error!(%error, "a rotation broke off");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the rotation broke off; see the log"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::api::auth::keys::resealed;
    use crate::api::secrets::add_version;
    use crate::base::limits::SECRETS_PER_CHANGE_MAX;
    use crate::base::{Level, Timestamp};
    use crate::model::secret::{Rotate, Scope, What};
    use crate::model::{Change, Inventory, Revision, Secret, SecretKey, Site, Snapshot};
    use crate::transport::vault::Chest;

    fn snapshot(inventory: &Inventory) -> Snapshot {
        Snapshot::compile(Revision(1), Arc::new(Site::default()), Arc::new(inventory.clone()))
    }

    #[test]
    fn every_secret_is_sealed_anew_step_by_step_and_what_does_not_open_stays() {
        let folder = tempfile::tempdir().unwrap();
        let chest = Chest::open(folder.path(), None).unwrap();
        let mut inventory = Inventory::default();
        let count = SECRETS_PER_CHANGE_MAX * 2 + 1;
        for number in 0..count {
            let key = SecretKey { scope: Scope::Site, name: format!("s{number:04}").parse().unwrap() };
            let (what, rotate, versions) = (What::Opaque, Rotate::NextBoot, Vec::new());
            let mut secret = Secret { key, min_level: Level::Grant, what, rotate, versions };
            add_version(&chest, &mut secret, number.to_string().as_bytes(), "alice", Timestamp(0)).unwrap();
            if number == 1 {
                secret.versions[0].number = 7; // sealed for another place
            }
            inventory.apply(&Change::PutSecret(Arc::new(secret)));
        }
        chest.begin_rotation().unwrap();
        let (mut steps, mut left, mut last) = (0, 0, None);
        loop {
            let planned = resealed(&chest, &snapshot(&inventory), last.as_ref()).unwrap();
            assert!(planned.changes.len() <= SECRETS_PER_CHANGE_MAX);
            planned.changes.iter().for_each(|change| inventory.apply(change));
            left += planned.left;
            match planned.last {
                Some(key) => last = Some(key),
                None => break,
            }
            steps += 1;
            assert!(steps < 10);
        }
        chest.end_rotation().unwrap();
        assert_eq!((steps, left), (3, 1));
        let opened = inventory.secrets.values().enumerate().filter(|(number, secret)| {
            let value = chest.open_secret(secret, secret.versions[0].number);
            value.is_ok_and(|value| value.as_slice() == number.to_string().as_bytes())
        });
        assert_eq!(opened.count(), count - 1);
    }
}
