//! One-time codes of an app on somebody's phone: TOTP (RFC 6238), six digits each half minute, with SHA-1, because
//! most apps know nothing else and ignore what the link says of it. HMAC does not suffer from what SHA-1 suffers from.
//!
//! **Absent:** the clock, and which code was used last: a code counts once (RFC 6238 section 5.2).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use crate::base::{Timestamp, base32};

/// Octets of a key: the length of SHA-1's output, as RFC 4226 section 4 wants it.
pub const KEY_BYTES: usize = 20;

/// Seconds of one step.
const STEP_S: u64 = 30;

/// Codes are taken from so many steps before and after the present one: clocks of phones differ.
const STEPS_APART: u64 = 1;

/// Six digits.
const CODES: u32 = 1_000_000;

/// The step of a time.
#[must_use]
pub fn step(now: Timestamp) -> u64 {
    now.0 / 1000 / STEP_S
}

/// The code of a step, with leading zeros.
#[must_use]
pub fn code(key: &[u8], step: u64) -> String {
    let number = truncated(key, step) % CODES;
    format!("{number:06}")
}

/// RFC 4226 section 5.3: 31 bits from where the last four bits say.
fn truncated(key: &[u8], step: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let offset = usize::from(tag.as_ref().last().copied().unwrap_or_default() & 0x0f);
    let four = tag.as_ref().iter().skip(offset).take(4);
    four.fold(0_u32, |number, octet| number << 8 | u32::from(*octet)) & 0x7fff_ffff
}

/// The step whose code this is, if it counts now; `last`: the newest step of which a code was taken.
#[must_use]
pub fn matching(key: &[u8], given: &str, now: Timestamp, last: Option<u64>) -> Option<u64> {
    let present = step(now);
    let steps = present.saturating_sub(STEPS_APART)..=present.saturating_add(STEPS_APART);
    let given: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    let fits = |step: &u64| verify_slices_are_equal(code(key, *step).as_bytes(), given.as_bytes()).is_ok();
    steps.filter(fits).find(|step| last.is_none_or(|last| *step > last))
}

/// What apps read from a picture or a link (`otpauth`, as Google Authenticator defined it).
#[must_use]
pub fn link(cluster: &str, user: &str, key: &[u8]) -> String {
    let plain = |text: &str| -> String {
        text.bytes()
            .map(|octet| match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(octet).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let (cluster, secret) = (plain(cluster), base32::encode(key).to_uppercase());
    format!("otpauth://totp/{cluster}:{}?secret={secret}&issuer={cluster}", plain(user))
}

#[cfg(test)]
mod tests {
    use crate::base::Timestamp;
    use crate::engine::token::totp::{code, link, matching, step, truncated};

    const KEY: &[u8] = b"12345678901234567890";

    /// RFC 6238 appendix B, the rows of SHA-1.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (seconds, wanted) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            let step = step(Timestamp(seconds * 1000));
            assert_eq!(truncated(KEY, step) % 100_000_000, wanted, "{seconds}");
            assert_eq!(code(KEY, step), format!("{:06}", wanted % 1_000_000));
        }
    }

    /// RFC 4226 appendix D.
    #[test]
    fn codes_by_counter_are_those_of_the_older_rfc() {
        let wanted = ["755224", "287082", "359152", "969429", "338314", "254676", "287922"];
        for (counter, wanted) in (0_u64..).zip(wanted) {
            assert_eq!(code(KEY, counter), wanted);
        }
    }

    #[test]
    fn a_code_counts_once_and_for_a_minute_and_a_half() {
        let now = Timestamp(1_111_111_111_000);
        let present = step(now);
        for near in [present - 1, present, present + 1] {
            assert_eq!(matching(KEY, &code(KEY, near), now, None), Some(near));
            assert_eq!(matching(KEY, &code(KEY, near), now, Some(near)), None, "it was used");
        }
        for far in [present - 2, present + 2] {
            assert_eq!(matching(KEY, &code(KEY, far), now, None), None);
        }
        assert_eq!(matching(KEY, " 050 471 ", now, None), Some(present));
        for bad in ["", "0504710", "05047", "050472", "050471x", "\u{0660}50471"] {
            assert_eq!(matching(KEY, bad, now, None), None, "{bad}");
        }
        assert_eq!(matching(KEY, "000000", Timestamp(0), None), None);
    }

    #[test]
    fn a_link_holds_what_apps_read() {
        assert_eq!(
            link("demo site", "a@b", KEY),
            "otpauth://totp/demo%20site:a%40b?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=demo%20site"
        );
    }
}
