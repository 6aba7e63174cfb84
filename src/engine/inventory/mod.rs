//! Documents to changes and back: import and export.
//!
//! A document is taken at its word: what it does not mention stays as it is, `null` or an empty list takes a value
//! away, and what its form has no room for (a second port in a table) is left alone.

mod csv;
mod document;
mod export;
mod extras;
mod fields;
mod lookup;
mod merge;
mod nodes;
mod plan;
mod ports;
pub(crate) mod report;
mod warewulf;
pub(crate) mod yaml;

pub use document::{Document, Field, ImportProblem, Problems};
pub use export::export;
pub use plan::{Mode, Plan, plan};
pub use report::Report;

/// Reads a document: YAML or JSON in any of the forms of OpenCHAMI's tools or our own, Warewulf's `nodes.conf`, or
/// CSV with a header. Which one it is shows in the text.
///
/// # Errors
/// Every problem, each with its line and field.
pub fn read(text: &str, short_name: &str) -> Result<Document, Problems> {
    // Spreadsheets put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::default();
    let document = if is_csv(text) {
        csv::read(text, short_name, &mut problems)
    } else {
        match yaml::parse(text) {
            Ok(Some(root)) if warewulf::is_warewulf(&root) => warewulf::document(&root, &mut problems),
            Ok(Some(root)) => nodes::document(&root, short_name, &mut problems),
            Ok(None) => {
                // Half a file is no wish: pruning by it would remove everything.
                problems.add(0, "", "the document is empty");
                Document::default()
            }
            Err(problem) => {
                problems.push(problem);
                Document::default()
            }
        }
    };
    if problems.is_empty() { Ok(document) } else { Err(problems.sorted()) }
}

/// CSV begins with a header line of words and commas; YAML's first line has a colon, a bracket or a dash in
/// front, JSON a brace or a bracket.
fn is_csv(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        line.contains(',') && !line.starts_with('-') && !line.contains([':', '[', ']', '{', '}'])
    })
}

#[cfg(test)]
mod tests;
