//! Nodes' TPMs: which are known, which wait, who lets them in, and what a node had when it is lost.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::nodes::find;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::trust::{Asker, SessionBody, who};
use crate::api::v1::types::read;
use crate::api::v1::types::tpm::{
    ApproveBody, EnrolAnewBody, HeldBody, ListedBody, OpenWindowBody, PreloadBody, RevokedBody, Told,
    TpmBody, WindowBody,
};
use crate::api::v1::work::Work;
use crate::api::v1::write::write;
use crate::base::limits::{ENROL_LIST_MAX, ENROL_WINDOW_MAX};
use crate::base::{GroupName, Millis};
use crate::engine::attest::chain;
use crate::engine::attest::enrol::{
    Enrol, Word, anew, approve as approved, preload as listed, revoke as revoked,
};
use crate::model::{EkFingerprint, Node, NodeId, SecretKey, Snapshot};
use crate::transport::clock::now;
use crate::transport::dossiers::Window;

/// The routes of TPMs, below `PREFIX`.
pub fn router() -> Router<Context> {
    Router::new()
        .route("/trust/tpms", get(list))
        .route("/trust/tpms/approve", post(approve))
        .route("/trust/tpms/preload", post(preload))
        .route("/trust/tpms/{name}", get(show))
        .route("/trust/tpms/{name}/anew", post(enrol_anew))
        .route("/trust/tpms/{name}/unpin", post(unpin))
        .route("/trust/tpms/{name}/revoke", post(revoke))
        .route("/trust/nodes/{name}/held", get(held))
        .route("/trust/windows", get(windows))
        .route("/trust/windows/{group}", put(open).delete(shut))
}

/// `GET /trust/tpms`: of nodes of which a TPM is known, or all of a set.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let set = query::set(&snapshot, uri.query())?;
    let state = query::field(uri.query(), "state");
    let nodes = snapshot.inventory.nodes.values();
    let wanted = nodes.filter(|node| set.as_ref().is_none_or(|set| set.contains(&node.id)));
    let bodies = wanted.map(|node| body(&context, &snapshot, node));
    let told = |body: &TpmBody| match &state {
        Some(state) => body.state == *state,
        None => set.is_some() || body.state != "none" || body.flag.is_some(),
    };
    page(&uri, bodies.filter(told).map(|body| (body.node.clone(), body)), |body| body)
}

/// `GET /trust/tpms/{name}`.
pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<TpmBody>, Problem> {
    let snapshot = context.snapshot.load();
    Ok(Json(body(&context, &snapshot, find(&snapshot, &name)?)))
}

fn body(context: &Context, snapshot: &Snapshot, node: &Node) -> TpmBody {
    let dossiers = &context.trust.dossiers;
    let identity = snapshot.inventory.identities.get(&node.id);
    TpmBody::new(
        node,
        Told {
            identity: identity.map(Arc::as_ref),
            pending: dossiers.pending(node.id).filter(|_| identity.is_none()),
            dossier: dossiers.get(node.id),
            policy: dossiers.policy(node),
        },
    )
}

/// `POST /trust/tpms/approve`: what waits, each by the code that was compared. All of them or none.
pub(crate) async fn approve(
    State(context): State<Context>,
    caller: Asker,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let ApproveBody { tpms } = query::body(&bytes)?;
    bounded(tpms.len())?;
    let (by, dossiers) = (who(caller), &context.trust.dossiers);
    let word = Word { by: &by, at: now() };
    let mut nodes: Vec<NodeId> = Vec::new();
    let written = write(&context, &terms, |work| {
        nodes.clear();
        for (index, one) in tpms.iter().enumerate() {
            let node = sought(work, &one.node)?;
            let (pending, policy) = (dossiers.pending(node.id), dossiers.policy(&node));
            let change = approved(&work.next, &node, pending.as_ref(), &one.code, policy, word);
            let change = change.map_err(|error| at(index, &one.node, error.into()))?;
            change.into_iter().for_each(|change| work.apply(change));
            nodes.push(node.id);
        }
        Ok(())
    });
    let written = written.await?;
    if !terms.dry_run {
        dossiers.settle(&nodes).await?;
    }
    Ok(written.reported(tpms.len()))
}

/// `POST /trust/tpms/preload`: a list of nodes and their keys. All of them or none.
pub(crate) async fn preload(
    State(context): State<Context>,
    caller: Asker,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let PreloadBody { tpms } = query::body(&bytes)?;
    bounded(tpms.len())?;
    let keys: Vec<EkFingerprint> =
        tpms.iter().enumerate().map(|(index, one)| key(index, one)).collect::<Result<_, _>>()?;
    let by = who(caller);
    let word = Word { by: &by, at: now() };
    let mut nodes: Vec<NodeId> = Vec::new();
    let written = write(&context, &terms, |work| {
        nodes.clear();
        for (index, (one, ek)) in tpms.iter().zip(&keys).enumerate() {
            let node = sought(work, &one.node)?;
            let change = listed(&work.next, &node, *ek, word);
            let change = change.map_err(|error| at(index, &one.node, error.into()))?;
            change.into_iter().for_each(|change| work.apply(change));
            nodes.push(node.id);
        }
        Ok(())
    });
    let written = written.await?;
    if !terms.dry_run {
        context.trust.dossiers.settle(&nodes).await?;
    }
    Ok(written.reported(tpms.len()))
}

fn bounded(count: usize) -> Result<(), Problem> {
    if (1..=ENROL_LIST_MAX).contains(&count) {
        return Ok(());
    }
    Err(Problem::field("tpms", format!("must have from 1 to {ENROL_LIST_MAX} entries, and has {count}")))
}

fn sought(work: &Work<'_>, name: &str) -> Result<Arc<Node>, Problem> {
    work.find(name).ok_or_else(|| Problem::not_found(format!("no node is called {name:?}")))
}

/// A refusal of one of many, with its place.
fn at(index: usize, node: &str, problem: Problem) -> Problem {
    Problem { detail: format!("tpms[{index}], {node}: {}", problem.detail), ..problem }
}

/// The key of a line of a list.
fn key(index: usize, one: &ListedBody) -> Result<EkFingerprint, Problem> {
    let wrong = |field: &str, text: String| Problem::field(format!("tpms[{index}].{field}"), text);
    match (&one.ek, &one.certificate) {
        (Some(ek), None) => {
            EkFingerprint::from_str(ek).map_err(|error| wrong("ek", format!("{ek:?} {error}")))
        }
        (None, Some(pem)) => {
            let der = CertificateDer::from_pem_slice(pem.as_bytes())
                .map_err(|_| wrong("certificate", "is no certificate in PEM".to_owned()))?;
            chain::key_of(&der).map_err(|error| wrong("certificate", error.to_string()))
        }
        _ => Err(wrong("ek", "one of ek and certificate is needed".to_owned())),
    }
}

/// `POST /trust/tpms/{name}/anew`: the node gets another TPM, by its fingerprint, or the next one that is approved.
pub(crate) async fn enrol_anew(
    State(context): State<Context>,
    caller: Asker,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<TpmBody>, Problem> {
    let EnrolAnewBody { ek } = query::body(&bytes)?;
    let ek: Option<EkFingerprint> = ek.map(|ek| read("ek", &ek)).transpose()?;
    let by = who(caller);
    let word = Word { by: &by, at: now() };
    let id = find(&context.snapshot.load(), &name)?.id;
    let plan = |snapshot: &Snapshot| {
        let node = find(snapshot, &name)?;
        Ok(vec![anew(&snapshot.inventory, node, ek, word)?])
    };
    let detail = ek.map_or_else(|| "enrolled anew".to_owned(), |ek| format!("enrolled anew: {}", ek.code()));
    let snapshot = context.change_noted(&detail, plan).await?;
    context.trust.dossiers.begin_anew(id).await?;
    Ok(Json(body(&context, &snapshot, find(&snapshot, &name)?)))
}

/// `POST /trust/tpms/{name}/unpin`: what its firmware measures at the next attestation is right from then on.
pub(crate) async fn unpin(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<TpmBody>, Problem> {
    let snapshot = context.snapshot.load();
    let node = find(&snapshot, &name)?;
    context.trust.dossiers.unpin(node.id).await?;
    Ok(Json(body(&context, &snapshot, node)))
}

/// `POST /trust/tpms/{name}/revoke`: the node gets nothing any more. Answers with all that it had.
pub(crate) async fn revoke(
    State(context): State<Context>,
    caller: Asker,
    Path(name): Path<String>,
) -> Result<Json<RevokedBody>, Problem> {
    let by = who(caller);
    let word = Word { by: &by, at: now() };
    let plan = |snapshot: &Snapshot| {
        let node = find(snapshot, &name)?;
        Ok(revoked(&snapshot.inventory, node, word).into_iter().collect())
    };
    let snapshot = context.change_noted("revoked", plan).await?;
    let (node, sessions) = (find(&snapshot, &name)?, &context.trust.sessions);
    let mut ended = Vec::new();
    for session in sessions.of(node.id) {
        if session.is_live(sessions.epoch(), now()) {
            let end = sessions.change(session.id, |session| {
                session.revoke(format!("its node is revoked by {by}"), false, now());
                Ok(session.clone())
            });
            ended.push(SessionBody::new(&snapshot, &end.await?));
            context.trust.challenges.forget(session.id);
        }
    }
    let held = had(&context, &snapshot, node.id);
    Ok(Json(RevokedBody { tpm: body(&context, &snapshot, node), ended, held }))
}

/// `GET /trust/nodes/{name}/held`: the values of secrets that a node ever had.
pub(crate) async fn held(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<Vec<HeldBody>>, Problem> {
    let snapshot = context.snapshot.load();
    let node = find(&snapshot, &name)?;
    Ok(Json(had(&context, &snapshot, node.id)))
}

fn had(context: &Context, snapshot: &Snapshot, node: NodeId) -> Vec<HeldBody> {
    let inventory = &snapshot.inventory;
    let held = context.trust.dossiers.get(node).held;
    let rows: HashSet<&str> = held.iter().map(|held| held.secret.as_str()).collect();
    let keys = inventory.secrets.keys().map(|key| (key.row(), key));
    let keys: HashMap<String, &SecretKey> = keys.filter(|(row, _)| rows.contains(row.as_str())).collect();
    held.iter().map(|held| HeldBody::new(held, keys.get(&held.secret).copied(), inventory)).collect()
}

/// `GET /trust/windows`.
pub(crate) async fn windows(State(context): State<Context>) -> Json<Vec<WindowBody>> {
    Json(context.trust.dossiers.windows.all(now()).iter().map(WindowBody::from).collect())
}

/// `PUT /trust/windows/{group}`: lets in what members of a group show, for a while.
pub(crate) async fn open(
    State(context): State<Context>,
    caller: Asker,
    Path(group): Path<String>,
    bytes: Bytes,
) -> Result<Json<WindowBody>, Problem> {
    let OpenWindowBody { minutes } = query::body(&bytes)?;
    let length = Millis::from_secs(u64::from(minutes).saturating_mul(60));
    if length.0 == 0 || length > ENROL_WINDOW_MAX {
        let most = ENROL_WINDOW_MAX.0 / 60_000;
        return Err(Problem::field("minutes", format!("must be from 1 to {most}")));
    }
    let group: GroupName = read("group", &group)?;
    let snapshot = context.snapshot.load();
    if !snapshot.inventory.groups.contains_key(&group) {
        return Err(Problem::not_found(format!("no group is called {group}")));
    }
    let dossiers = &context.trust.dossiers;
    if !snapshot.inventory.members(&group).any(|node| dossiers.policy(node).enrol == Enrol::Window) {
        let text = format!("no member of {group} may come in by a window: trust.enrol says otherwise");
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    let window = Window { group, until: now() + length, by: who(caller) };
    tracing::warn!(group = %window.group, by = window.by, minutes, "TPMs of a group are let in without codes");
    dossiers.windows.open(window.clone());
    Ok(Json(WindowBody::from(&window)))
}

/// `DELETE /trust/windows/{group}`.
pub(crate) async fn shut(
    State(context): State<Context>,
    Path(group): Path<String>,
) -> Result<StatusCode, Problem> {
    let group: GroupName = read("group", &group)?;
    if context.trust.dossiers.windows.shut(&group) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(format!("no window of {group} is open")))
}
