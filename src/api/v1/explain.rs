//! What a machine would get, and why.

use axum::Json;
use axum::extract::{RawQuery, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::query::field;
use crate::api::v1::types::{known, read};
use crate::engine::dhcp::imagine::Client;
use crate::engine::explain::{Query, Step, explain as ask};
use crate::model::lease::LeaseChange;
use crate::model::{Arch, LeaseTable};
use crate::transport::clock::now;

/// One stage of an imagined boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepBody {
    pub stage: String,
    pub outcome: String,
    pub reasons: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// `GET /explain?mac=…&arch=…&firmware=…&network=…`. Nothing is sent, held or used up.
pub(crate) async fn explain(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Vec<StepBody>>, Problem> {
    let raw = raw.as_deref();
    let mac = field(raw, "mac").ok_or_else(|| Problem::field("mac", "is needed"))?;
    let query = query(
        &mac,
        field(raw, "arch").as_deref(),
        field(raw, "firmware").as_deref(),
        field(raw, "network").as_deref(),
    )?;
    let mut leases = LeaseTable::default();
    for lease in context.dhcp.leases().await.unwrap_or_default() {
        leases.apply(LeaseChange::Bind(lease));
    }
    let steps = ask(&context.snapshot.load(), &leases, &query, now()).map_err(Problem::not_found)?;
    Ok(Json(steps.into_iter().map(StepBody::from).collect()))
}

/// Reads the words of a question, as the query and the command line have them.
///
/// # Errors
/// Names the word that is not known.
pub fn query(
    mac: &str,
    arch: Option<&str>,
    firmware: Option<&str>,
    network: Option<&str>,
) -> Result<Query, Problem> {
    let arch = match arch {
        None => Arch::X86_64,
        Some(name) => {
            Arch::from_name(name).ok_or_else(|| known("arch", name, &Arch::ALL.map(|arch| arch.1)))?
        }
    };
    let firmware = firmware
        .map(|name| {
            Client::from_name(name)
                .ok_or_else(|| known("firmware", name, &Client::ALL.map(|client| client.1)))
        })
        .transpose()?;
    let network = network.map(|name| read("network", name)).transpose()?;
    Ok(Query { mac: read("mac", mac)?, arch, firmware, network })
}

impl From<Step> for StepBody {
    fn from(step: Step) -> Self {
        let Step { stage, outcome, reasons, script } = step;
        StepBody { stage, outcome, reasons, script }
    }
}
