//! The TFTP server against clients that others wrote: curl, tftp-hpa, atftp, busybox. On loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use muster::engine::tftp::{Outcome, VirtualFile};
use muster::transport::loaders::Loaders;
use muster::transport::tasks::Tasks;
use muster::transport::tftp::{Fate, Tftp, TftpEvent, TftpHandle};
use tokio::net::UdpSocket;

struct Bench {
    folder: tempfile::TempDir,
    handle: TftpHandle,
    tasks: Tasks,
    events: Arc<Mutex<Vec<TftpEvent>>>,
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect()
}

fn bench(files: &[(&str, usize)], single_port: bool) -> Bench {
    bench_on("127.0.0.1:0", files, single_port)
}

fn bench_on(listen: &str, files: &[(&str, usize)], single_port: bool) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let served = folder.path().join("served");
    std::fs::create_dir(&served).unwrap();
    for (name, length) in files {
        std::fs::write(served.join(name), content(*length)).unwrap();
    }
    let events: Arc<Mutex<Vec<TftpEvent>>> = Arc::default();
    let told = Arc::clone(&events);
    let tasks = Tasks::new();
    let server = Tftp {
        listen: vec![listen.parse().unwrap()],
        loaders: Arc::new(Loaders::open(Vec::new(), Some(served))),
        virtual_files: Arc::new(|request| {
            let text = format!("#!ipxe\n# {:?} for {} at {}\n", request.file, request.client, request.local);
            (request.file == VirtualFile::AutoexecIpxe).then(|| Bytes::from(text))
        }),
        allow: Arc::new(|_| true),
        on_event: Arc::new(move |event| told.lock().unwrap().push(event)),
        single_port,
        ports: None,
        mtu: 1500,
    };
    let handle = server.start(&tasks).unwrap();
    Bench { folder, handle, tasks, events }
}

impl Bench {
    fn address(&self) -> SocketAddr {
        self.handle.addresses[0]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn client(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        let run =
            move || command.output().unwrap_or_else(|error| panic!("{error}; see scripts/test for packages"));
        tokio::task::spawn_blocking(run).await.unwrap().status.success()
    }

    async fn curl(&self, name: &str, to: &Path, more: &[&str]) -> bool {
        let url = format!("tftp://{}/{name}", self.address());
        let base = ["-sS", "--path-as-is", "--max-time", "60", "-o", to.to_str().unwrap(), &url];
        self.client("curl", &[&base[..], more].concat()).await
    }

    /// Waits until the server has told of so many requests.
    async fn events(&self, count: usize) -> Vec<TftpEvent> {
        for _ in 0..200 {
            let events = self.events.lock().unwrap().clone();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("only {:?}", self.events.lock().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_foreign_clients_get_the_file_in_both_port_modes() {
    const SIZE: usize = 3_000_001;
    for single_port in [false, true] {
        let bench = bench(&[("ipxe.efi", SIZE)], single_port);
        let port = bench.address().port().to_string();
        assert!(bench.curl("ipxe.efi", &bench.path("curl"), &["--tftp-blksize", "1468"]).await);
        let get = ["-m", "binary", "127.0.0.1", &port, "-c", "get", "ipxe.efi", "tftp-hpa"];
        assert!(bench.client("tftp", &get).await);
        let options = ["--option", "blksize 1428", "--option", "windowsize 16", "--get"];
        let get = ["-r", "ipxe.efi", "-l", "atftp", "127.0.0.1", &port];
        assert!(bench.client("atftp", &[&options[..], &get[..]].concat()).await);
        let host = format!("127.0.0.1:{port}");
        let get = ["busybox", "tftp", "-b", "65464", "-g", "-r", "ipxe.efi", "-l", "busybox"];
        let get = [&get[1..], &["127.0.0.1", &port]].concat();
        assert!(bench.client("busybox", &get).await, "{host}");
        for client in ["curl", "tftp-hpa", "atftp", "busybox"] {
            assert!(std::fs::read(bench.path(client)).unwrap() == content(SIZE), "{client} {single_port}");
        }
        let events = bench.events(4).await;
        for event in &events {
            assert_eq!(event.fate, Fate::Ended(Outcome::Done), "{event:?}");
            assert_eq!((event.file.as_str(), event.bytes), ("ipxe.efi", SIZE as u64));
        }
        assert_eq!(bench.handle.counters.completed.value(), 4);
        bench.tasks.stop(Duration::from_secs(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_around_block_multiples_and_the_wrap_arrive_whole() {
    let wrap = 512 * 65_536;
    let sizes = [0, 1, 511, 512, 513, 1024, wrap - 1, wrap, wrap + 513];
    for size in sizes {
        let bench = bench(&[("file.efi", size)], false);
        // curl 7.88 takes a size of 0 in an OACK for an error.
        let more = if size == 0 { &["--tftp-no-options"][..] } else { &["--tftp-blksize", "512"] };
        assert!(bench.curl("file.efi", &bench.path("got"), more).await, "{size}");
        let got = std::fs::read(bench.path("got")).unwrap_or_default();
        assert!(got == content(size), "{size}");
        bench.tasks.stop(Duration::from_secs(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn netascii_round_trips_and_virtual_files_know_their_asker() {
    let bench = bench(&[("file.efi", 70_000)], false);
    let port = bench.address().port().to_string();
    assert!(
        bench.client("tftp", &["-m", "ascii", "127.0.0.1", &port, "-c", "get", "file.efi", "ascii"]).await
    );
    assert!(std::fs::read(bench.path("ascii")).unwrap() == content(70_000));
    assert!(bench.curl("EFI/autoexec.ipxe", &bench.path("script"), &[]).await);
    let script = std::fs::read_to_string(bench.path("script")).unwrap();
    assert_eq!(script, "#!ipxe\n# AutoexecIpxe for 127.0.0.1 at 127.0.0.1\n");
    bench.tasks.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_files_escapes_and_writes_are_refused() {
    let bench = bench(&[("file.efi", 10)], false);
    std::fs::write(bench.path("secret"), "x").unwrap();
    for name in ["absent.efi", "../secret", "%2e%2e/secret", "config.ipxe"] {
        assert!(!bench.curl(name, &bench.path("out"), &[]).await, "{name}");
    }
    let upload = bench.path("secret");
    assert!(!bench.curl("up", &bench.path("out"), &["-T", upload.to_str().unwrap()]).await);
    let fates: Vec<Fate> = bench.events(4).await.iter().map(|event| event.fate).collect();
    assert_eq!(fates, [Fate::NotFound, Fate::Refused, Fate::Refused, Fate::NotFound]);
    assert_eq!(bench.handle.counters.refused.value(), 3);
    bench.tasks.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_from_the_address_that_was_asked() {
    for single_port in [false, true] {
        let bench = bench_on("0.0.0.0:0", &[("file.efi", 100_000)], single_port);
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let asked = SocketAddr::new("127.0.0.2".parse().unwrap(), bench.address().port());
        client.send_to(b"\0\x01file.efi\0octet\0", asked).await.unwrap();
        let mut buffer = [0; 600];
        let wait = Duration::from_secs(5);
        let (length, from) =
            tokio::time::timeout(wait, client.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!((length, from.ip()), (516, asked.ip()));
        assert_eq!(from.port() == asked.port(), single_port);
        client.send_to(b"\0\x05\0\0stop\0", from).await.unwrap();
        assert_eq!(bench.events(1).await[0].fate, Fate::Ended(Outcome::Aborted(0)));
        bench.tasks.stop(Duration::from_secs(2)).await;
    }
}

/// A client that asked for the file from an address of its own and has heard the first block.
async fn client(bench: &Bench, from: Ipv4Addr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((from, 0)).await.unwrap();
    socket.send_to(b"\0\x01file.efi\0octet\0", bench.address()).await.unwrap();
    let server = first_block(&socket).await;
    (socket, server)
}

async fn first_block(socket: &UdpSocket) -> SocketAddr {
    let mut buffer = [0; 600];
    let heard = tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut buffer));
    let (length, server) = heard.await.expect("an answer").unwrap();
    assert_eq!((length, &buffer[..4]), (516, &[0, 3, 0, 1][..]));
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_silent_downloads_hold_up_nobody_and_all_end_when_the_server_stops() {
    let bench = bench(&[("file.efi", 1_000_000)], false);
    let mut silent = Vec::new();
    for number in 0..150 {
        silent.push(client(&bench, Ipv4Addr::new(127, 2, 0, number)).await);
    }
    assert!(bench.curl("file.efi", &bench.path("got"), &["--tftp-blksize", "1468"]).await);
    assert!(std::fs::read(bench.path("got")).unwrap() == content(1_000_000));
    // Those that wait are still there: an acknowledgement is answered.
    for (socket, server) in [&silent[0], &silent[149]] {
        socket.send_to(&[0, 4, 0, 1], server).await.unwrap();
        let mut buffer = [0; 600];
        while buffer[3] != 2 {
            let heard = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer));
            heard.await.expect("the second block").unwrap();
        }
    }
    let stopped = tokio::time::timeout(Duration::from_secs(4), bench.tasks.stop(Duration::from_secs(8)));
    stopped.await.expect("nothing has to be cut off");
    assert_eq!(bench.events(151).await.len(), 151, "each end is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_again_is_answered_again_by_the_same_transfer() {
    for single_port in [false, true] {
        let bench = bench(&[("file.efi", 1_000_000)], single_port);
        let (socket, server) = client(&bench, Ipv4Addr::LOCALHOST).await;
        socket.send_to(b"\0\x01file.efi\0octet\0", bench.address()).await.unwrap();
        assert_eq!(first_block(&socket).await, server);
        assert_eq!(bench.handle.counters.transfers.value(), 1);
        bench.tasks.stop(Duration::from_secs(2)).await;
    }
}
