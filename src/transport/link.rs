//! Links and addresses of the head, over netlink: sets the addresses that the configuration gives to the head
//! to manage, again whenever a link comes back, and tells who wants to know that something changed.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::link::LinkFlags;
use rtnetlink::{Handle, LinkUnspec, MulticastGroup};
use tokio::sync::watch;

use crate::base::Ipv4Net;
use crate::transport::tasks::Tasks;

/// An address the head sets on a link of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Managed {
    pub interface: String,
    pub address: Ipv4Net,
}

/// An address by which machines elsewhere reach this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub link: String,
    pub address: IpAddr,
}

/// Addresses of this machine that count beyond it and its links, in the kernel's order.
#[must_use]
pub fn addresses() -> Vec<Address> {
    let own = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|link| {
        let address = link.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = || address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        Some(Address { link: link.interface_name, address: v4.or_else(v6)? })
    });
    let counts = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    own.filter(|one| counts(&one.address)).collect()
}

/// Says why netlink cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot listen to the kernel's link changes")]
    Netlink(#[from] std::io::Error),
}

/// Changes come in bursts (address, route and flags of one link): one look serves them all.
const SETTLE: Duration = Duration::from_millis(20);

/// A look even if nothing was heard: netlink may lose messages under load.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How many neighbours the kernel keeps at most (arp(7), `gc_thresh3`), of all namespaces together. None: it does
/// not say so in this namespace.
#[must_use]
pub fn neighbours_max() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").ok()?;
    text.trim().parse().ok()
}

/// Sets managed addresses, then keeps them set. The returned watch rises with each change of links or
/// addresses.
///
/// # Errors
/// Netlink is not available.
pub async fn start(managed: Vec<Managed>, tasks: &Tasks) -> Result<watch::Receiver<u64>, LinkError> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
    let (connection, handle, mut messages) = rtnetlink::new_multicast_connection(&groups)?;
    let stop = tasks.token();
    tasks.spawn("netlink", async move {
        tokio::select! {
            () = connection => {}
            () = stop.cancelled() => {}
        }
    });
    let mut warned = Vec::new();
    set_all(&handle, &managed, &mut warned).await;
    let (changed, watch) = watch::channel(0_u64);
    let stop = tasks.token();
    tasks.spawn("links", async move {
        loop {
            tokio::select! {
                message = messages.next() => if message.is_none() { return },
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            tokio::time::sleep(SETTLE).await;
            while futures_util::FutureExt::now_or_never(messages.next()).flatten().is_some() {}
            set_all(&handle, &managed, &mut warned).await;
            changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    });
    Ok(watch)
}

async fn set_all(handle: &Handle, managed: &[Managed], warned: &mut Vec<String>) {
    for wanted in managed {
        match set(handle, wanted).await {
            Ok(changed) => {
                warned.retain(|known| *known != wanted.interface);
                if changed {
                    tracing::info!(interface = wanted.interface, address = %wanted.address, "address set");
                }
            }
            Err(error) if !warned.contains(&wanted.interface) => {
                tracing::warn!(interface = wanted.interface, address = %wanted.address, %error, "cannot set address yet");
                warned.push(wanted.interface.clone());
            }
            Err(_) => {}
        }
    }
}

/// Makes one link as wanted. True: something had to be changed.
async fn set(handle: &Handle, wanted: &Managed) -> Result<bool, rtnetlink::Error> {
    let links = handle.link().get().match_name(wanted.interface.clone()).execute();
    let Some(link) = std::pin::pin!(links).try_next().await? else { return Ok(false) };
    let index = link.header.index;
    let mut changed = false;
    if !link.header.flags.contains(LinkFlags::Up) {
        handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await?;
        changed = true;
    }
    let address = IpAddr::V4(wanted.address.address());
    let filter = handle.address().get().set_link_index_filter(index).set_address_filter(address);
    if std::pin::pin!(filter.execute()).try_next().await?.is_none() {
        handle.address().add(index, address, wanted.address.prefix()).replace().execute().await?;
        changed = true;
    }
    Ok(changed)
}
