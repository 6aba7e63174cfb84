//! The real daemon on the loopback, and plain sockets towards it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub(crate) const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
/// How long a machine that is busy with other tests may need.
const POLLS: u32 = 1500;

pub(crate) struct Daemon {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) process: Child,
    pub(crate) http: u16,
    pub(crate) https: u16,
    pub(crate) tftp: u16,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A command of this configuration, which `through` may wrap.
fn command(folder: &Path, through: &[&str]) -> Command {
    let mut words = through.iter().copied().chain([MUSTER]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg("--config").arg(folder.join("muster.toml"));
    command.arg("--data-dir").arg(folder.join("data")).current_dir(folder);
    command.env_remove("CREDENTIALS_DIRECTORY").env_remove("MUSTER_TOKEN").env_remove("MUSTER_CACERT");
    command
}

impl Daemon {
    /// With `more` at the end of its configuration. Its log, to the last detail, is the file `log`.
    pub(crate) fn start(more: &str) -> Daemon {
        Daemon::through(&[], more, |_| ())
    }

    /// The same, run by another program.
    pub(crate) fn through(through: &[&str], more: &str, prepare: impl FnOnce(&Path)) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let [http, https, tftp] = [(); 3].map(|()| free_port());
        let config = format!(
            "[cluster]\nname = \"demo\"\ndomain = \"demo.example\"\n[http]\nlisten = [\"127.0.0.1:{http}\"]\n\
             [https]\nlisten = [\"127.0.0.1:{https}\"]\n[tftp]\nlisten = [\"127.0.0.1:{tftp}\"]\n\
             [dns]\nlisten = []\n[loaders]\ndirectories = []\n[log]\nlevel = \"trace\"\nformat = \"json\"\n{more}"
        );
        fs::write(folder.path().join("muster.toml"), config).unwrap();
        prepare(folder.path());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = command(folder.path(), through).arg("serve").stderr(log).spawn().unwrap();
        let mut daemon = Daemon { folder, process, http, https, tftp };
        daemon.wait();
        daemon
    }

    fn wait(&mut self) {
        for _ in 0..POLLS {
            if self.muster(&["status"], b"").status.success() {
                return;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the daemon ended, {status}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon does not answer: {}", self.log());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap()).into_owned()
    }

    pub(crate) fn muster(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = command(self.folder.path(), &[]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.muster(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Status and body of a request whose path is sent as it is.
    pub(crate) fn http(&self, method: &str, path: &[u8], fields: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let rest = format!(
            " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n",
            body.len()
        );
        stream.write_all(&[method.as_bytes(), b" ", path, rest.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }

    /// The answer to one datagram.
    pub(crate) fn tftp(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(datagram, ("127.0.0.1", self.tftp)).unwrap();
        let mut buffer = [0; 2048];
        let (length, from) = socket.recv_from(&mut buffer).ok()?;
        // Whatever it is, that was enough of it.
        let _ = socket.send_to(b"\0\x05\0\0stop\0", from);
        Some(buffer[..length].to_vec())
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Every regular file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found
}
