//! Any text as an inventory: what is taken exports and imports to no change.
#![no_main]

mod site;

use libfuzzer_sys::fuzz_target;
use muster::engine::inventory::{Mode, export, plan, read};
use muster::model::Inventory;

fuzz_target!(|text: &str| {
    let Ok(document) = read(text, "nid") else { return };
    let mut inventory = Inventory::default();
    let Ok(planned) = plan(&inventory.clone(), &site::SITE.site, &document, Mode { prune: true }) else { return };
    planned.changes.iter().for_each(|change| inventory.apply(change));
    let again = read(&export(&inventory), "nid").expect("what we export is read");
    let planned = plan(&inventory, &site::SITE.site, &again, Mode { prune: true }).expect("and is valid");
    assert!(planned.changes.is_empty(), "{:?}", planned.changes);
});
