//! TFTP for one machine: its datagrams carried between a socket and `engine/swarm/tftp.rs`.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::engine::swarm::tftp::{Download, Manner, Outgoing};
use crate::engine::swarm::{Dice, Fetched, Moment, Reason};

/// The largest block that a machine asks for, with its header.
const DATAGRAM_BYTES_MAX: usize = 2048;

pub(in crate::transport::swarm) async fn fetch(
    (server, name): (Ipv4Addr, &str),
    (manner, keep): (Manner, bool),
    from: Option<Ipv4Addr>,
    chance: (Dice, u32, u64),
    began: Instant,
) -> Fetched {
    let now = || Moment(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    let mut download = Download::new(name, manner, keep, chance, now());
    let result = carry(&mut download, server, from, began, now).await;
    let result = result.unwrap_or_else(|error| Err(Reason::Local(error.kind().to_string())));
    let Download { bytes, retries, body, .. } = download;
    Fetched { result, bytes, body, retry_after: None, retries }
}

async fn carry(
    download: &mut Download,
    server: Ipv4Addr,
    from: Option<Ipv4Addr>,
    began: Instant,
    now: impl Fn() -> Moment,
) -> std::io::Result<Result<(), Reason>> {
    let local = SocketAddrV4::new(from.unwrap_or(Ipv4Addr::UNSPECIFIED), 0);
    let mut socket = UdpSocket::bind(local).await?;
    let mut peer: Option<SocketAddr> = None;
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let mut fresh = true;
    loop {
        while let Some(packet) = download.poll_packet() {
            match (packet, peer) {
                (Outgoing::Request(packet), _) => {
                    if !fresh {
                        socket = UdpSocket::bind(local).await?;
                    }
                    (fresh, peer) = (false, None);
                    socket.send_to(&packet, (server, 69)).await?;
                }
                (Outgoing::Reply(packet), Some(peer)) => drop(socket.send_to(&packet, peer).await?),
                (Outgoing::Reply(_), None) => {}
            }
        }
        if let Some(outcome) = download.outcome() {
            return Ok(outcome);
        }
        let Some(deadline) = download.next_deadline() else { return Ok(Err(Reason::Silent)) };
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, sender)) if sender.ip() == server && peer.is_none_or(|peer| peer == sender) => {
                    peer = Some(sender);
                    download.on_packet(buffer.get(..length).unwrap_or_default(), now());
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            },
            () = tokio::time::sleep_until(began + Duration::from_micros(deadline.0)) => {
                download.on_timeout(now());
            }
        }
    }
}
