//! Bounds of boot records and of what machines log while they boot.

use crate::base::Millis;

/// Things seen that wait for the recorder; it looks ten times a second, and a storm makes some thousands in that
/// time. Beyond that they are dropped, counted, and the records say that something is missing.
pub const RECORD_QUEUE_PLACES: usize = 16_384;

/// Questions to the recorder that wait; more wait at who asks.
pub const RECORD_QUESTIONS: usize = 64;

/// Things seen that are taken in before a question is answered.
pub const RECORD_ROUND: usize = 1024;

/// Machines of which records are kept. Of more, those that nobody declared go first, then those heard longest ago.
pub const RECORD_MACHINES_MAX: usize = 100_000;

/// Machines among them that nobody declared: whoever invents hardware addresses must not fill the disk.
pub const RECORD_STRANGERS_MAX: usize = 2_000;

/// Attempts of one machine that are kept, unless the configuration says otherwise.
pub const RECORD_ATTEMPTS: usize = 20;

/// Attempts of one machine that may be kept: more than anybody looks at, and of one machine read at once.
pub const RECORD_ATTEMPTS_MAX: usize = 100;

/// Steps of one attempt: a boot has some ten, and each file of an odd loader is one more.
pub const RECORD_STEPS_MAX: usize = 40;

/// Characters of a text that machines have a say in.
pub const RECORD_TEXT_CHARS_MAX: usize = 160;

/// Lines of its log that one attempt keeps: the first of them and the last.
pub const RECORD_LOG_LINES_MAX: usize = 60;

/// Addresses of one attempt.
pub const RECORD_ADDRESSES_MAX: usize = 8;

/// Attempts that are written in one job of the store, in which ACKs of DHCP wait too.
pub const RECORD_WRITES_MAX: usize = 256;

/// How long an attempt that goes on may differ from what is on the disk. What ended is written at once.
pub const RECORD_WRITE_SPAN: Millis = Millis::from_secs(15);

/// Durations that a limit is learned from, of one step of one family of siblings.
pub const PATIENCE_SAMPLES: usize = 128;

/// So many must be known before a limit follows from them.
pub const PATIENCE_SAMPLES_MIN: usize = 20;

/// Families whose durations are remembered.
pub const PATIENCE_FAMILIES_MAX: usize = 1024;

/// A limit that was learned is the 99th percentile, so many times.
pub const PATIENCE_MARGIN: u64 = 3;

/// No limit that was learned is shorter: a switch port that comes back takes this long.
pub const PATIENCE_MIN: Millis = Millis::from_secs(20);

/// No limit that was learned is longer.
pub const PATIENCE_MAX: Millis = Millis::from_secs(1800);

/// An initrd of this size has been seen to fit no more below 4 GiB on UEFI machines (rhboot/grub2#30, ipxe/ipxe#526).
pub const INITRD_BIG_BYTES: u64 = 200 << 20;

/// A loader by TFTP is slow below this many octets per second.
pub const TFTP_SLOW_RATE: u64 = 2 << 20;

/// Octets of packets of one attempt that are kept: some forty DHCP exchanges.
pub const CAPTURE_BYTES_MAX: usize = 16 << 10;

/// Octets of packets of all attempts that are kept in memory; the machines heard longest ago give way.
pub const CAPTURES_BYTES_MAX: usize = 64 << 20;

/// Failed attempts whose packets are kept on the disk: with `CAPTURE_BYTES_MAX` 64 MiB.
pub const CAPTURES_STORED_MAX: usize = 4096;

/// The longest datagram of a log: what netconsole sends, with room (a line of the kernel has 1 kB).
pub const LOG_DATAGRAM_BYTES_MAX: usize = 2048;

/// Lines of all machines in a second that are taken in; more are dropped and counted. A kernel that starts writes
/// some two thousand.
pub const LOG_LINES_PER_SECOND: u32 = 20_000;
