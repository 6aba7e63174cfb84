//! Power loss, 200 times: the daemon is killed at random moments while clients lease and imports run. What it
//! acknowledged must be in the store, which must open every time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod netns;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster::base::Mac;
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::model::{Arch, LeaseKey, LeaseState};
use muster::store::open_redb;
use muster::wire::dhcp::{Message, MessageType};
use netns::{Lab, MUSTER};

const ROUNDS: u32 = 200;

/// Machines that lease; the pool has more addresses than that.
const MACHINES: u32 = 100;

/// Set in the process that plays the machines.
const PLAY: &str = "MUSTER_TEST_PLAY_MACHINES";

/// A small generator: the moments of a run come back with its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(limit)).unwrap()
    }
}

/// Not a test by itself: the machines, played in the clients' namespace. Prints a line for each ACK.
#[test]
fn machines() {
    let Ok(seed) = std::env::var(PLAY) else { return };
    let mut dice = Dice(seed.parse().unwrap());
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind_device(Some(b"eth0")).unwrap();
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
    let socket = UdpSocket::from(socket);
    loop {
        let number = dice.below(MACHINES);
        let mac = Mac([2, 0, 0, 0, 1, u8::try_from(number).unwrap()]);
        let machine = Imagined {
            client: Client::System,
            arch: Arch::X86_64,
            mac,
            uuid: None,
            xid: dice.below(u32::MAX),
        };
        let Some(offer) = exchange(&socket, machine.discover(), MessageType::Offer) else { continue };
        let Some(ack) = exchange(&socket, machine.request(&offer), MessageType::Ack) else { continue };
        // One write: a line is whole or not there when the parent ends us.
        let line = format!("{mac} {}\n", ack.yiaddr);
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    }
}

fn exchange(socket: &UdpSocket, mut message: Message, wanted: MessageType) -> Option<Message> {
    message.flags = Message::BROADCAST;
    socket.send_to(&message.emit(), (Ipv4Addr::BROADCAST, 67)).ok()?;
    let mut buffer = [0; 2048];
    for _ in 0..20 {
        let (length, _) = socket.recv_from(&mut buffer).ok()?;
        let answer = Message::parse(&buffer[..length]).ok()?;
        if answer.xid == message.xid && answer.message_type() == Some(wanted) {
            return Some(answer);
        }
    }
    None
}

/// What was acknowledged, and how often.
#[derive(Default)]
struct Promises {
    leases: BTreeMap<Mac, Ipv4Addr>,
    acks: usize,
    nodes: BTreeSet<String>,
    revision: u64,
}

/// Plays machines until their process is ended; takes in their lines.
fn play(
    lab: &Lab,
    seed: u64,
    promises: &Arc<Mutex<Promises>>,
) -> (std::process::Child, std::thread::JoinHandle<()>) {
    let mut child = Command::new("ip")
        .args(["netns", "exec", &lab.client])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "machines", "--nocapture"])
        .env(PLAY, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let promises = Arc::clone(promises);
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Some((mac, address)) = line.split_once(' ') else { continue };
            if let (Ok(mac), Ok(address)) = (mac.parse(), address.parse()) {
                let mut promises = promises.lock().unwrap();
                promises.leases.insert(mac, address);
                promises.acks += 1;
            }
        }
    });
    (child, reader)
}

/// Imports small files one after the other until told to stop; notes those that were acknowledged.
fn import(
    lab: &Lab,
    round: u32,
    stop: &Arc<AtomicBool>,
    promises: &Arc<Mutex<Promises>>,
) -> std::thread::JoinHandle<()> {
    let (config, data) = (lab.path("muster.toml"), lab.path("data"));
    let (stop, promises) = (Arc::clone(stop), Arc::clone(promises));
    std::thread::spawn(move || {
        for count in 0_u32.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let names: Vec<String> = (0..3).map(|k| format!("r{round}-{count}-{k}")).collect();
            let entry = |(k, name): (usize, &String)| {
                format!(
                    "- {{name: {name}, interfaces: [{{mac_addr: '06:{:02x}:{:02x}:{:02x}:{:02x}:{k:02x}'}}]}}\n",
                    round >> 8,
                    round & 255,
                    count >> 8 & 255,
                    count & 255
                )
            };
            let text = format!("nodes:\n{}", names.iter().enumerate().map(entry).collect::<String>());
            let mut child = Command::new(MUSTER)
                .arg("--config")
                .arg(&config)
                .arg("--data-dir")
                .arg(&data)
                .args(["import", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
            if child.wait().unwrap().success() {
                promises.lock().unwrap().nodes.extend(names);
            }
        }
    })
}

/// Opens the store and holds it to the promises.
fn check(lab: &Lab, promises: &mut Promises, round: u32) {
    // Without a writer's thread, which would hold the file for a moment longer.
    let backend = open_redb(&lab.path("data/muster.redb"));
    let loaded = backend.and_then(|mut backend| backend.load());
    let loaded = loaded.unwrap_or_else(|error| panic!("round {round}: {error}"));
    assert!(loaded.revision.0 >= promises.revision, "round {round}: the revision fell");
    promises.revision = loaded.revision.0;
    let names: HashSet<&str> = loaded.inventory.nodes.values().map(|node| node.name.as_str()).collect();
    for name in &promises.nodes {
        assert!(names.contains(name.as_str()), "round {round}: the acknowledged node {name} is gone");
    }
    let bound: BTreeMap<Ipv4Addr, &LeaseKey> = loaded
        .leases
        .iter()
        .filter(|lease| lease.state == LeaseState::Bound)
        .map(|lease| (lease.address, &lease.key))
        .collect();
    for (mac, address) in &promises.leases {
        assert_eq!(
            bound.get(address),
            Some(&&LeaseKey::Mac(*mac)),
            "round {round}: {mac} was told {address}"
        );
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_in_200_power_losses() {
    if netns::is_skipped() || std::env::var_os(PLAY).is_some() {
        return;
    }
    let seed = u64::from(std::process::id()) | 1 << 32;
    eprintln!("seed {seed}");
    let mut dice = Dice(seed);
    let mut lab = Lab::new();
    lab.configure("range = [\"192.0.2.10-192.0.2.250\"]\nshort_lease = \"1d\"");
    let promises = Arc::new(Mutex::new(Promises::default()));
    for round in 0..ROUNDS {
        lab.serve();
        let stop = Arc::new(AtomicBool::new(false));
        let (mut machines, reader) = play(&lab, seed + u64::from(round), &promises);
        let importer = import(&lab, round, &stop, &promises);
        std::thread::sleep(Duration::from_millis(u64::from(20 + dice.below(230))));
        lab.kill();
        stop.store(true, Ordering::Relaxed);
        let _ = machines.kill();
        machines.wait().unwrap();
        reader.join().unwrap();
        importer.join().unwrap();
        if round % 10 == 9 {
            check(&lab, &mut promises.lock().unwrap(), round);
        }
    }
    let promises = promises.lock().unwrap();
    eprintln!("{} acks, {} nodes, revision {}", promises.acks, promises.nodes.len(), promises.revision);
    // The test shows nothing if nothing was promised.
    assert!(promises.acks > 1000, "only {} acks", promises.acks);
    assert!(promises.nodes.len() > 300, "only {} nodes", promises.nodes.len());
}
