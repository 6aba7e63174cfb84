//! How long SMD's API takes over 100,000 components: list, filters, one by number, patches of one and of all. A
//! request is measured from its bytes to the bytes of its answer; of a change, until it can be read.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../head/mod.rs"]
mod head;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

use head::{Head, SITE};

const COMPONENTS: u32 = 100_000;
const PATH: &str = "/State/Components";

/// 16 nodes to a BMC, 64 BMCs to a chassis.
fn xname(number: u32) -> String {
    let (node, bmc) = (number % 16, number / 16);
    let (slot, chassis, cabinet) = (bmc % 64, bmc / 64 % 8, 1000 + bmc / 512);
    format!("x{cabinet}c{chassis}s{slot}b0n{node}")
}

fn timed(
    name: &str,
    head: &Head,
    runtime: &tokio::runtime::Runtime,
    request: (&str, &str, Value),
    status: u16,
) {
    let (method, path, body) = request;
    let start = Instant::now();
    let answer = runtime.block_on(head.send(method, path, body.to_string()));
    let bytes = answer.is(status).len();
    println!("{name}: {:.0?} ({bytes} bytes)", start.elapsed());
}

fn components(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let head = Head::below("/hsm/v2", SITE);
    let one = |number: u32| {
        let role = if number.is_multiple_of(100) { "Service" } else { "Compute" };
        json!({"ID": xname(number), "State": "On", "NID": number + 1, "Role": role})
    };
    let all: Vec<Value> = (0..COMPONENTS).map(one).collect();
    let ids: Vec<String> = (0..COMPONENTS).map(xname).collect();
    let group = json!({"label": "g", "members": {"ids": &ids[..50_000]}});
    timed("add all", &head, &runtime, ("POST", PATH, json!({"Components": all})), 204);
    timed("group of half of them", &head, &runtime, ("POST", "/groups", group), 201);

    let mut measure = criterion.benchmark_group("100,000 components");
    measure.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    let mut read = |name: &str, path: String| {
        measure.bench_function(name, |bench| {
            bench.iter(|| black_box(runtime.block_on(head.get(&path)).is(200)));
        });
    };
    read("list", PATH.to_owned());
    read("filter by role", format!("{PATH}?role=Service"));
    read("filter by group", format!("{PATH}?group=g&role=Service"));
    read("one", format!("{PATH}/{}", xname(77_777)));
    read("by number", format!("{PATH}/ByNID/77777"));
    read("below a chassis", format!("{PATH}/Query/x1000c3"));
    read("memberships", "/memberships".to_owned());
    let mut on = false;
    let mut write = |name: &str, path: &str, ids: &[String]| {
        measure.bench_function(name, |bench| {
            bench.iter(|| {
                on = !on;
                let body = json!({"ComponentIDs": ids, "Enabled": on});
                runtime.block_on(head.json("PATCH", path, body)).is(204);
            });
        });
    };
    write("patch one", &format!("{PATH}/BulkEnabled"), &ids[..1]);
    write("patch 1,000", &format!("{PATH}/BulkEnabled"), &ids[..1000]);
    write("patch all", &format!("{PATH}/BulkEnabled"), &ids);
    measure.finish();
    timed("delete all", &head, &runtime, ("DELETE", PATH, Value::Null), 200);
    timed("add all that groups wait for", &head, &runtime, ("POST", PATH, json!({"Components": all})), 204);
}

criterion_group!(benches, components);
criterion_main!(benches);
