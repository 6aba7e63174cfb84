use std::sync::Arc;

use crate::base::{Mac, Timestamp};
use crate::engine::boot::bss::{Asked, ask_arch, render};
use crate::engine::boot::decide::turns_on_arch;
use crate::engine::boot::script::Reach;
use crate::engine::boot::{Decision, Request, decide_for};
use crate::model::profile::Boot;
use crate::model::{
    Arch, Assignment, BootTarget, Change, Interface, Inventory, Nid, Node, NodeId, Revision, Selector, Site,
    Snapshot,
};

const REACH: Reach = Reach { head: std::net::Ipv4Addr::new(192, 0, 2, 254), port: 8081, tls: None };
const KNOWN: Mac = Mac([0, 0, 0x5e, 0, 0x53, 1]);
const UNKNOWN: Mac = Mac([0, 0, 0x5e, 0, 0x53, 0x99]);

fn linux(kernel: &str, initrd: &str, params: &str) -> BootTarget {
    let initrds = Some(initrd.to_owned()).filter(|initrd| !initrd.is_empty()).into_iter().collect();
    BootTarget::Linux { kernel: kernel.to_owned(), initrds, params: params.to_owned() }
}

/// x1000c0s0b0n0, number 1, with one interface, or none, and what is assigned.
fn site(mac: Option<Mac>, assigned: &[(Selector, BootTarget)]) -> Snapshot {
    let mut node = Node::new(NodeId(1), "nid001".parse().unwrap());
    (node.xname, node.nid) = (Some("x1000c0s0b0n0".parse().unwrap()), Some(Nid(1)));
    node.interfaces =
        mac.into_iter().map(|mac| Interface { name: None, mac, addresses: Vec::new() }).collect();
    let mut inventory = Inventory::default();
    inventory.apply(&Change::PutNode(Arc::new(node)));
    for (selector, target) in assigned {
        let boot = Boot::Target(target.clone());
        let assignment = Assignment { selector: selector.clone(), once: false, boot };
        inventory.apply(&Change::PutAssignment(Arc::new(assignment)));
    }
    Snapshot::compile(Revision(1), Arc::new(Site::default()), Arc::new(inventory))
}

fn asked<'a>(whom: &Selector, named: &'a str, path: &'a str, retry: u32) -> Asked<'a> {
    Asked { path, whom: whom.clone(), named, retry, now: Timestamp(1_700_000_000_123), token: "" }
}

fn decided(snapshot: &Snapshot, whom: &Selector, arch: Option<Arch>) -> Decision {
    let request = Request { mac: None, address: None, uuid: None, arch, attempt: 0 };
    decide_for(snapshot, &request, whom)
}

fn script(snapshot: &Snapshot, whom: &Selector, asked: &Asked<'_>) -> String {
    let decision = decided(snapshot, whom, Some(Arch::X86_64));
    render(&decision, asked, &snapshot.site, REACH).unwrap().unwrap()
}

#[test]
fn a_known_node_gets_the_lines_of_the_reference() {
    let params = "nomodeset ro root=live:http://192.0.2.254:8081/boot-images/rootfs ip=dhcp initrd=other.img \
                  console=ttyS0,115200 ds=nocloud-net;s=http://192.0.2.254:8081/cloud-init";
    let base = "http://192.0.2.254:8081/boot-images";
    let target = linux(&format!("{base}/vmlinuz"), &format!("{base}/initrd.img"), params);
    let whom = Selector::Mac(KNOWN);
    let snapshot = site(Some(KNOWN), &[(whom.clone(), target)]);
    let got = script(&snapshot, &whom, &asked(&whom, "", "/boot/v1/bootscript", 0));
    assert_eq!(got, include_str!("../../../../tests/golden/bss/compute.ipxe"));
}

#[test]
fn without_an_initrd_and_interface_the_name_serves_and_the_path_stays() {
    let whom = Selector::Xname("x1000c0s0b0n0".parse().unwrap());
    let snapshot =
        site(None, &[(whom.clone(), linux("http://192.0.2.9/vmlinuz", "", " quiet initrd=mine "))]);
    let got =
        script(&snapshot, &whom, &asked(&whom, "name=x1000c0s0b0n0", "/apis/bss/boot/v1/bootscript", 1));
    assert_eq!(got, include_str!("../../../../tests/golden/bss/no-initrd.ipxe"));
}

#[test]
fn an_unknown_machine_hears_why_it_waits() {
    let whom = Selector::Mac(UNKNOWN);
    let got = script(&site(None, &[]), &whom, &asked(&whom, "", "/boot/v1/bootscript", 0));
    assert_eq!(got, include_str!("../../../../tests/golden/bss/unknown.ipxe"));
}

#[test]
fn where_families_of_unknown_machines_differ_they_are_asked_first() {
    let whom = Selector::Mac(UNKNOWN);
    let target = linux("http://192.0.2.9/vmlinuz-discover", "http://192.0.2.9/initrd-discover", "quiet");
    let snapshot = site(None, &[(Selector::Unknown(Some(Arch::X86_64)), target)]);
    let asked = asked(&whom, "", "/boot/v1/bootscript", 0);
    let decision = decided(&snapshot, &whom, None);
    assert!(turns_on_arch(&snapshot, &decision));
    let got = ask_arch(&decision, &asked, REACH).unwrap();
    assert_eq!(got, include_str!("../../../../tests/golden/bss/ask-arch.ipxe"));
    let got = script(&snapshot, &whom, &asked);
    assert_eq!(got, include_str!("../../../../tests/golden/bss/unknown-arch.ipxe"));
    assert!(!turns_on_arch(&site(None, &[]), &decision), "nothing differs");
    let known = Selector::Nid(Nid(1));
    assert!(!turns_on_arch(&snapshot, &decided(&snapshot, &known, None)), "a declared node is known");
}

#[test]
fn pauses_grow_from_the_reference_to_a_bound() {
    let whom = Selector::Mac(KNOWN);
    let snapshot = site(Some(KNOWN), &[(whom.clone(), linux("http://192.0.2.9/k", "", ""))]);
    for (retry, pause) in [(0, 30), (1, 60), (2, 120), (3, 120), (u32::MAX, 120)] {
        let got = script(&snapshot, &whom, &asked(&whom, "", "/b", retry));
        assert!(got.contains(&format!("\nsleep {pause}\n")), "{retry}: {got}");
    }
}

#[test]
fn what_is_there_is_not_added_and_a_kept_token_is() {
    let whom = Selector::Mac(KNOWN);
    let own = "xname=a nid=b BOOTIF=c ds=d";
    let snapshot = site(Some(KNOWN), &[(whom.clone(), linux("http://192.0.2.9/k", "", own))]);
    let token = Asked { token: "t-1", ..asked(&whom, "", "/b", 0) };
    let got = script(&snapshot, &whom, &token);
    let line = "kernel --name kernel http://192.0.2.9/k xname=a nid=b BOOTIF=c ds=d bss_referral_token=t-1 \
                || goto boot_retry";
    assert_eq!(got.lines().nth(1).unwrap(), line);
}

#[test]
fn files_that_need_a_signature_are_named_on_the_console() {
    let whom = Selector::Mac(KNOWN);
    let snapshot = site(Some(KNOWN), &[(whom.clone(), linux("s3://boot-images/k", "", ""))]);
    let got = script(&snapshot, &whom, &asked(&whom, "", "/b", 0));
    assert!(got.contains("echo muster: cannot boot s3://boot-images/k"), "{got}");
    assert!(!got.contains("\nkernel") && got.ends_with("&retry=1\n\n"), "{got}");
}

#[test]
fn a_name_of_a_stranger_cannot_smuggle_commands() {
    let whom = Selector::Xname("x1c0s0b0n0".parse().unwrap());
    let named = "name=x || reboot\n${x}&y";
    let got = script(&site(None, &[]), &whom, &asked(&whom, named, "/b", 0));
    assert!(got.contains("?name=x%20%7C%7C%20reboot%0A%24%7Bx%7D%26y&arch="), "{got}");
    assert_eq!(got.lines().count(), 6, "{got}");
}

#[test]
fn a_name_counts_by_its_own_assignment_and_else_as_the_node_boots() {
    let (mac, name) = (Selector::Mac(KNOWN), Selector::Xname("x1000c0s0b0n0".parse().unwrap()));
    let kernel = |kernel: &str| linux(&format!("http://192.0.2.9/{kernel}"), "", "");
    let both = site(Some(KNOWN), &[(mac.clone(), kernel("by-mac")), (name.clone(), kernel("by-name"))]);
    for (whom, wanted) in [(&mac, "by-mac"), (&name, "by-name"), (&Selector::Nid(Nid(1)), "by-mac")] {
        let got = script(&both, whom, &asked(whom, "", "/b", 0));
        assert!(got.contains(wanted), "{whom}: {got}");
    }
    let role = site(Some(KNOWN), &[(Selector::Role("compute".to_owned()), kernel("by-role"))]);
    assert!(script(&role, &mac, &asked(&mac, "", "/b", 0)).contains("by-role"), "the unset role computes");
}
