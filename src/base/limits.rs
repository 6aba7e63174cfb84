//! Every bound of the daemon, each with its reason.

mod door;
mod images;
mod record;
mod secrets;
mod trust;

use crate::base::Millis;
pub use door::*;
pub use images::*;
pub use record::*;
pub use secrets::*;
pub use trust::*;

/// Names that one node-set expression may expand to: the largest site we load, with room.
pub const NODESET_NAMES_MAX: usize = 200_000;

/// Text length of one node-set expression: 100,000 short names written out one by one fit.
pub const NODESET_TEXT_BYTES_MAX: usize = 2 << 20;

/// A reply longer than this may be dropped by edk2 (PxeBcDhcp4.c, 2025.02) and by the slowest ROMs.
pub const DHCP_MESSAGE_BYTES_MAX: usize = 1472;

/// RFC 2131 section 2: every client must accept 576-octet datagrams, 548 octets of DHCP message.
pub const DHCP_MESSAGE_BYTES_FLOOR: usize = 548;

/// Old BOOTP relays and ROMs drop messages below 300 octets (RFC 951, vendor field of 64).
pub const DHCP_MESSAGE_BYTES_MIN: usize = 300;

/// How long an offered address stays reserved: edk2 collects offers for 4 s and may ask again.
pub const OFFER_HOLD: Millis = Millis::from_secs(30);

/// First quarantine of a declined or conflicting address.
pub const DECLINE_QUARANTINE: Millis = Millis::from_secs(600);

/// Quarantine of an address that was declined again: somebody lives there.
pub const DECLINE_QUARANTINE_REPEATED: Millis = Millis::from_secs(3600);

/// Pool addresses per network that are probed in advance, so that probing never delays an OFFER.
pub const PROBED_STOCK: usize = 64;

/// How long one ARP probe waits for somebody to object (netboot practice: RFC 5227 allows 1 to 2 s for
/// a host claiming an address; a LAN peer answers within a few milliseconds).
pub const PROBE_WAIT: Millis = Millis(300);

/// How long a clean probe stays believed.
pub const PROBE_VALID: Millis = Millis::from_secs(60);

/// Our iPXE is handed to a foreign iPXE once in this span; again and again would be a loop.
pub const CHAIN_ONCE_SPAN: Millis = Millis::from_secs(120);

/// How long a loader that was told whom to trust may take until it asks for its address: firmware that waits for a
/// slow TFTP server, and somebody who looks at its menu.
pub const ANCHORED_SPAN: Millis = Millis::from_secs(30 * 60);

/// Machines whose loaders were told whom to trust: more than boot within that span; 16 octets each.
pub const ANCHORED_MAX: usize = 65_536;

/// Life of a serving certificate. Apple's and Mozilla's clients refuse more than 398 days; a stolen key is worth a
/// month at most.
pub const LEAF_LIFE: Millis = Millis::from_secs(30 * 86_400);

/// Former keys of nodes' bundles and tokens that still count: a list of keys holds sixteen, two of them sign.
pub const NODE_KEYS_FORMER_MAX: usize = 12;

/// Former site keys whose public halves are kept, for what they signed: one a month for five years.
pub const SITE_KEYS_FORMER_MAX: usize = 60;

/// Longest answer of an ACME authority: a chain of certificates has some kilobytes.
pub const ACME_ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long the next authority's root is published before it signs: who looks once a day knows it then.
pub const AUTHORITY_NOTICE: Millis = Millis::from_secs(86_400);

/// Former authorities whose roots are still published: each stays for the life of what it signed.
pub const AUTHORITIES_FORMER_MAX: usize = 4;

/// Requests within this span of the first are repeats of it, not a loop: iPXE repeats a lost REQUEST after
/// 0.25 s and a DISCOVER after 1, 2 and 4 s, and must hear the same answer.
pub const CHAIN_RETRANSMIT_SPAN: Millis = Millis::from_secs(8);

/// Unknown machines that are remembered. Beyond that the one seen longest ago is forgotten.
pub const SIGHTINGS_MAX: usize = 20_000;

/// Leases in all pools together; a snapshot of them is walked by the API.
pub const LEASES_MAX: usize = 500_000;

/// Frames that wait for the DHCP task: a power-on storm of 2,000 machines with two frames each.
pub const DHCP_QUEUE_FRAMES: usize = 4096;

/// How long the writer gathers leases into one commit: a client waits this much longer for its ACK.
pub const COMMIT_GATHER: Millis = Millis(2);

/// Writes in one commit, so that one commit stays below 100 ms on a slow disk.
pub const COMMIT_WRITES_MAX: usize = 4096;

/// Body of an inventory import: 100,000 nodes in the longest YAML form take about 40 MB.
pub const IMPORT_BYTES_MAX: usize = 64 << 20;

/// Problems that one report names; the rest is counted.
pub const PROBLEMS_MAX: usize = 1000;

/// Accesses of nodes that are remembered: two kinds for each of 100,000 nodes.
pub const HISTORY_MAX: usize = 200_000;

/// Power transitions that are remembered; beyond that the oldest is forgotten.
pub const TRANSITIONS_MAX: usize = 1000;

/// Tasks of all remembered power transitions together: two of the whole of the largest site.
pub const TRANSITION_TASKS_MAX: usize = 200_000;

/// How long a power transition is remembered, as the replaced power control service does.
pub const TRANSITION_LIFE: Millis = Millis::from_secs(86_400);

/// Body of any other API request.
pub const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Longest bearer token that is looked at: ours are below 1 KB, those of large OIDC providers below 4 KB.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// How far the clocks of those who make and those who check tokens may be apart.
pub const TOKEN_LEEWAY: Millis = Millis::from_secs(60);

/// Longest life of a token that is issued: what lives longer is forgotten by those who should revoke it.
pub const TOKEN_LIFE_MAX: Millis = Millis::from_secs(365 * 86_400);

/// Life of a token that a registered client gets: an hour, as it was with hydra.
pub const CLIENT_TOKEN_LIFE: Millis = Millis::from_secs(3600);

/// Tokens and clients that are remembered, each: people and scripts of a large site, with room.
pub const TOKEN_RECORDS_MAX: usize = 10_000;

/// Keys of other issuers: a provider publishes a handful.
pub const FOREIGN_KEYS_MAX: usize = 64;

/// Wrong secrets of one address within `SECRET_SPAN` before it must wait; people mistype twice.
pub const SECRET_TRIES_MAX: u32 = 5;

/// The span in which wrong secrets are counted.
pub const SECRET_SPAN: Millis = Millis::from_secs(60);

/// Addresses whose wrong secrets are counted at a time.
pub const SECRET_ADDRESSES_MAX: usize = 4096;

/// Body of a request for a token: a form of a few fields.
pub const TOKEN_REQUEST_BYTES_MAX: usize = 16 << 10;

/// Hops of a forwarding header that are looked at, from the nearest.
pub const FORWARD_HOPS_MAX: usize = 16;

/// How long a TLS handshake may take; BMCs and firmware on slow links take two seconds.
pub const TLS_HANDSHAKE_MAX: Millis = Millis::from_secs(10);

/// TFTP read request (opcode, name, mode, options), RFC 2347 section 2 asks for 512; we accept some slack.
pub const TFTP_REQUEST_BYTES_MAX: usize = 1024;

/// Options in one TFTP read request.
pub const TFTP_OPTIONS_MAX: usize = 8;

/// Transfers of one client address at a time: shim and GRUB open a handful.
pub const TFTP_TRANSFERS_PER_CLIENT_MAX: usize = 8;

/// Transfers of all clients; a request beyond is dropped and the client asks again.
pub const TFTP_TRANSFERS_MAX: usize = 4096;

/// Blocks in flight: with 1468-octet blocks 94 kB, enough for 10 GbE at 75 us round trip.
pub const TFTP_WINDOW_MAX: u16 = 64;

/// Largest TFTP block: what fits an Ethernet frame of 1500 without fragments, ROMs cannot reassemble.
pub const TFTP_BLOCK_BYTES_MAX: u16 = 1468;

/// Sends of one window before a TFTP transfer is given up; caps the amplification of a forged request.
pub const TFTP_SENDS_MAX: u32 = 6;

/// Answers of other servers that the DNS cache holds.
pub const DNS_CACHE_ENTRIES_MAX: usize = 10_000;

/// Questions of clients that wait for an upstream server.
pub const DNS_FORWARDS_MAX: usize = 1024;

/// Open HTTP connections of one server: a rack row booting at once, each node with a few fetches. More wait
/// in the kernel's backlog.
pub const HTTP_CONNECTIONS_MAX: usize = 8192;

/// Requests that wait for the store's writer. A storm of leases beyond is dropped; clients ask again.
pub const STORE_QUEUE_JOBS: usize = 8192;

/// Requests of one machine in a burst. iPXE and edk2 repeat within milliseconds when an answer is late.
pub const DHCP_BURST: u32 = 30;

/// Requests of one machine per second in the long run; below this nothing honest is slowed.
pub const DHCP_REQUESTS_PER_S: u32 = 10;

/// Requests of all machines in a burst: a power-on storm of 2,000 machines with four requests each, and room.
pub const DHCP_TOTAL_BURST: u32 = 20_000;

/// Requests of all machines per second in the long run: both messages of 20,000 machines, more than any site
/// powers on at once. A flood of invented machines is cut off here.
pub const DHCP_TOTAL_PER_S: u32 = 40_000;

/// Machines whose request rate is watched at a time.
pub const DHCP_RATES_MAX: usize = 65_536;

/// ACKs that wait for the disk.
pub const DHCP_PARKED_MAX: usize = 4096;

/// Other DHCP servers that are remembered.
pub const ROGUES_MAX: usize = 64;

/// How often a sighting of the same machine is written down: its time of last sight may be this old after a
/// power loss.
pub const SIGHTING_WRITE_SPAN: Millis = Millis::from_secs(60);

/// One loader file: the largest in use, iPXE's disk images, stay below 10 MB; it is held in memory.
pub const LOADER_BYTES_MAX: u64 = 64 << 20;

/// Loader files of all directories together.
pub const LOADERS_MAX: usize = 512;

/// A file that is converted for a `netascii` client: each such transfer holds a copy of its own.
pub const TFTP_NETASCII_BYTES_MAX: usize = 4 << 20;

/// Datagrams that wait for one TFTP transfer; a client sends one at a time, the rest are copies.
pub const TFTP_INBOX_PACKETS: usize = 32;

/// Longest life of a TFTP transfer: 64 MB in 512-octet blocks at 10 ms round trip, twice over.
pub const TFTP_TRANSFER_MAX: Millis = Millis::from_secs(2700);

/// Largest NBD read: what the protocol document has clients expect where nothing else is said.
pub const NBD_READ_BYTES_MAX: u32 = 32 << 20;

/// Data of an NBD option: a name of 4,096 octets and the list of facts behind it, with room. Whoever sends more
/// is hung up on.
pub const NBD_OPTION_BYTES_MAX: u32 = 8 << 10;

/// Options in one NBD handshake: clients send two to ten.
pub const NBD_OPTIONS_MAX: u32 = 64;

/// How long an NBD handshake may take, in all: a node that boots answers within milliseconds.
pub const NBD_HANDSHAKE_MAX: Millis = Millis::from_secs(10);

/// NBD connections: each node of a large site keeps one or two as long as it is up. More wait in the kernel's
/// backlog. Each costs two descriptors and about 12 KiB.
pub const NBD_CONNECTIONS_MAX: usize = 16_384;

/// NBD connections of one address: what `nbd-client -C` and copying tools open at most is 16.
pub const NBD_CONNECTIONS_PER_CLIENT_MAX: usize = 32;

/// Names that the NBD server lists.
pub const NBD_NAMES_MAX: usize = 1000;

/// TCP connections to the DNS server; resolvers open one each, and only for large answers.
pub const DNS_CONNECTIONS_MAX: usize = 128;

/// How long a DNS connection over TCP may say nothing (RFC 7766 section 6.2.3 asks for a few seconds).
pub const DNS_IDLE: Millis = Millis::from_secs(10);

/// How long one upstream DNS server may think; resolvers of clients give up after 5 s.
pub const DNS_UPSTREAM_WAIT: Millis = Millis(2000);

/// Upstream servers that one question is put to.
pub const DNS_UPSTREAMS_MAX: usize = 3;

/// Longest memory of a foreign answer, whatever its TTL: people correct their mistakes within a day.
pub const DNS_CACHE_LIFE_MAX: Millis = Millis::from_secs(86_400);

/// Longest memory of a foreign denial; RFC 2308 section 5 suggests one to three hours.
pub const DNS_DENIAL_LIFE_MAX: Millis = Millis::from_secs(3600);

/// Messages that wait for one webhook target. A bulk change makes a handful; a target that is this far behind
/// reads the state anyway.
pub const WEBHOOK_QUEUE_MESSAGES: usize = 256;

/// Webhook targets that are served at a time, each with a task and a queue. Sites have a handful.
pub const WEBHOOK_TARGETS_MAX: usize = 256;

/// Subscriptions to state changes; every change is held against each of them.
pub const SUBSCRIPTIONS_MAX: usize = 256;

/// Components that one notification names: with 20 octets each it stays below 256 kB, which every HTTP server
/// takes.
pub const NOTIFIED_COMPONENTS_MAX: usize = 10_000;

/// Events that are remembered about one place of the hardware inventory: a part that is changed every month fills
/// it in five years.
pub const HARDWARE_EVENTS_MAX: usize = 64;

/// Length of a part's identifier: kind, maker, part and serial number.
pub const FRU_ID_BYTES_MAX: usize = 512;
/// Values in one cloud-init document, expanded aliases counted: the longest cloud-config files of sites have
/// some thousands. Each takes about 100 octets while it is checked.
pub const CLOUD_INIT_VALUES_MAX: usize = 200_000;
/// Steps of one template. A template of some hundred lines takes some thousand; what loops is cut off within
/// a tenth of a second.
pub const TEMPLATE_STEPS_MAX: u64 = 1_000_000;
/// Body of a phone-home report: three public keys of 16,384 bits in form encoding, and room.
pub const PHONE_HOME_BYTES_MAX: usize = 64 << 10;
/// Phone-home reports that are remembered, one for each node; beyond that the oldest is forgotten.
pub const PHONE_HOMES_MAX: usize = 100_000;

/// Events that the journal remembers: some hours of a busy site, at most about 5 MB.
pub const JOURNAL_EVENTS_MAX: usize = 10_000;

/// Things in one page of a list: all of a large site, still a bounded answer.
pub const PAGE_ITEMS_MAX: usize = 100_000;

/// Operations in one batch; with a few hundred octets each they fill its body.
pub const BATCH_OPERATIONS_MAX: usize = 100_000;

/// A command's complaints that are repeated in an error.
pub const COMMAND_STDERR_BYTES_MAX: u64 = 2048;

/// Versions of images that are remembered as booted: ten years of a daily build.
pub const BOOTED_VERSIONS_MAX: usize = 4096;

/// Downloads that stand in line for their turn: every node of the largest site, once.
pub const GATE_PLACES_MAX: usize = 100_000;

/// Labels of downloads whose counts are remembered: four files of each of a thousand images.
pub const STREAM_LABELS_MAX: usize = 4096;

/// How long a download waits in line before its client is told to come back, if the client can do that. Proxies
/// and firewalls forget silent connections after minutes.
pub const STREAM_WAIT_MS: u64 = 20_000;

/// What a machine of the swarm keeps of a script or a document: ten times the largest boot script seen.
pub const SWARM_DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// Machines of one swarm: the largest site, ten times over.
pub const SWARM_NODES_MAX: u64 = 1_000_000;

/// Commands that a script may run from one download or pause to the next; scripts of sites have some dozens.
pub const SWARM_SCRIPT_STEPS_MAX: u32 = 10_000;

/// DHCP messages that wait for one machine of the swarm; what comes beyond is lost, as in a card without room.
pub const SWARM_INBOX_PLACES: usize = 8;

/// How long the reader of a file may take nothing, and how long the kernel waits for it to acknowledge what left
/// (TCP_USER_TIMEOUT): a switch that restarts takes less, and a machine that is off holds its turn no longer.
pub const READER_STALL: Millis = Millis::from_secs(60);

/// Within so long, the reader of a file must take `READER_BYTES_MIN`.
pub const READER_SPAN: Millis = Millis::from_secs(120);

/// A machine that unpacks while it reads is slow; what is slower than 2 kB/s is no machine that boots.
pub const READER_BYTES_MIN: u64 = 256 << 10;
