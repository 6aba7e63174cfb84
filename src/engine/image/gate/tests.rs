use std::net::{IpAddr, Ipv4Addr};

use crate::base::{Millis, Timestamp};
use crate::engine::image::gate::{Entry, Gate, Manner, Place};

fn who(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

const NOW: Timestamp = Timestamp(1_000_000);

#[track_caller]
fn waits(entry: Entry) -> Place {
    match entry {
        Entry::Wait(place) => place,
        other => panic!("{other:?}"),
    }
}

#[test]
fn so_many_go_ahead_and_the_others_in_the_order_of_their_arrival() {
    let mut gate = Gate::new(2);
    assert_eq!(
        [gate.on_arrival(who(1), Manner::Waits, NOW), gate.on_arrival(who(2), Manner::Waits, NOW)],
        [Entry::Now, Entry::Now]
    );
    let third = waits(gate.on_arrival(who(3), Manner::Waits, NOW));
    let fourth = waits(gate.on_arrival(who(4), Manner::Waits, NOW));
    assert_eq!((gate.before(third), gate.before(fourth)), (0, 1));
    assert_eq!(gate.on_done(), Some(third));
    assert_eq!(gate.on_done(), Some(fourth));
    assert_eq!((gate.on_done(), gate.on_done()), (None, None));
    assert_eq!(gate.count(), (0, 0));
    assert_eq!(gate.on_arrival(who(5), Manner::Waits, NOW), Entry::Now);
}

#[test]
fn who_is_gone_holds_nobody_up() {
    let mut gate = Gate::new(1);
    gate.on_arrival(who(1), Manner::Waits, NOW);
    let second = waits(gate.on_arrival(who(2), Manner::Waits, NOW));
    let third = waits(gate.on_arrival(who(3), Manner::Waits, NOW));
    gate.on_gone(second);
    assert_eq!(gate.on_done(), Some(third));
}

#[test]
fn who_was_sent_away_keeps_its_place_if_it_comes_back_in_time() {
    let mut gate = Gate::new(1);
    gate.on_arrival(who(1), Manner::Waits, NOW);
    let second = waits(gate.on_arrival(who(2), Manner::Waits, NOW));
    assert!(gate.on_sent_away(second, Millis::from_secs(10), NOW));
    let third = waits(gate.on_arrival(who(3), Manner::Waits, NOW));
    // While it is away, others take their turn.
    let fourth = waits(gate.on_arrival(who(4), Manner::Waits, NOW));
    assert_eq!(gate.on_done(), Some(third));
    let later = NOW + Millis::from_secs(11);
    assert_eq!(waits(gate.on_arrival(who(2), Manner::Waits, later)), second, "before the fourth");
    assert_eq!(gate.on_done(), Some(second));
    assert_eq!(gate.on_done(), Some(fourth));
}

#[test]
fn a_place_is_not_kept_for_ever_and_not_taken_twice() {
    let mut gate = Gate::new(1);
    gate.on_arrival(who(1), Manner::Waits, NOW);
    let second = waits(gate.on_arrival(who(2), Manner::Waits, NOW));
    assert!(gate.on_sent_away(second, Millis::from_secs(10), NOW));
    let late = NOW + Millis::from_secs(21);
    let again = waits(gate.on_arrival(who(2), Manner::Waits, late));
    assert_ne!(again, second);
    assert_eq!(gate.count(), (1, 1), "its old place is gone");
    assert_eq!(gate.on_done(), Some(again));
    // Whose turn came while it was being sent away is not sent away.
    assert!(!gate.on_sent_away(again, Millis::from_secs(10), late));
}

#[test]
fn a_free_place_is_not_kept_for_those_who_are_away() {
    let mut gate = Gate::new(1);
    gate.on_arrival(who(1), Manner::Waits, NOW);
    let second = waits(gate.on_arrival(who(2), Manner::Waits, NOW));
    assert!(gate.on_sent_away(second, Millis::from_secs(10), NOW));
    assert_eq!(gate.on_done(), None);
    assert_eq!(gate.on_arrival(who(3), Manner::Waits, NOW), Entry::Now);
}

#[test]
fn places_of_those_who_stay_away_are_given_up_whoever_stands_before_them() {
    let mut gate = Gate::new(1);
    gate.on_arrival(who(1), Manner::Waits, NOW);
    let stays = waits(gate.on_arrival(who(2), Manner::Waits, NOW));
    for n in 3..100 {
        let place = waits(gate.on_arrival(who(n), Manner::ComesBack, NOW));
        assert!(gate.on_sent_away(place, Millis::from_secs(10), NOW));
    }
    let last = waits(gate.on_arrival(who(100), Manner::Waits, NOW));
    assert_eq!((gate.before(last), gate.count()), (98, (1, 99)));
    let late = NOW + Millis::from_secs(20);
    waits(gate.on_arrival(who(101), Manner::Waits, late));
    assert_eq!((gate.before(last), gate.count()), (1, (1, 3)));
    assert_eq!(gate.on_done(), Some(stays));
}

#[test]
fn several_behind_one_address_share_the_best_of_their_places() {
    let mut gate = Gate::new(1);
    gate.on_arrival(who(1), Manner::Waits, NOW);
    let early = waits(gate.on_arrival(who(2), Manner::ComesBack, NOW));
    let late = waits(gate.on_arrival(who(2), Manner::ComesBack, NOW));
    assert!(gate.on_sent_away(early, Millis::from_secs(10), NOW));
    assert!(gate.on_sent_away(late, Millis::from_secs(10), NOW));
    assert_eq!(gate.count(), (1, 1));
    assert_eq!(waits(gate.on_arrival(who(2), Manner::ComesBack, NOW)), early);
    assert!(waits(gate.on_arrival(who(2), Manner::ComesBack, NOW)) > late, "the second is new");
}

#[test]
fn who_gives_up_soon_does_not_stand_in_line_and_is_counted() {
    assert_eq!(Manner::of("UefiHttpBoot/1.0"), Manner::GivesUp);
    assert_eq!(Manner::of("GRUB 2.12"), Manner::GivesUp);
    assert_eq!(Manner::of("iPXE/1.21.1"), Manner::ComesBack);
    assert_eq!(Manner::of("Wget/1.21"), Manner::Waits);
    let mut gate = Gate::new(1);
    assert_eq!(gate.on_arrival(who(1), Manner::Waits, NOW), Entry::Now);
    let second = waits(gate.on_arrival(who(2), Manner::Waits, NOW));
    assert_eq!(gate.on_arrival(who(3), Manner::GivesUp, NOW), Entry::Now);
    assert_eq!(gate.on_done(), None, "one of two that download has ended, and one may");
    assert_eq!(gate.on_done(), Some(second));
}
