//! Sources end to end: layouts, folders and servers that the test makes, read into images that squashfs-tools read.

mod escapes;
mod folders;
mod layers;
mod network;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use crate::cli::image::source::kernel::tests::bzimage;
use crate::cli::image::source::{Options, Prepared, open};
use crate::cli::progress::Steps;

const VERSION: &str = "5.14.0-503.el9.x86_64";

/// An archive in the making.
struct Layer(Builder<Vec<u8>>);

impl Layer {
    fn new() -> Layer {
        Layer(Builder::new(Vec::new()))
    }

    /// A name goes in as it is: no library tidies it.
    fn entry(mut self, kind: EntryType, name: &str, target: &str, body: &[u8]) -> Layer {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(1000);
        header.set_gid(100);
        header.set_mtime(1_700_000_000);
        header.set_size(body.len() as u64);
        let ustar = header.as_ustar_mut().unwrap();
        ustar.name[..name.len()].copy_from_slice(name.as_bytes());
        ustar.linkname[..target.len()].copy_from_slice(target.as_bytes());
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.append(&header, body).unwrap();
        self
    }

    fn file(self, name: &str, body: &[u8]) -> Layer {
        self.entry(EntryType::Regular, name, "", body)
    }

    fn text(self, name: &str, body: &str) -> Layer {
        self.file(name, body.as_bytes())
    }

    fn folder(self, name: &str) -> Layer {
        self.entry(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Layer {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    fn link(self, name: &str, target: &str) -> Layer {
        self.entry(EntryType::Link, name, target, b"")
    }

    fn records(mut self, records: &[(&str, &[u8])]) -> Layer {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// What every bootable root has, in the least form.
fn base() -> Layer {
    Layer::new()
        .folder("etc/")
        .folder("usr/")
        .symlink("lib", "usr/lib")
        .folder(&format!("usr/lib/modules/{VERSION}/"))
        .folder("boot/")
        .file(&format!("boot/vmlinuz-{VERSION}"), &bzimage(VERSION))
        .text(&format!("boot/initramfs-{VERSION}.img"), "cpio")
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|octet| format!("{octet:02x}")).collect();
    format!("sha256:{hex}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// The documents and layers of images, by digest.
#[derive(Default)]
struct Blobs(Vec<(String, Vec<u8>)>);

impl Blobs {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor = json!({"mediaType": media_type, "digest": digest(&bytes), "size": bytes.len()});
        self.0.push((digest(&bytes), bytes));
        descriptor
    }

    /// An image of tar archives; the first is stored plain, the second by gzip, further ones by zstd.
    fn image(&mut self, arch: &str, layers: &[Vec<u8>]) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({"created": "2026-11-22T03:04:05Z", "architecture": arch, "os": "linux",
            "config": {"Labels": {"org.openchami.image.name": "compute", "muster.cmdline": "quiet"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.add("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let packed = |(number, layer): (usize, &Vec<u8>)| match number {
            0 => ("application/vnd.oci.image.layer.v1.tar", layer.clone()),
            1 => ("application/vnd.docker.image.rootfs.diff.tar.gzip", gzip(layer)),
            _ => ("application/vnd.oci.image.layer.v1.tar+zstd", zst(layer)),
        };
        let layers: Vec<Value> = layers
            .iter()
            .enumerate()
            .map(packed)
            .map(|(media_type, bytes)| self.add(media_type, bytes))
            .collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let mut descriptor = self.add(manifest_type, manifest.to_string().into_bytes());
        descriptor["platform"] = json!({"architecture": arch, "os": "linux"});
        descriptor
    }

    fn layout(&self, folder: &Path, manifests: &[Value]) {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        for (digest, bytes) in &self.0 {
            fs::write(folder.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        }
    }
}

/// A place for sources and one for work.
struct Bench {
    folder: TempDir,
    work: TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap(), work: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A layout of one image, by the spec that opens it.
    fn layers(&self, layers: &[Vec<u8>]) -> String {
        let mut blobs = Blobs::default();
        let manifest = blobs.image("amd64", layers);
        blobs.layout(&self.path("layout"), &[manifest]);
        format!("oci:{}", self.path("layout").display())
    }

    fn open(&self, spec: &str, options: &Options) -> anyhow::Result<Prepared> {
        open(Some(spec), options, self.work.path(), &Steps::new(None))
    }

    fn ok(&self, spec: &str) -> Prepared {
        self.open(spec, &Options::default()).unwrap()
    }

    /// What is said of a source that is refused; nothing may be left of it.
    fn refused_with(&self, spec: &str, options: &Options) -> String {
        let said = format!("{:#}", self.open(spec, options).unwrap_err());
        let left: Vec<_> = fs::read_dir(self.work.path()).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        said
    }

    fn refused(&self, spec: &str) -> String {
        self.refused_with(spec, &Options::default())
    }
}

fn unsquashfs(arguments: &[&str], root: &Path, paths: &[&str]) -> String {
    let output = Command::new("unsquashfs").args(arguments).arg(root).args(paths).output();
    let output = output.expect("squashfs-tools are installed (scripts/test --full)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// `ls -l` of the root image without its dates: mode, owner, size or device, path.
fn listing(prepared: &Prepared) -> Vec<String> {
    let text = unsquashfs(&["-lln"], prepared.root.as_ref().unwrap(), &[]);
    let lines = text.lines().filter(|line| line.contains("squashfs-root"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The paths of the root image.
fn paths(prepared: &Prepared) -> Vec<String> {
    let text = unsquashfs(&["-ls"], prepared.root.as_ref().unwrap(), &[]);
    text.lines().filter_map(|line| line.strip_prefix("squashfs-root/")).map(str::to_owned).collect()
}

fn cat(prepared: &Prepared, path: &str) -> String {
    unsquashfs(&["-cat"], prepared.root.as_ref().unwrap(), &[path])
}
