//! Checks that what names an image names one that is there.

use crate::model::profile::Boot;
use crate::model::validate::{Problem, Subject};
use crate::model::{BootTarget, ImageKey, Inventory};

/// References of assignments and profiles to images, and of tags to versions.
pub(in crate::model::validate) fn images(inventory: &Inventory) -> impl Iterator<Item = Problem> {
    let assignments = inventory.assignments.values().filter_map(|assignment| match &assignment.boot {
        Boot::Target(target) => missing(inventory, target).map(|text| Problem {
            subject: Subject::Assignment(assignment.selector.to_string()),
            field: "target.image".to_owned(),
            text,
        }),
        Boot::Profile(_) => None,
    });
    let profiles = inventory.profiles.values().filter_map(|profile| {
        missing(inventory, &profile.target).map(|text| Problem {
            subject: Subject::Profile(profile.name.to_string()),
            field: "target.image".to_owned(),
            text,
        })
    });
    let tags = inventory.tags.values().filter_map(|tag| {
        let key = ImageKey { name: tag.key.name.clone(), version: tag.version };
        (!inventory.images.contains_key(&key)).then(|| Problem {
            subject: Subject::Tag(tag.key.to_string()),
            field: "version".to_owned(),
            text: format!("there is no image {key}"),
        })
    });
    assignments.chain(profiles).chain(tags)
}

fn missing(inventory: &Inventory, target: &BootTarget) -> Option<String> {
    match target {
        BootTarget::Image { image, .. } => {
            inventory.image(image).is_none().then(|| format!("there is no image {image}"))
        }
        BootTarget::Linux { .. } | BootTarget::Script(_) | BootTarget::Chain(_) | BootTarget::LocalDisk => {
            None
        }
    }
}
