//! Any text as the query of a boot script: what is rendered has one command a line and no foreign one.
#![no_main]

mod site;

use libfuzzer_sys::fuzz_target;
use muster::api::boot::query;
use muster::engine::boot::decide;
use muster::engine::boot::script::{Reach, render};
use muster::engine::image::path::clean;

fuzz_target!(|text: &str| {
    if let Some(path) = clean(text) {
        assert!(!path.split('/').any(|part| part == ".." || part.is_empty()));
    }
    let Ok(request) = query::parse(text, Some([192, 0, 2, 1].into())) else { return };
    let decision = decide(&site::SITE, &request);
    let reach = Reach { head: [192, 0, 2, 254].into(), port: 8081, tls: None };
    if let Ok(Some(script)) = render(&decision, &request, &site::SITE.site, reach) {
        let known = ["#!ipxe", "echo ", "kernel ", "initrd ", "boot ", ":retry", "sleep ", "chain ", "iseq ", "exit"];
        assert!(script.lines().all(|line| known.iter().any(|start| line.starts_with(start))), "{script}");
    }
});
