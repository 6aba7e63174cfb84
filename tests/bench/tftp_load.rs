//! Loads a TFTP server with parallel downloads and prints what came: for muster and its peers alike.
//!
//! ```text
//! tftp_load ADDRESS:PORT FILE [clients=64] [seconds=5] [blksize=1468] [windowsize=1] [pid=PID] [from=ADDRESS]
//! ```
//! Prints one line: `MB/s 123.4 transfers 56 failed 0 window 4 cpu_s_per_gb 1.23 both 2.34`. `window` is what the
//! server agreed to. `cpu_s_per_gb` is what the server with this process id used, children included as long as they
//! live or are waited for; `both` adds this program's own.
//!
//! Each client has an address of its own, as machines do: the first is `from`, default 127.1.0.1 for a server on
//! loopback; elsewhere all must be this machine's. Without, all clients share one.
//!
//! A client here does what firmware does: one socket, an acknowledgement for each window, patience of a second.
//! Nothing that only a good network stack can do, such as receiving several datagrams as one.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::cast_possible_truncation, reason = "a block has at most 65,464 octets")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(1);
/// Of Linux, whatever the kernel's own clock is.
const TICKS_PER_SECOND: f64 = 100.0;
/// Silences in a row after which a download has failed.
const SILENCES_MAX: u32 = 5;

#[derive(Default)]
struct Totals {
    octets: AtomicU64,
    transfers: AtomicU64,
    failed: AtomicU64,
    window: AtomicU64,
}

struct Wish {
    server: SocketAddr,
    request: Vec<u8>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [server, file, settings @ ..] = &arguments[..] else {
        // `cargo bench` and `cargo test` call every bench without arguments.
        println!(
            "usage: tftp_load ADDRESS:PORT FILE [clients=N] [seconds=N] [blksize=N] [windowsize=N] [pid=N]"
        );
        return;
    };
    let setting = |name: &str, default: u64| -> u64 {
        let value = settings.iter().find_map(|setting| setting.strip_prefix(name)?.strip_prefix('='));
        value.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
    };
    let (block, window) = (setting("blksize", 1468), setting("windowsize", 1));
    let mut request = format!("\0\x01{file}\0octet\0blksize\0{block}\0").into_bytes();
    if window > 1 {
        request.extend(format!("windowsize\0{window}\0").bytes());
    }
    let wish = Wish { server: server.parse().expect("ADDRESS:PORT"), request };
    let from = settings.iter().find_map(|setting| setting.strip_prefix("from="));
    let from = from.or_else(|| wish.server.ip().is_loopback().then_some("127.1.0.1"));
    let from: Option<Ipv4Addr> = from.map(|text| text.parse().expect("an IPv4 address"));
    let (totals, pid) = (Totals::default(), setting("pid", 0));
    let (cpu, own) = (cpu_seconds(pid), cpu_seconds(u64::from(std::process::id())));
    let start = Instant::now();
    let end = start + Duration::from_secs(setting("seconds", 5));
    std::thread::scope(|scope| {
        for client in 0..u32::try_from(setting("clients", 64)).expect("fewer clients") {
            let (wish, totals) = (&wish, &totals);
            let own = from.map_or(Ipv4Addr::UNSPECIFIED, |first| Ipv4Addr::from(u32::from(first) + client));
            scope.spawn(move || {
                while Instant::now() < end {
                    match download(wish, totals, own, end) {
                        Some(true) => totals.transfers.fetch_add(1, Ordering::Relaxed),
                        Some(false) => totals.failed.fetch_add(1, Ordering::Relaxed),
                        None => 0, // the time was up
                    };
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    let megabytes = read(&totals.octets) as f64 / 1e6;
    let own = cpu_seconds(u64::from(std::process::id())) - own;
    let (cost, gigabytes) = (cpu_seconds(pid) - cpu, (megabytes / 1e3).max(1e-9));
    println!(
        "MB/s {:.1} transfers {} failed {} window {} cpu_s_per_gb {:.2} both {:.2}",
        megabytes / seconds,
        read(&totals.transfers),
        read(&totals.failed),
        read(&totals.window),
        cost / gigabytes,
        (cost + own) / gigabytes,
    );
}

/// One download; None if it was cut off by the end of time.
fn download(wish: &Wish, totals: &Totals, own: Ipv4Addr, end: Instant) -> Option<bool> {
    let socket = UdpSocket::bind((own, 0)).expect("an address of this machine, and a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    let mut peer = wish.server;
    let (mut window, mut block_bytes, mut expected, mut silences) = (1_u64, 512_usize, 1_u64, 0);
    let (mut buffer, mut last) = ([0_u8; 65_536], wish.request.clone());
    socket.send_to(&last, peer).ok()?;
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            silences += 1;
            if silences > SILENCES_MAX {
                return Some(false);
            }
            socket.send_to(&last, peer).ok()?;
            continue;
        };
        silences = 0;
        peer = from;
        let acknowledge = |block: u64| [0, 4, block.to_be_bytes()[6], block.to_be_bytes()[7]];
        match (buffer[1], &buffer[..length]) {
            (6, packet) => {
                (block_bytes, window) = agreed(&packet[2..]);
                totals.window.store(window, Ordering::Relaxed);
                last = acknowledge(0).to_vec();
            }
            (3, packet) => {
                let number = u64::from(u16::from_be_bytes([packet[2], packet[3]]));
                if number != expected & 0xffff {
                    continue; // out of turn: the window is asked for again when all is silent
                }
                totals.octets.fetch_add(packet.len() as u64 - 4, Ordering::Relaxed);
                let is_last = packet.len() < block_bytes + 4;
                expected += 1;
                if !is_last && (expected - 1) % window != 0 {
                    last = acknowledge(expected - 1).to_vec();
                    continue;
                }
                last = acknowledge(expected - 1).to_vec();
                if is_last {
                    socket.send_to(&last, peer).ok()?;
                    return Some(true);
                }
                if Instant::now() > end {
                    socket.send_to(b"\0\x05\0\0stop\0", peer).ok()?;
                    return None;
                }
            }
            _ => return Some(false),
        }
        socket.send_to(&last, peer).ok()?;
    }
}

/// Block size and window of an OACK.
fn agreed(options: &[u8]) -> (usize, u64) {
    let texts: Vec<&str> =
        options.split(|octet| *octet == 0).filter_map(|text| std::str::from_utf8(text).ok()).collect();
    let value = |name| {
        let pair = texts.chunks(2).find(|pair| pair[0].eq_ignore_ascii_case(name));
        pair.and_then(|pair| pair.get(1)?.parse::<u64>().ok())
    };
    (value("blksize").unwrap_or(512) as usize, value("windowsize").unwrap_or(1))
}

/// CPU seconds of a process, its threads, and its children: those that have ended and those that have not.
fn cpu_seconds(pid: u64) -> f64 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut ticks = 0;
    for entry in entries {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<u64> = fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        // Behind the name: state, parent, …, and from the 12th own and the children's times.
        let [_, parent, ..] = fields[..] else { continue };
        let own = entry.file_name().to_str().is_some_and(|name| name == pid.to_string());
        if own || parent == pid {
            ticks += fields.iter().skip(11).take(4).sum::<u64>();
        }
    }
    f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / TICKS_PER_SECOND
}
