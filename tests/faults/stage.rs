//! A head and a recorder without wires, on which faults are staged. DHCP is answered by the head's own engine and
//! scripts are its own; transfers end as the stage says.

use std::net::Ipv4Addr;
use std::sync::Arc;

use muster::base::{Mac, Millis, Timestamp};
use muster::engine::boot::script::{Reach, render};
use muster::engine::boot::{self, decide};
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::engine::dhcp::{Ingress, Observed, Request, Verdict, respond};
use muster::engine::record::{
    Book, DhcpSeen, Evidence, Keep, ScriptSeen, Siblings, TftpFate, TftpSeen, What, Who, why,
};
use muster::model::boot_record::{Outcome, Sure};
use muster::model::profile::Boot;
use muster::model::{
    Arch, Assignment, BootRecord, BootTarget, Change, DhcpMode, Inventory, LeaseTable, Network, Node,
    Revision, Selector, Site, Snapshot,
};
use muster::wire::dhcp::{Message, MessageType, code};

use crate::site;

pub(crate) const MIB: u64 = 1 << 20;
const START: Timestamp = Timestamp(1_795_402_800_000);

/// Where a fault happens.
pub(crate) struct Stage {
    pub(crate) snapshot: Snapshot,
    pub(crate) leases: LeaseTable,
    pub(crate) book: Book,
    pub(crate) now: Timestamp,
    xid: u32,
    chained: std::collections::BTreeMap<Mac, Timestamp>,
}

pub(crate) fn mac(number: u16) -> Mac {
    site::mac(number)
}

pub(crate) fn ip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

/// What nodes boot unless the stage says otherwise.
pub(crate) fn target() -> BootTarget {
    BootTarget::Linux {
        kernel: "debian/vmlinuz".to_owned(),
        initrds: vec!["debian/initrd.img".to_owned()],
        params: "root=live:{images}/debian/rootfs.squashfs ip=dhcp".to_owned(),
    }
}

impl Stage {
    /// Twelve nodes of the group `compute`, of which the first has a second port (mac 101).
    pub(crate) fn new() -> Stage {
        Stage::with(|_| (), target(), |_| ())
    }

    pub(crate) fn with(
        network: impl FnOnce(&mut Network),
        target: BootTarget,
        node: impl Fn(&mut Node),
    ) -> Stage {
        let mut boot = site::boot_network();
        network(&mut boot);
        let mut inventory = Inventory::default();
        for number in 1..=12_u8 {
            let mut one = site::node(number.into(), mac(number.into()), &[&ip(number).to_string()]);
            one.groups.insert("compute".parse().unwrap());
            if number == 1 {
                let second = muster::model::Interface { name: None, mac: mac(101), addresses: vec![ip(101)] };
                one.interfaces.push(second);
                one.uuid = Some("11223344-5566-7788-99aa-bbccddeeff00".parse().unwrap());
            }
            node(&mut one);
            inventory.apply(&Change::PutNode(Arc::new(one)));
        }
        let assignment = Assignment { selector: Selector::Default, once: false, boot: Boot::Target(target) };
        inventory.apply(&Change::PutAssignment(Arc::new(assignment)));
        let site = Site { networks: vec![boot], ..Site::default() };
        let snapshot = Snapshot::compile(Revision(1), Arc::new(site), Arc::new(inventory));
        Stage {
            snapshot,
            leases: LeaseTable::default(),
            book: Book::new(Keep::default(), Vec::new(), START),
            now: START,
            xid: 1,
            chained: std::collections::BTreeMap::new(),
        }
    }

    pub(crate) fn imagined(&self, client: Client, mac: Mac) -> Imagined {
        Imagined { client, arch: Arch::X86_64, mac, uuid: None, xid: self.xid }
    }

    /// Another exchange begins.
    pub(crate) fn anew(&mut self) {
        self.xid += 1;
    }

    pub(crate) fn saw(&mut self, mac: Mac, what: What) {
        let evidence = Evidence { at: self.now, who: Who::Mac(mac), what };
        self.book.on_evidence(&evidence, &self.snapshot);
    }

    pub(crate) fn saw_at(&mut self, address: Ipv4Addr, what: What) {
        let evidence = Evidence { at: self.now, who: Who::Address(address), what };
        self.book.on_evidence(&evidence, &self.snapshot);
    }

    /// Time passes, second by second, as the shell lets it.
    pub(crate) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Millis(1000);
            self.book.on_deadline(self.now, |_| false);
        }
    }

    /// A message to the head. Returns the reply, if there is one.
    pub(crate) fn send(&mut self, message: Message, ingress: Ingress) -> Option<Message> {
        let request = Request::new(message, ingress);
        let chained = request.mac.and_then(|mac| self.chained.get(&mac).copied());
        let observed = Observed { leases: &self.leases, chained, anchored: false };
        let answer = respond(&request, &self.snapshot, &observed, self.now);
        let is_proxy = self.snapshot.site.networks[0].dhcp == DhcpMode::Proxy;
        if let Some(mac) = request.mac {
            if answer.chained {
                self.chained.insert(mac, self.now);
            }
            self.saw(mac, What::Dhcp(Box::new(DhcpSeen::of(&request, &answer, is_proxy))));
        }
        if let Some(change) = answer.lease {
            self.leases.apply(change);
        }
        match answer.verdict {
            Verdict::Reply { message, .. } => Some(Message::parse(&message).unwrap()),
            Verdict::Silence(_) => None,
        }
    }

    pub(crate) fn discover(&mut self, client: Client, mac: Mac) -> Option<Message> {
        let imagined = self.imagined(client, mac);
        self.send(imagined.discover(), imagined.ingress("eth1"))
    }

    /// DISCOVER, OFFER, REQUEST, ACK.
    pub(crate) fn dora(&mut self, client: Client, mac: Mac) -> Ipv4Addr {
        self.anew();
        let offer = self.discover(client, mac).expect("an OFFER");
        let imagined = self.imagined(client, mac);
        let ack = self.send(imagined.request(&offer), imagined.ingress("eth1")).expect("an ACK");
        assert_eq!(ack.message_type(), Some(MessageType::Ack));
        ack.yiaddr
    }

    pub(crate) fn tftp(&mut self, address: Ipv4Addr, file: &str, bytes: u64, fate: TftpFate) {
        let seen = TftpSeen { file: file.to_owned(), bytes, duration: Millis(100), fate };
        self.saw_at(address, What::Tftp(seen));
    }

    pub(crate) fn file(&mut self, address: Ipv4Addr, label: &str, sent: u64, total: u64) {
        let what = What::File { label: label.into(), sent, total, duration: Millis(900) };
        self.saw_at(address, what);
    }

    pub(crate) fn log(&mut self, address: Ipv4Addr, text: &str) {
        self.saw_at(address, What::Log { severity: 0, text: text.to_owned() });
    }

    pub(crate) fn document(&mut self, address: Ipv4Addr, name: &str) {
        self.saw_at(address, What::Document { name: name.to_owned(), status: 200 });
    }

    /// The head's own script for this machine; `line` is put in place of the kernel's parameters, if it is given.
    pub(crate) fn script(&mut self, mac: Mac, attempt: u32) {
        let request = boot::Request { mac: Some(mac), address: None, uuid: None, arch: None, attempt };
        let decision = decide(&self.snapshot, &request);
        let reach = Reach { head: ip(254), port: 8081, tls: None };
        let script = render(&decision, &request, &self.snapshot.site, reach).unwrap();
        let status = if script.is_some() { 200 } else { 404 };
        self.saw(mac, What::Script(Box::new(ScriptSeen::of(&decision, script.as_deref(), status, attempt))));
    }

    /// UEFI firmware up to the loader, which is whole.
    pub(crate) fn loader(&mut self, mac: Mac, client: Client, file: &str) -> Ipv4Addr {
        let address = self.dora(client, mac);
        self.wait(1);
        self.tftp(address, file, 0, TftpFate::Probed);
        self.tftp(address, file, MIB, TftpFate::Done);
        self.wait(3);
        address
    }

    /// … up to its script.
    pub(crate) fn scripted(&mut self, mac: Mac) -> Ipv4Addr {
        self.loader(mac, Client::UefiPxe, "snponly.efi");
        let address = self.dora(Client::Ipxe, mac);
        self.script(mac, 0);
        self.wait(1);
        address
    }

    /// … up to kernel and initrd.
    pub(crate) fn started(&mut self, mac: Mac) -> Ipv4Addr {
        let address = self.scripted(mac);
        self.file(address, "debian/vmlinuz", 8 * MIB, 8 * MIB);
        self.file(address, "debian/initrd.img", 40 * MIB, 40 * MIB);
        self.wait(15);
        address
    }

    /// … up to its root.
    pub(crate) fn rooted(&mut self, mac: Mac) -> Ipv4Addr {
        let address = self.started(mac);
        self.dora(Client::System, mac);
        self.wait(2);
        self.file(address, "debian/rootfs.squashfs", 800 * MIB, 800 * MIB);
        self.wait(10);
        address
    }

    /// … to the end.
    pub(crate) fn up(&mut self, mac: Mac) -> Ipv4Addr {
        let address = self.rooted(mac);
        for name in ["meta-data", "user-data", "vendor-data"] {
            self.document(address, name);
        }
        self.wait(20);
        self.saw_at(address, What::PhoneHome);
        address
    }

    pub(crate) fn record(&self, mac: Mac) -> &BootRecord {
        self.book.of(mac).expect("the machine was heard").0
    }

    /// What is said of a machine: of the attempt before while another one goes on.
    pub(crate) fn verdict(&self, mac: Mac) -> Option<(String, Sure, Outcome)> {
        let (record, before) = self.book.of(mac)?;
        let told = if record.outcome == Outcome::UnderWay { before.unwrap_or(record) } else { record };
        told.verdict.as_ref().map(|verdict| (verdict.rule.clone(), verdict.sure, told.outcome))
    }

    pub(crate) fn why(&self, mac: Mac) -> why::Why {
        let record = self.record(mac);
        let phase = record.verdict.as_ref().map(|verdict| verdict.phase);
        why::of(record, &Siblings::count(record, phase, self.book.latest()))
    }
}

/// A relayed message.
pub(crate) fn relayed(mut message: Message, relay: Ipv4Addr) -> (Message, Ingress) {
    message.giaddr = relay;
    message.hops = 1;
    let ingress = site::unicast(Mac([2, 0, 0, 0, 0, 1]), &format!("{relay}:67"), "192.0.2.254:67");
    (message, ingress)
}

/// The server identifier of a REQUEST becomes another server's.
pub(crate) fn for_other(mut request: Message, server: Ipv4Addr) -> Message {
    request.options.set(code::SERVER_ID, server.octets());
    request
}
