//! Numbers of the DHCP options that the daemon knows (RFC 2132 and the RFCs named beside them).

pub const SUBNET_MASK: u8 = 1;
pub const ROUTER: u8 = 3;
pub const DNS: u8 = 6;
/// RFC 2132 section 3.9; what iPXE calls `syslog`.
pub const LOG_SERVERS: u8 = 7;
pub const HOST_NAME: u8 = 12;
pub const DOMAIN: u8 = 15;
pub const ROOT_PATH: u8 = 17;
pub const MTU: u8 = 26;
pub const BROADCAST: u8 = 28;
pub const NTP: u8 = 42;
/// Vendor information: the PXE and Raspberry Pi sub-options.
pub const VENDOR: u8 = 43;
pub const REQUESTED_ADDRESS: u8 = 50;
pub const LEASE_SECONDS: u8 = 51;
pub const OVERLOAD: u8 = 52;
pub const MESSAGE_TYPE: u8 = 53;
pub const SERVER_ID: u8 = 54;
pub const PARAMETER_LIST: u8 = 55;
pub const MESSAGE: u8 = 56;
pub const MAX_SIZE: u8 = 57;
pub const RENEW_SECONDS: u8 = 58;
pub const REBIND_SECONDS: u8 = 59;
pub const VENDOR_CLASS: u8 = 60;
pub const CLIENT_ID: u8 = 61;
pub const TFTP_SERVER: u8 = 66;
pub const BOOT_FILE: u8 = 67;
/// RFC 3004.
pub const USER_CLASS: u8 = 77;
/// RFC 4702.
pub const FQDN: u8 = 81;
/// RFC 3046.
pub const RELAY: u8 = 82;
/// RFC 4578: firmware architecture, network interface, machine identifier.
pub const ARCH: u8 = 93;
pub const UNDI: u8 = 94;
pub const UUID: u8 = 97;
/// RFC 3011.
pub const SUBNET_SELECTION: u8 = 118;
/// RFC 3397.
pub const DOMAIN_SEARCH: u8 = 119;
/// RFC 3442.
pub const STATIC_ROUTES: u8 = 121;
/// RFC 5859.
pub const TFTP_ADDRESSES: u8 = 150;
/// iPXE's own encapsulated options (Etherboot).
pub const IPXE: u8 = 175;

/// What people call the option; empty for one we have no name for.
#[must_use]
pub fn name(code: u8) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == code).map_or("", |(_, name)| name)
}

const NAMES: [(u8, &str); 37] = [
    (SUBNET_MASK, "subnet mask"),
    (ROUTER, "router"),
    (LOG_SERVERS, "log servers"),
    (DNS, "name servers"),
    (HOST_NAME, "host name"),
    (DOMAIN, "domain"),
    (ROOT_PATH, "root path"),
    (MTU, "mtu"),
    (BROADCAST, "broadcast address"),
    (NTP, "time servers"),
    (VENDOR, "vendor information"),
    (REQUESTED_ADDRESS, "requested address"),
    (LEASE_SECONDS, "lease time"),
    (OVERLOAD, "overload"),
    (MESSAGE_TYPE, "message type"),
    (SERVER_ID, "server identifier"),
    (PARAMETER_LIST, "parameter list"),
    (MESSAGE, "message"),
    (MAX_SIZE, "maximum size"),
    (RENEW_SECONDS, "renewal time"),
    (REBIND_SECONDS, "rebinding time"),
    (VENDOR_CLASS, "vendor class"),
    (CLIENT_ID, "client identifier"),
    (TFTP_SERVER, "tftp server"),
    (BOOT_FILE, "boot file"),
    (USER_CLASS, "user class"),
    (FQDN, "full name"),
    (RELAY, "relay information"),
    (ARCH, "architecture"),
    (UNDI, "network interface"),
    (UUID, "machine identifier"),
    (SUBNET_SELECTION, "subnet selection"),
    (DOMAIN_SEARCH, "domain search list"),
    (STATIC_ROUTES, "static routes"),
    (TFTP_ADDRESSES, "tftp addresses"),
    (IPXE, "ipxe"),
    (0, "pad"),
];

/// A message type as people write it: `DISCOVER`.
#[must_use]
pub fn kind(kind: dhcproto::v4::MessageType) -> String {
    format!("{kind:?}").to_uppercase()
}
