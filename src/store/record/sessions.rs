//! The serde form of boot sessions. Octets are base64: hashes, and answers that are sealed.

use std::net::{Ipv4Addr, SocketAddrV4};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::base::{Level, Timestamp};
use crate::model::boot_session::{
    Answered, ArmedBy, BootSession, Channel, Delivery, Given, Held, SessionEvent,
};
use crate::model::{NodeId, SessionState};
use crate::store::record::declared::{read, read_arch, read_some, text};

#[derive(Serialize, Deserialize)]
pub struct SessionForm {
    id: String,
    node: u64,
    state: String,
    armed_by: String,
    held: Option<String>,
    mac: String,
    address: Option<Ipv4Addr>,
    relay: Option<Ipv4Addr>,
    uuid: Option<String>,
    arch: Option<String>,
    epoch: u64,
    sequence: u64,
    made: u64,
    expires: u64,
    grants: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<GivenForm>,
    wrong: u8,
    claim: Option<AnsweredForm>,
    attestation: Option<AnsweredForm>,
    level: String,
    withheld: Vec<String>,
    deliveries: Vec<DeliveryForm>,
    events: Vec<EventForm>,
}

#[derive(Serialize, Deserialize)]
struct AnsweredForm {
    of: String,
    to: SocketAddrV4,
    at: u64,
    reply: String,
}

#[derive(Serialize, Deserialize)]
struct GivenForm {
    command_line: String,
    kernel: String,
    initrds: Vec<String>,
    kernel_digest: Option<String>,
    initrd_digests: Vec<Option<String>>,
}

#[derive(Serialize, Deserialize)]
struct DeliveryForm {
    secret: String,
    version: u64,
    at: u64,
    to: Ipv4Addr,
    bundle: String,
}

#[derive(Serialize, Deserialize)]
struct EventForm {
    at: u64,
    alarm: bool,
    text: String,
}

fn hash(field: &str, text: &str) -> Result<[u8; 32], String> {
    let octets = STANDARD.decode(text).ok().and_then(|octets| octets.try_into().ok());
    octets.ok_or_else(|| format!("{field}: no 32 octets in base64"))
}

impl From<&Answered> for AnsweredForm {
    fn from(answered: &Answered) -> Self {
        let Answered { of, to, at, reply } = answered;
        AnsweredForm { of: STANDARD.encode(of), to: *to, at: at.0, reply: STANDARD.encode(reply) }
    }
}

impl TryFrom<AnsweredForm> for Answered {
    type Error = String;

    fn try_from(form: AnsweredForm) -> Result<Self, String> {
        let AnsweredForm { of, to, at, reply } = form;
        let reply = STANDARD.decode(reply).map_err(|error| format!("reply: {error}"))?;
        Ok(Answered { of: hash("of", &of)?, to, at: Timestamp(at), reply })
    }
}

impl From<&Given> for GivenForm {
    fn from(given: &Given) -> Self {
        let Given { command_line, kernel, initrds, kernel_digest, initrd_digests } = given;
        GivenForm {
            command_line: command_line.clone(),
            kernel: kernel.clone(),
            initrds: initrds.clone(),
            kernel_digest: kernel_digest.map(|digest| digest.hex()),
            initrd_digests: initrd_digests.iter().map(|digest| digest.map(|digest| digest.hex())).collect(),
        }
    }
}

impl TryFrom<GivenForm> for Given {
    type Error = String;

    fn try_from(form: GivenForm) -> Result<Self, String> {
        let GivenForm { command_line, kernel, initrds, kernel_digest, initrd_digests } = form;
        let digests = initrd_digests.iter().map(|digest| read_some("given.initrd_digests", digest.as_ref()));
        Ok(Given {
            command_line,
            kernel,
            initrds,
            kernel_digest: read_some("given.kernel_digest", kernel_digest.as_ref())?,
            initrd_digests: digests.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&BootSession> for SessionForm {
    fn from(session: &BootSession) -> Self {
        let Channel { mac, address, relay, uuid, arch } = &session.channel;
        let delivery = |delivery: &Delivery| DeliveryForm {
            secret: delivery.secret.clone(),
            version: delivery.version,
            at: delivery.at.0,
            to: delivery.to,
            bundle: STANDARD.encode(delivery.bundle),
        };
        let event =
            |event: &SessionEvent| EventForm { at: event.at.0, alarm: event.alarm, text: event.text.clone() };
        SessionForm {
            id: session.id.to_string(),
            node: session.node.0,
            state: session.state.as_str().to_owned(),
            armed_by: session.armed_by.as_str().to_owned(),
            held: session.held.map(|held| held.as_str().to_owned()),
            mac: mac.to_string(),
            address: *address,
            relay: *relay,
            uuid: text(uuid.as_ref()),
            arch: arch.map(|arch| arch.as_str().to_owned()),
            epoch: session.epoch,
            sequence: session.sequence,
            made: session.made.0,
            expires: session.expires.0,
            grants: session.grants.iter().map(|hash| STANDARD.encode(hash)).collect(),
            given: session.given.as_deref().map(GivenForm::from),
            wrong: session.wrong,
            claim: session.claim.as_ref().map(AnsweredForm::from),
            attestation: session.attestation.as_ref().map(AnsweredForm::from),
            level: session.level.to_string(),
            withheld: session.withheld.clone(),
            deliveries: session.deliveries.iter().map(delivery).collect(),
            events: session.events.iter().map(event).collect(),
        }
    }
}

impl TryFrom<SessionForm> for BootSession {
    type Error = String;

    fn try_from(form: SessionForm) -> Result<Self, String> {
        let unknown = |field: &str, value: &str| format!("{field}: {value:?}");
        let state = SessionState::ALL.into_iter().find(|state| state.as_str() == form.state);
        let armed_by = ArmedBy::ALL.into_iter().find(|by| by.as_str() == form.armed_by);
        let held = form.held.map(|text| {
            let held = Held::ALL.into_iter().find(|held| held.as_str() == text);
            held.ok_or_else(|| unknown("held", &text))
        });
        let channel = Channel {
            mac: read("mac", &form.mac)?,
            address: form.address,
            relay: form.relay,
            uuid: read_some("uuid", form.uuid.as_ref())?,
            arch: read_arch(form.arch.as_ref())?,
        };
        let delivery = |form: DeliveryForm| {
            let DeliveryForm { secret, version, at, to, bundle } = form;
            Ok(Delivery { secret, version, at: Timestamp(at), to, bundle: hash("bundle", &bundle)? })
        };
        let event =
            |form: EventForm| SessionEvent { at: Timestamp(form.at), alarm: form.alarm, text: form.text };
        Ok(BootSession {
            id: read("id", &form.id)?,
            node: NodeId(form.node),
            state: state.ok_or_else(|| unknown("state", &form.state))?,
            armed_by: armed_by.ok_or_else(|| unknown("armed_by", &form.armed_by))?,
            held: held.transpose()?,
            channel,
            epoch: form.epoch,
            sequence: form.sequence,
            made: Timestamp(form.made),
            expires: Timestamp(form.expires),
            grants: form.grants.iter().map(|text| hash("grants", text)).collect::<Result<_, _>>()?,
            given: form.given.map(|form| Given::try_from(form).map(Box::new)).transpose()?,
            wrong: form.wrong,
            claim: form.claim.map(Answered::try_from).transpose()?,
            attestation: form.attestation.map(Answered::try_from).transpose()?,
            level: read::<Level>("level", &form.level)?,
            withheld: form.withheld,
            deliveries: form.deliveries.into_iter().map(delivery).collect::<Result<_, String>>()?,
            events: form.events.into_iter().map(event).collect(),
        })
    }
}
