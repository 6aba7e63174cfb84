//! Packet sockets: DHCP frames in and out below the kernel's IP stack, and ARP for probes. The one file with
//! unsafe code; everything unsafe is a call of the C library with buffers of this file's own.
//!
//! A raw socket, because clients have no address yet: the kernel would neither deliver to 255.255.255.255 on
//! one link only nor send to a machine that does not answer ARP.
#![expect(unsafe_code, reason = "AF_PACKET addresses, auxiliary data and statistics have no safe binding")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, RawFd};

use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::base::Mac;

/// Receive buffer: a power-on storm of 2,000 machines with four requests each.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Largest frame that is read; DHCP messages are far smaller.
pub(crate) const FRAME_BYTES_MAX: usize = 4096;

/// IPv4, first fragments, UDP to port 67 or 4011, or from a server (67) to a client (68). VLAN tags are
/// stripped before the filter sees the frame. Fields: opcode, jump if true, jump if false, operand.
const DHCP_FILTER: [(u16, u8, u8, u32); 15] = [
    (0x28, 0, 0, 12),     // ldh [12]: type of the frame
    (0x15, 0, 12, 0x800), // IPv4, else drop
    (0x30, 0, 0, 23),     // ldb [23]: protocol
    (0x15, 0, 10, 17),    // UDP, else drop
    (0x28, 0, 0, 20),     // ldh [20]: fragment offset
    (0x45, 8, 0, 0x1fff), // not the first fragment: drop
    (0xb1, 0, 0, 14),     // x = length of the IP header
    (0x48, 0, 0, 16),     // ldh [x + 16]: destination port
    (0x15, 4, 0, 67),     // accept
    (0x15, 3, 0, 4011),   // accept
    (0x15, 0, 3, 68),     // else drop
    (0x48, 0, 0, 14),     // ldh [x + 14]: source port
    (0x15, 0, 1, 67),     // from a server: accept, else drop
    (0x06, 0, 0, 0x40000),
    (0x06, 0, 0, 0),
];

/// ARP replies and probes alike; the socket's protocol has done the rest.
const ARP_FILTER: [(u16, u8, u8, u32); 1] = [(0x06, 0, 0, 0x40000)];

/// Status bits of `tpacket_auxdata` (linux/if_packet.h).
const CHECKSUM_NOT_READY: u32 = 0x08;
const VLAN_VALID: u32 = 0x10;
const CHECKSUM_VALID: u32 = 0x80;

/// What a packet socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Dhcp,
    Arp,
}

/// What the kernel says about a received frame beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    pub(crate) length: usize,
    /// True: the UDP checksum is not filled in (the frame comes from this machine) or was verified by the
    /// card; the field in the frame must not be looked at.
    pub(crate) checksum_known: bool,
    /// True: the frame carried a VLAN tag, or is for another station. Not ours to answer untagged.
    pub(crate) foreign: bool,
}

/// A bound packet socket.
#[derive(Debug)]
pub(crate) struct RawSocket {
    socket: AsyncFd<Socket>,
}

impl RawSocket {
    /// Opens, filters, then binds: no stray frame gets in between.
    pub(crate) fn open(kind: Kind, index: u32) -> io::Result<RawSocket> {
        let (protocol, filter): (u16, &[_]) = match kind {
            Kind::Dhcp => (0x0800, &DHCP_FILTER),
            Kind::Arp => (0x0806, &ARP_FILTER),
        };
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        let program: Vec<SockFilter> =
            filter.iter().map(|(code, jt, jf, k)| SockFilter::new(*code, *jt, *jf, *k)).collect();
        socket.attach_filter(&program)?;
        if kind == Kind::Dhcp {
            // A smaller buffer than wished for is no error; losses are counted.
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
            enable_auxdata(socket.as_raw_fd())?;
        }
        bind(socket.as_raw_fd(), protocol, index)?;
        // SAFETY: a `Socket` owns its descriptor and gives the same one for as long as it lives.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(RawSocket { socket })
    }

    /// Waits for a frame and reads it into `buffer`.
    pub(crate) async fn receive(&self, buffer: &mut [u8; FRAME_BYTES_MAX]) -> io::Result<Meta> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| receive(socket.get_ref().as_raw_fd(), buffer)) {
                Ok(outcome) => return outcome,
                Err(_would_block) => {}
            }
        }
    }

    /// Sends a frame at once. `WouldBlock` if the link's queue is full: the client asks again.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.get_ref().send(frame).map(|_| ())
    }

    /// Has the link let frames for any station in, until the socket is closed. The swarm's machines have
    /// addresses that no card knows.
    pub(crate) fn hear_all(&self, index: u32) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?,
            mr_type: libc::c_ushort::try_from(libc::PACKET_MR_PROMISC)
                .map_err(|_| io::ErrorKind::InvalidInput)?,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the pointer and the length describe `request`, which outlives the call.
        check(unsafe {
            libc::setsockopt(
                self.socket.get_ref().as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                length_of::<libc::packet_mreq>(),
            )
        })
    }

    /// Frames that the kernel dropped since the last call because nobody read them in time.
    pub(crate) fn drops(&self) -> io::Result<u32> {
        statistics(self.socket.get_ref().as_raw_fd())
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("socket structures are small")
}

fn bind(socket: RawFd, protocol: u16, index: u32) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is plain data for which all zeros is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family =
        libc::sa_family_t::try_from(libc::AF_PACKET).map_err(|_| io::ErrorKind::InvalidInput)?;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer and the length describe `address`, which outlives the call.
    check(unsafe { libc::bind(socket, (&raw const address).cast(), length_of::<libc::sockaddr_ll>()) })
}

fn enable_auxdata(socket: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `on`, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_PACKET,
            libc::PACKET_AUXDATA,
            (&raw const on).cast(),
            length_of::<libc::c_int>(),
        )
    })
}

fn statistics(socket: RawFd) -> io::Result<u32> {
    // SAFETY: `tpacket_stats` is plain data for which all zeros is a value.
    let mut stats: libc::tpacket_stats = unsafe { zeroed() };
    let mut length = length_of::<libc::tpacket_stats>();
    // SAFETY: the pointers describe `stats` and its length, which outlive the call.
    check(unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast(),
            &raw mut length,
        )
    })?;
    Ok(stats.tp_drops)
}

/// Room for the one control message that is asked for, aligned for its header.
#[repr(C, align(8))]
struct Control([u8; 64]);

fn receive(socket: RawFd, buffer: &mut [u8; FRAME_BYTES_MAX]) -> io::Result<Meta> {
    let mut control = Control([0; 64]);
    // SAFETY: `sockaddr_ll` and `msghdr` are plain data for which all zeros is a value.
    let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = length_of::<libc::sockaddr_ll>();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _; // of another width in musl
    // SAFETY: every pointer in `message` is to a local that outlives the call, with its true length.
    let length = unsafe { libc::recvmsg(socket, &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let (status, tagged) =
        auxdata(&message).map_or((0, false), |aux| (aux.tp_status, aux.tp_status & VLAN_VALID != 0));
    Ok(Meta {
        length: length.min(FRAME_BYTES_MAX),
        checksum_known: status & (CHECKSUM_NOT_READY | CHECKSUM_VALID) != 0,
        foreign: tagged || from.sll_pkttype == libc::PACKET_OTHERHOST,
    })
}

fn auxdata(message: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: the kernel filled the control buffer of `message`; CMSG_FIRSTHDR checks its length.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    let wanted = header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA;
    // SAFETY: a length of zero asks for the size of an empty control message only.
    let empty = unsafe { libc::CMSG_LEN(0) } as usize;
    let least = empty.saturating_add(size_of::<libc::tpacket_auxdata>());
    if !wanted || header.cmsg_len < least as _ {
        return None;
    }
    // SAFETY: the kernel put a whole `tpacket_auxdata` here, as its length says; it may be unaligned.
    Some(unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() })
}

/// A link as packet sockets need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkId {
    pub(crate) index: u32,
    pub(crate) mac: Mac,
}

/// Finds a link by name. None: there is no such link now, it is down, or it has no Ethernet address. (A packet
/// socket on a link that is down opens, and then fails with ENETDOWN at its first read.)
pub(crate) fn find_link(name: &str) -> Option<LinkId> {
    let index = nix::net::if_::if_nametoindex(name).ok()?;
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let mac = addresses
        .filter(|address| address.interface_name == name && address.flags.contains(InterfaceFlags::IFF_UP))
        .find_map(|address| address.address.as_ref()?.as_link_addr()?.addr())?;
    Some(LinkId { index, mac: Mac(mac) })
}

#[cfg(test)]
mod tests;
