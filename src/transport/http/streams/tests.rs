use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::base::Digest;
use crate::engine::image::gate::{Entry, Manner};
use crate::transport::clock::steady;
use crate::transport::http::streams::{
    Ended, GATED_BYTES_MIN, InLine, RetryAfter, Stream, StreamSettings, Streams, lock,
};

fn who(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

/// A book with room for so many, and what it said of ends.
fn check(at_once: usize) -> (Streams, Arc<Mutex<Vec<Ended>>>) {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&ends);
    let settings = StreamSettings { at_once, ..StreamSettings::default() };
    (Streams::new(&settings, Arc::new(move |ended| heard.lock().unwrap().push(ended))), ends)
}

fn large(streams: &Streams, n: u8) -> Arc<Stream> {
    Arc::new(streams.open(who(n), "compute root", Some(Digest([n; 32])), GATED_BYTES_MIN))
}

#[tokio::test]
async fn a_large_download_waits_until_one_before_it_has_ended() {
    let (streams, ends) = check(1);
    let first = large(&streams, 1);
    first.turn(Manner::Waits).await.unwrap();
    let second = large(&streams, 2);
    let waiting = {
        let second = Arc::clone(&second);
        async move { second.turn(Manner::Waits).await }
    };
    let mut waiting = Box::pin(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let traffic = streams.traffic();
    assert_eq!(traffic[0].streams.iter().filter(|stream| stream.waiting).count(), 1);
    assert_eq!(streams.digests().len(), 2);
    first.sent(GATED_BYTES_MIN);
    drop(first);
    waiting.await.unwrap();
    assert_eq!(ends.lock().unwrap()[0].sent, GATED_BYTES_MIN);
    assert_eq!((streams.traffic()[0].done, streams.traffic()[0].broken), (1, 0));
}

#[tokio::test]
async fn who_goes_away_in_line_holds_nobody_up_and_leaves_nothing_behind() {
    let (streams, _) = check(1);
    let first = large(&streams, 1);
    first.turn(Manner::Waits).await.unwrap();
    for n in 2..200 {
        let stream = large(&streams, n);
        let mut waiting = Box::pin(stream.turn(Manner::Waits));
        assert!(futures_util::poll!(&mut waiting).is_pending());
    }
    let last = large(&streams, 200);
    let mut waiting = Box::pin(last.turn(Manner::Waits));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(first);
    waiting.await.unwrap();
    assert_eq!(streams.traffic()[0].streams.len(), 1);
    assert_eq!(
        streams.traffic()[0].broken,
        199,
        "198 who went away in line, and the first without its bytes"
    );
}

#[tokio::test]
async fn only_in_a_long_line_are_the_obedient_sent_away() {
    let (streams, _) = check(1);
    large(&streams, 1).turn(Manner::Waits).await.unwrap();
    let held = large(&streams, 2);
    held.turn(Manner::Waits).await.unwrap();
    let pauses: Vec<Option<u64>> = (3..9)
        .map(|n| {
            let stream = large(&streams, n);
            let entry = lock(&streams.0.gate).gate.on_arrival(who(n), Manner::ComesBack, steady());
            let Entry::Wait(place) = entry else { panic!("{entry:?}") };
            let mut line = InLine { stream: &stream, place: Some(place) };
            let pause = line.send_away();
            line.place = None; // it stays in line
            pause.map(|RetryAfter(seconds)| seconds)
        })
        .collect();
    // A download is taken to last 20 s; who is next or next but one waits here.
    assert_eq!(pauses, [None, None, Some(40), Some(60), Some(60), Some(60)]);
}

#[tokio::test]
async fn small_files_pass_the_gate() {
    let (streams, _) = check(1);
    large(&streams, 1).turn(Manner::Waits).await.unwrap();
    let held = large(&streams, 2);
    held.turn(Manner::Waits).await.unwrap();
    streams.open(who(3), "compute kernel", None, GATED_BYTES_MIN - 1).turn(Manner::Waits).await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_storm_is_told_from_what_is_left_and_how_fast_it_goes() {
    let (streams, _) = check(8);
    let one = streams.open(who(1), "compute root", None, 100_000_000);
    assert_eq!(streams.traffic()[0].over_in, None, "nothing moves");
    one.sent(10_000_000);
    streams.0.sample();
    let traffic = &streams.traffic()[0];
    assert_eq!((traffic.rate, traffic.over_in.map(|left| left.0)), (10_000_000, Some(9_000)));
    assert_eq!(traffic.streams[0].peer, who(1));
}

#[tokio::test]
async fn who_was_told_to_come_back_has_not_broken_off() {
    let (streams, ends) = check(1);
    let stream = large(&streams, 1);
    stream.sent_away.store(true, Ordering::Relaxed);
    drop(stream);
    assert_eq!((streams.traffic()[0].done, streams.traffic()[0].broken), (0, 0));
    assert_eq!(*ends.lock().unwrap(), []);
}

#[tokio::test]
async fn firmware_that_would_give_up_does_not_stand_in_line() {
    let (streams, _) = check(1);
    large(&streams, 1).turn(Manner::Waits).await.unwrap();
    let held = large(&streams, 2);
    held.turn(Manner::Waits).await.unwrap();
    large(&streams, 3).turn(Manner::GivesUp).await.unwrap();
    assert_eq!(lock(&streams.0.gate).gate.count(), (1, 0));
}
