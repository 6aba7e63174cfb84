//! What to answer to a DHCP message.
