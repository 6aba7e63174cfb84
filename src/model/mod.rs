//! Floor 1: what a site is. Plain values in the field's words; no bytes, no serde, no I/O.
//!
//! *Declared* state is the `Inventory`, altered only by a `ChangeSet`, compiled into an immutable `Snapshot`.
//! *Observed* state (leases, sightings) lives in tables of its own, each owned by one task.

pub mod audit;
pub mod bmc;
pub mod boot;
pub mod boot_record;
pub mod boot_session;
pub mod change;
pub mod document;
pub mod group;
pub mod image;
pub mod interface;
pub mod inventory;
pub mod lease;
pub mod lease_table;
pub mod network;
pub mod node;
pub mod profile;
pub mod role;
pub mod secret;
pub mod sighting;
pub mod site;
pub mod snapshot;
pub mod validate;

pub use bmc::Bmc;
pub use boot::{Arch, BootTarget, Firmware, Stage};
pub use boot_record::BootRecord;
pub use boot_session::{BootSession, SessionId, SessionState};
pub use change::{Change, ChangeSet, Revision};
pub use document::{Document, DocumentKey};
pub use group::Group;
pub use image::{Image, ImageKey, ImageRef, Tag, TagKey};
pub use interface::Interface;
pub use inventory::Inventory;
pub use lease::{Lease, LeaseKey, LeaseState};
pub use lease_table::LeaseTable;
pub use network::{DhcpMode, Network, UnknownPolicy};
pub use node::{BootPolicy, Nid, Node, NodeId};
pub use profile::{Assignment, Profile, Selector};
pub use role::Role;
pub use secret::{Secret, SecretKey};
pub use sighting::Sighting;
pub use site::Site;
pub use snapshot::{Snapshot, SnapshotCell};
