//! The one place that reads clocks.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::Timestamp;

/// The current time. A clock before 1970 reads as 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Time for spans: it begins with the process and is never set, so that a head whose clock was wrong at its start
/// neither stalls nor rushes when NTP puts it right. It is no date.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn steady() -> Timestamp {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
