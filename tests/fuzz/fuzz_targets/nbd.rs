//! Any bytes as an NBD client's side of the talk: no panic, answers are bounded, no read leaves the export.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::base::limits::NBD_READ_BYTES_MAX;
use muster::engine::nbd::{Next, Touched, Verdict, answer, answer_export, answer_malformed, judge};
use muster::wire::nbd::{
    ClientOption, OPTION_HEAD_BYTES, REQUEST_BYTES, parse_client_flags, parse_option, parse_option_head, parse_request,
};

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first_chunk::<8>() else { return };
    let size = u64::from_be_bytes(*size);
    let Some((flags, mut rest)) = data.split_first_chunk::<4>() else { return };
    let Ok(flags) = parse_client_flags(*flags) else { return };
    let mut next = Next::Option;
    while let (Next::Option, Some((head, after))) = (next, rest.split_first_chunk::<OPTION_HEAD_BYTES>()) {
        let Ok(head) = parse_option_head(head) else { return };
        let Some((data, after)) = after.split_at_checked(head.length as usize) else { return };
        rest = after;
        let said = match parse_option(head.kind, data) {
            Ok(option @ (ClientOption::ExportName(_) | ClientOption::Info(_) | ClientOption::Go(_))) => {
                let export = (data.len() % 2 == 0).then_some(size);
                let said = answer_export(&option, export, flags.no_zeroes);
                assert!(export.is_some() || said.next != Next::Requests, "no export, no requests");
                said
            }
            Ok(option) => answer(&option, &["name".to_owned()]),
            Err(_) => answer_malformed(head.kind),
        };
        assert!(said.bytes.len() < 256);
        next = said.next;
    }
    let mut touched = Touched::new(size);
    for request in rest.chunks_exact(REQUEST_BYTES) {
        let request: &[u8; REQUEST_BYTES] = request.try_into().expect("chunks have this length");
        let Ok(request) = parse_request(request) else { return };
        if let Verdict::Read { offset, length } = judge(&request, size) {
            assert!(length > 0 && length <= NBD_READ_BYTES_MAX);
            assert!(offset.checked_add(u64::from(length)).is_some_and(|end| end <= size), "inside the export");
            touched.mark(offset, length);
            assert!(touched.octets() > 0 && touched.octets() <= size);
        }
    }
});
