//! The node's TPM, spoken to with raw commands through the kernel's resource manager.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster::wire::tpm::command::{
    ANSWER_BYTES_MAX, Answer, AnswerError, Code, Command, HEAD_BYTES, Handle, NV_CHUNK, PCR_CHUNK,
};
use muster::wire::tpm::{Credential, Public, Selection, template};
use zeroize::Zeroizing;

use crate::options::Device;

/// The device of the kernel's resource manager.
const DEVICE: &str = "/dev/tpmrm0";

/// How often a TPM may say that it is busy, and how long to wait then.
const AGAIN_MAX: u32 = 50;
const AGAIN_WAIT: Duration = Duration::from_millis(100);

/// How long a simulated TPM may take.
const TCP_PATIENCE: Duration = Duration::from_secs(30);

/// Octets of an endorsement certificate.
const CERTIFICATE_BYTES_MAX: u16 = 4096;

/// TPM_PT_MANUFACTURER, TPM_PT_FIRMWARE_VERSION_1 and TPM_PT_LOCKOUT_COUNTER.
const MANUFACTURER: u32 = 0x105;
const FIRMWARE: u32 = 0x10b;
const LOCKOUT_COUNTER: u32 = 0x20e;

trait Channel: Read + Write {}
impl<T: Read + Write> Channel for T {}

pub(crate) struct Tpm {
    channel: Box<dyn Channel>,
}

/// A key in the TPM.
pub(crate) struct Loaded {
    pub(crate) handle: Handle,
    pub(crate) public: Public,
    /// It takes memory of the TPM until it is flushed.
    transient: bool,
}

impl Tpm {
    /// Opens a TPM. None: this node has none, or is not to use it.
    pub(crate) fn open(device: &Device) -> Result<Option<Tpm>> {
        let file = |path: &Path| {
            let opened = OpenOptions::new().read(true).write(true).open(path);
            opened.with_context(|| format!("the TPM {} cannot be opened", path.display()))
        };
        let channel: Box<dyn Channel> = match device {
            Device::None => return Ok(None),
            Device::Default if !Path::new(DEVICE).exists() => return Ok(None),
            Device::Default => Box::new(file(Path::new(DEVICE))?),
            Device::File(path) => Box::new(file(path)?),
            Device::Tcp(address) => {
                let stream = TcpStream::connect(address).with_context(|| format!("no TPM at {address}"))?;
                stream.set_read_timeout(Some(TCP_PATIENCE))?;
                Box::new(stream)
            }
        };
        Ok(Some(Tpm { channel }))
    }

    /// One command, and its answer in octets; again while the TPM is busy.
    fn send(&mut self, command: &Command) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        for _ in 0..AGAIN_MAX {
            let answer = self.transact(command)?;
            match Answer::parse(&answer) {
                Err(AnswerError::Code(code)) if Code::AGAIN.contains(&code) => sleep(AGAIN_WAIT),
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(answer),
            }
        }
        Err(TpmError::Busy)
    }

    fn transact(&mut self, command: &Command) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.channel.write_all(command.octets())?;
        let mut answer = Zeroizing::new(vec![0; ANSWER_BYTES_MAX]);
        let mut have = 0;
        loop {
            let count = self.channel.read(&mut answer[have..])?;
            if count == 0 {
                return Err(TpmError::Cut);
            }
            have += count;
            let size = answer[2..6].try_into().map(u32::from_be_bytes).expect("four octets are four octets");
            if have >= HEAD_BYTES && have >= usize::try_from(size).unwrap_or(usize::MAX) {
                answer.truncate(have);
                return Ok(answer);
            }
            if have == ANSWER_BYTES_MAX {
                return Err(TpmError::Cut);
            }
        }
    }

    fn create(&mut self, template: &Public) -> Result<Loaded, TpmError> {
        let answer = self.send(&Command::create_primary(template))?;
        let (handle, public) = Answer::parse(&answer)?.created()?;
        Ok(Loaded { handle, public, transient: true })
    }

    /// Our attestation key.
    pub(crate) fn attestation_key(&mut self) -> Result<Loaded> {
        self.create(&template::ak_p256()).context("making the attestation key")
    }

    /// The endorsement key, and its certificate if there is one: the key that stands ready, else the one that has
    /// a certificate, else the one that is made fastest.
    pub(crate) fn endorsement_key(&mut self) -> Result<(Loaded, Option<Vec<u8>>)> {
        for (place, certificate) in template::EK_PLACES {
            match self.send(&Command::read_public(place)) {
                Ok(answer) => {
                    let Ok(public) = Answer::parse(&answer).and_then(|answer| Ok(answer.public()?)) else {
                        continue;
                    };
                    let key = Loaded { handle: place, public, transient: false };
                    return Ok((key, self.certificate(certificate)?));
                }
                Err(TpmError::Answer(AnswerError::Code(_))) => {}
                Err(error) => return Err(error).context("looking for the endorsement key"),
            }
        }
        let kinds = [
            (template::ek_p256(), 0x01c0_000a),
            (template::ek_rsa2048(), 0x01c0_0002),
            (template::ek_p384(), 0x01c0_0016),
        ];
        let mut found = None;
        for (kind, index) in &kinds {
            if let Some(certificate) = self.certificate(*index)? {
                found = Some((kind, Some(certificate)));
                break;
            }
        }
        let (kind, certificate) = found.unwrap_or((&kinds[0].0, None));
        Ok((self.create(kind).context("making the endorsement key")?, certificate))
    }

    /// Reads a certificate from NV memory. None: there is none that we may read.
    fn certificate(&mut self, index: Handle) -> Result<Option<Vec<u8>>> {
        let size = match self.send(&Command::nv_read_public(index)) {
            Ok(answer) => Answer::parse(&answer)?.nv_size()?.min(CERTIFICATE_BYTES_MAX),
            Err(TpmError::Answer(AnswerError::Code(_))) => return Ok(None),
            Err(error) => return Err(error).context("looking for the endorsement certificate"),
        };
        let mut octets = Vec::new();
        while octets.len() < usize::from(size) {
            let offset = u16::try_from(octets.len())?;
            let part = match self.send(&Command::nv_read(index, NV_CHUNK.min(size - offset), offset)) {
                Ok(answer) => Answer::parse(&answer)?.sized()?.to_vec(),
                Err(TpmError::Answer(AnswerError::Code(_))) => return Ok(None),
                Err(error) => return Err(error).context("reading the endorsement certificate"),
            };
            ensure!(!part.is_empty(), "the TPM reads nothing from NV index 0x{index:08x}");
            octets.extend_from_slice(&part);
        }
        Ok(Some(octets))
    }

    /// Unpacks a credential.
    pub(crate) fn activate(
        &mut self,
        ak: &Loaded,
        ek: &Loaded,
        credential: &Credential,
    ) -> Result<Zeroizing<[u8; 32]>> {
        let hash = ek.public.name_alg;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let answer = self.send(&Command::start_policy_session(hash, &nonce)).context("starting a session")?;
        let session = Answer::parse(&answer)?.handle()?;
        let secret = self.activate_in(session, ak, ek, credential);
        if secret.is_err() {
            // It ends with the command that uses it, and that one may not have come.
            let _ended = self.send(&Command::flush(session));
        }
        secret
    }

    fn activate_in(
        &mut self,
        session: Handle,
        ak: &Loaded,
        ek: &Loaded,
        credential: &Credential,
    ) -> Result<Zeroizing<[u8; 32]>> {
        let hash = ek.public.name_alg;
        self.send(&Command::policy_secret(session))
            .context("the endorsement hierarchy's password is not empty")?;
        if ek.public.policy == template::policy_b(hash) {
            let branches = template::policy_branches(hash);
            self.send(&Command::policy_or(session, &branches))
                .context("satisfying the endorsement key's policy")?;
        }
        let command = Command::activate_credential(ak.handle, ek.handle, session, credential);
        let answer = self.send(&command).context("unpacking the head's credential")?;
        let secret = Answer::parse(&answer)?.sized()?;
        Ok(Zeroizing::new(secret.try_into().context("the head's credential is not of 32 octets")?))
    }

    /// Quotes PCRs: what was signed, and the signature.
    pub(crate) fn quote(&mut self, ak: &Loaded, data: &[u8; 32], pcrs: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        let command = Command::quote(ak.handle, data, Selection::sha256(pcrs));
        let answer = self.send(&command).context("quoting")?;
        let (attest, signature) = Answer::parse(&answer)?.quote()?;
        Ok((attest.to_vec(), signature.to_vec()))
    }

    /// Values of PCRs.
    pub(crate) fn read(&mut self, pcrs: &[u8]) -> Result<Vec<(u8, [u8; 32])>> {
        let mut values = Vec::new();
        for some in pcrs.chunks(PCR_CHUNK) {
            let answer = self.send(&Command::pcr_read(Selection::sha256(some))).context("reading PCRs")?;
            values
                .extend(Answer::parse(&answer)?.pcrs().context("the TPM has no sha256 bank for these PCRs")?);
        }
        Ok(values)
    }

    pub(crate) fn extend(&mut self, pcr: u8, digest: &[u8; 32]) -> Result<()> {
        self.send(&Command::pcr_extend(pcr, digest)).with_context(|| format!("extending PCR {pcr}"))?;
        Ok(())
    }

    /// Manufacturer and firmware, as they are shown.
    pub(crate) fn describe(&mut self) -> Result<(String, String)> {
        let vendor = self.property(MANUFACTURER)?.unwrap_or(0).to_be_bytes();
        let vendor =
            vendor.iter().filter(|octet| octet.is_ascii_alphanumeric()).map(|octet| char::from(*octet));
        let firmware = self.property(FIRMWARE)?.unwrap_or(0);
        Ok((vendor.collect(), format!("{}.{}", firmware >> 16, firmware & 0xffff)))
    }

    /// How near the TPM is to its lockout.
    pub(crate) fn lockout_counter(&mut self) -> Result<u32> {
        Ok(self.property(LOCKOUT_COUNTER)?.unwrap_or(0))
    }

    fn property(&mut self, property: u32) -> Result<Option<u32>> {
        let answer = self.send(&Command::property(property)).context("asking the TPM who it is")?;
        Ok(Answer::parse(&answer)?.property(property)?)
    }

    /// Gives the TPM's memory back.
    pub(crate) fn drop_key(&mut self, key: Loaded) -> Result<()> {
        if key.transient {
            self.send(&Command::flush(key.handle)).context("flushing a key")?;
        }
        Ok(())
    }
}

/// Why a command brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TpmError {
    #[error("{0}")]
    Answer(#[from] AnswerError),
    #[error("the TPM's answer is {0}")]
    Wire(#[from] muster::wire::WireError),
    #[error("the TPM cannot be used: {0}")]
    Io(#[from] std::io::Error),
    #[error("the TPM's answer is cut off")]
    Cut,
    #[error("the TPM stays busy")]
    Busy,
}
