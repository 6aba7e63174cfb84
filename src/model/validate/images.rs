//! Checks that what names an image names one that is there.

use std::collections::BTreeSet;

use crate::model::profile::Boot;
use crate::model::validate::{Problem, Subject};
use crate::model::{Assignment, BootTarget, ImageKey, Inventory, Profile, Tag};

/// References of assignments and profiles to images, and of tags to versions.
pub(in crate::model::validate) fn images(inventory: &Inventory) -> Vec<Problem> {
    let assignments = inventory.assignments.values().filter_map(|one| assignment(inventory, one));
    let profiles = inventory.profiles.values().filter_map(|one| profile(inventory, one));
    let tags = inventory.tags.values().filter_map(|one| tag(inventory, one));
    assignments.chain(profiles).chain(tags).collect()
}

/// Those that a change causes. Looks at all references only if something went that they could point to.
pub(in crate::model::validate) fn caused(before: &Inventory, next: &Inventory) -> Vec<Problem> {
    let lost = !before.images.difference(&next.images).gone.is_empty()
        || !before.tags.difference(&next.tags).gone.is_empty();
    let found = if lost {
        images(next)
    } else {
        let assignments = before.assignments.difference(&next.assignments).put;
        let profiles = before.profiles.difference(&next.profiles).put;
        let tags = before.tags.difference(&next.tags).put;
        let assignments = assignments.into_iter().filter_map(|(_, _, one)| assignment(next, one));
        let profiles = profiles.into_iter().filter_map(|(_, _, one)| profile(next, one));
        assignments.chain(profiles).chain(tags.into_iter().filter_map(|(_, _, one)| tag(next, one))).collect()
    };
    if found.is_empty() {
        return found;
    }
    let known: BTreeSet<Problem> = images(before).into_iter().collect();
    found.into_iter().filter(|problem| !known.contains(problem)).collect()
}

fn assignment(inventory: &Inventory, assignment: &Assignment) -> Option<Problem> {
    let Boot::Target(target) = &assignment.boot else { return None };
    let subject = Subject::Assignment(assignment.selector.to_string());
    missing(inventory, target).map(|text| Problem { subject, field: "target.image".to_owned(), text })
}

fn profile(inventory: &Inventory, profile: &Profile) -> Option<Problem> {
    let subject = Subject::Profile(profile.name.to_string());
    missing(inventory, &profile.target).map(|text| Problem {
        subject,
        field: "target.image".to_owned(),
        text,
    })
}

fn tag(inventory: &Inventory, tag: &Tag) -> Option<Problem> {
    let key = ImageKey { name: tag.key.name.clone(), version: tag.version };
    (!inventory.images.contains_key(&key)).then(|| Problem {
        subject: Subject::Tag(tag.key.to_string()),
        field: "version".to_owned(),
        text: format!("there is no image {key}"),
    })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use crate::base::{Digest, Timestamp};
    use crate::model::image::{File, Image, Tag};
    use crate::model::profile::Boot;
    use crate::model::validate::{caused, validate};
    use crate::model::{Assignment, BootTarget, Change, Inventory, Revision, Selector, Site, Snapshot};

    const VERSION: Digest = Digest([7; 32]);

    fn image() -> Change {
        Change::PutImage(Arc::new(Image {
            name: "compute".parse().unwrap(),
            version: VERSION,
            created: Timestamp(0),
            arch: None,
            kernel_version: None,
            kernel: File { digest: VERSION, size: 1 },
            initrds: Vec::new(),
            root: None,
            params: String::new(),
            origin: String::new(),
            labels: BTreeMap::new(),
        }))
    }

    fn tag() -> Change {
        let key = "compute:prod".parse().unwrap();
        Change::PutTag(Arc::new(Tag { key, version: VERSION, since: Timestamp(0), before: Vec::new() }))
    }

    fn boots() -> Change {
        let image = "compute:prod".parse().unwrap();
        let boot = Boot::Target(BootTarget::Image { image, params: String::new() });
        Change::PutAssignment(Arc::new(Assignment { selector: Selector::Default, once: false, boot }))
    }

    /// What the last change causes, by both ways of checking, which must agree.
    fn check(changes: &[Change]) -> Vec<String> {
        let mut inventory = Inventory::default();
        let (last, first) = changes.split_last().unwrap();
        first.iter().for_each(|change| inventory.apply(change));
        let before = Snapshot::compile(Revision(1), Arc::new(Site::default()), Arc::new(inventory.clone()));
        inventory.apply(last);
        let found = caused(&before, &inventory);
        assert_eq!(found, validate(&inventory, &Site::default()));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_names_an_image_that_is_not_there() {
        assert!(check(&[image(), tag(), boots()]).is_empty());
        let want = "assignment for default: target.image: there is no image compute:prod";
        assert_eq!(check(&[image(), boots()]), [want]);
        let key = "compute:prod".parse().unwrap();
        assert_eq!(check(&[image(), tag(), boots(), Change::RemoveTag(key)]), [want]);
        let gone = check(&[
            image(),
            tag(),
            Change::RemoveImage(crate::model::ImageKey {
                name: "compute".parse().unwrap(),
                version: VERSION,
            }),
        ]);
        assert_eq!(gone.len(), 1, "{gone:?}");
        assert!(gone[0].starts_with("tag compute:prod: version: there is no image"), "{gone:?}");
    }
}
