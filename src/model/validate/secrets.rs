//! Checks of secrets: whose they are, what a node could not write, and what should never be given away.

use crate::base::Level;
use crate::base::limits::{SECRET_VERSIONS_MAX, SECRETS_BYTES_MAX, SECRETS_MAX};
use crate::model::secret::{Scope, Target, What};
use crate::model::validate::{Problem, Subject};
use crate::model::{Inventory, Secret};

/// Longest path on a node; PATH_MAX would be 4096, and nobody types that.
const PATH_BYTES_MAX: usize = 255;

/// Longest name of a user or group (useradd) and of a variable.
const NAME_BYTES_MAX: usize = 32;
const VARIABLE_BYTES_MAX: usize = 128;

/// What is wrong with one secret.
pub(crate) fn secret(inventory: &Inventory, secret: &Secret) -> Vec<Problem> {
    let mut problems = Vec::new();
    let subject = || Subject::Secret(secret.key.shown(inventory));
    let mut report = |field: &str, text: String| {
        problems.push(Problem { subject: subject(), field: field.to_owned(), text });
    };
    match &secret.key.scope {
        Scope::Node(id) if !inventory.nodes.contains_key(id) => {
            report("scope", "there is no such node".to_owned());
        }
        Scope::Group(group) if !inventory.groups.contains_key(group) => {
            report("scope", format!("no group is called {group}"));
        }
        Scope::Site if secret.min_level == Level::Address => {
            let text =
                "a secret of the whole site needs at least level 1: with 0, whoever has any address gets it";
            report("min_level", text.to_owned());
        }
        Scope::Node(_) | Scope::Group(_) | Scope::Site => {}
    }
    match &secret.what {
        What::File(target) => file(target, &mut report),
        What::Env { file, name } => {
            path("what.env.file", file, &mut report);
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty()
                || name.len() > VARIABLE_BYTES_MAX
                || !name.chars().all(plain)
                || name.starts_with(|c: char| c.is_ascii_digit())
            {
                report("what.env.name", format!("{name:?} is no name of a variable"));
            }
        }
        What::SshHostKey | What::MungeKey | What::Opaque => {}
    }
    let on_demand = secret.what == What::SshHostKey && !secret.is_made_on_demand();
    if secret.versions.is_empty() && !on_demand {
        report("value", "is needed".to_owned());
    }
    if secret.versions.len() > SECRET_VERSIONS_MAX {
        report("value", format!("more than {SECRET_VERSIONS_MAX} versions are kept"));
    }
    problems
}

/// Problems of secrets that a change causes.
pub(crate) fn caused(before: &Inventory, next: &Inventory) -> Vec<Problem> {
    let put = before.secrets.difference(&next.secrets).put;
    let mut problems: Vec<Problem> = put.iter().flat_map(|(_, _, one)| secret(next, one)).collect();
    if !put.is_empty() {
        let declared = || next.secrets.values().filter(|one| !one.is_made_on_demand());
        let (count, former) = (declared().count(), before.secrets.len());
        let size = |one: &Secret| one.versions.iter().map(|version| version.sealed.0.len()).sum::<usize>();
        let octets: usize = declared().map(|one| size(one)).sum();
        let mut full = |text: String| {
            let subject = Subject::Secret(put.first().map_or_else(String::new, |(key, ..)| key.shown(next)));
            problems.push(Problem { subject, field: "value".to_owned(), text });
        };
        if count > SECRETS_MAX && next.secrets.len() > former {
            full(format!("at most {SECRETS_MAX} secrets can be declared"));
        }
        if octets > SECRETS_BYTES_MAX {
            full(format!("all secrets together may have {SECRETS_BYTES_MAX} octets"));
        }
    }
    problems
}

fn file(target: &Target, report: &mut impl FnMut(&str, String)) {
    let Target { path: place, owner, group, mode } = target;
    path("what.file.path", place, report);
    for (field, name) in [("what.file.owner", owner), ("what.file.group", group)] {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('-') || !name.chars().all(plain)
        {
            report(field, format!("{name:?} is no name or number of a user or group"));
        }
    }
    if mode & !0o770 != 0 {
        let text = format!("{mode:04o}: a secret is for its owner and group; only bits of 0770 can be set");
        report("what.file.mode", text);
    }
}

/// A place that is the same on every node and leads nowhere else.
fn path(field: &str, path: &str, report: &mut impl FnMut(&str, String)) {
    let inner = path.strip_prefix('/').unwrap_or_default();
    let plain = inner.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if path.len() > PATH_BYTES_MAX || !plain || path.chars().any(char::is_control) {
        let text =
            format!("{path:?} is no absolute path without . and .., of at most {PATH_BYTES_MAX} octets");
        report(field, text);
    }
}
