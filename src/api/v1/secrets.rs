//! Secrets over the API. Lists and answers hold no values; `reveal` does, for administrators, and is written down.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::auth::Caller;
use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::secrets::{add_version, audit, failed, generate, is_current, key, read_value};
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{
    HostFileBody, NewSecretBody, NewVersionBody, RevealedBody, SecretBody, SecretVersionBody, read,
};
use crate::api::v1::work::{Done, Work};
use crate::api::v1::write::write;
use crate::api::who::Who;
use crate::engine::trust::choose::host_names;
use crate::model::audit::Outcome;
use crate::model::secret::{Rotate, Scope, What};
use crate::model::{Change, Secret, SecretKey, Snapshot};
use crate::transport::clock::now;
use crate::transport::vault::ssh::HostKeys;

/// The routes of secrets, below `PREFIX`.
pub fn router() -> Router<Context> {
    Router::new()
        .route("/secrets", get(list))
        .route("/secrets/{secret}", get(show).put(put).delete(remove))
        .route("/secrets/{secret}/versions", get(history).post(rotate))
        .route("/secrets/{secret}/reveal", post(reveal))
        .route("/ssh-ca", get(ssh_authority))
}

/// Who asks; `root` where no door stands before the routes.
type Asker = Option<Extension<Caller>>;

fn name_of(caller: Asker) -> String {
    caller.map_or_else(|| "root".to_owned(), |Extension(caller)| caller.subject)
}

/// Reads a body. What is wrong with a value is said without it; the reader's own words would repeat a number.
fn body_of<T: DeserializeOwned + Serialize>(bytes: &Bytes) -> Result<T, Problem> {
    query::body(bytes).map_err(|problem| match problem.problems.first() {
        Some(first) if first.field == "value" => Problem::field("value", "must be base64 in quotes"),
        _ => problem,
    })
}

/// `GET /secrets?name=…`, by key.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let inventory = &snapshot.inventory;
    let name = query::field(uri.query(), "name").map(|name| name.to_ascii_lowercase());
    let wanted = |key: &SecretKey| name.as_ref().is_none_or(|name| key.name.as_str() == name);
    let secrets = inventory.secrets.iter().filter(|(key, _)| wanted(key));
    page(&uri, secrets.map(|(key, secret)| (key.shown(inventory), secret)), |secret| {
        SecretBody::new(secret, inventory)
    })
}

/// `GET /secrets/{secret}`.
pub(crate) async fn show(
    State(context): State<Context>,
    Path(path): Path<String>,
) -> Result<Json<SecretBody>, Problem> {
    body(&context.snapshot.load(), &path).map(Json)
}

fn body(snapshot: &Snapshot, path: &str) -> Result<SecretBody, Problem> {
    Ok(SecretBody::new(&*named(snapshot, path)?, &snapshot.inventory))
}

fn named(snapshot: &Snapshot, path: &str) -> Result<Arc<Secret>, Problem> {
    let key = key(path, |name| snapshot.find(name).map(|node| node.id))?;
    let found = snapshot.inventory.secrets.get(&key).cloned();
    found.ok_or_else(|| Problem::not_found(format!("no secret is called {path:?}")))
}

/// The secret of a path in a write, with its key.
fn sought(work: &Work<'_>, path: &str) -> Result<(SecretKey, Option<Arc<Secret>>), Problem> {
    let key = key(path, |name| work.find(name).map(|node| node.id))?;
    let found = work.next.secrets.get(&key).cloned();
    Ok((key, found))
}

fn held(work: &Work<'_>, path: &str, terms: &Terms) -> Result<Arc<Secret>, Problem> {
    let (_, found) = sought(work, path)?;
    let secret = found.ok_or_else(|| Problem::not_found(format!("no secret is called {path:?}")))?;
    terms.hold(Some(&SecretBody::new(&secret, &work.next)))?;
    Ok(secret)
}

/// `PUT /secrets/{secret}`: makes it or replaces what it is; a value that differs becomes its newest version.
pub(crate) async fn put(
    State(context): State<Context>,
    caller: Asker,
    Path(path): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let NewSecretBody { min_level, what, rotate, value, generate: make } = body_of(&bytes)?;
    let (by, what) = (name_of(caller), what.what()?);
    let min_level = read("min_level", &min_level)?;
    let rotate = match rotate.as_deref() {
        None if what == What::MungeKey => Rotate::Coordinated,
        None => Rotate::NextBoot,
        Some(name) => Rotate::from_name(name).ok_or_else(|| {
            Problem::field("rotate", format!("{name:?} is none of next-boot, push, coordinated"))
        })?,
    };
    if value.is_some() && make {
        return Err(Problem::field("generate", "there is a value already"));
    }
    let value = value.map(|text| read_value(&text, &what)).transpose()?;
    let written = write(&context, &terms, |work| {
        let (key, old) = sought(work, &path)?;
        terms.hold(old.as_ref().map(|old| SecretBody::new(old, &work.next)).as_ref())?;
        let changed =
            old.as_ref().is_some_and(|old| (old.what == What::SshHostKey) != (what == What::SshHostKey));
        if changed {
            let text = "host keys and other secrets do not become each other; remove it first";
            return Err(Problem::field("what", text));
        }
        let versions = old.as_ref().map(|old| old.versions.clone()).unwrap_or_default();
        let mut secret = Secret { key, min_level, what: what.clone(), rotate, versions };
        // Host keys of a group or the site are made for each node, when it boots.
        let on_order = what == What::SshHostKey && !secret.is_made_on_demand();
        match &value {
            Some(value) if !is_current(&context.chest, &secret, value) => {
                add_version(&context.chest, &mut secret, value, &by, now())?;
            }
            None if make && secret.versions.is_empty() && !on_order => {
                add_version(&context.chest, &mut secret, &generate(&what)?, &by, now())?;
            }
            Some(_) | None => {}
        }
        let name = secret.key.shown(&work.next);
        let made = old.is_none();
        if old.is_none_or(|old| *old != secret) {
            work.apply(Change::PutSecret(Arc::new(secret)));
        }
        Ok(Done { name, made })
    });
    told(&context, &terms, "put", &path, written.await)?.shown("/secrets", body)
}

/// `POST /secrets/{secret}/versions`: a new value; without one the head makes it.
pub(crate) async fn rotate(
    State(context): State<Context>,
    caller: Asker,
    Path(path): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let NewVersionBody { value } = body_of(&bytes)?;
    let by = name_of(caller);
    let written = write(&context, &terms, |work| {
        let mut secret = Secret::clone(&*held(work, &path, &terms)?);
        if secret.what == What::SshHostKey && !secret.is_made_on_demand() {
            let text = "each node has host keys of its own: rotate NAME@node:NODE";
            return Err(Problem::field("secret", text));
        }
        let value = match &value {
            Some(text) => read_value(text, &secret.what)?,
            None => generate(&secret.what)?,
        };
        add_version(&context.chest, &mut secret, &value, &by, now())?;
        let name = secret.key.shown(&work.next);
        work.apply(Change::PutSecret(Arc::new(secret)));
        Ok(Done { name, made: false })
    });
    told(&context, &terms, "rotate", &path, written.await)?.shown("/secrets", body)
}

/// `DELETE /secrets/{secret}`, with all its versions.
pub(crate) async fn remove(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
) -> Result<Response, Problem> {
    let written = write(&context, &terms, |work| {
        let secret = held(work, &path, &terms)?;
        work.apply(Change::RemoveSecret(secret.key.clone()));
        Ok(Done { name: secret.key.shown(&work.next), made: false })
    });
    Ok(told(&context, &terms, "remove", &path, written.await)?.gone())
}

/// Writes down what became of a change, unless it was a rehearsal.
fn told<T>(
    context: &Context,
    terms: &Terms,
    action: &'static str,
    path: &str,
    outcome: Result<T, Problem>,
) -> Result<T, Problem> {
    if !terms.dry_run {
        audit(context, action, ("secret", path), outcome.as_ref().map(|_| ()));
    }
    outcome
}

/// `GET /secrets/{secret}/versions`: those that are kept, the newest first.
pub(crate) async fn history(
    State(context): State<Context>,
    Path(path): Path<String>,
) -> Result<Json<Vec<SecretVersionBody>>, Problem> {
    let secret = named(&context.snapshot.load(), &path)?;
    Ok(Json(secret.versions.iter().rev().map(SecretVersionBody::from).collect()))
}

/// `POST /secrets/{secret}/reveal?version=…`: the value. A POST, because it leaves a trace: the line of the audit log
/// is on the disk before the value is given, and without it there is none.
pub(crate) async fn reveal(
    State(context): State<Context>,
    Path(path): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let answer = opened(&context, &path, uri.query());
    audit(&context, "reveal", ("secret", &path), answer.as_ref().map(|_| ()));
    if let Ok(body) = &answer {
        let detail = format!("revealed version {}", body.version);
        context.audit.note(Who::asks().entry(format!("secret {}", body.key), Outcome::Done, detail)).await?;
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer?)).into_response())
}

fn opened(context: &Context, path: &str, query: Option<&str>) -> Result<RevealedBody, Problem> {
    let snapshot = context.snapshot.load();
    let secret = named(&snapshot, path)?;
    let newest = secret.current().ok_or_else(|| {
        Problem::not_found(format!("{path:?} has no value: each node gets its own host keys when it boots"))
    })?;
    let version = match query::field(query, "version") {
        None => newest.number,
        Some(text) => {
            text.parse().map_err(|_| Problem::field("version", format!("{text:?} is no number")))?
        }
    };
    if secret.version(version).is_none() {
        return Err(Problem::not_found(format!("{path:?} has no version {version}")));
    }
    let value = context.chest.open_secret(&secret, version).map_err(failed)?;
    let files = match (&secret.what, &secret.key.scope) {
        (What::SshHostKey, Scope::Node(id)) => {
            let node = snapshot.node(*id).ok_or_else(|| Problem::not_found("the node is gone"))?;
            let (keys, names) = (HostKeys::read(&value).map_err(failed)?, host_names(&snapshot.site, node));
            context.ssh.host_files(&keys, node.name.as_str(), &names, now()).map_err(failed)?
        }
        _ => Vec::new(),
    };
    let file = |file: crate::transport::vault::ssh::HostFile| HostFileBody {
        name: file.name.to_owned(),
        mode: format!("{:04o}", file.mode),
        content: file.content.to_string(),
    };
    Ok(RevealedBody {
        key: secret.key.shown(&snapshot.inventory),
        version,
        value: STANDARD.encode(&value),
        files: files.into_iter().map(file).collect(),
    })
}

/// `GET /ssh-ca`: the public key of the authority that signs nodes' host keys.
pub(crate) async fn ssh_authority(State(context): State<Context>) -> String {
    format!("{}\n", context.ssh.public().line())
}
