//! An archive to a root image, by the tools that are made for it: `sqfstar` (squashfs-tools 4.5 and later) or
//! `mkfs.erofs --tar` (erofs-utils 1.8 and later). They read the archive as a stream; the same archive gives the
//! same image.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;

use crate::base::limits::COMMAND_STDERR_BYTES_MAX;
use crate::cli::image::source::scratch::Scratch;

const PIPE_BYTES: usize = 1 << 20;

/// File systems of root images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Small, and every kernel reads it
    #[default]
    Squashfs,
    /// Larger, and faster to read in small pieces
    Erofs,
}

/// A root image in the making. Write the archive to it, then call `finish`.
pub(crate) struct Squash {
    command: &'static str,
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    complaints: File,
    image: PathBuf,
}

impl Squash {
    /// `time`: when the file system is said to be made, in seconds since 1970; not before the newest of its files,
    /// which would be made older. `mode`: of its topmost folder.
    ///
    /// In archives sqfstar 4.5 passes over the root's own entry and makes it 0777 of the present moment. Its mode
    /// can be set, its time (`-root-time`) cannot: only SOURCE_DATE_EPOCH reaches it. It belongs to root always.
    ///
    /// # Errors
    /// The tool is not installed, or too old.
    pub(crate) fn start(format: Format, time: u64, mode: u32, scratch: &Scratch) -> anyhow::Result<Squash> {
        let time = time.min(u64::from(u32::MAX)).to_string();
        let (_, image) = scratch.create("root")?;
        let (complaints, _) = scratch.create("complaints")?;
        let (name, mut command) = match format {
            Format::Squashfs => {
                let mut command = Command::new("sqfstar");
                command.args(["-quiet", "-no-progress", "-exit-on-error", "-force", "-comp", "zstd"]);
                command.args(["-root-mode", &format!("{mode:o}")]).env("SOURCE_DATE_EPOCH", &time);
                command.arg(&image);
                ("sqfstar", command)
            }
            Format::Erofs => {
                check_erofs()?;
                let mut command = Command::new("mkfs.erofs");
                command.env_remove("SOURCE_DATE_EPOCH");
                command.args(["--quiet", "--tar=f", "-zlz4hc", "-T", &time, "--mkfs-time"]);
                // A file system without a name of its own is the same every time.
                command.args(["-U", "00000000-0000-0000-0000-000000000000"]).arg(&image);
                ("mkfs.erofs", command)
            }
        };
        command.env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(complaints.try_clone()?).stderr(complaints.try_clone()?);
        let mut child = command.spawn().with_context(|| match format {
            Format::Squashfs => "cannot run sqfstar: install squashfs-tools, 4.5 or later",
            Format::Erofs => "cannot run mkfs.erofs: install erofs-utils, 1.8 or later",
        })?;
        let input = child.stdin.take().map(|pipe| BufWriter::with_capacity(PIPE_BYTES, pipe));
        Ok(Squash { command: name, child, input, complaints, image })
    }

    /// The image, once all of the archive is there.
    ///
    /// # Errors
    /// `written` itself, unless the tool says why it went away; and what the tool says.
    pub(crate) fn finish(mut self, written: anyhow::Result<()>) -> anyhow::Result<PathBuf> {
        let broken_pipe = written.as_ref().err().is_some_and(|error| {
            error.chain().any(|cause| {
                cause
                    .downcast_ref::<io::Error>()
                    .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
            })
        });
        if !broken_pipe {
            written?;
        }
        // Closing its input tells the tool that the archive has ended.
        let flushed = self.input.take().map_or(Ok(()), |mut input| input.flush());
        let status = self.child.wait()?;
        if !status.success() || broken_pipe || flushed.is_err() {
            let complaints = self.complaints()?;
            bail!("{} failed ({status}): {}", self.command, complaints.trim());
        }
        Ok(self.image.clone())
    }

    fn complaints(&mut self) -> io::Result<String> {
        self.complaints.rewind()?;
        let mut bytes = Vec::new();
        (&mut self.complaints).take(COMMAND_STDERR_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Write for Squash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.input.as_mut().map_or(Err(io::ErrorKind::BrokenPipe.into()), |input| input.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Squash {
    fn drop(&mut self) {
        // It may have ended long ago; if not, nobody wants what it makes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Older ones take no archives, or make all files of one age.
fn check_erofs() -> anyhow::Result<()> {
    let help = Command::new("mkfs.erofs").arg("--help").stdin(Stdio::null()).output();
    let help = help.context("cannot run mkfs.erofs: install erofs-utils, 1.8 or later")?;
    let text = [help.stdout, help.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(
        text.contains("--tar") && text.contains("--mkfs-time"),
        "this mkfs.erofs is too old: erofs-utils 1.8 or later is needed, or leave --format away"
    );
    Ok(())
}
