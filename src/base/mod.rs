//! Floor 0: the vocabulary that every other room shares. Standard library only; pure.

pub mod base32;
pub mod build;
pub mod cidr;
pub mod counter;
pub mod digest;
pub mod hostlist;
pub mod level;
pub mod limits;
pub mod mac;
pub mod name;
pub mod net;
pub mod nodeset;
pub mod shared;
pub mod time;
pub mod uuid;
pub mod xname;

pub use cidr::Cidr;
pub use digest::Digest;
pub use level::Level;
pub use mac::Mac;
pub use name::{BmcName, GroupName, ImageName, ImageTag, NetworkName, NodeName, ProfileName, SecretName};
pub use net::{Ipv4Net, Ipv4Range};
pub use nodeset::NodeSet;
pub use shared::SharedMap;
pub use time::{Millis, Timestamp};
pub use uuid::Uuid;
pub use xname::Xname;
