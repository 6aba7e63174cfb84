//! What pages load: one style sheet, small ES modules, the mark. All of it lies in the binary.
//!
//! The path holds a digest of all of them, so that browsers keep them for good and modules can still import each
//! other by relative paths.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use crate::base::Digest;

const CSS: &str = "text/css; charset=utf-8";
const MODULE: &str = "text/javascript; charset=utf-8";

/// Name, media type, content.
const FILES: [(&str, &str, &str); 10] = [
    ("page.css", CSS, include_str!("assets/page.css")),
    ("mark.svg", "image/svg+xml", include_str!("assets/mark.svg")),
    ("app.js", MODULE, include_str!("assets/app.js")),
    ("forms.js", MODULE, include_str!("assets/forms.js")),
    ("live.js", MODULE, include_str!("assets/live.js")),
    ("times.js", MODULE, include_str!("assets/times.js")),
    ("grid.js", MODULE, include_str!("assets/grid.js")),
    ("sift.js", MODULE, include_str!("assets/sift.js")),
    ("import.js", MODULE, include_str!("assets/import.js")),
    ("inbox.js", MODULE, include_str!("assets/inbox.js")),
];

/// The digest under which the files lie.
fn print() -> &'static str {
    static PRINT: OnceLock<String> = OnceLock::new();
    PRINT.get_or_init(|| {
        let all = FILES
            .iter()
            .fold(Sha256::new(), |all, (name, _, text)| all.chain_update(name).chain_update(text));
        Digest(all.finalize().into()).hex().chars().take(12).collect()
    })
}

/// Where a page finds this file.
pub(crate) fn path(name: &str) -> String {
    format!("/ui/assets/{}/{name}", print())
}

/// `GET /ui/assets/{digest}/{name}`. Under another digest nothing lies: a page of another version must be loaded anew.
pub(crate) async fn serve(Path((digest, name)): Path<(String, String)>) -> Response {
    let found = FILES.iter().find(|(known, ..)| *known == name).filter(|_| digest == print());
    let Some((_, kind, text)) = found else { return StatusCode::NOT_FOUND.into_response() };
    let kept = "public, max-age=31536000, immutable";
    ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, kept)], *text).into_response()
}

#[cfg(test)]
mod tests {
    use crate::api::page::assets::FILES;

    /// The policy of browsers allows neither; a page elsewhere must not be asked for anything.
    #[test]
    fn nothing_is_loaded_from_elsewhere_or_run_from_text() {
        for (name, _, text) in FILES {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in
                ["http://", "https://", "eval(", "new Function", ".style.", "setAttribute(\"style", "@import"]
            {
                assert!(!text.contains(word), "{name}: {word}");
            }
        }
    }
}
