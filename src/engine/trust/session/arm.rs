//! How a session begins: a node that boots, and what must have happened before the head believes it.

use crate::base::limits::{ALIVE_SPAN, POWER_SPAN};
use crate::base::{Level, Millis, Timestamp};
use crate::model::boot_session::{ArmedBy, BootSession, Channel, Held};
use crate::model::{NodeId, SessionId, SessionState};

/// What must have happened before the head believes that a node boots.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum ArmOn {
    /// `Power` where this head switches the node's power, else `Dhcp`. No head drives BMCs yet, so it is `Dhcp`.
    #[default]
    Auto,
    Dhcp,
    Power,
    Operator,
}

/// A node begins to boot.
#[derive(Clone, Debug)]
pub struct Start {
    pub id: SessionId,
    pub node: NodeId,
    pub channel: Channel,
    /// What policy wants for this node; `Auto` is as good as `Dhcp` here.
    pub arm_on: ArmOn,
    /// When this head last switched the node on.
    pub powered: Option<Timestamp>,
    /// When the node last used its certificate.
    pub alive: Option<Timestamp>,
    pub epoch: u64,
    pub life: Millis,
}

/// The session of a node that begins to boot. None: the live one goes on, as firmware and the loader after it
/// are one boot, and each asks DHCP. Some with the former session, if that ends by it.
#[must_use]
pub fn start(
    live: Option<&BootSession>,
    order: Start,
    now: Timestamp,
) -> Option<(BootSession, Option<BootSession>)> {
    let live = live.filter(|session| session.is_live(order.epoch, now));
    if live.is_some_and(|session| session.state == SessionState::Armed && session.node == order.node) {
        return None;
    }
    let Start { id, node, channel, arm_on, powered, alive, epoch, life } = order;
    let recent = |at: Option<Timestamp>, span: Millis| at.is_some_and(|at| now.since(at) <= span);
    let powered = recent(powered, POWER_SPAN);
    let held = match arm_on {
        // A node that we switched on ourselves was up a moment ago, of course.
        ArmOn::Auto | ArmOn::Dhcp => (recent(alive, ALIVE_SPAN) && !powered).then_some(Held::Alive),
        ArmOn::Power => (!powered).then_some(Held::NoPower),
        ArmOn::Operator => Some(Held::NoOperator),
    };
    let armed_by = if powered { ArmedBy::Power } else { ArmedBy::Dhcp };
    let mut session = BootSession {
        id,
        node,
        state: SessionState::Armed,
        armed_by,
        held,
        channel,
        epoch,
        sequence: 0,
        made: now,
        expires: now.plus(life),
        grants: Vec::new(),
        given: None,
        wrong: 0,
        claim: None,
        attestation: None,
        level: Level::Address,
        withheld: Vec::new(),
        deliveries: Vec::new(),
        events: Vec::new(),
    };
    match held {
        Some(held) => {
            session.note(now, held == Held::Alive, format!("boots, but is held: {}", held.as_str()))
        }
        None => session.note(now, false, format!("boots; armed by {}", armed_by.as_str())),
    }
    let former = live.cloned().map(|mut former| {
        former.end(SessionState::Superseded, now, false, "the node boots again".to_owned());
        former
    });
    Some((session, former))
}

impl ArmOn {
    pub const ALL: [ArmOn; 4] = [ArmOn::Auto, ArmOn::Dhcp, ArmOn::Power, ArmOn::Operator];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ArmOn::Auto => "auto",
            ArmOn::Dhcp => "dhcp",
            ArmOn::Power => "power",
            ArmOn::Operator => "operator",
        }
    }
}
