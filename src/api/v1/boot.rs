//! What nodes boot: assignments in, decisions out.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::types::{AssignBody, BootBody, ReportBody, TargetBody, WhomBody, read};
use crate::engine::boot::{self, Outcome, decide};
use crate::model::profile::AssignmentKey;
use crate::model::{Assignment, Change, Node, Selector, Snapshot};

/// `GET /boot?set=…`: the decision for each node, as its boot interface would get it.
pub(crate) async fn show(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Vec<BootBody>>, Problem> {
    let snapshot = context.snapshot.load();
    let set = query::set(&snapshot, raw.as_deref())?;
    let nodes = snapshot
        .inventory
        .nodes
        .values()
        .filter(|node| set.as_ref().is_none_or(|set| set.contains(&node.id)));
    Ok(Json(nodes.map(|node| decision(&snapshot, node)).collect()))
}

fn decision(snapshot: &Snapshot, node: &Arc<Node>) -> BootBody {
    let first = node.interfaces.first();
    let request = boot::Request {
        mac: first.map(|interface| interface.mac),
        address: first.and_then(|interface| interface.addresses.first().copied()),
        uuid: None,
        arch: node.arch,
        attempt: 0,
    };
    let decision = decide(snapshot, &request);
    let (outcome, target) = match &decision.outcome {
        Outcome::Boot(target) => ("boot", Some(TargetBody::from(target))),
        Outcome::Hold => ("hold", None),
        Outcome::Refuse => ("refuse", None),
    };
    BootBody { node: node.name.to_string(), outcome: outcome.to_owned(), rule: decision.to_string(), target }
}

/// `PUT /boot`: assigns a profile or a target, in one transaction.
pub(crate) async fn set(State(context): State<Context>, bytes: Bytes) -> Result<Json<ReportBody>, Problem> {
    let AssignBody { whom, once, profile, target } = query::body(&bytes)?;
    let boot = AssignBody::boot(profile, target)?;
    let mut report = ReportBody::default();
    let snapshot = context
        .change(|snapshot| {
            report = ReportBody::default();
            let selectors = selectors(snapshot, &whom)?;
            let mut changes = Vec::new();
            for selector in selectors {
                let assignment = Assignment { selector, once, boot: boot.clone() };
                let name = name(snapshot, &assignment.selector);
                match snapshot.inventory.assignments.get(&assignment.key()) {
                    Some(old) if **old == assignment => {
                        report.unchanged += 1;
                        continue;
                    }
                    Some(_) => report.changed.push(name),
                    None => report.added.push(name),
                }
                changes.push(Change::PutAssignment(Arc::new(assignment)));
            }
            Ok(changes)
        })
        .await?;
    Ok(Json(ReportBody { revision: snapshot.revision.0, ..report }))
}

/// `DELETE /boot?set=…|mac=…|role=…|default`, with `once` for the one-shot only.
pub(crate) async fn clear(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
) -> Result<Json<ReportBody>, Problem> {
    let raw = raw.as_deref();
    let whom = WhomBody {
        set: query::field(raw, "set"),
        mac: query::field(raw, "mac"),
        role: query::field(raw, "role"),
        default: query::flag(raw, "default"),
    };
    let kinds: &[bool] = if query::flag(raw, "once") { &[false] } else { &[false, true] };
    let mut removed = Vec::new();
    let snapshot = context
        .change(|snapshot| {
            removed.clear();
            let mut changes = Vec::new();
            for selector in selectors(snapshot, &whom)? {
                for lasting in kinds {
                    let key = AssignmentKey { selector: selector.clone(), lasting: *lasting };
                    if snapshot.inventory.assignments.contains_key(&key) {
                        removed.push(name(snapshot, &selector));
                        changes.push(Change::RemoveAssignment(key));
                    }
                }
            }
            Ok(changes)
        })
        .await?;
    Ok(Json(ReportBody { removed, revision: snapshot.revision.0, ..ReportBody::default() }))
}

fn selectors(snapshot: &Snapshot, whom: &WhomBody) -> Result<Vec<Selector>, Problem> {
    let WhomBody { set, mac, role, default } = whom;
    let given = [set.is_some(), mac.is_some(), role.is_some(), *default];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(Problem::field("whom", "give exactly one of set, mac, role, default"));
    }
    if let Some(mac) = mac {
        return Ok(vec![Selector::Mac(read("mac", mac)?)]);
    }
    if let Some(role) = role {
        return Ok(vec![Selector::Role(role.to_ascii_lowercase())]);
    }
    let Some(set) = set else { return Ok(vec![Selector::Default]) };
    // A whole group is assigned as a group, so that members who join later boot the same.
    if let Some(Ok(group)) = set.trim().strip_prefix('@').map(str::parse) {
        return match snapshot.members(&group) {
            Some(_) => Ok(vec![Selector::Group(group)]),
            None => Err(Problem::field("set", format!("no group is called {:?}", group.as_str()))),
        };
    }
    Ok(query::resolve(snapshot, set)?.into_iter().map(Selector::Node).collect())
}

fn name(snapshot: &Snapshot, selector: &Selector) -> String {
    match selector {
        Selector::Node(id) => {
            snapshot.node(*id).map_or_else(|| selector.to_string(), |node| node.name.to_string())
        }
        _ => selector.to_string(),
    }
}
