//! Outlets of power distribution units, as discovery posts them with the PDU's controller.

use serde::Deserialize;
use serde_json::json;

use crate::api::openchami::draft::Draft;
use crate::api::openchami::smd::component::{self, Component};
use crate::api::openchami::smd::endpoint::{CHILDREN, Child, Endpoint};
use crate::api::openchami::smd::values;
use crate::api::problem::Problem;
use crate::base::Xname;

/// A PDU.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Pdu {
    #[serde(rename = "Outlets")]
    outlets: Vec<Outlet>,
}

/// An outlet. Older tools say `id` (`BA35`), newer ones `original_id` and the end of the xname.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Outlet {
    #[serde(rename = "ID")]
    id: String,
    original_id: String,
    id_suffix: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "State")]
    state: String,
    socket_type: String,
}

impl Outlet {
    fn called(&self) -> &str {
        if self.original_id.is_empty() { &self.id } else { &self.original_id }
    }

    /// `p1v35` for `BA35`: the second letter is the PDU's, the number the outlet's.
    fn suffix(&self) -> Option<String> {
        if !self.id_suffix.is_empty() {
            return Some(self.id_suffix.clone());
        }
        let called = self.called();
        let (letters, number) = called.split_at(called.find(|c: char| c.is_ascii_digit())?);
        let unit =
            letters.as_bytes().get(1).map_or(0, |letter| letter.to_ascii_uppercase().wrapping_sub(b'A'));
        Some(format!("p{unit}v{number}"))
    }
}

/// Brings in the controller and its outlets.
///
/// # Errors
/// Status 400: an outlet whose name makes no xname.
pub(crate) fn bring(
    draft: &mut Draft<'_>,
    xname: &Xname,
    endpoint: &Endpoint,
    pdu: &Pdu,
) -> Result<(), Problem> {
    if pdu.outlets.is_empty() {
        return Ok(());
    }
    put(draft, xname, "On", endpoint.enabled)?;
    let controller = Child {
        redfish_type: "Manager".to_owned(),
        form: "ComponentEndpointManager".to_owned(),
        manager: Some(json!({"Name": "JAWS"})),
        ..child(xname, endpoint, "/jaws", endpoint.enabled)
    };
    draft.put_document(CHILDREN, xname.as_str(), &controller);
    for (index, outlet) in pdu.outlets.iter().enumerate() {
        let named = outlet.suffix().and_then(|suffix| format!("{xname}{suffix}").parse::<Xname>().ok());
        let named = named.filter(|named| named.kind() == Some("CabinetPDUPowerConnector"));
        let own = named.ok_or_else(|| {
            let detail =
                format!("PDUInventory.Outlets[{index}]: {:?} names no outlet of {xname}", outlet.called());
            Problem::bad_request(detail)
        })?;
        let state = values::find(&values::STATES, &outlet.state).unwrap_or("Unknown");
        put(draft, &own, state, state == "On")?;
        let about = json!({"Name": outlet.name, "Actions": {"#Outlet.PowerControl": {
            "PowerState@Redfish.AllowableValues": ["On", "Off"],
            "target": format!("/jaws/control/outlets/{}", outlet.called()),
        }}});
        let child = Child {
            redfish_type: "Outlet".to_owned(),
            subtype: outlet.socket_type.clone(),
            form: "ComponentEndpointOutlet".to_owned(),
            outlet: Some(about),
            ..child(&own, endpoint, &format!("/jaws/monitor/outlets/{}", outlet.called()), state == "On")
        };
        draft.put_document(CHILDREN, own.as_str(), &child);
    }
    Ok(())
}

fn put(draft: &mut Draft<'_>, xname: &Xname, state: &str, enabled: bool) -> Result<(), Problem> {
    let old = component::find(draft, xname);
    let kind = xname.kind().unwrap_or_default().to_owned();
    let fresh = || Component { id: xname.to_string(), kind, enabled: Some(enabled), ..Component::default() };
    let component = Component { state: state.to_owned(), flag: "OK".to_owned(), ..old.unwrap_or_else(fresh) };
    component::put(draft, xname, &component)
}

fn child(xname: &Xname, endpoint: &Endpoint, path: &str, enabled: bool) -> Child {
    Child {
        id: xname.to_string(),
        kind: xname.kind().unwrap_or_default().to_owned(),
        odata: path.to_owned(),
        endpoint: endpoint.id.clone(),
        enabled,
        fqdn: endpoint.fqdn.clone(),
        url: format!("{}{path}", endpoint.fqdn),
        ..Child::default()
    }
}
