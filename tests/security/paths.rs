//! Names that lead out of what is served, and archives that want more than their place.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tar::EntryType as Kind;

use crate::daemon::{Daemon, files};

const SECRET: &[u8] = b"what lies beside the served folders";

/// T47's corpus, for names of files.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "../secret",
        "../../secret",
        "../../../../../../../../etc/passwd",
        "..",
        ".",
        "./..",
        "a/../../secret",
        "..%2fsecret",
        "..%252fsecret",
        "%2e%2e/secret",
        "%2e%2e%2fsecret",
        ".%2e/secret",
        "..\\secret",
        "..\\..\\..\\etc\\passwd",
        "..%5csecret",
        "....//secret",
        "..;/secret",
        "/etc/passwd",
        "//etc/passwd",
        "/etc/shadow",
        "/proc/self/environ",
        "/dev/zero",
        "file:///etc/passwd",
        "C:\\secret",
        "\\\\127.0.0.1\\secret",
        "secret%00.efi",
        "snponly.efi/../../../secret",
        "~root/secret",
        "$(id)",
        "out",
        "out/secret",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push(vec![b'a'; 512]);
    names.push(b"../".repeat(150));
    // Two dots and a slash in more octets than they need, raw and escaped.
    names.push(b"\xc0\xae\xc0\xae/secret".to_vec());
    names.push(b"..\xc0\xafsecret".to_vec());
    names.push(b"\xe0\x80\xae\xe0\x80\xae/secret".to_vec());
    names.push(b"%c0%ae%c0%ae%c0%afsecret".to_vec());
    names.push("\u{ff0e}\u{ff0e}/secret".as_bytes().to_vec());
    names
}

/// A head whose calls of the kernel that name files are written down.
fn watched() -> Daemon {
    let strace = ["strace", "-D", "-f", "-qq", "-e", "trace=%file", "-s", "4096", "-o", "trace"];
    let images = "[images]\nroot = \"images\"\n";
    Daemon::through(&strace, images, |folder| {
        fs::write(folder.join("secret"), SECRET).unwrap();
        for name in ["images", "data", "data/loaders"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        fs::write(folder.join("images/root.img"), "root").unwrap();
        symlink("../secret", folder.join("images/out")).unwrap();
        fs::write(folder.join("data/loaders/snponly.efi"), "a loader").unwrap();
        symlink("../../secret", folder.join("data/loaders/out")).unwrap();
    })
}

/// Lines that were written down since this length.
fn since(head: &Daemon, length: usize) -> Vec<String> {
    // strace writes when it is told, not when it is asked.
    std::thread::sleep(Duration::from_millis(300));
    let text = fs::read(head.path("trace")).unwrap();
    String::from_utf8_lossy(&text[length..]).lines().map(str::to_owned).collect()
}

fn holds_secret(octets: &[u8]) -> bool {
    octets.windows(SECRET.len()).any(|window| window == SECRET)
}

#[test]
fn t47_no_name_leads_out_over_tftp_and_http_and_no_file_is_touched_for_one() {
    let head = watched();
    assert_eq!(head.http("GET", b"/images/root.img", "", b"").1, b"root");
    assert_eq!(head.http("GET", b"/loaders/snponly.efi", "", b"").1, b"a loader");
    let loader = head.tftp(b"\0\x01snponly.efi\0octet\0").unwrap();
    assert_eq!(loader, b"\0\x03\0\x01a loader");
    // The group of the socket is looked up after the first answers.
    let mut begun = 0;
    loop {
        std::thread::sleep(Duration::from_millis(400));
        let length = fs::read(head.path("trace")).unwrap().len();
        if length == begun {
            break;
        }
        begun = length;
    }
    assert!(begun > 1000, "the kernel's calls are written down");

    for name in names() {
        let shown = String::from_utf8_lossy(&name).into_owned();
        let answer = head.tftp(&[b"\0\x01", name.as_slice(), b"\0octet\0"].concat());
        // What is too long for a request is not answered.
        if let Some(answer) = answer {
            assert_eq!(answer[..2], [0, 5], "TFTP {shown}: {answer:?}");
            assert!([1, 2, 4].contains(&answer[3]), "TFTP {shown}: {answer:?}");
        }
        let write = head.tftp(&[b"\0\x02", name.as_slice(), b"\0octet\0"].concat());
        if let Some(write) = write {
            assert!(write[..2] == [0, 5] && [2, 4].contains(&write[3]), "TFTP write {shown}: {write:?}");
        }
        for stem in ["/images/", "/loaders/", "/openchami/", "/cloud-init/", "/boot/v1/", "/b/", "/"] {
            // Octets that no request may hold are the server's to refuse too.
            let path = [stem.as_bytes(), &name].concat();
            let (status, body) = head.http("GET", &path, "", b"");
            assert!((400..500).contains(&status), "GET {stem}{shown}: {status}");
            assert!(!holds_secret(&body), "GET {stem}{shown}");
        }
    }
    let write = head.tftp(b"\0\x02snponly.efi\0octet\0").unwrap();
    assert_eq!(write[..4], [0, 5, 0, 2], "nothing is written, whatever the name");
    let (status, _) = head.http("PUT", b"/images/root.img", "", b"x");
    assert_eq!(status, 401);
    assert_eq!(fs::read(head.path("images/root.img")).unwrap(), b"root");

    let calls = since(&head, begun);
    assert!(calls.iter().any(|call| call.contains("openat2")), "the attempts are written down: {calls:?}");
    let own = head.folder.path().display().to_string();
    let opened: Vec<&String> =
        calls.iter().filter(|call| call.contains("open") && !call.contains("= -1")).collect();
    for call in &opened {
        let outside = ["passwd", "shadow", "secret", "environ", "/dev/zero", "out\"", ".."];
        assert!(!outside.iter().any(|name| call.contains(name)), "{call}");
        let relative = call.contains("\"images/") || call.contains(&own) || !call.contains("\"/");
        let quiet = ["/proc/", "/sys/", "/etc/"].iter().any(|place| call.contains(place));
        assert!(relative || quiet, "{call}");
    }
    // The head itself can still be asked for what there is.
    assert_eq!(head.http("GET", b"/images/root.img", "", b"").1, b"root");
    assert_eq!(head.tftp(b"\0\x01/boot/../snponly.efi\0octet\0").unwrap()[..2], [0, 5]);
}

/// T47, uploads: what `muster image import` refuses leaves the head's disk as it was. The archives in detail are
/// `src/cli/image/source/tests/escapes.rs`.
#[test]
fn t47_refused_archives_leave_the_disk_of_the_head_as_it_was() {
    let head = Daemon::start("");
    let build = |name: &str, make: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let mut builder = tar::Builder::new(Vec::new());
        make(&mut builder);
        let path = head.path(name);
        fs::write(&path, builder.into_inner().unwrap()).unwrap();
        path
    };
    let entry = |builder: &mut tar::Builder<Vec<u8>>, kind: Kind, name: &str, target: &str, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_cksum();
        builder.append(&header, std::io::repeat(0).take(size)).unwrap();
    };
    let hostile = [
        build("climbs.tar", &|tar| entry(tar, Kind::Regular, "../../climbed", "", 4)),
        build("through.tar", &|tar| {
            entry(tar, Kind::Symlink, "etc", "/tmp", 0);
            entry(tar, Kind::Regular, "etc/through", "", 4);
        }),
        build("hard.tar", &|tar| entry(tar, Kind::Link, "shadow", "../../etc/shadow", 0)),
        build("device.tar", &|tar| {
            entry(tar, Kind::Char, "vmlinuz", "", 0);
            entry(tar, Kind::Fifo, "initramfs.img", "", 0);
        }),
        {
            let whole = build("whole.tar", &|tar| entry(tar, Kind::Regular, "boot/vmlinuz-1", "", 90_000));
            let octets = fs::read(&whole).unwrap();
            fs::write(head.path("short.tar"), &octets[..octets.len() / 2]).unwrap();
            head.path("short.tar")
        },
        {
            let bomb = build("bomb.tar", &|tar| entry(tar, Kind::Regular, "etc/zeros", "", 80 << 20));
            let status = std::process::Command::new("gzip").arg("-f").arg(&bomb).status().unwrap();
            assert!(status.success());
            head.path("bomb.tar.gz")
        },
    ];
    let blobs = || {
        let files = files(&head.path("data/blobs"));
        let octets: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        (files, octets)
    };
    let (before, revision) = (blobs(), head.ok(&["image", "list", "--json"], b""));
    for archive in &hostile {
        let output = head.muster(&["image", "import", "bad:1", archive.to_str().unwrap()], b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{}: {said}", archive.display());
        assert!(!said.contains("panicked"), "{}: {said}", archive.display());
        assert_eq!(blobs(), before, "{}: {said}", archive.display());
    }
    assert_eq!(head.ok(&["image", "list", "--json"], b""), revision);
    assert!(!head.path("climbed").exists() && !head.path("data/climbed").exists());
}
