//! Redfish endpoints as SMD shows them.

/// The annotation of BMCs in which the fields of their Redfish endpoint lie.
pub(crate) const NOTE: &str = "smd.endpoint";
