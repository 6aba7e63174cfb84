//! DHCP on raw sockets.
