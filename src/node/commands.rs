//! The commands: what is said to the head, what is done with its answers.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use muster::base::limits::EVENT_LOG_BYTES_MAX;
use muster::engine::attest::{EkFingerprint, binding};
use muster::engine::trust::contents::Contents;
use muster::engine::trust::grant::Grant;
use muster::engine::trust::keyset::{Anchor, Keyset};
use muster::engine::trust::sealed::{Bundle, Expected, Psk, make_keys};
use muster::wire::tpm::Credential;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::files::{self, Written};
use crate::http::{Answer, printable, request};
use crate::options::{Command, Options};
use crate::state::{Attested, State};
use crate::tpm::{Loaded, Tpm};

/// How often the network is given another chance, and after how long: half a minute, while switches wake up.
const TRIES: u32 = 10;
const TRY_WAIT: Duration = Duration::from_secs(3);

/// Octets of a grant.
const GRANT_BYTES_MAX: u64 = 16 << 10;

/// From this many dirty power cuts on the console says so.
const LOCKOUT_NEAR: u32 = 2;

pub(crate) fn perform(options: &Options) -> Result<()> {
    let Some(grant) = read_grant(options)? else {
        if options.command == Command::Run {
            println!("muster-node: no grant in {}; this node gets no secrets", options.grant.display());
            return Ok(());
        }
        bail!("there is no grant in {}", options.grant.display());
    };
    let node = Node { options, grant };
    match options.command {
        Command::Claim => node.claim(),
        Command::Attest => node.attest(),
        Command::Open => node.open().map(drop),
        Command::Seal => node.seal(None),
        Command::Run => node.run(),
    }
}

fn read_grant(options: &Options) -> Result<Option<Grant>> {
    let file = match fs::File::open(&options.grant) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", options.grant.display())),
    };
    let mut octets = Zeroizing::new(Vec::new());
    file.take(GRANT_BYTES_MAX).read_to_end(&mut octets)?;
    Ok(Some(Grant::parse(&octets)?))
}

/// Which of the head's bundles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bundles {
    Claim,
    Best,
}

/// This node in this boot.
struct Node<'a> {
    options: &'a Options,
    grant: Grant,
}

impl Node<'_> {
    fn run(&self) -> Result<()> {
        self.claim()?;
        let attested = match self.attest() {
            Ok(()) => Ok(()),
            // What needs no TPM is there; what needs one is missing, and the end says so.
            Err(error) => {
                eprintln!("muster-node: not attested: {error:#}");
                Err(error)
            }
        };
        let contents = self.open()?;
        self.seal(Some(&contents.token))?;
        remove_grant(&self.options.grant)?;
        start(self.options, &contents.choice.after);
        match attested {
            Err(error) if !contents.choice.withheld.is_empty() => Err(error.context("secrets are missing")),
            _ => Ok(()),
        }
    }

    /// The same request until there is an answer: the head gives the same key the same answer again.
    fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<&[u8]>) -> Result<Answer> {
        let mut tried = 0;
        loop {
            tried += 1;
            match request(&self.grant.head, method, path, token, body) {
                Ok(answer) if !matches!(answer.status, 429 | 500 | 502..=504) || tried == TRIES => {
                    return Ok(answer);
                }
                Err(error) if tried == TRIES => return Err(error),
                Ok(answer) => eprintln!("muster-node: the head answers {}; asking again", answer.status),
                Err(error) => eprintln!("muster-node: {error:#}; asking again"),
            }
            sleep(TRY_WAIT);
        }
    }

    fn claim(&self) -> Result<()> {
        let state = match State::load(&self.options.state)? {
            Some(state) if state.claimed.is_some() => return Ok(()),
            Some(state) => state,
            None => {
                let (private, public) = make_keys(&mut UnwrapErr(SysRng));
                let state = State { private, public, claimed: None, attested: None };
                // A lost answer is given again to this key alone.
                state.save(&self.options.state)?;
                state
            }
        };
        let nonce = Zeroizing::new(STANDARD.encode(*self.grant.nonce));
        let body = json!({
            "session": self.grant.session.to_string(), "nonce": *nonce, "node_pub": STANDARD.encode(state.public),
            "facts": {"helper": env!("CARGO_PKG_VERSION"), "arch": std::env::consts::ARCH},
        });
        let body = Zeroizing::new(body.to_string());
        let answer = self.ask("POST", "/node/v1/claim", None, Some(body.as_bytes()))?;
        let claimed = Some(answer.good().context("claiming")?);
        State { claimed, ..state }.save(&self.options.state)?;
        println!("muster-node: claimed boot session {}", self.grant.session);
        Ok(())
    }

    fn attest(&self) -> Result<()> {
        let state = self.state()?;
        if state.attested.is_some() {
            return Ok(());
        }
        let Some(mut tpm) = Tpm::open(&self.options.device)? else {
            println!("muster-node: no TPM; this boot stays at level 1");
            return Ok(());
        };
        let token = self.opened(&state, Bundles::Claim)?.token;
        if tpm.lockout_counter()? >= LOCKOUT_NEAR {
            eprintln!("muster-node: the TPM counts dirty power cuts and is near its lockout");
        }
        let (ek, certificate) = tpm.endorsement_key()?;
        println!("muster-node: this TPM's code is {}", EkFingerprint::of(&ek.public).code());
        let ak = tpm.attestation_key()?;
        let attested = self.attest_with(&mut tpm, &state, &token, (&ek, certificate), &ak);
        tpm.drop_key(ak)?;
        tpm.drop_key(ek)?;
        State { attested: Some(attested?), ..state }.save(&self.options.state)?;
        println!("muster-node: attested");
        Ok(())
    }

    fn attest_with(
        &self,
        tpm: &mut Tpm,
        state: &State,
        token: &str,
        (ek, certificate): (&Loaded, Option<Vec<u8>>),
        ak: &Loaded,
    ) -> Result<Attested> {
        let (vendor, firmware) = tpm.describe()?;
        let mut body = json!({
            "ek_pub": STANDARD.encode(ek.public.emit()), "ak_pub": STANDARD.encode(ak.public.emit()),
            "node_pub": STANDARD.encode(state.public), "tpm": {"vendor": vendor, "fw": firmware},
        });
        if let (Some(certificate), Value::Object(fields)) = (certificate, &mut body) {
            fields.insert("ek_cert".to_owned(), json!(STANDARD.encode(certificate)));
        }
        let answer =
            self.ask("POST", "/node/v1/attest/start", Some(token), Some(body.to_string().as_bytes()))?;
        let asked = answer.good().context("beginning the attestation")?;
        let challenge = Challenge::read(&asked)?;
        let secret = tpm.activate(ak, ek, &challenge.credential)?;
        let extra_data = binding::extra_data(&challenge.nonce, &challenge.id, &state.public);
        let (attest, signature) = tpm.quote(ak, &extra_data, &challenge.pcrs)?;
        let values: Map<String, Value> = tpm
            .read(&challenge.pcrs)?
            .into_iter()
            .map(|(pcr, value)| (pcr.to_string(), json!(STANDARD.encode(value))))
            .collect();
        let mut body = json!({
            "attest_id": challenge.id, "attest": STANDARD.encode(attest), "sig": STANDARD.encode(signature),
            "proof": STANDARD.encode(binding::proof(&secret, &challenge.id, &extra_data)), "pcr_values": values,
        });
        if let (Some(log), Value::Object(fields)) = (event_log(&self.options.event_log)?, &mut body) {
            fields.insert("eventlog".to_owned(), json!(STANDARD.encode(log)));
        }
        let answer =
            self.ask("POST", "/node/v1/attest/finish", Some(token), Some(body.to_string().as_bytes()))?;
        let bundle = answer.good().context("ending the attestation")?;
        Ok(Attested { id: challenge.id, secret, bundle })
    }

    /// Opens what the head sent, and writes what is in it. The attestation's bundle has what the claim's had for
    /// nodes without a TPM, and not what is given with a claim alone; what stands in both is the same.
    fn open(&self) -> Result<Contents> {
        let state = self.state()?;
        let before = match &state.attested {
            Some(_) => self.opened(&state, Bundles::Claim)?.choice.items,
            None => Vec::new(),
        };
        let contents = self.opened(&state, Bundles::Best)?;
        let mut failed = 0;
        for item in before.iter().chain(&contents.choice.items) {
            let id = printable(&item.id);
            match files::write(&self.options.root, item) {
                Ok(Written { places, roots }) => {
                    for place in places {
                        println!("muster-node: {id} version {} in {}", item.version, place.display());
                    }
                    if let Some(why) = roots {
                        eprintln!("muster-node: {id} is for root alone: {}", printable(&why));
                    }
                }
                // The others are of use without it.
                Err(error) => {
                    failed += 1;
                    eprintln!("muster-node: {id} is not written: {}", printable(&format!("{error:#}")));
                }
            }
        }
        ensure!(
            failed == 0,
            "{failed} secrets are not written; the boot session stays open until its time is over"
        );
        for one in &contents.choice.withheld {
            let reason = printable(&one.reason);
            eprintln!(
                "muster-node: {} is withheld, it needs level {}: {reason}",
                printable(&one.id),
                one.needs
            );
        }
        Ok(contents)
    }

    /// The content of the attestation's bundle if there is one and it is asked for, else of the claim's.
    fn opened(&self, state: &State, bundles: Bundles) -> Result<Contents> {
        let keyset = self.ask("GET", "/node/v1/keyset", None, None)?.good().context("the head's keys")?;
        // The node's clock may be years off: how fresh a bundle is follows from its session.
        let anchor = Anchor { root: &self.grant.root, least_epoch: 0, now: None };
        let keys = Keyset::open(&keyset, anchor)?;
        let session = self.grant.session.to_string();
        let expected = Expected { session: &session, least_seq: 0 };
        let attested = state.attested.as_ref().filter(|_| bundles == Bundles::Best);
        let (bundle, psk) = match attested {
            Some(one) => (&one.bundle, Some(Psk { id: &one.id, secret: &one.secret })),
            None => (state.claimed.as_ref().context("this boot was not claimed")?, None),
        };
        let (header, octets) = Bundle::from_json(bundle)?.open(&keys, &state.private, psk, expected)?;
        ensure!(header.psk_id.is_some() == psk.is_some(), "the bundle is not sealed by the attestation");
        Ok(Contents::parse(&octets)?)
    }

    /// Closes the door: the TPM first, since that needs nobody's answer.
    fn seal(&self, token: Option<&str>) -> Result<()> {
        let token = match token {
            Some(token) => Zeroizing::new(token.to_owned()),
            None => Zeroizing::new(self.opened(&self.state()?, Bundles::Best)?.token),
        };
        if let Some(mut tpm) = Tpm::open(&self.options.device)? {
            tpm.extend(self.options.latch, &binding::latch())?;
        }
        let body = json!({"session": self.grant.session.to_string()}).to_string();
        let answer = self.ask("POST", "/node/v1/sealed", Some(&token), Some(body.as_bytes()))?;
        if !(200..300).contains(&answer.status) {
            answer.good().context("sealing")?;
        }
        State::remove(&self.options.state)?;
        println!("muster-node: sealed");
        Ok(())
    }

    fn state(&self) -> Result<State> {
        State::load(&self.options.state)?.context("this boot was not claimed: muster-node claim")
    }
}

/// What the head wants to see.
struct Challenge {
    id: String,
    credential: Credential,
    nonce: [u8; 32],
    pcrs: Vec<u8>,
}

impl Challenge {
    fn read(value: &Value) -> Result<Challenge> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let octets = |name: &str| {
            let octets = text(name).and_then(|text| STANDARD.decode(text).ok());
            octets.with_context(|| format!("the head's challenge lacks {name}"))
        };
        ensure!(text("bank") == Some("sha256"), "the head asks for a bank that is not sha256");
        let pcrs = value.get("pcrs").and_then(Value::as_array).context("the head's challenge lacks pcrs")?;
        let pcr = |pcr: &Value| pcr.as_u64().and_then(|pcr| u8::try_from(pcr).ok()).filter(|pcr| *pcr < 24);
        Ok(Challenge {
            id: text("attest_id").context("the head's challenge lacks attest_id")?.to_owned(),
            credential: Credential {
                id_object: octets("id_object")?,
                encrypted_secret: octets("enc_secret")?,
            },
            nonce: octets("quote_nonce")?.try_into().ok().context("quote_nonce is not of 32 octets")?,
            pcrs: pcrs.iter().map(pcr).collect::<Option<_>>().context("the head's pcrs are none")?,
        })
    }
}

/// What the firmware measured. None: the kernel shows nothing.
fn event_log(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::File::open(path) {
        Ok(file) => {
            let mut octets = Vec::new();
            let most = u64::try_from(EVENT_LOG_BYTES_MAX)?;
            file.take(most + 1).read_to_end(&mut octets).context("reading the event log")?;
            ensure!(octets.len() <= EVENT_LOG_BYTES_MAX, "the event log is longer than {most} octets");
            Ok(Some(octets))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("reading the event log"),
    }
}

/// The grant is used up. On a medium that cannot be written it stays, and is worth nothing.
fn remove_grant(grant: &Path) -> Result<()> {
    match fs::remove_file(grant) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ReadOnlyFilesystem) => {
            Err(error).context("removing the grant")
        }
        _ => Ok(()),
    }
}

/// Starts the units that waited for their secrets, where the system runs already.
fn start(options: &Options, units: &[String]) {
    let runs = options.root == Path::new("/") && Path::new("/run/systemd/system").is_dir();
    if units.is_empty() || !runs || Path::new("/etc/initrd-release").exists() {
        return;
    }
    let mut command = std::process::Command::new("systemctl");
    let status = command.args(["--no-block", "restart", "--"]).args(units).status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("muster-node: these units were not started: {}", printable(&units.join(" ")));
    }
}
