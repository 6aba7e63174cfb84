//! What the appliance takes over at its first boot, and what it refuses: the script of the image below a folder, with
//! the real `muster check`.
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
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
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
    assert!(network.contains("Name=eth1\n") && network.contains("Address=172.16.0.254/24\nDHCP=no\n"), "{network}");
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
