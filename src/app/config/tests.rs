use crate::app::config::Config;
use crate::model::{DhcpMode, UnknownPolicy};

fn problems(text: &str) -> Vec<String> {
    Config::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_configured_serves_no_dhcp() {
    let config = Config::parse("").unwrap();
    assert!(config.site.networks.is_empty());
    assert_eq!(config.site.http_port, 8081);
    assert_eq!(config.http.len(), 2);
}

#[test]
fn the_documented_skeleton_is_read() {
    let config = Config::parse(
        r#"
        [cluster]
        name = "demo"
        short_name = "nid"
        domain = "demo.openchami.cluster"
        [[network]]
        name = "boot"
        interface = "eth1"
        address = "172.16.0.254/24"
        dhcp = "proxy"
        range = ["172.16.0.200-172.16.0.250"]
        unknown = "boot rescue"
        lease = "2h"
        [tftp]
        listen = []
        [auth]
        mode = "required"
        "#,
    )
    .unwrap();
    let network = &config.site.networks[0];
    assert_eq!((network.dhcp, network.lease.as_secs()), (DhcpMode::Proxy, 7200));
    assert_eq!(network.unknown, UnknownPolicy::Boot("rescue".parse().unwrap()));
    assert!(config.tftp.listen.is_empty());
}

#[test]
fn every_mistake_is_reported_at_once_with_its_line() {
    let text = r#"[cluster]
nam = "demo"
domain = "a b"
[[network]]
name = "boot"
address = "172.16.0.254/24"
interface = "eth1"
range = ["172.16.0.200-172.16.0.250", "172.16.0.240-172.16.1.7", "172.16.0.253-172.16.0.254"]
router = "172.17.0.1"
dhcp = "yes"
lease = "5"
[[network]]
name = "boot"
interface = "eth1"
address = "172.16.0.1/16"
mtu = 100
[http]
listen = ["nonsense"]
[auth]
mode = "off"
[bogus]
x = 1
"#;
    assert_eq!(
        problems(text),
        [
            "line 2: cluster.nam: unknown key; did you mean name?",
            "line 3: cluster.domain: \"a b\": label \"a b\": only letters, digits and hyphens are allowed",
            "line 8: network[0].range: 172.16.0.240-172.16.1.7 holds the head's own address 172.16.0.254",
            "line 8: network[0].range: 172.16.0.240-172.16.1.7 is not within the hosts of 172.16.0.0/24",
            "line 8: network[0].range: 172.16.0.240-172.16.1.7 overlaps 172.16.0.200-172.16.0.250",
            "line 8: network[0].range: 172.16.0.253-172.16.0.254 holds the head's own address 172.16.0.254",
            "line 8: network[0].range: 172.16.0.253-172.16.0.254 overlaps 172.16.0.240-172.16.1.7",
            "line 9: network[0].router: 172.17.0.1 is outside of the network",
            "line 10: network[0].dhcp: \"yes\": is none of authoritative, proxy, off",
            "line 11: network[0].lease: \"5\": expected a number and a unit such as 90s, 5m, 1h, 2d",
            "line 12: network[1].address: 172.16.0.1/16 overlaps the network boot (172.16.0.254/24)",
            "line 12: network[1].interface: boot has it already",
            "line 12: network[1].name: boot is used twice",
            "line 16: network[1].mtu: must be between 576 and 9216",
            "line 18: http.listen: \"nonsense\": invalid socket address syntax",
            "line 20: auth.mode: off is refused: a listener is reachable from outside. Bind http and https to \
             loopback, or name the test's network namespace in auth.test_namespace",
            "line 21: bogus: unknown key",
        ]
    );
}

#[test]
fn wrong_types_and_syntax_name_their_line() {
    assert_eq!(
        problems("network = 3\n[log]\nformat = 1\nlevel = \"info\"\n"),
        [
            "line 1: network: expected tables, written as [[network]], found integer",
            "line 3: log.format: expected a string, found integer"
        ]
    );
    let broken = problems("[cluster]\nname = \n[[network]]\n");
    assert!(broken[0].starts_with("line 2:"), "{broken:?}");
    assert!(broken.iter().any(|problem| problem == "line 3: network[0].address: is needed"), "{broken:?}");
}

#[test]
fn auth_may_be_off_on_loopback_or_in_a_named_namespace() {
    let loopback = "[http]\nlisten = [\"127.0.0.1:0\"]\n[https]\nlisten = []\n[auth]\nmode = \"off\"\n";
    assert!(Config::parse(loopback).is_ok());
    assert!(Config::parse("[auth]\nmode = \"off\"\ntest_namespace = \"lab\"\n").is_ok());
}
