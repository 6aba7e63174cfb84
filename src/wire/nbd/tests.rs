use crate::wire::WireError;
use crate::wire::nbd::{
    ClientOption, Command, Errno, OptionHead, OptionReply, emit_export, emit_greeting, emit_option_reply,
    emit_reply, info_block_sizes, info_export, parse_client_flags, parse_option, parse_option_head,
    parse_request, server,
};

fn wish(name: &[u8], claimed: u32, facts: &[u16], count: u16) -> Vec<u8> {
    let mut data = claimed.to_be_bytes().to_vec();
    data.extend_from_slice(name);
    data.extend_from_slice(&count.to_be_bytes());
    facts.iter().for_each(|fact| data.extend_from_slice(&fact.to_be_bytes()));
    data
}

#[test]
fn the_greeting_is_that_of_the_protocol_document() {
    assert_eq!(&emit_greeting(), b"NBDMAGICIHAVEOPT\x00\x03");
}

#[test]
fn flags_that_were_not_offered_end_the_talk() {
    assert!(!parse_client_flags([0, 0, 0, 1]).unwrap().no_zeroes);
    assert!(parse_client_flags([0, 0, 0, 3]).unwrap().no_zeroes);
    for flags in [[0, 0, 0, 0], [0, 0, 0, 2], [0, 0, 0, 7], [0x80, 0, 0, 1]] {
        assert_eq!(parse_client_flags(flags), Err(WireError::Invalid("client flags")), "{flags:?}");
    }
}

#[test]
fn options_are_read_with_their_data() {
    let head = parse_option_head(b"IHAVEOPT\0\0\0\x07\0\0\0\x0a").unwrap();
    assert_eq!(head, OptionHead { kind: 7, length: 10 });
    assert_eq!(parse_option_head(b"GET / HTTP/1.1\r\n"), Err(WireError::Invalid("option magic")));
    assert_eq!(parse_option(1, b"root:prod"), Ok(ClientOption::ExportName("root:prod")));
    assert_eq!(parse_option(2, b"bye"), Ok(ClientOption::Abort));
    assert_eq!(parse_option(3, b""), Ok(ClientOption::List));
    assert_eq!(parse_option(5, b""), Ok(ClientOption::StartTls));
    assert_eq!(parse_option(6, &wish(b"a", 1, &[], 0)), Ok(ClientOption::Info("a")));
    assert_eq!(parse_option(7, &wish(b"", 0, &[1, 3], 2)), Ok(ClientOption::Go("")));
    assert_eq!(parse_option(8, b""), Ok(ClientOption::Unknown(8)));
}

#[test]
fn option_data_that_lies_about_itself_is_refused() {
    let cases: [(u32, Vec<u8>); 8] = [
        (1, vec![0xff]),
        (1, b"a\0b".to_vec()),
        (1, vec![b'a'; 4097]),
        (3, vec![1]),
        (7, vec![0, 0, 0]),
        (7, wish(b"a", u32::MAX, &[], 0)),
        (7, wish(b"a", 1, &[], 1)),
        (6, wish(b"a", 1, &[1, 2], 1)),
    ];
    for (kind, data) in cases {
        assert!(parse_option(kind, &data).is_err(), "{kind} {data:?}");
    }
}

#[test]
fn answers_are_laid_out_as_clients_read_them() {
    let mut out = Vec::new();
    emit_option_reply(&mut out, 7, OptionReply::Unknown, b"no");
    assert_eq!(out, b"\x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x07\x80\0\0\x06\0\0\0\x02no");
    assert_eq!(info_export(0x0102, 0x0103), b"\0\0\0\0\0\0\0\0\x01\x02\x01\x03");
    assert_eq!(info_block_sizes(1, 4096, 1 << 25), b"\0\x03\0\0\0\x01\0\0\x10\0\x02\0\0\0");
    assert_eq!(server("ab"), b"\0\0\0\x02ab");
    assert_eq!(emit_export(5, 1, true).len(), 10);
    assert_eq!(emit_export(5, 1, false).len(), 134);
    assert_eq!(emit_reply(7, Some(Errno::Invalid)), *b"\x67\x44\x66\x98\0\0\0\x16\0\0\0\0\0\0\0\x07");
    assert_eq!(emit_reply(7, None)[4..8], [0; 4]);
}

#[test]
fn requests_are_read_field_by_field() {
    let bytes = b"\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\x10\0\0\0\x02\0";
    let request = parse_request(bytes).unwrap();
    assert_eq!((request.command, request.cookie), (Command::Read, 9));
    assert_eq!((request.offset, request.length), (4096, 512));
    let mut foreign = *bytes;
    foreign[0] = 0;
    assert_eq!(parse_request(&foreign), Err(WireError::Invalid("request magic")));
    let mut other = *bytes;
    other[7] = 6;
    assert_eq!(parse_request(&other).unwrap().command, Command::Other(6));
}
