//! A thousand machines, one seed for each run: loss, duplication, reordering, restarts of the head, and machines that lie.
//! After each tick no two believe in one address, and no declared address is another's; when the trouble ends,
//! every machine reaches its boot script in bounded time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod site;

use std::net::Ipv4Addr;

use muster::base::{Millis, Timestamp};
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::model::{Arch, Node};
use muster::wire::dhcp::code;
use site::client::{Dice, Machine};
use site::wire::{Trouble, Wire};
use site::{broadcast, mac, network, node, snapshot};

const MACHINES: u16 = 1000;
const DECLARED: u16 = 500;
const POOLED: u16 = 200;
/// The pool: enough for the others and what the rude ones quarantine.
const POOL: &str = "198.18.8.0-198.18.10.255";

/// What a machine is: firmware, then iPXE, then its system.
fn stages(number: u16) -> &'static [Client] {
    match number % 5 {
        0 => &[Client::UefiPxe, Client::Ipxe, Client::System],
        1 => &[Client::UefiHttp, Client::Ipxe, Client::System],
        2 => &[Client::BiosRom, Client::IpxeRom, Client::System],
        3 => &[Client::IpxeRom, Client::System],
        _ => &[Client::ForeignIpxe, Client::IpxeRom, Client::System],
    }
}

/// The first half has declared addresses, the next fifth is declared without, the rest is unknown.
fn nodes() -> Vec<Node> {
    let address = |number: u16| Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 1, 0)) + u32::from(number));
    let declared = (0..DECLARED).map(|n| node(n.into(), mac(n), &[&address(n).to_string()]));
    let pooled = (DECLARED..DECLARED + POOLED).map(|n| node(n.into(), mac(n), &[]));
    declared.chain(pooled).collect()
}

fn wire(seed: u64, trouble: Trouble) -> Wire {
    let mut dice = Dice(seed);
    let start = |dice: &mut Dice| Timestamp(1_000_000 + dice.roll(20_000));
    let machines = (0..MACHINES).map(|n| Machine::new(mac(n), stages(n), start(&mut dice))).collect();
    let lan = network("boot", "eth1", "198.18.0.1/16", POOL);
    Wire::new(snapshot(vec![lan], nodes()), machines, trouble, seed)
}

/// A machine that asks for others' addresses, declines and releases what is not its own.
fn be_rude(wire: &mut Wire, number: u64) {
    let rude = Imagined {
        client: Client::System,
        arch: Arch::X86_64,
        mac: mac(4000 + u16::try_from(number % 8).unwrap()),
        uuid: None,
        xid: 7,
    };
    let mut message = rude.discover();
    let wanted = u32::from(Ipv4Addr::new(198, 18, 8, 0)) + u32::try_from(number % 600).unwrap();
    let kind = [1, 3, 4, 7, 8][usize::try_from(number % 5).unwrap()];
    message.options.set(code::MESSAGE_TYPE, [kind]);
    message.options.set(code::REQUESTED_ADDRESS, wanted.to_be_bytes());
    if kind == 7 {
        message.ciaddr = Ipv4Addr::from(wanted);
    }
    wire.send_up(&message, &broadcast(rude.mac));
}

fn simulate(seed: u64) {
    let mut wire = wire(seed, Trouble { lost: 20, doubled: 10, delay_ms: 1500 });
    for tick in 0..1200u64 {
        wire.tick();
        let roll = wire.dice.roll(10_000);
        be_rude(&mut wire, roll);
        if tick % 400 == 399 {
            wire.restart_head();
        }
    }
    wire.trouble = Trouble { lost: 0, doubled: 0, delay_ms: 5 };
    let late = wire.run(Millis::from_secs(300));
    assert!(late.is_empty(), "seed {seed}: no script for {late:?}");
    let abandoned: u32 = wire.machines.values().map(|machine| machine.abandoned).sum();
    assert_eq!(abandoned, 0, "a NAK in SELECTING makes edk2 give up");
    for machine in wire.machines.values() {
        let script = machine.script.as_ref().unwrap();
        assert!(script.contains(&machine.mac.hyphenated()), "{script}");
    }
    // The systems renew beyond the lease of the unknown.
    wire.step = Millis(500);
    for _ in 0..1400 {
        wire.tick();
    }
    let homeless: Vec<_> =
        wire.machines.values().filter(|machine| machine.held.is_none()).map(|machine| machine.mac).collect();
    assert!(homeless.is_empty(), "{homeless:?} lost their leases without any loss");
}

#[test]
fn a_thousand_machines_boot_through_loss_doubling_reordering_and_restarts() {
    for seed in [0x6d75_7374_6572, 0x0bad_5eed] {
        simulate(seed);
    }
}
