//! Which address a client gets, and whether one that it names is right.

use std::net::Ipv4Addr;

use crate::base::Millis;
use crate::base::limits::{DECLINE_QUARANTINE, DECLINE_QUARANTINE_REPEATED, OFFER_HOLD};
use crate::engine::dhcp::case::{Case, printable};
use crate::engine::dhcp::{AddressRule, Refusal, network};
use crate::model::lease::LeaseChange;
use crate::model::lease_table::Choice;
use crate::model::{Lease, LeaseState, Stage};

/// An address for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assigned {
    pub(crate) address: Ipv4Addr,
    pub(crate) rule: AddressRule,
    pub(crate) lease: Millis,
}

/// Chooses an address to offer. None: nothing is declared here and the pool is empty.
pub(crate) fn choose(case: &Case<'_>) -> Option<Assigned> {
    if let Some(address) = declared(case) {
        return Some(assigned(case, address, AddressRule::Declared));
    }
    let reserved = |address| case.snapshot.is_reserved(address);
    let requested = case.request.message.requested_address();
    let leases = case.observed.leases;
    let (address, choice) = leases.pick(case.network, &case.key, requested, reserved, case.now)?;
    Some(assigned(case, address, AddressRule::Pool(choice)))
}

/// Judges the address that a REQUEST names.
pub(crate) fn judge(case: &Case<'_>, address: Ipv4Addr) -> Result<Assigned, Refusal> {
    match declared(case) {
        Some(own) if own == address => Ok(assigned(case, address, AddressRule::Declared)),
        Some(_) => Err(Refusal::AnotherDeclared),
        None => judge_pooled(case, address),
    }
}

/// Judges an address by the pool alone.
pub(crate) fn judge_pooled(case: &Case<'_>, address: Ipv4Addr) -> Result<Assigned, Refusal> {
    let leases = case.observed.leases;
    match () {
        () if !case.network.address.contains(address) => Err(Refusal::WrongNetwork),
        () if case.snapshot.is_reserved(address) => Err(Refusal::DeclaredForAnother),
        () if !case.network.is_dynamic(address) => Err(Refusal::OutsidePool),
        () if !leases.is_free_for(address, &case.key, case.now) => Err(Refusal::LeasedToAnother),
        () if !leases.has_room_for(address) => Err(Refusal::TableFull),
        () => {
            let own = leases.get(address).is_some_and(|lease| lease.key == case.key);
            let choice = if own { Choice::Own } else { Choice::Requested };
            Ok(assigned(case, address, AddressRule::Pool(choice)))
        }
    }
}

/// What an OFFER does to the lease table: reserve, unless the client's binding there lives anyway.
pub(crate) fn hold(case: &Case<'_>, offered: &Assigned) -> Option<LeaseChange> {
    let AddressRule::Pool(_) = offered.rule else { return None };
    let bound = case.observed.leases.get(offered.address).is_some_and(|lease| {
        lease.state == LeaseState::Bound && lease.key == case.key && lease.is_live(case.now)
    });
    (!bound).then(|| LeaseChange::Hold(lease(case, offered.address, LeaseState::Held, OFFER_HOLD)))
}

/// What an ACK does to the lease table: bind; for a declared address, which needs no binding, free the pool
/// address that the machine had before it was declared.
pub(crate) fn bind(case: &Case<'_>, given: &Assigned) -> Option<LeaseChange> {
    match given.rule {
        AddressRule::Pool(_) => {
            Some(LeaseChange::Bind(lease(case, given.address, LeaseState::Bound, given.lease)))
        }
        AddressRule::Declared => {
            let former = case.observed.leases.find(&case.network.name, &case.key)?;
            former.is_live(case.now).then_some(LeaseChange::Release(former.address))
        }
        AddressRule::Told | AddressRule::Refused(_) => None,
    }
}

/// The quarantine of an address its holder declined; longer if it was declined before.
pub(crate) fn quarantine(case: &Case<'_>, address: Ipv4Addr) -> LeaseChange {
    let repeated = case.observed.leases.declines(address) > 0;
    let span = if repeated { DECLINE_QUARANTINE_REPEATED } else { DECLINE_QUARANTINE };
    LeaseChange::Decline(lease(case, address, LeaseState::Declined, span))
}

/// The address declared for this machine in this network, unless it is still another's.
pub(crate) fn declared(case: &Case<'_>) -> Option<Ipv4Addr> {
    let address = network::declared_in(case.machine?, case.network)?;
    squatter(case).is_none().then_some(address)
}

/// The binding of another client at the declared address, from before it was declared. Until it ends (it is
/// not renewed) the machine lives in the pool: two machines with one address would help nobody.
pub(crate) fn squatter<'a>(case: &Case<'a>) -> Option<&'a Lease> {
    let address = network::declared_in(case.machine?, case.network)?;
    case.observed
        .leases
        .get(address)
        .filter(|lease| lease.state == LeaseState::Bound && lease.key != case.key && lease.is_live(case.now))
}

fn assigned(case: &Case<'_>, address: Ipv4Addr, rule: AddressRule) -> Assigned {
    let long = match case.request.stage {
        Stage::System => case.machine.is_some(),
        Stage::Firmware | Stage::ForeignIpxe | Stage::Ipxe => false,
    };
    let lasting = rule == AddressRule::Declared || long;
    Assigned { address, rule, lease: if lasting { case.network.lease } else { case.network.short_lease } }
}

fn lease(case: &Case<'_>, address: Ipv4Addr, state: LeaseState, span: Millis) -> Lease {
    Lease {
        address,
        key: case.key.clone(),
        network: case.network.name.clone(),
        state,
        starts: case.now,
        expires: case.now.plus(span),
        host_name: case.request.message.host_name().map(|name| printable(name.as_bytes())),
    }
}
