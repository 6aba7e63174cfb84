//! The option table: what a reply carries, by class of client and by what it asks for.

use dhcproto::v4::DhcpOption;

use crate::base::Millis;
use crate::engine::dhcp::Boot;
use crate::engine::dhcp::case::Case;
use crate::model::{Firmware, Stage};
use crate::wire::dhcp::{Message, Options, code};

/// PXE discovery control (43.6) with bit 3: no menu, no discovery, take the file named here; then the end
/// of the sub-options. Menus are unreliable in UEFI firmware.
const SKIP_DISCOVERY: [u8; 4] = [6, 1, 8, 255];

/// What the Raspberry Pi ROM looks for: 43.6 as above, the prompt (43.10) and the menu entry (43.9) with its
/// text, as in tinkerbell/smee's `raspberrypi` answer.
const RASPBERRY_PI: &[u8] = b"\x06\x01\x08\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff";

/// `no-pxedhcp` (175.176): iPXE need not wait for ProxyDHCP offers, which saves it two seconds.
const NO_PXEDHCP: [u8; 3] = [0xb0, 1, 1];

/// `trust` (175.90): SHA-256 of the root certificates that iPXE trusts, one behind the other. iPXE reads it at its
/// start, in the answer that named it to the firmware; in its own answer it comes too late (measured 2026-11, iPXE of
/// May 2025).
const TRUST: u8 = 0x5a;

/// Roots of which an option of 255 octets has room; of more, the first count.
const ROOTS_MAX: usize = 7;

/// Longest text of the header's `file` field.
const FILE_MAX: usize = 127;

/// PXE boot item sub-option (43.71).
const BOOT_ITEM: u8 = 71;

/// Lease times: 51, and when to renew and rebind (RFC 2131 section 4.4.5: half and seven eighths).
pub(crate) fn add_lease(message: &mut Message, lease: Millis) {
    let seconds = u32::try_from(lease.as_secs()).unwrap_or(u32::MAX);
    message.options.put(&DhcpOption::AddressLeaseTime(seconds));
    message.options.put(&DhcpOption::Renewal(seconds / 2));
    let rebind = u64::from(seconds).saturating_mul(7) / 8;
    message.options.put(&DhcpOption::Rebinding(u32::try_from(rebind).unwrap_or(u32::MAX)));
}

/// What every client of the network gets: 1, 3, 6, 12, 15.
pub(crate) fn add_network(message: &mut Message, case: &Case<'_>) {
    let network = case.network;
    message.options.put(&DhcpOption::SubnetMask(network.address.netmask()));
    if !network.routers.is_empty() {
        message.options.put(&DhcpOption::Router(network.routers.clone()));
    }
    let dns = if network.dns.is_empty() { vec![case.head] } else { network.dns.clone() };
    message.options.put(&DhcpOption::DomainNameServer(dns));
    if let Some(machine) = case.machine {
        message.options.set(code::HOST_NAME, machine.name().as_bytes());
    }
    if !domain(case).is_empty() {
        message.options.set(code::DOMAIN, domain(case).as_bytes());
    }
}

/// What a client gets if it asks: 7, 28, 26, 42, 119, 121, 81.
pub(crate) fn add_asked(message: &mut Message, case: &Case<'_>) {
    let (network, asker) = (case.network, &case.request.message);
    if asker.asks_for(code::BROADCAST) {
        message.options.put(&DhcpOption::BroadcastAddr(network.address.broadcast()));
    }
    if let Some(mtu) = network.mtu.filter(|_| asker.asks_for(code::MTU)) {
        message.options.put(&DhcpOption::InterfaceMtu(mtu));
    }
    if asker.asks_for(code::NTP) && !network.ntp.is_empty() {
        message.options.put(&DhcpOption::NtpServers(network.ntp.clone()));
    }
    if case.snapshot.site.takes_logs && asker.asks_for(code::LOG_SERVERS) {
        // iPXE takes it for its setting `syslog`; builds with CONSOLE_SYSLOG then send what they print.
        message.options.set(code::LOG_SERVERS, case.head.octets());
    }
    if asker.asks_for(code::DOMAIN_SEARCH) && !domain(case).is_empty() {
        message.options.set(code::DOMAIN_SEARCH, dns_name(domain(case)));
    }
    if let Some(router) = network.routers.first().filter(|_| asker.asks_for(code::STATIC_ROUTES)) {
        // A client that takes 121 ignores 3: the default route must stand here too (RFC 3442).
        let mut routes = vec![0];
        routes.extend_from_slice(&router.octets());
        message.options.set(code::STATIC_ROUTES, routes);
    }
    add_full_name(message, case);
}

/// Option 81: we enter the name into DNS ourselves (RFC 4702 section 4: S, and O if the client did not ask
/// for it; the two result codes are 255).
fn add_full_name(message: &mut Message, case: &Case<'_>) {
    const SERVER_UPDATES: u8 = 1;
    const OVERRIDES: u8 = 2;
    const WIRE_FORM: u8 = 4;
    let Some((machine, asked)) = case.machine.zip(case.request.message.options.get(code::FQDN)) else {
        return;
    };
    let Some(flags) = asked.first() else { return };
    let name = format!("{}.{}", machine.name(), domain(case));
    let overrides = if flags & SERVER_UPDATES == 0 { OVERRIDES } else { 0 };
    let mut value = vec![SERVER_UPDATES | overrides | (flags & WIRE_FORM), 255, 255];
    value.extend(if flags & WIRE_FORM == 0 { name.into_bytes() } else { dns_name(&name) });
    message.options.set(code::FQDN, value);
}

/// Boot data, by what is to be loaded. `proxy`: the reply gives no address (ProxyDHCP).
pub(crate) fn add_boot(message: &mut Message, case: &Case<'_>, boot: &Boot, proxy: bool) {
    let asker = &case.request.message;
    match boot {
        Boot::None(_) => return,
        Boot::File { name, .. } => {
            if proxy {
                message.options.set(code::VENDOR_CLASS, *b"PXEClient");
                message.options.set(code::VENDOR, SKIP_DISCOVERY);
            }
            add_file(message, case, name);
        }
        Boot::Url { url, .. } => {
            // edk2 ignores the offer without its own vendor class (measured).
            message.options.set(code::VENDOR_CLASS, *b"HTTPClient");
            message.options.set(code::BOOT_FILE, url.as_bytes());
            if url.len() <= FILE_MAX {
                message.file = url.clone().into_bytes();
            }
        }
        Boot::Script { url } => {
            if proxy {
                message.options.set(code::VENDOR_CLASS, *b"PXEClient");
            }
            // iPXE prefers `file` to 67: it stays empty, so that they cannot differ.
            message.options.set(code::BOOT_FILE, url.as_bytes());
            message.options.set(code::IPXE, NO_PXEDHCP);
        }
        Boot::RaspberryPi => {
            message.options.set(code::VENDOR_CLASS, *b"PXEClient");
            message.options.set(code::VENDOR, RASPBERRY_PI);
        }
    }
    if matches!(boot, Boot::File { .. } | Boot::Url { .. }) {
        add_trust(message, case);
    }
    message.siaddr = case.head;
    let wants_root = match case.request.stage {
        Stage::Ipxe | Stage::ForeignIpxe => true,
        Stage::Firmware | Stage::System => asker.asks_for(code::ROOT_PATH),
    };
    if wants_root && !proxy {
        // Site scripts embedded in iPXE builds take the head's address from here.
        message.options.set(code::ROOT_PATH, case.head.to_string());
    }
}

fn add_trust(message: &mut Message, case: &Case<'_>) {
    let roots = case.snapshot.site.loader_tls.as_ref().map(|tls| tls.roots.as_slice()).unwrap_or_default();
    let octets: Vec<u8> = roots.iter().take(ROOTS_MAX).flat_map(|root| root.0).collect();
    if let Some(length) = u8::try_from(octets.len()).ok().filter(|length| *length > 0) {
        message.options.set(code::IPXE, [vec![TRUST, length], octets].concat());
    }
}

/// True if these options tell a loader whom to trust.
pub(crate) fn anchors(options: &[(u8, Vec<u8>)]) -> bool {
    options.iter().any(|(code, value)| *code == code::IPXE && value.first() == Some(&TRUST))
}

/// A file by TFTP, named in `file` and, if asked, 67 with one NUL: old firmware reads the octet behind.
fn add_file(message: &mut Message, case: &Case<'_>, name: &str) {
    let asker = &case.request.message;
    message.file = name.as_bytes().to_vec();
    if case.request.firmware == Firmware::Bios {
        message.sname = case.head.to_string().into_bytes();
    }
    if asker.asks_for(code::BOOT_FILE) {
        let mut terminated = name.as_bytes().to_vec();
        terminated.push(0);
        message.options.set(code::BOOT_FILE, terminated);
    }
    if asker.asks_for(code::TFTP_SERVER) {
        message.options.set(code::TFTP_SERVER, case.head.to_string());
    }
    if asker.asks_for(code::TFTP_ADDRESSES) {
        message.options.set(code::TFTP_ADDRESSES, case.head.octets());
    }
}

/// What is repeated to the client as it came: 97 (PXE 2.1 section 2.2), 61 (RFC 6842), 82 (RFC 3046).
pub(crate) fn add_echoes(message: &mut Message, asker: &Message) {
    for echoed in [code::UUID, code::CLIENT_ID, code::RELAY] {
        if let Some(value) = asker.options.get(echoed) {
            message.options.set(echoed, value);
        }
    }
}

/// The answer on port 4011: the vendor class, and the boot item if the client chose one from a menu.
pub(crate) fn add_boot_server(message: &mut Message, asker: &Message) {
    message.options.set(code::VENDOR_CLASS, *b"PXEClient");
    message.options.remove(code::VENDOR);
    let mut asked = Options::default();
    asked.scan(asker.options.get(code::VENDOR).unwrap_or_default());
    if let Some(&[a, b, c, d]) = asked.get(BOOT_ITEM) {
        message.options.set(code::VENDOR, [BOOT_ITEM, 4, a, b, c, d, u8::MAX]);
    }
}

fn domain<'a>(case: &'a Case<'_>) -> &'a str {
    case.network.domain.as_deref().unwrap_or(&case.snapshot.site.domain)
}

/// A name as DNS writes it (RFC 1035 section 3.1), without compression.
fn dns_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let octets = label.as_bytes().iter().copied().take(63);
        out.push(u8::try_from(label.len().min(63)).unwrap_or(63));
        out.extend(octets);
    }
    out.push(0);
    out
}
