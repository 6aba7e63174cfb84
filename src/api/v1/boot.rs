//! What nodes boot: assignments in, decisions out.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::Uri;
use axum::response::Response;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::nodes::Filter;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{AssignBody, BootBody, TargetBody, WhomBody, read};
use crate::api::v1::work::Work;
use crate::api::v1::write::write;
use crate::engine::boot::{self, Outcome, decide};
use crate::model::profile::AssignmentKey;
use crate::model::{Assignment, Change, Node, Selector, Snapshot};

/// `GET /boot?set=…`: the decision for each node, as its boot interface would get it; by name.
pub(crate) async fn show(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let filter = Filter::read(&snapshot, uri.query())?;
    let nodes = snapshot.inventory.nodes.values().filter(|node| filter.takes(&snapshot, node));
    page(&uri, nodes.map(|node| (node.name.to_string(), node)), |node| decision(&snapshot, node))
}

pub(crate) fn decision(snapshot: &Snapshot, node: &Arc<Node>) -> BootBody {
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
        Outcome::Boot(program) => ("boot", Some(TargetBody::from(program))),
        Outcome::Hold => ("hold", None),
        Outcome::Refuse => ("refuse", None),
    };
    let (image, version) =
        decision.image.as_ref().map(|(image, version)| (image.to_string(), version.to_string())).unzip();
    BootBody {
        node: node.name.to_string(),
        outcome: outcome.to_owned(),
        rule: decision.to_string(),
        image,
        version,
        target,
    }
}

/// `PUT /boot`: assigns a profile or a target, in one transaction.
pub(crate) async fn set(
    State(context): State<Context>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: AssignBody = query::body(&bytes)?;
    let written = write(&context, &terms, |work| {
        terms.hold_at(work.snapshot)?;
        assign(work, &body)
    });
    let written = written.await?;
    let asked = written.outcome;
    Ok(written.named_bare().reported(asked))
}

/// Assigns; answers for how many selectors.
pub(crate) fn assign(work: &mut Work<'_>, body: &AssignBody) -> Result<usize, Problem> {
    let AssignBody { whom, once, profile, target } = body.clone();
    let boot = AssignBody::boot(profile, target)?;
    let selectors = selectors(work, &whom)?;
    let count = selectors.len();
    for selector in selectors {
        let assignment = Assignment { selector, once, boot: boot.clone() };
        let old = work.next.assignments.get(&assignment.key());
        if old.is_none_or(|old| **old != assignment) {
            work.apply(Change::PutAssignment(Arc::new(assignment)));
        }
    }
    Ok(count)
}

/// `DELETE /boot?set=…|mac=…|role=…|default`, with `once` for the one-shot only.
pub(crate) async fn clear(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
    terms: Terms,
) -> Result<Response, Problem> {
    let raw = raw.as_deref();
    let whom = WhomBody {
        set: query::field(raw, "set"),
        mac: query::field(raw, "mac"),
        role: query::field(raw, "role"),
        default: query::flag(raw, "default"),
    };
    let once = query::flag(raw, "once");
    let written = write(&context, &terms, |work| {
        terms.hold_at(work.snapshot)?;
        withdraw(work, &whom, once)
    });
    Ok(written.await?.named_bare().reported(0))
}

/// Takes assignments back; with `once` the one-shots only.
pub(crate) fn withdraw(work: &mut Work<'_>, whom: &WhomBody, once: bool) -> Result<(), Problem> {
    let kinds: &[bool] = if once { &[false] } else { &[false, true] };
    for selector in selectors(work, whom)? {
        for lasting in kinds {
            let key = AssignmentKey { selector: selector.clone(), lasting: *lasting };
            if work.next.assignments.contains_key(&key) {
                work.apply(Change::RemoveAssignment(key));
            }
        }
    }
    Ok(())
}

fn selectors(work: &Work<'_>, whom: &WhomBody) -> Result<Vec<Selector>, Problem> {
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
        return match work.next.groups.get(&group) {
            Some(_) => Ok(vec![Selector::Group(group)]),
            None => Err(Problem::field("set", format!("no group is called {:?}", group.as_str()))),
        };
    }
    Ok(work.resolve(set)?.into_iter().map(Selector::Node).collect())
}
