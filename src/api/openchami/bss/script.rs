//! `/bootscript`: what a machine boots, in the words of BSS.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::boot;
use crate::api::openchami::OpenChami;
use crate::api::openchami::bss::entry::Entry;
use crate::api::openchami::bss::history::Endpoint;
use crate::api::openchami::bss::key::Key;
use crate::api::openchami::bss::{self, parameters};
use crate::api::openchami::query::Query;
use crate::api::problem::Problem;
use crate::base::{Mac, Xname};
use crate::engine::boot::bss::{Asked, ask_arch, parameters as kernel_line, render};
use crate::engine::boot::decide::turns_on_arch;
use crate::engine::boot::{Decision, Outcome, Program, Request, Rule, decide_for};
use crate::model::{Arch, Nid, Selector, Snapshot};
use crate::transport::clock::now;
use crate::transport::http::Peer;

/// `GET /bootscript?mac=…|name=…|nid=…`, with `retry`, `arch`, `json`.
pub(crate) async fn show(
    State(api): State<OpenChami>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(raw.as_deref());
    let (whom, named) = whom(&api.context.snapshot.load(), &query)?;
    let arch = query.first("arch").unwrap_or("");
    let retry = query.first("retry").and_then(|text| text.parse().ok()).unwrap_or(0);
    let request = Request {
        mac: None,
        address: peer.address(),
        uuid: None,
        arch: Arch::from_name(arch),
        attempt: retry,
    };
    let decide = |snapshot: &Snapshot| decide_for(snapshot, &request, &whom);
    let in_json = query.flag("json");
    let snapshot = api.context.snapshot.load();
    let decision = decide(&snapshot);
    let asks_arch = arch.is_empty() && turns_on_arch(&snapshot, &decision);
    // Who only looks, or has yet to say more, does not use up what is assigned for one boot.
    let (snapshot, decision) = if in_json || asks_arch || is_person(&headers) {
        (snapshot, decision)
    } else {
        match boot::script::settle(&api.context, decide).await {
            Ok(settled) => settled,
            Err(answer) => return Ok(answer),
        }
    };
    let entry = entry(&snapshot, &decision);
    let asked = Asked { path: uri.path(), whom, named: &named, retry, now: now(), token: &entry.token };
    let reach = boot::reach(&api.context, peer);
    tracing::info!(whom = %asked.whom, retry, rule = %decision, "boot script for a client of BSS");
    if asks_arch {
        return ask_arch(&decision, &asked, reach).map(text).map_err(|error| unwritable(&decision, &error));
    }
    // Who only looks is no node that boots.
    let decision = if in_json || is_person(&headers) {
        decision
    } else {
        match boot::script::granted(&api.context, &snapshot, decision, peer).await {
            Ok(decision) => decision,
            Err(answer) => return Ok(answer),
        }
    };
    let script = render(&decision, &asked, &snapshot.site, reach);
    if !in_json && !is_person(&headers) {
        let sent = script.as_ref().ok().and_then(Option::as_deref);
        let mac = if let Selector::Mac(mac) = &asked.whom { Some(*mac) } else { None };
        let request = Request { mac, ..request };
        boot::script::record(&api.context, (&request, &decision), sent, &headers);
    }
    let Some(script) = script.map_err(|error| unwritable(&decision, &error))? else {
        return Err(refusal(&decision, &asked));
    };
    if in_json {
        let line = kernel_line(&decision, &asked, &snapshot.site, reach);
        return data(&decision, &asked, &entry, &line);
    }
    if let Some(node) = decision.node.as_ref().filter(|_| !is_person(&headers)) {
        api.history.note(node.effective_xname(), Endpoint::BootScript, asked.now);
    }
    Ok(text(script))
}

/// Whom the script is for, and how the request named it if not by a hardware address.
fn whom(snapshot: &Snapshot, query: &Query) -> Result<(Selector, String), Problem> {
    let given = |key: &str| query.first(key).map(str::trim).filter(|text| !text.is_empty());
    if let Some(text) = given("mac") {
        let mac: Mac =
            text.parse().map_err(|error| Problem::bad_request(format!("Bad Request: mac: {error}")))?;
        return Ok((Selector::Mac(mac), String::new()));
    }
    if let Some(name) = given("name") {
        let named = || name.parse::<Xname>().ok().map(Selector::Xname);
        let node = snapshot.by_name(name).map(|node| Selector::Node(node.id));
        // What names nothing here is an undeclared machine.
        return Ok((node.or_else(named).unwrap_or(Selector::Unknown(None)), format!("name={name}")));
    }
    let nid: Option<u32> = given("nid").and_then(|text| text.parse().ok());
    let nid =
        nid.ok_or_else(|| Problem::bad_request("Bad Request: Need a mac=, name=, or nid= parameter"))?;
    Ok((Selector::Nid(Nid(nid)), format!("nid={nid}")))
}

/// True for the command line client, with which people look at scripts.
fn is_person(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("ochami/"))
}

/// What is kept beside the assignment that won.
fn entry(snapshot: &Snapshot, decision: &Decision) -> Entry {
    let Rule::Assignment { key, .. } = &decision.rule else { return Entry::default() };
    let selector = match (&key.selector, &decision.node) {
        (Selector::Node(_), Some(node)) => Selector::Xname(node.effective_xname()),
        (selector, _) => selector.clone(),
    };
    parameters::find(snapshot, &Key::Boot(selector)).unwrap_or_default()
}

/// `json=1`: the parts of the script. What is no kernel with its initrd has no parts.
fn data(decision: &Decision, asked: &Asked<'_>, entry: &Entry, line: &str) -> Result<Response, Problem> {
    let Outcome::Boot(Program::Linux { kernel, initrds, .. }) = &decision.outcome else {
        return Err(refusal(decision, asked));
    };
    let initrd = initrds.first().map_or("", String::as_str);
    let body = json!({
        "Params": format!("kernel {line}").trim_end(),
        "Kernel": {"Path": kernel, "Params": ""},
        "Initrd": {"Path": initrd, "Params": ""},
        "CloudInit": entry.cloud_init,
        "ReferralToken": entry.token,
    });
    Ok(bss::json(StatusCode::OK, &body))
}

fn refusal(decision: &Decision, asked: &Asked<'_>) -> Problem {
    match &decision.node {
        Some(node) => {
            Problem::not_found(format!("{}: this host not configured for booting. ({decision})", node.name))
        }
        None => {
            let whom = &asked.whom;
            Problem::not_found(format!("{whom}: no configuration available for unknown hosts ({decision})"))
        }
    }
}

fn unwritable(decision: &Decision, error: &crate::wire::ipxe::Unwritable) -> Problem {
    tracing::warn!(%error, rule = %decision, "a boot target cannot be written as a script");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{decision}: {error}"))
}

fn text(script: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], script).into_response()
}
