use crate::base::limits::NBD_READ_BYTES_MAX;
use crate::engine::nbd::{Next, Touched, Verdict, answer, answer_export, answer_malformed, judge};
use crate::wire::nbd::{ClientOption, Command, Errno, Request};

fn request(command: Command, offset: u64, length: u32) -> Request {
    Request { command, cookie: 1, offset, length }
}

/// The reply code of the first answer in these bytes.
fn code(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[12..16].try_into().unwrap())
}

#[test]
fn an_export_is_chosen_in_the_new_and_in_the_old_way() {
    let go = answer_export(&ClientOption::Go("a"), Some(10), true);
    assert_eq!((go.next, code(&go.bytes)), (Next::Requests, 3));
    let info = answer_export(&ClientOption::Info("a"), Some(10), true);
    assert_eq!((info.next, code(&info.bytes)), (Next::Option, 3));
    let old = answer_export(&ClientOption::ExportName("a"), Some(10), false);
    assert_eq!((old.next, old.bytes.len()), (Next::Requests, 134));
}

#[test]
fn an_unknown_export_is_refused_and_the_old_way_can_only_hang_up() {
    let go = answer_export(&ClientOption::Go("a"), None, true);
    assert_eq!((go.next, code(&go.bytes)), (Next::Option, 0x8000_0006));
    let old = answer_export(&ClientOption::ExportName("a"), None, true);
    assert_eq!((old.next, old.bytes.len()), (Next::HangUp, 0));
}

#[test]
fn what_is_not_spoken_is_refused_and_the_talk_goes_on() {
    let cases = [(ClientOption::StartTls, 0x8000_0002), (ClientOption::Unknown(8), 0x8000_0001)];
    for (option, expected) in cases {
        let refusal = answer(&option, &[]);
        assert_eq!((refusal.next, code(&refusal.bytes)), (Next::Option, expected), "{option:?}");
    }
    assert_eq!(code(&answer_malformed(7).bytes), 0x8000_0003);
    assert_eq!(answer_malformed(1).next, Next::HangUp);
    assert_eq!(answer(&ClientOption::Abort, &[]).next, Next::HangUp);
}

#[test]
fn a_list_names_each_export_and_ends() {
    let list = answer(&ClientOption::List, &["a".to_owned(), "b:c".to_owned()]);
    assert_eq!(list.bytes.len(), (20 + 4 + 1) + (20 + 4 + 3) + 20);
    assert_eq!(code(&list.bytes[52..]), 1);
}

#[test]
fn reads_inside_the_export_are_carried_out_and_no_others() {
    let read = |offset, length| judge(&request(Command::Read, offset, length), 1000);
    assert_eq!(read(0, 1000), Verdict::Read { offset: 0, length: 1000 });
    assert_eq!(read(999, 1), Verdict::Read { offset: 999, length: 1 });
    let invalid = Verdict::Refuse { error: Errno::Invalid, payload: 0 };
    for (offset, length) in [(0, 1001), (1000, 1), (u64::MAX, 1), (0, 0)] {
        assert_eq!(read(offset, length), invalid, "{offset} {length}");
    }
    let large = judge(&request(Command::Read, 0, NBD_READ_BYTES_MAX + 1), u64::MAX);
    assert_eq!(large, Verdict::Refuse { error: Errno::TooLarge, payload: 0 });
}

#[test]
fn nothing_can_be_changed() {
    let verdict = |command, length| judge(&request(command, 0, length), 1000);
    let denied = |payload| Verdict::Refuse { error: Errno::Permission, payload };
    assert_eq!(verdict(Command::Write, 512), denied(512));
    assert_eq!(verdict(Command::Other(4), 512), denied(0));
    assert_eq!(verdict(Command::Other(6), 512), denied(0));
    assert_eq!(verdict(Command::Write, u32::MAX), Verdict::HangUp);
    assert_eq!(verdict(Command::Other(7), 1), Verdict::Refuse { error: Errno::Unsupported, payload: 0 });
    assert_eq!(verdict(Command::Flush, 0), Verdict::Done);
    assert_eq!(verdict(Command::Disconnect, 0), Verdict::Leave);
}

#[test]
fn what_was_touched_counts_once() {
    let mut touched = Touched::new(1_000_000);
    assert_eq!(touched.octets(), 0);
    touched.mark(0, 1);
    touched.mark(100, 4096);
    assert_eq!(touched.octets(), 65_536);
    touched.mark(65_535, 2);
    assert_eq!(touched.octets(), 131_072);
    touched.mark(0, 1_000_000);
    assert_eq!(touched.octets(), 1_000_000);
    let mut huge = Touched::new(u64::MAX);
    huge.mark(u64::MAX - 1, u32::MAX);
    assert!(huge.octets() > 0);
    let mut empty = Touched::new(0);
    empty.mark(0, 0);
    assert_eq!(empty.octets(), 0);
}
