//! The first visit: whoever can read the head's console makes the first administrator. Until then the head serves
//! nobody else, if `auth.claim` says so; there is no password that it comes with.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::api::auth::Door;
use crate::api::auth::records::USERS;
use crate::api::auth::types::{ClaimBody, ClaimedBody};
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::who::Who;
use crate::base::Timestamp;
use crate::base::limits::{CLAIM_LIFE, CLAIM_TRIES_MAX};
use crate::model::audit::Outcome;
use crate::model::{Inventory, Role};
use crate::transport::clock::now;
use crate::transport::http::Peer;
use crate::transport::vault::{ClaimCode, authority_print};

/// The shelf of what the door remembers of itself, and what lies there when the head was claimed.
pub(crate) const DOOR: &str = "door";
pub(crate) const CLAIMED: &str = "claimed";

/// What an unclaimed head answers over the network; the rest does not exist yet.
const OPEN: [&str; 7] =
    ["/api/v1/claim", "/api/v1/openapi.json", "/ca.crt", "/ca.pem", "/ca.sha256", "/site.pub", "/ui/claim"];

/// What the page of the first visit looks like.
const LOOKS: &str = "/ui/assets/";

/// True if the head has an owner. One that has users needs no first.
#[must_use]
pub fn is_claimed(inventory: &Inventory) -> bool {
    inventory.document(DOOR, CLAIMED).is_some() || inventory.shelf(USERS).next().is_some()
}

/// The code of the first visit, while there is one.
pub(crate) struct Claims {
    /// Where the code can be read by root.
    path: PathBuf,
    // A mutex, because trying a code is a comparison; never held across an await.
    current: Mutex<Option<Current>>,
}

struct Current {
    /// SHA-256 of the code.
    digest: [u8; 32],
    made: Timestamp,
    tries: u32,
}

/// What a code is.
enum Tried {
    Right,
    Wrong,
    /// It was right or wrong once; a new one is on the console.
    Renewed,
}

impl Claims {
    pub(crate) fn new(path: &Path) -> Claims {
        Claims { path: path.to_owned(), current: Mutex::default() }
    }

    /// Makes a new code, prints it and leaves it in its file.
    pub(crate) fn renew(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = self.make();
    }

    fn make(&self) -> Option<Current> {
        match ClaimCode::make(&self.path) {
            Ok(code) => {
                tracing::warn!(
                    code = code.text(),
                    "THIS HEAD IS NOT CLAIMED. Run muster claim here, or give this code to its page within a day"
                );
                Some(Current { digest: Sha256::digest(code.text()).into(), made: now(), tries: 0 })
            }
            Err(error) => {
                tracing::error!(%error, "no claim code can be made; run muster claim here");
                None
            }
        }
    }

    fn attempt(&self, code: &str) -> Tried {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = current.as_mut() else { return Tried::Wrong };
        if now().since(known.made) >= CLAIM_LIFE {
            *current = self.make();
            return Tried::Renewed;
        }
        let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
        let digest: [u8; 32] = Sha256::digest(plain.to_ascii_lowercase()).into();
        if verify_slices_are_equal(&digest, &known.digest).is_ok() {
            return Tried::Right;
        }
        known.tries += 1;
        if known.tries >= CLAIM_TRIES_MAX {
            *current = self.make();
            return Tried::Renewed;
        }
        Tried::Wrong
    }

    /// The head has an owner: the code is gone.
    fn close(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        ClaimCode::remove(&self.path);
    }
}

impl Door {
    /// True if this path must wait until the head has an owner.
    pub(crate) fn waits_for_claim(&self, path: &str) -> bool {
        self.0.claims.is_some()
            && !OPEN.contains(&path)
            && !path.starts_with(LOOKS)
            && !is_claimed(&self.0.context.snapshot.load().inventory)
    }
}

/// `POST /claim`: makes the first administrator. Over the Unix socket no code is asked for.
pub(crate) async fn claim(
    State(door): State<Door>,
    peer: Option<Extension<Peer>>,
    bytes: Bytes,
) -> Result<Response, Response> {
    let refuse = |status, text: &str| Problem::new(status, text).into_response();
    let ClaimBody { code, name, password } = query::body(&bytes).map_err(IntoResponse::into_response)?;
    let (code, password) = (Zeroizing::new(code), Zeroizing::new(password));
    let claimed = || refuse(StatusCode::CONFLICT, "this head is claimed; its administrators add users");
    let Some(claims) = &door.0.claims else { return Err(claimed()) };
    if is_claimed(&door.0.context.snapshot.load().inventory) {
        return Err(claimed());
    }
    if !matches!(peer, Some(Extension(Peer::Local))) {
        let text = match claims.attempt(&code) {
            Tried::Right => "",
            Tried::Wrong => "this is not the code on the head's console (journalctl -u muster)",
            Tried::Renewed => "this code is over; a new one is on the head's console (journalctl -u muster)",
        };
        if !text.is_empty() {
            door.0.context.audit.put_counted(Who::asks().entry("claim", Outcome::Refused, text));
            return Err(refuse(StatusCode::FORBIDDEN, text));
        }
    }
    let role = Role::Admin.to_string();
    let made = door.add_first_user(&name, &role, password).await.map_err(IntoResponse::into_response)?;
    claims.close();
    tracing::warn!(user = made.name, "the head is claimed");
    let print = authority_print(&door.0.vault.authority.pem()).unwrap_or_default();
    let body = ClaimedBody { name: made.name, role: made.role, ca_sha256: print };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
