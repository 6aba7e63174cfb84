//! Images from import to boot script to the bytes that a node gets, and back out by garbage collection.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::head::{Head, NODES};

/// A file of this many octets that differs by its seed, with a head that makes it what it should be.
fn file(path: &Path, magic: &[u8], seed: u64, size: usize) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octets = magic.to_vec();
    while octets.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend_from_slice(&state.to_le_bytes());
    }
    fs::write(path, octets).unwrap();
}

/// A directory as OpenCHAMI's tutorial lays it out.
fn directory(head: &Head, name: &str, seed: u64) -> PathBuf {
    let folder = head.folder.path().join(name);
    fs::create_dir_all(&folder).unwrap();
    let kernel = folder.join("vmlinuz-6.1.0-28-amd64");
    file(&kernel, b"", seed, 20_000);
    // The setup header of a bzImage: boot flag, magic, and the place of the version string (Linux boot.rst).
    let mut octets = fs::read(&kernel).unwrap();
    octets[..2].copy_from_slice(b"MZ");
    octets[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    octets[0x202..0x206].copy_from_slice(b"HdrS");
    octets[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
    octets[0x20e..0x210].copy_from_slice(&0x1000_u16.to_le_bytes());
    let version = b"6.1.0-28-amd64 (debian-kernel@lists.debian.org) #1 SMP\0";
    octets[0x1200..0x1200 + version.len()].copy_from_slice(version);
    fs::write(&kernel, octets).unwrap();
    file(&folder.join("initramfs-6.1.0-28-amd64.img"), b"070701", seed + 1, 50_000);
    file(&folder.join("rootfs-6.1.0-28-amd64"), b"hsqs", seed + 2, 3_000_000);
    folder
}

fn import(head: &Head, name: &str, folder: &Path, more: &[&str]) -> Value {
    head.json(&[&["image", "import", name, folder.to_str().unwrap()], more].concat())
}

fn fetch(url: &str, options: &[&str]) -> Vec<u8> {
    let output = Command::new("curl").args(["-sS", "-f"]).args(options).arg(url).output().unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn sha256(octets: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The URL behind this word of a script's kernel line.
fn param<'a>(script: &'a str, key: &str) -> &'a str {
    let word = script.split_whitespace().find(|word| word.starts_with(key));
    word.and_then(|word| word.strip_prefix(key)).unwrap_or_else(|| panic!("{key} in {script}"))
}

#[test]
fn an_imported_image_is_what_a_node_boots() {
    let (head, url) = Head::open();
    head.import(NODES, &[]);
    let folder = directory(&head, "compute", 1);
    let image = import(&head, "compute:2026-11-22", &folder, &["--params", "ip=dhcp console=ttyS0"]);
    assert_eq!(image["kernel_version"], "6.1.0-28-amd64");
    assert_eq!((&image["arch"], &image["tags"][0]), (&Value::from("x86_64"), &Value::from("2026-11-22")));
    assert_eq!(image["root"]["format"], "squashfs");
    head.ok(&["boot", "set", "@compute", "--image", "compute:2026-11-22", "--params", "quiet"]);
    let script = fetch(&format!("{url}/boot/script?mac=02-00-00-00-00-01"), &[]);
    let script = String::from_utf8(script).unwrap();
    assert!(script.contains("ip=dhcp console=ttyS0 quiet"), "{script}");
    let root = param(&script, "root=live:");
    let octets = fetch(root, &[]);
    assert_eq!(octets, fs::read(folder.join("rootfs-6.1.0-28-amd64")).unwrap());
    assert!(root.ends_with(&format!("/images/sha256/{}/rootfs.squashfs", sha256(&octets))), "{root}");
    let kernel = script.lines().find_map(|line| line.strip_prefix("kernel --name kernel ")).unwrap();
    let kernel = fetch(kernel.split(' ').next().unwrap(), &[]);
    assert_eq!(kernel, fs::read(folder.join("vmlinuz-6.1.0-28-amd64")).unwrap());
    // The same by the paths of OpenCHAMI's image server, and by part.
    let old = format!("{url}/openchami/compute/2026-11-22/rootfs-6.1.0-28-amd64");
    assert_eq!(fetch(&old, &["-r", "1000-1999"]), &octets[1000..2000]);
    let wrong = Command::new("curl").args(["-sS", &old.replace("6.1.0-28", "6.1.0-99")]).output().unwrap();
    let wrong = String::from_utf8(wrong.stdout).unwrap();
    assert!(wrong.contains("has kernel 6.1.0-28-amd64, not 6.1.0-99-amd64"), "{wrong}");
}

#[test]
fn the_manifest_is_named_by_its_digest_and_signed_by_the_site() {
    let (head, url) = Head::open();
    let image = import(&head, "compute", &directory(&head, "compute", 1), &["--delivery", "verified"]);
    let version = image["version"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let manifest = fetch(&format!("{url}/images/compute/{version}/manifest"), &[]);
    assert_eq!(sha256(&manifest), version);
    assert_eq!(manifest, fetch(&format!("{url}/images/compute/latest/manifest"), &[]));
    let folder = head.folder.path();
    fs::write(folder.join("manifest"), &manifest).unwrap();
    fs::write(folder.join("sig.b64"), fetch(&format!("{url}/images/compute/{version}/manifest.sig"), &[]))
        .unwrap();
    fs::write(folder.join("site.pub"), fetch(&format!("{url}/site.pub"), &[])).unwrap();
    let verify = "openssl base64 -d -A -in sig.b64 -out sig && \
                  openssl pkeyutl -verify -pubin -inkey site.pub -rawin -in manifest -sigfile sig";
    let verified = |text: &[u8]| {
        fs::write(folder.join("manifest"), text).unwrap();
        Command::new("sh").arg("-c").arg(verify).current_dir(folder).output().unwrap().status.success()
    };
    assert!(verified(&manifest));
    assert!(!verified(&[&manifest[..], b"\n"].concat()), "a signature that fits everything proves nothing");
}

#[test]
fn tags_promote_and_roll_back_and_pinned_nodes_stay() {
    let (head, url) = Head::open();
    head.import(NODES, &[]);
    let first = import(&head, "compute:one", &directory(&head, "one", 10), &["--also", "prod"]);
    let second = import(&head, "compute:two", &directory(&head, "two", 20), &[]);
    let digits = |image: &Value| image["version"].as_str().unwrap()[7..19].to_owned();
    head.ok(&["boot", "set", "nid001", "--image", "compute:prod"]);
    head.ok(&["boot", "set", "nid002", "--image", &format!("compute@{}", digits(&first))]);
    let boots = |node: &str| head.json(&["boot", "show", node])[0]["version"].clone();
    assert_eq!((boots("nid001"), boots("nid002")), (first["version"].clone(), first["version"].clone()));
    // A download that began before the tag moved goes on with what it began.
    let slow = Command::new("curl")
        .args(["-sS", "--limit-rate", "2M", &format!("{url}/images/compute/prod/rootfs")])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    head.ok(&["image", "tag", "compute:two", "compute:prod"]);
    assert_eq!((boots("nid001"), boots("nid002")), (second["version"].clone(), first["version"].clone()));
    let octets = slow.wait_with_output().unwrap().stdout;
    let digest = format!("sha256:{}", sha256(&octets));
    assert!(
        [&first, &second].iter().any(|image| image["root"]["digest"] == digest),
        "one or the other, whole"
    );
    head.ok(&["image", "rollback", "compute:prod"]);
    assert_eq!(boots("nid001"), first["version"]);
    let diff = head.json(&["image", "diff", "compute:one", "compute:two"]);
    assert!(diff["fields"]["root"].is_array() && diff["fields"].get("params").is_none(), "{diff}");
    let refused = head.refused(&["image", "untag", "compute:prod"]);
    assert!(refused.contains("the assignment for node"), "{refused}");
    let refused = head.refused(&["image", "rm", "compute:one"]);
    assert!(refused.contains("is named by compute:one, compute:prod"), "{refused}");
    let refused = head.refused(&["boot", "set", "nid001", "--image", "compute:three"]);
    assert!(refused.contains("there is no image compute:three"), "{refused}");
}

#[test]
fn the_same_files_are_one_version_and_are_sent_once() {
    let (head, _) = Head::open();
    let folder = directory(&head, "compute", 1);
    let first = import(&head, "compute:a", &folder, &[]);
    let again = import(&head, "compute:b", &folder, &[]);
    assert_eq!(first["version"], again["version"]);
    assert_eq!(head.json(&["image", "list"]).as_array().unwrap().len(), 1);
    let other = import(&head, "compute:c", &folder, &["--params", "quiet"]);
    assert_ne!(first["version"], other["version"]);
    let stored = walk(&head.folder.path().join("data/blobs/sha256"));
    assert_eq!(stored, 3, "kernel, initrd, root");
}

fn walk(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { walk(&path) } else { usize::from(path.extension().is_none()) })
        .sum()
}

#[test]
fn images_survive_the_head_and_what_is_bad_is_refused_by_field() {
    let (mut head, _) = Head::open();
    let folder = directory(&head, "compute", 1);
    let image = import(&head, "compute", &folder, &["--label", "by=ci"]);
    head.restart();
    assert_eq!(head.json(&["image", "show", "compute"]), image);
    // Kernel and root that do not belong together are refused before anything is sent.
    fs::rename(folder.join("rootfs-6.1.0-28-amd64"), folder.join("rootfs-6.1.0-99-amd64")).unwrap();
    let refused = head.refused(&["image", "import", "compute", folder.to_str().unwrap()]);
    assert!(refused.contains("6.1.0-28-amd64"), "{refused}");
    fs::rename(folder.join("rootfs-6.1.0-99-amd64"), folder.join("rootfs-6.1.0-28-amd64")).unwrap();
    file(&folder.join("rootfs-6.1.0-28-amd64"), b"no file system", 9, 10_000);
    let refused = head.refused(&["image", "import", "compute", folder.to_str().unwrap()]);
    assert!(refused.contains("is no squashfs, erofs or ext image"), "{refused}");
    for bad in ["Compute/x", "../x", "traffic", "a:b:c"] {
        let refused = head.run(&["image", "import", bad, folder.to_str().unwrap()]);
        assert!(!refused.status.success(), "{bad}");
    }
}
