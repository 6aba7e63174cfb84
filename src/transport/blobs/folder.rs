//! Directories by descriptor. No name leads through a symbolic link or out of the directory, whatever somebody
//! planted there.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// An open directory.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens a directory, made with its parents if it is not there.
    pub(crate) fn root(path: &Path) -> io::Result<Folder> {
        std::fs::create_dir_all(path)?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        Ok(Folder(nix::fcntl::open(path, flags, Mode::empty())?))
    }

    fn at(&self, name: &str, flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)
            .mode(Mode::from_bits_truncate(mode))
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        Ok(openat2(&self.0, name, how)?)
    }

    /// A directory in this one.
    pub(crate) fn sub(&self, name: &str) -> io::Result<Folder> {
        Ok(Folder(self.at(name, OFlag::O_DIRECTORY | OFlag::O_RDONLY, 0)?))
    }

    /// A directory in this one, made if it is not there; that it was made survives power loss.
    pub(crate) fn make(&self, name: &str) -> io::Result<Folder> {
        match mkdirat(&self.0, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => self.sync()?,
            Err(nix::Error::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.sub(name)
    }

    /// A regular file to read.
    pub(crate) fn open(&self, name: &str) -> io::Result<File> {
        self.regular(name, OFlag::O_RDONLY)
    }

    /// The same, past the page cache where the file system can.
    pub(crate) fn open_direct(&self, name: &str) -> io::Result<File> {
        match self.regular(name, OFlag::O_RDONLY | OFlag::O_DIRECT) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.open(name),
            other => other,
        }
    }

    /// A regular file that is there, to read and write.
    pub(crate) fn edit(&self, name: &str) -> io::Result<File> {
        self.regular(name, OFlag::O_RDWR)
    }

    fn regular(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let file = File::from(self.at(name, flags, 0)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// A new file, readable by its owner until it is done.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        Ok(File::from(self.at(name, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL, 0o600)?))
    }

    /// Moves a file to another directory in place of what is there.
    pub(crate) fn hand(&self, name: &str, to: &Folder, other: &str) -> io::Result<()> {
        Ok(renameat(&self.0, name, &to.0, other)?)
    }

    /// Removes a file. That it is not there is no failure.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::Error::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes names durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(&self.0)?)
    }

    /// The names in it that are text; nothing of ours is called otherwise.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(&self.0, ".", flags, Mode::empty())?;
        for entry in dir.iter() {
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Size and time of change (milliseconds) of a regular file; None for anything else.
    pub(crate) fn facts(&self, name: &str) -> io::Result<Option<(u64, u64)>> {
        let stat = match nix::sys::stat::fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(nix::Error::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
        let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
        let millis = seconds * 1000 + u64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1_000_000;
        Ok(regular.then(|| (u64::try_from(stat.st_size).unwrap_or(0), millis)))
    }

    /// Free and total bytes where this lies.
    pub(crate) fn room(&self) -> io::Result<(u64, u64)> {
        let stat = nix::sys::statvfs::fstatvfs(&self.0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
        Ok((bytes(stat.blocks_available()), bytes(stat.blocks())))
    }
}
