#![allow(clippy::indexing_slicing, reason = "a test that overruns has failed")]

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::dns::{Answer, answer};
use crate::model::network::tests::network;
use crate::model::{Bmc, Change, Interface, Inventory, Node, NodeId, Revision, Site, Snapshot};
use crate::wire::dns::{Message, Name, OpCode, Query, RData, RecordType, ResponseCode, header_error, parse};

fn site() -> Snapshot {
    let mut inventory = Inventory::default();
    let mut node = Node::new(NodeId(7), "nid001".parse().unwrap());
    for (name, mac, address) in [("management", 1, "192.0.2.1"), ("hsn0", 2, "198.51.100.1")] {
        node.interfaces.push(Interface {
            name: Some(name.to_owned()),
            mac: format!("00:00:5e:00:53:0{mac}").parse().unwrap(),
            addresses: vec![address.parse().unwrap()],
        });
    }
    inventory.apply(&Change::PutNode(Arc::new(node)));
    let bmc = Bmc {
        name: "bmc001".parse().unwrap(),
        xname: Some("x1000c0s0b0".parse().unwrap()),
        mac: None,
        address: Some("192.0.2.101".parse().unwrap()),
        fqdn: None,
        annotations: Default::default(),
    };
    inventory.apply(&Change::PutBmc(Arc::new(bmc)));
    let site = Site { networks: vec![network("")], ..Site::default() };
    Snapshot::compile(Revision(9), Arc::new(site), Arc::new(inventory))
}

fn ask_from(asker: &str, name: &str, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    match answer(&query, &site(), asker.parse::<IpAddr>().unwrap()) {
        Answer::Reply(message) => *message,
        other => panic!("{other:?}"),
    }
}

/// Response code, answers, and whether a SOA came along.
fn ask(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>, bool) {
    let reply = ask_from("203.0.113.9", name, kind);
    let data = reply.answers.iter().map(|record| record.data.to_string()).collect();
    let has_soa = reply.authorities.iter().any(|record| matches!(record.data, RData::SOA(_)));
    (reply.metadata.response_code, data, has_soa)
}

#[test]
fn machines_are_found_by_each_of_their_names() {
    for (name, expected) in [
        ("NID001.cluster.internal.", &["192.0.2.1", "198.51.100.1"][..]),
        ("nid001-hsn0.cluster.internal.", &["198.51.100.1"]),
        ("x9999c0s7b0n0.cluster.internal.", &["192.0.2.1", "198.51.100.1"]),
        ("bmc001.cluster.internal.", &["192.0.2.101"]),
        ("x1000c0s0b0.cluster.internal.", &["192.0.2.101"]),
        ("head.cluster.internal.", &["192.0.2.254"]),
        ("demo.cluster.internal.", &["192.0.2.254"]),
    ] {
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(ask(name, RecordType::A), (ResponseCode::NoError, expected, false), "{name}");
    }
}

#[test]
fn an_asker_on_a_network_gets_the_address_on_that_network_and_its_letter_case_back() {
    let reply = ask_from("192.0.2.77", "NiD001.cluster.internal.", RecordType::A);
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].name.to_ascii(), "NiD001.cluster.internal.");
    assert!(reply.metadata.authoritative);
}

#[test]
fn addresses_lead_back_to_names() {
    let pointer = |name| ask(name, RecordType::PTR);
    let found = |name: &str| (ResponseCode::NoError, vec![format!("{name}.cluster.internal.")], false);
    assert_eq!(pointer("1.2.0.192.in-addr.arpa."), found("nid001"));
    assert_eq!(pointer("1.100.51.198.in-addr.arpa."), found("nid001"));
    assert_eq!(pointer("101.2.0.192.in-addr.arpa."), found("bmc001"));
    assert_eq!(pointer("254.2.0.192.in-addr.arpa."), found("head"));
    assert_eq!(pointer("9.2.0.192.in-addr.arpa."), (ResponseCode::NXDomain, vec![], true));
}

#[test]
fn what_is_not_there_is_denied_with_a_soa() {
    assert_eq!(ask("nid002.cluster.internal.", RecordType::A), (ResponseCode::NXDomain, vec![], true));
    assert_eq!(ask("nid001.cluster.internal.", RecordType::AAAA), (ResponseCode::NoError, vec![], true));
    assert_eq!(ask("cluster.internal.", RecordType::A), (ResponseCode::NoError, vec![], true));
    assert_eq!(ask("cluster.internal.", RecordType::NS).1, ["head.cluster.internal."]);
    assert_eq!(ask("cluster.internal.", RecordType::SOA).1.len(), 1);
    assert_eq!(ask("nid001.cluster.internal.", RecordType::ANY).1.len(), 1);
}

#[test]
fn foreign_names_are_forwarded_and_odd_queries_refused() {
    let asker: IpAddr = "192.0.2.77".parse().unwrap();
    for name in ["example.org.", "notcluster.internal.", "1.113.0.203.in-addr.arpa.", "."] {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        assert_eq!(answer(&query, &site(), asker), Answer::Forward, "{name}");
        query.metadata.op_code = OpCode::Notify;
        let Answer::Reply(reply) = answer(&query, &site(), asker) else { panic!("{name}") };
        assert_eq!(reply.metadata.response_code, ResponseCode::NotImp);
    }
    let Answer::Reply(reply) = answer(&Message::query(), &site(), asker) else { panic!() };
    assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
    let response = header_error(&[0; 12]).unwrap();
    assert_eq!(answer(&response, &site(), asker), Answer::Silence);
}

proptest! {
    #[test]
    fn no_query_makes_the_answer_panic(bytes in prop::collection::vec(any::<u8>(), 12..200), name in "[a-z0-9.-]{0,40}") {
        let site = site();
        let asker: IpAddr = "192.0.2.77".parse().unwrap();
        if let Ok(query) = parse(&bytes) {
            let _ = answer(&query, &site, asker);
        }
        for suffix in ["", "cluster.internal.", "in-addr.arpa."] {
            if let Ok(name) = Name::from_ascii(format!("{name}.{suffix}")) {
                let mut query = Message::query();
                query.add_query(Query::query(name, RecordType::A));
                let _ = answer(&query, &site, asker);
            }
        }
    }
}
