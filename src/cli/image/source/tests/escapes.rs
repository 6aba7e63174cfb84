//! Images that want to do harm, and images that are broken: each is refused by name and leaves nothing behind.

use std::fs;

use serde_json::{Value, json};
use tar::EntryType;

use crate::cli::image::source::Options;
use crate::cli::image::source::blob::{Blob, Quota};
use crate::cli::image::source::tests::{Bench, Blobs, Layer, VERSION, base, bzimage, cat, gzip, paths, zst};

#[test]
fn paths_and_links_that_lead_outside_are_refused_by_name() {
    let bench = Bench::new();
    for (layer, expected) in [
        (Layer::new().text("../x", "out"), "entry \"../x\": contains \"..\""),
        (Layer::new().text("a/../../x", "out"), "entry \"a/../../x\": contains \"..\""),
        (Layer::new().link("usr/l", "../../etc/shadow"), "entry \"usr/l\": its target: contains \"..\""),
        (
            Layer::new().link("usr/l", "etc/none"),
            "usr/l: a hard link to \"etc/none\", which is not in the image",
        ),
        (Layer::new().link("usr/l", "etc"), "usr/l: a hard link to \"etc\", which is a folder"),
        (
            Layer::new().symlink("esc", "/tmp").text("esc/written", "through"),
            "esc/written: it lies behind \"esc\", which is no folder",
        ),
        (
            Layer::new().symlink("esc", "/tmp").link("usr/l", "esc/x"),
            "usr/l: a hard link to \"esc/x\", which is not in the image",
        ),
        (Layer::new().text("etc/f", "").text("etc/f/g", ""), "etc/f/g: it lies behind \"etc/f\""),
        (Layer::new().text("etc/.wh..", ""), "etc/.wh..: a whiteout of nothing"),
        (Layer::new().entry(EntryType::new(b'V'), "vol", "", b""), "its type 'V' is not read here"),
        (Layer::new().records(&[("GNU.sparse.major", b"1")]).text("etc/s", ""), "it is stored with holes"),
        (Layer::new().records(&[("path", &[b'a'; 5000])]).text("x", ""), "longer than 4096 octets"),
        (Layer::new().records(&[("path", &b"a/".repeat(300))]).text("x", ""), "deeper than 256 folders"),
        (Layer::new().records(&[("path", &[b'a'; 256])]).text("x", ""), "a name is longer than 255 octets"),
        (Layer::new().records(&[("user.x", &vec![0; 1 << 20])]).text("x", ""), "octets of extension records"),
    ] {
        let said = bench.refused(&bench.layers(&[base().done(), layer.done()]));
        assert!(said.contains(expected), "{expected}\n{said}");
        assert!(said.contains("layer 2 (sha256:"), "{said}");
    }
}

#[test]
fn the_root_of_absolute_paths_is_the_images_own() {
    let bench = Bench::new();
    let layer = Layer::new().text("/etc/absolute", "inside").symlink("etc/root", "/../../..");
    let prepared = bench.ok(&bench.layers(&[base().done(), layer.done()]));
    assert_eq!(cat(&prepared, "etc/absolute"), "inside");
}

#[test]
fn a_kernel_behind_links_is_found_within_the_image_only() {
    let bench = Bench::new();
    let outside = bench.write("outside", &bzimage("9.9.9"));
    let tree = |target: &str| {
        Layer::new()
            .folder("etc/")
            .symlink(&format!("boot/vmlinuz-{VERSION}"), target)
            .text(&format!("boot/initramfs-{VERSION}.img"), "cpio")
            .symlink("a", "b")
            .symlink("b", "a")
    };
    for target in [&*format!("../../../../..{outside}"), &outside, "/a", "vmlinuz-gone"] {
        let said = bench.refused(&bench.layers(&[tree(target).done()]));
        assert!(said.contains("there is no kernel: looked for /boot/vmlinuz-VERSION"), "{target} {said}");
    }
}

#[test]
fn what_unpacks_without_end_is_stopped() {
    let bench = Bench::new();
    let zeros = vec![0; 80 << 20];
    for packed in [gzip(&zeros), zst(&zeros)] {
        let said = bench.refused(&bench.write("bomb.tar.gz", &packed));
        // Zeros are the end of an archive: what follows it is unpacked as well, to be hashed.
        assert!(said.contains("unpacks to more than 200 times its size"), "{said}");
    }
    let within = base().file("etc/zeros", &zeros).done();
    let mut blobs = Blobs::default();
    let manifest = blobs.image("amd64", &[base().done(), within]);
    blobs.layout(&bench.path("layout"), &[manifest]);
    let said = bench.refused(&format!("oci:{}", bench.path("layout").display()));
    assert!(said.contains("layer 2") && said.contains("unpacks to more than 200 times"), "{said}");
    // Octets that cannot be packed, more than allowed.
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    let mut layer = base();
    for number in 0..9 {
        layer = layer.file(&format!("etc/{number}"), &noise);
    }
    let tar = layer.done();
    let quota = Quota::new(8 << 20);
    let blob = Blob::of(bench.write("large.tar", &tar).as_ref()).unwrap();
    let error = blob.visit(&quota, |_| Ok(())).unwrap_err();
    assert!(format!("{error:#}").contains("more than 8388608 octets (--max-unpacked"), "{error:#}");
}

/// A layout of one image in which something is changed after it was made.
fn spoiled(bench: &Bench, spoil: impl Fn(&mut Blobs, &mut Value)) -> String {
    let _ = fs::remove_dir_all(bench.path("layout"));
    let mut blobs = Blobs::default();
    let mut manifest = blobs.image("amd64", &[base().done(), Layer::new().text("etc/x", "x").done()]);
    spoil(&mut blobs, &mut manifest);
    blobs.layout(&bench.path("layout"), &[manifest]);
    bench.refused(&format!("oci:{}", bench.path("layout").display()))
}

#[test]
fn octets_are_held_to_digests_and_sizes() {
    let bench = Bench::new();
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    // In the order in which they were made: configuration, two layers, manifest.
    let said = spoiled(&bench, |blobs, _| flip(&mut blobs.0[0].1));
    assert!(said.contains("the image's configuration is damaged: its digest is sha256:"), "{said}");
    let said = spoiled(&bench, |blobs, _| flip(&mut blobs.0[1].1));
    assert!(said.contains("layer 1 (sha256:") && said.contains("is damaged"), "{said}");
    let said = spoiled(&bench, |blobs, _| blobs.0[2].1[30] ^= 0xff);
    assert!(said.contains("layer 2 (sha256:") && said.contains("is damaged"), "{said}");
    let said = spoiled(&bench, |blobs, _| flip(&mut blobs.0[3].1));
    assert!(said.contains("manifest sha256:") && said.contains("is damaged"), "{said}");
    let said = spoiled(&bench, |blobs, _| blobs.0[2].1.push(0));
    assert!(said.contains("octets, expected"), "{said}");
    let said = spoiled(&bench, |_, manifest| manifest["size"] = json!(1));
    assert!(said.contains("octets, expected 1"), "{said}");
    let said = spoiled(&bench, |_, manifest| manifest["size"] = json!(-1));
    assert!(said.contains("has a size of -1"), "{said}");
    let said = spoiled(&bench, |_, manifest| manifest["digest"] = json!("sha256:../../../etc/passwd"));
    assert!(said.contains("only sha256 is read here"), "{said}");
    let said =
        spoiled(&bench, |_, manifest| manifest["digest"] = json!(format!("sha256:{}", "ab".repeat(32))));
    assert!(said.contains("cannot read"), "{said}");
}

#[test]
fn a_configuration_that_tells_of_other_layers_is_refused() {
    let bench = Bench::new();
    let rewritten = |change: &dyn Fn(&mut Value, &mut Value)| {
        spoiled(&bench, |blobs, manifest| {
            let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
            let (mut config, mut document) = (parse(&blobs.0[0].1), parse(&blobs.0[3].1));
            change(&mut config, &mut document);
            let config =
                blobs.add("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
            document["config"] = config;
            let media_type = "application/vnd.oci.image.manifest.v1+json";
            *manifest = blobs.add(media_type, document.to_string().into_bytes());
        })
    };
    let said =
        rewritten(&|config, _| config["rootfs"]["diff_ids"][1] = config["rootfs"]["diff_ids"][0].clone());
    assert!(said.contains("the configuration says sha256:"), "{said}");
    let said = rewritten(&|config, _| config["rootfs"]["diff_ids"] = json!([]));
    assert!(said.contains("the manifest has 2 layers, the configuration 0"), "{said}");
    let said = rewritten(&|config, _| config["os"] = json!("windows"));
    assert!(said.contains("the image is for windows"), "{said}");
    let said = rewritten(&|config, _| config["architecture"] = json!("arm64"));
    assert!(said.contains("the kernel is for x86_64, not for arm64"), "{said}");
    let said = rewritten(&|_, document| document["layers"][0]["mediaType"] = json!("application/x-helm"));
    assert!(said.contains("is application/x-helm: no file system"), "{said}");
    let said = rewritten(&|_, document| {
        document["layers"] = json!(vec![document["layers"][0].clone(); 513]);
    });
    assert!(said.contains("the image has 513 layers, at most 512"), "{said}");
    let said = rewritten(&|_, document| document["schemaVersion"] = json!(1));
    assert!(said.contains("schemaVersion is not 2"), "{said}");
}

#[test]
fn what_an_image_lacks_is_named_with_a_way_to_make_it() {
    let bench = Bench::new();
    let open = |layer: Layer| bench.refused(&bench.layers(&[layer.folder("etc/").done()]));
    let kernel = format!("boot/vmlinuz-{VERSION}");
    let initrd = format!("boot/initramfs-{VERSION}.img");
    let said = open(Layer::new());
    assert!(said.contains("there is no kernel") && said.contains("dnf install kernel"), "{said}");
    let said = open(Layer::new().file(&kernel, &bzimage(VERSION)));
    assert!(said.contains(&format!("/{initrd} {VERSION})")) && said.contains("dracut --force"), "{said}");
    let both = || Layer::new().file(&kernel, &bzimage(VERSION)).text(&initrd, "cpio");
    let said = open(both().folder("usr/lib/modules/6.6.6/"));
    assert!(said.contains("the root has modules for 6.6.6 only"), "{said}");
    let said = open(Layer::new().file(&kernel, &bzimage("6.6.6")).text(&initrd, "cpio"));
    assert!(said.contains(&format!("named {VERSION} and says that it is 6.6.6")), "{said}");
    let said = open(Layer::new().text(&kernel, "no kernel").text(&initrd, "cpio"));
    assert!(said.ends_with("is no kernel"), "{said}");
    let said = bench.refused(&bench.layers(&[Layer::new().text("readme", "x").done()]));
    assert!(said.contains("holds no root file system"), "{said}");
}

#[test]
fn a_broken_archive_never_becomes_an_image() {
    let bench = Bench::new();
    let whole = base().text("etc/motd", "hello").done();
    for length in [100, 700, 513, whole.len() / 2] {
        let said = bench.refused(&bench.write("cut.tar", &whole[..length]));
        assert!(said.contains("cut.tar"), "{said}");
    }
    for (name, bytes) in
        [("a.xz", &b"\xfd7zXZ\0rest"[..]), ("b.txt", &[b'x'; 600]), ("c.gz", b"\x1f\x8b\x08junk")]
    {
        let said = bench.refused(&bench.write(name, bytes));
        assert!(said.contains(name), "{said}");
    }
    assert!(bench.refused(&bench.write("a.xz", b"\xfd7zXZ\0rest")).contains("xz is not read here"));
    // Any octet may be wrong: an image or an error, never a panic.
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..40 {
        let mut broken = whole.clone();
        for _ in 0..4 {
            let at = random.usize(..broken.len());
            broken[at] = random.u8(..);
        }
        let _ = bench.open(&bench.write("broken.tar", &broken), &Options::default());
    }
    assert!(!paths(&Bench::new().ok(&bench.write("whole.tar", &whole))).is_empty());
}
