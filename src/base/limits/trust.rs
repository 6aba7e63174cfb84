//! Bounds of boot sessions and of what nodes say and get in them.

use crate::base::Millis;

/// Times that the archive with the grant is served in one boot: iPXE asks again after a broken transfer, and
/// whoever asks more often is no iPXE.
pub const GRANTS_MAX: usize = 3;

/// Wrong nonces on one boot session before it is revoked. A node has the right one in a file.
pub const GRANT_TRIES_MAX: u8 = 5;

/// How long a redeemed grant gives the same answer again to the same key: replies get lost, and a node asks
/// again within seconds.
pub const ANSWER_AGAIN: Millis = Millis::from_secs(120);

/// How long after the last delivery a session seals itself, if the node does not.
pub const SEAL_AFTER: Millis = Millis::from_secs(60);

/// Life of a boot session from its script on: the slowest firmware, kernel and initrd that were seen take four
/// minutes.
pub const SESSION_LIFE: Millis = Millis::from_secs(600);

/// Bounds of what the configuration may set instead.
pub const SESSION_LIFE_MIN: Millis = Millis::from_secs(60);
/// The other one.
pub const SESSION_LIFE_MAX: Millis = Millis::from_secs(3600);

/// How long a power event of this head counts as the reason of a boot: memory tests of large nodes take minutes.
pub const POWER_SPAN: Millis = Millis::from_secs(600);

/// A node whose certificate was used so shortly ago is up, and whoever boots as it is somebody else.
pub const ALIVE_SPAN: Millis = Millis::from_secs(60);

/// How long an ended session is remembered, so that late claims hear the truth and people can read its events.
pub const SESSION_GRACE: Millis = Millis::from_secs(3600);

/// Sessions of one node that are remembered: the live one and those before it.
pub const SESSIONS_PER_NODE_MAX: usize = 3;

/// Events of one session that are kept; of more, the first and the last.
pub const SESSION_EVENTS_MAX: usize = 32;

/// What a node may say in a claim or a start: two public areas and a certificate in base64.
pub const NODE_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The same for what ends an attestation: 1 MiB of event log in base64, and the quote.
pub const NODE_PROOF_BYTES_MAX: usize = 2 << 20;

/// How long a challenge waits for its answer: a slow discrete TPM takes a few seconds.
pub const CHALLENGE_LIFE: Millis = Millis::from_secs(60);

/// Attestations that are worked on at the same time: each costs a few milliseconds of a core. More wait.
pub const ATTESTATIONS_AT_ONCE: usize = 64;

/// Life of a node's token: longer than a boot's rest, shorter than a session may be.
pub const NODE_TOKEN_LIFE: Millis = Millis::from_secs(900);

/// Life of the token by which a node reads its secure cloud-init documents.
pub const SECURE_TOKEN_LIFE: Millis = Millis::from_secs(600);

/// How long a list of the head's keys counts. Nodes fetch it in each boot.
pub const KEYSET_LIFE: Millis = Millis::from_secs(86_400);

/// Octets of all secrets of one node together; keys and keytabs have some kilobytes.
pub const BUNDLE_BYTES_MAX: usize = 4 << 20;

/// Octets of a node's event log: firmware writes some ten to some hundred kilobytes.
pub const EVENT_LOG_BYTES_MAX: usize = 1 << 20;

/// Measurements in it: firmware with many option ROMs writes some hundreds.
pub const EVENT_LOG_EVENTS_MAX: usize = 4096;

/// Values of secrets that a node was given and that are remembered: some dozens of secrets, changed each month for
/// two years. Of more the oldest are forgotten.
pub const HELD_MAX: usize = 1024;

/// Findings of one attestation that are remembered; there are fewer kinds.
pub const FINDINGS_MAX: usize = 32;

/// TPMs that one request lets in: all nodes of the largest site would be a body of 20 MB, and nobody compares more
/// codes than these at once.
pub const ENROL_LIST_MAX: usize = 10_000;

/// How long a group's TPMs may be let in without codes: a working day in the machine room.
pub const ENROL_WINDOW_MAX: Millis = Millis::from_secs(8 * 3600);

/// Kernels and sets of initrds whose digests are remembered: each version of each image that boots, with room. Each
/// takes some hundred octets.
pub const MEASURED_FILES_MAX: usize = 1024;

/// A command line that is remembered with its boot. Linux takes 2048 octets on x86 and arm64.
pub const COMMAND_LINE_BYTES_MAX: usize = 8 << 10;
