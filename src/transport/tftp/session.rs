//! The shell of one transfer: wait for a packet or the deadline, tell the automaton, send what it wants sent.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::base::Timestamp;
use crate::base::limits::{TFTP_REQUEST_BYTES_MAX, TFTP_TRANSFER_MAX};
use crate::engine::tftp::{Outcome, Transfer};
use crate::transport::clock::now;
use crate::transport::tftp::socket::{Destination, Received, send};
use crate::wire::tftp::{DATA_HEADER_BYTES, Packet, data_header, parse};

/// Octets that one segmented send may carry: an IPv4 datagram less its headers.
const BATCH_BYTES_MAX: usize = 65_000;

/// Octets of a block's header, as segment sizes are counted.
#[allow(clippy::cast_possible_truncation, reason = "it is 4")]
const HEADER_BYTES: u16 = DATA_HEADER_BYTES as u16;

/// Blocks in one segmented send: UDP_MAX_SEGMENTS of Linux.
const BATCH_BLOCKS_MAX: usize = 64;

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

    async fn send(&self, parts: &[IoSlice<'_>], segment: Option<u16>) -> io::Result<()> {
        let attempt = || send(&self.socket, self.to.as_ref(), parts, segment);
        self.socket.async_io(Interest::WRITABLE, attempt).await
    }

    /// Sends blocks of `size` octets each, the last perhaps shorter: header, payload, header, payload …
    async fn send_blocks(&mut self, parts: &[IoSlice<'_>], size: u16) -> io::Result<()> {
        if self.can_segment && parts.len() > 2 {
            match self.send(parts, Some(size)).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "udp segmentation is not to be had");
                    self.can_segment = false;
                }
            }
        }
        for block in parts.chunks(2) {
            self.send(block, None).await?;
        }
        Ok(())
    }
}

impl Session {
    /// Runs to the end.
    pub(crate) async fn run(&mut self) -> Outcome {
        let end = now() + TFTP_TRANSFER_MAX;
        let mut buffer = [0_u8; TFTP_REQUEST_BYTES_MAX];
        // One timer for all blocks: while acknowledgements come in time the deadline only moves away, and the
        // timer is set anew when it has gone off, not with every block.
        let (mut timer, mut set_to) =
            (std::pin::pin!(tokio::time::sleep(Duration::ZERO)), Timestamp(u64::MAX));
        loop {
            if let Err(error) = self.drain().await {
                // The route may come back before the client gives up.
                tracing::debug!(%error, "tftp blocks were not sent");
            }
            let deadline = match (self.transfer.outcome(), self.transfer.next_deadline()) {
                (None, Some(deadline)) if deadline < end => deadline,
                (outcome, _) => return outcome.unwrap_or(Outcome::Lost),
            };
            if deadline < set_to || timer.is_elapsed() {
                let wait = Duration::from_millis(deadline.since(now()).0);
                timer.as_mut().reset(tokio::time::Instant::now() + wait);
                set_to = deadline;
            }
            // Both receivers are cancel-safe: what they do not return they have not taken.
            tokio::select! {
                biased;
                length = self.exit.receive(&mut buffer) => self.on_packet(&buffer[..length]),
                packet = self.inbox.recv() => match packet {
                    Some(packet) => self.on_packet(&packet),
                    None => return Outcome::Lost, // the client has begun something else
                },
                () = timer.as_mut() => self.transfer.on_deadline(now()),
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

    /// Sends all that the automaton has, in as few calls as possible. Payloads go from the file in memory to the
    /// kernel without a copy of ours.
    async fn drain(&mut self) -> io::Result<()> {
        let size = self.transfer.terms().block_bytes + HEADER_BYTES;
        let most = (BATCH_BYTES_MAX / usize::from(size)).clamp(1, BATCH_BLOCKS_MAX);
        if let Some(options) = self.transfer.poll_options() {
            self.exit.send(&[IoSlice::new(options)], None).await?;
        }
        loop {
            let mut headers = [[0; DATA_HEADER_BYTES]; BATCH_BLOCKS_MAX];
            let mut parts = [IoSlice::new(&[]); 2 * BATCH_BLOCKS_MAX];
            let blocks = self.transfer.poll_blocks(u16::try_from(most).unwrap_or(1));
            let count = blocks.len();
            if count == 0 {
                return Ok(());
            }
            for (((block, payload), header), pair) in blocks.zip(&mut headers).zip(parts.chunks_exact_mut(2))
            {
                *header = data_header(block);
                pair.copy_from_slice(&[IoSlice::new(header), IoSlice::new(payload)]);
            }
            self.exit.send_blocks(&parts[..2 * count], size).await?;
        }
    }
}
