//! Patches of components: state, flag, enabled, software status, role, number; of one component or of many.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::api::openchami::OpenChami;
use crate::api::openchami::go;
use crate::api::openchami::smd::component::{self, Component, KEYS, number};
use crate::api::openchami::smd::components::missing;
use crate::api::openchami::smd::{plan, values, xname};
use crate::api::problem::Problem;
use crate::base::Xname;
use crate::model::Inventory;

/// The body of a patch, of one component or of many.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Patch {
    #[serde(rename = "ComponentIDs")]
    ids: Option<Vec<String>>,
    #[serde(rename = "Components")]
    numbered: Option<Vec<Numbered>>,
    #[serde(rename = "State")]
    state: Option<String>,
    #[serde(rename = "Flag")]
    flag: Option<String>,
    #[serde(rename = "Force")]
    force: bool,
    #[serde(rename = "Enabled")]
    enabled: Option<bool>,
    #[serde(rename = "SoftwareStatus")]
    software_status: Option<String>,
    #[serde(rename = "Role")]
    role: Option<String>,
    #[serde(rename = "SubRole")]
    sub_role: Option<String>,
    #[serde(rename = "NID", deserialize_with = "number")]
    nid: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Numbered {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "NID", deserialize_with = "number")]
    nid: Option<u32>,
}

/// Applies a patch to one component. False: it may not go to that state.
type Alter = Box<dyn Fn(&mut Component) -> bool + Send + Sync>;

/// What a patch of this kind does; checked before anything is touched.
fn alteration(field: &str, patch: Patch, inventory: &Inventory) -> Result<Alter, Problem> {
    let needs = |name: &str| Problem::bad_request(format!("Missing {name}"));
    let flag = patch.flag.as_deref().map(|flag| values::known("Flag", &values::FLAGS, flag)).transpose()?;
    Ok(match field.to_ascii_lowercase().as_str() {
        "statedata" => {
            let state = values::known("State", &values::STATES, &patch.state.ok_or_else(|| needs("State"))?)?;
            let flag = flag.unwrap_or_else(|| "OK".to_owned());
            Box::new(move |component| {
                let may = patch.force || values::may_change(&component.state, &state);
                if may {
                    (component.state, component.flag) = (state.clone(), flag.clone());
                }
                may
            })
        }
        "flagonly" => {
            let flag = flag.ok_or_else(|| needs("Flag"))?;
            Box::new(move |component| {
                component.flag.clone_from(&flag);
                true
            })
        }
        "enabled" => {
            let enabled = patch.enabled.ok_or_else(|| needs("Enabled"))?;
            Box::new(move |component| {
                component.enabled = Some(enabled);
                true
            })
        }
        "softwarestatus" => {
            let status = patch.software_status.ok_or_else(|| needs("SoftwareStatus"))?;
            Box::new(move |component| {
                component.software_status.clone_from(&status);
                true
            })
        }
        "role" => {
            let role = values::role(inventory, &patch.role.ok_or_else(|| needs("Role"))?)?;
            let sub = patch.sub_role.filter(|text| !text.is_empty());
            let sub = sub.map(|text| values::known("SubRole", &values::SUB_ROLES, &text)).transpose()?;
            Box::new(move |component| {
                component.role.clone_from(&role);
                component.sub_role = sub.clone().unwrap_or_default();
                true
            })
        }
        "nid" => {
            let nid = patch.nid.ok_or_else(|| needs("NID"))?;
            Box::new(move |component| {
                component.nid = Some(nid);
                true
            })
        }
        _ => return Err(Problem::not_found(format!("there is nothing to patch at {field}"))),
    })
}

/// `PATCH /State/Components/{xname}/{StateData|FlagOnly|Enabled|SoftwareStatus|Role|NID}`.
pub(crate) async fn one(
    State(api): State<OpenChami>,
    Path((id, field)): Path<(String, String)>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let patch: Patch = go::decode(&bytes, &KEYS)?;
    let own = xname(&id)?;
    let alter = alteration(&field, patch, &api.context.snapshot.load().inventory)?;
    plan(&api, |draft| {
        let mut found = component::find(draft, &own).ok_or_else(missing)?;
        if !alter(&mut found) {
            return Err(Problem::bad_request(format!("{own}: bad state change, use Force to override")));
        }
        component::put(draft, &own, &found)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PATCH /State/Components/{BulkStateData|…}`.
pub(crate) async fn bulk(
    State(api): State<OpenChami>,
    Path(kind): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let lower = kind.to_ascii_lowercase();
    let Some(field) = lower.strip_prefix("bulk") else {
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "a component takes no PATCH as a whole"));
    };
    let mut patch: Patch = go::decode(&bytes, &KEYS)?;
    if field == "nid" {
        return renumber(&api, patch.numbered.unwrap_or_default()).await;
    }
    let ids = patch.ids.take().filter(|ids| !ids.is_empty());
    let ids = ids.ok_or_else(|| Problem::bad_request("Missing ComponentIDs"))?;
    let own: Vec<Xname> = ids.iter().map(|id| xname(id)).collect::<Result<_, _>>()?;
    let alter = alteration(field, patch, &api.context.snapshot.load().inventory)?;
    plan(&api, |draft| {
        let mut matched = 0;
        for xname in &own {
            let Some(mut found) = component::find(draft, xname) else { continue };
            matched += 1;
            // Those that may not change stay as they are; the others change.
            if alter(&mut found) {
                component::put(draft, xname, &found)?;
            }
        }
        if matched == 0 { Err(missing()) } else { Ok(()) }
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// All numbers at once, so that nodes may swap theirs.
async fn renumber(api: &OpenChami, list: Vec<Numbered>) -> Result<Response, Problem> {
    let wanted: BTreeMap<Xname, u32> = list
        .into_iter()
        .map(|one| Ok((xname(&one.id)?, one.nid.ok_or_else(|| Problem::bad_request("Missing NID"))?)))
        .collect::<Result<_, Problem>>()?;
    if wanted.is_empty() {
        return Err(Problem::bad_request("Missing Components"));
    }
    plan(api, |draft| {
        let wanted: BTreeMap<Xname, u32> =
            wanted.iter().map(|(xname, nid)| (component::meant(draft, xname), *nid)).collect();
        let found: Vec<(Xname, Component)> =
            wanted.keys().filter_map(|xname| Some((xname.clone(), component::find(draft, xname)?))).collect();
        if found.is_empty() {
            return Err(missing());
        }
        for (xname, component) in &found {
            if component.nid != wanted.get(xname).copied() {
                component::put(draft, xname, &Component { nid: None, ..component.clone() })?;
            }
        }
        for (xname, component) in found {
            let nid = wanted.get(&xname).copied();
            component::put(draft, &xname, &Component { nid, ..component })?;
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
