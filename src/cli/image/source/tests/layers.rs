//! Layers upon layers: what hides what, what links to what, and what stays of owners, modes and attributes.

use std::fs;

use tar::EntryType;

use crate::cli::image::source::squash::Format;
use crate::cli::image::source::tests::{
    Bench, Blobs, Layer, VERSION, base, bzimage, cat, gzip, listing, paths, unsquashfs, zst,
};
use crate::cli::image::source::{Options, Prepared};
use crate::model::Arch;

/// Linux takes this form only (vfs_cap_data); the line feeds are what some readers of archives trip over.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\n\n\0\0\n\n\0\0\n\n\0\0\n\n\0\0";

#[test]
fn an_image_is_made_of_layers_with_all_that_files_have() {
    let bench = Bench::new();
    let long = format!("usr/{}/{}", "d".repeat(120), "f".repeat(200));
    let upper = Layer::new()
        .records(&[
            ("SCHILY.xattr.security.capability", CAPABILITY),
            ("SCHILY.xattr.user.note", b"kept"),
            ("uid", b"3000000"),
        ])
        .text("usr/ping", "ELF")
        .records(&[("path", long.as_bytes()), ("SCHILY.acl.access", b"user::rwx")])
        .text("cut", "long")
        .entry(EntryType::Char, "dev/null", "", b"")
        .entry(EntryType::Fifo, "dev/pipe", "", b"")
        .symlink("etc/out", "../../../outside");
    let prepared = bench.ok(&bench.layers(&[base().done(), upper.done()]));
    let list = listing(&prepared);
    for line in [
        "-rw-r--r-- 3000000/100 3 2023-11-14 22:13 squashfs-root/usr/ping",
        "crw-r--r-- 1000/100 1, 3 2023-11-14 22:13 squashfs-root/dev/null",
        "prw-r--r-- 1000/100 0 2023-11-14 22:13 squashfs-root/dev/pipe",
        "lrwxrwxrwx 1000/100 16 2023-11-14 22:13 squashfs-root/etc/out -> ../../../outside",
        "drwxr-xr-x 1000/100 26 2023-11-14 22:13 squashfs-root/etc",
        // No layer describes it: as engines make it, from when the image was made.
        "drwxr-xr-x 0/0 39 2026-11-22 03:04 squashfs-root/dev",
        "drwxr-xr-x 0/0 71 2026-11-22 03:04 squashfs-root",
    ] {
        assert!(list.iter().any(|own| own == line), "{line}\n{}", list.join("\n"));
    }
    assert_eq!(cat(&prepared, &long), "long");
    let unpacked = bench.path("unpacked");
    let root = prepared.root.as_ref().unwrap();
    unsquashfs(&["-q", "-n", "-d", unpacked.to_str().unwrap()], root, &["usr/ping"]);
    let attribute = |name: &str| xattr::get(unpacked.join("usr/ping"), name).unwrap();
    assert_eq!(attribute("user.note").as_deref(), Some(&b"kept"[..]));
    assert_eq!(attribute("security.capability").as_deref(), Some(CAPABILITY));
    assert_eq!(prepared.kernel_version.as_deref(), Some(VERSION));
    assert_eq!(prepared.arch, Some(Arch::X86_64));
    assert_eq!(prepared.cmdline.as_deref(), Some("quiet"));
    assert_eq!(prepared.labels["org.openchami.image.name"], "compute");
    assert!(prepared.origin.contains("@sha256:"), "{}", prepared.origin);
    assert!(prepared.notes[0].starts_with("1 entries have ACLs"), "{:?}", prepared.notes);
    assert_eq!(fs::read(&prepared.initrds[0]).unwrap(), b"cpio");
    let left = fs::read_dir(bench.work.path()).unwrap().count();
    assert_eq!(left, 3, "kernel, initramfs and root stay, nothing else");
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_of_their_own_layer() {
    let bench = Bench::new();
    let middle = Layer::new()
        .text("etc/gone", "1")
        .text("etc/kept", "1")
        .text("opt/a/one", "1")
        .text("opt/a/deep/two", "1")
        .text("srv/tree/leaf", "1")
        .text("var/file", "1");
    // A whiteout may stand after what its own layer puts there.
    let upper = Layer::new()
        .text("etc/.wh.gone", "")
        .text("opt/a/new", "2")
        .text("opt/a/.wh..wh..opq", "")
        .text("srv/tree/own", "2")
        .text("srv/.wh.tree", "")
        .folder("var/file/")
        .text("var/file/within", "2")
        .text("etc/.wh.never", "")
        .text("nowhere/.wh.x", "")
        .text(".wh..wh.aufs", "");
    let top = Layer::new().text("etc/gone", "3");
    let prepared = bench.ok(&bench.layers(&[base().done(), middle.done(), upper.done(), top.done()]));
    let all = paths(&prepared);
    for shows in ["etc/kept", "etc/gone", "opt/a/new", "srv/tree/own", "var/file/within"] {
        assert!(all.iter().any(|path| path == shows), "{shows} {all:?}");
    }
    for hidden in ["opt/a/one", "opt/a/deep", "srv/tree/leaf"] {
        assert!(!all.iter().any(|path| path.starts_with(hidden)), "{hidden} {all:?}");
    }
    assert!(!all.iter().any(|path| path.contains(".wh.")), "{all:?}");
    assert_eq!(cat(&prepared, "etc/gone"), "3", "put back by a layer above the whiteout");
}

#[test]
fn hard_links_keep_their_octets_whatever_becomes_of_the_first_name() {
    let bench = Bench::new();
    let lower = Layer::new()
        .text("usr/a", "first")
        .link("usr/b", "usr/a")
        .link("usr/c", "./usr/a")
        .text("usr/gone", "whole")
        .link("usr/heir", "/usr/gone")
        .symlink("usr/pointer", "a")
        .link("usr/pointer2", "usr/pointer");
    let upper = Layer::new().text("usr/a", "second").text("usr/.wh.gone", "").link("usr/later", "usr/c");
    let prepared = bench.ok(&bench.layers(&[base().done(), lower.done(), upper.done()]));
    for (path, body) in [
        ("usr/a", "second"),
        ("usr/b", "first"),
        ("usr/c", "first"),
        ("usr/heir", "whole"),
        ("usr/later", "first"),
    ] {
        assert_eq!(cat(&prepared, path), body, "{path}");
    }
    let list = listing(&prepared).join("\n");
    assert!(list.contains("usr/pointer2 -> a"), "{list}");
    // One file, however many names: the three of "first" have it once.
    let unpacked = bench.path("unpacked");
    unsquashfs(&["-q", "-n", "-d", unpacked.to_str().unwrap()], prepared.root.as_ref().unwrap(), &[]);
    let links = std::os::unix::fs::MetadataExt::nlink(&fs::metadata(unpacked.join("usr/b")).unwrap());
    assert_eq!(links, 3);
}

#[test]
fn the_same_layers_give_the_same_image() {
    let bench = Bench::new();
    let spec = bench.layers(&[base().done(), Layer::new().text("etc/motd", "hello").done()]);
    let bytes = |prepared: Prepared| fs::read(prepared.root.unwrap()).unwrap();
    let first = bytes(bench.ok(&spec));
    // The finest time in a squashfs is a second: what takes the clock's would show now.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let other = Bench::new();
    assert!(first == bytes(other.ok(&spec)));
    let made = unsquashfs(&["-s"], &other.ok(&spec).root.unwrap(), &[]);
    assert!(made.contains("Compression zstd") && made.contains("2026"), "{made}");
}

#[test]
fn an_archive_of_a_root_and_of_a_layout_give_what_they_hold() {
    let bench = Bench::new();
    let plain = base().folder("./").text("./etc/motd", "hello").done();
    for (name, bytes) in [("r.tar", plain.clone()), ("r.tar.gz", gzip(&plain)), ("r.tar.zst", zst(&plain))] {
        let prepared = bench.ok(&bench.write(name, &bytes));
        assert_eq!(cat(&prepared, "etc/motd"), "hello", "{name}");
        let root = "drwxr-xr-x 0/0 60 2023-11-14 22:13 squashfs-root";
        assert!(listing(&prepared).iter().any(|line| line == root), "{}", listing(&prepared).join("\n"));
        assert_eq!(prepared.kernel_version.as_deref(), Some(VERSION));
    }
    let mut blobs = Blobs::default();
    let manifest = blobs.image("amd64", &[plain]);
    let mut tar = Layer::new()
        .text("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .text("index.json", &serde_json::json!({"schemaVersion": 2, "manifests": [manifest]}).to_string());
    for (digest, bytes) in &blobs.0 {
        tar = tar.file(&format!("blobs/{}", digest.replace(':', "/")), bytes);
    }
    let tar = tar.done();
    for (name, bytes) in [("oci.tar", tar.clone()), ("oci.tgz", gzip(&tar))] {
        let path = bench.write(name, &bytes);
        for spec in [path.clone(), format!("oci-archive:{path}")] {
            assert_eq!(cat(&bench.ok(&spec), "etc/motd"), "hello", "{spec}");
        }
    }
}

#[test]
fn tags_and_processor_families_choose() {
    let bench = Bench::new();
    let mut blobs = Blobs::default();
    let one = blobs.image("amd64", &[base().text("etc/motd", "pc").done()]);
    let mut arm = vec![0; 4096];
    arm[56..60].copy_from_slice(b"ARM\x64");
    let other = Layer::new()
        .folder("etc/")
        .file("boot/vmlinuz-6.1.0-arm64", &arm)
        .text("boot/initrd.img-6.1.0-arm64", "cpio")
        .text("etc/motd", "arm");
    let other = blobs.image("arm64", &[other.done()]);
    let attestation = serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", "0".repeat(64)), "size": 2,
        "platform": {"architecture": "unknown", "os": "unknown"}});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [one, other, attestation]});
    let index_type = "application/vnd.oci.image.index.v1+json";
    let mut index = blobs.add(index_type, index.to_string().into_bytes());
    let name = "org.opencontainers.image.ref.name";
    index["annotations"] = serde_json::json!({name: "multi"});
    let mut single = one.clone();
    single["annotations"] = serde_json::json!({name: "example.org/compute:single"});
    blobs.layout(&bench.path("layout"), &[index, single]);
    let spec = |tag: &str| format!("oci:{}{tag}", bench.path("layout").display());
    let arch = |arch| Options { arch: Some(arch), ..Options::default() };
    let motd = |prepared: Prepared| cat(&prepared, "etc/motd");
    assert_eq!(motd(bench.open(&spec(":multi"), &arch(Arch::Arm64)).unwrap()), "arm");
    assert_eq!(motd(bench.open(&spec(":multi"), &arch(Arch::X86_64)).unwrap()), "pc");
    assert_eq!(motd(bench.ok(&spec(":single"))), "pc");
    let fresh = Bench::new();
    let said = fresh.refused(&spec(""));
    assert!(said.contains("name one of its tags: example.org/compute:single, multi"), "{said}");
    assert!(fresh.refused(&spec(":other")).contains("there is no tag other"));
    let said = fresh.refused_with(&spec(":multi"), &arch(Arch::RiscV64));
    assert!(said.contains("there is no image for riscv64 (--arch); there is amd64, arm64"), "{said}");
}

#[test]
fn the_newest_kernel_is_taken_unless_another_is_named() {
    let bench = Bench::new();
    let kernel = |layer: Layer, version: &str| {
        layer
            .folder(&format!("usr/lib/modules/{version}/"))
            .file(&format!("usr/lib/modules/{version}/vmlinuz"), &bzimage(version))
            .text(&format!("boot/initrd.img-{version}"), version)
    };
    let tree = kernel(kernel(Layer::new().folder("etc/"), "6.1.0-9-amd64"), "6.1.0-18-amd64")
        .symlink("boot/vmlinuz-6.1.0-18-amd64", "../usr/lib/modules/6.1.0-18-amd64/vmlinuz");
    let spec = bench.layers(&[tree.done()]);
    let newest = bench.ok(&spec);
    assert_eq!(newest.kernel_version.as_deref(), Some("6.1.0-18-amd64"));
    assert_eq!(fs::read(newest.kernel.unwrap()).unwrap(), bzimage("6.1.0-18-amd64"));
    let wish = |version: &str| Options { kernel_version: Some(version.to_owned()), ..Options::default() };
    let older = bench.open(&spec, &wish("6.1.0-9-amd64")).unwrap();
    assert_eq!(fs::read_to_string(&older.initrds[0]).unwrap(), "6.1.0-9-amd64");
    let said = Bench::new().refused_with(&spec, &wish("7.0"));
    assert!(said.contains("there is no kernel 7.0; there is 6.1.0-18-amd64, 6.1.0-9-amd64"), "{said}");
}

#[test]
fn what_gnu_tar_writes_is_read_in_each_of_its_forms() {
    let bench = Bench::new();
    let long = format!("usr/{}/{}", "d".repeat(120), "f".repeat(200));
    for (name, body) in [
        (format!("root/boot/vmlinuz-{VERSION}"), bzimage(VERSION)),
        (format!("root/boot/initramfs-{VERSION}.img"), b"cpio".to_vec()),
        (format!("root/{long}"), b"long".to_vec()),
    ] {
        bench.write(&name, &body);
    }
    std::os::unix::fs::symlink("t".repeat(150), bench.path("root/usr/link")).unwrap();
    fs::hard_link(bench.path(&format!("root/{long}")), bench.path("root/usr/hard")).unwrap();
    let tar = |arguments: &[&str]| {
        let archive = bench.path("gnu.tar");
        let mut command = std::process::Command::new("tar");
        command.args(arguments).arg("-C").arg(bench.path("root")).arg("-cf").arg(&archive).arg(".");
        assert!(command.status().unwrap().success());
        archive.to_str().unwrap().to_owned()
    };
    for format in ["gnu", "pax", "posix"] {
        let prepared = bench.ok(&tar(&[&format!("--format={format}")]));
        assert_eq!(cat(&prepared, &long), "long", "{format}");
        assert_eq!(cat(&prepared, "usr/hard"), "long", "{format}");
        let link = format!("usr/link -> {}", "t".repeat(150));
        assert!(listing(&prepared).iter().any(|line| line.ends_with(&link)), "{format}");
    }
    let holes = fs::File::create(bench.path("root/usr/holes")).unwrap();
    holes.set_len(1 << 20).unwrap();
    for format in ["gnu", "pax"] {
        let said = Bench::new().refused(&tar(&[&format!("--format={format}"), "--sparse"]));
        assert!(said.contains("holes\": it is stored with holes"), "{format} {said}");
    }
    // Without the option holes are zeros, and squashfs stores none of them.
    let prepared = bench.ok(&tar(&[]));
    assert!(listing(&prepared).iter().any(|line| line.contains(" 1048576 ") && line.ends_with("usr/holes")));
}

#[test]
fn erofs_is_made_where_its_tools_are_and_else_said_to_be_missing() {
    let bench = Bench::new();
    let spec = bench.layers(&[base().done()]);
    let options = Options { format: Format::Erofs, ..Options::default() };
    match bench.open(&spec, &options) {
        Ok(prepared) => {
            let bytes = fs::read(prepared.root.unwrap()).unwrap();
            assert_eq!(bytes[1024..1028], [0xe2, 0xe1, 0xf5, 0xe0]);
        }
        Err(error) => assert!(
            format!("{error:#}").contains("erofs-utils 1.8 or later")
                || format!("{error:#}").contains("install erofs-utils, 1.8 or later"),
            "{error:#}"
        ),
    }
}
