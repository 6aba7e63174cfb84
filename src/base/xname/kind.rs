//! What an xname names: the grammar of locational names, one row per kind.

use crate::base::Xname;

/// One part of a name: a letter and the numbers that it takes.
type Part = (char, u32, u32);

const ANY: u32 = u32::MAX;

/// A kind's name and its parts.
type Row = (&'static str, &'static [Part]);

const X: Part = ('x', 0, 9999);
const C: Part = ('c', 0, 7);
const S: Part = ('s', 0, ANY);
const B: Part = ('b', 0, ANY);
const N: Part = ('n', 0, ANY);
const R: Part = ('r', 0, ANY);
const M: Part = ('m', 0, 3);
const P: Part = ('p', 0, 7);
const T: Part = ('t', 0, ANY);
const W: Part = ('w', 1, ANY);
const H: Part = ('h', 1, ANY);

/// The grammar (Cray-HPE hms-xname as OpenCHAMI's SMD uses it, without partitions, which are names of their own).
const ROWS: &[Row] = &[
    ("System", &[('s', 0, 0)]),
    ("CDU", &[('d', 0, ANY)]),
    ("CDUMgmtSwitch", &[('d', 0, ANY), ('w', 0, ANY)]),
    ("Cabinet", &[X]),
    ("CabinetBMC", &[X, ('b', 0, 0)]),
    ("CabinetCDU", &[X, ('d', 0, 1)]),
    ("CEC", &[X, ('e', 0, 1)]),
    ("CabinetPDUController", &[X, M]),
    ("CabinetPDU", &[X, M, P]),
    ("CabinetPDUNic", &[X, M, ('i', 0, 3)]),
    ("CabinetPDUOutlet", &[X, M, P, ('j', 1, ANY)]),
    ("CabinetPDUPowerConnector", &[X, M, P, ('v', 1, ANY)]),
    ("Chassis", &[X, C]),
    ("ChassisBMC", &[X, C, ('b', 0, 0)]),
    ("ChassisBMCNic", &[X, C, ('b', 0, 0), ('i', 0, 3)]),
    ("CMMFpga", &[X, C, ('f', 0, 0)]),
    ("CMMRectifier", &[X, C, ('t', 0, 9)]),
    ("ComputeModule", &[X, C, S]),
    ("NodeBMC", &[X, C, S, B]),
    ("NodeBMCNic", &[X, C, S, B, ('i', 0, 3)]),
    ("NodeFpga", &[X, C, S, B, ('f', 0, 0)]),
    ("NodeEnclosure", &[X, C, S, ('e', 0, ANY)]),
    ("NodeEnclosurePowerSupply", &[X, C, S, ('e', 0, ANY), T]),
    ("NodePowerConnector", &[X, C, S, ('j', 1, 2)]),
    ("NodePowerConnector", &[X, C, S, ('v', 1, 2)]),
    ("Node", &[X, C, S, B, N]),
    ("VirtualNode", &[X, C, S, B, N, ('v', 0, ANY)]),
    ("NodeNIC", &[X, C, S, B, N, ('i', 0, 3)]),
    ("NodeHsnNic", &[X, C, S, B, N, ('h', 0, 3)]),
    ("NodeAccel", &[X, C, S, B, N, ('a', 0, ANY)]),
    ("NodeAccelRiser", &[X, C, S, B, N, ('r', 0, 7)]),
    ("Memory", &[X, C, S, B, N, ('d', 0, ANY)]),
    ("Processor", &[X, C, S, B, N, ('p', 0, 3)]),
    ("StorageGroup", &[X, C, S, B, N, ('g', 0, ANY)]),
    ("Drive", &[X, C, S, B, N, ('g', 0, ANY), ('k', 0, ANY)]),
    ("RouterModule", &[X, C, R]),
    ("RouterBMC", &[X, C, R, B]),
    ("RouterBMCNic", &[X, C, R, B, ('i', 0, 3)]),
    ("RouterFpga", &[X, C, R, ('f', 0, 1)]),
    ("RouterTOR", &[X, C, R, T]),
    ("RouterTORFpga", &[X, C, R, T, ('f', 0, 1)]),
    ("RouterPowerConnector", &[X, C, R, ('v', 1, 2)]),
    ("HSNBoard", &[X, C, R, ('e', 0, ANY)]),
    ("HSNAsic", &[X, C, R, ('a', 0, 3)]),
    ("HSNLink", &[X, C, R, ('a', 0, 3), ('l', 0, ANY)]),
    ("HSNConnector", &[X, C, R, ('j', 1, ANY)]),
    ("HSNConnectorPort", &[X, C, R, ('j', 1, ANY), ('p', 0, 2)]),
    ("MgmtSwitch", &[X, C, W]),
    ("MgmtSwitchConnector", &[X, C, W, ('j', 1, ANY)]),
    ("MgmtHLSwitchEnclosure", &[X, C, H]),
    ("MgmtHLSwitch", &[X, C, H, ('s', 1, 9)]),
];

/// Kinds that talk Redfish: what may be a Redfish endpoint.
const CONTROLLERS: [&str; 7] = [
    "NodeBMC",
    "ChassisBMC",
    "RouterBMC",
    "CabinetPDUController",
    "MgmtSwitch",
    "MgmtHLSwitch",
    "CDUMgmtSwitch",
];

/// Kinds of the grammar, each once, with those that are no xnames of this form.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    let rows = ROWS.iter().map(|(kind, _)| *kind);
    let repeated = |kind: &&str| ROWS.iter().filter(|(other, _)| other == kind).count() > 1;
    let mut seen = false;
    rows.filter(move |kind| !repeated(kind) || !std::mem::replace(&mut seen, true))
        .chain(["Partition", "ManagementSystem"])
}

/// True for kinds that may be a Redfish endpoint.
#[must_use]
pub fn is_controller(kind: &str) -> bool {
    CONTROLLERS.contains(&kind)
}

impl Xname {
    /// What the name names (`Node`, `NodeBMC`, …); None if the grammar does not know its form.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        let parts: Vec<(char, u32)> = self.parts().collect();
        let fits = |row: &[Part]| {
            row.len() == parts.len()
                && row.iter().zip(&parts).all(|((letter, low, high), (found, number))| {
                    letter == found && (low..=high).contains(&number)
                })
        };
        ROWS.iter().find(|(_, row)| fits(row)).map(|(kind, _)| *kind)
    }

    /// Letters and numbers, in order.
    pub fn parts(&self) -> impl Iterator<Item = (char, u32)> {
        let mut rest = self.as_str();
        std::iter::from_fn(move || {
            let letter = rest.chars().next()?;
            let digits = rest.get(1..)?;
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            let number = digits.get(..end)?.parse().ok()?;
            rest = digits.get(end..)?;
            Some((letter, number))
        })
    }

    /// True if `other` is this name or lies below it.
    #[must_use]
    pub fn covers(&self, other: &Xname) -> bool {
        other
            .as_str()
            .strip_prefix(self.as_str())
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Xname;
    use crate::base::xname::kind::kinds;

    fn kind(text: &str) -> Option<&'static str> {
        text.parse::<Xname>().unwrap().kind()
    }

    #[test]
    fn names_are_told_apart_by_their_parts_and_numbers() {
        for (name, wanted) in [
            ("s0", Some("System")),
            ("x1000", Some("Cabinet")),
            ("x10000", None),
            ("x1000c7", Some("Chassis")),
            ("x1000c8", None),
            ("x1000c0b0", Some("ChassisBMC")),
            ("x1000c0b1", None),
            ("x1000c0s7", Some("ComputeModule")),
            ("x1000c0s7b1", Some("NodeBMC")),
            ("x1000c0s7b1n12", Some("Node")),
            ("x1000c0s7b1n0p3", Some("Processor")),
            ("x1000c0s7b1n0p4", None),
            ("x1000c0r3b0", Some("RouterBMC")),
            ("x1000m0", Some("CabinetPDUController")),
            ("x1000m0p1v17", Some("CabinetPDUPowerConnector")),
            ("x1000c0w1", Some("MgmtSwitch")),
            ("x1000c0w0", None),
            ("x1000c0h1s2", Some("MgmtHLSwitch")),
            ("d0w1", Some("CDUMgmtSwitch")),
        ] {
            assert_eq!(kind(name), wanted, "{name}");
        }
    }

    #[test]
    fn each_kind_is_listed_once() {
        let mut all: Vec<_> = kinds().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.contains(&"NodePowerConnector"));
    }

    #[test]
    fn a_name_covers_what_lies_below_it() {
        let bmc: Xname = "x1000c0s0b1".parse().unwrap();
        for (name, covered) in
            [("x1000c0s0b1", true), ("x1000c0s0b1n0", true), ("x1000c0s0b10", false), ("x1000c0s0", false)]
        {
            assert_eq!(bmc.covers(&name.parse().unwrap()), covered, "{name}");
        }
    }
}
