//! What a boot script says about an attempt.

use std::net::Ipv4Addr;

use crate::base::Timestamp;
use crate::engine::record::attempt::{Attempt, short};
use crate::engine::record::evidence::{ScriptSeen, Target};
use crate::model::boot_record::{Fate, Outcome, Phase, Sign, Told};

impl Attempt {
    pub(crate) fn on_script(&mut self, seen: &ScriptSeen, at: Timestamp) {
        let has_kernel = self.record.did(Phase::Kernel);
        if let Some(agent) = &seen.agent {
            self.record.client.agent = Some(short(agent));
        }
        let step = self.step(Phase::Script, "script", at);
        step.result = short(&seen.rule);
        step.fate = if seen.status < 400 { Fate::Done } else { Fate::Refused };
        if seen.status >= 500 {
            let text = format!("its script could not be made ({}): {}", seen.status, short(&seen.rule));
            return self.sign(Sign::ScriptBroken, at, text);
        }
        // The tail of a script asks again when a command before it failed.
        if has_kernel && seen.attempt > 0 {
            let text = format!("it had its kernel and asked for its script again (try {})", seen.attempt);
            self.sign(Sign::ScriptAgain, at, text);
        }
        match &seen.target {
            Target::Linux { kernel, initrds, line } => self.on_linux(seen, kernel, initrds, line, at),
            Target::Other(what) => {
                self.sign(Sign::OwnScript, at, format!("it runs {what}"));
                self.record.outcome = Outcome::Left;
            }
            Target::LocalDisk => self.record.outcome = Outcome::Left,
            Target::Hold => self.record.outcome = Outcome::Waits,
            Target::Refuse => {
                let text = format!("the head does not boot it: {}", short(&seen.rule));
                self.sign(Sign::ScriptRefused, at, text);
                self.record.outcome = Outcome::Left;
            }
        }
    }

    fn on_linux(&mut self, seen: &ScriptSeen, kernel: &str, initrds: &[String], line: &str, at: Timestamp) {
        self.record.outcome = Outcome::UnderWay;
        let image = seen.image.clone().unwrap_or_else(|| kernel.to_owned());
        self.record.told = Some(Told {
            image: short(&image),
            kernel: short(kernel),
            initrds: initrds.iter().take(4).map(|path| short(path)).collect(),
            root: root_path(line),
            rule: short(&seen.rule),
        });
        let words = || line.split(' ');
        if !line.is_empty() && !initrds.is_empty() && !words().any(|word| word.starts_with("initrd=")) {
            let text = "the kernel's parameters name no initrd (initrd=)".to_owned();
            self.sign(Sign::NoInitrdWord, at, text);
        }
        let values = words().filter_map(|word| word.strip_prefix("ip="));
        if let Some(wrong) = values.into_iter().find(|value| !is_ip_word(value)) {
            let text = format!("the parameter ip={} cannot be read", short(wrong));
            self.sign(Sign::BadIpWord, at, text);
        }
    }
}

/// The path of a root that the parameters name at this head, below the images.
fn root_path(line: &str) -> Option<String> {
    let values = line.split(' ').filter_map(|word| word.split_once('='));
    let wanted = values.filter(|(key, _)| matches!(*key, "muster.root" | "root" | "fetch"));
    let mut urls = wanted.filter_map(|(_, value)| value.strip_prefix("live:").or(Some(value)));
    let url = urls.find(|value| value.contains("/images/") || value.starts_with("nbd:"))?;
    let path = url.split_once("/images/").map_or(url, |(_, path)| path);
    Some(short(path))
}

/// True if dracut (dracut.cmdline(7)) or the kernel (nfsroot.rst) could read this value of `ip=`.
fn is_ip_word(value: &str) -> bool {
    const METHODS: [&str; 12] = [
        "dhcp",
        "on",
        "any",
        "dhcp6",
        "auto6",
        "either6",
        "ibft",
        "link6",
        "link-local",
        "off",
        "none",
        "bootp",
    ];
    if METHODS.contains(&value) || value == "single-dhcp" {
        return true;
    }
    if value.contains('[') {
        return true; // IPv6 in brackets has colons of its own
    }
    let parts: Vec<&str> = value.split(':').collect();
    let is_address = |text: &str| text.parse::<Ipv4Addr>().is_ok();
    match parts.as_slice() {
        // DEVICE:METHOD[:…]
        [device, method, ..] if METHODS.contains(method) => !device.is_empty() && !is_address(device),
        // ADDRESS:[PEER]:[GATEWAY]:NETMASK:[NAME]:[DEVICE]:METHOD…
        [address, peer, gateway, mask, rest @ ..] => {
            let mask_fits =
                mask.is_empty() || is_address(mask) || mask.parse::<u8>().is_ok_and(|prefix| prefix <= 32);
            let method_fits = rest.get(2).is_none_or(|method| method.is_empty() || METHODS.contains(method));
            let empty_or_address = |text: &str| text.is_empty() || is_address(text);
            is_address(address)
                && empty_or_address(peer)
                && empty_or_address(gateway)
                && mask_fits
                && method_fits
        }
        [address] => is_address(address),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::record::attempt::script::{is_ip_word, root_path};

    #[test]
    fn what_dracut_and_kernels_read_is_no_mistake() {
        for fine in [
            "dhcp",
            "192.0.2.7",
            "eth0:dhcp",
            "192.0.2.7::192.0.2.1:24:nid001:eth0:none",
            "192.0.2.7::192.0.2.1:255.255.255.0::eth0:off:192.0.2.1",
            "[2001:db8::7]::[2001:db8::1]:64::eth0:none",
        ] {
            assert!(is_ip_word(fine), "{fine}");
        }
        for wrong in
            ["", "dchp", "192.0.2", "192.0.2.7::192.0.2.1:33", "192.0.2.7:255.255.255.0", "eth0:", "::::"]
        {
            assert!(!is_ip_word(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_root_is_found_where_the_parameters_name_it() {
        let line = "vmlinuz root=live:http://192.0.2.1:8081/images/a/rootfs.squashfs ro";
        assert_eq!(root_path(line).as_deref(), Some("a/rootfs.squashfs"));
        let line = "x root=muster muster.root=http://192.0.2.1:8081/images/sha256/ab/rootfs.erofs";
        assert_eq!(root_path(line).as_deref(), Some("sha256/ab/rootfs.erofs"));
        assert_eq!(root_path("x root=/dev/sda1"), None);
    }
}
