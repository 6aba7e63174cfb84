//! What TFTP serves, to whom, and who hears of it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;

use crate::api::context::Context;
use crate::app::config::Config;
use crate::app::recorder;
use crate::engine::boot::script::{Reach, entry};
use crate::engine::tftp::catalog::VirtualFile;
use crate::model::Site;
use crate::transport::loaders::Loaders;
use crate::transport::tasks::Tasks;
use crate::transport::tftp::{Tftp, VirtualRequest};

/// Opens TFTP's listeners.
///
/// # Errors
/// An address cannot be bound.
pub(crate) fn start(
    config: &Config,
    context: &Context,
    loaders: &Arc<Loaders>,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let (snapshot, allowed) = (Arc::clone(&context.snapshot), Arc::clone(&context.snapshot));
    let recorder = context.recorder.clone();
    let mtu = config.site.networks.iter().filter_map(|network| network.mtu).min().unwrap_or(1500);
    let tftp = Tftp {
        listen: config.tftp.listen.clone(),
        loaders: Arc::clone(loaders),
        virtual_files: Arc::new(move |request| virtual_file(&snapshot.load().site, request)),
        allow: Arc::new(move |client| is_near(&allowed.load().site, client)),
        on_event: Arc::new(move |event| recorder::tftp(&recorder, event)),
        single_port: config.tftp.single_port,
        ports: None,
        mtu,
    };
    tftp.start(tasks)?;
    Ok(())
}

/// Whom TFTP and NBD serve: machines of our networks, and this one.
pub(crate) fn is_near(site: &Site, client: IpAddr) -> bool {
    match client.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || site.network_of(address).is_some(),
        IpAddr::V6(address) => address.is_loopback(),
    }
}

/// Files that are made for who asks. iPXE asks for `autoexec.ipxe` before its own DHCP: the shortest way to
/// its script, and the one that works beside a foreign DHCP server.
fn virtual_file(site: &Site, request: &VirtualRequest) -> Option<Bytes> {
    let IpAddr::V4(head) = request.local.to_canonical() else { return None };
    match request.file {
        VirtualFile::AutoexecIpxe | VirtualFile::ConfigIpxe | VirtualFile::Default => {
            let tls = site.loader_tls.as_ref().filter(|tls| tls.always).map(|tls| tls.port);
            Some(Bytes::from(entry(site, Reach { head, port: site.http_port, tls })))
        }
        VirtualFile::GrubConfig => None,
    }
}
