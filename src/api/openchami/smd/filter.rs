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
    /// Canonical names of `id`; empty: all.
    ids: BTreeSet<String>,
    /// Members of the groups that are asked for, and of those that are negated.
    groups: Option<BTreeSet<String>>,
    not_groups: BTreeSet<String>,
    partitions: Option<BTreeSet<String>>,
    reserved: BTreeSet<String>,
}

impl Filter {
    /// # Errors
    /// Status 400: a value that can be none.
    pub(crate) fn new(query: Query, inventory: &Inventory) -> Result<Filter, Problem> {
        values::check_filter(&query, inventory)?;
        let ids = query.all("id").iter().filter(|id| !id.starts_with('!'));
        let ids = ids.map(|id| xname(id).map(|xname| xname.to_string())).collect::<Result<_, _>>()?;
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
        let partitions = query.has("partition").then(|| {
            let names = query.all("partition").iter();
            names.flat_map(|name| partitions::members_of(inventory, name)).collect()
        });
        let reserved = if query.has("reserved") { locks::reserved(inventory) } else { BTreeSet::new() };
        Ok(Filter { ids, groups, not_groups, partitions, reserved, query })
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
            && !query.all("id").iter().any(|wanted| wanted.strip_prefix('!') == Some(id))
            && self.groups.as_ref().is_none_or(|members| members.contains(id))
            && !self.not_groups.contains(id)
            && self.partitions.as_ref().is_none_or(|members| members.contains(id))
            && self.admits_nid(component.nid)
    }

    /// Numbers one by one and as spans, joined by "or".
    fn admits_nid(&self, nid: Option<u32>) -> bool {
        let numbers = |key: &str| -> Vec<u32> {
            self.query.all(key).iter().filter_map(|text| text.parse().ok()).collect()
        };
        let refused = self.query.all("nid").iter().filter_map(|text| text.strip_prefix('!'));
        let refused: Vec<u32> = refused.filter_map(|text| text.parse().ok()).collect();
        let (single, from, to) = (numbers("nid"), numbers("nid_start"), numbers("nid_end"));
        let asked = !(single.is_empty() && from.is_empty() && to.is_empty());
        let Some(nid) = nid else { return !asked };
        let spans = from.len().max(to.len());
        let mut spans = (0..spans)
            .map(|index| (from.get(index).copied().unwrap_or(0), to.get(index).copied().unwrap_or(u32::MAX)));
        let inside = single.contains(&nid) || spans.any(|(low, high)| (low..=high).contains(&nid));
        (!asked || inside) && !refused.contains(&nid)
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
pub(crate) fn below(roots: &[Xname], xname: &Xname) -> bool {
    roots.iter().any(|root| root.as_str() == "s0" || root.covers(xname))
}
