//! The life of a boot session: what becomes of it when its node boots, fetches, claims, attests and is done.
//!
//! ```text
//! armed ──script──▶ scripted ──claim──▶ claimed ──attest──▶ delivered ──▶ sealed
//!    any ──time──▶ expired   any ──operator, fraud──▶ revoked   any ──the node boots again──▶ superseded
//! ```
//!
//! Two rules hold on every path: of all keys that claim, the first alone is answered; and nothing is answered
//! after the session is sealed. Both fail closed: whoever can take a node's address can keep it from its
//! secrets, but cannot get them without that the session is revoked and somebody is told.
//!
//! **Absent:** clock, dice, the nonce itself (its hash is enough) and what is delivered.

mod arm;

use std::net::{Ipv4Addr, SocketAddrV4};

use subtle::{Choice, ConstantTimeEq as _};

use crate::base::limits::{ANSWER_AGAIN, GRANT_TRIES_MAX, GRANTS_MAX, SEAL_AFTER, SESSION_EVENTS_MAX};
use crate::base::{Digest, Level, Millis, Timestamp};
use crate::model::SessionState;
use crate::model::boot_session::{ArmedBy, BootSession, Delivery, Given, Held, SessionEvent};

pub use crate::model::boot_session::Answered;
pub use arm::{ArmOn, Start, start};

/// Why something is not given. What the asker may know of it is the caller's matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// As if there were no such session.
    #[error("there is no such boot session for this address")]
    Unknown,
    #[error("this boot session has ended: {}", .0.as_str())]
    Ended(SessionState),
    #[error("the nonce is wrong")]
    Nonce,
    #[error("nothing is given out in this boot: {}", .0.as_str())]
    Held(Held),
    #[error("another key has claimed this boot session; it is revoked")]
    OtherKey,
    #[error("this was answered once, and not again so long after")]
    Late,
    #[error("the boot session is not so far: it is {}", .0.as_str())]
    Early(SessionState),
}

/// A claim that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redeemed {
    /// The first: `deliver` follows before the session is stored.
    First,
    /// The same key again: the same answer.
    Again(Vec<u8>),
}

impl BootSession {
    /// True if something can still become of it.
    #[must_use]
    pub fn is_live(&self, epoch: u64, now: Timestamp) -> bool {
        !self.state.is_final() && self.epoch == epoch && now < self.expires
    }

    /// True if it was claimed and nothing was attested in it yet.
    #[must_use]
    pub fn awaits_attestation(&self) -> bool {
        !self.state.is_final() && self.claim.is_some() && self.attestation.is_none()
    }

    /// An operator vouches for this boot.
    ///
    /// # Errors
    /// It has ended.
    pub fn release(&mut self, who: &str, now: Timestamp) -> Result<(), Refusal> {
        self.pass_time(now);
        if self.state.is_final() {
            return Err(Refusal::Ended(self.state));
        }
        self.armed_by = ArmedBy::Operator;
        if self.held.take().is_some() {
            self.note(now, false, format!("released by {who}"));
        }
        Ok(())
    }

    /// An operator ends it, or something that looks like fraud does. Ended ones stay as they are.
    pub fn revoke(&mut self, why: String, alarm: bool, now: Timestamp) {
        if !self.state.is_final() {
            self.end(SessionState::Revoked, now, alarm, why);
        }
    }

    /// The node's script is asked for from one of the node's addresses. From the first on, only that address
    /// counts. True: the script may name the grant. `given` is what it boots; of several scripts the last counts.
    pub fn script(&mut self, from: Ipv4Addr, given: Option<Given>, life: Millis, now: Timestamp) -> bool {
        self.pass_time(now);
        let told = self.may_have_script(from, life, now);
        if told {
            // What was measured for another script is worth nothing.
            let known = self.given.as_deref().is_some_and(|known| {
                given.as_ref().is_some_and(|given| {
                    (&known.command_line, &known.kernel, &known.initrds)
                        == (&given.command_line, &given.kernel, &given.initrds)
                })
            });
            if !known {
                let unknown = vec![None; self.grants.len()];
                self.given = given.map(|given| Box::new(Given { initrd_digests: unknown, ..given }));
            }
        }
        told
    }

    fn may_have_script(&mut self, from: Ipv4Addr, life: Millis, now: Timestamp) -> bool {
        match self.state {
            SessionState::Armed => {
                self.state = SessionState::Scripted;
                self.channel.address = Some(from);
                self.expires = now.plus(life);
                self.note(now, false, format!("its script went to {from}"));
                true
            }
            // The loader asks again after a broken transfer.
            SessionState::Scripted => self.channel.address == Some(from) && self.grants.len() < GRANTS_MAX,
            _ => false,
        }
    }

    /// The archive with a grant is asked for; `nonce` is the hash of the one that would be in it. `measured`: the
    /// kernel, and all initrds with this archive behind them.
    ///
    /// # Errors
    /// It is served to one address, in one state, so many times.
    pub fn grant(
        &mut self,
        from: Ipv4Addr,
        nonce: [u8; 32],
        measured: (Option<Digest>, Option<Digest>),
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.of(from)?;
        self.pass_time(now);
        if self.state != SessionState::Scripted || self.grants.len() >= GRANTS_MAX {
            return Err(Refusal::Unknown);
        }
        self.grants.push(nonce);
        if let Some(given) = &mut self.given {
            given.kernel_digest = measured.0.or(given.kernel_digest);
            given.initrd_digests.push(measured.1);
        }
        self.note(now, false, format!("its grant went to {from}"));
        Ok(())
    }

    /// A claim: `nonce` and `key` are hashes of what it shows.
    ///
    /// # Errors
    /// Why it does not count; the session may be another one after it.
    pub fn redeem(
        &mut self,
        nonce: &[u8; 32],
        key: &[u8; 32],
        from: SocketAddrV4,
        epoch: u64,
        now: Timestamp,
    ) -> Result<Redeemed, Refusal> {
        self.of(*from.ip())?;
        self.enter(epoch, now);
        let right = self.knows(nonce);
        if self.state.is_final() {
            if right && self.state == SessionState::Superseded {
                self.note(
                    now,
                    true,
                    format!("possible-mac-spoof: {from} has the grant of a boot that is over"),
                );
            }
            return Err(Refusal::Ended(self.state));
        }
        if !right {
            self.wrong = self.wrong.saturating_add(1);
            if self.wrong >= GRANT_TRIES_MAX {
                self.revoke(format!("{} wrong nonces, the last from {from}", self.wrong), true, now);
            }
            return Err(Refusal::Nonce);
        }
        if let Some(held) = self.held {
            return Err(Refusal::Held(held));
        }
        match &self.claim {
            None => {
                self.state = SessionState::Claimed;
                self.level = Level::Grant;
                self.claim = Some(Answered { of: *key, to: from, at: now, reply: Vec::new() });
                self.keep_digest_of(nonce);
                self.note(now, false, format!("claimed from {from}"));
                Ok(Redeemed::First)
            }
            Some(claim) if !bool::from(claim.of.ct_eq(key)) => {
                let first = claim.to;
                self.revoke(
                    format!("two keys claim it: the first from {first}, another from {from}"),
                    true,
                    now,
                );
                Err(Refusal::OtherKey)
            }
            Some(claim) if now.since(claim.at) > ANSWER_AGAIN => Err(Refusal::Late),
            Some(claim) => Ok(Redeemed::Again(claim.reply.clone())),
        }
    }

    /// What the first claim is answered. `withheld`: secrets that need more than a grant.
    pub fn answer_claim(&mut self, reply: Vec<u8>, deliveries: Vec<Delivery>, withheld: Vec<String>) {
        if let Some(claim) = &mut self.claim {
            claim.reply = reply;
        }
        self.deliveries.extend(deliveries);
        self.withheld = withheld;
    }

    /// Whether this node may begin to attest.
    ///
    /// # Errors
    /// It has not claimed with this key, or is done.
    pub fn may_attest(
        &mut self,
        key: &[u8; 32],
        from: Ipv4Addr,
        epoch: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.of(from)?;
        self.enter(epoch, now);
        if self.state.is_final() {
            return Err(Refusal::Ended(self.state));
        }
        match &self.claim {
            Some(claim) if bool::from(claim.of.ct_eq(key)) => Ok(()),
            Some(_) => Err(Refusal::OtherKey),
            None => Err(Refusal::Early(self.state)),
        }
    }

    /// The answer to a proof that came before, to the octet; `request` is the hash of it.
    ///
    /// # Errors
    /// It was answered, but another one, or too long ago.
    pub fn attested_before(&self, request: &[u8; 32], now: Timestamp) -> Result<Option<Vec<u8>>, Refusal> {
        match &self.attestation {
            None => Ok(None),
            Some(done) if bool::from(done.of.ct_eq(request)) && now.since(done.at) <= ANSWER_AGAIN => {
                Ok(Some(done.reply.clone()))
            }
            Some(_) => Err(Refusal::Late),
        }
    }

    /// The node's TPM answered, and this is what the node gets for it.
    pub fn attested(
        &mut self,
        level: Level,
        answer: Answered,
        deliveries: Vec<Delivery>,
        withheld: Vec<String>,
    ) {
        let (now, to) = (answer.at, answer.to);
        self.state = SessionState::Attested;
        self.level = self.level.max(level);
        self.note(now, false, format!("attested from {to}: level {level}"));
        self.attestation = Some(answer);
        self.deliveries.extend(deliveries);
        self.withheld = withheld;
        self.state = SessionState::Delivered;
    }

    /// The node says that it is done. Again is as good as once.
    ///
    /// # Errors
    /// It never claimed, or was ended otherwise.
    pub fn seal(
        &mut self,
        key: &[u8; 32],
        from: Ipv4Addr,
        epoch: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.of(from)?;
        self.enter(epoch, now);
        let own = self.claim.as_ref().is_some_and(|claim| bool::from(claim.of.ct_eq(key)));
        match self.state {
            SessionState::Sealed if own => Ok(()),
            state if state.is_final() => Err(Refusal::Ended(state)),
            state if !own => Err(Refusal::Early(state)),
            _ => {
                self.end(SessionState::Sealed, now, false, "sealed by the node".to_owned());
                Ok(())
            }
        }
    }

    /// Carries out what time alone does. True if something changed.
    pub fn pass_time(&mut self, now: Timestamp) -> bool {
        match self.next_deadline() {
            Some((at, state, why)) if now >= at => {
                self.end(state, now, false, why.to_owned());
                true
            }
            _ => false,
        }
    }

    /// When time alone changes something, and what.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Timestamp, SessionState, &'static str)> {
        let expiry = (self.expires, SessionState::Expired, "its time is over");
        // Until then the same answer is given again; a node that waits for its TPM has until the expiry.
        let claimed = self.claim.as_ref().filter(|_| self.withheld.is_empty());
        let quiet = match self.state {
            SessionState::Delivered => self.attestation.as_ref().map(|done| done.at.plus(SEAL_AFTER)),
            SessionState::Claimed => claimed.map(|claim| claim.at.plus(ANSWER_AGAIN)),
            _ => None,
        };
        let seal = quiet.map(|at| (at, SessionState::Sealed, "sealed: the node has all it gets"));
        let next = seal.into_iter().chain([expiry]).min_by_key(|(at, ..)| *at);
        next.filter(|_| !self.state.is_final())
    }

    /// Ends it if it is of another epoch, as in a store that was restored, or if its time is over.
    fn enter(&mut self, epoch: u64, now: Timestamp) {
        if self.epoch != epoch {
            self.revoke("made before the head's state was restored".to_owned(), false, now);
        }
        self.pass_time(now);
    }

    fn of(&self, from: Ipv4Addr) -> Result<(), Refusal> {
        if self.channel.address == Some(from) { Ok(()) } else { Err(Refusal::Unknown) }
    }

    /// Compares with every nonce that was served, whatever the result of the first is.
    fn knows(&self, nonce: &[u8; 32]) -> bool {
        let found = self.grants.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(nonce));
        found.into()
    }

    /// Which of the archives booted is known now.
    fn keep_digest_of(&mut self, nonce: &[u8; 32]) {
        let place = self.grants.iter().position(|known| known == nonce);
        if let Some(given) = &mut self.given {
            given.initrd_digests =
                vec![place.and_then(|place| given.initrd_digests.get(place).copied()).flatten()];
        }
    }

    fn end(&mut self, state: SessionState, now: Timestamp, alarm: bool, why: String) {
        self.state = state;
        // Answers are given again by live sessions only; there is no use for them any more.
        for answered in self.claim.iter_mut().chain(self.attestation.as_mut()) {
            answered.reply = Vec::new();
        }
        self.note(now, alarm, why);
    }

    /// Writes an event down. Of too many, those in the middle are forgotten.
    pub fn note(&mut self, at: Timestamp, alarm: bool, text: String) {
        if self.events.len() >= SESSION_EVENTS_MAX {
            self.events.remove(SESSION_EVENTS_MAX / 2);
        }
        self.events.push(SessionEvent { at, alarm, text });
    }
}

#[cfg(test)]
mod tests;
