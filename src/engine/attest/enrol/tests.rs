use std::sync::Arc;

use crate::base::Timestamp;
use crate::engine::attest::enrol::{
    Enrol, EnrolError, Override, TpmPolicy, TpmRules, Word, anew, approve, by_window, preload, revoke,
};
use crate::engine::attest::policy::Mode;
use crate::engine::trust::session::{ArmOn, Start, start};
use crate::model::boot_session::{ArmedBy, Channel};
use crate::model::identity::{EkFingerprint, Enrolled, Make, Pending};
use crate::model::{BootSession, Change, Inventory, Node, NodeId, SessionId};

const WORD: Word<'static> = Word { by: "alice", at: Timestamp(5) };
const OPEN: TpmPolicy =
    TpmPolicy { enrol: Enrol::Window, require_certificate: false, pcr: Mode::Record, tpm_first: true };

fn ek(octet: u8) -> EkFingerprint {
    EkFingerprint([octet; 32])
}

fn waits(octet: u8, chain: &str) -> Pending {
    let make = Make { chain: chain.to_owned(), ..Make::default() };
    let (first, last) = (Timestamp(1), Timestamp(2));
    let session = SessionId([1; 16]);
    Pending { ek: ek(octet), make, first, last, from: None, session, epoch: 1, others: 0 }
}

fn site() -> (Inventory, [Arc<Node>; 2]) {
    let mut site = Inventory::default();
    let node = |id: u64| Arc::new(Node::new(NodeId(id), format!("nid00{id}").parse().unwrap()));
    let nodes = [node(1), node(2)];
    nodes.iter().for_each(|node| site.apply(&Change::PutNode(Arc::clone(node))));
    (site, nodes)
}

fn session(armed_by: ArmedBy) -> BootSession {
    let mac = "00:00:5e:00:53:01".parse().unwrap();
    let order = Start {
        id: SessionId([1; 16]),
        node: NodeId(1),
        channel: Channel { mac, address: None, relay: None, uuid: None, arch: None },
        arm_on: ArmOn::Dhcp,
        powered: None,
        alive: None,
        epoch: 1,
        life: crate::base::limits::SESSION_LIFE,
    };
    BootSession { armed_by, ..start(None, order, Timestamp(1)).unwrap().0 }
}

#[test]
fn an_approval_is_of_the_code_that_was_compared() {
    let (mut site, [one, two]) = site();
    let policy = TpmPolicy::default();
    let try_one =
        |site: &Inventory, code: &str| approve(site, &one, Some(&waits(7, "none")), code, policy, WORD);
    assert_eq!(approve(&site, &one, None, &ek(7).code(), policy, WORD), Err(EnrolError::Nothing));
    for wrong in ["", "ABCD", &ek(8).code(), &ek(8).to_string()] {
        assert_eq!(try_one(&site, wrong), Err(EnrolError::Code(ek(7).code())), "{wrong}");
    }
    let typed = ek(7).code().to_ascii_lowercase().replace('-', " ");
    let Some(Change::PutIdentity(identity)) = try_one(&site, &typed).unwrap() else { panic!() };
    assert_eq!((identity.ek, identity.how, &*identity.by), (Some(ek(7)), Enrolled::Approved, "alice"));
    assert_eq!(try_one(&site, &ek(7).to_string()).unwrap(), Some(Change::PutIdentity(Arc::clone(&identity))));
    site.apply(&Change::PutIdentity(identity));
    assert_eq!(try_one(&site, &ek(7).code()), Ok(None), "again is no change");
    let other = approve(&site, &one, Some(&waits(9, "none")), &ek(9).code(), policy, WORD);
    assert_eq!(
        other,
        Err(EnrolError::Enrolled(ek(7).code())),
        "a new mainboard is an administrator's matter"
    );
    let stolen = approve(&site, &two, Some(&waits(7, "none")), &ek(7).code(), policy, WORD);
    assert_eq!(stolen, Err(EnrolError::Taken("nid001".to_owned())));
}

#[test]
fn what_a_site_demands_holds_for_every_way_in_but_its_own_list() {
    let (site, [one, _]) = site();
    let listed = TpmPolicy { enrol: Enrol::Preload, ..OPEN };
    let code = ek(7).code();
    let list_only = approve(&site, &one, Some(&waits(7, "ok")), &code, listed, WORD);
    assert_eq!(list_only, Err(EnrolError::ListOnly));
    let certified = TpmPolicy { require_certificate: true, ..OPEN };
    for chain in ["none", "unknown", "certificate: malformed"] {
        let refused = Err(EnrolError::Certificate(chain.to_owned()));
        assert_eq!(approve(&site, &one, Some(&waits(7, chain)), &code, certified, WORD), refused);
        let session = session(ArmedBy::Power);
        assert_eq!(by_window(&site, &session, &waits(7, chain), certified, WORD), refused);
    }
    assert!(approve(&site, &one, Some(&waits(7, "ok")), &code, certified, WORD).unwrap().is_some());
    assert!(preload(&site, &one, ek(7), WORD).unwrap().is_some());
}

#[test]
fn a_window_takes_only_nodes_that_somebody_vouches_for() {
    let (mut site, [one, two]) = site();
    let come = |site: &Inventory, by, policy| by_window(site, &session(by), &waits(7, "none"), policy, WORD);
    assert_eq!(come(&site, ArmedBy::Dhcp, OPEN), Ok(None), "anybody can ask DHCP");
    assert_eq!(come(&site, ArmedBy::Power, TpmPolicy::default()), Ok(None));
    assert!(come(&site, ArmedBy::Power, OPEN).unwrap().is_some());
    assert!(come(&site, ArmedBy::Operator, OPEN).unwrap().is_some());
    let former = Pending { session: SessionId([9; 16]), ..waits(7, "none") };
    let other = by_window(&site, &session(ArmedBy::Power), &former, OPEN, WORD);
    assert_eq!(other, Ok(None), "it was shown in another boot");
    site.apply(&preload(&site, &two, ek(7), WORD).unwrap().unwrap());
    assert_eq!(come(&site, ArmedBy::Power, OPEN), Err(EnrolError::Taken("nid002".to_owned())));
    site.apply(&revoke(&site, &one, WORD).unwrap());
    assert_eq!(come(&site, ArmedBy::Power, OPEN), Err(EnrolError::Revoked));
}

#[test]
fn a_revoked_key_comes_back_by_an_administrator_alone_and_to_no_other_node() {
    let (mut site, [one, two]) = site();
    site.apply(&preload(&site, &one, ek(7), WORD).unwrap().unwrap());
    assert_eq!(preload(&site, &one, ek(7), WORD), Ok(None));
    assert_eq!(preload(&site, &one, ek(8), WORD), Err(EnrolError::Enrolled(ek(7).code())));
    site.apply(&revoke(&site, &one, WORD).unwrap());
    assert_eq!(revoke(&site, &one, WORD), None);
    assert_eq!(preload(&site, &one, ek(7), WORD), Err(EnrolError::Revoked));
    assert_eq!(preload(&site, &two, ek(7), WORD), Err(EnrolError::Taken("nid001".to_owned())));
    assert_eq!(anew(&site, &two, Some(ek(7)), WORD), Err(EnrolError::Taken("nid001".to_owned())));
    site.apply(&anew(&site, &one, Some(ek(8)), WORD).unwrap());
    assert_eq!((site.holder(&ek(7)), site.holder(&ek(8))), (None, Some(NodeId(1))));
    site.apply(&anew(&site, &one, None, WORD).unwrap());
    assert!(site.identities.is_empty());
}

#[test]
fn groups_say_what_differs_and_the_stricter_of_two_counts() {
    let (_, [one, _]) = site();
    let mut rules = TpmRules::default();
    let enforce =
        Override { pcr: Some(Mode::Enforce), require_certificate: Some(true), ..Override::default() };
    let lax = Override { pcr: Some(Mode::Off), tpm_first: Some(false), ..Override::default() };
    rules.groups = [("a".parse().unwrap(), enforce), ("b".parse().unwrap(), lax)].into();
    let of = |groups: &[&str]| {
        let mut node = Node::clone(&one);
        node.groups = groups.iter().map(|name| name.parse().unwrap()).collect();
        rules.of(&node)
    };
    assert_eq!(of(&[]), TpmPolicy::default());
    assert_eq!(of(&["b"]), TpmPolicy { pcr: Mode::Off, tpm_first: false, ..TpmPolicy::default() });
    let both = of(&["a", "b", "c"]);
    assert_eq!((both.pcr, both.require_certificate, both.tpm_first), (Mode::Enforce, true, false));
}
