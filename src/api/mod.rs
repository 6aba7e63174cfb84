//! Floor 4: foreign tongues. Adapters turn requests into questions to the engine and into changes, and
//! answers back into the words of the caller. Only here do methods, paths and JSON exist.

pub mod about;
pub mod acme;
pub mod auth;
pub mod boot;
pub mod cloud_init;
pub mod context;
pub mod enrol;
pub mod images;
pub mod node;
pub mod openapi;
pub mod openchami;
pub mod page;
pub mod problem;
pub mod secrets;
pub mod v1;
pub mod who;
