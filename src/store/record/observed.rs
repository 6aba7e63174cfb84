//! The serde forms of observed state: leases and sightings.

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::model::{Firmware, Lease, LeaseKey, LeaseState, Sighting};
use crate::store::record::declared::{read, read_arch, read_some, text};

#[derive(Serialize, Deserialize)]
pub struct LeaseForm {
    address: std::net::Ipv4Addr,
    mac: Option<String>,
    client_id: Option<Vec<u8>>,
    network: String,
    state: String,
    starts: u64,
    expires: u64,
    host_name: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub struct SightingForm {
    mac: String,
    first: u64,
    last: u64,
    requests: u64,
    network: String,
    vendor_class: Option<String>,
    arch: Option<String>,
    firmware: String,
    uuid: Option<String>,
    circuit: Option<String>,
    host_name: Option<String>,
}

const FIRMWARES: [Firmware; 5] =
    [Firmware::Bios, Firmware::Uefi, Firmware::UefiHttp, Firmware::RaspberryPi, Firmware::Unknown];
const STATES: [LeaseState; 4] =
    [LeaseState::Held, LeaseState::Bound, LeaseState::Released, LeaseState::Declined];

impl From<&Lease> for LeaseForm {
    fn from(lease: &Lease) -> Self {
        let Lease { address, key, network, state, starts, expires, host_name } = lease;
        let (mac, client_id) = match key {
            LeaseKey::Mac(mac) => (Some(mac.to_string()), None),
            LeaseKey::ClientId(id) => (None, Some(id.clone())),
        };
        LeaseForm {
            address: *address,
            mac,
            client_id,
            network: network.to_string(),
            state: state.as_str().to_owned(),
            starts: starts.0,
            expires: expires.0,
            host_name: host_name.clone(),
        }
    }
}

impl TryFrom<LeaseForm> for Lease {
    type Error = String;

    fn try_from(form: LeaseForm) -> Result<Self, String> {
        let key = match (form.mac, form.client_id) {
            (Some(mac), _) => LeaseKey::Mac(read("mac", &mac)?),
            (None, Some(id)) => LeaseKey::ClientId(id),
            (None, None) => return Err("neither mac nor client_id".to_owned()),
        };
        let state = STATES.into_iter().find(|state| state.as_str() == form.state);
        Ok(Lease {
            address: form.address,
            key,
            network: read("network", &form.network)?,
            state: state.ok_or_else(|| format!("state: {:?}", form.state))?,
            starts: Timestamp(form.starts),
            expires: Timestamp(form.expires),
            host_name: form.host_name,
        })
    }
}

impl From<&Sighting> for SightingForm {
    fn from(seen: &Sighting) -> Self {
        let Sighting {
            mac,
            first,
            last,
            requests,
            network,
            vendor_class,
            arch,
            firmware,
            uuid,
            circuit,
            host_name,
        } = seen;
        SightingForm {
            mac: mac.to_string(),
            first: first.0,
            last: last.0,
            requests: *requests,
            network: network.to_string(),
            vendor_class: vendor_class.clone(),
            arch: arch.map(|arch| arch.as_str().to_owned()),
            firmware: firmware.as_str().to_owned(),
            uuid: text(uuid.as_ref()),
            circuit: circuit.clone(),
            host_name: host_name.clone(),
        }
    }
}

impl TryFrom<SightingForm> for Sighting {
    type Error = String;

    fn try_from(form: SightingForm) -> Result<Self, String> {
        let firmware = FIRMWARES.into_iter().find(|firmware| firmware.as_str() == form.firmware);
        Ok(Sighting {
            mac: read("mac", &form.mac)?,
            first: Timestamp(form.first),
            last: Timestamp(form.last),
            requests: form.requests,
            network: read("network", &form.network)?,
            vendor_class: form.vendor_class,
            arch: read_arch(form.arch.as_ref())?,
            firmware: firmware.ok_or_else(|| format!("firmware: {:?}", form.firmware))?,
            uuid: read_some("uuid", form.uuid.as_ref())?,
            circuit: form.circuit,
            host_name: form.host_name,
        })
    }
}
