//! A simulated TPM for tests: swtpm on loopback, from a copy of the state that the vectors were made with.

#![allow(clippy::disallowed_methods, reason = "a test that waits for a process needs a clock")]
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use muster::engine::attest::quote::{PCRS, PcrValues};
use muster::wire::tpm::command::{Answer, AnswerError, Command as Tpm2, Handle};
use muster::wire::tpm::{Credential, Public, Selection, template};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tpm").join(name)
}

/// A TPM in a process of its own.
pub(crate) struct Swtpm {
    process: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) stream: Option<TcpStream>,
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// A port, and the next one: the TPM's, and its control's. Each test of a process gets others.
fn two_ports() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        let number = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        // Below the ports that the kernel gives to connections.
        let port = 10_000 + 2 * u16::try_from(number % 11_000).unwrap();
        if [port, port + 1].into_iter().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
    panic!("no two ports in a row are free");
}

impl Swtpm {
    pub(crate) fn start(state: &str) -> Swtpm {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(fixture(state).join("tpm2-00.permall"), folder.path().join("tpm2-00.permall")).unwrap();
        Swtpm::start_in(folder)
    }

    fn start_in(folder: tempfile::TempDir) -> Swtpm {
        let port = two_ports();
        let mut command = Command::new("swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
            .arg(format!("dir={}", folder.path().display()))
            .args(["--server", &format!("type=tcp,port={port},bindaddr=127.0.0.1")])
            .args(["--ctrl", &format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1)])
            .stdout(Stdio::null());
        let process = command.spawn().expect("swtpm is not installed: tests/vm/setup does it");
        Swtpm { process, folder, port, stream: None }
    }

    /// A TPM's answer to a command.
    pub(crate) fn send(&mut self, command: &Tpm2) -> Vec<u8> {
        let begun = Instant::now();
        while self.stream.is_none() {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => self.stream = Some(stream),
                Err(error) if begun.elapsed() > Duration::from_secs(20) => {
                    panic!("swtpm is not there: {error}")
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        let stream = self.stream.as_mut().unwrap();
        stream.write_all(command.octets()).unwrap();
        let mut answer = vec![0; 10];
        stream.read_exact(&mut answer).unwrap();
        let size = u32::from_be_bytes(answer[2..6].try_into().unwrap());
        answer.resize(size as usize, 0);
        stream.read_exact(&mut answer[10..]).unwrap();
        answer
    }

    pub(crate) fn created(&mut self, template: &Public) -> (Handle, Public) {
        let answer = self.send(&Tpm2::create_primary(template));
        Answer::parse(&answer).unwrap().created().unwrap()
    }

    pub(crate) fn public(&mut self, handle: Handle) -> Public {
        let answer = self.send(&Tpm2::read_public(handle));
        Answer::parse(&answer).unwrap().public().unwrap()
    }

    /// A session that satisfies the endorsement key's policy.
    fn session(&mut self, ek: &Public) -> Handle {
        let hash = ek.name_alg;
        let answer = self.send(&Tpm2::start_policy_session(hash, &[7; 16]));
        let session = Answer::parse(&answer).unwrap().handle().unwrap();
        Answer::parse(&self.send(&Tpm2::policy_secret(session))).unwrap();
        if ek.policy == template::policy_b(hash) {
            let branches = template::policy_branches(hash);
            Answer::parse(&self.send(&Tpm2::policy_or(session, &branches))).unwrap();
        }
        session
    }

    pub(crate) fn activate(
        &mut self,
        ak: Handle,
        (ek, public): (Handle, &Public),
        credential: &Credential,
    ) -> Result<Vec<u8>, AnswerError> {
        let session = self.session(public);
        let answer = self.send(&Tpm2::activate_credential(ak, ek, session, credential));
        let unpacked = Answer::parse(&answer).map(|answer| answer.sized().unwrap().to_vec());
        if unpacked.is_err() {
            self.send(&Tpm2::flush(session));
        }
        unpacked
    }

    pub(crate) fn values(&mut self) -> PcrValues {
        let answer = self.send(&Tpm2::pcr_read(Selection::sha256(&PCRS)));
        Answer::parse(&answer).unwrap().pcrs().unwrap().into_iter().collect()
    }

    pub(crate) fn quote(&mut self, ak: Handle, data: &[u8; 32]) -> (Vec<u8>, Vec<u8>) {
        let answer = self.send(&Tpm2::quote(ak, data, Selection::sha256(&PCRS)));
        let (attest, signature) = Answer::parse(&answer).unwrap().quote().unwrap();
        (attest.to_vec(), signature.to_vec())
    }

    pub(crate) fn measure(&mut self, pcr: u8, digest: [u8; 32]) {
        Answer::parse(&self.send(&Tpm2::pcr_extend(pcr, &digest))).unwrap();
    }

    /// The same TPM after its power was cut.
    pub(crate) fn cut_power(mut self) -> Swtpm {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let kept = tempfile::tempdir().unwrap();
        let state = "tpm2-00.permall";
        fs::copy(self.folder.path().join(state), kept.path().join(state)).unwrap();
        Swtpm::start_in(kept)
    }

    /// Runs a program of tpm2-tools in the TPM's folder; it must succeed.
    pub(crate) fn tool(&mut self, line: &str) {
        self.stream = None; // one at a time
        let mut words = line.split_whitespace();
        let begun = Instant::now();
        let output = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(self.folder.path())
            .env("TPM2TOOLS_TCTI", format!("swtpm:host=127.0.0.1,port={}", self.port))
            .output()
            .expect("tpm2-tools are not installed: tests/vm/setup does it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}, after {:?}: {said}", begun.elapsed());
    }
}
