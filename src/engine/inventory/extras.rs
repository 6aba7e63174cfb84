//! Groups, profiles and assignments: the part of our form that goes beyond OpenCHAMI's.

use crate::base::{GroupName, Mac, NodeName, ProfileName, Xname};
use crate::engine::inventory::Problems;
use crate::engine::inventory::document::{AssignmentDeclaration, GroupDeclaration, ProfileDeclaration, Whom};
use crate::engine::inventory::fields::Fields;
use crate::engine::inventory::yaml::Yaml;
use crate::model::profile::Boot;
use crate::model::{Arch, BootTarget, ImageRef, Nid, Selector};
use crate::wire::ipxe;

pub(crate) fn groups(root: &mut Fields<'_>, problems: &mut Problems) -> Option<Vec<GroupDeclaration>> {
    let items = root.items("groups", problems)?;
    Some(items.into_iter().filter_map(|(path, item)| group(item, &path, problems)).collect())
}

fn group(item: &Yaml, path: &str, problems: &mut Problems) -> Option<GroupDeclaration> {
    let mut fields = Fields::of(item, path, problems)?;
    let name = needed(fields.parsed::<GroupName>("name", problems), "name", &fields, problems);
    let description = fields.text("description", problems).map(Option::unwrap_or_default);
    let priority = fields.parsed::<i32>("priority", problems).map(Option::unwrap_or_default);
    let loader = fields.text("loader", problems);
    let annotations = fields.map("annotations", problems);
    fields.refuse_rest(problems);
    Some(GroupDeclaration { line: item.line, name: name?, description, priority, loader, annotations })
}

pub(crate) fn profiles(root: &mut Fields<'_>, problems: &mut Problems) -> Option<Vec<ProfileDeclaration>> {
    let items = root.items("profiles", problems)?;
    Some(items.into_iter().filter_map(|(path, item)| profile(item, &path, problems)).collect())
}

fn profile(item: &Yaml, path: &str, problems: &mut Problems) -> Option<ProfileDeclaration> {
    let mut fields = Fields::of(item, path, problems)?;
    let name = needed(fields.parsed::<ProfileName>("name", problems), "name", &fields, problems);
    let description = fields.text("description", problems).map(Option::unwrap_or_default);
    let target = target(&mut fields, problems);
    fields.refuse_rest(problems);
    if target.is_none() {
        problems.add(item.line, path, "a profile needs one of kernel, script, chain, local");
    }
    Some(ProfileDeclaration { line: item.line, name: name?, description, target: target? })
}

pub(crate) fn assignments(
    root: &mut Fields<'_>,
    problems: &mut Problems,
) -> Option<Vec<AssignmentDeclaration>> {
    let items = root.items("assignments", problems)?;
    Some(items.into_iter().filter_map(|(path, item)| assignment(item, &path, problems)).collect())
}

fn assignment(item: &Yaml, path: &str, problems: &mut Problems) -> Option<AssignmentDeclaration> {
    let mut fields = Fields::of(item, path, problems)?;
    let node = fields.parsed::<NodeName>("node", problems).flatten().map(Whom::Node);
    let direct = [
        fields.parsed::<Mac>("mac", problems).flatten().map(Selector::Mac),
        fields.parsed::<Xname>("xname", problems).flatten().map(Selector::Xname),
        fields.parsed::<u32>("nid", problems).flatten().map(|nid| Selector::Nid(Nid(nid))),
        fields.parsed::<GroupName>("group", problems).flatten().map(Selector::Group),
        fields.text("role", problems).flatten().map(|role| Selector::Role(role.to_ascii_lowercase())),
        fields.parsed::<bool>("default", problems).flatten().filter(|all| *all).map(|_| Selector::Default),
        unknown(&mut fields, problems).map(Selector::Unknown),
    ];
    let mut whom = node.into_iter().chain(direct.into_iter().flatten().map(Whom::Direct));
    let (first, second) = (whom.next(), whom.next());
    let once = fields.parsed::<bool>("once", problems).flatten().unwrap_or(false);
    let profile = fields.parsed::<ProfileName>("profile", problems).flatten().map(Boot::Profile);
    let boot = profile.or_else(|| target(&mut fields, problems).map(Boot::Target));
    fields.refuse_rest(problems);
    if first.is_none() || second.is_some() {
        problems.add(
            item.line,
            path,
            "an assignment needs exactly one of node, mac, xname, nid, group, role, default, unknown",
        );
    }
    if boot.is_none() {
        problems.add(
            item.line,
            path,
            "an assignment needs one of profile, kernel, params, script, chain, local",
        );
    }
    Some(AssignmentDeclaration { line: item.line, whom: first?, once, boot: boot? })
}

/// `unknown: any`, or a processor family.
fn unknown(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Option<Arch>> {
    let text = fields.text("unknown", problems).flatten()?;
    if text == "any" {
        return Some(None);
    }
    let arch = Arch::from_name(&text);
    if arch.is_none() {
        problems.add(
            fields.line,
            fields.field("unknown"),
            format!("{text:?} is neither any nor an architecture"),
        );
    }
    arch.map(Some)
}

/// The fields of a boot target. None: there are none.
fn target(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<BootTarget> {
    let kernel = fields.text("kernel", problems).flatten();
    let initrds = fields.words("initrds", problems).unwrap_or_default();
    let params = fields.text("params", problems).flatten().unwrap_or_default();
    let script = fields.text("script", problems).flatten().map(BootTarget::Script);
    let chain = fields.text("chain", problems).flatten().map(BootTarget::Chain);
    let local = fields.parsed::<bool>("local", problems).flatten().filter(|local| *local);
    let initrds: Vec<String> = initrds.into_iter().map(|(_, initrd)| initrd).collect();
    let lines = [kernel.as_ref(), Some(&params)].into_iter().flatten().chain(&initrds);
    for line in lines {
        if let Err(error) = ipxe::check(line) {
            problems.add(fields.line, fields.path.clone(), error.to_string());
        }
    }
    let image = fields.parsed::<ImageRef>("image", problems).flatten();
    let image = image.map(|image| BootTarget::Image { image, params: params.clone() });
    // Without a kernel it is completed from the next assignment.
    let of_image = image.is_some() && kernel.is_none() && initrds.is_empty();
    let is_linux = !of_image && (kernel.is_some() || !initrds.is_empty() || !params.is_empty());
    let kernel = kernel.unwrap_or_default();
    let linux = is_linux.then_some(BootTarget::Linux { kernel, initrds, params });
    let mut given = [linux, image, script, chain, local.map(|_| BootTarget::LocalDisk)].into_iter().flatten();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        problems.add(
            fields.line,
            fields.path.clone(),
            "only one of image, kernel, script, chain, local may be given",
        );
    }
    first
}

/// A field that must be there; a malformed one has been reported already.
fn needed<T>(
    field: crate::engine::inventory::Field<T>,
    key: &str,
    fields: &Fields<'_>,
    problems: &mut Problems,
) -> Option<T> {
    if matches!(field, Some(None)) || !fields.has(key) {
        problems.add(fields.line, fields.field(key), "is needed");
    }
    field.flatten()
}
