//! Bounds of the door and of its log: who may come in, how often it is tried, what is remembered of it.

use crate::base::Millis;

/// Characters of one text in a line of the audit log: a request line with a long name, a list of eight things.
pub const AUDIT_TEXT_CHARS_MAX: usize = 512;

/// Lines of the audit log in one answer.
pub const AUDIT_PAGE_LINES_MAX: usize = 1000;

/// Lines of the audit log that one question may look at. The store's writer does it between two commits, and
/// DHCP waits for it: 4096 lines take below 10 ms.
pub const AUDIT_SCAN_LINES_MAX: usize = 4096;

/// Lines between two signed checkpoints of the audit log.
pub const AUDIT_CHECKPOINT_LINES: u64 = 1000;

/// The longest that new lines of the audit log wait for a signed checkpoint.
pub const AUDIT_CHECKPOINT_SPAN: Millis = Millis::from_secs(3600);

/// Lines of the audit log that go at once; the store's other writers wait meanwhile.
pub const AUDIT_DROP_LINES_MAX: u64 = 10_000;

/// Repeated refusals of one address within this span are one line and a count.
pub const REFUSAL_SPAN: Millis = Millis::from_secs(60);

/// Addresses whose refusals are counted apart: a scan of some subnets. Those beyond are counted together.
pub const REFUSAL_ADDRESSES_MAX: usize = 4096;

/// Memory of one password hash: what OWASP and RFC 9106 section 4 want where memory is scarce.
pub const PASSWORD_MEMORY_KIB: u32 = 64 << 10;

/// Passes of one password hash (RFC 9106 section 4, second choice): a fifth of a second on a head.
pub const PASSWORD_PASSES: u32 = 3;

/// Passwords that are worked on at a time: with their memory 128 MiB.
pub const PASSWORD_TURNS: usize = 2;

/// Logins that wait for their turn: some seconds' worth. Those beyond are told to come back.
pub const PASSWORD_WAITERS_MAX: usize = 30;

/// Shortest password (NIST SP 800-63B-4 asks for 15 without, 8 with a second factor; we count tries too).
pub const PASSWORD_CHARS_MIN: usize = 12;

/// Longest password: no passphrase is longer, and hashing takes no longer for it.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Wrong passwords for one account before it takes tries from its usual addresses only.
pub const ACCOUNT_TRIES_MAX: u32 = 5;

/// How long an account is locked at first; each further wrong password doubles it.
pub const ACCOUNT_LOCK: Millis = Millis::from_secs(60);

/// The longest that an account is locked.
pub const ACCOUNT_LOCK_MAX: Millis = Millis::from_secs(15 * 60);

/// Names whose wrong passwords are counted at a time.
pub const ACCOUNTS_MAX: usize = 4096;

/// Pairs of account and address that are remembered as usual.
pub const DESKS_MAX: usize = 4096;

/// How long a successful login makes an address usual.
pub const DESK_LIFE: Millis = Millis::from_secs(30 * 86_400);

/// Users of one head: the administrators of the largest site, with room.
pub const USERS_MAX: usize = 1000;

/// Sessions of one user; the oldest ends when one more begins.
pub const SESSIONS_PER_USER_MAX: usize = 20;

/// After so long without a request a session ends.
pub const LOGIN_IDLE: Millis = Millis::from_secs(30 * 60);

/// After so long a session ends in any case.
pub const LOGIN_LIFE: Millis = Millis::from_secs(12 * 3600);

/// Areas of the API to which one token is limited.
pub const TOKEN_AREAS_MAX: usize = 16;

/// How long the code of the first visit holds: somebody installs a head and comes back the next day.
pub const CLAIM_LIFE: Millis = Millis::from_secs(86_400);

/// Wrong codes before a new one is made. With 128 bits none is guessed; a new one tells that somebody tries.
pub const CLAIM_TRIES_MAX: u32 = 10;

/// What shows a secret's value, or makes a new way in, needs a password that is no older (NIST SP 800-63B-4 leaves it
/// to us; long enough to look for a phone, too short for a coffee).
pub const REAUTH_SPAN: Millis = Millis::from_secs(5 * 60);

/// A provider's word that somebody was asked for a password counts so long.
pub const OIDC_FRESH: Millis = REAUTH_SPAN;

/// How long a login at a provider may take: a password, a phone, a page with conditions.
pub const OIDC_LOGIN_LIFE: Millis = Millis::from_secs(10 * 60);

/// Longest answer of a provider; key sets of large ones have 50 kB.
pub const OIDC_BYTES_MAX: usize = 1 << 20;

/// How long a provider may take to answer; a person looks at a white page meanwhile.
pub const OIDC_PATIENCE: Millis = Millis::from_secs(10);

/// Logins that are exchanged with a provider at a time; those beyond are told to come back.
pub const OIDC_AT_ONCE: usize = 8;

/// How long a provider's addresses and keys are kept.
pub const OIDC_KEEP: Millis = Millis::from_secs(10 * 60);

/// Not more often than so a provider is asked for keys again because of a token that names an unknown one.
pub const OIDC_RETRY: Millis = Millis::from_secs(30);

/// Groups of one person that are looked at; Active Directory ends at 1015.
pub const OIDC_GROUPS_MAX: usize = 2048;

/// Longest name that a provider may give somebody.
pub const OIDC_NAME_CHARS_MAX: usize = 128;
