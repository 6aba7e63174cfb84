//! Commands to a TPM and what it says to them (part 3), as a node sends them to its `/dev/tpmrm0`: no library of
//! the TSS is needed for a dozen commands with empty passwords.

use std::fmt;

use crate::wire::WireError;
use crate::wire::tpm::{ALG_NULL, Credential, ENDORSEMENT, Hash, Public, Reader, Selection, put_sized};

/// Octets of the longest answer: TPM2_MAX_RESPONSE_SIZE of PC clients.
pub const ANSWER_BYTES_MAX: usize = 4096;

/// Octets of an answer's head: tag, size, code.
pub const HEAD_BYTES: usize = 10;

/// Octets of NV memory that every TPM reads at once.
pub const NV_CHUNK: u16 = 512;

/// PCRs that every TPM reads at once: a TPML_DIGEST has eight.
pub const PCR_CHUNK: usize = 8;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const PASSWORD: u32 = 0x4000_0009;
const NULL_HIERARCHY: u32 = 0x4000_0007;

/// Octets of the longest digest.
const DIGEST_BYTES_MAX: usize = 64;

/// A handle: of a key, a session, an NV index.
pub type Handle = u32;

/// What the TPM answered instead of doing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub u32);

impl Code {
    /// TPM_RC_LOCKOUT, which no repeat cures.
    pub const LOCKOUT: Code = Code(0x921);
    /// TPM_RC_RETRY, TPM_RC_YIELDED and TPM_RC_TESTING: the same command works a moment later.
    pub const AGAIN: [Code; 3] = [Code(0x922), Code(0x908), Code(0x90a)];
    /// TPM_RC_HANDLE of the first handle: there is no such object.
    pub const NO_HANDLE: Code = Code(0x18b);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self.0 {
            0x921 => {
                "TPM lockout: it counted too many dirty power cuts or wrong passwords; wait for its recovery \
                      time or clear the lockout"
            }
            0x18b => "there is no such object",
            0x1df => "what it was given is damaged or for another key",
            0x101 => "failure of the TPM",
            0x100 => "the TPM was not started by the firmware",
            0x120 | 0x325 => "the TPM is disabled or a command is not allowed",
            0x902..=0x904 => "its memory for objects or sessions is full",
            0x922 | 0x908 | 0x90a => "busy",
            code if code & 0xff == 0x9d => "the key's policy is not satisfied",
            _ => return write!(f, "TPM code 0x{:x}", self.0),
        };
        write!(f, "{said} (TPM code 0x{:x})", self.0)
    }
}

/// Why a command brought nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("{0}")]
    Code(Code),
    #[error("the TPM's answer is {0}")]
    Wire(#[from] WireError),
}

/// A command: its octets, and whether its answer has a parameter size in front.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    octets: Vec<u8>,
}

/// How a handle is authorised.
enum Auth {
    /// With the empty password.
    Empty,
    /// By a policy session, which ends with the command.
    Policy(Handle),
}

impl Command {
    fn new(code: u32, handles: &[Handle], auths: &[Auth], parameters: &[u8]) -> Command {
        let mut body = code.to_be_bytes().to_vec();
        handles.iter().for_each(|handle| body.extend_from_slice(&handle.to_be_bytes()));
        let mut area = Vec::new();
        for auth in auths {
            let session = match auth {
                Auth::Empty => PASSWORD,
                Auth::Policy(session) => *session,
            };
            area.extend_from_slice(&session.to_be_bytes());
            area.extend_from_slice(&[0; 5]); // no nonce, no attributes, no HMAC
        }
        if !auths.is_empty() {
            put_u32(&mut body, area.len());
            body.extend_from_slice(&area);
        }
        body.extend_from_slice(parameters);
        let tag = if auths.is_empty() { NO_SESSIONS } else { SESSIONS };
        let mut octets = tag.to_be_bytes().to_vec();
        put_u32(&mut octets, body.len().saturating_add(6));
        octets.extend_from_slice(&body);
        Command { octets }
    }

    /// As it is written to the device.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Makes the primary key of this template in the endorsement hierarchy. Answer: [`Answer::created`].
    #[must_use]
    pub fn create_primary(template: &Public) -> Command {
        let mut out = vec![0, 4, 0, 0, 0, 0]; // no password, no data
        out.extend_from_slice(&template.emit());
        out.extend_from_slice(&[0; 6]); // no outside information, no PCRs
        Command::new(0x131, &[ENDORSEMENT], &[Auth::Empty], &out)
    }

    /// Starts a policy session; `nonce` need not be secret. Answer: [`Answer::handle`].
    #[must_use]
    pub fn start_policy_session(hash: Hash, nonce: &[u8; 16]) -> Command {
        let mut out = Vec::new();
        put_sized(&mut out, nonce);
        out.extend_from_slice(&[0, 0, 1]); // no salt; a policy session
        out.extend_from_slice(&ALG_NULL.to_be_bytes());
        out.extend_from_slice(&hash.id().to_be_bytes());
        Command::new(0x176, &[NULL_HIERARCHY, NULL_HIERARCHY], &[], &out)
    }

    /// Proves to the session that we may use the endorsement hierarchy.
    #[must_use]
    pub fn policy_secret(session: Handle) -> Command {
        Command::new(0x151, &[ENDORSEMENT, session], &[Auth::Empty], &[0; 10])
    }

    /// Says that one of these policies is satisfied.
    #[must_use]
    pub fn policy_or(session: Handle, branches: &[&[u8]]) -> Command {
        let mut out = Vec::new();
        put_u32(&mut out, branches.len());
        branches.iter().for_each(|branch| put_sized(&mut out, branch));
        Command::new(0x171, &[session], &[], &out)
    }

    /// Unpacks a credential for the key `ak` with the storage key `ek`, by a session that its policy wants; the
    /// session ends with it. Answer: [`Answer::sized`].
    #[must_use]
    pub fn activate_credential(ak: Handle, ek: Handle, session: Handle, credential: &Credential) -> Command {
        let mut out = Vec::new();
        put_sized(&mut out, &credential.id_object);
        put_sized(&mut out, &credential.encrypted_secret);
        Command::new(0x147, &[ak, ek], &[Auth::Empty, Auth::Policy(session)], &out)
    }

    /// Signs the values of PCRs, with `data`. Answer: [`Answer::quote`].
    #[must_use]
    pub fn quote(ak: Handle, data: &[u8; 32], selection: Selection) -> Command {
        let mut out = Vec::new();
        put_sized(&mut out, data);
        out.extend_from_slice(&ALG_NULL.to_be_bytes()); // the key's own scheme
        Selection::emit_list(&[selection], &mut out);
        Command::new(0x158, &[ak], &[Auth::Empty], &out)
    }

    /// Extends a PCR of the SHA-256 bank.
    #[must_use]
    pub fn pcr_extend(pcr: u8, digest: &[u8; 32]) -> Command {
        let mut out = vec![0, 0, 0, 1];
        out.extend_from_slice(&Hash::Sha256.id().to_be_bytes());
        out.extend_from_slice(digest);
        Command::new(0x182, &[u32::from(pcr)], &[Auth::Empty], &out)
    }

    /// Reads PCRs, at most [`PCR_CHUNK`]. Answer: [`Answer::pcrs`].
    #[must_use]
    pub fn pcr_read(selection: Selection) -> Command {
        let mut out = Vec::new();
        Selection::emit_list(&[selection], &mut out);
        Command::new(0x17e, &[], &[], &out)
    }

    /// Reads the public area of a key. Answer: [`Answer::public`].
    #[must_use]
    pub fn read_public(key: Handle) -> Command {
        Command::new(0x173, &[key], &[], &[])
    }

    /// Asks how long an NV index is. Answer: [`Answer::nv_size`].
    #[must_use]
    pub fn nv_read_public(index: Handle) -> Command {
        Command::new(0x169, &[index], &[], &[])
    }

    /// Reads from an NV index, at most [`NV_CHUNK`] octets. Answer: [`Answer::sized`].
    #[must_use]
    pub fn nv_read(index: Handle, size: u16, offset: u16) -> Command {
        let out = [size.to_be_bytes(), offset.to_be_bytes()].concat();
        Command::new(0x14e, &[index, index], &[Auth::Empty], &out)
    }

    /// Asks for one property (TPM_PT). Answer: [`Answer::property`].
    #[must_use]
    pub fn property(property: u32) -> Command {
        let out = [6_u32.to_be_bytes(), property.to_be_bytes(), 1_u32.to_be_bytes()].concat();
        Command::new(0x17a, &[], &[], &out)
    }

    /// Throws a key or a session out of the TPM's memory.
    #[must_use]
    pub fn flush(handle: Handle) -> Command {
        Command::new(0x165, &[], &[], &handle.to_be_bytes())
    }
}

/// A TPM's answer with the code of success.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    sessions: bool,
    body: Reader<'a>,
}

impl<'a> Answer<'a> {
    /// Reads the head.
    ///
    /// # Errors
    /// The TPM refused, or this is no answer.
    pub fn parse(octets: &'a [u8]) -> Result<Answer<'a>, AnswerError> {
        let mut body = Reader::new(octets);
        let tag = body.u16("cut off at its tag")?;
        let size = usize::try_from(body.u32("size")?).unwrap_or(usize::MAX);
        if size != octets.len() {
            return Err(WireError::Invalid("size").into());
        }
        match (body.u32("code")?, tag) {
            (0, NO_SESSIONS) => Ok(Answer { sessions: false, body }),
            (0, SESSIONS) => Ok(Answer { sessions: true, body }),
            (0, _) => Err(WireError::Invalid("tag").into()),
            (code, _) => Err(AnswerError::Code(Code(code))),
        }
    }

    /// The parameters behind the handles.
    fn parameters(mut self) -> Result<Reader<'a>, WireError> {
        if !self.sessions {
            return Ok(self.body);
        }
        let size = usize::try_from(self.body.u32("parameter size")?).unwrap_or(usize::MAX);
        Ok(Reader::new(self.body.take(size, "parameters")?))
    }

    /// # Errors
    /// The answer has no handle.
    pub fn handle(mut self) -> Result<Handle, WireError> {
        self.body.u32("handle")
    }

    /// A new key: its handle and public area.
    ///
    /// # Errors
    /// The answer is cut off, or the key of a kind that we do not know.
    pub fn created(mut self) -> Result<(Handle, Public), WireError> {
        let handle = self.body.u32("handle")?;
        Ok((handle, public(&mut self.parameters()?)?))
    }

    /// # Errors
    /// The answer is cut off, or the key of a kind that we do not know.
    pub fn public(self) -> Result<Public, WireError> {
        public(&mut self.parameters()?)
    }

    /// The first parameter, a TPM2B.
    ///
    /// # Errors
    /// It is cut off.
    pub fn sized(self) -> Result<&'a [u8], WireError> {
        self.parameters()?.sized(ANSWER_BYTES_MAX, "parameter")
    }

    /// A quote: what was signed, and the TPMT_SIGNATURE.
    ///
    /// # Errors
    /// It is cut off.
    pub fn quote(self) -> Result<(&'a [u8], &'a [u8]), WireError> {
        let mut parameters = self.parameters()?;
        let attest = parameters.sized(ANSWER_BYTES_MAX, "quoted")?;
        Ok((attest, parameters.rest()))
    }

    /// Values of PCRs of the SHA-256 bank: number and value, ascending.
    ///
    /// # Errors
    /// The answer is malformed, or there is no SHA-256 bank.
    pub fn pcrs(self) -> Result<Vec<(u8, [u8; 32])>, WireError> {
        let mut from = self.parameters()?;
        from.u32("update counter")?;
        let selections = Selection::parse_list(&mut from)?;
        let bank = selections.iter().find(|one| one.bank == Hash::Sha256.id());
        let pcrs = bank.map(Selection::pcrs).unwrap_or_default();
        let count = usize::try_from(from.u32("number of PCR values")?).unwrap_or(usize::MAX);
        if count != pcrs.len() || pcrs.is_empty() {
            return Err(WireError::Invalid("number of PCR values"));
        }
        let value = |pcr| {
            let value = from.sized(DIGEST_BYTES_MAX, "PCR value")?;
            Ok((pcr, value.try_into().map_err(|_| WireError::Invalid("PCR value"))?))
        };
        pcrs.into_iter().map(value).collect()
    }

    /// Size of an NV index, from TPM2B_NV_PUBLIC.
    ///
    /// # Errors
    /// The answer is cut off.
    pub fn nv_size(self) -> Result<u16, WireError> {
        let mut area = Reader::new(self.sized()?);
        area.take(10, "NV index, hash and attributes")?;
        area.sized(DIGEST_BYTES_MAX, "NV policy")?;
        area.u16("NV size")
    }

    /// A property's value. None: the TPM does not have it.
    ///
    /// # Errors
    /// The answer is cut off.
    pub fn property(self, asked: u32) -> Result<Option<u32>, WireError> {
        let mut from = self.parameters()?;
        from.take(5, "capability")?;
        if from.u32("number of properties")? == 0 {
            return Ok(None);
        }
        let (found, value) = (from.u32("property")?, from.u32("property's value")?);
        Ok((found == asked).then_some(value))
    }
}

fn public(from: &mut Reader<'_>) -> Result<Public, WireError> {
    let area = from.sized(ANSWER_BYTES_MAX, "public area")?;
    let mut whole = Vec::new();
    put_sized(&mut whole, area);
    Public::parse(&whole)
}

fn put_u32(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}
