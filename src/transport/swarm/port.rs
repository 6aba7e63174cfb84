//! The one packet socket through which all machines speak DHCP, each with its own hardware address.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use crate::base::Mac;
use crate::engine::swarm::{Scenario, dice};
use crate::transport::dhcp::frame;
use crate::transport::dhcp::raw::{FRAME_BYTES_MAX, Kind, RawSocket, find_link};
use crate::transport::swarm::SwarmError;
use crate::transport::tasks::Tasks;
use crate::wire::dhcp::Message;
use crate::wire::frame::datagram;

type Inbox = mpsc::Sender<Message>;

/// The socket and who waits for what it hears.
pub(in crate::transport::swarm) struct Port {
    socket: Arc<RawSocket>,
    seats: Arc<Vec<Mutex<Option<Inbox>>>>,
}

/// A machine's place at the port, until it is dropped.
pub(in crate::transport::swarm) struct Seat<'a>(&'a Mutex<Option<Inbox>>);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        *self.0.lock().expect("nothing panics with a seat locked") = None;
    }
}

impl Port {
    /// Opens the socket and starts the task that sorts what comes.
    pub(in crate::transport::swarm) fn open(
        interface: &str,
        scenario: &Scenario,
        tasks: &Tasks,
    ) -> Result<Port, SwarmError> {
        let link = find_link(interface).ok_or_else(|| SwarmError::NoLink(interface.to_owned()))?;
        let failed = |error| SwarmError::Packets(interface.to_owned(), error);
        let socket = RawSocket::open(Kind::Dhcp, link.index).map_err(failed)?;
        socket.hear_all(link.index).map_err(failed)?;
        let socket = Arc::new(socket);
        let seats: Arc<Vec<_>> = Arc::new((0..scenario.nodes).map(|_| Mutex::new(None)).collect());
        let (heard, places, first) = (socket.clone(), seats.clone(), scenario.first_mac);
        let stop = tasks.token();
        tasks.spawn("swarm dhcp", async move {
            tokio::select! {
                () = sort(&heard, &places, first) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Port { socket, seats })
    }

    /// Has messages for a machine go to its inbox.
    pub(in crate::transport::swarm) fn seat(&self, machine: u32, inbox: Inbox) -> Seat<'_> {
        let index = usize::try_from(machine).expect("a machine's number is an index");
        let seat = self.seats.get(index).expect("there is a seat for each machine");
        *seat.lock().expect("nothing panics with a seat locked") = Some(inbox);
        Seat(seat)
    }

    /// Broadcasts a message. A full link loses it, as a switch would: the machine asks again.
    pub(in crate::transport::swarm) fn send(&self, mac: Mac, message: &Message) {
        let from = (mac, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68));
        let to = (Mac::BROADCAST, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
        let _ = self.socket.send(&frame::udp(from, to, &message.emit()));
    }

    /// Frames that the kernel dropped because `sort` did not read them in time.
    pub(in crate::transport::swarm) fn drops(&self) -> u32 {
        self.socket.drops().unwrap_or(0)
    }
}

/// Gives each reply to the machine that it names. A full inbox loses it.
async fn sort(socket: &RawSocket, seats: &[Mutex<Option<Inbox>>], first: Mac) {
    let mut buffer = [0; FRAME_BYTES_MAX];
    loop {
        let meta = match socket.receive(&mut buffer).await {
            Ok(meta) => meta,
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        let frame = buffer.get(..meta.length).unwrap_or_default();
        let Ok(Some(read)) = datagram(frame, !meta.checksum_known) else { continue };
        if read.destination.port() != 68 {
            continue;
        }
        let Ok(message) = Message::parse(read.payload) else { continue };
        let index = message.mac().and_then(|mac| dice::machine(first, mac));
        let seat = index.and_then(|index| seats.get(usize::try_from(index).ok()?));
        if let Some(seat) = seat
            && let Some(inbox) = &*seat.lock().expect("nothing panics with a seat locked")
        {
            let _ = inbox.try_send(message);
        }
    }
}
