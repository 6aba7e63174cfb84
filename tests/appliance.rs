//! The appliance without a machine: what it takes over at its first boot, and what it refuses (the script of the image
//! below a folder, with the real `muster check`); and that the parts of its definition agree.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rootfs-overlay/usr/lib/muster/first-boot");
const DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rootfs-overlay/usr/share/muster/appliance.toml");
const GOOD: &str = "[[network]]\nname = \"boot\"\ninterface = \"eth1\"\naddress = \"172.16.0.254/24\"\n";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me\n";

/// A machine that was just flashed.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        let machine = Machine(tempfile::tempdir().unwrap());
        machine.put("usr/share/muster/appliance.toml", &fs::read_to_string(DEFAULT).unwrap());
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// What it says at a boot.
    fn boot(&self) -> String {
        let folder = Path::new(env!("CARGO_BIN_EXE_muster")).parent().unwrap().display().to_string();
        let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
        let output = Command::new("sh").arg(SCRIPT).arg(self.0.path()).env("PATH", path).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
        said
    }

    fn config(&self) -> String {
        self.read("var/lib/muster/etc/muster.toml").unwrap()
    }
}

#[test]
fn a_machine_that_was_given_nothing_waits_to_be_claimed() {
    let machine = Machine::new();
    assert_eq!(machine.boot(), "");
    assert_eq!(machine.config(), fs::read_to_string(DEFAULT).unwrap());
    assert!(machine.config().contains("claim = \"required\""));
    assert!(!machine.path("var/lib/ssh/authorized_keys").exists(), "nobody logs in");
    assert!(!machine.path("var/lib/muster/etc/taken").exists(), "a stick may come with the next boot");
}

#[test]
fn what_lies_on_the_esp_is_taken_once() {
    let machine = Machine::new();
    machine.put("boot/muster/muster.toml", GOOD);
    machine.put("boot/muster/inventory.csv", "name,mac\n");
    machine.put("boot/muster/authorized_keys", KEY);
    let said = machine.boot();
    assert_eq!(said.matches("taken: ESP: ").count(), 3, "{said}");
    assert_eq!(machine.config(), GOOD);
    assert_eq!(machine.read("var/lib/muster/etc/inventory").unwrap(), "name,mac\n");
    assert_eq!(machine.read("var/lib/ssh/authorized_keys").unwrap(), KEY);
    let mode = |path: &str| fs::metadata(machine.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("var/lib/ssh/authorized_keys"), 0o600);
    assert_eq!(mode("var/lib/muster/etc/muster.toml"), 0o640);
    // The link that muster serves on gets its address, and asks nobody for another.
    let network = machine.read("run/systemd/network/10-muster-eth1.network").unwrap();
    assert!(
        network.contains("Name=eth1\n") && network.contains("Address=172.16.0.254/24\nDHCP=no\n"),
        "{network}"
    );
    // Whoever comes later with a stick changes nothing.
    machine.put("run/muster-stick/muster.toml", &GOOD.replace("172.16.0", "10.0.0"));
    machine.put("boot/muster/authorized_keys", "");
    assert_eq!(machine.boot(), "");
    assert_eq!(machine.config(), GOOD);
    assert_eq!(machine.read("var/lib/muster/etc/settings.txt").unwrap(), said, "the report stays");
}

#[test]
fn what_is_wrong_is_not_taken_and_said_with_its_place() {
    let machine = Machine::new();
    machine.put("boot/muster/muster.toml", &GOOD.replace("interface", "interfase"));
    machine.put("boot/muster/authorized_keys", "no key\n");
    let said = machine.boot();
    assert!(said.contains("NOT TAKEN: ESP: muster.toml: ") && said.contains("interfase"), "{said}");
    assert!(said.contains("NOT TAKEN: ESP: authorized_keys holds no public key"), "{said}");
    assert_eq!(machine.read("var/lib/muster/etc/settings.txt").unwrap(), said);
    assert!(machine.config().contains("claim = \"required\""), "the head comes up all the same");
    assert!(!machine.path("var/lib/ssh/authorized_keys").exists());
    // Put right, it is taken at the next boot, and the complaint goes.
    machine.put("boot/muster/muster.toml", GOOD);
    machine.put("boot/muster/authorized_keys", KEY);
    assert!(!machine.boot().contains("NOT TAKEN"));
    assert_eq!(machine.config(), GOOD);
    assert!(!machine.read("var/lib/muster/etc/settings.txt").unwrap().contains("NOT TAKEN"));
}

#[test]
fn a_stick_counts_as_the_esp_does_and_is_not_followed_elsewhere() {
    let machine = Machine::new();
    machine.put("secret", GOOD);
    fs::create_dir_all(machine.path("run/muster-stick/muster")).unwrap();
    std::os::unix::fs::symlink(machine.path("secret"), machine.path("run/muster-stick/muster.toml")).unwrap();
    machine.put("run/muster-stick/muster/inventory.yaml", "nodes: []\n");
    let said = machine.boot();
    assert!(said.contains("NOT TAKEN: stick: muster.toml is no file"), "{said}");
    assert!(said.contains("taken: stick: inventory.yaml"), "{said}");
    assert_ne!(machine.config(), GOOD);
}

/// A file of the source tree.
fn source(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|_| panic!("{path}"))
}

/// The value of a key in a unit or a partition's definition.
fn value(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{key} in {text}")).to_owned()
}

#[test]
fn both_slots_are_as_large_as_what_is_written_into_them() {
    for (built, slots) in [
        ("10-root", ["10-root-a", "20-root-b"]),
        ("11-root-verity", ["11-root-a-verity", "21-root-b-verity"]),
    ] {
        let built = source(&format!("image/mkosi.repart/{built}.conf"));
        for slot in slots.map(|slot| source(&format!("rootfs-overlay/usr/lib/repart.d/{slot}.conf"))) {
            for key in ["Type", "SizeMinBytes", "SizeMaxBytes"] {
                assert_eq!(value(&slot, key), value(&built, key), "{key}");
            }
        }
    }
}

#[test]
fn the_data_partition_is_found_by_the_name_it_is_made_with() {
    let label = value(&source("rootfs-overlay/usr/lib/repart.d/30-var.conf"), "Label");
    let table = source("rootfs-overlay/etc/fstab");
    assert!(table.lines().any(|line| line.starts_with(&format!("PARTLABEL={label} "))), "{table}");
    let sealed = source("image/mkosi.profiles/tpm/mkosi.extra/usr/lib/repart.d/30-var.conf");
    assert_eq!(value(&sealed, "Label"), label);
}

#[test]
fn every_unit_of_ours_is_switched_on_or_started_by_another() {
    let preset = source("rootfs-overlay/usr/lib/systemd/system-preset/00-muster.preset");
    let enabled: Vec<&str> =
        preset.lines().filter_map(|line| line.strip_prefix("enable ")?.split_whitespace().next()).collect();
    assert!(preset.trim_end().ends_with("disable *"), "what is not named does not run");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/appliance");
    let mut units: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();
    units.push(("muster.service".to_owned(), source("systemd/muster.service")));
    for (name, text) in &units {
        let called = units.iter().any(|(_, other)| other.contains(&format!("OnFailure={name}")));
        assert_eq!(enabled.contains(&name.as_str()), text.contains("\n[Install]\n"), "{name}");
        assert!(enabled.contains(&name.as_str()) || called, "nothing starts {name}");
    }
    for unit in enabled.iter().filter(|unit| unit.starts_with("muster")) {
        assert!(units.iter().any(|(name, _)| name == unit), "there is no {unit}");
    }
}
