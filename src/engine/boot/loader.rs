//! Which loader a class of firmware gets: a table with one row each, below what nodes and groups say.

use std::cmp::Reverse;

use crate::base::GroupName;
use crate::model::{Arch, Firmware, Inventory, Node};

/// A program that firmware fetches first, by its file name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loader {
    pub file: String,
    pub rule: LoaderRule,
}

/// The rule that chose the loader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoaderRule {
    /// `Node::loader`.
    Node,
    /// `Group::loader` of this group.
    Group(GroupName),
    /// The table of firmware classes.
    Firmware,
}

/// No loader exists for this class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoLoader {
    /// The architecture number is unknown.
    UnknownFirmware,
    /// It is known, and nobody ships a loader for it.
    UnsupportedArch,
}

/// One row for each class that has a loader. `undionly` and `snponly` drive the network card through the
/// firmware's own driver, which hangs least (ipxe/ipxe#937, #541, #1479); Debian ships no 32-bit EFI build.
const TABLE: [(Firmware, Arch, &str); 5] = [
    (Firmware::Bios, Arch::X86_64, "undionly.kpxe"),
    (Firmware::Uefi, Arch::X86_64, "snponly.efi"),
    (Firmware::Uefi, Arch::Arm64, "ipxe-arm64.efi"),
    (Firmware::UefiHttp, Arch::X86_64, "snponly.efi"),
    (Firmware::UefiHttp, Arch::Arm64, "ipxe-arm64.efi"),
];

/// Chooses the loader: the node's own, else that of its group with the highest priority (then the name that
/// sorts first), else the table's.
///
/// # Errors
/// Nothing names a loader for this class.
pub fn choose(
    firmware: Firmware,
    arch: Option<Arch>,
    node: Option<&Node>,
    inventory: &Inventory,
) -> Result<Loader, NoLoader> {
    if let Some(file) = node.and_then(|node| node.loader.clone()) {
        return Ok(Loader { file, rule: LoaderRule::Node });
    }
    let groups = node.into_iter().flat_map(|node| &node.groups).filter_map(|name| inventory.groups.get(name));
    let best = groups
        .filter(|group| group.loader.is_some())
        .min_by_key(|group| (Reverse(group.priority), &group.name));
    if let Some((group, file)) = best.and_then(|group| Some((group, group.loader.clone()?))) {
        return Ok(Loader { file, rule: LoaderRule::Group(group.name.clone()) });
    }
    let arch = arch.ok_or(NoLoader::UnknownFirmware)?;
    TABLE
        .iter()
        .find(|(row_firmware, row_arch, _)| *row_firmware == firmware && *row_arch == arch)
        .map(|(_, _, file)| Loader { file: (*file).to_owned(), rule: LoaderRule::Firmware })
        .ok_or(NoLoader::UnsupportedArch)
}

impl LoaderRule {
    /// Which rule it was, for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            LoaderRule::Node => "set for the node".to_owned(),
            LoaderRule::Group(group) => format!("set for the group {group}"),
            LoaderRule::Firmware => "for this class of firmware".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::engine::boot::loader::{LoaderRule, NoLoader, choose};
    use crate::model::{Arch, Change, Firmware, Group, Inventory, Node, NodeId};

    #[test]
    fn every_class_of_firmware_gets_its_row_or_a_reason() {
        let inventory = Inventory::default();
        let file = |firmware, arch| choose(firmware, arch, None, &inventory).map(|loader| loader.file);
        for (firmware, arch, expected) in [
            (Firmware::Bios, Arch::X86_64, "undionly.kpxe"),
            (Firmware::Uefi, Arch::X86_64, "snponly.efi"),
            (Firmware::Uefi, Arch::Arm64, "ipxe-arm64.efi"),
            (Firmware::UefiHttp, Arch::X86_64, "snponly.efi"),
            (Firmware::UefiHttp, Arch::Arm64, "ipxe-arm64.efi"),
        ] {
            assert_eq!(file(firmware, Some(arch)).as_deref(), Ok(expected));
        }
        assert_eq!(file(Firmware::Uefi, Some(Arch::X86)), Err(NoLoader::UnsupportedArch));
        assert_eq!(file(Firmware::RaspberryPi, Some(Arch::Arm64)), Err(NoLoader::UnsupportedArch));
        assert_eq!(file(Firmware::Unknown, None), Err(NoLoader::UnknownFirmware));
    }

    #[test]
    fn a_nodes_loader_beats_its_groups_and_the_higher_priority_wins() {
        let mut inventory = Inventory::default();
        for (name, priority, loader) in
            [("a", 1, Some("a.efi")), ("b", 2, Some("b.efi")), ("c", 2, Some("c.efi")), ("d", 9, None)]
        {
            let mut group = Group::new(name.parse().unwrap());
            (group.priority, group.loader) = (priority, loader.map(str::to_owned));
            inventory.apply(&Change::PutGroup(Arc::new(group)));
        }
        let mut node = Node::new(NodeId(1), "nid001".parse().unwrap());
        node.groups = ["a", "b", "c", "d"].iter().map(|name| name.parse().unwrap()).collect();
        let chosen =
            |node: &Node| choose(Firmware::Uefi, Some(Arch::X86_64), Some(node), &inventory).unwrap();
        let by_group = chosen(&node);
        assert_eq!(by_group.file, "b.efi");
        assert_eq!(by_group.rule, LoaderRule::Group("b".parse().unwrap()));
        node.loader = Some("shimx64.efi".to_owned());
        assert_eq!((chosen(&node).file.as_str(), chosen(&node).rule), ("shimx64.efi", LoaderRule::Node));
        node.loader = None;
        node.groups.clear();
        assert_eq!((chosen(&node).file.as_str(), chosen(&node).rule), ("snponly.efi", LoaderRule::Firmware));
    }
}
