//! What goes to this head's own BSS, cloud-init and SMD interfaces: documents that have no place in an inventory.
//! Each is a PUT, or a POST that merges, so that sending them again changes nothing.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::cli::client::{Client, escape};
use crate::cli::foreign::site::Site;
use crate::cli::progress::Steps;

/// One request to make.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    /// What it is, in the plural, for people.
    kind: &'static str,
    method: Method,
    path: String,
    body: Value,
    /// It may be there already, and then stays as it is.
    once: bool,
}

/// All requests, in the order in which they must arrive.
pub(crate) struct Letters(Vec<Letter>);

impl Letters {
    pub(crate) fn of(site: &Site) -> Letters {
        let mut letters = Vec::new();
        let put = |kind, path: String, body| Letter { kind, method: Method::PUT, path, body, once: false };
        for partition in &site.partitions {
            let path = "/hsm/v2/partitions".to_owned();
            let body = partition.clone();
            letters.push(Letter { kind: "partitions", method: Method::POST, path, body, once: true });
        }
        for entry in &site.boot_parameters {
            let one = |body| put("boot parameters", "/boot/v1/bootparameters".to_owned(), body);
            letters.extend(by_selector(entry).into_iter().map(one));
        }
        if let Some(defaults) = site.defaults.clone().filter(|defaults| defaults != &json!({})) {
            let path = "/cloud-init/admin/cluster-defaults".to_owned();
            let method = Method::POST;
            letters.push(Letter { kind: "cloud-init defaults", method, path, body: defaults, once: false });
        }
        for (name, group) in &site.groups {
            let mut group = group.clone();
            group["name"] = json!(name);
            let path = format!("/cloud-init/admin/groups/{}", escape(name));
            letters.push(put("cloud-init groups", path, group));
        }
        for (xname, (id, name)) in &site.instances {
            let mut body = json!({ "id": xname, "instance-id": id });
            if let Some(name) = name {
                body["local-hostname"] = json!(name);
            }
            let path = format!("/cloud-init/admin/instance-info/{}", escape(xname));
            letters.push(put("instance ids", path, body));
        }
        for (tree, entries) in [("/cloud-init", &site.entries), ("/cloud-init-secure", &site.secure_entries)]
        {
            for (name, entry) in entries {
                // Some releases wrap the sections, some do not.
                let sections = entry.get("cloud-init").unwrap_or(entry);
                let body = json!({ "name": name, "cloud-init": sections });
                letters.push(put("cloud-init entries", format!("{tree}/{}", escape(name)), body));
            }
        }
        Letters(letters)
    }

    /// How many of each kind.
    pub(crate) fn sizes(&self) -> BTreeMap<&'static str, usize> {
        let mut sizes = BTreeMap::new();
        for letter in &self.0 {
            let size: &mut usize = sizes.entry(letter.kind).or_default();
            *size = size.saturating_add(1);
        }
        sizes
    }

    /// The same in words.
    pub(crate) fn counted(&self) -> String {
        let sizes: Vec<String> = self.sizes().iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if sizes.is_empty() {
            "no boot parameters, no cloud-init documents".to_owned()
        } else {
            sizes.join(", ")
        }
    }

    /// Sends them. The first that is refused ends it: what was sent before stays, and the whole can be repeated.
    pub(crate) fn send(&self, client: &Client) -> anyhow::Result<BTreeMap<&'static str, usize>> {
        let steps = Steps::new(Some(self.0.len()));
        for letter in &self.0 {
            steps.on(letter.kind);
            let bytes = serde_json::to_vec(&letter.body)?;
            let (status, answer) =
                client.ask(letter.method.clone(), &letter.path, bytes, "application/json")?;
            let there = letter.once && status == StatusCode::CONFLICT;
            if !status.is_success() && !there {
                let answer = String::from_utf8_lossy(&answer);
                let answer: String = answer.trim().chars().take(300).collect();
                anyhow::bail!(
                    "{} {}: {status}: {answer}\n  The inventory is taken over; repeat the command once this is \
                     repaired: what is done already stays as it is",
                    letter.method,
                    letter.path
                );
            }
            steps.done();
        }
        Ok(self.sizes())
    }
}

/// An entry of BSS once for each way by which it names machines: a request may use one.
fn by_selector(entry: &Value) -> Vec<Value> {
    let mut rest: Map<String, Value> = entry.as_object().cloned().unwrap_or_default();
    let selectors: Vec<(&str, Value)> = ["hosts", "macs", "nids"]
        .into_iter()
        .filter_map(|key| Some((key, rest.remove(key)?)))
        .filter(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty()))
        .collect();
    let with = |(key, list): (&str, Value)| {
        let mut body = rest.clone();
        body.insert(key.to_owned(), list);
        Value::Object(body)
    };
    selectors.into_iter().map(with).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use crate::cli::foreign::send::{Letters, by_selector};
    use crate::cli::foreign::site::Site;

    #[test]
    fn an_entry_is_sent_once_for_each_way_of_naming_machines() {
        let entry = json!({"hosts": ["x1"], "macs": [], "nids": [1, 2], "kernel": "k", "params": "p"});
        let bodies = by_selector(&entry);
        assert_eq!(
            bodies,
            [
                json!({"hosts": ["x1"], "kernel": "k", "params": "p"}),
                json!({"nids": [1, 2], "kernel": "k", "params": "p"})
            ]
        );
    }

    #[test]
    fn both_generations_of_cloud_init_are_carried() {
        let site = Site {
            defaults: Some(json!({"short-name": "nid"})),
            groups: BTreeMap::from([("compute".to_owned(), json!({"description": "d"}))]),
            entries: BTreeMap::from([(
                "compute".to_owned(),
                json!({"name": "compute", "cloud-init": {"userdata": {}}}),
            )]),
            secure_entries: BTreeMap::from([("io".to_owned(), json!({"userdata": {"a": 1}}))]),
            instances: BTreeMap::from([("x1000c0s0b0n0".to_owned(), ("i-1".to_owned(), None))]),
            ..Site::default()
        };
        let letters = Letters::of(&site);
        let paths: Vec<String> = letters.0.iter().map(|one| format!("{} {}", one.method, one.path)).collect();
        assert_eq!(
            paths,
            [
                "POST /cloud-init/admin/cluster-defaults",
                "PUT /cloud-init/admin/groups/compute",
                "PUT /cloud-init/admin/instance-info/x1000c0s0b0n0",
                "PUT /cloud-init/compute",
                "PUT /cloud-init-secure/io",
            ]
        );
        assert_eq!(letters.0[1].body["name"], "compute");
        assert_eq!(letters.0[3].body["cloud-init"], json!({"userdata": {}}));
        assert_eq!(letters.0[4].body["cloud-init"], json!({"userdata": {"a": 1}}));
        let counted = "1 cloud-init defaults, 2 cloud-init entries, 1 cloud-init groups, 1 instance ids";
        assert_eq!(letters.counted(), counted);
    }
}
