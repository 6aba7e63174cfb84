//! Node sets as the command line takes them: `nid[001-009,012]`, `@group`, `*`, joined from left to right
//! by `,` (and), `!` (without) and `&` (only those also in).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::base::hostlist::{self, HostlistError};
use crate::base::limits::NODESET_TEXT_BYTES_MAX;
use crate::base::{GroupName, name::NameError};

/// A parsed node-set expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSet {
    text: String,
    terms: Vec<(Operator, Term)>,
}

/// How a term joins what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Union,
    Difference,
    Intersection,
}

/// One operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// Every node: `*`.
    All,
    /// The members of a group: `@compute`.
    Group(GroupName),
    /// Names, xnames, or whatever else the resolver knows a node by.
    Names(Vec<String>),
}

/// Says why a text is no node set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeSetError {
    #[error("node set: an operand is missing in {0:?}")]
    Empty(String),
    #[error("node set is longer than {NODESET_TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("node set: {0}")]
    Group(#[from] NameError),
    #[error("node set: {0}")]
    Hostlist(#[from] HostlistError),
}

impl NodeSet {
    /// Evaluates the expression. `resolve` gives the members of one term, or says what is unknown in it.
    ///
    /// # Errors
    /// The first error of `resolve`.
    pub fn evaluate<T: Ord, E>(
        &self,
        mut resolve: impl FnMut(&Term) -> Result<BTreeSet<T>, E>,
    ) -> Result<BTreeSet<T>, E> {
        let mut members = BTreeSet::new();
        for (operator, term) in &self.terms {
            let mut operand = resolve(term)?;
            match operator {
                Operator::Union => members.append(&mut operand),
                Operator::Difference => members.retain(|member| !operand.contains(member)),
                Operator::Intersection => members.retain(|member| operand.contains(member)),
            }
        }
        Ok(members)
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for NodeSet {
    type Err = NodeSetError;

    fn from_str(text: &str) -> Result<Self, NodeSetError> {
        if text.len() > NODESET_TEXT_BYTES_MAX {
            return Err(NodeSetError::TooLong);
        }
        let mut terms = Vec::new();
        let mut operator = Operator::Union;
        let mut start = 0;
        let mut depth = 0_u32;
        for (at, c) in text.char_indices().chain([(text.len(), ',')]) {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                ',' | '!' | '&' if depth == 0 || at == text.len() => {
                    terms.push((operator, term(text, text[start..at].trim())?));
                    start = at + 1;
                    operator = match c {
                        '!' => Operator::Difference,
                        '&' => Operator::Intersection,
                        _ => Operator::Union,
                    };
                }
                _ => {}
            }
        }
        Ok(NodeSet { text: text.to_owned(), terms })
    }
}

fn term(whole: &str, text: &str) -> Result<Term, NodeSetError> {
    match text {
        "" => Err(NodeSetError::Empty(whole.to_owned())),
        "*" => Ok(Term::All),
        _ => match text.strip_prefix('@') {
            Some(group) => Ok(Term::Group(group.parse()?)),
            None => Ok(Term::Names(hostlist::expand(text)?)),
        },
    }
}

#[cfg(test)]
mod tests;
