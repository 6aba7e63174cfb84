//! Reads pages of the audit log, whichever backend holds it.

use std::ops::Bound;

use crate::base::limits::AUDIT_SCAN_LINES_MAX;
use crate::model::audit::{Line, Page, Query};
use crate::store::StoreError;

/// Numbers of lines, from and to.
pub(crate) type Numbers = (Bound<u64>, Bound<u64>);

/// Lines in order.
pub(crate) type Lines<'a> = Box<dyn Iterator<Item = Result<Line, StoreError>> + 'a>;

/// Takes what the query wants of `lines`, which gives those of a range in rising or falling order. It looks at
/// so many lines as one question may, and says where the next one goes on.
///
/// # Errors
/// The first error of the lines.
pub(crate) fn page<'a>(
    query: &Query,
    lines: impl FnOnce(Numbers, bool) -> Lines<'a>,
) -> Result<Page, StoreError> {
    let from = query.after.map_or(Bound::Unbounded, Bound::Excluded);
    let to = query.before.map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = Page::default();
    if query.after.zip(query.before).is_some_and(|(after, before)| before <= after) {
        return Ok(page); // a range that ends before it begins
    }
    let mut seen = 0_usize;
    for line in lines((from, to), query.after.is_some()) {
        let line = line?;
        if page.lines.len() >= query.limit || seen >= AUDIT_SCAN_LINES_MAX {
            return Ok(page);
        }
        seen = seen.saturating_add(1);
        page.next = Some(line.seq);
        if query.takes(&line) {
            page.lines.push(line);
        }
    }
    page.next = None;
    Ok(page)
}
