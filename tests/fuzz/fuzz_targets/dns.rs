//! Any bytes as a DNS question.
#![no_main]

mod site;

use libfuzzer_sys::fuzz_target;
use muster::engine::dns::{Answer, answer};
use muster::wire::dns::{emit, header_error, parse, udp_limit};

fuzz_target!(|data: &[u8]| {
    let query = match parse(data) {
        Ok(query) => query,
        Err(_) => {
            if let Some(refusal) = header_error(data) {
                let _ = emit(&refusal, 512);
            }
            return;
        }
    };
    let limit = udp_limit(&query);
    if let Answer::Reply(reply) = answer(&query, &site::SITE, [192, 0, 2, 1].into()) {
        if let Ok(bytes) = emit(&reply, limit) {
            assert!(bytes.len() <= limit, "{} octets, at most {limit}", bytes.len());
            parse(&bytes).expect("our answers parse");
        }
    }
});
