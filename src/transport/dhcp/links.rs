//! The links on which DHCP is spoken: opened when they are there, read by a task each, opened again after
//! they went away.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::base::Mac;
use crate::engine::dhcp::Ingress;
use crate::model::{DhcpMode, Site};
use crate::transport::dhcp::counters::DhcpCounters;
use crate::transport::dhcp::frame;
use crate::transport::dhcp::raw::{FRAME_BYTES_MAX, Kind, LinkId, RawSocket, find_link};
use crate::transport::tasks::Tasks;
use crate::wire::WireError;
use crate::wire::frame::datagram;

/// What a link hands to the DHCP task.
#[derive(Debug)]
pub(crate) enum Input {
    Packet {
        ingress: Ingress,
        payload: Vec<u8>,
    },
    /// A frame for a DHCP server that was damaged.
    Damaged {
        mac: Mac,
        what: &'static str,
    },
    /// Somebody claims an address by ARP.
    Claim {
        mac: Mac,
        address: Ipv4Addr,
    },
    /// The link cannot be read any more.
    Lost(Arc<str>),
}

/// An open link. Dropping it ends its readers.
struct Link {
    id: LinkId,
    dhcp: Arc<RawSocket>,
    arp: Arc<RawSocket>,
    _readers: DropGuard,
}

/// All links by name.
pub(crate) struct Links {
    open: HashMap<Arc<str>, Link>,
    /// Links that were missing when last looked for: one warning each.
    missing: Vec<Arc<str>>,
    inputs: mpsc::Sender<Input>,
    counters: Arc<DhcpCounters>,
    tasks: Tasks,
}

impl Links {
    pub(crate) fn new(inputs: mpsc::Sender<Input>, counters: Arc<DhcpCounters>, tasks: Tasks) -> Links {
        Links { open: HashMap::new(), missing: Vec::new(), inputs, counters, tasks }
    }

    /// Opens what is configured and not open, and closes what is there no more or became another link.
    pub(crate) fn refresh(&mut self, site: &Site) {
        let served = site.networks.iter().filter(|network| network.dhcp != DhcpMode::Off);
        for name in served.filter_map(|network| network.interface.as_deref()) {
            let now = find_link(name);
            if self.open.get(name).is_some_and(|link| Some(link.id) != now) {
                tracing::warn!(interface = name, "link went away");
                self.open.remove(name);
                self.missing.push(name.into()); // that was its warning
            }
            match now {
                Some(_) if self.open.contains_key(name) => {}
                Some(id) => self.open_one(name, id),
                None if self.missing.iter().any(|known| **known == *name) => {}
                None => {
                    tracing::warn!(
                        interface = name,
                        "no such link, or it is down; DHCP starts there when it comes up"
                    );
                    self.missing.push(name.into());
                }
            }
        }
    }

    /// Forgets a link that failed; the next refresh opens it again.
    pub(crate) fn close(&mut self, name: &str) {
        self.open.remove(name);
    }

    fn open_one(&mut self, name: &str, id: LinkId) {
        let sockets = RawSocket::open(Kind::Dhcp, id.index)
            .and_then(|dhcp| Ok((Arc::new(dhcp), Arc::new(RawSocket::open(Kind::Arp, id.index)?))));
        let (dhcp, arp) = match sockets {
            Ok(sockets) => sockets,
            Err(error) => {
                tracing::error!(interface = name, %error, "cannot open raw sockets (is CAP_NET_RAW there?)");
                return;
            }
        };
        tracing::info!(interface = name, mac = %id.mac, "DHCP listens");
        self.missing.retain(|known| **known != *name);
        let name: Arc<str> = name.into();
        let stop = CancellationToken::new();
        let reader = Reader {
            name: Arc::clone(&name),
            own: id.mac,
            inputs: self.inputs.clone(),
            counters: Arc::clone(&self.counters),
        };
        let (socket, token, daemon) = (Arc::clone(&dhcp), stop.clone(), self.tasks.token());
        let dhcp_reader = reader.clone();
        self.tasks.spawn("dhcp-link", async move {
            tokio::select! {
                () = dhcp_reader.packets(&socket) => {}
                () = token.cancelled() => {}
                () = daemon.cancelled() => {}
            }
        });
        let (socket, token, daemon) = (Arc::clone(&arp), stop.clone(), self.tasks.token());
        self.tasks.spawn("arp-link", async move {
            tokio::select! {
                () = reader.claims(&socket) => {}
                () = token.cancelled() => {}
                () = daemon.cancelled() => {}
            }
        });
        self.open.insert(name, Link { id, dhcp, arp, _readers: stop.drop_guard() });
    }

    #[must_use]
    pub(crate) fn is_open(&self, name: &str) -> bool {
        self.open.contains_key(name)
    }

    /// The hardware address of an open link.
    #[must_use]
    pub(crate) fn mac(&self, name: &str) -> Option<Mac> {
        self.open.get(name).map(|link| link.id.mac)
    }

    /// Sends a DHCP reply as a frame of our own.
    pub(crate) fn send(
        &self,
        name: &str,
        source: SocketAddrV4,
        to: (Mac, SocketAddrV4),
        message: &[u8],
    ) -> std::io::Result<()> {
        let link = self.open.get(name).ok_or(std::io::ErrorKind::NotConnected)?;
        link.dhcp.send(&frame::udp((link.id.mac, source), to, message))
    }

    /// Asks by ARP who has an address.
    pub(crate) fn probe(&self, name: &str, address: Ipv4Addr) -> std::io::Result<()> {
        let link = self.open.get(name).ok_or(std::io::ErrorKind::NotConnected)?;
        link.arp.send(&frame::arp_probe(link.id.mac, address))
    }

    /// Takes in what the kernel dropped since the last call.
    pub(crate) fn count_drops(&self) {
        for link in self.open.values() {
            self.counters.kernel_drops.add(u64::from(link.dhcp.drops().unwrap_or(0)));
        }
    }
}

#[derive(Clone)]
struct Reader {
    name: Arc<str>,
    own: Mac,
    inputs: mpsc::Sender<Input>,
    counters: Arc<DhcpCounters>,
}

impl Reader {
    async fn packets(&self, socket: &RawSocket) {
        let mut buffer = Box::new([0; FRAME_BYTES_MAX]);
        loop {
            let meta = match socket.receive(&mut buffer).await {
                Ok(meta) => meta,
                Err(error) => return self.lost(&error).await,
            };
            self.counters.frames.raise();
            let frame = buffer.get(..meta.length).unwrap_or_default();
            match datagram(frame, !meta.checksum_known) {
                Ok(Some(datagram)) if !meta.foreign && datagram.source_mac != self.own => {
                    let ingress = Ingress {
                        interface: Arc::clone(&self.name),
                        source_mac: datagram.source_mac,
                        source: datagram.source,
                        destination: datagram.destination,
                    };
                    self.hand_over(Input::Packet { ingress, payload: datagram.payload.to_vec() });
                }
                Ok(_) => self.counters.not_ours.raise(),
                Err(error) => {
                    self.counters.malformed.raise();
                    let (WireError::Truncated(what) | WireError::Invalid(what)) = error;
                    if let Some(octets) = frame.get(6..12).and_then(|octets| octets.try_into().ok()) {
                        self.hand_over(Input::Damaged { mac: Mac(octets), what });
                    }
                    tracing::debug!(interface = %self.name, %error, "damaged frame");
                }
            }
        }
    }

    async fn claims(&self, socket: &RawSocket) {
        let mut buffer = Box::new([0; FRAME_BYTES_MAX]);
        loop {
            match socket.receive(&mut buffer).await {
                Ok(meta) => {
                    let claim = frame::arp_claim(buffer.get(..meta.length).unwrap_or_default());
                    if let Some((mac, address)) = claim.filter(|(mac, _)| *mac != self.own) {
                        self.hand_over(Input::Claim { mac, address });
                    }
                }
                Err(error) => return self.lost(&error).await,
            }
        }
    }

    /// Full queue: the frame is dropped and counted. The client asks again, the daemon stays upright.
    fn hand_over(&self, input: Input) {
        if self.inputs.try_send(input).is_err() {
            self.counters.queue_full.raise();
        }
    }

    async fn lost(&self, error: &std::io::Error) {
        tracing::warn!(interface = %self.name, %error, "link cannot be read");
        // The task is gone only when the daemon stops.
        let _ = self.inputs.send(Input::Lost(Arc::clone(&self.name))).await;
    }
}
