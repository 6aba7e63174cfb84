//! Where the head itself may connect to. Whoever may name a URL or an address for it to call (a webhook, a BMC)
//! must not make it speak to services that trust it because it is itself: on its loopback, at its own addresses,
//! at the addresses where clouds and links keep what is for the machine alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::Cidr;

/// Why the head does not connect to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error("is a loopback address")]
    Loopback,
    #[error("is a link-local address")]
    LinkLocal,
    #[error("is an address of this head")]
    Own,
    #[error("is no address of one host")]
    NoHost,
}

/// Refuses addresses that are not for a head to call. `own`: its addresses; `allow`: what the configuration says
/// is right all the same.
///
/// # Errors
/// Why not.
pub fn permit(address: IpAddr, own: &[IpAddr], allow: &[Cidr]) -> Result<(), Refused> {
    let address = inner(address);
    if allow.iter().any(|net| net.contains(address)) {
        return Ok(());
    }
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => Err(Refused::Loopback),
        IpAddr::V4(v4) if v4.is_link_local() => Err(Refused::LinkLocal),
        IpAddr::V4(v4) if v4.octets().first() == Some(&0) || v4.is_multicast() || v4.is_broadcast() => {
            Err(Refused::NoHost)
        }
        IpAddr::V6(v6) if v6.is_loopback() => Err(Refused::Loopback),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Refused::LinkLocal),
        IpAddr::V6(v6) if v6.is_unspecified() || v6.is_multicast() => Err(Refused::NoHost),
        _ if own.iter().any(|own| inner(*own) == address) => Err(Refused::Own),
        _ => Ok(()),
    }
}

/// The IPv4 address within an IPv6 address that leads to it: mapped (RFC 4291 section 2.5.5), translated by NAT64
/// (RFC 6052 section 2.1), or tunnelled by 6to4 (RFC 3056).
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if v6 != Ipv6Addr::LOCALHOST && !v6.is_unspecified() => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use crate::engine::egress::{Refused, permit};

    fn ask(address: &str) -> Result<(), Refused> {
        let own: [IpAddr; 2] = ["192.0.2.254".parse().unwrap(), "2001:db8::254".parse().unwrap()];
        permit(address.parse().unwrap(), &own, &["127.0.0.7/32".parse().unwrap()])
    }

    /// T48.
    #[test]
    fn the_head_calls_others_and_not_what_is_for_itself() {
        for address in ["192.0.2.1", "10.0.0.1", "172.16.0.20", "2001:db8::1", "fd00::1", "127.0.0.7"] {
            assert_eq!(ask(address), Ok(()), "{address}");
        }
        for address in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1"]
        {
            assert_eq!(ask(address), Err(Refused::Loopback), "{address}");
        }
        for address in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "2002:a9fe:a9fe::1"] {
            assert_eq!(ask(address), Err(Refused::LinkLocal), "{address}");
        }
        for address in ["192.0.2.254", "2001:db8::254", "::ffff:192.0.2.254"] {
            assert_eq!(ask(address), Err(Refused::Own), "{address}");
        }
        for address in
            ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:0.0.0.0"]
        {
            assert_eq!(ask(address), Err(Refused::NoHost), "{address}");
        }
    }
}
