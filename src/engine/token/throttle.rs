//! Slows down those who guess secrets: so many wrong ones of an address within a span, then it must wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::base::limits::{SECRET_ADDRESSES_MAX, SECRET_SPAN, SECRET_TRIES_MAX};
use crate::base::{Millis, Timestamp};

/// Counts wrong secrets by address.
#[derive(Debug, Default)]
pub struct Throttle {
    tries: HashMap<IpAddr, Tries>,
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    since: Timestamp,
    count: u32,
}

impl Throttle {
    /// How long this address must wait; None if it may try.
    #[must_use]
    pub fn wait(&self, who: IpAddr, now: Timestamp) -> Option<Millis> {
        let tries = self.tries.get(&whole(who))?;
        let passed = now.since(tries.since);
        let left = SECRET_SPAN.0.checked_sub(passed.0).filter(|left| *left > 0)?;
        (tries.count >= SECRET_TRIES_MAX).then_some(Millis(left))
    }

    /// A wrong secret. If too many addresses are counted, the one counted longest ago is forgotten.
    pub fn on_wrong(&mut self, who: IpAddr, now: Timestamp) {
        let who = whole(who);
        if self.tries.len() >= SECRET_ADDRESSES_MAX && !self.tries.contains_key(&who) {
            self.tries.retain(|_, tries| now.since(tries.since) < SECRET_SPAN);
            if self.tries.len() >= SECRET_ADDRESSES_MAX
                && let Some(oldest) =
                    self.tries.iter().min_by_key(|(_, tries)| tries.since).map(|(who, _)| *who)
            {
                self.tries.remove(&oldest);
            }
        }
        let tries = self.tries.entry(who).or_insert(Tries { since: now, count: 0 });
        if now.since(tries.since) >= SECRET_SPAN {
            *tries = Tries { since: now, count: 0 };
        }
        tries.count = tries.count.saturating_add(1);
    }

    /// What was counted as wrong was right.
    pub fn forgive(&mut self, who: IpAddr) {
        if let Some(tries) = self.tries.get_mut(&whole(who)) {
            tries.count = tries.count.saturating_sub(1);
        }
    }
}

/// What counts as one address: a host that speaks IPv6 has a subnet of 64 bits to itself.
pub(crate) fn whole(who: IpAddr) -> IpAddr {
    match who.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use crate::base::Timestamp;
    use crate::base::limits::{SECRET_ADDRESSES_MAX, SECRET_SPAN, SECRET_TRIES_MAX};
    use crate::engine::token::Throttle;

    #[test]
    fn after_some_wrong_secrets_an_address_waits_and_others_do_not() {
        let (mut throttle, start) = (Throttle::default(), Timestamp(1_000_000));
        let (who, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..SECRET_TRIES_MAX {
            assert_eq!(throttle.wait(who, start), None);
            throttle.on_wrong(who, start);
        }
        assert_eq!(throttle.wait(who, start), Some(SECRET_SPAN));
        assert_eq!(throttle.wait(other, start), None);
        let later = start + SECRET_SPAN;
        assert_eq!(throttle.wait(who, later), None);
        throttle.on_wrong(who, later);
        assert_eq!(throttle.wait(who, later), None, "the count began anew");
    }

    #[test]
    fn neighbours_in_an_ipv6_subnet_are_one() {
        let mut throttle = Throttle::default();
        for host in 0..SECRET_TRIES_MAX {
            throttle.on_wrong(format!("2001:db8::{host:x}").parse().unwrap(), Timestamp(0));
        }
        assert!(throttle.wait("2001:db8::ffff".parse().unwrap(), Timestamp(0)).is_some());
        assert!(throttle.wait("2001:db8:0:1::1".parse().unwrap(), Timestamp(0)).is_none());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded() {
        let mut throttle = Throttle::default();
        for index in 0..u32::try_from(SECRET_ADDRESSES_MAX).unwrap() + 10 {
            throttle.on_wrong(IpAddr::V4(index.into()), Timestamp(u64::from(index)));
        }
        assert_eq!(throttle.tries.len(), SECRET_ADDRESSES_MAX);
    }
}
