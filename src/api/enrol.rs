//! Enrolment of TPMs for all who change it: operators by the API, and windows that let in what is shown.

use axum::http::StatusCode;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::engine::attest::enrol::{EnrolError, Word, by_window};
use crate::model::BootSession;
use crate::transport::clock::now;

/// Enrols what waits for the node of this session, if a window is open for it. False: it waits on.
///
/// # Errors
/// The change cannot be made.
pub(crate) async fn let_in_by_window(context: &Context, session: &BootSession) -> Result<bool, Problem> {
    let dossiers = &context.trust.dossiers;
    let snapshot = context.snapshot.load();
    let Some(node) = snapshot.node(session.node) else { return Ok(false) };
    let (Some(window), Some(pending)) = (dossiers.windows.of(node, now()), dossiers.pending(node.id)) else {
        return Ok(false);
    };
    let (by, policy) = (format!("{}, by the window of {}", window.by, window.group), dossiers.policy(node));
    let mut refused = None;
    let mut made = false;
    let plan = |snapshot: &crate::model::Snapshot| {
        let word = Word { by: &by, at: now() };
        match by_window(&snapshot.inventory, session, &pending, policy, word) {
            Ok(change) => {
                made = change.is_some();
                Ok(change.into_iter().collect())
            }
            Err(error) => {
                refused = Some(error);
                Ok(Vec::new())
            }
        }
    };
    let detail = format!("TPM {}", pending.ek.code());
    context.change_noted(&detail, plan).await?;
    if let Some(error) = refused {
        tracing::warn!(node = node.name.as_str(), %error, "a TPM is not let in by the window of its group");
        return Ok(false);
    }
    if made {
        dossiers.settle(&[node.id]).await?;
        tracing::info!(node = node.name.as_str(), code = pending.ek.code(), group = %window.group, "TPM let in");
    }
    Ok(made)
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Problem {
        match error {
            EnrolError::Nothing => Problem::not_found(error.to_string()),
            EnrolError::Code(_) => Problem::field("code", error.to_string()),
            EnrolError::Certificate(_) | EnrolError::ListOnly => {
                Problem::new(StatusCode::FORBIDDEN, error.to_string())
            }
            EnrolError::Enrolled(_) | EnrolError::Revoked | EnrolError::Taken(_) => {
                Problem::conflict(error.to_string())
            }
        }
    }
}
