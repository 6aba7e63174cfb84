#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]

use std::net::{Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;

use crate::base::limits::{
    ANSWER_AGAIN, GRANT_TRIES_MAX, GRANTS_MAX, SEAL_AFTER, SESSION_EVENTS_MAX, SESSION_LIFE,
};
use crate::base::{Digest, Level, Mac, Millis, Timestamp};
use crate::engine::trust::session::{ArmOn, Redeemed, Refusal, Start, start};
use crate::engine::trust::{key_hash, nonce_hash};
use crate::model::boot_session::{Answered, ArmedBy, BootSession, Channel, Delivery, Given, Held};
use crate::model::{NodeId, SessionId, SessionState};

const NOW: Timestamp = Timestamp(1_795_402_800_000);
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const EPOCH: u64 = 4;

fn order(id: u8, arm_on: ArmOn) -> Start {
    let channel =
        Channel { mac: Mac([2, 0, 0, 0, 0, 1]), address: None, relay: None, uuid: None, arch: None };
    Start {
        id: SessionId([id; 16]),
        node: NodeId(1),
        channel,
        arm_on,
        powered: None,
        alive: None,
        epoch: EPOCH,
        life: SESSION_LIFE,
    }
}

fn armed() -> BootSession {
    start(None, order(1, ArmOn::Dhcp), NOW).unwrap().0
}

/// A session whose grant, the nonce `[1; 32]`, is in the node's hands.
fn granted() -> BootSession {
    let mut session = armed();
    assert!(session.script(NODE, None, SESSION_LIFE, NOW));
    session.grant(NODE, nonce_hash(&[1; 32]), (None, None), NOW).unwrap();
    session
}

fn from(address: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(address, 700)
}

fn redeem(session: &mut BootSession, nonce: u8, key: u8, after: Millis) -> Result<Redeemed, Refusal> {
    session.redeem(&nonce_hash(&[nonce; 32]), &key_hash(&[key; 32]), from(NODE), EPOCH, NOW + after)
}

fn delivery() -> Delivery {
    Delivery { secret: "munge".to_owned(), version: 1, at: NOW, to: NODE, bundle: [0; 32] }
}

/// A claimed session whose answer was `sealed`.
fn claimed(withheld: &[&str]) -> BootSession {
    let mut session = granted();
    assert_eq!(redeem(&mut session, 1, 1, Millis(0)), Ok(Redeemed::First));
    let withheld = withheld.iter().map(ToString::to_string).collect();
    session.answer_claim(b"sealed".to_vec(), vec![delivery()], withheld);
    session
}

fn alarms(session: &BootSession) -> usize {
    session.events.iter().filter(|event| event.alarm).count()
}

#[test]
fn t01_a_claim_from_the_right_address_with_the_right_nonce_counts() {
    let session = claimed(&[]);
    assert_eq!((session.state, session.level), (SessionState::Claimed, Level::Grant));
    assert_eq!((session.deliveries.len(), alarms(&session)), (1, 0));
}

#[test]
fn what_a_boot_should_measure_is_that_of_the_archive_whose_grant_was_redeemed() {
    let digest = |octet| Some(Digest([octet; 32]));
    let given = |line: &str| Some(Given { command_line: line.to_owned(), ..Given::default() });
    let mut session = armed();
    assert!(session.script(NODE, given("kernel quiet"), SESSION_LIFE, NOW));
    session.grant(NODE, nonce_hash(&[1; 32]), (digest(9), digest(1)), NOW).unwrap();
    // The loader asks again after a broken transfer, and the file could not be read once.
    assert!(session.script(NODE, given("kernel quiet"), SESSION_LIFE, NOW));
    session.grant(NODE, nonce_hash(&[2; 32]), (None, digest(2)), NOW).unwrap();
    let mut other = session.clone();
    assert_eq!(redeem(&mut session, 1, 1, Millis(0)), Ok(Redeemed::First));
    let kept = session.given.unwrap();
    assert_eq!((kept.kernel_digest, kept.initrd_digests), (digest(9), vec![digest(1)]));
    // Another script in between: what was measured for the one before counts no more.
    assert!(other.script(NODE, given("kernel rescue"), SESSION_LIFE, NOW));
    assert_eq!(other.given.as_ref().unwrap().kernel_digest, None);
    other.grant(NODE, nonce_hash(&[3; 32]), (digest(8), digest(3)), NOW).unwrap();
    let mut former = other.clone();
    assert_eq!(redeem(&mut other, 3, 1, Millis(0)), Ok(Redeemed::First));
    assert_eq!(other.given.unwrap().initrd_digests, [digest(3)]);
    assert_eq!(redeem(&mut former, 1, 1, Millis(0)), Ok(Redeemed::First));
    assert_eq!(former.given.unwrap().initrd_digests, [None]);
}

#[test]
fn t02_the_same_claim_again_gets_the_same_answer_for_two_minutes() {
    let mut session = claimed(&["host-key"]);
    for after in [Millis(0), Millis(1), ANSWER_AGAIN] {
        assert_eq!(redeem(&mut session, 1, 1, after), Ok(Redeemed::Again(b"sealed".to_vec())), "{after:?}");
    }
    assert_eq!(redeem(&mut session, 1, 1, Millis(ANSWER_AGAIN.0 + 1)), Err(Refusal::Late));
    assert_eq!(session.deliveries.len(), 1);
}

#[test]
fn t03_another_key_ends_the_session_for_both() {
    let mut session = claimed(&[]);
    assert_eq!(redeem(&mut session, 1, 2, Millis(5)), Err(Refusal::OtherKey));
    assert_eq!((session.state, alarms(&session)), (SessionState::Revoked, 1));
    assert_eq!(redeem(&mut session, 1, 1, Millis(6)), Err(Refusal::Ended(SessionState::Revoked)));
    assert!(session.claim.unwrap().reply.is_empty(), "there is nothing left to be given");
}

#[test]
fn t04_of_a_hundred_keys_one_is_answered() {
    let mut session = granted();
    let answers: Vec<_> = (1..=100).map(|key| redeem(&mut session, 1, key, Millis(0))).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
}

#[test]
fn t05_a_late_claim_finds_the_session_expired() {
    let mut session = granted();
    assert_eq!(redeem(&mut session, 1, 1, SESSION_LIFE), Err(Refusal::Ended(SessionState::Expired)));
    let mut punctual = granted();
    assert_eq!(redeem(&mut punctual, 1, 1, Millis(SESSION_LIFE.0 - 1)), Ok(Redeemed::First));
}

#[test]
fn t06_from_another_address_there_is_no_session_and_nothing_changes() {
    let mut session = granted();
    let before = session.clone();
    let (nonce, key) = (nonce_hash(&[1; 32]), key_hash(&[1; 32]));
    assert_eq!(session.redeem(&nonce, &key, from(OTHER), EPOCH, NOW), Err(Refusal::Unknown));
    assert_eq!(session.grant(OTHER, nonce, (None, None), NOW), Err(Refusal::Unknown));
    assert_eq!(session.seal(&key, OTHER, EPOCH, NOW), Err(Refusal::Unknown));
    assert!(!session.script(OTHER, None, SESSION_LIFE, NOW));
    assert_eq!(session, before);
}

#[test]
fn t09_five_wrong_nonces_end_the_session() {
    let mut session = granted();
    for _ in 0..GRANT_TRIES_MAX {
        assert_eq!(session.state, SessionState::Scripted);
        assert_eq!(redeem(&mut session, 9, 1, Millis(0)), Err(Refusal::Nonce));
    }
    assert_eq!((session.state, alarms(&session)), (SessionState::Revoked, 1));
    assert_eq!(redeem(&mut session, 1, 1, Millis(0)), Err(Refusal::Ended(SessionState::Revoked)));
}

#[test]
fn t10_the_grant_is_served_three_times_and_not_after_a_claim() {
    let mut session = armed();
    assert_eq!(session.grant(NODE, [0; 32], (None, None), NOW), Err(Refusal::Unknown), "before the script");
    assert!(session.script(NODE, None, SESSION_LIFE, NOW));
    for number in 1..=GRANTS_MAX {
        assert!(session.script(NODE, None, SESSION_LIFE, NOW));
        session.grant(NODE, nonce_hash(&[u8::try_from(number).unwrap(); 32]), (None, None), NOW).unwrap();
    }
    assert_eq!(session.grant(NODE, [0; 32], (None, None), NOW), Err(Refusal::Unknown));
    assert!(!session.script(NODE, None, SESSION_LIFE, NOW), "a script without a grant is an ordinary one");
    // Each of those served is good: which of them the node booted with, it knows alone.
    assert_eq!(redeem(&mut session, 2, 1, Millis(0)), Ok(Redeemed::First));
    assert_eq!(claimed(&[]).grant(NODE, [0; 32], (None, None), NOW), Err(Refusal::Unknown));
}

#[test]
fn t11_a_node_that_is_up_does_not_boot() {
    let alive = |ago: u64| {
        let order = Start { alive: Some(NOW), ..order(1, ArmOn::Dhcp) };
        start(None, order, NOW + Millis::from_secs(ago)).unwrap().0
    };
    let mut held = alive(10);
    assert_eq!((held.held, alarms(&held)), (Some(Held::Alive), 1));
    assert!(held.events[0].text.contains("possible-mac-spoof"));
    let later = NOW + Millis::from_secs(11);
    assert!(held.script(NODE, None, SESSION_LIFE, later), "it boots all the same");
    held.grant(NODE, nonce_hash(&[1; 32]), (None, None), later).unwrap();
    assert_eq!(redeem(&mut held, 1, 1, Millis::from_secs(12)), Err(Refusal::Held(Held::Alive)));
    assert_eq!(held.state, SessionState::Scripted);
    held.release("alice", later).unwrap();
    assert_eq!(redeem(&mut held, 1, 1, Millis::from_secs(12)), Ok(Redeemed::First));
    assert_eq!(alive(61).held, None);
    let restarted = Start { alive: Some(NOW), powered: Some(NOW), ..order(1, ArmOn::Dhcp) };
    let restarted = start(None, restarted, NOW + Millis::from_secs(10)).unwrap().0;
    assert_eq!((restarted.held, restarted.armed_by), (None, ArmedBy::Power), "we restarted it ourselves");
}

#[test]
fn t12_without_what_policy_wants_a_session_is_held() {
    for (arm_on, powered_ago, wanted) in [
        (ArmOn::Power, None, Some(Held::NoPower)),
        (ArmOn::Power, Some(601), Some(Held::NoPower)),
        (ArmOn::Power, Some(600), None),
        (ArmOn::Operator, Some(1), Some(Held::NoOperator)),
        (ArmOn::Dhcp, None, None),
        (ArmOn::Auto, None, None),
    ] {
        let powered = powered_ago.map(|ago| NOW - Millis::from_secs(ago));
        let session = start(None, Start { powered, ..order(1, arm_on) }, NOW).unwrap().0;
        assert_eq!(session.held, wanted, "{arm_on:?} {powered_ago:?}");
    }
}

#[test]
fn t13_the_grant_of_a_former_boot_is_worth_nothing_and_raises_an_alarm() {
    let (second, former) = start(Some(&granted()), order(2, ArmOn::Dhcp), NOW + Millis(5)).unwrap();
    let mut former = former.unwrap();
    assert_eq!((former.state, second.id), (SessionState::Superseded, SessionId([2; 16])));
    assert_eq!(redeem(&mut former, 9, 1, Millis(6)), Err(Refusal::Ended(SessionState::Superseded)));
    assert_eq!(alarms(&former), 0, "a guess says nothing about the boot");
    assert_eq!(redeem(&mut former, 1, 1, Millis(6)), Err(Refusal::Ended(SessionState::Superseded)));
    assert_eq!(alarms(&former), 1);
}

#[test]
fn firmware_and_its_loader_are_one_boot() {
    assert_eq!(start(Some(&armed()), order(2, ArmOn::Dhcp), NOW + Millis(5)), None);
    // One that never came to its script is replaced silently.
    let (_, former) = start(Some(&armed()), order(2, ArmOn::Dhcp), NOW + SESSION_LIFE).unwrap();
    assert_eq!(former, None);
}

#[test]
fn t15_a_session_of_another_epoch_counts_no_more() {
    let mut session = granted();
    let (nonce, key) = (nonce_hash(&[1; 32]), key_hash(&[1; 32]));
    let refused = session.redeem(&nonce, &key, from(NODE), EPOCH + 1, NOW);
    assert_eq!(refused, Err(Refusal::Ended(SessionState::Revoked)));
    assert!(!claimed(&[]).is_live(EPOCH + 1, NOW));
}

#[test]
fn a_session_seals_itself_when_nothing_is_to_come() {
    let mut done = claimed(&[]);
    assert!(!done.pass_time(NOW + Millis(ANSWER_AGAIN.0 - 1)));
    assert!(done.pass_time(NOW + ANSWER_AGAIN));
    assert_eq!(done.state, SessionState::Sealed);
    let mut waiting = claimed(&["host-key"]);
    assert!(!waiting.pass_time(NOW + ANSWER_AGAIN), "its TPM may still answer");
    let answer = Answered { of: [5; 32], to: from(NODE), at: NOW + ANSWER_AGAIN, reply: b"more".to_vec() };
    waiting.attested(Level::Tpm, answer, Vec::new(), Vec::new());
    assert_eq!((waiting.state, waiting.level), (SessionState::Delivered, Level::Tpm));
    assert_eq!(waiting.attested_before(&[5; 32], NOW + ANSWER_AGAIN), Ok(Some(b"more".to_vec())));
    assert_eq!(waiting.attested_before(&[6; 32], NOW + ANSWER_AGAIN), Err(Refusal::Late));
    assert!(waiting.pass_time(NOW + ANSWER_AGAIN + SEAL_AFTER));
    assert_eq!(waiting.state, SessionState::Sealed);
    assert!(waiting.attestation.unwrap().reply.is_empty());
}

#[test]
fn only_who_claimed_may_attest_and_seal() {
    let (own, other) = (key_hash(&[1; 32]), key_hash(&[2; 32]));
    let mut early = granted();
    assert_eq!(early.may_attest(&own, NODE, EPOCH, NOW), Err(Refusal::Early(SessionState::Scripted)));
    assert_eq!(early.seal(&own, NODE, EPOCH, NOW), Err(Refusal::Early(SessionState::Scripted)));
    let mut session = claimed(&[]);
    assert_eq!(session.may_attest(&other, NODE, EPOCH, NOW), Err(Refusal::OtherKey));
    assert_eq!(session.seal(&other, NODE, EPOCH, NOW), Err(Refusal::Early(SessionState::Claimed)));
    assert_eq!(session.may_attest(&own, NODE, EPOCH, NOW), Ok(()));
    assert_eq!(session.seal(&own, NODE, EPOCH, NOW), Ok(()));
    assert_eq!(session.seal(&own, NODE, EPOCH, NOW), Ok(()), "a lost reply costs nothing");
    assert_eq!(session.may_attest(&own, NODE, EPOCH, NOW), Err(Refusal::Ended(SessionState::Sealed)));
    assert_eq!(redeem(&mut session, 1, 1, Millis(1)), Err(Refusal::Ended(SessionState::Sealed)));
}

#[test]
fn an_ended_session_cannot_be_released_or_revoked() {
    let mut session = claimed(&[]);
    session.seal(&key_hash(&[1; 32]), NODE, EPOCH, NOW).unwrap();
    let before = session.clone();
    assert_eq!(session.release("alice", NOW), Err(Refusal::Ended(SessionState::Sealed)));
    session.revoke("too late".to_owned(), true, NOW);
    assert_eq!(session, before);
}

/// What may happen to a session.
#[derive(Clone, Debug)]
enum Event {
    Script(bool),
    Grant(bool, u8),
    Claim { own: bool, nonce: u8, key: u8 },
    Attest(u8),
    Seal(bool, u8),
    Wait(u64),
    Boot,
    Revoke,
    Release,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let small = || 0_u8..4;
    let own = || proptest::bool::weighted(0.8);
    let event = prop_oneof![
        3 => own().prop_map(Event::Script),
        4 => (own(), small()).prop_map(|(own, nonce)| Event::Grant(own, nonce)),
        8 => (own(), small(), small()).prop_map(|(own, nonce, key)| Event::Claim { own, nonce, key }),
        2 => small().prop_map(Event::Attest),
        1 => (own(), small()).prop_map(|(own, key)| Event::Seal(own, key)),
        2 => (0_u64..400_000).prop_map(Event::Wait),
        1 => Just(Event::Boot),
        1 => Just(Event::Revoke),
        1 => Just(Event::Release),
    ];
    proptest::collection::vec(event, 0..40)
}

proptest! {
    /// Whatever happens in whatever order: at most one key of a session is ever served, no key after the session
    /// has ended, no answer differs from the first, and the record stays small.
    #[test]
    fn never_two_keys_and_never_after_the_end(events in events(), held: bool) {
        let policy = if held { ArmOn::Operator } else { ArmOn::Dhcp };
        let mut session = start(None, order(0, policy), NOW).unwrap().0;
        let (mut now, mut boots, mut served) = (NOW, 0_u8, None);
        let place = |own: bool| if own { NODE } else { OTHER };
        for event in events {
            let ended = session.state.is_final();
            let mut answered = None;
            match event {
                Event::Script(own) => drop(session.script(place(own), None, SESSION_LIFE, now)),
                Event::Grant(own, nonce) => drop(session.grant(place(own), nonce_hash(&[nonce; 32]), (None, None), now)),
                Event::Claim { own, nonce, key } => {
                    let hashes = (nonce_hash(&[nonce; 32]), key_hash(&[key; 32]));
                    let redeemed = session.redeem(&hashes.0, &hashes.1, from(place(own)), EPOCH, now);
                    if redeemed == Ok(Redeemed::First) {
                        session.answer_claim(vec![key], vec![delivery()], vec!["tpm".to_owned()]);
                    }
                    if let Ok(Redeemed::Again(reply)) = &redeemed {
                        prop_assert_eq!(reply, &vec![key]);
                    }
                    answered = redeemed.ok().map(|_| key);
                }
                Event::Attest(key) => {
                    if session.may_attest(&key_hash(&[key; 32]), NODE, EPOCH, now).is_ok()
                        && session.attestation.is_none()
                    {
                        let answer = Answered { of: [key; 32], to: from(NODE), at: now, reply: vec![key] };
                        session.attested(Level::Tpm, answer, Vec::new(), Vec::new());
                        answered = Some(key);
                    }
                }
                Event::Seal(own, key) => drop(session.seal(&key_hash(&[key; 32]), place(own), EPOCH, now)),
                Event::Wait(ms) => now = now + Millis(ms),
                Event::Boot => {
                    boots = boots.wrapping_add(1);
                    if let Some((next, _)) = start(Some(&session), order(boots, policy), now) {
                        (session, served) = (next, None);
                    }
                }
                Event::Revoke => session.revoke("an operator".to_owned(), false, now),
                Event::Release => drop(session.release("an operator", now)),
            }
            if let Some(key) = answered {
                prop_assert!(!ended, "served after the end");
                prop_assert!(session.held.is_none(), "served although held");
                prop_assert!(*served.get_or_insert(key) == key, "two keys were served");
            }
            prop_assert!(session.grants.len() <= GRANTS_MAX && session.events.len() <= SESSION_EVENTS_MAX);
            prop_assert!(!session.state.is_final() || session.claim.iter().all(|claim| claim.reply.is_empty()));
        }
    }
}
