//! Folders as OpenCHAMI's tutorial lays them out, archives of them, and files that are named one by one.

use std::fs;

use crate::cli::image::source::tests::{Bench, Layer, VERSION, bzimage, zst};
use crate::cli::image::source::{Options, open};
use crate::cli::progress::Steps;
use crate::model::Arch;

/// As much of a squashfs as is looked at.
const ROOT: &[u8] = b"hsqs and so on";

fn lay(bench: &Bench, version: &str) {
    bench.write(&format!("image/vmlinuz-{version}"), &bzimage(version));
    bench.write(&format!("image/initramfs-{version}.img"), b"cpio");
    bench.write(&format!("image/rootfs-{version}"), ROOT);
}

fn spec(bench: &Bench) -> String {
    bench.path("image").display().to_string()
}

#[test]
fn a_folder_is_taken_as_it_is_with_its_newest_version() {
    let bench = Bench::new();
    lay(&bench, "5.14.0-70.el9.x86_64");
    lay(&bench, VERSION);
    bench.write("image/vmlinuz-0-rescue-abcdef", b"old");
    bench.write(&format!("image/initramfs-{VERSION}kdump.img"), b"dump");
    bench.write("image/README", b"read me");
    let prepared = bench.ok(&spec(&bench));
    assert_eq!(prepared.kernel.unwrap(), bench.path(&format!("image/vmlinuz-{VERSION}")));
    assert_eq!(prepared.initrds, [bench.path(&format!("image/initramfs-{VERSION}.img"))]);
    assert_eq!(prepared.root.unwrap(), bench.path(&format!("image/rootfs-{VERSION}")));
    assert_eq!((prepared.kernel_version.as_deref(), prepared.arch), (Some(VERSION), Some(Arch::X86_64)));
    let older = "5.14.0-70.el9.x86_64".to_owned();
    let wish = Options { kernel_version: Some(older.clone()), ..Options::default() };
    assert_eq!(bench.open(&spec(&bench), &wish).unwrap().kernel_version, Some(older));
    bench.write(&format!("image/initrd-{VERSION}"), b"cpio");
    let said = bench.refused(&spec(&bench));
    let expected = format!("initramfs-{VERSION}.img and initrd-{VERSION} are both initramfs");
    assert!(said.contains(&expected), "{said}");
    fs::remove_file(bench.path(&format!("image/initrd-{VERSION}"))).unwrap();
    let wish = Options { kernel_version: Some("6".to_owned()), ..Options::default() };
    assert!(bench.refused_with(&spec(&bench), &wish).contains("there is no version 6; there is 5.14.0-70"));
}

#[test]
fn parts_of_different_versions_do_not_become_one_image() {
    let bench = Bench::new();
    lay(&bench, "6.1.0");
    fs::rename(bench.path("image/rootfs-6.1.0"), bench.path("image/rootfs-6.0.0.squashfs")).unwrap();
    let said = bench.refused(&spec(&bench));
    let expected = "there is no root image (rootfs-VERSION) for version 6.1.0; there is one for 6.0.0";
    assert!(said.contains(expected), "{said}");
    fs::write(bench.path("image/rootfs-6.1.0"), ROOT).unwrap();
    fs::write(bench.path("image/vmlinuz-6.1.0"), bzimage("6.2.0")).unwrap();
    assert!(bench.refused(&spec(&bench)).contains("named 6.1.0 and says that it is 6.2.0"));
    fs::write(bench.path("image/vmlinuz-6.1.0"), bzimage("6.1.0")).unwrap();
    fs::write(bench.path("image/rootfs-6.1.0"), "<html>").unwrap();
    assert!(bench.refused(&spec(&bench)).contains("is no squashfs, erofs or ext image"));
    fs::write(bench.path("image/rootfs-6.1.0"), ROOT).unwrap();
    let wish = Options { arch: Some(Arch::Arm64), ..Options::default() };
    assert!(bench.refused_with(&spec(&bench), &wish).contains("the kernel is for x86_64, not for arm64"));
}

#[test]
fn names_without_a_version_work_and_the_kernel_says_which_it_is() {
    let bench = Bench::new();
    for (name, bytes) in
        [("vmlinuz", &*bzimage("6.6.1")), ("initramfs.img", b"cpio"), ("rootfs.squashfs", ROOT)]
    {
        bench.write(&format!("image/{name}"), bytes);
    }
    assert_eq!(bench.ok(&spec(&bench)).kernel_version.as_deref(), Some("6.6.1"));
    fs::remove_file(bench.path("image/initramfs.img")).unwrap();
    let said = bench.refused(&spec(&bench));
    assert!(said.contains("there is no initramfs (initramfs-VERSION.img)"), "{said}");
}

#[test]
fn only_a_name_says_that_an_artefact_is_packed_for_transport() {
    let bench = Bench::new();
    let packed_cpio = zst(b"070701 cpio");
    bench.write("image/vmlinuz-6.1.0.zst", &zst(&bzimage("6.1.0")));
    bench.write("image/initramfs-6.1.0.img", &packed_cpio);
    bench.write("image/rootfs-6.1.0.squashfs.zst", &zst(ROOT));
    let prepared = bench.ok(&spec(&bench));
    assert_eq!(fs::read(prepared.kernel.unwrap()).unwrap(), bzimage("6.1.0"));
    assert_eq!(fs::read(prepared.root.unwrap()).unwrap(), ROOT);
    assert_eq!(fs::read(&prepared.initrds[0]).unwrap(), packed_cpio, "the kernel unpacks it");
    assert_eq!(fs::read_dir(bench.work.path()).unwrap().count(), 2);
    // Packed once more for transport: one wrapping goes.
    fs::remove_file(bench.path("image/initramfs-6.1.0.img")).unwrap();
    bench.write("image/initramfs-6.1.0.img.zst", &zst(&packed_cpio));
    assert_eq!(fs::read(&bench.ok(&spec(&bench)).initrds[0]).unwrap(), packed_cpio);
    bench.write("image/initramfs-6.1.0.img.zst", b"plain");
    let fresh = Bench::new();
    assert!(fresh.refused(&spec(&bench)).contains("is not packed with zstd"));
    bench.write("image/initramfs-6.1.0.img.zst", &zst(&vec![0; 80 << 20]));
    assert!(fresh.refused(&spec(&bench)).contains("unpacks to more than 200 times its size"));
}

#[test]
fn an_archive_of_a_folder_is_that_folder() {
    let bench = Bench::new();
    let tar = Layer::new()
        .folder("rocky/")
        .file(&format!("rocky/vmlinuz-{VERSION}"), &bzimage(VERSION))
        .file(&format!("rocky/initramfs-{VERSION}.img.zst"), &zst(b"cpio"))
        .file(&format!("rocky/rootfs-{VERSION}"), ROOT)
        .text("rocky/notes", "x");
    let prepared = bench.ok(&bench.write("rocky.tar.zst", &zst(&tar.done())));
    assert_eq!(fs::read(prepared.root.unwrap()).unwrap(), ROOT);
    assert_eq!(fs::read(&prepared.initrds[0]).unwrap(), b"cpio");
    assert_eq!(prepared.kernel_version.as_deref(), Some(VERSION));
    assert_eq!(fs::read_dir(bench.work.path()).unwrap().count(), 3);
    let tar = Layer::new().file("vmlinuz-1.0", &bzimage("1.0")).file("rootfs-1.1", ROOT).done();
    let said = Bench::new().refused(&bench.write("odd.tar", &tar));
    assert!(said.contains("there is no"), "{said}");
}

#[test]
fn files_are_named_one_by_one() {
    let bench = Bench::new();
    let options = Options {
        kernel: Some(bench.write("k", &bzimage("6.1.0"))),
        initrd: vec![bench.write("ucode.img", b"microcode"), bench.write("i", b"cpio")],
        root: Some(bench.write("r", ROOT)),
        ..Options::default()
    };
    let named = |options: &Options| open(None, options, bench.work.path(), &Steps::new(None));
    let prepared = named(&options).unwrap();
    assert_eq!(prepared.initrds, [bench.path("ucode.img"), bench.path("i")], "in their order");
    assert_eq!(prepared.kernel_version.as_deref(), Some("6.1.0"));
    let said = |options: &Options| format!("{:#}", named(options).unwrap_err());
    assert!(said(&Options::default()).contains("name a source"));
    assert!(said(&Options { kernel: None, root: None, ..options.clone() }).contains("name a source"));
    let mixed = Options {
        kernel: Some(bench.write("vmlinuz-6.1.0", &bzimage("6.1.0"))),
        root: Some(bench.write("rootfs-6.0.0", ROOT)),
        ..options.clone()
    };
    assert!(said(&mixed).contains("the files are of different versions: 6.0.0, 6.1.0"));
    assert!(said(&Options { root: Some("/none".into()), ..options.clone() }).contains("cannot read /none"));
    let beside = bench.refused_with("oci:/x", &Options { root: options.root.clone(), ..Options::default() });
    assert!(beside.contains("--root is a source of its own"), "{beside}");
    lay(&bench, VERSION);
    let beside = Options { kernel: options.kernel, ..Options::default() };
    assert!(bench.refused_with(&spec(&bench), &beside).contains("--kernel and --initrd go with a root"));
    assert!(bench.refused("nothing/here").contains("there is no such file or folder"));
}

#[test]
fn a_root_without_a_kernel_takes_one_from_elsewhere() {
    let bench = Bench::new();
    let root = Layer::new().folder("etc/").folder("lib/modules/6.1.0/").done();
    let spec = bench.layers(&[root]);
    let mut options = Options {
        kernel: Some(bench.write("kernel", &bzimage("6.1.0"))),
        initrd: vec![bench.write("initrd", b"cpio")],
        ..Options::default()
    };
    assert_eq!(bench.open(&spec, &options).unwrap().kernel_version.as_deref(), Some("6.1.0"));
    options.kernel = Some(bench.write("kernel", &bzimage("6.2.0")));
    let said = Bench::new().refused_with(&spec, &options);
    assert!(said.contains("the kernel is 6.2.0, and the root has modules for 6.1.0 only"), "{said}");
}
