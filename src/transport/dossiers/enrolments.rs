//! The answers that an attestation asks for: from what is declared, and from what is remembered.

use crate::base::limits::FINDINGS_MAX;
use crate::base::{Digest, Millis};
use crate::engine::attest::Finding;
use crate::engine::attest::attestor::{Boot, Enrolments, Seen, Shown, Standing};
use crate::engine::attest::policy::{Expected, FIRMWARE, Outcome};
use crate::engine::attest::quote::Starts;
use crate::engine::trust::attestor::{Ask, Denied};
use crate::model::NodeId;
use crate::model::identity::{Attested, EkFingerprint, Make, Pending, TpmStart};
use crate::store::StoreError;
use crate::transport::dossiers::{Altered, Dossiers};

/// A TPM that waits and is shown again is written down again after this long: nodes ask every few seconds.
const SHOWN_AGAIN: Millis = Millis::from_secs(60);

impl Enrolments for Dossiers {
    fn standing(&self, node: NodeId) -> Standing {
        match self.snapshot.load().inventory.identities.get(&node) {
            Some(identity) if identity.revoked => Standing::Revoked,
            Some(identity) => identity.ek.map_or(Standing::Unknown, Standing::Enrolled),
            None => self.pending(node).map_or(Standing::Unknown, |pending| Standing::Pending(pending.ek)),
        }
    }

    fn holder(&self, ek: &EkFingerprint) -> Option<NodeId> {
        self.snapshot.load().inventory.holder(ek)
    }

    fn shown(&self, ask: &Ask<'_>, shown: &Shown) -> Standing {
        let (epoch, from) = (self.sessions.epoch(), ask.session.channel.address);
        let altered = self.alter(ask.node.id, |dossier| {
            let former = dossier.pending.take().filter(|pending| pending.epoch == epoch);
            let same = former.as_ref().is_some_and(|pending| pending.ek == shown.ek);
            let recent = former.as_ref().is_some_and(|pending| ask.now.since(pending.last) < SHOWN_AGAIN);
            let in_session = former.as_ref().is_some_and(|pending| pending.session == ask.session.id);
            let others = former.as_ref().map_or(0, |pending| pending.others);
            let first = former.as_ref().filter(|_| same).map_or(ask.now, |pending| pending.first);
            let other = former.as_ref().filter(|_| !same).map(|pending| pending.ek);
            dossier.pending = if same && recent && in_session {
                former
            } else {
                let others = others.saturating_add(u32::from(other.is_some()));
                let (ek, make, last, session) = (shown.ek, make(shown), ask.now, ask.session.id);
                Some(Pending { ek, make, first, last, from, session, epoch, others })
            };
            (same, other)
        });
        match altered {
            Ok(Altered { outcome: (_, Some(other)), .. }) => {
                let text = format!("shows the TPM {}, and {} waited before", shown.ek.code(), other.code());
                self.flag(ask.node.id, text);
            }
            Ok(Altered { outcome: (false, None), .. }) => {
                self.tell(ask.node.id, false, &format!("its TPM waits for approval: {}", shown.ek.code()));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a TPM that waits is not written down"),
        }
        Standing::Pending(shown.ek)
    }

    fn conflict(&self, node: NodeId, holder: NodeId) {
        self.flag(node, format!("shows the TPM of {}", self.name(holder)));
        self.flag(holder, format!("its TPM is shown by {}", self.name(node)));
    }

    fn mismatch(&self, node: NodeId, shown: &Shown) {
        let text =
            format!("a machine in its place shows another TPM than the enrolled one: {}", shown.ek.code());
        self.flag(node, text);
    }

    fn boot(&self, ask: &Ask<'_>) -> Boot {
        let dossier = self.get(ask.node.id);
        let own =
            self.snapshot.load().inventory.identities.get(&ask.node.id).and_then(|identity| identity.ek);
        let start = dossier.start.filter(|start| Some(start.ek) == own);
        let starts = Starts {
            delivered: start.map(|start| start.count),
            session: start.filter(|start| start.session == ask.session.id).map(|start| start.count),
        };
        let pinned = dossier.pinned.into_iter().collect();
        let given = ask.session.given.as_deref().cloned().unwrap_or_default();
        let expected = Expected {
            loaders: self.measures.loaders(),
            kernel: given.kernel_digest,
            command_line: given.command_line,
            // After the claim it is one: of the archive whose grant was redeemed.
            initrd: given.initrd_digests.first().copied().flatten(),
            pinned,
        };
        Boot { mode: self.policy(ask.node).pcr, expected, starts }
    }

    fn attested(&self, ask: &Ask<'_>, seen: Seen<'_>) -> Result<(), Denied> {
        let denied = |status, text: String| Denied { status, text, alarm: false };
        let own = self.snapshot.load().inventory.identities.get(&ask.node.id).cloned();
        let own = own.filter(|identity| !identity.revoked).and_then(|identity| identity.ek);
        // Its challenge may have been made before an administrator changed his mind.
        let Some(ek) = own.filter(|own| *own == seen.ek) else {
            return Err(denied(403, format!("the TPM of node {} is not enrolled any more", ask.node.name)));
        };
        let findings: Vec<String> = match seen.outcome {
            Outcome::Recorded(findings) => {
                findings.iter().take(FINDINGS_MAX).map(ToString::to_string).collect()
            }
            Outcome::Unchecked | Outcome::Proven | Outcome::Refused(_) => Vec::new(),
        };
        let start = TpmStart { ek, count: seen.quoted.reset_count, session: ask.session.id };
        let attested = Attested { at: ask.now, level: seen.level, findings: findings.clone() };
        let altered = self.alter(ask.node.id, |dossier| {
            // Looked at once more: another attestation may have been faster.
            let used = dossier.start.filter(|known| known.ek == ek && known.session != start.session);
            if used.is_some_and(|used| used.count >= start.count) {
                return false;
            }
            (dossier.start, dossier.last) = (Some(start), Some(attested));
            if dossier.pinned.is_empty() && *seen.outcome != Outcome::Unchecked {
                let firmware = seen.values.iter().filter(|(pcr, _)| FIRMWARE.contains(pcr));
                dossier.pinned = firmware.map(|(pcr, value)| (*pcr, Digest(*value))).collect();
            }
            true
        });
        let unwritten =
            |error: StoreError| denied(503, format!("the attestation cannot be written down: {error}"));
        if !altered.and_then(Altered::block).map_err(unwritten)? {
            return Err(denied(403, "this start of the TPM has had its secrets".to_owned()));
        }
        if let Outcome::Recorded(found) = seen.outcome {
            let alarm = found.iter().any(Finding::is_alarm);
            self.tell(
                ask.node.id,
                alarm,
                &format!("attested at level {}: {}", seen.level, findings.join("; ")),
            );
        }
        Ok(())
    }
}

fn make(shown: &Shown) -> Make {
    let (manufacturer, chain) = match &shown.certificate {
        None => (None, "none".to_owned()),
        Some(Ok(certificate)) => (certificate.manufacturer.clone(), certificate.chain.as_str().to_owned()),
        Some(Err(error)) => (None, error.to_string()),
    };
    Make { vendor: shown.vendor.clone(), firmware: shown.firmware.clone(), manufacturer, chain }
}
