//! The shell of one transfer: wait for a packet or the deadline, tell the automaton, send what it wants sent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::base::limits::{TFTP_REQUEST_BYTES_MAX, TFTP_TRANSFER_MAX};
use crate::engine::tftp::{Outcome, Segment, Transfer};
use crate::transport::clock::now;
use crate::transport::tftp::socket::{Destination, Received, send};
use crate::wire::tftp::{DATA_HEADER_BYTES, Packet, emit_data, parse};

/// Octets that one segmented send may carry: an IPv4 datagram less its headers, and 64 segments
/// (UDP_MAX_SEGMENTS of Linux).
const BATCH_BYTES_MAX: usize = 65_000;

/// The way to the client.
pub(crate) struct Exit {
    socket: Arc<UdpSocket>,
    /// None if the socket is connected, and then it is ours alone to read.
    to: Option<Destination>,
    /// False once the kernel or the link has refused segmentation.
    can_segment: bool,
}

/// A transfer with its packets.
pub(crate) struct Session {
    pub(crate) transfer: Transfer<Bytes>,
    pub(crate) exit: Exit,
    /// What the listener heard from this client.
    pub(crate) inbox: mpsc::Receiver<Vec<u8>>,
    pub(crate) request: Vec<u8>,
}

impl Exit {
    pub(crate) fn own(socket: UdpSocket) -> Exit {
        Exit { socket: Arc::new(socket), to: None, can_segment: true }
    }

    pub(crate) fn shared(socket: Arc<UdpSocket>, received: &Received) -> Exit {
        Exit { socket, to: Some(Destination::of(received)), can_segment: true }
    }

    /// Waits for a packet on a socket of one's own; on a shared one, for ever.
    async fn receive(&self, buffer: &mut [u8]) -> usize {
        if self.to.is_some() {
            return std::future::pending().await;
        }
        loop {
            // Errors here are ICMP answers to earlier packets; the deadline judges.
            if let Ok(length) = self.socket.recv(buffer).await {
                return length;
            }
        }
    }

    async fn send(&self, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
        let attempt = || send(&self.socket, self.to.as_ref(), bytes, segment);
        self.socket.async_io(Interest::WRITABLE, attempt).await
    }

    /// Sends datagrams of `size` octets each, the last perhaps shorter.
    async fn send_batch(&mut self, bytes: &[u8], size: usize) -> io::Result<()> {
        if self.can_segment && bytes.len() > size {
            match self.send(bytes, u16::try_from(size).ok()).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "udp segmentation is not to be had");
                    self.can_segment = false;
                }
            }
        }
        for datagram in bytes.chunks(size) {
            self.send(datagram, None).await?;
        }
        Ok(())
    }
}

impl Session {
    /// Runs to the end.
    pub(crate) async fn run(&mut self) -> Outcome {
        let end = now() + TFTP_TRANSFER_MAX;
        let mut buffer = [0_u8; TFTP_REQUEST_BYTES_MAX];
        let mut batch = Vec::new();
        loop {
            if let Err(error) = self.drain(&mut batch).await {
                // The route may come back before the client gives up.
                tracing::debug!(%error, "tftp blocks were not sent");
            }
            let deadline = match (self.transfer.outcome(), self.transfer.next_deadline()) {
                (None, Some(deadline)) if deadline < end => deadline,
                (outcome, _) => return outcome.unwrap_or(Outcome::Lost),
            };
            let wait = Duration::from_millis(deadline.since(now()).0);
            // Both receivers are cancel-safe: what they do not return they have not taken.
            tokio::select! {
                length = self.exit.receive(&mut buffer) => self.on_packet(&buffer[..length]),
                packet = self.inbox.recv() => match packet {
                    Some(packet) => self.on_packet(&packet),
                    None => return Outcome::Lost, // the client has begun something else
                },
                () = tokio::time::sleep(wait) => self.transfer.on_deadline(now()),
            }
        }
    }

    fn on_packet(&mut self, packet: &[u8]) {
        if packet == self.request {
            return self.transfer.on_request_again(now());
        }
        match parse(packet) {
            Ok(Packet::Ack(block)) => self.transfer.on_ack(block, now()),
            Ok(Packet::Error(code)) => self.transfer.on_error(code),
            Ok(Packet::Read(_) | Packet::Write | Packet::Foreign) | Err(_) => {}
        }
    }

    /// Sends all that the automaton has, in as few calls as possible.
    async fn drain(&mut self, batch: &mut Vec<u8>) -> io::Result<()> {
        let size = usize::from(self.transfer.terms().block_bytes) + DATA_HEADER_BYTES;
        batch.clear();
        loop {
            match self.transfer.poll_send() {
                Some(Segment::Options(packet)) => {
                    let packet = packet.to_vec();
                    self.exit.send(&packet, None).await?;
                }
                Some(Segment::Data { block, payload }) => {
                    emit_data(batch, block, payload);
                    if batch.len() + size > BATCH_BYTES_MAX || batch.len() / size >= 64 {
                        self.exit.send_batch(batch, size).await?;
                        batch.clear();
                    }
                }
                None if batch.is_empty() => return Ok(()),
                None => return self.exit.send_batch(batch, size).await,
            }
        }
    }
}
