//! BSS, the boot script service: `/boot/v1`, also below `/apis/bss`, and what its nodes ask at the root of the
//! server. Keys and entries are values in `key` and `entry`; the handlers beside them speak HTTP.

pub(crate) mod entry;
mod history;
mod hosts;
pub(crate) mod key;
mod legacy;
mod parameters;
mod script;
mod status;

use std::fmt;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;

use crate::api::openchami::OpenChami;
use crate::api::openchami::bss::key::{Hosts, Key};
use crate::api::openchami::query::Query;
use crate::api::problem::{Problem, in_our_form};
use crate::base::Mac;
use crate::base::limits::{IMPORT_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::model::{Nid, Selector, Snapshot};

pub use history::History;

/// Where BSS lies: by itself, and as behind the gateway of the replaced stack. Scripts keep the path that was
/// asked, so both stand in full.
const PREFIXES: [&str; 2] = ["/boot/v1", "/apis/bss/boot/v1"];

/// The media type of BSS's answers.
const JSON: &str = "application/json; charset=UTF-8";

/// The routes of BSS.
pub fn router(api: &OpenChami) -> Router {
    let mut routes = Router::new()
        .route("/meta-data", get(legacy::meta_data))
        .route("/user-data", get(legacy::user_data))
        .route("/phone-home", post(legacy::phone_home));
    for prefix in PREFIXES {
        let at = |path: &str| format!("{prefix}{path}");
        routes = routes
            .route(
                &at("/bootparameters"),
                get(parameters::show)
                    .post(parameters::add)
                    .put(parameters::put)
                    .patch(parameters::patch)
                    .delete(parameters::remove),
            )
            .route(&at("/bootscript"), get(script::show))
            .route(&at("/hosts"), get(hosts::list).post(hosts::refresh))
            .route(&at("/dumpstate"), get(hosts::dump))
            .route(&at("/endpoint-history"), get(history::show))
            .route(&at("/scn"), post(status::notified))
            .route(&at("/service/status"), get(status::own))
            .route(&at("/service/status/all"), get(status::all))
            .route(&at("/service/version"), get(status::version))
            .route(&at("/service/hsm"), get(status::hsm))
            .route(&at("/service/storage/status"), get(status::storage))
            .route(&at("/service/etcd"), get(status::etcd));
    }
    finish(routes.layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))).with_state(api.clone())
}

/// Refusals in the form of the replaced services: what cannot be is status 400 there.
pub(crate) fn finish<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::map_response(in_our_form))
        .layer(axum::middleware::map_response(as_bad_request))
}

async fn as_bad_request(mut response: Response) -> Response {
    if response.status() == StatusCode::UNPROCESSABLE_ENTITY {
        let text = axum::body::to_bytes(response.into_body(), IMPORT_BYTES_MAX).await.unwrap_or_default();
        let detail = serde_json::from_slice::<Problem>(&text).map(|problem| problem.detail);
        response = Problem::bad_request(detail.unwrap_or_default()).into_response();
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn wrong_method(uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path()))
}

/// A body of JSON as BSS marks it.
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).expect("answers hold nothing that JSON cannot");
    (status, [(header::CONTENT_TYPE, JSON)], bytes).into_response()
}

/// Whom a request asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) hosts: Vec<String>,
    pub(crate) macs: Vec<String>,
    pub(crate) nids: Vec<u32>,
}

impl Names {
    /// Reads `name`, `mac` and `nid`, each several times or joined by commas.
    ///
    /// # Errors
    /// Status 400: a nid is no number.
    pub(crate) fn of_query(raw: Option<&str>) -> Result<Names, Problem> {
        let query = Query::parse(raw);
        let words = |key: &str| -> Vec<String> {
            let words = query.all(key).iter().flat_map(|value| value.split(',')).map(str::trim);
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let number = |text: &String| {
            text.parse().map_err(|_| Problem::bad_request(format!("Bad Request: nid: {text:?} is no number")))
        };
        let nids = words("nid").iter().map(number).collect::<Result<_, _>>()?;
        Ok(Names { hosts: words("name"), macs: words("mac"), nids })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.macs.is_empty() && self.nids.is_empty()
    }

    /// The keys that the names stand for. A name of nothing stands for none: it selects nothing.
    pub(crate) fn keys<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = Key> + 'a {
        let reader = Hosts::of(snapshot);
        let hosts = self.hosts.iter().filter_map(move |host| reader.read(host).ok());
        let macs = self.macs.iter().filter_map(|mac| mac.parse().ok());
        let nids = self.nids.iter().map(|nid| Selector::Nid(Nid(*nid)));
        hosts.chain(macs.map(|mac: Mac| Selector::Mac(mac)).chain(nids).map(Key::Boot))
    }
}

/// As refusals name them.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nids: Vec<String> = self.nids.iter().map(u32::to_string).collect();
        let given = [("hosts", &self.hosts), ("MACs", &self.macs), ("NIDs", &nids)];
        let given = given.into_iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<String> = given.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
        f.write_str(&parts.join("; "))
    }
}
