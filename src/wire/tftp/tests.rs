use proptest::prelude::*;

use crate::wire::WireError;
use crate::wire::tftp::{
    ErrorCode, Mode, Packet, Request, TransferOption, emit_error, emit_oack, netascii, parse,
};

fn read(options: &[u8]) -> Vec<u8> {
    [b"\0\x01snponly.efi\0octet\0".as_slice(), options].concat()
}

fn options_of(bytes: &[u8]) -> Vec<TransferOption> {
    match parse(bytes) {
        Ok(Packet::Read(request)) => request.options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_request_of_edk2_is_understood() {
    let bytes = read(b"tsize\x000\0blksize\x001468\0windowsize\x004\0");
    let expected = Request {
        name: b"snponly.efi",
        mode: Mode::Octet,
        options: vec![TransferOption::Size(0), TransferOption::BlockSize(1468), TransferOption::Window(4)],
    };
    assert_eq!(parse(&bytes), Ok(Packet::Read(expected)));
}

#[test]
fn option_names_and_modes_ignore_case_and_unknown_options_are_left_out() {
    let bytes = b"\0\x01x\0NetASCII\0BLKSIZE\x00512\0multicast\x00\0windowsize\x000\0timeout\x00256\0";
    assert_eq!(options_of(bytes), [TransferOption::BlockSize(512)]);
}

#[test]
fn a_second_option_of_a_kind_and_zero_padding_are_ignored() {
    assert_eq!(
        options_of(&read(b"blksize\x001024\0blksize\x008\0\0\0\0")),
        [TransferOption::BlockSize(1024)]
    );
    assert_eq!(options_of(&read(b"blksize\x0070000\0")), [TransferOption::BlockSize(65464)]);
    assert_eq!(options_of(&read(b"blksize\x007\0")), []);
}

#[test]
fn bad_requests_are_refused_by_field() {
    assert_eq!(parse(b"\0"), Err(WireError::Truncated("opcode")));
    assert_eq!(parse(b"\0\x09"), Err(WireError::Invalid("opcode")));
    assert_eq!(parse(b"\0\x01name"), Err(WireError::Truncated("file name")));
    assert_eq!(parse(b"\0\x01name\0mail\0"), Err(WireError::Invalid("mode")));
    assert_eq!(parse(&read(b"blksize\x00512")), Err(WireError::Truncated("option value")));
    assert_eq!(parse(&read(&b"a\0b\0".repeat(9))), Err(WireError::Invalid("option count")));
    assert_eq!(parse(&read(&[b'x'; 1024])), Err(WireError::Invalid("request length")));
    assert_eq!(parse(b"\0\x04\0"), Err(WireError::Truncated("block")));
}

#[test]
fn answers_have_the_form_of_the_standards() {
    assert_eq!(
        emit_oack(&[TransferOption::Size(7), TransferOption::Window(4), TransferOption::Timeout(2)]),
        b"\0\x06tsize\x007\0windowsize\x004\0timeout\x002\0"
    );
    assert_eq!(emit_error(ErrorCode::NotFound, "no\0 file"), b"\0\x05\0\x01no file\0");
    assert_eq!(netascii(b"a\nb\rc\r\n"), b"a\r\nb\r\0c\r\0\r\n");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
        let _ = parse(&bytes);
        let _ = parse(&read(&bytes));
    }
}
