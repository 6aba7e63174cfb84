//! On which terms a request is made: preconditions (RFC 9110 section 13) and the dry run.
//!
//! The entity tag of one thing is a digest of its JSON, so a change of something else never stands in the way,
//! and two different states never look the same. The tag of what concerns many things (a report, a batch) is
//! the revision of the inventory. Tags are compared inside the transaction: what was compared is what is
//! changed.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::model::{Revision, Snapshot};

/// Tags in one field that are looked at.
const TAGS_MAX: usize = 64;

/// A list of entity tags, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    Any,
    /// Strong tags with their quotes; weak ones never match what is to be changed.
    These(Vec<String>),
}

/// On which terms a request is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) dry_run: bool,
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

impl<S: Send + Sync> FromRequestParts<S> for Terms {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Terms, Problem> {
        Ok(Terms {
            dry_run: query::flag(parts.uri.query(), "dry_run"),
            if_match: tags(&parts.headers, &header::IF_MATCH)?,
            if_none_match: tags(&parts.headers, &header::IF_NONE_MATCH)?,
        })
    }
}

impl Terms {
    /// Only for these tags.
    pub(crate) fn matching(if_match: Option<Tags>) -> Terms {
        Terms { if_match, ..Terms::default() }
    }

    /// Whether this thing, as it is now (none: it is not there), may be changed.
    ///
    /// # Errors
    /// 412 with the tag that the thing has.
    pub(crate) fn hold(&self, now: Option<&impl Serialize>) -> Result<(), Problem> {
        self.hold_tag(now.map(tag).as_deref())
    }

    /// Whether something that concerns many things may be done at this revision.
    ///
    /// # Errors
    /// 412 with the revision.
    pub(crate) fn hold_at(&self, snapshot: &Snapshot) -> Result<(), Problem> {
        self.hold_tag(Some(&revision_tag(snapshot.revision)))
    }

    fn hold_tag(&self, tag: Option<&str>) -> Result<(), Problem> {
        let now = tag.map_or_else(|| "it is not there".to_owned(), |tag| format!("its tag is {tag}"));
        if self.if_match.as_ref().is_some_and(|wanted| !wanted.include(tag)) {
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, format!("If-Match: {now}")));
        }
        if self.if_none_match.as_ref().is_some_and(|unwanted| unwanted.include(tag)) {
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, format!("If-None-Match: {now}")));
        }
        Ok(())
    }
}

impl Tags {
    pub(crate) fn include(&self, tag: Option<&str>) -> bool {
        match (self, tag) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::These(tags), Some(tag)) => tags.iter().any(|known| known == tag),
        }
    }
}

/// Reads the text of a list of tags.
pub(crate) fn tag_list(text: &str) -> Result<Tags, Problem> {
    let wrong = || Problem::field("if_match", "tags are written \"in quotes\", or *");
    let value = HeaderValue::from_str(text).map_err(|_| wrong())?;
    let headers = HeaderMap::from_iter([(header::IF_MATCH, value)]);
    tags(&headers, &header::IF_MATCH)?.ok_or_else(wrong)
}

/// Reads a field of tags; none if the request has no such field.
pub(crate) fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut found = Vec::new();
    let mut any = false;
    let mut given = false;
    for value in headers.get_all(name) {
        given = true;
        let wrong = || Problem::bad_request(format!("{name}: tags are written \"in quotes\", or *"));
        let text = value.to_str().map_err(|_| wrong())?;
        // No tag of ours holds a comma.
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let strong = part.strip_prefix("W/").unwrap_or(part);
            let quoted = strong.len() >= 2 && strong.starts_with('"') && strong.ends_with('"');
            match part {
                "*" => any = true,
                _ if !quoted || found.len() >= TAGS_MAX => return Err(wrong()),
                _ => found.push(part.to_owned()),
            }
        }
    }
    Ok(given.then_some(if any { Tags::Any } else { Tags::These(found) }))
}

/// The tag of a thing.
pub(crate) fn tag(thing: &impl Serialize) -> String {
    tag_of(&serde_json::to_vec(thing).expect("bodies hold nothing that JSON cannot"))
}

/// The tag of an answer's octets.
pub(crate) fn tag_of(octets: &[u8]) -> String {
    let digest = Sha256::digest(octets);
    let hex: String = digest.iter().take(16).map(|octet| format!("{octet:02x}")).collect();
    format!("\"{hex}\"")
}

/// The tag of a revision.
pub(crate) fn revision_tag(revision: Revision) -> String {
    format!("\"r{}\"", revision.0)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use crate::api::v1::terms::{Tags, Terms, tag, tags};

    fn read(text: &str) -> Option<Option<Tags>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_str(text).unwrap());
        tags(&headers, &header::IF_MATCH).ok()
    }

    #[test]
    fn tags_are_read_as_lists_and_garbage_is_refused() {
        assert_eq!(read("\"a\", W/\"b\""), Some(Some(Tags::These(vec!["\"a\"".into(), "W/\"b\"".into()]))));
        assert_eq!(read("*"), Some(Some(Tags::Any)));
        assert_eq!(read("a"), None);
        assert_eq!(read("\""), None);
        assert_eq!(tags(&HeaderMap::new(), &header::IF_MATCH).unwrap(), None);
    }

    #[test]
    fn terms_hold_for_the_thing_that_was_read_only() {
        let own = Terms { if_match: read(&tag(&1)).flatten(), ..Terms::default() };
        assert!(own.hold(Some(&1)).is_ok());
        assert!(own.hold(Some(&2)).is_err());
        assert!(own.hold(None::<&u8>).is_err());
        let new = Terms { if_none_match: Some(Tags::Any), ..Terms::default() };
        assert!(new.hold(None::<&u8>).is_ok());
        assert!(new.hold(Some(&1)).is_err());
    }
}
