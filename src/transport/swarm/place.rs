//! Where a swarm may run: nowhere that it could boot against a real server by mistake. And how many sockets it may
//! have there.

use std::fs;

use nix::net::if_::InterfaceFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors for everything but machines' sockets.
const RESERVED: u64 = 128;

/// Sockets for machines on a system without a bound.
const SOCKETS_MAX: u64 = 200_000;

/// Says why a swarm does not run here.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no interface {0}")]
    NoInterface(String),
    #[error(
        "{0} may be a real network, where a swarm takes real addresses. Run it in a network namespace \
         (ip netns exec) that is seen to be another than that of process 1, or say that this interface is a lab: \
         --lab-interface {0}"
    )]
    Real(String),
}

/// Lets a swarm on loopback, in a namespace that is not init's, or on an interface that somebody answers for.
///
/// # Errors
/// The interface is missing, or may be real: also if the namespaces cannot be compared.
pub fn check(interface: &str, lab: Option<&str>) -> Result<(), Refusal> {
    let missing = || Refusal::NoInterface(interface.to_owned());
    let mut addresses = nix::ifaddrs::getifaddrs().map_err(|_| missing())?;
    let found = addresses.find(|address| address.interface_name == interface).ok_or_else(missing)?;
    let loopback = found.flags.contains(InterfaceFlags::IFF_LOOPBACK);
    let own = fs::read_link("/proc/self/ns/net");
    let init = fs::read_link("/proc/1/ns/net");
    let apart = matches!((&own, &init), (Ok(own), Ok(init)) if own != init);
    if loopback || apart || lab == Some(interface) {
        Ok(())
    } else {
        Err(Refusal::Real(interface.to_owned()))
    }
}

/// Raises the limit of descriptors as far as it goes; how many sockets fit.
#[must_use]
pub fn sockets() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let wanted = hard.min(SOCKETS_MAX);
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    // A machine has two at most: its kept connection and a socket of TFTP.
    usize::try_from((limit.saturating_sub(RESERVED) / 2).max(1)).unwrap_or(usize::MAX)
}
