//! Real cloud-init against the real daemon: Debian's package in namespaces of its own, with copies of what it
//! writes to, so that this machine stays as it is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod netns;

use std::fs;
use std::process::Command;

use netns::{HEAD, Lab, need};

/// What a node's image would hold: where to look for data, and the modules that a scratch root can bear.
const CONFIG: &str = "datasource_list: [NoCloud, None]
datasource: {NoCloud: {seedfrom: 'http://HEAD:8081/cloud-init/'}}
network: {config: disabled}
manage_etc_hosts: false
cloud_init_modules: [bootcmd, write-files, set_hostname, update_hostname]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-vendor, scripts-per-boot, scripts-per-instance, scripts-user, phone-home, final-message]
system_info: {distro: debian, paths: {cloud_dir: /var/lib/cloud/, templates_dir: /etc/cloud/templates/}}
";

/// One boot. The folders are the node's disk; /run is new each time.
const BOOT: &str = r#"
set -eu
disk=$1
rm -rf "$disk/run"
mkdir -p "$disk/run" "$disk/root" "$disk/home" "$disk/lib-cloud" "$disk/log"
if [ ! -e "$disk/etc" ]; then
  cp -a /etc "$disk/etc"
  find "$disk/etc/cloud/cloud.cfg.d" -type f ! -name 05_logging.cfg -delete
  rm -rf "$disk"/etc/ssh/ssh_host_* "$disk/etc/hostname"
  mkdir -p "$disk/etc/ssh"
  echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 root@node' >"$disk/etc/ssh/ssh_host_ed25519_key.pub"
  cp "$disk/cloud.cfg" "$disk/etc/cloud/cloud.cfg"
fi
mkdir -p /var/lib/cloud
mount --bind "$disk/etc" /etc
mount --bind "$disk/lib-cloud" /var/lib/cloud
mount --bind "$disk/log" /var/log
mount --bind "$disk/root" /root
mount --bind "$disk/home" /home
mount --bind "$disk/run" /run
# As init does it: what /etc/hostname says.
hostname "$(cat /etc/hostname 2>/dev/null || echo unnamed)"
cloud-init init --local
cloud-init init
cloud-init modules --mode=config
cloud-init modules --mode=final
hostname >/root/hostname
[ ! -e /root/template.yaml ] || cloud-init devel render /root/template.yaml >/root/rendered.yaml
"#;

/// What the group lends: a file with values of the group, the site and the node; marks of each kind of module;
/// and the call when all is done.
const GROUP: &str = "## template: jinja
#cloud-config
{% set v1 = ds.meta_data.instance_data.v1 %}
bootcmd:
- echo boot >>/root/boots
write_files:
- path: /etc/site.conf
  content: |
    syslog={{ v1.vendor_data.groups.compute.syslog }}
    region={{ v1.region }}
    name={{ local_hostname }}
    address={{ v1.local_ipv4 }}
    slot={{ ds.meta_data.slot }}
    keys={{ v1.public_keys }}
    flag={{ v1.vendor_data.groups.compute.flag }}
    missing={{ ds.meta_data.absent }} {{ absent | default('none') }}
{% for name, group in v1.vendor_data.groups.items() %}
    group={{ name }} {{ group.Description | upper }}
{% endfor %}
{% if absent is defined %}
    never
{% endif %}
runcmd:
- echo run >>/root/runs
phone_home:
  url: {{ v1.vendor_data.cloud_init_base_url }}/phone-home/{{ ds.meta_data['instance-id'] }}
  post: all
  tries: 2
";

/// The node's own part, a script: of a key that both hold, cloud-init would take the node's alone.
const NODE: &str = "#!/bin/sh\necho mine >/etc/own.conf\n";

/// Boots the node; its log on failure.
fn boot(lab: &Lab) {
    let output = Command::new("ip")
        .args(["netns", "exec", &lab.client, "unshare", "--mount", "--uts", "--propagation", "private"])
        .args(["sh", "-c", BOOT, "boot"])
        .arg(lab.path("disk"))
        .output()
        .unwrap();
    let log = fs::read_to_string(lab.path("disk/log/cloud-init.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(60).collect();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
}

fn read(lab: &Lab, path: &str) -> String {
    let log = || fs::read_to_string(lab.path("disk/log/cloud-init.log")).unwrap_or_default();
    fs::read_to_string(lab.path("disk").join(path)).unwrap_or_else(|_| panic!("no {path}:\n{}", log()))
}

/// A head with one node, described by its group, the defaults and itself.
fn site() -> Lab {
    let mut lab = Lab::new();
    lab.configure("");
    lab.serve();
    lab.declare("nid001", "02:00:00:00:00:01", "192.0.2.1");
    lab.ask(&["group", "add", "compute", "nid001"]);
    lab.ask(&["cloud-init", "defaults", "set", "--region", "hall 1", "--public-key", "ssh-ed25519 AAAA one"]);
    for (name, text) in [("compute.yaml", GROUP), ("own.sh", NODE)] {
        fs::write(lab.path(name), text).unwrap();
    }
    let file = |name: &str| lab.path(name).display().to_string();
    let meta = ["--meta", "syslog=192.0.2.254", "--meta", "flag=true", "--description", "all of them"];
    let set = ["cloud-init", "group", "set", "compute", "--file", &file("compute.yaml")];
    lab.ask(&[&set[..], &meta].concat());
    lab.ask(&["cloud-init", "node", "set", "nid001", "--file", &file("own.sh"), "--meta", "slot=4"]);
    lab.client("ip addr add 192.0.2.1/24 dev eth0");
    fs::create_dir_all(lab.path("disk/root")).unwrap();
    fs::write(lab.path("disk/cloud.cfg"), CONFIG.replace("HEAD", HEAD)).unwrap();
    fs::write(lab.path("disk/root/template.yaml"), GROUP).unwrap();
    lab
}

#[test]
fn a_node_is_configured_once_and_again_only_on_request() {
    if netns::is_skipped() {
        return;
    }
    need("cloud-init", "cloud-init");
    let mut lab = site();
    boot(&lab);
    assert_eq!(read(&lab, "root/hostname").trim(), "nid001");
    assert_eq!(
        read(&lab, "etc/site.conf"),
        "syslog=192.0.2.254\nregion=hall 1\nname=nid001\naddress=192.0.2.1\nslot=4\n\
         keys=['ssh-ed25519 AAAA one']\nflag=True\nmissing=CI_MISSING_JINJA_VAR/absent none\n\
         group=compute ALL OF THEM\n"
    );
    assert_eq!(read(&lab, "etc/own.conf"), "mine\n", "the node's own part beside the group's");
    assert_eq!(read(&lab, "root/runs"), "run\n");
    let preview = lab.ask(&["cloud-init", "render", "nid001", "compute.yaml"]);
    assert_eq!(
        read(&lab, "root/rendered.yaml").trim_end(),
        preview.trim_end(),
        "the preview is what cloud-init makes"
    );
    let report = || lab.ask(&["--json", "cloud-init", "reports"]);
    let id = lab.ask(&["--json", "cloud-init", "node", "show", "nid001"]);
    let id = id.split("\"effective_instance_id\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let first = report();
    assert!(first.contains("\"count\": 1") && first.contains(&id), "{first}");
    assert!(first.contains("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"), "the host key arrived: {first}");

    boot(&lab);
    assert_eq!(read(&lab, "root/boots"), "boot\nboot\n", "the second boot happened");
    assert_eq!(read(&lab, "root/runs"), "run\n", "and did nothing again");
    assert_eq!(report(), first, "nor did it call again");

    lab.ask(&["cloud-init", "reinstall", "nid001"]);
    boot(&lab);
    assert_eq!(read(&lab, "root/runs"), "run\nrun\n", "a new installation was asked for");
    assert!(report().contains("\"count\": 2"));

    // The power goes, the head comes back, the node boots: it is the same node.
    lab.kill();
    lab.serve();
    boot(&lab);
    assert_eq!(read(&lab, "root/runs"), "run\nrun\n", "instance-ids survive the head");
    assert_eq!(read(&lab, "root/hostname").trim(), "nid001");
}
