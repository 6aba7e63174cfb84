//! The second factor: one-time codes of an app. Optional, and an administrator's to give: the key is shown once, sealed
//! by the vault in the user's record, and asked for at each login and whenever the password is shown again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::api::auth::Door;
use crate::api::auth::records::{USERS, UserRecord, end_sessions};
use crate::api::auth::types::TotpBody;
use crate::api::auth::users::unknown;
use crate::api::openchami::draft::{Draft, shelf};
use crate::api::problem::Problem;
use crate::api::secrets::failed;
use crate::base::base32;
use crate::engine::token::totp::{KEY_BYTES, link, matching};
use crate::model::{Change, Snapshot};
use crate::transport::clock::now;
use crate::transport::vault::{Chest, Purpose, random};

/// The newest step of which a user's code was taken: a code counts once. In memory alone, for as many names as there
/// are users; a head that restarts within a code's minute and a half takes it a second time, with the password.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    // A mutex, because it is one insertion; never held across an await.
    taken: Mutex<HashMap<String, u64>>,
}

/// To what a key is bound: to nobody else's record.
fn place(name: &str) -> String {
    format!("user\0{name}\0totp")
}

fn seal(chest: &Chest, name: &str, key: &[u8]) -> Result<String, Problem> {
    chest.seal(Purpose::Secret, &place(name), key).map(|sealed| STANDARD.encode(sealed)).map_err(failed)
}

fn unseal(chest: &Chest, name: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let sealed = STANDARD.decode(sealed).unwrap_or_default();
    chest.unseal(Purpose::Secret, &place(name), &sealed).map_err(failed)
}

impl Door {
    /// Says that a code is that of the key which is sealed here, or what is wrong. Whoever asks has seen the password.
    pub(crate) fn check_code(&self, name: &str, sealed: &str, code: Option<&str>) -> Result<(), Problem> {
        let wrong = |text: &str| Problem {
            status: 401,
            title: "Unauthorized".to_owned(),
            ..Problem::field("code", text)
        };
        let code = code.ok_or_else(|| wrong("is needed: a one-time code of this user's app"))?;
        let key = unseal(&self.0.context.chest, name, sealed)?;
        let mut taken = self.0.codes.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match matching(&key, code, now(), taken.get(name).copied()) {
            Some(step) => {
                taken.insert(name.to_owned(), step);
                Ok(())
            }
            None => Err(wrong("is wrong, or was used already")),
        }
    }

    async fn put_key(&self, name: &str, sealed: Option<String>, what: &str) -> Result<(), Problem> {
        let put = |snapshot: &Snapshot| {
            let mut draft = Draft::new(snapshot);
            let old: UserRecord = draft.document(USERS, name).ok_or_else(|| unknown(name))?;
            let record = UserRecord { totp: sealed.clone(), changed: now().0, ..old };
            draft.put_document(USERS, name, &record);
            end_sessions(&mut draft, |_, session| session.user == name);
            Ok(draft.finish())
        };
        self.0.context.change_noted(what, put).await?;
        self.0.codes.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(())
    }
}

/// `POST /users/{name}/totp`: a new key. The one before counts no more, and sessions end.
pub(crate) async fn give(State(door): State<Door>, Path(name): Path<String>) -> Result<Response, Problem> {
    let key = Zeroizing::new(random::<KEY_BYTES>().map_err(failed)?);
    let sealed = seal(&door.0.context.chest, &name, key.as_slice())?;
    door.put_key(&name, Some(sealed), "one-time codes").await?;
    let body = TotpBody {
        key: base32::encode(key.as_slice()).to_uppercase(),
        link: link(&door.0.policy.cluster, &name, key.as_slice()),
        user: name,
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// `DELETE /users/{name}/totp`: a password is enough again, for somebody whose phone is gone.
pub(crate) async fn take(State(door): State<Door>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    door.put_key(&name, None, "no one-time codes").await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The keys that a former key of the vault sealed, sealed anew. One that cannot be opened stays as it is.
pub(crate) fn resealed(chest: &Chest, snapshot: &Snapshot) -> Result<Vec<Change>, Problem> {
    let mut draft = Draft::new(snapshot);
    for (name, record) in shelf::<UserRecord>(&snapshot.inventory, USERS) {
        let Some(sealed) = &record.totp else { continue };
        if STANDARD.decode(sealed).is_ok_and(|sealed| chest.is_current(&sealed)) {
            continue;
        }
        match unseal(chest, &name, sealed) {
            Ok(key) => {
                let totp = Some(seal(chest, &name, &key)?);
                draft.put_document(USERS, &name, &UserRecord { totp, ..record });
            }
            Err(problem) => {
                tracing::warn!(user = name, detail = problem.detail, "a key of codes is not sealed anew")
            }
        }
    }
    Ok(draft.finish())
}
