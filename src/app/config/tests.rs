use crate::app::config::Config;
use crate::model::{DhcpMode, Role, UnknownPolicy};

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
fn nbd_is_off_until_an_address_is_given_and_shares_no_port() {
    assert!(Config::default().nbd.is_empty());
    let config = Config::parse("[nbd]\nlisten = [\"0.0.0.0:10809\"]").unwrap();
    assert_eq!(config.nbd, ["0.0.0.0:10809".parse().unwrap()]);
    let shared = problems("[http]\nlisten = [\"0.0.0.0:10809\"]\n[nbd]\nlisten = [\"0.0.0.0:10809\"]");
    assert_eq!(shared, ["line 4: nbd.listen: 0.0.0.0:10809 is taken by another listener"]);
}

#[test]
fn the_door_is_configured_key_by_key() {
    let config = Config::parse(
        r#"
        [http]
        trusted_proxies = ["192.0.2.1", "10.0.0.0/8"]
        [https]
        certificate = "/etc/own.crt"
        key = "/etc/own.key"
        names = ["Head.example", "192.0.2.254"]
        [auth]
        open_token = "viewer"
        jwks = "/etc/jwks.json"
        jwks_role = "operator"
        "#,
    )
    .unwrap();
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.tls.files, Some(("/etc/own.crt".into(), "/etc/own.key".into())));
    assert!(config.tls.names.contains("head.example"));
    assert_eq!(config.tokens.open, Some(Role::Viewer));
    assert_eq!(config.tokens.jwks_role, Role::Operator);
    assert_eq!(Config::default().tokens.open, None);
}

#[test]
fn mistakes_at_the_door_are_named() {
    for (text, wanted) in [
        ("[https]\nkey = \"/a\"", "https.certificate: is missing"),
        ("[https]\ncertificate = \"/a\"", "https.key: is missing"),
        ("[https]\nnames = [\"a b\"]", "neither a DNS name nor an address"),
        ("[http]\ntrusted_proxies = [\"proxy\"]", "http.trusted_proxies: \"proxy\": expected an address"),
        ("[auth]\nopen_token = \"all\"", "auth.open_token: \"all\": is none of none"),
        ("[auth]\njwks_role = \"root\"", "auth.jwks_role: \"root\": is none of viewer"),
    ] {
        let problems = problems(text);
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{text}: {problems:?}");
    }
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
            "line 9: network[0].router: 172.17.0.1 is no host of 172.16.0.0/24",
            "line 10: network[0].dhcp: \"yes\": is none of authoritative, proxy, off",
            "line 11: network[0].lease: \"5\": expected a number and a unit such as 90s, 5m, 1h, 2d",
            "line 12: network[1].address: 172.16.0.1/16 overlaps the network boot (172.16.0.254/24)",
            "line 12: network[1].interface: boot has it already",
            "line 12: network[1].name: boot is used twice",
            "line 16: network[1].mtu: must be between 576 and 9216",
            "line 18: http.listen: \"nonsense\": invalid socket address syntax",
            "line 20: auth.mode: off is refused: a listener is reachable from outside. Bind http and https to \
             loopback, or name the test's network namespace in auth.test_namespace",
            "line 21: bogus: unknown key; did you mean logs?",
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

#[test]
fn what_would_fail_at_start_fails_when_checked() {
    for (text, want) in [
        (
            "[http]\nlisten = [\"0.0.0.0:80\"]\n[https]\nlisten = [\"0.0.0.0:80\"]\n",
            "line 4: https.listen: 0.0.0.0:80 is",
        ),
        (
            "[dns]\nlisten = [\"127.0.0.1:53\",\n\"127.0.0.1:53\"]\n",
            "line 3: dns.listen: 127.0.0.1:53 is taken",
        ),
        ("[dns]\nforward = [\"0.0.0.0\"]\n", "line 2: dns.forward: \"0.0.0.0\": expected an address"),
        ("[log]\nlevel = \"muster=loud\"\n", "line 2: log.level: \"muster=loud\": "),
        ("[images]\nroot = \"\"\n", "line 2: images.root: \"\": must not be empty"),
        (
            "[auth]\nmode = \"off\"\ntest_namespace = \"../lab\"\n",
            "line 3: auth.test_namespace: \"../lab\": is not",
        ),
    ] {
        let found = problems(text);
        assert!(found.iter().any(|problem| problem.starts_with(want)), "{text:?}: {found:?}");
    }
    // The same port twice is fine where the system chooses it.
    assert!(Config::parse("[http]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n").is_ok());
}

#[test]
fn networks_that_cannot_work_are_refused() {
    let network = |rest: &str| problems(&format!("[[network]]\nname = \"a\"\n{rest}\n"));
    for (rest, want) in [
        (
            "address = \"192.0.2.1/24\"\ninterface = \"\"",
            "line 4: network[0].interface: \"\": is not the name of a link",
        ),
        ("address = \"192.0.2.1/24\"\ninterface = \"a-link-of-17-char\"", "line 4: network[0].interface: "),
        ("address = \"127.0.0.1/8\"", "line 3: network[0].address: 127.0.0.1 is no address for machines"),
        ("address = \"224.0.0.1/24\"", "line 3: network[0].address: 224.0.0.1 is no address for machines"),
        (
            "address = \"192.0.2.1/24\"\nrouter = \"192.0.2.15\"\nrange = \"192.0.2.10-192.0.2.20\"",
            "line 5: network[0].range: 192.0.2.10-192.0.2.20 holds the router 192.0.2.15",
        ),
    ] {
        let found = network(rest);
        assert!(found.len() == 1 && found[0].starts_with(want), "{rest:?}: {found:?}");
    }
    // A lease below the usual short one shortens that too, unless it is given.
    let config =
        Config::parse("[[network]]\nname = \"a\"\naddress = \"192.0.2.0/24\"\nlease = \"2m\"\n").unwrap();
    assert_eq!(config.site.networks[0].short_lease.as_secs(), 120);
}

#[test]
fn what_is_wanted_of_tpms_is_the_sites_and_differs_for_groups() {
    use crate::engine::attest::Mode;
    use crate::engine::attest::enrol::{Enrol, Override, TpmPolicy};

    assert_eq!(Config::default().trust.tpms.site, TpmPolicy::default());
    let text = "[trust]\nenrol = \"preload\"\nrequire_ek_cert = true\nek_issuers = \"/etc/issuers.pem\"\n\
                tpm_first = false\n[[trust.group]]\nname = \"Rack1\"\npcr = \"enforce\"\n";
    let trust = Config::parse(text).unwrap().trust;
    let site =
        TpmPolicy { enrol: Enrol::Preload, require_certificate: true, pcr: Mode::Record, tpm_first: false };
    assert_eq!((trust.tpms.site, trust.ek_issuers.is_some()), (site, true));
    let rack = Override { pcr: Some(Mode::Enforce), ..Override::default() };
    assert_eq!(trust.tpms.groups, [("rack1".parse().unwrap(), rack)].into());
    for (bad, says) in [
        ("[trust]\nenrol = \"all\"", "trust.enrol: \"all\": is none of approve, preload, window"),
        ("[trust]\npcr = \"on\"", "trust.pcr: \"on\": is none of off, record, enforce"),
        ("[[trust.group]]\npcr = \"off\"", "trust.group[0].name: is needed: the name of a group"),
        (
            "[[trust.group]]\nname = \"a\"\n[[trust.group]]\nname = \"a\"",
            "trust.group[1].name: a stands here twice",
        ),
        (
            "[[trust.group]]\nname = \"a\"\npcrs = \"off\"",
            "trust.group[0].pcrs: unknown key; did you mean pcr?",
        ),
    ] {
        let problems = Config::parse(bad).unwrap_err();
        assert!(problems.iter().any(|one| one.to_string().contains(says)), "{bad}: {problems:?}");
    }
}

#[test]
fn loaders_use_tls_only_when_the_site_says_so_and_there_is_a_listener() {
    assert_eq!(Config::default().site.loader_tls, None);
    let tls = |text: &str| Config::parse(text).unwrap().site.loader_tls.map(|tls| (tls.port, tls.always));
    assert_eq!(tls("[boot]\nhttps = \"off\""), None);
    assert_eq!(tls("[boot]\nhttps = \"auto\""), Some((8443, false)));
    assert_eq!(tls("[boot]\nhttps = \"on\"\n[https]\nlisten = [\"0.0.0.0:443\"]"), Some((443, true)));
    assert_eq!(
        problems("[boot]\nhttps = \"on\"\n[https]\nlisten = []"),
        ["line 2: boot.https: needs an address in https.listen"]
    );
    assert_eq!(problems("[boot]\nhttps = \"yes\""), ["line 2: boot.https: \"yes\" is none of off, auto, on"]);
}

#[test]
fn an_outside_authority_needs_a_directory_and_names() {
    let text = "[https.acme]\ndirectory = \"https://ca.example/dir\"\nnames = [\"Head.example\"]\n\
                contact = [\"mailto:admin@example\"]";
    let acme = Config::parse(text).unwrap().tls.acme.unwrap();
    assert_eq!(
        (acme.directory.as_str(), acme.names),
        ("https://ca.example/dir", vec!["head.example".to_owned()])
    );
    assert_eq!(acme.contact, ["mailto:admin@example"]);
    assert_eq!(Config::default().tls.acme, None);
    let list = problems("[https.acme]\nnames = [\"192.0.2.1\"]\ncontact = [\"admin\"]");
    assert_eq!(
        list,
        [
            "line 1: https.acme.directory: is needed: the URL of the authority's ACME directory",
            "line 2: https.acme.names: an address; outside authorities certify DNS names",
            "line 3: https.acme.contact: \"admin\": expected mailto: and an address",
        ]
    );
    let both = format!("[https]\ncertificate = \"a\"\nkey = \"b\"\n{text}");
    assert_eq!(
        problems(&both),
        ["line 1: https.acme: certificate and key are given; leave one of the two out"]
    );
    let plain = problems("[https.acme]\ndirectory = \"http://ca.example/dir\"\nnames = [\"a.example\"]");
    assert!(plain[0].contains("must begin with https://"), "{plain:?}");
}
