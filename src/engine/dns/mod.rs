//! What to answer to a DNS question.
