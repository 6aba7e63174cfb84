//! What happens: a list for those who ask now and then, a stream of server-sent events for those who watch.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::types::{known, read};
use crate::transport::journal::{CLOSED, Event, Journal, KINDS};

/// Events in one list unless asked otherwise, and at most.
const LIMIT: usize = 1000;

/// Events that a stream takes from the journal at once.
const GULP: usize = 64;

/// How often a quiet stream says that it is alive: below the patience of proxies.
const ALIVE: Duration = Duration::from_secs(15);

/// What a reader hears whose place was forgotten.
const LOST: &str = r#"{"text":"events were forgotten before they were read"}"#;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventBody {
    /// Rises, over restarts of the head too.
    pub id: u64,
    pub time: String,
    /// `boot`, `inventory`, `lease` or `sighting`.
    pub kind: String,
    pub node: Option<String>,
    pub text: String,
    pub data: BTreeMap<String, String>,
}

/// Which events are wanted.
struct Filter {
    kinds: Vec<String>,
    node: Option<String>,
}

impl Filter {
    fn read(raw: Option<&str>) -> Result<Filter, Problem> {
        let kinds = query::fields(raw, "kind");
        match kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            Some(kind) => Err(known("kind", kind, &KINDS)),
            None => {
                Ok(Filter { kinds, node: query::field(raw, "node").map(|node| node.to_ascii_lowercase()) })
            }
        }
    }

    fn takes(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind))
            && (self.node.is_none() || self.node == event.node)
    }
}

/// `GET /events?kind=…&node=…&after=…`: a stream; with `follow=0` a list of what the head remembers.
pub(crate) async fn events(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let raw = raw.as_deref();
    let filter = Filter::read(raw)?;
    let after = query::field(raw, "after").map(|text| read::<u64>("after", &text)).transpose()?;
    if query::field(raw, "follow").is_some() && !query::flag(raw, "follow") {
        return Ok(list(&context.journal, &filter, after.unwrap_or(0), query::limit(raw, LIMIT)?));
    }
    let resumed = headers.get("last-event-id").map(|value| {
        let text = value.to_str().unwrap_or_default();
        text.parse::<u64>().map_err(|_| Problem::field("Last-Event-ID", "is the id of an event, a number"))
    });
    let after = resumed.transpose()?.or(after).unwrap_or_else(|| context.journal.newest());
    let watch = context.journal.watch();
    let reader =
        Reader { journal: context.journal.clone(), watch, filter, after, ready: Vec::new(), over: false };
    let stream = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let mut answer = Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// The newest `limit` events, or those behind a place if the caller goes on from one.
fn list(journal: &Journal, filter: &Filter, after: u64, limit: usize) -> Response {
    let page = journal.after(after, usize::MAX);
    let mut wanted: Vec<EventBody> = page
        .events
        .iter()
        .filter(|event| filter.takes(event))
        .map(|event| EventBody::from(&**event))
        .collect();
    if after == 0 {
        wanted.drain(..wanted.len().saturating_sub(limit));
    } else {
        wanted.truncate(limit);
    }
    Json(wanted).into_response()
}

/// One stream's place in the journal.
struct Reader {
    journal: Journal,
    watch: watch::Receiver<u64>,
    filter: Filter,
    after: u64,
    /// What was taken and not sent yet, the next one last.
    ready: Vec<sse::Event>,
    over: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            self.over = *self.watch.borrow_and_update() == CLOSED;
            let page = self.journal.after(self.after, GULP);
            self.after = page.place;
            let wanted = page.events.iter().filter(|event| self.filter.takes(event));
            self.ready = wanted.filter_map(|event| told(event)).collect();
            if page.lost {
                self.ready.insert(0, sse::Event::default().event("lost").data(LOST));
            }
            self.ready.reverse();
            if page.events.is_empty() && !page.lost && !self.over && self.watch.changed().await.is_err() {
                self.over = true;
            }
        }
    }
}

fn told(event: &Event) -> Option<sse::Event> {
    let data = serde_json::to_string(&EventBody::from(event)).ok()?;
    Some(sse::Event::default().id(event.id.to_string()).event(event.kind).data(data))
}

impl From<&Event> for EventBody {
    fn from(event: &Event) -> EventBody {
        let Event { id, time, kind, node, text, data } = event;
        EventBody {
            id: *id,
            time: time.rfc3339(),
            kind: (*kind).to_owned(),
            node: node.clone(),
            text: text.clone(),
            data: data.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }
}
