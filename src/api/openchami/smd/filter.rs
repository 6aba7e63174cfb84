//! Which components a query means.

use std::collections::BTreeSet;

use crate::api::openchami::query::Query;
use crate::api::openchami::smd::component::Component;
use crate::api::openchami::smd::{group, locks, partitions, values, xname};
use crate::api::problem::Problem;
use crate::base::Xname;
use crate::model::Inventory;

/// A compiled query over components.
pub(crate) struct Filter {
    query: Query,
    /// Canonical names of `id`, and of those that are negated; empty: all.
    ids: BTreeSet<String>,
    not_ids: BTreeSet<String>,
    /// Members of the groups that are asked for, and of those that are negated.
    groups: Option<BTreeSet<String>>,
    not_groups: BTreeSet<String>,
    partitions: Option<BTreeSet<String>>,
    not_partitions: BTreeSet<String>,
    reserved: BTreeSet<String>,
    nids: Numbers,
}

/// Numbers that are asked for: one by one and as spans, joined by "or"; and those that are not.
#[derive(Default)]
struct Numbers {
    single: BTreeSet<u32>,
    spans: Vec<(u32, u32)>,
    refused: BTreeSet<u32>,
}

impl Filter {
    /// # Errors
    /// Status 400: a value that can be none.
    pub(crate) fn new(query: Query, inventory: &Inventory) -> Result<Filter, Problem> {
        values::check_filter(&query, inventory)?;
        let name = |id: &str| xname(id).map(|xname| xname.to_string());
        let ids = query.all("id").iter().filter(|id| !id.starts_with('!'));
        let ids = ids.map(|id| name(id)).collect::<Result<_, _>>()?;
        let not_ids = query.all("id").iter().filter_map(|id| id.strip_prefix('!'));
        let not_ids = not_ids.map(name).collect::<Result<_, _>>()?;
        let (wanted, negated): (Vec<&String>, Vec<&String>) =
            query.all("group").iter().partition(|label| !label.starts_with('!'));
        let all = if query.has("group") { group::members(inventory) } else { Default::default() };
        let members = |label: &str| -> BTreeSet<String> {
            let label = label.trim_start_matches('!').to_ascii_lowercase();
            all.get(label.as_str()).cloned().unwrap_or_default()
        };
        let anywhere = || -> BTreeSet<String> { all.values().flatten().cloned().collect() };
        let mut not_groups: BTreeSet<String> = negated.iter().flat_map(|label| members(label)).collect();
        if wanted.iter().any(|label| label.eq_ignore_ascii_case("null")) {
            not_groups.extend(anywhere());
        }
        let named: Vec<_> = wanted.iter().filter(|label| !label.eq_ignore_ascii_case("null")).collect();
        let groups = (!named.is_empty()).then(|| named.iter().flat_map(|label| members(label)).collect());
        let (named, negated): (Vec<&String>, Vec<&String>) =
            query.all("partition").iter().partition(|name| !name.starts_with('!'));
        let members = |name: &str| partitions::members_of(inventory, name.trim_start_matches('!'));
        let partitions = (!named.is_empty()).then(|| named.iter().flat_map(|name| members(name)).collect());
        let not_partitions = negated.iter().flat_map(|name| members(name)).collect();
        let reserved = if query.has("reserved") { locks::reserved(inventory) } else { BTreeSet::new() };
        let nids = Numbers::of(&query);
        Ok(Filter { ids, not_ids, groups, not_groups, partitions, not_partitions, reserved, nids, query })
    }

    /// True if the component is meant.
    pub(crate) fn admits(&self, component: &Component) -> bool {
        let query = &self.query;
        let id = component.id.as_str();
        let enabled = component.enabled.unwrap_or(true).to_string();
        let texts = [
            ("type", component.kind.as_str()),
            ("state", &component.state),
            ("flag", &component.flag),
            ("softwarestatus", &component.software_status),
            ("role", &component.role),
            ("subrole", &component.sub_role),
            ("subtype", &component.subtype),
            ("arch", if component.arch.is_empty() { "X86" } else { &component.arch }),
            ("class", &component.class),
        ];
        let flags = [
            ("enabled", enabled == "true"),
            ("locked", component.locked),
            ("reserved", self.reserved.contains(id)),
            ("reservation_disabled", component.reservation_disabled),
            ("reservationdisabled", component.reservation_disabled),
        ];
        texts.iter().all(|(key, value)| query.admits(key, value))
            && flags.iter().all(|(key, value)| {
                query.admits_any(key, if *value { &["true", "1"] } else { &["false", "0"] })
            })
            && (self.ids.is_empty() || self.ids.contains(id))
            && !self.not_ids.contains(id)
            && self.groups.as_ref().is_none_or(|members| members.contains(id))
            && !self.not_groups.contains(id)
            && self.partitions.as_ref().is_none_or(|members| members.contains(id))
            && !self.not_partitions.contains(id)
            && self.nids.admit(component.nid)
    }
}

impl Numbers {
    fn of(query: &Query) -> Numbers {
        let numbers =
            |key: &str| -> Vec<u32> { query.all(key).iter().filter_map(|text| text.parse().ok()).collect() };
        let (from, to) = (numbers("nid_start"), numbers("nid_end"));
        let end = |list: &[u32], index: usize, open: u32| list.get(index).copied().unwrap_or(open);
        let spans = 0..from.len().max(to.len());
        let refused = query.all("nid").iter().filter_map(|text| text.strip_prefix('!'));
        Numbers {
            single: numbers("nid").into_iter().collect(),
            spans: spans.map(|index| (end(&from, index, 0), end(&to, index, u32::MAX))).collect(),
            refused: refused.filter_map(|text| text.parse().ok()).collect(),
        }
    }

    fn admit(&self, nid: Option<u32>) -> bool {
        let anything = self.single.is_empty() && self.spans.is_empty();
        let Some(nid) = nid else { return anything };
        let inside = || {
            self.single.contains(&nid) || self.spans.iter().any(|(low, high)| (*low..=*high).contains(&nid))
        };
        (anything || inside()) && !self.refused.contains(&nid)
    }
}

/// A component with only the fields that a query asks for.
pub(crate) fn project(component: Component, query: &Query) -> Component {
    let asked: Vec<&str> =
        ["stateonly", "flagonly", "roleonly", "nidonly"].into_iter().filter(|key| query.flag(key)).collect();
    if asked.is_empty() {
        return component;
    }
    let mut short = Component { id: component.id, kind: component.kind, ..Component::default() };
    for key in asked {
        match key {
            "stateonly" => {
                short.state.clone_from(&component.state);
                short.flag.clone_from(&component.flag);
            }
            "flagonly" => short.flag.clone_from(&component.flag),
            "roleonly" => {
                short.role.clone_from(&component.role);
                short.sub_role.clone_from(&component.sub_role);
            }
            _ => short.nid = component.nid,
        }
    }
    short
}

/// True if one of the roots is the component or lies above it.
pub(crate) fn below(roots: &BTreeSet<Xname>, xname: &Xname) -> bool {
    let mut above = std::iter::successors(Some(xname.clone()), Xname::parent);
    roots.contains("s0") || above.any(|name| roots.contains(&name))
}

/// Puts the xnames among the values of a key into canonical form.
pub(crate) fn normalise(query: &mut Query, key: &str) {
    let canonical = |text: &String| {
        let (not, rest) = text.strip_prefix('!').map_or(("", text.as_str()), |rest| ("!", rest));
        rest.parse::<Xname>().map_or_else(|_| text.clone(), |xname| format!("{not}{xname}"))
    };
    let values = query.all(key).iter().map(canonical).collect();
    if query.has(key) {
        query.set(key, values);
    }
}
