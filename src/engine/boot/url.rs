//! The addresses under which booting machines find things on the head. One place, because DHCP, scripts and
//! HTTP routes must agree.

use std::net::Ipv4Addr;

use crate::base::Mac;
use crate::model::SessionId;

/// Path of the boot script; the query tells whom it is for.
pub const SCRIPT: &str = "/boot/script";
/// Path below which loaders lie.
pub const LOADERS: &str = "/loaders";
/// Path below which the files of the image root lie.
pub const IMAGES: &str = "/images";
/// Path below which OpenCHAMI's image server had the same: `NAME/TAG/FILE`.
pub const OPENCHAMI: &str = "/openchami";
/// Path of the constant script that asks for the machine's own.
pub const BOOT: &str = "/boot.ipxe";

/// Path below which boot sessions lie.
pub const SESSIONS: &str = "/b";
/// The file of a session that holds its grant.
pub const GRANT: &str = "boot.cpio";
/// Path below which nodes claim, attest and seal.
pub const NODE: &str = "/node/v1";

/// The URL of a boot session's grant. The session's name is no secret; what it leads to is served once, to one address.
#[must_use]
pub fn grant(base: &str, session: SessionId) -> String {
    format!("{base}{SESSIONS}/{session}/{GRANT}")
}

/// The URL of a machine's script. iPXE fills in the `${…}` parts itself, also within option 67.
#[must_use]
pub fn script(base: &str, mac: Mac) -> String {
    let mac = mac.hyphenated();
    format!("{base}{SCRIPT}?mac={mac}&uuid=${{uuid}}&arch=${{buildarch}}&platform=${{platform}}")
}

/// The URL of a loader, for firmware that boots over HTTP.
#[must_use]
pub fn loader(base: &str, file: &str) -> String {
    format!("{base}{LOADERS}/{file}")
}

/// Below which everything of the head lies.
#[must_use]
pub fn plain(head: Ipv4Addr, port: u16) -> String {
    format!("http://{head}:{port}")
}

/// The same over TLS.
#[must_use]
pub fn tls(head: Ipv4Addr, port: u16) -> String {
    format!("https://{head}:{port}")
}
