//! What one node or profile of a `nodes.conf` says, and how the two are laid over one another: single values
//! replace, lists of kernel arguments and devices join (Warewulf 4.6, `MergeNode`; before 4.6 arguments were
//! one text, which replaces).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::base::Mac;
use crate::engine::inventory::Problems;
use crate::engine::inventory::fields::{Fields, message};
use crate::engine::inventory::yaml::{Value, Yaml};

/// Words by which Warewulf's tools say that a field is not set.
const UNSET: [&str; 4] = ["--", "UNDEF", "UNSET", "DELETE"];

/// Field names that are told as not carried over, and how much of each: all that Warewulf knows fit.
const NAMES_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 40;

/// A node or a profile.
#[derive(Clone, Default, Debug)]
pub(crate) struct Settings {
    pub(crate) line: usize,
    pub(crate) comment: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) kernel: Option<String>,
    args: Vec<String>,
    /// The arguments are one text, which replaces what profiles say.
    args_replace: bool,
    pub(crate) profiles: Vec<String>,
    primary: Option<String>,
    devices: BTreeMap<String, Device>,
    pub(crate) bmc: Controller,
    pub(crate) tags: BTreeMap<String, String>,
}

/// A network device.
#[derive(Clone, Default, Debug)]
pub(crate) struct Device {
    pub(crate) device: Option<String>,
    kind: Option<String>,
    pub(crate) mac: Option<Mac>,
    pub(crate) address: Option<Ipv4Addr>,
    netmask: Option<String>,
    gateway: Option<String>,
    is_primary: bool,
}

/// What the section `ipmi` says.
#[derive(Clone, Default, Debug)]
pub(crate) struct Controller {
    pub(crate) mac: Option<Mac>,
    pub(crate) address: Option<Ipv4Addr>,
}

/// Fields that were met and have no place here, with the number of places.
#[derive(Default)]
pub(crate) struct Left(pub(crate) BTreeMap<String, usize>);

impl Left {
    fn note(&mut self, fields: &Fields<'_>, prefix: &str) {
        for (name, _) in fields.rest().filter(|(_, value)| !is_empty(value)) {
            // Names come from outside: neither long ones nor many may fill the screen.
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            let key = format!("{prefix}{name}");
            if self.0.len() < NAMES_MAX || self.0.contains_key(&key) {
                let count = self.0.entry(key).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
}

fn is_empty(yaml: &Yaml) -> bool {
    match &yaml.value {
        Value::Null => true,
        Value::Scalar(text, _) => text.is_empty() || UNSET.contains(&text.as_str()),
        Value::List(items) => items.is_empty(),
        Value::Map(pairs) => pairs.is_empty(),
    }
}

impl Settings {
    pub(crate) fn read(yaml: &Yaml, path: &str, left: &mut Left, problems: &mut Problems) -> Settings {
        let mut settings = Settings { line: yaml.line, ..Settings::default() };
        if yaml.value == Value::Null {
            return settings; // `n1: {}` and `n1:` are the same node
        }
        let Some(mut fields) = Fields::of(yaml, path, problems) else { return settings };
        settings.comment = word(&mut fields, "comment", problems);
        settings.cluster = word(&mut fields, "cluster name", problems);
        let container = word(&mut fields, "container name", problems);
        settings.image = word(&mut fields, "image name", problems).or(container);
        let profiles = fields.words("profiles", problems).unwrap_or_default();
        settings.profiles = profiles.into_iter().map(|(_, name)| name.trim().to_owned()).collect();
        settings.primary = word(&mut fields, "primary network", problems);
        settings.kernel(&mut fields, left, problems);
        settings.ipmi(&mut fields, left, problems);
        settings.tags = fields.map("keys", problems);
        settings.tags.extend(fields.map("tags", problems));
        if let Some(devices) = fields.take("network devices") {
            settings.devices(devices, &fields.field("network devices"), left, problems);
        }
        left.note(&fields, "");
        settings
    }

    fn kernel(&mut self, root: &mut Fields<'_>, left: &mut Left, problems: &mut Problems) {
        // Flat before 4.3.
        let (args, version) = (root.take("kernel args"), word(root, "kernel version", problems));
        self.kernel = word(root, "kernel override", problems).or(version);
        self.arguments(args);
        let Some(yaml) = root.take("kernel").filter(|yaml| !is_empty(yaml)) else { return };
        let Some(mut fields) = Fields::of(yaml, &root.field("kernel"), problems) else { return };
        let version = word(&mut fields, "version", problems);
        self.kernel = word(&mut fields, "override", problems).or(version).or(self.kernel.take());
        self.arguments(fields.take("args"));
        left.note(&fields, "kernel.");
    }

    fn arguments(&mut self, yaml: Option<&Yaml>) {
        match yaml.map(|yaml| &yaml.value) {
            Some(Value::Scalar(text, _)) if !text.is_empty() && !UNSET.contains(&text.as_str()) => {
                self.args = vec![text.clone()];
                self.args_replace = true;
            }
            Some(Value::List(items)) => {
                let words = items.iter().filter_map(|item| match &item.value {
                    Value::Scalar(text, _) => Some(text.clone()),
                    Value::Null | Value::List(_) | Value::Map(_) => None,
                });
                self.args = words.collect();
            }
            Some(Value::Scalar(..) | Value::Null | Value::Map(_)) | None => {}
        }
    }

    fn ipmi(&mut self, root: &mut Fields<'_>, left: &mut Left, problems: &mut Problems) {
        self.bmc.address = parsed(root, "ipmi ipaddr", problems);
        let Some(yaml) = root.take("ipmi").filter(|yaml| !is_empty(yaml)) else { return };
        let Some(mut fields) = Fields::of(yaml, &root.field("ipmi"), problems) else { return };
        self.bmc.mac = parsed(&mut fields, "hwaddr", problems);
        self.bmc.address = parsed(&mut fields, "ipaddr", problems).or(self.bmc.address);
        // The network's, not the BMC's: muster.toml has them.
        let _ = (fields.take("netmask"), fields.take("gateway"));
        left.note(&fields, "ipmi.");
    }

    fn devices(&mut self, yaml: &Yaml, path: &str, left: &mut Left, problems: &mut Problems) {
        let Value::Map(pairs) = &yaml.value else {
            if yaml.value != Value::Null {
                problems.add(yaml.line, path, "expected network devices by name");
            }
            return;
        };
        for (name, item) in pairs {
            let path = format!("{path}.{name}");
            if item.value == Value::Null {
                continue;
            }
            let Some(mut fields) = Fields::of(item, &path, problems) else { continue };
            self.devices.insert(name.clone(), Device::read(&mut fields, problems));
            left.note(&fields, "network devices.");
        }
    }

    /// Lays another over this one.
    pub(crate) fn overlay(&mut self, over: &Settings) {
        let Settings {
            line,
            comment,
            cluster,
            image,
            kernel,
            args,
            args_replace,
            profiles: _,
            primary,
            devices,
            bmc,
            tags: _,
        } = over;
        self.line = *line;
        replace(&mut self.comment, comment);
        replace(&mut self.cluster, cluster);
        replace(&mut self.image, image);
        replace(&mut self.kernel, kernel);
        replace(&mut self.primary, primary);
        replace(&mut self.bmc.mac, &bmc.mac);
        replace(&mut self.bmc.address, &bmc.address);
        if *args_replace {
            self.args.clear();
        }
        self.args.extend(args.iter().cloned());
        for (name, device) in devices {
            self.devices.entry(name.clone()).or_default().overlay(device);
        }
    }

    /// All kernel arguments, each once, as Warewulf has them; one that begins with `~` takes its like away.
    pub(crate) fn params(&self) -> String {
        let removed = |word: &str| self.args.iter().any(|other| other.strip_prefix('~') == Some(word));
        let mut words: Vec<&str> = Vec::new();
        for word in self.args.iter().map(|word| word.trim()) {
            let wanted = !word.is_empty() && !word.starts_with('~') && !removed(word);
            if wanted && !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(" ")
    }

    /// Devices, the one that boots first.
    pub(crate) fn ports(&self) -> Vec<(&String, &Device)> {
        let mut ports: Vec<_> = self.devices.iter().collect();
        ports.sort_by_key(|(name, device)| {
            (self.primary.as_ref() != Some(*name), !device.is_primary, *name != "default")
        });
        ports
    }
}

impl Device {
    fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Device {
        let kind = word(fields, "type", problems);
        let mac = match word(fields, "hwaddr", problems) {
            None => None,
            Some(text) => match text.trim().parse::<Mac>() {
                Ok(mac) => Some(mac),
                // 20 octets, by which nobody boots over Ethernet.
                Err(_) if kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("infiniband")) => None,
                Err(error) => {
                    let line = fields.line_of("hwaddr");
                    problems.add(line, fields.field("hwaddr"), message(&text, &error));
                    None
                }
            },
        };
        let cidr = word(fields, "ipcidr", problems).and_then(|cidr| cidr.split('/').next()?.parse().ok());
        let flag = |text: Option<String>| text.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let (primary, old) = (word(fields, "primary", problems), word(fields, "default", problems));
        let _ = (fields.take("onboot"), fields.take("prefix"), fields.take("prefixlen"));
        Device {
            device: word(fields, "device", problems),
            kind,
            mac,
            address: parsed(fields, "ipaddr", problems).or(cidr),
            netmask: word(fields, "netmask", problems),
            gateway: word(fields, "gateway", problems),
            is_primary: flag(primary) || flag(old),
        }
    }

    fn overlay(&mut self, over: &Device) {
        let Device { device, kind, mac, address, netmask, gateway, is_primary } = over;
        replace(&mut self.device, device);
        replace(&mut self.kind, kind);
        replace(&mut self.mac, mac);
        replace(&mut self.address, address);
        replace(&mut self.netmask, netmask);
        replace(&mut self.gateway, gateway);
        self.is_primary |= is_primary;
    }

    /// Its network as people write it, if it tells one.
    pub(crate) fn network(&self) -> Option<String> {
        match (&self.netmask, &self.gateway) {
            (None, None) => None,
            (Some(mask), None) => Some(format!("netmask {mask}")),
            (None, Some(gateway)) => Some(format!("gateway {gateway}")),
            (Some(mask), Some(gateway)) => Some(format!("netmask {mask} gateway {gateway}")),
        }
    }
}

fn replace<T: Clone>(value: &mut Option<T>, over: &Option<T>) {
    if over.is_some() {
        value.clone_from(over);
    }
}

fn word(fields: &mut Fields<'_>, key: &'static str, problems: &mut Problems) -> Option<String> {
    fields.text(key, problems).flatten().filter(|text| !UNSET.contains(&text.as_str()))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<T> {
    let text = word(fields, key, problems)?;
    match text.trim().parse() {
        Ok(value) => Some(value),
        Err(error) => {
            problems.add(fields.line_of(key), fields.field(key), message(&text, &error));
            None
        }
    }
}
