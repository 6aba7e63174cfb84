//! Import and export.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::context::Context;
use crate::api::problem::{FieldProblem, Problem};
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::ReportBody;
use crate::engine::inventory::{Mode, Problems, export as write, plan, read};

/// `POST /inventory/import?dry_run&prune`: the body is the document.
pub(crate) async fn import(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
    terms: Terms,
    text: String,
) -> Result<Json<ReportBody>, Problem> {
    let dry_run = terms.dry_run;
    let mode = Mode { prune: query::flag(raw.as_deref(), "prune") };
    let short_name = context.snapshot.load().site.short_name.clone();
    // A large document takes seconds to read; packets must not wait for it.
    let document = tokio::task::spawn_blocking(move || read(&text, &short_name)).await;
    let document =
        document.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "reading was cut off"))?;
    let document = document.map_err(|problems| refuse(&problems))?;
    let mut report = ReportBody { dry_run, ..ReportBody::default() };
    let snapshot = context
        .alter(dry_run, |snapshot| {
            terms.hold_at(snapshot)?;
            let planned = plan(&snapshot.inventory, &snapshot.site, &document, mode);
            let planned = planned.map_err(|problems| refuse(&problems))?;
            report.added = planned.report.added;
            report.changed = planned.report.changed;
            report.removed = planned.report.removed;
            report.unchanged = planned.report.unchanged;
            report.notes = planned.report.notes;
            let fields = planned.report.fields.into_iter();
            report.fields = fields
                .map(|(name, fields)| (name, fields.into_iter().map(str::to_owned).collect()))
                .collect();
            Ok(planned.changes)
        })
        .await?;
    report.revision = snapshot.revision.0;
    Ok(Json(report))
}

pub(crate) async fn export(State(context): State<Context>) -> Response {
    let text = write(&context.snapshot.load().inventory);
    ([(header::CONTENT_TYPE, "application/yaml")], text).into_response()
}

fn refuse(found: &Problems) -> Problem {
    let problems: Vec<FieldProblem> = found
        .list
        .iter()
        .map(|problem| FieldProblem {
            subject: String::new(),
            field: problem.field.clone(),
            text: problem.text.clone(),
            line: Some(problem.line).filter(|line| *line > 0),
        })
        .collect();
    let count = problems.len().saturating_add(found.more);
    let plural = if count == 1 { "" } else { "s" };
    let detail = format!("the document has {count} problem{plural}; nothing was changed");
    Problem { problems, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
}
