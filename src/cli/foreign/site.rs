//! Reads an old site: which services are there, and all that they hold. A service that is not there is noted;
//! one that fails in the middle ends it.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use serde_json::Value;

use crate::base::Mac;
use crate::cli::foreign::From;
use crate::cli::foreign::convert::Inventory;
use crate::cli::foreign::fetch::{Answer, Source};
use crate::cli::progress::Steps;

/// Questions to the old cloud-init server at a time; it looks every node up in SMD.
const AT_ONCE: usize = 8;

/// Where the services lie, without a slash at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    smd: Option<String>,
    bss: Option<String>,
    cloud_init: Option<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    pub(crate) inventory: Inventory,
    pub(crate) partitions: Vec<Value>,
    pub(crate) boot_parameters: Vec<Value>,
    pub(crate) defaults: Option<Value>,
    pub(crate) groups: BTreeMap<String, Value>,
    /// Entries of the first generation, of the open and of the secure tree.
    pub(crate) entries: BTreeMap<String, Value>,
    pub(crate) secure_entries: BTreeMap<String, Value>,
    /// Instance id and host name of nodes, by xname.
    pub(crate) instances: BTreeMap<String, (String, Option<String>)>,
    pub(crate) notes: Vec<String>,
}

impl Places {
    /// # Errors
    /// A URL that is none.
    pub(crate) fn new(from: &From) -> anyhow::Result<Places> {
        let place = |own: &Option<String>, option: &str, path: &str| {
            let Some(url) = own.as_ref().or(from.from.as_ref()) else { return Ok(None) };
            let option = if own.is_some() { option } else { "--from" };
            let parsed =
                url.parse::<reqwest::Url>().with_context(|| format!("{option}: {url:?} is no URL"))?;
            if !["http", "https"].contains(&parsed.scheme()) || !parsed.has_host() {
                bail!("{option}: {url:?} does not begin with http:// or https://");
            }
            let url = url.trim_end_matches('/');
            Ok(Some(if url.ends_with(path) { url.to_owned() } else { format!("{url}{path}") }))
        };
        Ok(Places {
            smd: place(&from.from_smd, "--from-smd", "/hsm/v2")?,
            bss: place(&from.from_bss, "--from-bss", "/boot/v1")?,
            cloud_init: place(&from.from_cloud_init, "--from-cloud-init", "/cloud-init")?,
        })
    }
}

impl Site {
    pub(crate) async fn read(source: &Source, places: &Places) -> anyhow::Result<Site> {
        let mut site = Site::default();
        let steps = Steps::new(None);
        let mut found = Vec::new();
        if let Some(smd) = &places.smd {
            steps.on("reading SMD");
            found.push(("SMD", site.smd(source, smd).await?));
        }
        if let Some(bss) = &places.bss {
            steps.on("reading BSS");
            found.push(("BSS", site.bss(source, bss).await?));
        }
        if let Some(place) = &places.cloud_init {
            steps.on("reading cloud-init");
            found.push(("cloud-init", site.cloud_init(source, place).await?));
        }
        drop(steps);
        if !found.iter().any(|(_, there)| *there) {
            bail!("none of the services is there:\n  {}", site.notes.join("\n  "));
        }
        let absent = found.into_iter().filter(|(_, there)| !there);
        site.notes
            .extend(absent.map(|(name, _)| format!("{name} was not found: nothing of it is taken over")));
        Ok(site)
    }

    /// False: there is no SMD.
    async fn smd(&mut self, source: &Source, smd: &str) -> anyhow::Result<bool> {
        let notes = &mut self.notes;
        let Some(components) = source.json(&format!("{smd}/State/Components"), notes).await? else {
            return Ok(false);
        };
        self.inventory.components = list(components, "Components");
        for (path, key, into) in [
            ("/Inventory/EthernetInterfaces", "", &mut self.inventory.interfaces),
            ("/Inventory/RedfishEndpoints", "RedfishEndpoints", &mut self.inventory.endpoints),
            ("/groups", "", &mut self.inventory.groups),
            ("/partitions", "", &mut self.partitions),
        ] {
            match source.json(&format!("{smd}{path}"), notes).await? {
                Some(value) => *into = list(value, key),
                None => notes.push(format!("SMD has no {path}")),
            }
        }
        Ok(true)
    }

    async fn bss(&mut self, source: &Source, bss: &str) -> anyhow::Result<bool> {
        let mut found = source.json(&format!("{bss}/bootparameters"), &mut self.notes).await?;
        if found.is_none()
            && let Some(gateway) = bss.strip_suffix("/boot/v1")
        {
            let other = format!("{gateway}/apis/bss/boot/v1/bootparameters");
            found = source.json(&other, &mut self.notes).await?;
        }
        // An empty BSS answers null.
        let Some(found) = found else { return Ok(false) };
        self.boot_parameters = list(found, "");
        let macs = self.boot_parameters.iter().flat_map(|entry| entry["macs"].as_array()).flatten();
        self.inventory.boot_macs = macs.filter_map(|mac| mac.as_str()?.parse::<Mac>().ok()).collect();
        Ok(true)
    }

    async fn cloud_init(&mut self, source: &Source, place: &str) -> anyhow::Result<bool> {
        // From release 1.3 on the server itself knows no prefix; a gateway in front of it does.
        let bare = place.strip_suffix("/cloud-init").filter(|bare| !bare.is_empty());
        for base in [Some(place), bare].into_iter().flatten() {
            let groups = source.json(&format!("{base}/admin/groups"), &mut self.notes).await?;
            if let Some(Value::Object(groups)) = groups {
                self.groups = groups.into_iter().collect();
                self.defaults =
                    source.json(&format!("{base}/admin/cluster-defaults"), &mut self.notes).await?;
                self.naming();
                self.instances(source, base).await?;
                break;
            }
        }
        let second = self.defaults.is_some() || !self.groups.is_empty();
        let first = match source.json(place, &mut self.notes).await? {
            Some(Value::Object(entries)) => {
                self.entries = entries.into_iter().filter(|(_, entry)| entry.is_object()).collect();
                true
            }
            _ => false,
        };
        if first && !self.entries.is_empty() || !second {
            let secure = format!("{place}-secure");
            if let Some(Value::Object(entries)) = source.json(&secure, &mut self.notes).await? {
                self.secure_entries = entries.into_iter().filter(|(_, entry)| entry.is_object()).collect();
            }
        }
        Ok(first || second)
    }

    fn naming(&mut self) {
        let Some(defaults) = &self.defaults else { return };
        let text = |key: &str| defaults[key].as_str().filter(|text| !text.is_empty());
        // Without a short name the server takes the first two letters of the cluster's.
        let cluster = text("cluster-name").map(|name| name.chars().take(2).collect::<String>());
        let prefix = text("short-name").map(str::to_owned).or(cluster);
        let digits = defaults["nid-length"].as_u64().and_then(|digits| usize::try_from(digits).ok());
        let digits = digits.filter(|digits| (1..=10).contains(digits)).unwrap_or(4);
        self.inventory.naming = prefix.map(|prefix| (prefix, digits));
    }

    /// Instance ids: a node whose id changes would run its first boot again.
    async fn instances(&mut self, source: &Source, base: &str) -> anyhow::Result<()> {
        let nodes = self.inventory.components.iter().filter(|one| one["Type"] == "Node");
        let nodes: Vec<String> = nodes.filter_map(|one| one["ID"].as_str().map(str::to_owned)).collect();
        let steps = Steps::new(Some(nodes.len()));
        steps.on("instances");
        let steps = &steps;
        let questions = nodes.into_iter().map(|xname| async move {
            let answer = source.get(&format!("{base}/admin/impersonation/{xname}/meta-data")).await;
            steps.done();
            (xname, answer)
        });
        let mut answers = futures_util::stream::iter(questions).buffer_unordered(AT_ONCE);
        while let Some((xname, answer)) = answers.next().await {
            // This one server may not know a node; that is no reason to leave the others behind.
            let Ok(Answer::Found(text)) = answer else { continue };
            if let Some(id) = top_level(&text, "instance-id") {
                let name = top_level(&text, "local-hostname");
                self.inventory.host_names.extend(name.clone().map(|name| (xname.clone(), name)));
                self.instances.insert(xname, (id, name));
            }
        }
        Ok(())
    }
}

/// The items of an answer: a bare list, or one below a key.
fn list(value: Value, key: &str) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Object(mut fields) => match fields.remove(key) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A word at the top level of meta-data: YAML from most releases, JSON from some.
fn top_level(text: &str, key: &str) -> Option<String> {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return value[key].as_str().map(str::to_owned);
    }
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let word = line.trim().trim_matches(['"', '\'']);
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::cli::foreign::From;
    use crate::cli::foreign::site::{Places, top_level};

    #[test]
    fn services_are_looked_for_where_their_releases_have_them() {
        let some = |text: &str| Some(text.to_owned());
        let all = Places::new(&From { from: some("https://old.example:8443/"), ..From::default() }).unwrap();
        assert_eq!(all.smd, some("https://old.example:8443/hsm/v2"));
        assert_eq!(all.bss, some("https://old.example:8443/boot/v1"));
        assert_eq!(all.cloud_init, some("https://old.example:8443/cloud-init"));
        let one = From { from_smd: some("http://192.0.2.1:27779/hsm/v2"), ..From::default() };
        let one = Places::new(&one).unwrap();
        assert_eq!(one, Places { smd: some("http://192.0.2.1:27779/hsm/v2"), ..Places::default() });
        for bad in ["old-head", "ftp://x", "", "http://"] {
            let error = Places::new(&From { from: some(bad), ..From::default() }).unwrap_err();
            assert!(format!("{error:#}").starts_with("--from: "), "{bad}: {error:#}");
        }
    }

    #[test]
    fn meta_data_is_read_in_both_of_its_forms() {
        let yaml =
            "instance-id: i-1a2b\nlocal-hostname: \"nid0001\"\ninstance_data:\n  v1:\n    instance-id: no\n";
        assert_eq!(top_level(yaml, "instance-id").as_deref(), Some("i-1a2b"));
        assert_eq!(top_level(yaml, "local-hostname").as_deref(), Some("nid0001"));
        assert_eq!(top_level("{\"instance-id\":\"i-3\"}", "instance-id").as_deref(), Some("i-3"));
        assert_eq!(top_level("instance-id:\n", "instance-id"), None);
    }
}
