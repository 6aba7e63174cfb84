//! How every write is carried out and answered: planned and checked, then committed or, in a dry run, reported.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::PREFIX;
use crate::api::v1::terms::{Terms, revision_tag, tag};
use crate::api::v1::types::ReportBody;
use crate::api::v1::work::{Done, Work};
use crate::base::SharedMap;
use crate::engine::inventory::report::Differs;
use crate::model::{Change, Inventory, Selector, Snapshot};

/// What stands before whom an assignment is for.
const BOOT_OF: &str = "boot of ";

/// A write that was carried out, or would be.
pub(crate) struct Written<T> {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) outcome: T,
    report: ReportBody,
}

/// Carries out what `plan` plans.
///
/// # Errors
/// What `plan` refuses, what would make no sense, and what the store refuses. Nothing is changed then.
pub(crate) async fn write<T>(
    context: &Context,
    terms: &Terms,
    mut plan: impl FnMut(&mut Work<'_>) -> Result<T, Problem>,
) -> Result<Written<T>, Problem> {
    let mut planned = None;
    let snapshot = context
        .alter(terms.dry_run, |snapshot| {
            let mut work = Work::new(snapshot);
            let outcome = plan(&mut work)?;
            planned = Some((outcome, report(&snapshot.inventory, &work.next, &work.changes, snapshot)));
            Ok(work.changes)
        })
        .await?;
    let (outcome, report) = planned.expect("a change that succeeds was planned");
    let report = ReportBody { dry_run: terms.dry_run, revision: snapshot.revision.0, ..report };
    Ok(Written { snapshot, outcome, report })
}

impl<T> Written<T> {
    /// Answers with the report, tagged with the revision. `asked` things were looked at.
    pub(crate) fn reported(mut self, asked: usize) -> Response {
        let told = self.report.added.len() + self.report.changed.len() + self.report.removed.len();
        self.report.unchanged = asked.saturating_sub(told);
        let tag = revision_tag(self.snapshot.revision);
        ([(header::ETAG, header_value(&tag))], Json(self.report)).into_response()
    }

    /// With bare names of those whose boot was assigned: nothing else stands in the report.
    pub(crate) fn named_bare(mut self) -> Written<T> {
        let report = &mut self.report;
        for name in report.added.iter_mut().chain(&mut report.changed).chain(&mut report.removed) {
            *name = name.trim_start_matches(BOOT_OF).to_owned();
        }
        self
    }

    /// The report of a dry run; None if it was none.
    fn rehearsed(&mut self) -> Option<Response> {
        if !self.report.dry_run {
            return None;
        }
        if self.report.added.is_empty() && self.report.changed.is_empty() && self.report.removed.is_empty() {
            self.report.unchanged = 1;
        }
        let tag = revision_tag(self.snapshot.revision);
        Some(([(header::ETAG, header_value(&tag))], Json(std::mem::take(&mut self.report))).into_response())
    }
}

impl Written<Done> {
    /// Answers with the thing as it is now, its tag and, if it is new, its place below the API.
    pub(crate) fn shown<B: Serialize>(
        mut self,
        place: &str,
        show: impl FnOnce(&Snapshot, &str) -> Result<B, Problem>,
    ) -> Result<Response, Problem> {
        if let Some(report) = self.rehearsed() {
            return Ok(report);
        }
        let body = show(&self.snapshot, &self.outcome.name)?;
        let tagged = [(header::ETAG, header_value(&tag(&body)))];
        if !self.outcome.made {
            return Ok((tagged, Json(body)).into_response());
        }
        let location = [(header::LOCATION, header_value(&format!("{PREFIX}{place}/{}", self.outcome.name)))];
        Ok((StatusCode::CREATED, tagged, location, Json(body)).into_response())
    }

    /// Answers that the thing is gone.
    pub(crate) fn gone(mut self) -> Response {
        self.rehearsed().unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
    }
}

/// Tags and names are visible ASCII.
pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// What these changes come to.
fn report(before: &Inventory, after: &Inventory, changes: &[Change], snapshot: &Snapshot) -> ReportBody {
    let mut report = ReportBody::default();
    let mut seen = BTreeSet::new();
    for change in changes {
        let (name, fate) = fate(before, after, change, snapshot);
        if !seen.insert(name.clone()) {
            continue;
        }
        match fate {
            Fate::Added => report.added.push(name),
            Fate::Removed => report.removed.push(name),
            Fate::Changed(fields) if fields.is_empty() => {}
            Fate::Changed(fields) => {
                report.fields.insert(name.clone(), fields.into_iter().map(str::to_owned).collect());
                report.changed.push(name);
            }
            Fate::None => {}
        }
    }
    report
}

enum Fate {
    Added,
    Changed(Vec<&'static str>),
    Removed,
    None,
}

fn compared<K: Ord, V: Differs>(
    before: &SharedMap<K, Arc<V>>,
    after: &SharedMap<K, Arc<V>>,
    key: &K,
) -> Fate {
    match (before.get(key), after.get(key)) {
        (None, Some(_)) => Fate::Added,
        (Some(_), None) => Fate::Removed,
        (Some(old), Some(new)) => Fate::Changed(old.differs(new)),
        (None, None) => Fate::None,
    }
}

/// What became of the thing of a change, and what it is called. Nodes go by their bare names.
fn fate(before: &Inventory, after: &Inventory, change: &Change, snapshot: &Snapshot) -> (String, Fate) {
    match change {
        Change::PutNode(node) => {
            (called(before, after, node.id), compared(&before.nodes, &after.nodes, &node.id))
        }
        Change::RemoveNode(id) => (called(before, after, *id), compared(&before.nodes, &after.nodes, id)),
        Change::PutBmc(bmc) => (format!("bmc {}", bmc.name), compared(&before.bmcs, &after.bmcs, &bmc.name)),
        Change::RemoveBmc(name) => (format!("bmc {name}"), compared(&before.bmcs, &after.bmcs, name)),
        Change::PutGroup(group) => {
            (format!("group {}", group.name), compared(&before.groups, &after.groups, &group.name))
        }
        Change::RemoveGroup(name) => (format!("group {name}"), compared(&before.groups, &after.groups, name)),
        Change::PutProfile(profile) => {
            (format!("profile {}", profile.name), compared(&before.profiles, &after.profiles, &profile.name))
        }
        Change::RemoveProfile(name) => {
            (format!("profile {name}"), compared(&before.profiles, &after.profiles, name))
        }
        Change::PutAssignment(assignment) => {
            let key = assignment.key();
            let fate = compared(&before.assignments, &after.assignments, &key);
            (format!("{BOOT_OF}{}", selected(snapshot, &key.selector)), fate)
        }
        Change::RemoveAssignment(key) => {
            let fate = compared(&before.assignments, &after.assignments, key);
            (format!("{BOOT_OF}{}", selected(snapshot, &key.selector)), fate)
        }
        Change::PutImage(image) => {
            (format!("image {}", image.key()), compared(&before.images, &after.images, &image.key()))
        }
        Change::RemoveImage(key) => (format!("image {key}"), compared(&before.images, &after.images, key)),
        Change::PutTag(tag) => (format!("tag {}", tag.key), compared(&before.tags, &after.tags, &tag.key)),
        Change::RemoveTag(key) => (format!("tag {key}"), compared(&before.tags, &after.tags, key)),
        Change::PutSecret(secret) => {
            let fate = compared(&before.secrets, &after.secrets, &secret.key);
            (format!("secret {}", secret.key.shown(after)), fate)
        }
        Change::RemoveSecret(key) => {
            (format!("secret {}", key.shown(before)), compared(&before.secrets, &after.secrets, key))
        }
        Change::PutIdentity(identity) => {
            let fate = compared(&before.identities, &after.identities, &identity.node);
            (format!("TPM of {}", called(before, after, identity.node)), fate)
        }
        Change::RemoveIdentity(id) => {
            let fate = compared(&before.identities, &after.identities, id);
            (format!("TPM of {}", called(before, after, *id)), fate)
        }
        Change::PutDocument(_) | Change::RemoveDocument(_) => (String::new(), Fate::None),
    }
}

fn called(before: &Inventory, after: &Inventory, id: crate::model::NodeId) -> String {
    let node = before.nodes.get(&id).or_else(|| after.nodes.get(&id));
    node.map_or_else(String::new, |node| node.name.to_string())
}

/// Whom an assignment is for, as a person says it.
pub(crate) fn selected(snapshot: &Snapshot, selector: &Selector) -> String {
    match selector {
        Selector::Node(id) => {
            snapshot.node(*id).map_or_else(|| selector.to_string(), |node| node.name.to_string())
        }
        _ => selector.to_string(),
    }
}
