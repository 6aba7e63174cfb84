//! Bounds of secrets and of the keys of tokens.

/// Former keys of tokens that still count: eight rotations within the longest life of a token.
pub const TOKEN_KEYS_FORMER_MAX: usize = 16;

/// Octets of one secret: a keytab or a certificate with its chain has a tenth of it.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// Secrets that people declare. Host keys that the head makes for each node do not count.
pub const SECRETS_MAX: usize = 1000;

/// Versions of a secret that are kept: enough to go back over a bad week. Beyond that the oldest goes.
pub const SECRET_VERSIONS_MAX: usize = 16;

/// Sealed octets of all secrets that people declare: they lie in memory, in every backup, and are sealed anew in a
/// rotation.
pub const SECRETS_BYTES_MAX: usize = 64 << 20;

/// Secrets in one change of a rotation, so that a commit stays below some megabytes.
pub const SECRETS_PER_CHANGE_MAX: usize = 64;
