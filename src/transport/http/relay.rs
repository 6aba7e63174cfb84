//! A connection that hyper serves until a file is asked for. Between two requests, when nothing is under way, the
//! next head is looked at first; if it asks for a file, hyper sees a clean end of the connection, and the
//! connection goes on without it. iPXE fetches script, kernel and initrd over one connection: so each of them goes
//! the way that suits it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::transport::http::head::{Said, read};

/// One read while nothing is under way.
const PEEK_BYTES: usize = 4 << 10;

/// What hyper is about to do, as far as it can be seen from outside.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Requests whose answers are not whole yet.
    under_way: AtomicUsize,
    /// Something was asked and its answer may not be out yet.
    busy: AtomicBool,
}

/// Held by an answer until it is whole.
pub(crate) struct UnderWay(Arc<State>);

impl UnderWay {
    pub(crate) fn new(state: &Arc<State>) -> UnderWay {
        state.under_way.fetch_add(1, Ordering::AcqRel);
        state.busy.store(true, Ordering::Release);
        UnderWay(Arc::clone(state))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The connection as hyper sees it.
pub(crate) struct Relay {
    stream: TcpStream,
    /// Read before hyper took over, or looked at and meant for it.
    replay: Bytes,
    /// Read between requests.
    held: Vec<u8>,
    /// The next request asks for a file: hyper sees the end.
    released: bool,
    prefixes: &'static [&'static str],
    state: Arc<State>,
}

impl Relay {
    pub(crate) fn new(
        stream: TcpStream,
        replay: Vec<u8>,
        prefixes: &'static [&'static str],
        state: Arc<State>,
    ) -> Relay {
        Relay { stream, replay: replay.into(), held: Vec::new(), released: false, prefixes, state }
    }

    /// The connection with what was read of the next request; None if it has ended.
    pub(crate) fn released(self) -> Option<(TcpStream, Vec<u8>)> {
        self.released.then_some((self.stream, self.held))
    }

    /// Looks at what comes while nothing is under way. Ready: `replay` holds something, or it is the end.
    fn look(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut octets = [0; PEEK_BYTES];
            let mut room = ReadBuf::new(&mut octets);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
            let ended = room.filled().is_empty();
            self.held.extend_from_slice(room.filled());
            match read(&self.held, self.prefixes) {
                Said::More if !ended => {}
                Said::File(_) => {
                    self.released = true;
                    return Poll::Ready(Ok(()));
                }
                Said::More | Said::Other => {
                    self.replay = std::mem::take(&mut self.held).into();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn give(&mut self, room: &mut ReadBuf<'_>) {
        let count = self.replay.len().min(room.remaining());
        room.put_slice(&self.replay.split_to(count));
    }
}

impl AsyncRead for Relay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.released {
            return Poll::Ready(Ok(()));
        }
        if self.replay.is_empty() {
            if self.state.busy.load(Ordering::Acquire) {
                return Pin::new(&mut self.stream).poll_read(context, room);
            }
            ready!(self.look(context))?;
        }
        self.give(room);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Relay {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes only when all that it had is written: if no answer is under way then, all are out.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        if self.state.under_way.load(Ordering::Acquire) == 0 {
            self.state.busy.store(false, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// An answer's body that says when it is whole.
pub(crate) struct Answered {
    body: Body,
    _under_way: UnderWay,
}

impl Answered {
    pub(crate) fn new(body: Body, under_way: UnderWay) -> Answered {
        Answered { body, _under_way: under_way }
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
