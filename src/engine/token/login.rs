//! Slows down those who guess passwords, without giving them a way to lock an owner out.
//!
//! Each try costs its address one of few in a minute. Wrong ones also cost the account, from wherever they come,
//! and after some it takes tries only from addresses from which it was logged in before: many machines that guess
//! one name get nowhere, and its owner at the usual desk notices nothing. The Unix socket asks nobody.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::limits::{
    ACCOUNT_LOCK, ACCOUNT_LOCK_MAX, ACCOUNT_TRIES_MAX, ACCOUNTS_MAX, DESK_LIFE, DESKS_MAX,
};
use crate::base::{Millis, Timestamp};
use crate::engine::token::throttle::{Throttle, whole};

/// Counts tries by address and by account.
#[derive(Debug, Default)]
pub struct Logins {
    addresses: Throttle,
    accounts: HashMap<String, Account>,
    /// From where which account was logged in, and when.
    desks: HashMap<(String, IpAddr), Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    wrong: u32,
    last: Timestamp,
    locked_until: Timestamp,
}

impl Logins {
    /// A try, which counts as wrong until `on_right` says otherwise: of tries that come at once none is free.
    ///
    /// # Errors
    /// How long this one must wait.
    pub fn on_try(&mut self, name: &str, from: IpAddr, now: Timestamp) -> Result<(), Millis> {
        if let Some(wait) = self.addresses.wait(from, now) {
            return Err(wait);
        }
        let is_known = self.is_known(name, from, now);
        if let Some(account) = self.accounts.get(name)
            && !is_known
            && account.locked_until > now
        {
            return Err(account.locked_until.since(now));
        }
        self.addresses.on_wrong(from, now);
        if is_known {
            return Ok(());
        }
        self.make_room(now);
        let fresh = Account { wrong: 0, last: now, locked_until: Timestamp(0) };
        let account = self.accounts.entry(name.to_owned()).or_insert(fresh);
        if now.since(account.last) > ACCOUNT_LOCK_MAX {
            *account = fresh;
        }
        account.wrong = account.wrong.saturating_add(1);
        account.last = now;
        if account.wrong >= ACCOUNT_TRIES_MAX {
            let doublings = account.wrong.saturating_sub(ACCOUNT_TRIES_MAX).min(16);
            let lock = Millis(ACCOUNT_LOCK.0.saturating_mul(1 << doublings)).min(ACCOUNT_LOCK_MAX);
            account.locked_until = now.plus(lock);
        }
        Ok(())
    }

    /// The try was right.
    pub fn on_right(&mut self, name: &str, from: IpAddr, now: Timestamp) {
        self.addresses.forgive(from);
        self.accounts.remove(name);
        let desk = (name.to_owned(), whole(from));
        if self.desks.len() >= DESKS_MAX && !self.desks.contains_key(&desk) {
            let oldest = self.desks.iter().min_by_key(|(_, at)| **at).map(|(desk, _)| desk.clone());
            oldest.map(|oldest| self.desks.remove(&oldest));
        }
        self.desks.insert(desk, now);
    }

    fn is_known(&self, name: &str, from: IpAddr, now: Timestamp) -> bool {
        let desk = self.desks.get(&(name.to_owned(), whole(from)));
        desk.is_some_and(|at| now.since(*at) < DESK_LIFE)
    }

    /// Forgets the account that was tried longest ago, if too many are counted.
    fn make_room(&mut self, now: Timestamp) {
        if self.accounts.len() < ACCOUNTS_MAX {
            return;
        }
        self.accounts.retain(|_, account| now.since(account.last) <= ACCOUNT_LOCK_MAX);
        if self.accounts.len() >= ACCOUNTS_MAX
            && let Some(oldest) =
                self.accounts.iter().min_by_key(|(_, account)| account.last).map(|(name, _)| name.clone())
        {
            self.accounts.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "the numbers of a test are small")]

    use std::net::{IpAddr, Ipv4Addr};

    use crate::base::limits::{ACCOUNT_LOCK, ACCOUNT_LOCK_MAX, ACCOUNT_TRIES_MAX, ACCOUNTS_MAX};
    use crate::base::{Millis, Timestamp};
    use crate::engine::token::Logins;

    const START: Timestamp = Timestamp(1_000_000);

    fn host(index: u32) -> IpAddr {
        Ipv4Addr::from_bits(0xc000_0200 + index).into()
    }

    #[test]
    fn many_machines_that_guess_one_name_get_nowhere_and_its_owner_gets_in() {
        let mut logins = Logins::default();
        let desk = host(1);
        logins.on_try("alice", desk, START).unwrap();
        logins.on_right("alice", desk, START);
        let tried = (100..1000).filter(|index| logins.on_try("alice", host(*index), START).is_ok()).count();
        assert_eq!(tried, usize::try_from(ACCOUNT_TRIES_MAX).unwrap());
        assert_eq!(logins.on_try("alice", host(2000), START), Err(ACCOUNT_LOCK));
        assert_eq!(logins.on_try("alice", desk, START), Ok(()), "the owner's desk");
        assert_eq!(logins.on_try("bob", host(2000), START), Ok(()), "another account");
    }

    #[test]
    fn a_lock_grows_to_its_end_and_passes() {
        let (mut logins, mut now) = (Logins::default(), START);
        let mut waits = Vec::new();
        for index in 0..20 {
            if let Err(wait) = logins.on_try("alice", host(index), now) {
                waits.push(wait);
                now = now + wait;
                logins.on_try("alice", host(100 + index), now).unwrap();
            }
        }
        assert_eq!(waits[..3], [ACCOUNT_LOCK, Millis(ACCOUNT_LOCK.0 * 2), Millis(ACCOUNT_LOCK.0 * 4)]);
        assert_eq!(waits.last(), Some(&ACCOUNT_LOCK_MAX));
        let later = now + ACCOUNT_LOCK_MAX + Millis(1);
        assert_eq!(logins.on_try("alice", host(999), later), Ok(()));
        assert_eq!(logins.on_try("alice", host(998), later), Ok(()), "the count began anew");
    }

    #[test]
    fn an_address_waits_whatever_names_it_tries_and_right_ones_are_free() {
        let mut logins = Logins::default();
        for _ in 0..100 {
            logins.on_try("alice", host(1), START).unwrap();
            logins.on_right("alice", host(1), START);
        }
        let tried =
            (0..100).filter(|name| logins.on_try(&format!("u{name}"), host(2), START).is_ok()).count();
        assert_eq!(tried, 5);
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut logins = Logins::default();
        for index in 0..u32::try_from(ACCOUNTS_MAX).unwrap() + 10 {
            logins.on_try(&format!("u{index}"), host(index), START).unwrap();
        }
        assert_eq!(logins.accounts.len(), ACCOUNTS_MAX);
    }
}
