//! Documents are executed: the example configuration, and what README shows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use muster::app::config::Config;
use muster::engine::inventory::read;
use muster::model::Site;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn example() -> String {
    file("rootfs-overlay/etc/muster/muster.toml")
}

/// The example with every commented key in force but `without`: lines that begin with `#` and are TOML.
fn uncommented(without: &[&str]) -> String {
    let is_left_out = |line: &str| without.iter().any(|key| line.starts_with(key));
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_left_out(rest) => line.to_owned(),
        Some(rest)
            if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
        {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    example().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_configuration_is_the_default() {
    assert_eq!(Config::parse(&example()).unwrap(), Config::default());
}

#[test]
fn every_key_of_the_example_is_read() {
    // A certificate of one's own excludes one from an authority; the former has tests beside its reader.
    let config = Config::parse(&uncommented(&["certificate = ", "key = "])).unwrap();
    let network = &config.site.networks[0];
    assert_eq!((network.name.as_str(), network.mtu, network.ntp.len()), ("boot", Some(1500), 1));
    assert_eq!(config.site.kernel_params, "console=ttyS0,115200");
    // What stands behind "#" as a default is the default.
    let mut bare = config.clone();
    bare.site = Site { networks: Vec::new(), ..Config::default().site };
    let default = Config::default();
    assert_eq!((&bare.http, &bare.tftp, &bare.log), (&default.http, &default.tftp, &default.log));
    assert_eq!((&bare.https, &bare.tokens.open), (&default.https, &default.tokens.open));
    assert_eq!(bare.tokens.jwks_role, default.tokens.jwks_role);
    assert_eq!(
        (&bare.dns.listen, &bare.loaders, &bare.auth),
        (&default.dns.listen, &default.loaders, &default.auth)
    );
}

/// Every key that the reader's source asks for: the word in quotes after each way of asking.
fn keys_read() -> BTreeSet<String> {
    const ASKED: [&str; 6] = [".text(\"", ".flag(\"", ".number(\"", ">(\"", ".list(\"", "lease(section, \""];
    let source =
        ["src/app/config.rs", "src/app/config/door.rs", "src/app/config/networks.rs"].map(file).join("\n");
    let words = ASKED.iter().flat_map(|asked| source.split(asked).skip(1));
    words.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn every_key_that_is_read_stands_in_the_example() {
    let text = uncommented(&[]);
    let keys = keys_read();
    assert!(keys.len() >= 27, "the source is read differently now: {keys:?}");
    for key in keys {
        let shown = text.lines().any(|line| line.starts_with(&format!("{key} = ")));
        assert!(shown, "{key} is not in the example");
    }
}

#[test]
fn what_the_readme_shows_is_true() {
    let readme = file("README.md");
    let block = |start: &str, end: &str| {
        let from = readme.find(start).unwrap() + start.len();
        readme[from..from + readme[from..].find(end).unwrap()].to_owned()
    };
    let config = Config::parse(&block("<<'EOF'\n", "EOF\n")).unwrap();
    assert_eq!(config.site.networks[0].address.to_string(), "172.16.0.254/24");
    let nodes = read(&block("```yaml\n", "```"), "nid").unwrap();
    assert_eq!(nodes.nodes[0].name.as_str(), "nid001");
    for script in ["scripts/demo", "scripts/test"] {
        assert!(readme.contains(script) && Path::new(env!("CARGO_MANIFEST_DIR")).join(script).exists());
    }
}
