//! The small site that fuzzed messages meet: a declared node, a pool, a proxied and a relayed network.

use std::sync::{Arc, LazyLock};

use muster::app::config::Config;
use muster::engine::inventory::{Mode, plan, read};
use muster::model::{Inventory, Revision, Snapshot};

const CONFIG: &str = r#"
[[network]]
name = "boot"
interface = "eth0"
address = "192.0.2.254/24"
range = ["192.0.2.100-192.0.2.120"]
[[network]]
name = "beside"
interface = "eth1"
address = "198.51.100.1/24"
dhcp = "proxy"
[[network]]
name = "far"
address = "203.0.113.0/24"
range = ["203.0.113.10-203.0.113.20"]
unknown = "discover"
"#;

const NODES: &str = "
bmcs: [{name: bmc1, mac: '52:54:00:00:00:b1', ip: 192.0.2.11}]
profiles: [{name: p, kernel: k, initrds: [i], params: quiet}]
nodes: [{name: nid001, nid: 1, bmc: bmc1, groups: [compute], interfaces: [{mac_addr: '52:54:00:00:00:01', ip_addrs: [{ip_addr: 192.0.2.1}]}]}]
assignments: [{group: compute, profile: p}]
";

pub static SITE: LazyLock<Snapshot> = LazyLock::new(|| {
    let config = Config::parse(CONFIG).expect("the configuration is valid");
    let document = read(NODES, "nid").expect("the document is valid");
    let mut inventory = Inventory::default();
    let planned = plan(&inventory, &config.site, &document, Mode::default()).expect("the nodes are valid");
    planned.changes.iter().for_each(|change| inventory.apply(change));
    Snapshot::compile(Revision(1), Arc::new(config.site), Arc::new(inventory))
});
