//! Many writes in one transaction: all of them or none, each problem with the number of its operation.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::context::Context;
use crate::api::problem::{FieldProblem, Problem};
use crate::api::v1::boot;
use crate::api::v1::query;
use crate::api::v1::terms::{Terms, tag_list};
use crate::api::v1::types::AssignBody;
use crate::api::v1::work::Work;
use crate::api::v1::write::write;
use crate::base::limits::{BATCH_OPERATIONS_MAX, PROBLEMS_MAX};

/// `POST /batch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    pub operations: Vec<OperationBody>,
}

/// One operation; each sees what those before it have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationBody {
    pub op: Op,
    pub kind: Kind,
    /// Of the thing; not for `boot`, whose value says whom it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What a request for the one thing has as its body; for `delete` only with `boot`: `whom` and `once`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// As the field `If-Match` of a request for the one thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Put,
    Patch,
    Delete,
}

/// To what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Node,
    Bmc,
    Group,
    Profile,
    Boot,
}

pub(crate) async fn run(
    State(context): State<Context>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let BatchBody { operations } = query::body(&bytes)?;
    if operations.len() > BATCH_OPERATIONS_MAX {
        let text = format!("{} are given, at most {BATCH_OPERATIONS_MAX} are taken", operations.len());
        return Err(Problem::field("operations", text));
    }
    // What each operation was about, to tell which one caused a problem of the whole.
    let mut subjects = Vec::new();
    let written = write(&context, &terms, |work| {
        terms.hold_at(work.snapshot)?;
        subjects.clear();
        let mut refused = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            match apply(work, operation) {
                Ok(subject) => subjects.push((subject, index)),
                Err(problem) if refused.len() < PROBLEMS_MAX => refused.push((index, problem)),
                Err(_) => break,
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(together(refused)) }
    });
    let outcome = written.await;
    let written = outcome.map_err(|problem| numbered(problem, &subjects))?;
    Ok(written.reported(operations.len()))
}

/// Does one operation; answers what it was about.
fn apply(work: &mut Work<'_>, operation: &OperationBody) -> Result<String, Problem> {
    let OperationBody { op, kind, name, value, if_match } = operation;
    let terms = Terms::matching(if_match.as_deref().map(tag_list).transpose()?);
    if *kind == Kind::Boot {
        let value = value.as_ref().ok_or_else(|| Problem::field("value", "is needed"))?;
        return match op {
            Op::Put => boot::assign(work, &query::from_value::<AssignBody>(value)?).map(|_| String::new()),
            Op::Delete => {
                let AssignBody { whom, once, .. } = query::from_value(value)?;
                boot::withdraw(work, &whom, once).map(|_| String::new())
            }
            Op::Patch => Err(Problem::field("op", "boot is put or deleted")),
        };
    }
    let name = name.as_deref().ok_or_else(|| Problem::field("name", "is needed"))?;
    let needed = || value.as_ref().ok_or_else(|| Problem::field("value", "is needed"));
    let patch = || match needed()? {
        patch @ Value::Object(_) => Ok(patch),
        _ => Err(Problem::field("value", "a patch is a JSON object")),
    };
    let done = match (kind, op) {
        (Kind::Node, Op::Put) => work.put_node(name, query::from_value(needed()?)?, &terms),
        (Kind::Node, Op::Patch) => work.merge_node(name, patch()?, &terms),
        (Kind::Node, Op::Delete) => work.remove_node(name, &terms),
        (Kind::Bmc, Op::Put) => work.put_bmc(name, query::from_value(needed()?)?, &terms),
        (Kind::Bmc, Op::Patch) => work.merge_bmc(name, patch()?, &terms),
        (Kind::Bmc, Op::Delete) => work.remove_bmc(name, &terms),
        (Kind::Group, Op::Put) => work.put_group(name, query::from_value(needed()?)?, &terms),
        (Kind::Group, Op::Patch) => work.merge_group(name, patch()?, &terms),
        (Kind::Group, Op::Delete) => work.remove_group(name, &terms),
        (Kind::Profile, Op::Put) => work.put_profile(name, query::from_value(needed()?)?, &terms),
        (Kind::Profile, Op::Patch) => work.merge_profile(name, patch()?, &terms),
        (Kind::Profile, Op::Delete) => work.remove_profile(name, &terms),
        (Kind::Boot, _) => Err(Problem::field("kind", "boot has no name")),
    }?;
    let word = match kind {
        Kind::Node => "node",
        Kind::Bmc => "BMC",
        Kind::Group => "group",
        Kind::Profile => "profile",
        Kind::Boot => "assignment",
    };
    Ok(format!("{word} {}", done.name))
}

/// One refusal of all that were refused. Its status is theirs if they agree.
fn together(refused: Vec<(usize, Problem)>) -> Problem {
    let status = refused.first().map_or(422, |(_, problem)| problem.status);
    let status = if refused.iter().all(|(_, problem)| problem.status == status) { status } else { 422 };
    let detail = match refused.as_slice() {
        [(index, one)] => format!("operations[{index}]: {}", one.detail),
        many => format!("{} operations are refused; nothing was changed", many.len()),
    };
    let problems = refused.into_iter().flat_map(|(index, problem)| {
        let Problem { detail, problems, .. } = problem;
        let bare = FieldProblem { subject: String::new(), field: String::new(), text: detail, line: None };
        let list = if problems.is_empty() { vec![bare] } else { problems };
        list.into_iter().map(move |one| FieldProblem { field: placed(index, &one.field), ..one })
    });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
    Problem { problems: problems.collect(), ..Problem::new(status, detail) }
}

fn placed(index: usize, field: &str) -> String {
    match field {
        "" => format!("operations[{index}]"),
        "op" | "kind" | "name" | "value" | "if_match" => format!("operations[{index}].{field}"),
        _ => format!("operations[{index}].value.{field}"),
    }
}

/// Names the operation that caused a problem of the result, where one did.
fn numbered(problem: Problem, subjects: &[(String, usize)]) -> Problem {
    let problems = problem.problems.into_iter().map(|one| {
        let by = subjects
            .iter()
            .rev()
            .find(|(subject, _)| !subject.is_empty() && subject.eq_ignore_ascii_case(&one.subject));
        match by {
            Some((_, index)) => FieldProblem { field: placed(*index, &one.field), ..one },
            None => one,
        }
    });
    Problem { problems: problems.collect(), ..problem }
}
