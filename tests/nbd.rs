//! The NBD server against clients that others wrote (libnbd's nbdinfo and nbdcopy, QEMU's qemu-img and qemu-io)
//! and against clients that nobody should write. On loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster::transport::nbd::{Ended, Export, Nbd, NbdHandle, threads};
use muster::transport::tasks::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const SIZE: usize = 5_000_192; // a multiple of 512 and of nothing larger
const NAME: &str = "compute:prod";

struct Bench {
    folder: tempfile::TempDir,
    handle: NbdHandle,
    tasks: Tasks,
    events: Arc<Mutex<Vec<Ended>>>,
}

fn content() -> Vec<u8> {
    (0..SIZE).map(|index| u8::try_from((index * 7 + index / 4096) % 251).unwrap()).collect()
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    std::fs::write(&image, content()).unwrap();
    let events: Arc<Mutex<Vec<Ended>>> = Arc::default();
    let told = Arc::clone(&events);
    let tasks = Tasks::new();
    let server = Nbd {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        open: Arc::new(move |name, _| {
            let file = File::open(&image).unwrap();
            (name == NAME).then(|| Export { file, size: SIZE as u64, label: name.to_owned(), held: None })
        }),
        names: Arc::new(|_| vec![NAME.to_owned()]),
        allow: Arc::new(|client| client != IpAddr::V4(Ipv4Addr::new(127, 6, 6, 6))),
        on_end: Arc::new(move |ended| told.lock().unwrap().push(ended)),
        runtime: threads(&tasks).unwrap(),
    };
    let handle = server.start(&tasks).unwrap();
    Bench { folder, handle, tasks, events }
}

impl Bench {
    fn address(&self) -> SocketAddr {
        self.handle.addresses[0]
    }

    fn url(&self, name: &str) -> String {
        format!("nbd://{}/{name}", self.address())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = tokio::time::timeout(Duration::from_secs(60), run).await;
        let output = output.unwrap_or_else(|_| panic!("{program} hangs")).unwrap();
        output.unwrap_or_else(|error| panic!("{program}: {error}; see tests/vm/setup"))
    }

    /// What the program printed; it must have succeeded.
    async fn good(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments).await;
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        said
    }

    /// What the program complained about; it must have failed.
    async fn bad(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments).await;
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!output.status.success(), "{program} {arguments:?}: {said}");
        said
    }

    /// Waits until so many uses of exports have ended.
    async fn events(&self, count: usize) -> Vec<Ended> {
        for _ in 0..250 {
            let events = self.events.lock().unwrap().clone();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("only {:?}", self.events.lock().unwrap());
    }

    /// A connection from an address of loopback, with the server's greeting read.
    async fn connect(&self, from: Ipv4Addr) -> TcpStream {
        let mut stream = self.dial(from).await;
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"NBDMAGICIHAVEOPT\0\x03");
        stream
    }

    async fn dial(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address()).await.unwrap()
    }

    /// A connection that uses the export, by the old option.
    async fn in_use(&self) -> TcpStream {
        let mut stream = self.connect(Ipv4Addr::LOCALHOST).await;
        stream.write_all(&[0, 0, 0, 3]).await.unwrap();
        stream.write_all(&option(1, NAME.as_bytes())).await.unwrap();
        let mut export = [0; 10];
        stream.read_exact(&mut export).await.unwrap();
        assert_eq!(export[..8], (SIZE as u64).to_be_bytes());
        stream
    }

    async fn stop(self) {
        self.tasks.stop(Duration::from_secs(5)).await;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn option(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

fn request(kind: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

/// Error number and cookie of the next reply.
async fn reply(stream: &mut TcpStream) -> (u32, u64) {
    let mut bytes = [0; 16];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes[..4], 0x6744_6698_u32.to_be_bytes());
    (u32::from_be_bytes(bytes[4..8].try_into().unwrap()), u64::from_be_bytes(bytes[8..].try_into().unwrap()))
}

/// True once the server has closed; what it still says is thrown away.
async fn is_hung_up(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    end.is_ok() // an orderly end and a reset alike
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_clients_read_the_content_and_learn_what_the_export_is_like() {
    let bench = bench();
    let url = bench.url(NAME);
    let info = bench.good("nbdinfo", &[&url]).await;
    for fact in [
        &format!("export-size: {SIZE}")[..],
        "is_read_only: true",
        "can_multi_conn: true",
        "block_size_minimum: 1",
        "block_size_preferred: 4096",
        "block_size_maximum: 33554432",
        "newstyle-fixed",
        "using simple packets",
    ] {
        assert!(info.contains(fact), "{fact} is not in: {info}");
    }
    let list = bench.good("nbdinfo", &["--list", &bench.url("")]).await;
    assert!(list.contains(&format!("export=\"{NAME}\"")), "{list}");
    for connections in ["1", "4"] {
        let to = bench.path(connections);
        bench.good("nbdcopy", &["--connections", connections, &url, to.to_str().unwrap()]).await;
        assert!(std::fs::read(&to).unwrap() == content(), "nbdcopy with {connections} connections");
    }
    bench.good("qemu-img", &["convert", "-f", "raw", "-O", "raw", &url, "converted"]).await;
    assert!(std::fs::read(bench.path("converted")).unwrap() == content());
    bench.good("qemu-img", &["compare", "-f", "raw", "-F", "raw", &url, "image"]).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_read_at_once() {
    let bench = bench();
    let url = bench.url(NAME);
    let copies: Vec<String> = (0..8).map(|number| format!("copy{number}")).collect();
    let copy = |to| {
        let (url, bench) = (&url, &bench);
        async move { bench.good("nbdcopy", &["--connections", "2", url, to]).await }
    };
    futures_util::future::join_all(copies.iter().map(|to| copy(to.as_str()))).await;
    for to in &copies {
        assert!(std::fs::read(bench.path(to)).unwrap() == content(), "{to}");
    }
    let events = bench.events(8).await;
    assert!(events.iter().map(|event| event.read).sum::<u64>() >= 8 * SIZE as u64);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_touched_is_told_when_it_leaves() {
    let bench = bench();
    let reads = ["-c", "read 0 4096", "-c", "read 0 4096", "-c", "read 1M 1k"];
    bench.good("qemu-io", &[&["-r", "-f", "raw"][..], &reads, &[&bench.url(NAME)]].concat()).await;
    let event = bench.events(1).await.remove(0);
    assert_eq!((event.label.as_str(), event.size, event.parted), (NAME, SIZE as u64, true));
    assert!(event.read >= 9216 && event.requests >= 3, "{event:?}");
    assert_eq!(event.touched, 2 * 65_536, "two places of the image");
    assert_eq!(bench.handle.counters.bytes.value(), event.read);
    let mut stream = bench.in_use().await;
    stream.write_all(&request(0, 1, 0, 1)).await.unwrap();
    assert_eq!(reply(&mut stream).await, (0, 1));
    drop(stream);
    assert!(!bench.events(2).await[1].parted, "it broke off");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_lead_nowhere_are_refused() {
    let bench = bench();
    let said = bench.bad("nbdinfo", &[&bench.url("absent")]).await;
    assert!(said.contains("replied with error to opt_go"), "{said}");
    bench.bad("nbdinfo", &[&bench.url("")]).await;
    bench.bad("qemu-img", &["info", &bench.url("..%2Fsecret")]).await;
    assert!(bench.handle.counters.not_found.value() >= 3);
    let mut stream = bench.connect(Ipv4Addr::LOCALHOST).await;
    stream.write_all(&[0, 0, 0, 3]).await.unwrap();
    stream.write_all(&option(1, b"absent")).await.unwrap();
    assert!(is_hung_up(stream).await);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_image_cannot_be_written_and_not_read_beyond_its_end() {
    let bench = bench();
    bench.bad("qemu-io", &["-f", "raw", "-c", "write 0 512", &bench.url(NAME)]).await;
    bench.bad("nbdcopy", &["image", &bench.url(NAME)]).await;
    let mut stream = bench.in_use().await;
    let end = SIZE as u64;
    // Errors come in their place among other replies, and the connection goes on.
    let asked = [
        request(0, 1, end, 1),
        request(0, 2, end - 1, 2),
        request(0, 3, 0, (32 << 20) + 1),
        [request(1, 4, 0, 4), b"evil".to_vec()].concat(),
        request(4, 5, 0, 512),
        request(99, 6, 0, 0),
        request(3, 7, 0, 0),
        request(0, 8, end - 1, 1),
    ];
    stream.write_all(&asked.concat()).await.unwrap();
    for expected in [(22, 1), (22, 2), (75, 3), (1, 4), (1, 5), (95, 6), (0, 7), (0, 8)] {
        assert_eq!(reply(&mut stream).await, expected);
    }
    assert_eq!(stream.read_u8().await.unwrap(), *content().last().unwrap());
    assert_eq!(bench.handle.counters.denied.value(), 6);
    assert!(std::fs::read(bench.path("image")).unwrap() == content(), "nothing has changed");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_answered_in_their_order() {
    let bench = bench();
    let mut stream = bench.in_use().await;
    let places: Vec<u64> = (0..400).map(|index| index * 7919 % (SIZE as u64 - 9000)).collect();
    let asked: Vec<u8> = places.iter().flat_map(|place| request(0, *place, *place, 9000)).collect();
    let content = content();
    let (mut from, mut to) = stream.split();
    let asking = async { to.write_all(&asked).await.unwrap() };
    let reading = async {
        for place in &places {
            let mut bytes = vec![0; 16 + 9000];
            from.read_exact(&mut bytes).await.unwrap();
            assert_eq!(bytes[8..16], place.to_be_bytes());
            let start = usize::try_from(*place).unwrap();
            assert!(bytes[16..] == content[start..start + 9000], "at {place}");
        }
    };
    tokio::join!(asking, reading);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_hung_up_on_and_others_are_served_meanwhile() {
    let bench = bench();
    let garbage: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: head\r\n\r\n",
        &[0, 0, 0, 0],
        &[0xff; 64],
        b"\0\0\0\x03SSH-2.0-OpenSSH_9.2p1",
        b"\0\0\0\x03IHAVEOPT\0\0\0\x07\xff\xff\xff\xff",
        b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x01\xff",
        b"\0\0\0\x03IHAVEOPT\0\0\0\x02\0\0\0\0",
    ];
    for bytes in garbage {
        let mut stream = bench.connect(Ipv4Addr::LOCALHOST).await;
        stream.write_all(bytes).await.unwrap();
        assert!(is_hung_up(stream).await, "{bytes:?}");
    }
    // Options without end, each good by itself.
    let mut stream = bench.connect(Ipv4Addr::LOCALHOST).await;
    stream.write_all(&[0, 0, 0, 3]).await.unwrap();
    let many: Vec<u8> = (0..200).flat_map(|_| option(8, b"")).collect();
    let _ = stream.write_all(&many).await; // the server may be gone before all is written
    assert!(is_hung_up(stream).await);
    // Requests that are none, and a payload that is announced and too long.
    for bytes in [[0x17; 28].to_vec(), request(1, 1, 0, u32::MAX)] {
        let mut stream = bench.in_use().await;
        stream.write_all(&bytes).await.unwrap();
        assert!(is_hung_up(stream).await, "{bytes:?}");
    }
    bench.good("nbdinfo", &[&bench.url(NAME)]).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_options_and_tls_are_refused_and_the_talk_goes_on() {
    let bench = bench();
    let mut stream = bench.connect(Ipv4Addr::LOCALHOST).await;
    stream.write_all(&[0, 0, 0, 1]).await.unwrap();
    for (bytes, expected) in [
        (option(7, b"\0"), 0x8000_0003_u32),
        (option(3, b"x"), 0x8000_0003),
        (option(5, b""), 0x8000_0002),
        (option(8, b""), 0x8000_0001),
        (option(10, b"\0\0\0\0"), 0x8000_0001),
    ] {
        stream.write_all(&bytes).await.unwrap();
        let mut head = [0; 20];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[12..16], expected.to_be_bytes(), "{bytes:?}");
        let length = u32::from_be_bytes(head[16..].try_into().unwrap());
        let mut sentence = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut sentence).await.unwrap();
    }
    stream.write_all(&option(1, NAME.as_bytes())).await.unwrap();
    let mut export = [0; 134]; // with the zeros, which this client did not waive
    stream.read_exact(&mut export).await.unwrap();
    assert_eq!(export[10..], [0; 124]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_clients_with_too_many_connections_are_hung_up_on() {
    let bench = bench();
    assert!(is_hung_up(bench.dial(Ipv4Addr::new(127, 6, 6, 6)).await).await);
    let greedy = Ipv4Addr::new(127, 0, 0, 9);
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(bench.connect(greedy).await);
    }
    assert!(is_hung_up(bench.dial(greedy).await).await);
    assert_eq!(bench.handle.counters.refused.value(), 2);
    held.pop();
    // The place becomes free as soon as the server has seen the end.
    for attempt in 0.. {
        let mut greeting = [0; 18];
        if bench.dial(greedy).await.read_exact(&mut greeting).await.is_ok() {
            break;
        }
        assert!(attempt < 100, "the place does not become free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_silent_connections_hold_nobody_up_and_are_cleared_away() {
    let bench = bench();
    let mut silent = Vec::new();
    for number in 0..1000_u16 {
        let [high, low] = number.to_be_bytes();
        silent.push(bench.connect(Ipv4Addr::new(127, 1, high, low)).await);
    }
    let to = bench.path("copy");
    bench.good("nbdcopy", &[&bench.url(NAME), to.to_str().unwrap()]).await;
    assert!(std::fs::read(&to).unwrap() == content());
    // Each is given ten seconds for its handshake and no more.
    let mut byte = [0; 1];
    for mut stream in silent {
        let end = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut byte)).await;
        assert!(matches!(end.unwrap(), Ok(0) | Err(_)));
    }
    assert!(bench.handle.counters.handshakes_failed.value() >= 1000);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_lets_go_of_idle_clients_at_once() {
    let bench = bench();
    let stream = bench.in_use().await;
    let events = Arc::clone(&bench.events);
    bench.stop().await;
    assert!(is_hung_up(stream).await);
    assert_eq!(events.lock().unwrap().len(), 1, "the use is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_becomes_shorter_breaks_the_connection_instead_of_lying() {
    let bench = bench();
    let mut stream = bench.in_use().await;
    File::options().write(true).open(bench.path("image")).unwrap().set_len(4096).unwrap();
    stream.write_all(&request(0, 1, 0, 8192)).await.unwrap();
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    assert!(end.is_ok() && bytes.len() <= 16 + 4096, "{} octets", bytes.len());
    assert_eq!(bench.handle.counters.broken.value(), 1);
    bench.stop().await;
}
