//! The forms in which declared and observed state lie on disk. Serialising is a promise: every version ever
//! written must load for ever (golden lines in `tests.rs`). A record is one version octet and JSON: self-describing, so
//! that a field can be added without a new version, and readable when things go wrong at night.

mod audit;
mod boots;
mod declared;
mod identity;
mod images;
mod observed;
mod secrets;
mod sessions;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::audit::{Checkpoint, Line};
use crate::model::{
    Assignment, Bmc, BootRecord, BootSession, Document, Dossier, Group, Identity, Image, Lease, Node,
    Profile, Secret, Sighting, Tag,
};
use crate::store::StoreError;

/// The version that is written, and the newest that is read.
const VERSION: u8 = 1;

/// A value of the model that has a form on disk.
pub trait Record: Sized {
    /// Name of the kind, for errors.
    const KIND: &'static str;
    type Form: Serialize + DeserializeOwned;

    fn form(&self) -> Self::Form;

    /// # Errors
    /// Names the field whose value cannot be.
    fn value(form: Self::Form) -> Result<Self, String>;

    /// The record's octets.
    fn emit(&self) -> Vec<u8> {
        let mut octets = vec![VERSION];
        serde_json::to_writer(&mut octets, &self.form()).expect("forms hold nothing that JSON cannot");
        octets
    }

    /// # Errors
    /// The record is of a newer version, or damaged.
    fn parse(octets: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |why: String| StoreError::Corrupt(format!("{} record: {why}", Self::KIND));
        match octets.split_first() {
            Some((&VERSION, json)) => {
                let form = serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))?;
                Self::value(form).map_err(corrupt)
            }
            Some((&found, _)) if found > VERSION => {
                Err(StoreError::Schema { kind: Self::KIND, found, known: VERSION })
            }
            Some((found, _)) => Err(corrupt(format!("version {found} was never written"))),
            None => Err(corrupt("it is empty".to_owned())),
        }
    }
}

macro_rules! records {
    ($($model:ident => $room:ident :: $form:ident, $kind:literal;)*) => {$(
        impl Record for $model {
            const KIND: &'static str = $kind;
            type Form = $room::$form;

            fn form(&self) -> Self::Form {
                $room::$form::from(self)
            }

            fn value(form: Self::Form) -> Result<Self, String> {
                $model::try_from(form)
            }
        }
    )*};
}

records! {
    Node => declared::NodeForm, "node";
    Bmc => declared::BmcForm, "bmc";
    Group => declared::GroupForm, "group";
    Profile => declared::ProfileForm, "profile";
    Assignment => declared::AssignmentForm, "assignment";
    Document => declared::DocumentForm, "document";
    Image => images::ImageForm, "image";
    Tag => images::TagForm, "tag";
    Secret => secrets::SecretForm, "secret";
    Identity => identity::IdentityForm, "identity";
    Dossier => identity::DossierForm, "dossier";
    Lease => observed::LeaseForm, "lease";
    Sighting => observed::SightingForm, "sighting";
    BootSession => sessions::SessionForm, "boot session";
    BootRecord => boots::BootRecordForm, "boot record";
    Line => audit::LineForm, "audit";
    Checkpoint => audit::CheckpointForm, "audit checkpoint";
}

#[cfg(test)]
mod tests;
