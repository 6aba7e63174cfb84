//! The words of SMD: states, flags, roles and the like, with the transitions between states.

use crate::api::openchami::query::Query;
use crate::api::problem::Problem;
use crate::base::xname::kind::kinds;
use crate::model::Inventory;

pub(crate) const STATES: [&str; 8] =
    ["Unknown", "Empty", "Populated", "Off", "On", "Standby", "Halt", "Ready"];
pub(crate) const FLAGS: [&str; 5] = ["Unknown", "OK", "Warning", "Alert", "Locked"];
pub(crate) const ROLES: [&str; 6] = ["Compute", "Service", "System", "Application", "Storage", "Management"];
pub(crate) const SUB_ROLES: [&str; 3] = ["Master", "Worker", "Storage"];
pub(crate) const NET_TYPES: [&str; 5] = ["Sling", "Infiniband", "Ethernet", "OEM", "None"];
pub(crate) const ARCHS: [&str; 4] = ["X86", "ARM", "UNKNOWN", "Other"];
pub(crate) const CLASSES: [&str; 3] = ["River", "Mountain", "Hill"];

/// The canonical spelling of a word.
pub(crate) fn find(words: &[&'static str], text: &str) -> Option<&'static str> {
    words.iter().find(|word| word.eq_ignore_ascii_case(text.trim())).copied()
}

/// The canonical spelling of a word, or a refusal that names the field.
pub(crate) fn known(field: &str, words: &[&'static str], text: &str) -> Result<String, Problem> {
    let found = find(words, text);
    found.map(str::to_owned).ok_or_else(|| Problem::bad_request(format!("invalid {field}: {text}")))
}

/// The list with the words of the site added: roles that some node has are roles.
pub(crate) fn role(inventory: &Inventory, text: &str) -> Result<String, Problem> {
    let known_here = || {
        inventory
            .nodes
            .values()
            .filter_map(|node| node.role.as_ref())
            .find(|role| role.eq_ignore_ascii_case(text))
    };
    let found = find(&ROLES, text).map(str::to_owned).or_else(|| known_here().cloned());
    found.ok_or_else(|| Problem::bad_request(format!("invalid Role: {text}")))
}

/// True if a component may go from one state to another without force.
pub(crate) fn may_change(from: &str, to: &str) -> bool {
    let starts: &[&str] = match to {
        "Off" => &["Off", "On", "Standby", "Halt", "Ready"],
        "On" => &["On", "Off", "Standby", "Halt"],
        "Standby" => &["Standby", "Ready"],
        "Halt" => &["Halt", "Ready"],
        "Ready" => &["Ready", "On", "Off", "Standby", "Halt"],
        _ => &[], // Unknown, Empty, Populated
    };
    starts.contains(&from)
}

/// Kinds of components by name, any case.
pub(crate) fn kind(text: &str) -> Option<&'static str> {
    kinds().find(|kind| kind.eq_ignore_ascii_case(text.trim()))
}

/// Refuses filters on words that are none.
pub(crate) fn check_filter(query: &Query, inventory: &Inventory) -> Result<(), Problem> {
    let bad = |key: &str, value: &str| Problem::bad_request(format!("invalid {key} filter: {value}"));
    let words: [(&str, &[&str]); 6] = [
        ("state", &STATES),
        ("flag", &FLAGS),
        ("subrole", &SUB_ROLES),
        ("arch", &ARCHS),
        ("class", &CLASSES),
        ("nettype", &NET_TYPES),
    ];
    let plain = |text: &'_ str| text.strip_prefix('!').unwrap_or(text).to_owned();
    for (key, words) in words {
        if let Some(value) = query.all(key).iter().find(|text| find(words, &plain(text)).is_none()) {
            return Err(bad(key, value));
        }
    }
    if let Some(value) = query.all("type").iter().find(|text| kind(&plain(text)).is_none()) {
        return Err(bad("type", value));
    }
    if let Some(value) = query.all("role").iter().find(|text| role(inventory, &plain(text)).is_err()) {
        return Err(bad("role", value));
    }
    let flags = ["enabled", "locked", "reserved", "reservation_disabled", "reservationdisabled"];
    for key in flags {
        let is_flag =
            |text: &String| matches!(plain(text).to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0");
        if let Some(value) = query.all(key).iter().find(|text| !is_flag(text)) {
            return Err(bad(key, value));
        }
    }
    for key in ["nid", "nid_start", "nid_end"] {
        if let Some(value) = query.all(key).iter().find(|text| plain(text).parse::<u32>().is_err()) {
            return Err(bad(key, value));
        }
    }
    Ok(())
}
