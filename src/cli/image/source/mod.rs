//! What a user names as the source of an image, made into files on this machine: a kernel, initramfs images, a root
//! image, and what is known about them. All of it happens where the command runs, never on the head.

mod archive;
mod blob;
mod files;
mod flatten;
mod kernel;
mod layout;
mod login;
mod oci;
mod pax;
mod registry;
mod rootfs;
mod scratch;
mod squash;
mod tarball;
#[cfg(test)]
mod tests;
mod tree;
mod url;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::base::limits::IMAGE_UNPACKED_BYTES;
use crate::cli::image::source::layout::Layout;
use crate::cli::image::source::scratch::Scratch;
use crate::cli::image::source::squash::Format;
use crate::cli::progress::Steps;
use crate::model::Arch;

/// Passwords end with a line; nobody has a longer one.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

/// How a source is read.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The source")]
pub(crate) struct Options {
    /// A kernel, as file or URL; with a root file system as source, in place of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<String>,
    /// An initramfs, as file or URL; again for more
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<String>,
    /// A root image (squashfs, erofs, ext4), as file or URL
    #[arg(long, value_name = "FILE")]
    pub(crate) root: Option<String>,
    /// The kernel to take if there are several; else the newest
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel_version: Option<String>,
    /// The processor family to take of a multi-arch image: x86_64, arm64; else this machine's
    #[arg(long, value_parser = arch)]
    pub(crate) arch: Option<Arch>,
    /// The file system that the root image is made as, from layers or an archive
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Registry: speak HTTP without encryption
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Registry or URL: the root certificates to trust (PEM), in place of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Registry: whom to log in as; else what docker login or podman login left
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    pub(crate) username: Option<String>,
    /// Registry: read the password from standard input
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,
    /// Registry: the file of logins, in place of the places where docker and podman keep them
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    pub(crate) logins: Option<PathBuf>,
    /// What the image may unpack to, in GiB
    #[arg(long, value_name = "GIB", default_value = "64", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_unpacked: Option<u64>,
}

fn arch(name: &str) -> Result<Arch, String> {
    Arch::from_name(name).ok_or_else(|| "none of x86_64, arm64, riscv64, loong64".to_owned())
}

impl Options {
    /// In octets.
    fn unpacked_max(&self) -> u64 {
        self.max_unpacked.map_or(IMAGE_UNPACKED_BYTES, |gib| gib.saturating_mul(1 << 30))
    }

    /// Read once: standard input has no second password.
    fn password(&self) -> anyhow::Result<Option<String>> {
        if !self.password_stdin {
            return Ok(None);
        }
        let mut text = String::new();
        std::io::stdin()
            .take(PASSWORD_BYTES_MAX)
            .read_to_string(&mut text)
            .context("cannot read the password")?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// # Errors
    /// Files are named beside a source that has its own.
    fn without_files(&self) -> anyhow::Result<()> {
        let named = self.kernel.is_some() || !self.initrd.is_empty();
        ensure!(!named, "--kernel and --initrd go with a root file system or with no source at all");
        Ok(())
    }
}

/// An image in files of this machine. Those in the work folder are the caller's to remove.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) kernel: Option<PathBuf>,
    /// In the order in which the kernel gets them.
    pub(crate) initrds: Vec<PathBuf>,
    pub(crate) root: Option<PathBuf>,
    /// As `uname -r` says on the node.
    pub(crate) kernel_version: Option<String>,
    pub(crate) arch: Option<Arch>,
    /// Kernel parameters that the image brings along.
    pub(crate) cmdline: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// What it was made from, such as `registry.example.org/compute@sha256:…`.
    pub(crate) origin: String,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

impl Prepared {
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.kernel.iter().chain(&self.initrds).chain(&self.root).map(PathBuf::as_path)
    }

    fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.kernel.iter_mut().chain(&mut self.initrds).chain(&mut self.root)
    }
}

/// Makes files of a source. None: `options` name the files. `work` is a folder that nobody else writes to; on an
/// error nothing is left in it.
///
/// # Errors
/// Everything that keeps the image from being whole, with the file, entry or layer that is wrong.
pub(crate) fn open(
    spec: Option<&str>,
    options: &Options,
    work: &Path,
    steps: &Steps,
) -> anyhow::Result<Prepared> {
    let scratch = Scratch::new(work);
    let prepared = match spec {
        None => named(options, &scratch, steps)?,
        Some(spec) => {
            ensure!(options.root.is_none(), "--root is a source of its own: leave {spec} away");
            dispatch(spec, options, &scratch, steps)?
        }
    };
    scratch.keep(prepared.files());
    Ok(prepared)
}

fn dispatch(spec: &str, options: &Options, scratch: &Scratch, steps: &Steps) -> anyhow::Result<Prepared> {
    if let Some(rest) = spec.strip_prefix("oci:") {
        let (path, tag) = tagged(rest);
        return Layout::folder(path)?.open(tag, options, scratch, steps);
    }
    if let Some(rest) = spec.strip_prefix("oci-archive:") {
        let (path, tag) = tagged(rest);
        return Layout::archive(path, scratch, options)?.open(tag, options, scratch, steps);
    }
    for scheme in ["docker://", "registry://"] {
        if let Some(name) = spec.strip_prefix(scheme) {
            return registry::open(name, options, scratch, steps);
        }
    }
    if url::is_url(spec) {
        let fetched = url::fetch(spec, options, scratch, steps)?;
        let prepared = tarball::open(&fetched.path, options, scratch, steps)?;
        return Ok(Prepared { origin: fetched.origin, ..prepared });
    }
    let path = Path::new(spec);
    if path.join(layout::MARK).is_file() {
        return Layout::folder(path)?.open(None, options, scratch, steps);
    }
    if path.is_dir() {
        return files::folder(path, options, scratch);
    }
    if path.exists() {
        return tarball::open(path, options, scratch, steps);
    }
    // Docker's own rule tells a registry from a folder (distribution/reference, splitDockerDomain).
    let host = spec.split_once('/').map(|(host, _)| host);
    if host.is_some_and(|host| !host.starts_with('.') && (host.contains(['.', ':']) || host == "localhost")) {
        return registry::open(spec, options, scratch, steps);
    }
    bail!("{spec}: there is no such file or folder; an image of a registry is named HOST/NAME:TAG")
}

/// `PATH[:TAG]`; a path may have colons itself.
fn tagged(spec: &str) -> (&Path, Option<&str>) {
    match spec.rsplit_once(':') {
        Some((path, tag)) if !Path::new(spec).exists() => (Path::new(path), Some(tag)),
        _ => (Path::new(spec), None),
    }
}

/// Files that are named one by one.
fn named(options: &Options, scratch: &Scratch, steps: &Steps) -> anyhow::Result<Prepared> {
    ensure!(
        options.kernel.is_some() || options.root.is_some(),
        "name a source, or files with --kernel, --initrd and --root"
    );
    ensure!(options.kernel.is_some() || options.initrd.is_empty(), "--initrd wants --kernel");
    let specs: Vec<&String> = options.kernel.iter().chain(&options.initrd).chain(&options.root).collect();
    let versions: BTreeSet<&str> =
        specs.iter().filter_map(|spec| files::classify(spec.rsplit('/').next().unwrap_or(spec))?.1).collect();
    let versions: Vec<&str> = versions.into_iter().collect();
    ensure!(versions.len() <= 1, "the files are of different versions: {}", versions.join(", "));
    let get = |spec: &String| fetched(spec, options, scratch, steps);
    let prepared = Prepared {
        kernel: options.kernel.as_ref().map(get).transpose()?,
        initrds: options.initrd.iter().map(get).collect::<anyhow::Result<_>>()?,
        root: options.root.as_ref().map(get).transpose()?,
        kernel_version: versions.first().map(|version| (*version).to_owned()),
        origin: specs.iter().map(|spec| origin(spec)).collect::<Vec<_>>().join(" "),
        ..Prepared::default()
    };
    files::finish(prepared, options, scratch)
}

/// A URL may hold a password or a signature.
fn origin(spec: &str) -> String {
    if url::is_url(spec) { url::without_secrets(spec) } else { spec.to_owned() }
}

/// A single file by path or URL.
fn fetched(spec: &str, options: &Options, scratch: &Scratch, steps: &Steps) -> anyhow::Result<PathBuf> {
    if url::is_url(spec) {
        return Ok(url::fetch(spec, options, scratch, steps)?.path);
    }
    let path = PathBuf::from(spec);
    let metadata = std::fs::metadata(&path).with_context(|| format!("cannot read {spec}"))?;
    ensure!(metadata.is_file(), "{spec} is no file");
    Ok(path)
}
