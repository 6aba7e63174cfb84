//! DHCP messages: a guarded face on `dhcproto`, with what it lacks: a tolerant scanner, option order, the
//! raw relay option, sizes.

pub mod client;
pub mod code;
pub mod message;
pub mod options;
pub mod relay;
pub mod reply;

pub use client::IpxeFeatures;
pub use dhcproto::v4::MessageType;
pub use message::Message;
pub use options::Options;
pub use relay::RelayInfo;
pub use reply::Reply;
