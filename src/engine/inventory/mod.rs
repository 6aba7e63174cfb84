//! Documents to changes and back: import and export.

mod csv;
mod document;
mod export;
mod extras;
mod fields;
mod nodes;
mod plan;
mod yaml;

pub use document::{Document, Field, ImportProblem, Problems};
pub use export::export;
pub use plan::{Mode, Plan, Report, plan};

/// Reads a document: YAML or JSON in any of the forms of OpenCHAMI's tools or our own, or CSV with a header.
/// Which one it is shows in the text.
///
/// # Errors
/// Every problem, each with its line and field.
pub fn read(text: &str, short_name: &str) -> Result<Document, Problems> {
    let mut problems = Problems::default();
    let document = if is_csv(text) {
        csv::read(text, &mut problems)
    } else {
        match yaml::parse(text) {
            Ok(Some(root)) => nodes::document(&root, short_name, &mut problems),
            Ok(None) => Document::default(),
            Err(problem) => {
                problems.push(problem);
                Document::default()
            }
        }
    };
    if problems.is_empty() { Ok(document) } else { Err(problems) }
}

/// CSV begins with a header line of bare words and commas; YAML's first key has a colon, JSON a brace.
fn is_csv(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        line.contains(',')
            && line.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ' ' | '"'))
    })
}

#[cfg(test)]
mod tests;
