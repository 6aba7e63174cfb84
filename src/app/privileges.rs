//! Gives up every privilege that the daemon does not need, before it opens a socket or starts a thread; and checks
//! where it runs and who reaches its socket.

use std::path::Path;

use anyhow::Context as _;
use caps::{CapSet, Capability, CapsHashSet};

use crate::app::config::Auth;

/// What binding low ports and raw sockets takes.
const ALWAYS: [Capability; 2] = [Capability::CAP_NET_RAW, Capability::CAP_NET_BIND_SERVICE];

/// Says which privilege could not be given up.
#[derive(Debug, thiserror::Error)]
#[error("cannot give up capabilities ({set})")]
pub struct PrivilegeError {
    set: &'static str,
    #[source]
    source: caps::errors::CapsError,
}

/// Keeps NET_RAW, NET_BIND_SERVICE and, if the head configures links, NET_ADMIN, as far as the process has
/// them, and drops all others for good. Must run while the process has one thread: capabilities are a
/// property of threads, and new ones inherit them.
///
/// # Errors
/// The kernel refuses; the daemon must not go on with more than it asked for.
pub fn restrict(configures_links: bool) -> Result<CapsHashSet, PrivilegeError> {
    let mut wanted: CapsHashSet = ALWAYS.into();
    if configures_links {
        wanted.insert(Capability::CAP_NET_ADMIN);
    }
    let has = caps::read(None, CapSet::Permitted).map_err(fail("permitted"))?;
    let kept: CapsHashSet = has.intersection(&wanted).copied().collect();
    if has.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding).map_err(fail("bounding"))?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(fail("bounding"))?;
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(fail("ambient"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(fail("effective"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(fail("permitted"))?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).map_err(fail("inheritable"))?;
    Ok(kept)
}

/// Keeps the memory of this process, which holds keys, from debuggers of its own user and out of core dumps.
///
/// # Errors
/// The kernel refuses.
pub fn close_memory() -> nix::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    nix::sys::prctl::set_dumpable(false)
}

/// What this process makes is its owner's alone, unless its maker gives it to others by name: whatever mask it was
/// started with.
pub fn close_files() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
}

/// Members of the group `muster` need no token. Without such a group, only root uses the socket.
pub(crate) fn give_to_group(socket: &Path) {
    let group = nix::unistd::Group::from_name("muster").ok().flatten();
    if let Some(group) = group
        && let Err(error) = nix::unistd::chown(socket, None, Some(group.gid))
    {
        tracing::debug!(%error, "the socket stays root's");
    }
}

/// With authentication off in a named namespace, the daemon must really run in it.
pub(crate) fn check_namespace(auth: &Auth) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let Auth::Off { namespace: Some(name) } = auth else { return Ok(()) };
    let identity = |path: &str| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    let wanted =
        identity(&format!("/run/netns/{name}")).with_context(|| format!("auth.test_namespace {name}"))?;
    anyhow::ensure!(
        wanted == identity("/proc/self/ns/net")? && wanted != identity("/proc/1/ns/net")?,
        "auth.mode is off for the network namespace {name}, but the daemon does not run in it"
    );
    Ok(())
}

fn fail(set: &'static str) -> impl Fn(caps::errors::CapsError) -> PrivilegeError {
    move |source| PrivilegeError { set, source }
}
