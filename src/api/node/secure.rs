//! The tutorial's way to secure documents: cloud-init on a node reads `/cloud-init-secure` with a bearer token. The
//! token comes sealed in the answer to the node's claim, and opens the documents of that node alone, read only,
//! from the address that claimed.
//!
//! It counts after the session is sealed too, for its ten minutes: cloud-init runs in the system that boots, when
//! the initramfs is done. It does not count when the session was revoked, or the node boots again.
//!
//! Here alone templates get secrets, as far as the token's level goes: the level that was reached when it was made.
//! What was written into a document is a delivery of the session like any other, and stands in the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::api::cloud_init::Asker;
use crate::api::context::Context;
use crate::api::node::{answer, told, unknown};
use crate::api::openchami::cloud_init::SECURE_PREFIX;
use crate::api::problem::Problem;
use crate::base::{GroupName, Level};
use crate::engine::cloud_init::secure::{SecretContext, render};
use crate::engine::cloud_init::view::Section;
use crate::engine::cloud_init::{File, View};
use crate::engine::record;
use crate::engine::trust::choose::secrets_of;
use crate::engine::trust::token::{NodeClaims, Purpose};
use crate::model::boot_session::Delivery;
use crate::model::secret::What;
use crate::model::{Secret, SessionState};
use crate::transport::clock::now;
use crate::transport::http::Peer;

/// Puts this before all other routes, the door included, which knows no tokens of nodes.
pub fn before(routes: Router, context: &Context) -> Router {
    routes.layer(from_fn_with_state(context.clone(), documents))
}

/// Answers a node with a token of its own; everybody else goes on to the door.
async fn documents(State(context): State<Context>, request: Request, next: Next) -> Response {
    let Some((name, claims)) = asked(&context, &request) else { return next.run(request).await };
    let peer = request.extensions().get::<Peer>().copied();
    let Some(peer) = peer.filter(|peer| stands(&context, &claims, *peer)) else {
        return next.run(request).await;
    };
    match Asker::of_peer(&context, peer).await {
        Ok(asker) if asker.node.id == claims.node => {
            tracing::info!(node = asker.node.name.as_str(), document = name, "secure cloud-init");
            let given = give(&context, &asker, &claims, peer, &name).await;
            let answer = given.unwrap_or_else(|problem| {
                told::refused(&context, format!("GET {SECURE_PREFIX}/{name}"), Some(peer), &problem.detail);
                problem.into_response()
            });
            let what = record::What::Document { name: name.clone(), status: answer.status().as_u16() };
            context.recorder.saw(peer.ip(), what);
            answer
        }
        // The address is another node's by now.
        Ok(_) | Err(_) => next.run(request).await,
    }
}

/// Writes a document, and notes what it gives away before it does.
async fn give(
    context: &Context,
    asker: &Asker,
    claims: &NodeClaims,
    peer: Peer,
    name: &str,
) -> Result<Response, Problem> {
    let shelf = Shelf::new(context, asker, claims.level);
    let (text, kind) = shelf.document(asker, name)?;
    let given = shelf.given();
    if !given.is_empty() {
        deliver(context, asker, claims, peer, (name, given)).await?;
    }
    Ok(answer(Bytes::from_owner(text), kind))
}

async fn deliver(
    context: &Context,
    asker: &Asker,
    claims: &NodeClaims,
    peer: Peer,
    (name, given): (&str, BTreeSet<(String, u64)>),
) -> Result<(), Problem> {
    let Some(to) = peer.address() else { return Err(unknown()) };
    // Not of what was written: a digest of a short secret gives it away.
    let bundle: [u8; 32] = Sha256::digest(name).into();
    let at = now();
    let news = context.trust.sessions.change(claims.session, |session| {
        let known = |secret: &str, version| {
            session.deliveries.iter().any(|one| one.secret == secret && one.version == version)
        };
        let new: Vec<Delivery> = given
            .iter()
            .filter(|(secret, version)| !known(secret, *version))
            .map(|(secret, version)| Delivery { secret: secret.clone(), version: *version, at, to, bundle })
            .collect();
        session.deliveries.extend(new);
        Ok(())
    });
    news.await?;
    let names: Vec<String> =
        given.iter().map(|(secret, number)| format!("{secret} version {number}")).collect();
    let detail = format!("cloud-init {name} at level {}: {}", claims.level, names.join(", "));
    let node = asker.node.name.as_str();
    told::given(context, told::entry(node, to, claims.session, &detail)).await
}

/// The secrets of a node as templates get them, and which ones they got.
struct Shelf {
    level: Level,
    context: SecretContext,
    given: Arc<Mutex<BTreeSet<(String, u64)>>>,
}

impl Shelf {
    fn new(context: &Context, asker: &Asker, level: Level) -> Shelf {
        let (given, withheld) = secrets_of(&asker.snapshot().inventory, &asker.node, level);
        let mut all: BTreeMap<String, Result<Secret, String>> = BTreeMap::new();
        for secret in given {
            all.insert(secret.key.name.to_string(), Ok(secret.clone()));
        }
        for (secret, why) in withheld {
            all.insert(secret.key.name.to_string(), Err(why.to_string()));
        }
        // A mutex, because the template engine asks through a shared function; one renders at a time.
        let given: Arc<Mutex<BTreeSet<(String, u64)>>> = Arc::default();
        let (chest, taken) = (Arc::clone(&context.chest), Arc::clone(&given));
        let lookup = move |name: &str| {
            let refused = |text: &str| format!("secret {name}: {text}");
            let secret = match all.get(&name.to_ascii_lowercase()) {
                Some(Ok(secret)) => secret,
                Some(Err(why)) => return Err(refused(why)),
                None => return Err(refused("there is none of this name for this node")),
            };
            if secret.what == What::SshHostKey {
                return Err(refused("host keys are files, and no text for documents"));
            }
            let number = secret.current().map_or(0, |version| version.number);
            let value = chest.open_secret(secret, number).map_err(|error| {
                tracing::error!(%error, name, "a secret cannot be opened");
                refused("the head cannot open it; see its log")
            })?;
            taken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert((secret.key.name.to_string(), number));
            Ok(value)
        };
        Shelf { level, context: SecretContext::new(lookup), given }
    }

    fn given(&self) -> BTreeSet<(String, u64)> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A document by its name in the URL, and its media type.
    fn document(&self, asker: &Asker, name: &str) -> Result<(Zeroizing<Vec<u8>>, &'static str), Problem> {
        const TEXT: &str = "text/plain; charset=utf-8";
        const YAML: &str = "application/x-yaml";
        let view = asker.view();
        let first = |section| Zeroizing::new(view.secure(section).into_bytes());
        match name {
            "user-data" => Ok(match view.secure_file() {
                Some(file) => (self.render(&view, name, file)?, TEXT),
                None => (first(Section::User), TEXT),
            }),
            "meta-data" => Ok((first(Section::Meta), YAML)),
            // First generation's, else the files of all groups as one: cloud-init bears no token to where an
            // `#include` would send it.
            "vendor-data" => match (first(Section::Vendor), view.secure_groups()) {
                (sections, groups) if groups.is_empty() || !sections.is_empty() => Ok((sections, YAML)),
                (_, groups) => Ok((self.archive(&view, &groups)?, TEXT)),
            },
            _ => {
                let mut groups = view.secure_groups().into_iter();
                let found = groups.find(|(group, _)| name.strip_suffix(".yaml") == Some(group.as_str()));
                let none = || Problem::not_found(format!("there is no secure document {name} for this node"));
                let (_, file) = found.ok_or_else(none)?;
                Ok((self.render(&view, name, &file)?, YAML))
            }
        }
    }

    /// A `#cloud-config-archive`: a list of contents, each of which tells by its first line what it is.
    fn archive(&self, view: &View<'_>, groups: &[(&GroupName, File)]) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let mut text = Zeroizing::new("#cloud-config-archive\n".to_owned());
        for (group, file) in groups {
            let content = self.render(view, &format!("{group}.yaml"), file)?;
            let content = std::str::from_utf8(&content)
                .map_err(|_| Problem::conflict(format!("{group}.yaml: is no text, and stands alone")))?;
            // JSON is YAML, and its quotes hold anything.
            let quoted = Zeroizing::new(serde_json::Value::from(content).to_string());
            text.push_str(&format!("- {{\"content\": {}}}\n", *quoted));
        }
        Ok(Zeroizing::new(text.as_bytes().to_vec()))
    }

    fn render(&self, view: &View<'_>, name: &str, file: &File) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let refused = |text: String| Problem::new(StatusCode::FORBIDDEN, text);
        if self.level < file.min_level {
            let (needs, has) = (file.min_level, self.level);
            return Err(refused(format!("{name}: needs level {needs}, and the node has reached {has}")));
        }
        let content = file.bytes()?;
        render(view, name, &content, &self.context).map_err(|error| refused(error.to_string()))
    }
}

/// The document that is asked for, if it is one of a node's own, and the token's claims.
fn asked(context: &Context, request: &Request) -> Option<(String, NodeClaims)> {
    let name = request.uri().path().strip_prefix(SECURE_PREFIX)?.strip_prefix('/')?;
    let of_group =
        |name: &str| name.strip_suffix(".yaml").is_some_and(|group| group.parse::<GroupName>().is_ok());
    if !["user-data", "meta-data", "vendor-data"].contains(&name) && !of_group(name) {
        return None;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut lines = request.headers().get_all(header::AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    let token = Some(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    Some((name.to_owned(), context.trust.keys.verify(token, Purpose::CloudInit, now())?))
}

/// Whether the session behind a token stands, is this peer's, and is of the node's present boot.
fn stands(context: &Context, claims: &NodeClaims, peer: Peer) -> bool {
    let sessions = &context.trust.sessions;
    let Some(session) = sessions.of(claims.node).pop().filter(|last| last.id == claims.session) else {
        return false;
    };
    let own = peer.address().is_some() && session.channel.address == peer.address();
    let sealed = session.state == SessionState::Sealed && session.epoch == sessions.epoch();
    own && (sealed || session.is_live(sessions.epoch(), now()))
}
