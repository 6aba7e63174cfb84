//! The boot decision: machine to target, with the rule that won.
//!
//! Order: the node's policy; one-shot before lasting; and among either MAC, node, xname, nid, group (by
//! priority, then name), role, default. A machine that nobody declared is decided by its MAC, then by what is
//! assigned to unknown machines, then by its network's policy. A Linux target without a kernel
//! takes it, and what else it lacks, from the next assignment in this order (as BSS does, field by field).

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::base::{Digest, GroupName, Mac, NetworkName, ProfileName, Uuid};
use crate::engine::boot::program::{Program, program};
use crate::model::profile::{AssignmentKey, Boot};
use crate::model::snapshot::Machine;
use crate::model::{
    Arch, Assignment, BootPolicy, BootTarget, ImageRef, Node, Selector, Snapshot, UnknownPolicy,
};

/// What is known about the machine that asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub mac: Option<Mac>,
    /// The machine's own address, by which its network and, without a MAC, its node are found.
    pub address: Option<Ipv4Addr>,
    pub uuid: Option<Uuid>,
    pub arch: Option<Arch>,
    /// How often the machine has asked in this boot.
    pub attempt: u32,
}

/// The answer and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub node: Option<Arc<Node>>,
    pub outcome: Outcome,
    pub rule: Rule,
    /// The version of an image that is booted, and how it was named.
    pub image: Option<(ImageRef, Digest)>,
    /// The one-shot assignment that this answer uses up.
    pub consumes: Option<AssignmentKey>,
}

/// What the machine is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Boot(Program),
    /// Wait and ask again: somebody has yet to decide.
    Hold,
    /// Not ours to boot: the answer is an error, so that the machine goes on by itself.
    Refuse,
}

/// The rule that decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The node's switch.
    Policy(BootPolicy),
    /// An assignment, and the profile it names.
    Assignment { key: AssignmentKey, profile: Option<ProfileName> },
    /// A declared node to which nothing is assigned.
    NothingAssigned,
    /// An assignment names a profile that is gone.
    ProfileMissing { key: AssignmentKey, profile: ProfileName },
    /// What is to be booted names an image that is gone.
    ImageMissing(ImageRef),
    /// An undeclared machine on this network.
    Unknown { network: NetworkName, policy: UnknownPolicy },
    /// An undeclared machine on no network of ours.
    Stranger,
    /// The machine is a BMC.
    Bmc,
}

/// The profile that undeclared machines boot under the policy `discover`.
pub const DISCOVER_PROFILE: &str = "discover";

/// Decides what a machine boots.
#[must_use]
pub fn decide(snapshot: &Snapshot, request: &Request) -> Decision {
    let machine = request
        .mac
        .and_then(|mac| snapshot.by_mac(mac))
        .or_else(|| request.address.filter(|_| request.mac.is_none()).and_then(|ip| snapshot.by_address(ip)));
    match machine {
        Some(Machine::Node { node, .. }) => decide_node(snapshot, request, node),
        Some(Machine::Bmc(_)) => Decision::plain(None, Outcome::Refuse, Rule::Bmc),
        None => decide_unknown(snapshot, request),
    }
}

/// Decides for whom a client names, not for who asks: by what is assigned to just that name or number, else as
/// the node boots from its first interface.
#[must_use]
pub fn decide_for(snapshot: &Snapshot, request: &Request, whom: &Selector) -> Decision {
    let request = Request { mac: None, ..request.clone() };
    let node = match whom {
        Selector::Mac(mac) => return decide(snapshot, &Request { mac: Some(*mac), ..request }),
        Selector::Node(id) => snapshot.node(*id),
        Selector::Xname(xname) => snapshot.by_xname(xname),
        Selector::Nid(nid) => snapshot.by_nid(*nid),
        Selector::Group(_) | Selector::Role(_) | Selector::Default | Selector::Unknown(_) => {
            return decide_unknown(snapshot, &request);
        }
    };
    let mut own = vec![whom.clone()];
    if let Some(node) = node.filter(|_| !matches!(whom, Selector::Nid(_))) {
        own.extend([Selector::Node(node.id), Selector::Xname(node.effective_xname())]);
    }
    let assigned = find_assignment(snapshot, &own);
    match (node, assigned) {
        (Some(node), _) => {
            let mac = node.interfaces.first().map(|interface| interface.mac);
            decide_node(snapshot, &Request { mac: mac.filter(|_| assigned.is_none()), ..request }, node)
        }
        (None, Some(assignment)) => decide_assigned(snapshot, None, assignment, &own),
        (None, None) => decide_unknown(snapshot, &request),
    }
}

/// True if an undeclared machine should say first of which processor family it is: something is assigned to one.
#[must_use]
pub fn turns_on_arch(snapshot: &Snapshot, decision: &Decision) -> bool {
    let by_own_key = matches!(&decision.rule, Rule::Assignment { key, .. }
        if !matches!(key.selector, Selector::Unknown(_)));
    decision.node.is_none()
        && decision.outcome != Outcome::Refuse
        && !by_own_key
        && snapshot.inventory.assignments.keys().any(|key| matches!(key.selector, Selector::Unknown(Some(_))))
}

fn decide_node(snapshot: &Snapshot, request: &Request, node: &Arc<Node>) -> Decision {
    let some = Some(Arc::clone(node));
    match node.policy {
        BootPolicy::Serve => {}
        BootPolicy::Ignore => return Decision::plain(some, Outcome::Refuse, Rule::Policy(node.policy)),
        BootPolicy::LocalDisk => {
            let outcome = Outcome::Boot(Program::LocalDisk);
            return Decision::plain(some, outcome, Rule::Policy(node.policy));
        }
    }
    let mut selectors: Vec<Selector> = request.mac.map(Selector::Mac).into_iter().collect();
    selectors.push(Selector::Node(node.id));
    selectors.push(Selector::Xname(node.effective_xname()));
    selectors.extend(node.nid.map(Selector::Nid));
    selectors.extend(groups_by_rank(snapshot, node).into_iter().map(Selector::Group));
    // A node that nobody gave a role computes: so SMD shows it, and so BSS boots it.
    selectors.push(Selector::Role(node.role_or_default().to_ascii_lowercase()));
    selectors.push(Selector::Default);
    match find_assignment(snapshot, &selectors) {
        Some(assignment) => decide_assigned(snapshot, some, assignment, &selectors),
        None => Decision::plain(some, Outcome::Hold, Rule::NothingAssigned),
    }
}

fn decide_unknown(snapshot: &Snapshot, request: &Request) -> Decision {
    let mut selectors: Vec<Selector> = request.mac.map(Selector::Mac).into_iter().collect();
    if let Some(assignment) = find_assignment(snapshot, &selectors) {
        return decide_assigned(snapshot, None, assignment, &selectors);
    }
    let network = request.address.and_then(|address| snapshot.site.network_of(address));
    selectors.extend(request.arch.map(|arch| Selector::Unknown(Some(arch))));
    selectors.push(Selector::Unknown(None));
    let ignored = network.is_some_and(|network| network.unknown == UnknownPolicy::Ignore);
    if let Some(assignment) = find_assignment(snapshot, &selectors).filter(|_| !ignored) {
        return decide_assigned(snapshot, None, assignment, &selectors);
    }
    let Some(network) = network else {
        return Decision::plain(None, Outcome::Hold, Rule::Stranger);
    };
    let profile = match &network.unknown {
        UnknownPolicy::Hold | UnknownPolicy::Ignore => None,
        UnknownPolicy::Discover => snapshot.inventory.profiles.get(DISCOVER_PROFILE),
        UnknownPolicy::Boot(name) => snapshot.inventory.profiles.get(name),
    };
    let outcome = match (&network.unknown, profile) {
        (UnknownPolicy::Ignore, _) => Outcome::Refuse,
        (_, Some(profile)) => match program(&snapshot.inventory, &profile.target) {
            Some(program) => Outcome::Boot(program),
            None => return Decision::plain(None, Outcome::Hold, missing(&profile.target)),
        },
        // A policy whose profile is not there yet waits for it, like `hold`.
        (UnknownPolicy::Hold | UnknownPolicy::Discover | UnknownPolicy::Boot(_), None) => Outcome::Hold,
    };
    let rule = Rule::Unknown { network: network.name.clone(), policy: network.unknown.clone() };
    let image = profile.and_then(|profile| image_of(snapshot, &profile.target));
    Decision { node: None, outcome, rule, image, consumes: None }
}

/// The node's groups, the one that counts most first.
#[must_use]
pub fn groups_by_rank(snapshot: &Snapshot, node: &Node) -> Vec<GroupName> {
    let mut groups: Vec<GroupName> = node.groups.iter().cloned().collect();
    let priority = |name: &GroupName| snapshot.inventory.groups.get(name).map_or(0, |group| group.priority);
    groups.sort_by_key(|name| (std::cmp::Reverse(priority(name)), name.clone()));
    groups
}

/// Assignments in the order in which they count: one-shots of any selector before lasting ones of any.
fn assignments<'a>(
    snapshot: &'a Snapshot,
    selectors: &'a [Selector],
) -> impl Iterator<Item = &'a Arc<Assignment>> {
    [false, true].into_iter().flat_map(move |lasting| {
        selectors.iter().filter_map(move |selector| {
            snapshot.inventory.assignments.get(&AssignmentKey { selector: selector.clone(), lasting })
        })
    })
}

fn find_assignment<'a>(snapshot: &'a Snapshot, selectors: &'a [Selector]) -> Option<&'a Arc<Assignment>> {
    assignments(snapshot, selectors).next()
}

/// What an assignment assigns; None if it names a profile that is gone.
fn target_of<'a>(snapshot: &'a Snapshot, assignment: &'a Assignment) -> Option<&'a BootTarget> {
    match &assignment.boot {
        Boot::Target(target) => Some(target),
        Boot::Profile(name) => snapshot.inventory.profiles.get(name).map(|profile| &profile.target),
    }
}

fn decide_assigned(
    snapshot: &Snapshot,
    node: Option<Arc<Node>>,
    assignment: &Assignment,
    selectors: &[Selector],
) -> Decision {
    let key = assignment.key();
    let profile = match &assignment.boot {
        Boot::Target(_) => None,
        Boot::Profile(name) => Some(name.clone()),
    };
    let Some(target) = target_of(snapshot, assignment) else {
        let profile = profile.expect("a target is there");
        return Decision::plain(node, Outcome::Hold, Rule::ProfileMissing { key, profile });
    };
    if let BootTarget::Image { .. } = target
        && program(&snapshot.inventory, target).is_none()
    {
        return Decision::plain(node, Outcome::Hold, missing(target));
    }
    let Some(program) = completed(snapshot, target, selectors) else {
        return Decision::plain(node, Outcome::Hold, Rule::NothingAssigned);
    };
    let consumes = assignment.once.then(|| key.clone());
    let image = image_of(snapshot, target);
    let rule = Rule::Assignment { key, profile };
    Decision { node, outcome: Outcome::Boot(program), rule, image, consumes }
}

fn image_of(snapshot: &Snapshot, target: &BootTarget) -> Option<(ImageRef, Digest)> {
    let BootTarget::Image { image, .. } = target else { return None };
    Some((image.clone(), snapshot.inventory.image(image)?.version))
}

/// The rule that holds a machine whose image is gone.
fn missing(target: &BootTarget) -> Rule {
    match target {
        BootTarget::Image { image, .. } => Rule::ImageMissing(image.clone()),
        BootTarget::Linux { .. } | BootTarget::Script(_) | BootTarget::Chain(_) | BootTarget::LocalDisk => {
            Rule::NothingAssigned
        }
    }
}

/// A Linux target with what it lacks taken from the next lasting assignments. None: no kernel anywhere.
fn completed(snapshot: &Snapshot, target: &BootTarget, selectors: &[Selector]) -> Option<Program> {
    let meant = |target: &BootTarget| program(&snapshot.inventory, target);
    let (mut kernel, mut initrds, mut params) = match meant(target)? {
        Program::Linux { kernel, initrds, params } if kernel.is_empty() => (kernel, initrds, params),
        whole => return Some(whole),
    };
    let lasting = assignments(snapshot, selectors).filter(|assignment| !assignment.once);
    for other in lasting.filter_map(|assignment| target_of(snapshot, assignment)) {
        let Some(Program::Linux { kernel: next_kernel, initrds: next_initrds, params: next_params }) =
            meant(other)
        else {
            break; // beyond another kind of boot nothing belongs to this one
        };
        if kernel.is_empty() {
            kernel = next_kernel;
            if initrds.is_empty() {
                initrds = next_initrds;
            }
        }
        if params.is_empty() {
            params = next_params;
        }
    }
    (!kernel.is_empty()).then_some(Program::Linux { kernel, initrds, params })
}

impl Decision {
    fn plain(node: Option<Arc<Node>>, outcome: Outcome, rule: Rule) -> Decision {
        Decision { node, outcome, rule, image: None, consumes: None }
    }

    /// True if the machine boots what is assigned to those that nobody declared.
    pub(in crate::engine::boot) fn rule_is_for_unknown(&self) -> bool {
        match &self.rule {
            Rule::Assignment { key, .. } => matches!(key.selector, Selector::Unknown(_)),
            Rule::Unknown { .. } | Rule::Stranger => true,
            Rule::Policy(_)
            | Rule::NothingAssigned
            | Rule::ProfileMissing { .. }
            | Rule::ImageMissing(_)
            | Rule::Bmc => false,
        }
    }
}

/// The rule in words, with the node by its name.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.write(f, self.node.as_deref())?;
        match &self.image {
            None => Ok(()),
            Some((ImageRef::Version(key), _)) => {
                write!(f, ", image {} pinned to {}", key.name, key.version.short())
            }
            Some((ImageRef::Tag(key), version)) => write!(f, ", image {key} ({})", version.short()),
        }
    }
}

/// The rule in words, without knowledge of the node's name.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

/// Whom an assignment is for, as people call it.
struct Whom<'a>(&'a Selector, Option<&'a Node>);

impl fmt::Display for Whom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Selector::Node(id), Some(node)) if node.id == *id => write!(f, "node {}", node.name),
            (selector, _) => selector.fmt(f),
        }
    }
}

impl Rule {
    fn write(&self, f: &mut fmt::Formatter<'_>, node: Option<&Node>) -> fmt::Result {
        match self {
            Rule::Policy(policy) => write!(f, "the node's policy is {}", policy.as_str()),
            Rule::Assignment { key, profile } => {
                let once = if key.lasting { "" } else { "one-shot " };
                write!(f, "{once}assignment for {}", Whom(&key.selector, node))?;
                profile.as_ref().map_or(Ok(()), |profile| write!(f, ", profile {profile}"))
            }
            Rule::NothingAssigned => {
                f.write_str("nothing is assigned to the node, its groups, its role or all")
            }
            Rule::ProfileMissing { key, profile } => {
                let whom = Whom(&key.selector, node);
                write!(f, "the assignment for {whom} names the profile {profile}, which is not there")
            }
            Rule::ImageMissing(image) => write!(f, "the image {image} is not there"),
            Rule::Unknown { network, policy } => {
                write!(f, "undeclared machine on network {network}, whose policy is {policy}")
            }
            Rule::Stranger => f.write_str("undeclared machine on no network of this head"),
            Rule::Bmc => f.write_str("this address belongs to a BMC"),
        }
    }
}

#[cfg(test)]
mod tests;
