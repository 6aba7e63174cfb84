//! Makes leased addresses this computer's own, one by one: a local route for each, on the loopback link. The
//! kernel then answers ARP for it on the swarm's link, and sockets can be bound to it.
//!
//! Not the whole network at once: a server asks by ARP whether an address is free before it gives it away, and
//! would find all of them taken.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::transport::tasks::Tasks;

/// The kernel's table of local addresses (RT_TABLE_LOCAL).
const TABLE_LOCAL: u32 = 255;

/// Loopback has this index in every namespace.
const LOOPBACK: u32 = 1;

/// The routes that the swarm made.
pub(in crate::transport::swarm) struct Addresses {
    handle: Handle,
    link: u32,
    held: Mutex<BTreeSet<Ipv4Addr>>,
    networks: Mutex<BTreeSet<(Ipv4Addr, u8)>>,
}

impl Addresses {
    pub(in crate::transport::swarm) fn open(interface: &str, tasks: &Tasks) -> std::io::Result<Addresses> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tasks.spawn("swarm netlink", connection);
        let link = nix::net::if_::if_nametoindex(interface).map_err(std::io::Error::from)?;
        Ok(Addresses { handle, link, held: Mutex::default(), networks: Mutex::default() })
    }

    /// Takes an address, and makes its network reachable on the swarm's link.
    pub(in crate::transport::swarm) async fn hold(&self, address: Ipv4Addr, mask: Option<Ipv4Addr>) {
        let prefix = mask.map_or(32, |mask| u32::from(mask).leading_ones());
        let prefix = u8::try_from(prefix).unwrap_or(32);
        if prefix < 32 {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            let network = (Ipv4Addr::from(u32::from(address) & bits), prefix);
            if self.networks.lock().expect("nothing panics here").insert(network)
                && let Err(error) = self.handle.route().add(self.network(network)).execute().await
            {
                // There already: the link has an address of its own in the network.
                tracing::debug!(%error, "network not added");
                self.networks.lock().expect("nothing panics here").remove(&network);
            }
        }
        if !self.held.lock().expect("nothing panics here").insert(address) {
            return;
        }
        if let Err(error) = self.handle.route().add(local(address)).execute().await {
            tracing::debug!(%error, %address, "address not added");
        }
    }

    /// Removes what was made.
    pub(in crate::transport::swarm) async fn give_back(&self) {
        let held = std::mem::take(&mut *self.held.lock().expect("nothing panics here"));
        for address in held {
            let _ = self.handle.route().del(local(address)).execute().await;
        }
        let networks = std::mem::take(&mut *self.networks.lock().expect("nothing panics here"));
        for network in networks {
            let _ = self.handle.route().del(self.network(network)).execute().await;
        }
    }

    fn network(&self, (network, prefix): (Ipv4Addr, u8)) -> RouteMessage {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(network, prefix);
        route.output_interface(self.link).scope(RouteScope::Link).build()
    }
}

fn local(address: Ipv4Addr) -> RouteMessage {
    let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32);
    let route = route.output_interface(LOOPBACK).kind(RouteType::Local).scope(RouteScope::Host);
    route.table_id(TABLE_LOCAL).build()
}
