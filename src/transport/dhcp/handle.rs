//! How the rest of the daemon asks the DHCP task about what it observes. The task owns its tables; questions
//! reach it as messages and wait behind at most a queue of packets.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::base::{Mac, NetworkName, Timestamp};
use crate::model::boot_session::Channel;
use crate::model::{Lease, NodeId, Sighting};

/// Questions that may wait for the DHCP task at a time; more are refused by waiting at the sender.
const COMMANDS_MAX: usize = 64;

/// Another DHCP server that was heard on a network of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rogue {
    pub network: NetworkName,
    pub server: Ipv4Addr,
    pub mac: Mac,
    pub first: Timestamp,
    pub last: Timestamp,
    pub replies: u64,
}

/// Hears of a declared node whose firmware or loader looks for a server and is answered, and by which way it
/// boots. Called by the task itself: it must not wait.
pub type Booting = Arc<dyn Fn(NodeId, Channel) + Send + Sync>;

/// A question to the DHCP task, with where the answer goes.
#[derive(Debug)]
pub enum Command {
    Leases(oneshot::Sender<Vec<Lease>>),
    Sightings(oneshot::Sender<Vec<Sighting>>),
    Rogues(oneshot::Sender<Vec<Rogue>>),
    /// Which machine holds this address by lease or, being declared, by its last request?
    WhoHas(Ipv4Addr, oneshot::Sender<Option<Mac>>),
    /// Ends a lease; answers whether there was one.
    Free(Ipv4Addr, oneshot::Sender<bool>),
}

/// The asking end. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Command>);

/// The DHCP task has ended: the daemon is stopping, or DHCP is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("dhcp is not running")]
pub struct NotRunning;

impl Handle {
    /// The asking end and the answering end.
    #[must_use]
    pub fn pair() -> (Handle, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
        (Handle(sender), receiver)
    }

    /// All leases, dead ones included, in the order of their addresses.
    pub async fn leases(&self) -> Result<Vec<Lease>, NotRunning> {
        self.ask(Command::Leases).await
    }

    pub async fn sightings(&self) -> Result<Vec<Sighting>, NotRunning> {
        self.ask(Command::Sightings).await
    }

    pub async fn rogues(&self) -> Result<Vec<Rogue>, NotRunning> {
        self.ask(Command::Rogues).await
    }

    pub async fn who_has(&self, address: Ipv4Addr) -> Result<Option<Mac>, NotRunning> {
        self.ask(|reply| Command::WhoHas(address, reply)).await
    }

    pub async fn free(&self, address: Ipv4Addr) -> Result<bool, NotRunning> {
        self.ask(|reply| Command::Free(address, reply)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NotRunning> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| NotRunning)?;
        answer.await.map_err(|_| NotRunning)
    }
}
