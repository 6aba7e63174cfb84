//! The DHCP shell on real wires: what a client hears against what is on the disk, links that come late, and
//! other programs (a relay, another server, a client that checks for itself). More clients: `clients.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod netns;
mod site;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use muster::base::{Mac, Timestamp, Uuid};
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::model::{Arch, LeaseState, Revision, SnapshotCell};
use muster::store::{Backend, Batch, Loaded, Observation, Store, StoreError};
use muster::transport::clock::now;
use muster::transport::dhcp::{Dhcp, DhcpCounters};
use muster::transport::journal::Journal;
use muster::transport::link;
use muster::transport::recorder::Recorder;
use muster::transport::tasks::Tasks;
use muster::wire::dhcp::{Message, MessageType};
use netns::{HEAD, Lab, need, wait};

/// Long enough for an answer that is coming.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough to believe that none is coming: replies here take about a millisecond.
const SILENCE: Duration = Duration::from_millis(300);

/// What the disk does with a commit.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Writes,
    Waits,
    Full,
}

/// A disk with a mood, and what was written.
#[derive(Clone)]
struct Disk(Arc<Platter>);

struct Platter {
    state: Mutex<(Mood, Vec<Observation>)>,
    turned: Condvar,
}

impl Disk {
    fn new(mood: Mood) -> Disk {
        Disk(Arc::new(Platter { state: Mutex::new((mood, Vec::new())), turned: Condvar::new() }))
    }

    fn turn(&self, mood: Mood) {
        self.0.state.lock().unwrap().0 = mood;
        self.0.turned.notify_all();
    }

    /// Addresses of the leases that are on it.
    fn bound(&self) -> Vec<Ipv4Addr> {
        let state = self.0.state.lock().unwrap();
        let leases = state.1.iter().filter_map(|observation| match observation {
            Observation::PutLease(lease) if lease.state == LeaseState::Bound => Some(lease.address),
            _ => None,
        });
        leases.collect()
    }
}

impl Backend for Disk {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, batch: &Batch) -> Result<Revision, StoreError> {
        let Platter { state, turned } = &*self.0;
        let mut state = turned.wait_while(state.lock().unwrap(), |state| state.0 == Mood::Waits).unwrap();
        if state.0 == Mood::Full {
            return Err(StoreError::Full);
        }
        state.1.extend(batch.observations.clone());
        Ok(Revision::default())
    }

    fn audit(
        &mut self,
        _query: &muster::model::audit::Query,
    ) -> Result<muster::model::audit::Page, StoreError> {
        Ok(Default::default())
    }

    fn boots(&mut self, _mac: Mac) -> Result<Vec<muster::model::BootRecord>, StoreError> {
        Ok(Vec::new())
    }

    fn packets(&mut self, _of: (Mac, Timestamp)) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn foreign(&mut self, _wait: Duration) -> Result<Vec<Batch>, StoreError> {
        Ok(Vec::new())
    }
}

/// Moves this thread, and what it opens from now on, into a namespace.
fn enter(namespace: &str) {
    let file = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
}

/// Acts in a namespace, on a thread of its own: the test's thread stays outside, to clean up.
fn inside<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inner = scope.spawn(|| {
            enter(namespace);
            act()
        });
        inner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The DHCP shell, on a thread of its own in the head's namespace. Dropping it stops the thread.
struct Head {
    counters: Arc<DhcpCounters>,
    tasks: Tasks,
    disk: Disk,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Head {
    /// Serves 192.0.2.16 to .31 on `eth0`; nid001 is declared with 192.0.2.1.
    fn start(lab: &Lab, mood: Mood) -> Head {
        let network = site::network("boot", "eth0", "192.0.2.254/24", "192.0.2.16-192.0.2.31");
        let snapshot = site::snapshot(vec![network], vec![site::node(1, site::mac(1), &["192.0.2.1"])]);
        let (tasks, disk, namespace) = (Tasks::new(), Disk::new(mood), lab.head.clone());
        let (started, counters) = mpsc::channel();
        let (inner, backend) = (tasks.clone(), disk.clone());
        let thread = std::thread::spawn(move || {
            enter(&namespace);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (store, loaded) = Store::open(Box::new(backend)).unwrap();
                let links = link::start(Vec::new(), &inner).await.unwrap();
                let snapshot = Arc::new(SnapshotCell::new(snapshot));
                let Loaded { leases, sightings, .. } = loaded;
                let journal = Journal::new(now());
                let recorder = Recorder::idle();
                let dhcp =
                    Dhcp { snapshot, store, leases, sightings, links, journal, recorder, booting: None };
                let (_handle, counters) = dhcp.start(&inner).unwrap();
                started.send(counters).unwrap();
                inner.stopping().await;
                inner.stop(PATIENCE).await;
            });
        });
        let counters = counters.recv().unwrap();
        Head { counters, tasks, disk, thread: Some(thread) }
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.disk.turn(Mood::Full); // the writer's thread ends only if it does not wait
        self.tasks.token().cancel();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// A hand-made client without an address, for the clients' namespace.
struct Hand(UdpSocket);

impl Hand {
    fn new() -> Hand {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into()).unwrap();
        Hand(socket.into())
    }

    fn send(&self, mut message: Message) {
        message.flags |= Message::BROADCAST;
        self.0.send_to(&message.emit(), "255.255.255.255:67").unwrap();
    }

    /// The next reply to a transaction.
    fn hear(&self, xid: u32, patience: Duration) -> Option<Message> {
        let (mut buffer, mut heard) = ([0; 2048], None);
        self.0.set_read_timeout(Some(patience)).unwrap();
        while heard.is_none() {
            let length = self.0.recv(&mut buffer).ok()?;
            heard = Message::parse(&buffer[..length]).ok().filter(|message| message.xid == xid);
        }
        heard
    }

    fn ask(&self, message: Message, patience: Duration) -> Option<Message> {
        let xid = message.xid;
        self.send(message);
        self.hear(xid, patience)
    }

    /// The OFFER to a client that asks again like a real one: the head may not listen yet.
    fn offer(&self, client: &Imagined) -> Option<Message> {
        let mut offer = None;
        wait(PATIENCE, || {
            offer = self.ask(client.discover(), SILENCE);
            offer.is_some()
        });
        offer
    }
}

fn system(mac: Mac, xid: u32) -> Imagined {
    Imagined { client: Client::System, arch: Arch::X86_64, mac, uuid: None::<Uuid>, xid }
}

fn kind(message: Option<&Message>) -> Option<MessageType> {
    message.and_then(Message::message_type)
}

#[test]
fn an_ack_from_the_pool_waits_for_the_disk_and_a_declared_one_does_not() {
    if netns::is_skipped() {
        return;
    }
    let lab = Lab::new();
    let head = Head::start(&lab, Mood::Waits);
    inside(&lab.client, || {
        let (hand, pooled, declared) = (Hand::new(), system(site::mac(9), 9), system(site::mac(1), 1));
        let offer = hand.offer(&pooled).expect("an OFFER promises nothing and comes at once");
        assert_eq!(
            kind(hand.ask(pooled.request(&offer), SILENCE).as_ref()),
            None,
            "an ACK before its commit"
        );
        let own = hand.offer(&declared).unwrap();
        let ack = hand.ask(declared.request(&own), PATIENCE);
        assert_eq!(kind(ack.as_ref()), Some(MessageType::Ack));
        assert_eq!(ack.unwrap().yiaddr, Ipv4Addr::new(192, 0, 2, 1));
        assert!(head.disk.bound().is_empty());
        head.disk.turn(Mood::Writes);
        let ack = hand.hear(9, PATIENCE).expect("the ACK was kept, not lost");
        assert_eq!((kind(Some(&ack)), ack.yiaddr), (Some(MessageType::Ack), offer.yiaddr));
        assert_eq!(head.disk.bound(), [offer.yiaddr]);
    });
}

#[test]
fn a_full_disk_acknowledges_nothing_until_there_is_room() {
    if netns::is_skipped() {
        return;
    }
    let lab = Lab::new();
    let head = Head::start(&lab, Mood::Full);
    inside(&lab.client, || {
        let (hand, pooled) = (Hand::new(), system(site::mac(9), 9));
        let offer = hand.offer(&pooled).unwrap();
        assert_eq!(kind(hand.ask(pooled.request(&offer), SILENCE).as_ref()), None);
        assert_eq!(head.counters.unpromised.value(), 1);
        head.disk.turn(Mood::Writes);
        let ack = hand.ask(pooled.request(&offer), PATIENCE);
        assert_eq!(kind(ack.as_ref()), Some(MessageType::Ack), "the client's next try");
        assert_eq!(head.disk.bound(), [offer.yiaddr]);
    });
}

#[test]
fn a_link_is_served_when_it_appears_and_when_it_comes_up_again() {
    if netns::is_skipped() {
        return;
    }
    let lab = Lab::new();
    lab.unplug();
    let head = Head::start(&lab, Mood::Writes);
    let declared = system(site::mac(1), 1);
    // Each round has its own thread: the client's socket belongs to the wire of that round.
    let served = || {
        inside(&lab.client, || {
            let hand = Hand::new();
            hand.offer(&declared).is_some()
        })
    };
    lab.plug();
    assert!(served(), "a link that appears late");
    netns::sh(&format!("ip -n {} link set eth0 down", lab.head));
    let frames = head.counters.frames.value();
    netns::sh(&format!("ip -n {} link set eth0 up", lab.head));
    assert!(served(), "a link that was down for a while");
    assert!(head.counters.frames.value() > frames);
    lab.unplug();
    lab.plug();
    assert!(served(), "a new link of the same name");
}

#[test]
fn packets_to_our_ports_are_never_answered_by_port_unreachable() {
    if netns::is_skipped() {
        return;
    }
    let lab = Lab::new();
    netns::sh(&format!("ip -n {} addr add {HEAD}/24 dev eth0", lab.head));
    lab.client("ip addr add 192.0.2.9/24 dev eth0");
    let _head = Head::start(&lab, Mood::Writes);
    inside(&lab.client, || {
        // A connected socket hears ICMP errors as errors.
        let hears = |port: u16| {
            let socket = UdpSocket::bind("192.0.2.9:0").unwrap();
            socket.connect((HEAD, port)).unwrap();
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            socket.send(b"no DHCP message").unwrap();
            socket.recv(&mut [0; 16]).unwrap_err().kind()
        };
        assert_eq!(hears(4012), std::io::ErrorKind::ConnectionRefused, "a port that nobody holds");
        assert_eq!(hears(67), std::io::ErrorKind::WouldBlock);
        assert_eq!(hears(4011), std::io::ErrorKind::WouldBlock);
    });
}

/// A process that a test started, ended with it.
struct Program(std::process::Child);

impl Program {
    fn start(namespace: &str, command: &str) -> Program {
        let mut exec = std::process::Command::new("ip");
        exec.args(["netns", "exec", namespace, "sh", "-c", &format!("exec {command}")]);
        Program(exec.spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const DNSMASQ: &str = "dnsmasq --keep-in-foreground --log-facility=/dev/null --conf-file=/dev/null --port=0 --user=root --no-ping";

/// The daemon with a pool, and a script for udhcpc that sets no more than the address.
fn daemon(more: &str) -> Lab {
    let mut lab = Lab::new();
    lab.configure(&format!("range = [\"192.0.2.16-192.0.2.31\"]\n{more}"));
    let script = "#!/bin/sh\n[ \"$1\" != bound ] || { ip addr replace $ip/$mask dev $interface; echo \"got $ip from $serverid\"; }\n";
    std::fs::write(lab.path("udhcpc.sh"), script).unwrap();
    netns::sh(&format!("chmod +x {}", lab.path("udhcpc.sh").display()));
    lab.serve();
    lab
}

fn udhcpc(lab: &Lab, namespace: &str, options: &str) -> String {
    need("udhcpc", "udhcpc");
    let script = lab.path("udhcpc.sh");
    let output = netns::sh(&format!(
        "ip netns exec {namespace} timeout 20 udhcpc -f -n -q -t 8 -T 1 -A 1 -s {} {options} 2>&1",
        script.display()
    ));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_client_that_finds_its_address_taken_declines_it_and_gets_another() {
    if netns::is_skipped() {
        return;
    }
    let lab = daemon("");
    // Two stations on the same wire: macvlans reach each other, not the link below.
    lab.client(
        "for m in mv0 mv1; do ip link add $m link eth0 type macvlan mode bridge; ip link set $m up; done",
    );
    let text = udhcpc(&lab, &lab.client, "-i mv0");
    let first = text.split("got ").nth(1).unwrap_or_else(|| panic!("{text}")).split(' ').next().unwrap();
    lab.client(&format!("ip addr flush dev mv0; ip addr add {first}/32 dev mv1"));
    let text = udhcpc(&lab, &lab.client, &format!("-a -i mv0 -r {first}"));
    assert!(text.contains("got 192.0.2.") && !text.contains(&format!("got {first} ")), "{text}");
    let leases = lab.ask(&["lease", "list"]);
    assert!(leases.lines().any(|line| line.contains(first) && line.contains("declined")), "{leases}");
}

#[test]
fn a_client_behind_a_real_relay_gets_an_address_of_its_network() {
    if netns::is_skipped() {
        return;
    }
    need("dnsmasq", "dnsmasq-base");
    let lab = daemon(
        "[[network]]\nname = \"far\"\naddress = \"198.51.100.0/24\"\nrange = [\"198.51.100.16-198.51.100.31\"]",
    );
    // The relay takes the clients' place on the head's wire; its own clients are in a third namespace.
    let (head, relay, far) = (&lab.head, &lab.client, format!("{}f", lab.client));
    netns::sh(&format!(
        "ip netns add {far}; ip -n {relay} addr add 192.0.2.9/24 dev eth0; \
         ip -n {relay} link add eth1 type veth peer name eth0 netns {far}; \
         ip -n {relay} addr add 198.51.100.1/24 dev eth1; ip -n {relay} link set eth1 up; ip -n {far} link set eth0 up; \
         ip -n {head} route add 198.51.100.0/24 via 192.0.2.9"
    ));
    let text = {
        let _relay = Program::start(
            relay,
            &format!("{DNSMASQ} --dhcp-relay=198.51.100.1,{HEAD} --pid-file={}", lab.path("pid").display()),
        );
        udhcpc(&lab, &far, "-i eth0")
    };
    netns::sh(&format!("ip netns del {far}"));
    assert!(text.contains(&format!("got 198.51.100.16 from {HEAD}")), "{text}");
    assert!(lab.ask(&["lease", "list"]).contains("198.51.100.16"));
}

#[test]
fn a_real_server_beside_us_is_noticed() {
    if netns::is_skipped() {
        return;
    }
    need("dnsmasq", "dnsmasq-base");
    let lab = daemon("");
    // Stations of their own; by broadcast (-B), or only the client would hear the other server.
    lab.client("ip link add mv0 link eth0 type macvlan mode bridge; ip link set mv0 up; ip addr add 192.0.2.9/24 dev mv0");
    let (lease_file, pid) = (lab.path("leases"), lab.path("pid"));
    let _other = Program::start(
        &lab.client,
        &format!(
            "{DNSMASQ} --interface=mv0 --bind-interfaces --dhcp-authoritative --dhcp-range=192.0.2.200,192.0.2.210,2m \
             --dhcp-leasefile={} --pid-file={}",
            lease_file.display(),
            pid.display()
        ),
    );
    lab.client("ip link add mv1 link eth0 type macvlan mode bridge; ip link set mv1 up");
    let noticed = || {
        udhcpc(&lab, &lab.client, "-B -i mv1");
        lab.ask(&["discover", "servers"]).contains("192.0.2.9")
    };
    assert!(wait(Duration::from_secs(8), noticed), "{}", lab.ask(&["discover", "servers"]));
}
