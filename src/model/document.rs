//! Documents: what an API keeps here and the rest of the model has no place for. They are declared state like
//! the rest: part of revisions, durable, the same on every head.

/// The shelf of node instance data. What lies there under a node's number goes with the node.
pub const NODE_INSTANCE_SHELF: &str = "cloud-init.node";

/// Where a document lies: the shelf names its kind (`smd.partition`), the id tells it apart there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DocumentKey {
    pub shelf: Box<str>,
    pub id: Box<str>,
}

/// A text (JSON, by convention) that only the API which wrote it can read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    pub key: DocumentKey,
    pub body: String,
}

impl DocumentKey {
    #[must_use]
    pub fn new(shelf: &str, id: &str) -> DocumentKey {
        DocumentKey { shelf: shelf.into(), id: id.into() }
    }
}
