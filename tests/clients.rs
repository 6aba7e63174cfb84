//! Real DHCP clients, and packets that no client sends, against the real daemon in a network namespace.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod netns;

use std::fs;
use std::time::Duration;

use netns::{HEAD, Lab, need, wait};

const POOL: &str = "range = [\"192.0.2.100-192.0.2.149\"]";

/// A lab with a running head.
fn lab(more: &str) -> Lab {
    let mut lab = Lab::new();
    lab.configure(more);
    lab.serve();
    lab
}

/// udhcpc's answers as lines `event ip=… router=… …`.
fn udhcpc(lab: &Lab, interface: &str, options: &str) -> (bool, String) {
    need("udhcpc", "udhcpc");
    let script = lab.path("udhcpc.sh");
    let text = "#!/bin/sh\n[ \"$1\" = deconfig ] || echo \"$1 ip=$ip/$mask host=$hostname dns=$dns domain=$domain server=$serverid lease=$lease end\"\n\
                [ \"$1\" != bound ] || ip addr replace $ip/$mask dev $interface\n";
    fs::write(&script, text).unwrap();
    netns::sh(&format!("chmod +x {}", script.display()));
    lab.client(&format!("udhcpc -f -n -q -t 5 -T 1 -i {interface} -s {} {options}", script.display()))
}

fn address(text: &str) -> String {
    let from = text.find("ip=192.0.2.").unwrap_or_else(|| panic!("no address in {text}")) + 3;
    text[from..].split(['/', ' ', '\n']).next().unwrap().to_owned()
}

#[test]
fn udhcpc_gets_what_is_declared_and_renews_without_being_turned_away() {
    if netns::is_skipped() {
        return;
    }
    let lab = lab(POOL);
    lab.declare("nid001", "02:00:00:00:00:01", "192.0.2.1");
    let (bound, text) = udhcpc(&lab, "eth0", "-x hostname:mine");
    assert!(bound, "{text}");
    assert!(
        text.contains(
            "bound ip=192.0.2.1/24 host=nid001 dns=192.0.2.254 domain=lab.example server=192.0.2.254"
        ),
        "{text}"
    );
    // A renewal by unicast: the kernel must not answer "port unreachable" beside us.
    let script = lab.path("udhcpc.sh");
    let command = format!(
        "udhcpc -f -n -R -i eth0 -s {} > {out} 2>&1 & p=$!; for i in $(seq 100); do grep -q ^bound {out} && break; sleep 0.05; done; \
         kill -USR1 $p; for i in $(seq 100); do grep -q ^renew {out} && break; sleep 0.05; done; kill -TERM $p; cat {out}",
        script.display(),
        out = lab.path("renew.out").display()
    );
    let (_, text) = lab.client(&command);
    assert!(text.contains("renew ip=192.0.2.1/24"), "{text}");
    let refused =
        netns::sh(&format!("ip netns exec {} awk '/^Icmp: [0-9]/ {{print $17}}' /proc/net/snmp", lab.head));
    assert_eq!(String::from_utf8_lossy(&refused.stdout).trim(), "0", "port unreachable was sent");
}

#[test]
fn clients_with_different_identities_keep_one_pool_address() {
    if netns::is_skipped() {
        return;
    }
    need("dhclient", "isc-dhcp-client");
    need("dhcpcd", "dhcpcd-base");
    let lab = lab(POOL);
    let run = |command: &str| {
        let (done, text) = lab.client(command);
        assert!(done, "{command}: {text}");
        text
    };
    let files =
        format!("-lf {} -pf {} -sf /bin/true", lab.path("leases").display(), lab.path("pid").display());
    let dhclient = run(&format!("timeout 20 dhclient -4 -1 -v {files} eth0"));
    let first = dhclient.split("DHCPACK of ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let leases = lab.ask(&["--json", "lease", "list"]);
    assert!(leases.contains(&first) && leases.contains("\"bound\""), "{leases}");
    // A release is unicast: it takes the address to send it.
    run(&format!(
        "ip addr add {first}/24 dev eth0; timeout 20 dhclient -4 -r -v {files} eth0; ip addr flush dev eth0"
    ));
    assert!(
        wait(Duration::from_secs(5), || !lab.ask(&["lease", "list"]).contains(&first)),
        "the release was not heard"
    );
    let (_, udhcpc) = udhcpc(&lab, "eth0", "");
    assert_eq!(address(&udhcpc), first, "udhcpc, {udhcpc}");
    run("ip addr flush dev eth0");
    let (_, dhcpcd) = lab.client("timeout 20 dhcpcd -4 -1 -t 15 --noarp --nohook resolv.conf -G eth0");
    assert!(dhcpcd.contains(&format!("leased {first} ")), "dhcpcd, {dhcpcd}");
}

#[test]
fn a_squatted_address_is_never_given_out() {
    if netns::is_skipped() {
        return;
    }
    let lab = lab("range = [\"192.0.2.100-192.0.2.101\"]");
    // eth0 squats the first address of the pool; the client is another station on the same wire.
    lab.client("ip addr add 192.0.2.100/32 dev eth0; ip link add mv0 link eth0 type macvlan mode bridge; ip link set mv0 up");
    // The daemon probes ahead; restarting it makes it probe again.
    let mut lab = lab;
    lab.kill();
    lab.serve();
    let declined = || lab.ask(&["--json", "lease", "list"]).contains("\"declined\"");
    assert!(wait(Duration::from_secs(10), declined), "the squatter was not noticed");
    let (bound, text) = udhcpc(&lab, "mv0", "");
    assert!(bound && address(&text) == "192.0.2.101", "{text}");
}

/// Sends one hand-made message from where the clients are and prints the answer in hex.
const PACKET: &str = r#"
import socket, struct, sys
kind, giaddr, op, source, target = sys.argv[1:6]
options = bytes.fromhex(sys.argv[6])
mac = bytes.fromhex("020000000077") + bytes(10)
head = struct.pack("!BBBBIHH4s4s4s4s", int(op), 1, 6, 0, 0x1234, 0, 0, bytes(4),
                   socket.inet_aton("192.0.2.9") if op == "2" else bytes(4), bytes(4), socket.inet_aton(giaddr))
message = head + mac + bytes(192) + bytes.fromhex("63825363") + bytes([53, 1, int(kind)]) + options + b"\xff"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((source, 67))
s.settimeout(5)
s.sendto(message, (target, 68 if op == "2" else 67))
if op == "1":
    data, peer = s.recvfrom(4096)
    print("from", peer, data.hex())
"#;

fn packet(lab: &Lab, arguments: &str) -> String {
    fs::write(lab.path("packet.py"), PACKET).unwrap();
    let (sent, text) = lab.client(&format!("python3 {} {arguments}", lab.path("packet.py").display()));
    assert!(sent, "{arguments}: {text}");
    text
}

#[test]
fn a_relay_gets_its_answer_with_option_82_untouched_and_last() {
    if netns::is_skipped() {
        return;
    }
    let lab = lab(&format!(
        "{POOL}\n[[network]]\nname = \"far\"\naddress = \"198.51.100.0/24\"\nrange = [\"198.51.100.10-198.51.100.20\"]"
    ));
    lab.client("ip addr add 192.0.2.9/24 dev eth0; ip addr add 198.51.100.1/24 dev lo");
    netns::sh(&format!("ip -n {} route add 198.51.100.0/24 via 192.0.2.9", lab.head));
    // Circuit "port 7", and a sub-option nobody knows.
    let option82 = "520c0106706f72742037ee020102";
    let answer = packet(&lab, &format!("1 198.51.100.1 1 198.51.100.1 {HEAD} {option82}"));
    assert!(answer.starts_with("from ('192.0.2.254', 67)"), "{answer}");
    let bytes = answer.trim().rsplit(' ').next().unwrap();
    assert!(bytes.trim_end_matches("00").ends_with(&format!("{option82}ff")), "{answer}");
    assert_eq!(&bytes[32..38], "c63364", "an address of the relay's network: {answer}");
}

#[test]
fn another_server_is_noticed_and_a_declined_address_rests() {
    if netns::is_skipped() {
        return;
    }
    let lab = lab(POOL);
    lab.client("ip addr add 192.0.2.9/24 dev eth0");
    packet(&lab, "2 0.0.0.0 2 192.0.2.9 255.255.255.255 3604c0000209");
    assert!(
        wait(Duration::from_secs(5), || lab.ask(&["discover", "servers"]).contains("192.0.2.9")),
        "not noticed"
    );
    assert!(lab.ask(&["status"]).contains("another DHCP server, 192.0.2.9"));
    lab.client("ip addr flush dev eth0");
    let (_, text) = udhcpc(&lab, "eth0", "");
    let first = address(&text);
    let octets: Vec<u8> = first.split('.').map(|part| part.parse().unwrap()).collect();
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    // DECLINE comes from the client that holds the lease: hand-made with its hardware address.
    let decline = PACKET.replace("020000000077", "020000000001").replace("if op == \"1\":", "if False:");
    fs::write(lab.path("decline.py"), decline).unwrap();
    let command = format!("4 0.0.0.0 1 {first} 192.0.2.255 3204{hex}3604c00002fe");
    let (sent, text) = lab.client(&format!("python3 {} {command}", lab.path("decline.py").display()));
    assert!(sent, "{text}");
    let rests =
        || lab.ask(&["lease", "list"]).lines().any(|line| line.contains(&first) && line.contains("declined"));
    assert!(wait(Duration::from_secs(5), rests), "{}", lab.ask(&["lease", "list"]));
    lab.client("ip addr flush dev eth0");
    let (_, text) = udhcpc(&lab, "eth0", "");
    assert_ne!(address(&text), first);
}

#[test]
fn a_link_that_goes_away_and_comes_back_is_served_again() {
    if netns::is_skipped() {
        return;
    }
    let lab = lab(POOL);
    lab.declare("nid001", "02:00:00:00:00:01", "192.0.2.1");
    lab.unplug();
    assert!(wait(Duration::from_secs(10), || lab.log().contains("link went away")), "{}", lab.log());
    lab.plug();
    let set = || {
        String::from_utf8_lossy(&netns::sh(&format!("ip -n {} addr show eth0", lab.head)).stdout)
            .contains(HEAD)
    };
    assert!(wait(Duration::from_secs(10), set), "the head's address was not set again");
    assert!(wait(Duration::from_secs(10), || udhcpc(&lab, "eth0", "").1.contains("bound ip=192.0.2.1/")));
}

#[test]
fn unknown_machines_are_seen_and_may_be_ignored() {
    if netns::is_skipped() {
        return;
    }
    let held = lab(POOL);
    let (bound, text) = udhcpc(&held, "eth0", "-V anaconda-Linux");
    assert!(bound && text.contains("lease=300 "), "a short lease: {text}");
    let seen = held.ask(&["discover", "list"]);
    assert!(seen.contains("02:00:00:00:00:01") && seen.contains("anaconda-Linux"), "{seen}");
    held.declare("nid009", "02:00:00:00:00:01", "192.0.2.9");
    let gone = || held.ask(&["discover", "list"]).contains("no unknown machines");
    assert!(wait(Duration::from_secs(5), gone), "a declared machine is no longer unknown");
    held.client("ip addr flush dev eth0");
    assert_eq!(address(&udhcpc(&held, "eth0", "").1), "192.0.2.9", "the next packet sees the declaration");
    drop(held);
    let ignoring = lab(&format!("{POOL}\nunknown = \"ignore\""));
    let (bound, text) = udhcpc(&ignoring, "eth0", "");
    assert!(!bound, "{text}");
    assert!(ignoring.ask(&["discover", "list"]).contains("02:00:00:00:00:01"), "ignored, but seen");
}

#[test]
fn perfdhcp_loses_nothing() {
    if netns::is_skipped() {
        return;
    }
    need("perfdhcp", "kea-admin");
    let lab = lab("range = [\"192.0.2.10-192.0.2.250\"]\nshort_lease = \"30s\"");
    lab.client("ip addr add 192.0.2.9/24 dev eth0");
    let (_, text) = lab.client("perfdhcp -4 -r 100 -R 200 -p 3 -W 1000000 -l eth0");
    let value = |name: &str| {
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap_or("?").to_owned()).collect::<Vec<_>>()
    };
    assert!(value("received packets:").iter().all(|count| count.parse::<u32>().unwrap() > 250), "{text}");
    assert_eq!(value("drops:"), ["0", "0"], "{text}");
}
