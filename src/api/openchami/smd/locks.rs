//! Locks and reservations.

use std::collections::BTreeSet;

use crate::model::Inventory;

/// The components that somebody has reserved.
pub(crate) fn reserved(_inventory: &Inventory) -> BTreeSet<String> {
    BTreeSet::new()
}
