//! The two messages of an attestation as a head judges them: `/node/v1/attest/start` and `…/finish`.
//!
//! Whose key is enrolled, and what a node was given to boot, stands elsewhere and is asked for by [`Enrolments`].

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use serde_json::{Value, json};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::base::Level;
use crate::base::limits::EVENT_LOG_BYTES_MAX;
use crate::engine::attest::binding::{extra_data, proves};
use crate::engine::attest::chain::{self, ChainError, EkCertificate};
use crate::engine::attest::keys::{EkFingerprint, check_ak, check_ek};
use crate::engine::attest::policy::{Expected, Mode, Outcome, judge};
use crate::engine::attest::quote::{self, PcrValues, Quoted, Starts, Wanted};
use crate::engine::attest::{binding, credential};
use crate::engine::trust::attestor::{Ask, Attestor, Challenge, Denied, Pending, Proof};
use crate::model::NodeId;
use crate::wire::tpm::{PCRS, Public};

/// Octets of one field of a message, but for the event log.
const FIELD_BYTES_MAX: usize = 8 << 10;

/// Octets of what a TPM says of its make.
const LABEL_BYTES_MAX: usize = 32;

/// Where a node stands with its TPM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It showed none yet.
    Unknown,
    /// It showed this one, and nobody has approved it.
    Pending(EkFingerprint),
    Enrolled(EkFingerprint),
    /// It is to have nothing any more.
    Revoked,
}

/// What a node showed of its TPM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    pub ek: EkFingerprint,
    /// TPM2B_PUBLIC.
    pub ek_public: Vec<u8>,
    /// None: it has no certificate.
    pub certificate: Option<Result<EkCertificate, ChainError>>,
    /// By its own word, such as `IBM`, `IFX`.
    pub vendor: String,
    pub firmware: String,
}

/// What is expected of a boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boot {
    pub mode: Mode,
    pub expected: Expected,
    pub starts: Starts,
}

/// What an attestation showed.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The key that answered the challenge.
    pub ek: EkFingerprint,
    pub quoted: Quoted,
    pub values: &'a PcrValues,
    pub level: Level,
    pub outcome: &'a Outcome,
}

/// Who knows the nodes' TPMs.
pub trait Enrolments: Send + Sync {
    fn standing(&self, node: NodeId) -> Standing;

    /// The node for which this key is enrolled.
    fn holder(&self, ek: &EkFingerprint) -> Option<NodeId>;

    /// A node that is not enrolled shows its TPM. Returns where it stands now: a site may enrol it at once.
    fn shown(&self, ask: &Ask<'_>, shown: &Shown) -> Standing;

    /// A node shows a key that is enrolled for another one: both are to be looked at.
    fn conflict(&self, node: NodeId, holder: NodeId);

    /// A node that is enrolled shows another key than its own.
    fn mismatch(&self, node: NodeId, shown: &Shown);

    fn boot(&self, ask: &Ask<'_>) -> Boot;

    /// An attestation counts. The start of the TPM is used up by it, and that is durable on return: nothing may be
    /// given out before.
    ///
    /// # Errors
    /// In the meantime the start was used up, or the key taken from the node; or this cannot be written down.
    fn attested(&self, ask: &Ask<'_>, seen: Seen<'_>) -> Result<(), Denied>;
}

/// Attests TPM 2.0.
pub struct TpmAttestor {
    enrolments: Arc<dyn Enrolments>,
    /// Certificates of makers of TPMs, DER.
    issuers: Vec<Vec<u8>>,
    /// The PCR that a node extends when it has its secrets.
    latch: u8,
}

impl TpmAttestor {
    #[must_use]
    pub fn new(enrolments: Arc<dyn Enrolments>, issuers: Vec<Vec<u8>>, latch: u8) -> TpmAttestor {
        TpmAttestor { enrolments, issuers, latch }
    }

    /// Whether this node may attest with this key.
    fn admit(&self, ask: &Ask<'_>, shown: &Shown) -> Result<(), Denied> {
        let node = ask.node.id;
        if let Some(holder) = self.enrolments.holder(&shown.ek).filter(|holder| *holder != node) {
            self.enrolments.conflict(node, holder);
            return Err(denied(409, "this TPM is enrolled for another node", true));
        }
        let standing = match self.enrolments.standing(node) {
            // Also the one that waits: who lets it in wants to know in which boot it was shown last. Another one
            // waits in its place.
            Standing::Unknown | Standing::Pending(_) => self.enrolments.shown(ask, shown),
            known @ (Standing::Enrolled(_) | Standing::Revoked) => known,
        };
        match standing {
            Standing::Enrolled(ek) if ek == shown.ek => Ok(()),
            Standing::Enrolled(_) => {
                self.enrolments.mismatch(node, shown);
                let text = format!("ek-mismatch: node {} is enrolled with another TPM", ask.node.name);
                Err(denied(403, text, true))
            }
            Standing::Revoked => {
                Err(denied(403, format!("the TPM of node {} is revoked", ask.node.name), true))
            }
            Standing::Unknown | Standing::Pending(_) => {
                let text = format!("this TPM waits for its approval; its code is {}", shown.ek.code());
                Err(denied(403, text, false))
            }
        }
    }
}

impl Attestor for TpmAttestor {
    fn start(
        &self,
        ask: &Ask<'_>,
        message: &Value,
        dice: &Zeroizing<[u8; 128]>,
    ) -> Result<Challenge, Denied> {
        let malformed = |error: String| denied(422, error, false);
        let ek_public = octets(message, "ek_pub", FIELD_BYTES_MAX)?;
        let ek = Public::parse(&ek_public).map_err(|error| malformed(format!("ek_pub: {error}")))?;
        check_ek(&ek).map_err(|error| malformed(error.to_string()))?;
        let ak_public = octets(message, "ak_pub", FIELD_BYTES_MAX)?;
        let ak = Public::parse(&ak_public).map_err(|error| malformed(format!("ak_pub: {error}")))?;
        check_ak(&ak).map_err(|error| malformed(error.to_string()))?;

        let print = EkFingerprint::of(&ek);
        let certificate = match message.get("ek_cert") {
            None | Some(Value::Null) => None,
            Some(_) => {
                Some(chain::read(&octets(message, "ek_cert", FIELD_BYTES_MAX)?, &print, &self.issuers))
            }
        };
        let told = |name| label(message.get("tpm").and_then(|tpm| tpm.get(name)));
        let shown = Shown { ek: print, ek_public, certificate, vendor: told("vendor"), firmware: told("fw") };
        self.admit(ask, &shown)?;

        let mut dice = Expanded::new(dice);
        let (mut secret, mut nonce) = (Zeroizing::new([0; 32]), [0; 32]);
        dice.fill(secret.as_mut_slice());
        dice.fill(&mut nonce);
        // The name is computed here. One that the node says for itself is not asked for.
        let made = credential::make(&ek, &ak.name(), &secret, &mut |into| dice.fill(into));
        let made = made.map_err(|error| denied(422, error.to_string(), false))?;
        let mut pcrs = quote::PCRS.map(|pcr| if pcr == quote::LATCH { self.latch } else { pcr }).to_vec();
        pcrs.sort_unstable();
        pcrs.dedup();
        let told = json!({
            "id_object": STANDARD.encode(&made.id_object),
            "enc_secret": STANDARD.encode(&made.encrypted_secret),
            "tools_blob": STANDARD.encode(made.tools_blob()),
            "quote_nonce": STANDARD.encode(nonce),
            "bank": "sha256",
            "pcrs": pcrs,
        });
        let extra_data = extra_data(&nonce, ask.id, ask.key);
        let enrolments = Arc::clone(&self.enrolments);
        let pending = Open { enrolments, ek: shown.ek, ak, secret, extra_data, pcrs, latch: self.latch };
        Ok(Challenge { told, pending: Box::new(pending) })
    }
}

/// A challenge that is out.
struct Open {
    enrolments: Arc<dyn Enrolments>,
    ek: EkFingerprint,
    ak: Public,
    secret: Zeroizing<[u8; 32]>,
    extra_data: [u8; 32],
    pcrs: Vec<u8>,
    latch: u8,
}

impl Pending for Open {
    fn finish(self: Box<Self>, ask: &Ask<'_>, message: &Value) -> Result<Proof, Denied> {
        let proof = octets(message, "proof", binding::PROOF_BYTES)?;
        if !proves(&proof, &self.secret, ask.id, &self.extra_data) {
            let text = "the proof is wrong: this TPM does not hold both keys that were shown";
            return Err(denied(403, text, true));
        }
        let attest = octets(message, "attest", FIELD_BYTES_MAX)?;
        let signature = octets(message, "sig", FIELD_BYTES_MAX)?;
        let values = pcr_values(message)?;
        let log = match message.get("eventlog") {
            None | Some(Value::Null) => None,
            Some(_) => Some(octets(message, "eventlog", EVENT_LOG_BYTES_MAX)?),
        };
        let Boot { mode, expected, starts } = self.enrolments.boot(ask);
        let wanted = Wanted { ak: &self.ak, extra_data: &self.extra_data, pcrs: &self.pcrs, starts };
        let refused = |error: quote::QuoteError| denied(403, error.to_string(), error.is_alarm());
        let quoted = quote::check(wanted, &attest, &signature, &values).map_err(refused)?;
        quote::check_boot(&values, self.latch).map_err(refused)?;
        let outcome = judge(mode, &expected, &values, log.as_deref());
        let level = match &outcome {
            Outcome::Proven => Level::TpmPcr,
            Outcome::Unchecked | Outcome::Recorded(_) => Level::Tpm,
            Outcome::Refused(findings) => {
                let text = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return Err(denied(403, text, true));
            }
        };
        let seen = Seen { ek: self.ek, quoted, values: &values, level, outcome: &outcome };
        self.enrolments.attested(ask, seen)?;
        Ok(Proof { level, secret: self.secret })
    }
}

fn denied(status: u16, text: impl Into<String>, alarm: bool) -> Denied {
    Denied { status, text: text.into(), alarm }
}

/// A field in base64.
fn octets(message: &Value, name: &str, most: usize) -> Result<Vec<u8>, Denied> {
    let bad = |reason: &str| denied(422, format!("{name}: {reason}"), false);
    let text = message.get(name).and_then(Value::as_str).ok_or_else(|| bad("is missing or no text"))?;
    if text.len() / 4 > most.div_ceil(3) {
        return Err(bad("is too long"));
    }
    STANDARD.decode(text).map_err(|_| bad("is no base64"))
}

/// `{"0": base64, …}`.
fn pcr_values(message: &Value) -> Result<PcrValues, Denied> {
    let bad = |reason: String| denied(422, format!("pcr_values: {reason}"), false);
    let all = message.get("pcr_values").and_then(Value::as_object);
    let all = all.filter(|all| all.len() <= usize::from(PCRS)).ok_or_else(|| bad("is missing".to_owned()))?;
    let one = |(name, value): (&String, &Value)| {
        let pcr: Option<u8> = name.parse().ok().filter(|pcr: &u8| *pcr < PCRS && pcr.to_string() == *name);
        let value = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        let value: Option<[u8; 32]> = value.and_then(|octets| octets.try_into().ok());
        pcr.zip(value).ok_or_else(|| bad("must be numbers of PCRs and 32 octets in base64".to_owned()))
    };
    all.iter().map(one).collect()
}

/// Printable letters of what a TPM says of itself.
fn label(value: Option<&Value>) -> String {
    let letters = value.and_then(Value::as_str).unwrap_or("").chars();
    letters.filter(|letter| letter.is_ascii_graphic()).take(LABEL_BYTES_MAX).collect()
}

/// As many dice as are needed, from those that were thrown for this challenge.
struct Expanded {
    from: Hkdf<Sha256>,
    throws: u32,
}

impl Expanded {
    fn new(dice: &[u8; 128]) -> Expanded {
        Expanded { from: Hkdf::new(Some(b"muster-attest-dice-v1"), dice), throws: 0 }
    }

    fn fill(&mut self, into: &mut [u8]) {
        self.from.expand(&self.throws.to_be_bytes(), into).expect("less than 255 digests are asked for");
        self.throws = self.throws.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
