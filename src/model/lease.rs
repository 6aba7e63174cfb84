//! Leases: time-bound bindings of an address to a client.

use std::net::Ipv4Addr;

use crate::base::{Mac, NetworkName, Timestamp};

/// Who holds a lease. The hardware address comes first, whatever option 61 says: firmware, iPXE and the
/// system use four different client ids and must get one address (RFC 4361 section 6.3 permits it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LeaseKey {
    Mac(Mac),
    /// Option 61 of a client without a 48-bit hardware address (IPoIB, RFC 4390).
    ClientId(Vec<u8>),
}

/// Where a lease is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LeaseState {
    /// Offered: reserved in memory, promised to nobody.
    Held,
    /// Acknowledged: on disk before the client hears it.
    Bound,
    /// The client gave it back; it gets the same address again if it returns.
    Released,
    /// Somebody else was found at the address: quarantined until `expires`.
    Declined,
}

/// One binding of an address from a pool. Declared addresses need none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub key: LeaseKey,
    pub network: NetworkName,
    pub state: LeaseState,
    pub starts: Timestamp,
    pub expires: Timestamp,
    /// What the client calls itself (option 12).
    pub host_name: Option<String>,
}

/// What becomes of the lease table by one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseChange {
    /// Reserve in memory for an OFFER.
    Hold(Lease),
    /// Make durable, then send the ACK.
    Bind(Lease),
    /// Mark free, remember whose it was; durable in its own time.
    Release(Ipv4Addr),
    /// Quarantine; durable in its own time.
    Decline(Lease),
    /// The client chose another server: drop a hold.
    Forget(Ipv4Addr),
}

impl LeaseState {
    pub const ALL: [LeaseState; 4] =
        [LeaseState::Held, LeaseState::Bound, LeaseState::Released, LeaseState::Declined];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LeaseState::Held => "held",
            LeaseState::Bound => "bound",
            LeaseState::Released => "released",
            LeaseState::Declined => "declined",
        }
    }
}

impl std::fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LeaseKey::Mac(mac) => write!(f, "{mac}"),
            LeaseKey::ClientId(id) => {
                f.write_str("id:")?;
                id.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}
