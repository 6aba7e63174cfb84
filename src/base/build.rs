//! When this program was built: no clock that is set is earlier.

use crate::base::Timestamp;

/// The time that whoever packages says (SOURCE_DATE_EPOCH, in seconds); else when this line was last touched, so that
/// the same source makes the same program.
pub const BUILT: Timestamp = Timestamp(match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => seconds(text.as_bytes()).saturating_mul(1000),
    None => 1_793_491_200_000, // 2026-11-01
});

/// The number that these digits are.
const fn seconds(mut digits: &[u8]) -> u64 {
    let mut number = 0_u64;
    while let [digit, rest @ ..] = digits {
        assert!(digit.is_ascii_digit(), "SOURCE_DATE_EPOCH is no number of seconds");
        number = number.saturating_mul(10).saturating_add((*digit - b'0') as u64);
        digits = rest;
    }
    number
}

#[cfg(test)]
mod tests {
    use crate::base::build::{BUILT, seconds};

    #[test]
    fn the_time_of_a_build_is_read_from_digits() {
        assert_eq!(seconds(b"1793491200"), 1_793_491_200);
        assert_eq!(seconds(b""), 0);
        const { assert!(BUILT.0 >= 1_735_689_600_000, "no build of this program is older than 2025") };
    }
}
