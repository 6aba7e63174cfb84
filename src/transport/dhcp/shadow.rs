//! Ordinary UDP sockets on ports 67 and 4011 that nobody reads. Without them the kernel answers unicast
//! requests with "port unreachable", and edk2 gives up PXE although our reply arrived (measured with edk2
//! 2025.02). They also send what goes by the kernel's routes: to relays and to clients behind routers.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Drops everything: the packet sockets see it all, and nothing is handled twice.
const DROP_ALL: [(u16, u8, u8, u32); 1] = [(0x06, 0, 0, 0)];

/// The two sockets.
#[derive(Debug)]
pub(crate) struct Shadow {
    server: Option<Socket>,
    proxy: Socket,
}

impl Shadow {
    /// Opens the sockets. Port 67 only where addresses are given: beside another server on this machine it
    /// would take that server's unicasts.
    pub(crate) fn open(gives_addresses: bool) -> io::Result<Shadow> {
        let server = gives_addresses.then(|| open(67)).transpose()?;
        Ok(Shadow { server, proxy: open(4011)? })
    }

    /// Sends by the kernel's routes, from the given address and port.
    pub(crate) fn send(&self, source: SocketAddrV4, to: SocketAddrV4, message: &[u8]) -> io::Result<()> {
        let socket = if source.port() == 4011 { Some(&self.proxy) } else { self.server.as_ref() };
        let socket = socket.ok_or(io::ErrorKind::NotConnected)?;
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.ip().octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let to = SockaddrIn::from(to);
        sendmsg(socket.as_raw_fd(), &[IoSlice::new(message)], &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

fn open(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    let program: Vec<SockFilter> =
        DROP_ALL.iter().map(|(code, jt, jf, k)| SockFilter::new(*code, *jt, *jf, *k)).collect();
    socket.attach_filter(&program)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    Ok(socket)
}
