//! DHCP messages: a guarded face on `dhcproto`.
