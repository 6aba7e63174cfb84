//! What is kept between two commands: the key of this boot, and bundles that are not opened yet. Root's alone, in a
//! folder of memory, and gone when the session is sealed.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use crate::files;

/// The one file.
const FILE: &str = "state.json";

/// A boot's state.
pub(crate) struct State {
    /// X25519, made for this boot.
    pub(crate) private: Zeroizing<[u8; 32]>,
    pub(crate) public: [u8; 32],
    /// The head's answer to the claim.
    pub(crate) claimed: Option<Value>,
    /// Its answer to the attestation.
    pub(crate) attested: Option<Attested>,
}

/// A bundle that an attestation brought, and what opens it.
pub(crate) struct Attested {
    pub(crate) id: String,
    pub(crate) secret: Zeroizing<[u8; 32]>,
    pub(crate) bundle: Value,
}

impl State {
    /// Reads it. None: there is none.
    pub(crate) fn load(folder: &Path) -> Result<Option<State>> {
        let text = match fs::read(file(folder)) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("reading the state"),
        };
        let mut value: Value = serde_json::from_slice(&text).context("the state is damaged")?;
        let private = key(&value, "private")?;
        let attested = match value.get("attested") {
            None | Some(Value::Null) => None,
            Some(one) => Some(Attested {
                id: one.get("id").and_then(Value::as_str).context("the state is damaged: id")?.to_owned(),
                secret: key(one, "secret")?,
                bundle: one.get("bundle").cloned().context("the state is damaged: bundle")?,
            }),
        };
        let public = *key(&value, "public")?;
        let claimed = value.get_mut("claimed").map(Value::take).filter(|one| !one.is_null());
        wipe(&mut value);
        Ok(Some(State { private, public, claimed, attested }))
    }

    /// Writes it, before anything is sent that depends on it.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .context("making the folder of the state")?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        let attested = self
            .attested
            .as_ref()
            .map(|one| json!({"id": one.id, "secret": STANDARD.encode(*one.secret), "bundle": one.bundle}));
        let mut value = json!({
            "private": STANDARD.encode(*self.private), "public": STANDARD.encode(self.public),
            "claimed": self.claimed, "attested": attested,
        });
        let text = Zeroizing::new(value.to_string());
        wipe(&mut value);
        let owner = fs::metadata(folder).map(|folder| (folder.uid(), folder.gid()))?;
        files::put(&file(folder), 0o600, owner, text.as_bytes()).context("writing the state")
    }

    /// Removes it.
    pub(crate) fn remove(folder: &Path) -> Result<()> {
        match fs::remove_file(file(folder)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("removing the state"),
            _ => Ok(()),
        }
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn key(value: &Value, name: &'static str) -> Result<Zeroizing<[u8; 32]>> {
    let text = value.get(name).and_then(Value::as_str);
    let text = text.with_context(|| format!("the state is damaged: {name}"))?;
    ensure!(text.len() == 44, "the state is damaged: {name}");
    let octets = Zeroizing::new(STANDARD.decode(text)?);
    Ok(Zeroizing::new(octets.as_slice().try_into()?))
}

/// Overwrites the texts of a value.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(all) => all.iter_mut().for_each(wipe),
        Value::Object(all) => all.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
