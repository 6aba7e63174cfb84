//! Files to HTTP answers. Nothing outside the root can be named, whatever the path says or a link points to.

use std::io::SeekFrom;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, header, response};
use axum::response::Response;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::engine::image::serve::{FileRequest, Plan, media_type, plan};

/// One read from disk. Larger reads gain nothing measurable; smaller ones cost wake-ups.
const READ_BYTES: usize = 256 << 10;

/// A directory from which files are served.
#[derive(Clone, Debug)]
pub struct ImageRoot {
    folder: Arc<OwnedFd>,
    path: Arc<Path>,
}

/// A regular file below a root, open, with what HTTP says about it.
#[derive(Debug)]
pub struct OpenedFile {
    file: std::fs::File,
    pub size: u64,
    /// Strong validator: inode, size and time of change.
    pub etag: String,
}

/// Says why a file cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is no such file")]
    NotFound,
    #[error("this is not a file")]
    NotAFile,
    #[error("the file cannot be read")]
    Io(#[from] std::io::Error),
}

impl ImageRoot {
    /// Opens the root directory.
    ///
    /// # Errors
    /// It is not there, or is not a directory.
    pub fn open(path: &Path) -> std::io::Result<ImageRoot> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
        let folder = nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())?;
        Ok(ImageRoot { folder: Arc::new(folder), path: path.into() })
    }

    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path.to_path_buf()
    }

    /// Opens a file by its cleaned path (`engine::image::path::clean`). The kernel keeps it below the root,
    /// links included.
    ///
    /// # Errors
    /// It is not there, is no regular file, or cannot be read.
    pub fn file(&self, path: &str) -> Result<OpenedFile, OpenError> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let descriptor = openat2(&*self.folder, path, how).map_err(|error| match error {
            nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::EXDEV | nix::Error::ELOOP => {
                OpenError::NotFound
            }
            other => OpenError::Io(other.into()),
        })?;
        OpenedFile::new(std::fs::File::from(descriptor))
    }
}

impl OpenedFile {
    /// A file whose content has this name and never changes: the name is its validator.
    pub(crate) fn named(file: std::fs::File, name: &str) -> Result<OpenedFile, OpenError> {
        Ok(OpenedFile { etag: format!("\"{name}\""), ..OpenedFile::new(file)? })
    }

    fn new(file: std::fs::File) -> Result<OpenedFile, OpenError> {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(OpenError::NotAFile);
        }
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let changed = changed.unwrap_or_default().as_nanos();
        let etag = format!("\"{:x}-{:x}-{changed:x}\"", metadata.ino(), metadata.len());
        Ok(OpenedFile { file, size: metadata.len(), etag })
    }

    /// The entity tag: it changes with the content.
    #[must_use]
    pub(crate) fn validator(&self) -> &str {
        &self.etag
    }

    /// The open file.
    #[must_use]
    pub fn into_std(self) -> std::fs::File {
        self.file
    }

    /// The first octets, at most so many.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn head(&self, octets: u64) -> std::io::Result<Vec<u8>> {
        use std::io::Read as _;
        let mut head = Vec::new();
        (&self.file).take(octets).read_to_end(&mut head)?;
        Ok(head)
    }

    /// The answer to a GET or HEAD for this file.
    ///
    /// # Errors
    /// The file cannot be positioned.
    pub async fn respond(
        self,
        method: &Method,
        headers: &HeaderMap,
        name: &str,
    ) -> Result<Response, OpenError> {
        let (head, part) = answer_head(file_request(headers), self.size, &self.etag, name);
        let body = match part.filter(|_| method != Method::HEAD) {
            None => Body::empty(),
            Some((first, length)) => {
                let mut file = tokio::fs::File::from_std(self.file);
                file.set_max_buf_size(READ_BYTES);
                file.seek(SeekFrom::Start(first)).await?;
                Body::from_stream(ReaderStream::with_capacity(file.take(length), READ_BYTES))
            }
        };
        Ok(head.body(body).expect("status and headers are valid"))
    }
}

/// The answer to a GET or HEAD for bytes that are in memory, such as a loader.
#[must_use]
pub fn respond_bytes(
    method: &Method,
    headers: &HeaderMap,
    name: &str,
    bytes: &Bytes,
    etag: &str,
) -> Response {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let (head, part) = answer_head(file_request(headers), size, etag, name);
    let inside = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let body = match part.filter(|_| method != Method::HEAD) {
        None => Body::empty(),
        Some((first, length)) => Body::from(bytes.slice(inside(first)..inside(first.saturating_add(length)))),
    };
    head.body(body).expect("status and headers are valid")
}

/// Status and headers of the planned answer, and the part of the file (first byte, length) that is its body.
pub(crate) fn answer_head(
    request: FileRequest<'_>,
    size: u64,
    etag: &str,
    name: &str,
) -> (response::Builder, Option<(u64, u64)>) {
    let head = Response::builder()
        .header(header::ETAG, etag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, media_type(name));
    match plan(request, size, etag) {
        Plan::Whole => (head.header(header::CONTENT_LENGTH, size), Some((0, size))),
        Plan::Range { first, last } => {
            let length = last - first + 1;
            let head = head
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_LENGTH, length)
                .header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
            (head, Some((first, length)))
        }
        Plan::NotModified => (head.status(StatusCode::NOT_MODIFIED), None),
        Plan::Unsatisfiable => {
            let head = head
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_LENGTH, 0)
                .header(header::CONTENT_RANGE, format!("bytes */{size}"));
            (head, None)
        }
    }
}

fn file_request(headers: &HeaderMap) -> FileRequest<'_> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    FileRequest {
        range: text(header::RANGE),
        if_range: text(header::IF_RANGE),
        if_none_match: text(header::IF_NONE_MATCH),
    }
}

#[cfg(test)]
mod tests;
