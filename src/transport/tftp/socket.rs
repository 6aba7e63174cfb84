//! UDP sockets that know to which of our addresses a datagram came, and that send many blocks in one call.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::base::limits::TFTP_REQUEST_BYTES_MAX;

/// Room for the requests of a power-on storm while the listener is busy.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Room for several windows on their way.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// A datagram and where it came from and to.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) peer: SocketAddr,
    /// The address of ours that was asked; unspecified if the kernel does not say.
    pub(crate) local: IpAddr,
}

/// A listening socket. IPv4 ones report the local address of each datagram.
pub(crate) fn listen(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    if address.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A socket for one transfer: from the asked address to the client, so that the client sees the address it
/// asked, and hears nobody else.
pub(crate) fn connect(received: &Received, ports: Option<RangeInclusive<u16>>) -> io::Result<UdpSocket> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in ports.unwrap_or(0..=0) {
        let socket = open(received.peer)?;
        match socket.bind(&SocketAddr::new(received.local, port).into()) {
            Ok(()) => {
                socket.connect(&received.peer.into())?;
                return UdpSocket::from_std(socket.into());
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Best effort: the kernel caps both at its own limits.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    Ok(socket)
}

/// Waits for a datagram. Cancel-safe.
pub(crate) async fn receive(socket: &UdpSocket) -> io::Result<Received> {
    socket.async_io(Interest::READABLE, || receive_now(socket)).await
}

/// A datagram that is there already.
///
/// # Errors
/// `WouldBlock` if there is none.
pub(crate) fn receive_ready(socket: &UdpSocket) -> io::Result<Received> {
    socket.try_io(Interest::READABLE, || receive_now(socket))
}

fn receive_now(socket: &UdpSocket) -> io::Result<Received> {
    // One more than is allowed, so that the parser sees what was cut off.
    let mut buffer = [0_u8; TFTP_REQUEST_BYTES_MAX + 1];
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let length = message.bytes;
    let peer = message.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from(*v4));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)))
    });
    let peer = peer.ok_or_else(|| io::Error::other("datagram without a sender"))?;
    let mut local = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
            local = Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
        }
    }
    let local = match local {
        Some(local) => local,
        None => socket.local_addr()?.ip(),
    };
    Ok(Received { bytes: buffer[..length].to_vec(), peer, local })
}

/// Answers a datagram from the address it was sent to. A full socket drops the answer: the client repeats.
pub(crate) fn reply(socket: &UdpSocket, received: &Received, bytes: &[u8]) {
    let to = Destination::of(received);
    if let Err(error) =
        socket.try_io(Interest::WRITABLE, || send(socket, Some(&to), &[IoSlice::new(bytes)], None))
    {
        tracing::debug!(peer = %received.peer, %error, "tftp answer was not sent");
    }
}

/// Where to and where from, for sockets that are not connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    peer: SocketAddr,
    local: IpAddr,
}

impl Destination {
    pub(crate) fn of(received: &Received) -> Destination {
        Destination { peer: received.peer, local: received.local }
    }
}

/// Sends one datagram that is given in parts, or with `segment` several of that size (the last may be shorter) in
/// one call: UDP segmentation offload, Linux 4.18.
pub(crate) fn send(
    socket: &UdpSocket,
    to: Option<&Destination>,
    parts: &[IoSlice<'_>],
    segment: Option<u16>,
) -> io::Result<()> {
    let source = to.and_then(|to| match to.local {
        IpAddr::V4(local) if !local.is_unspecified() => Some(libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(local).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        }),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    });
    let mut control = Vec::new();
    control.extend(source.as_ref().map(ControlMessage::Ipv4PacketInfo));
    control.extend(segment.as_ref().map(ControlMessage::UdpGsoSegments));
    let peer = to.map(|to| SockaddrStorage::from(to.peer));
    match sendmsg(socket.as_raw_fd(), parts, &control, MsgFlags::MSG_DONTWAIT, peer.as_ref()) {
        Ok(_) => Ok(()),
        Err(Errno::ECONNREFUSED) => Ok(()), // an earlier datagram's ICMP; the deadline will tell
        Err(errno) => Err(errno.into()),
    }
}
