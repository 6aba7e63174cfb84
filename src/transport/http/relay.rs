//! A connection that hyper serves until a file is asked for. hyper is given one request at a time, each a whole
//! head that nothing follows; when the next one asks for a file, hyper sees a clean end of the connection, which
//! goes on without it. iPXE fetches script, kernel and initrd over one connection: so each of them goes the way
//! that suits it.
//!
//! A request with a body, or one that cannot be read here, is hyper's with all that follows on its connection:
//! where a body ends is for hyper alone to say. Were that judged twice, a body could pass for a request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::transport::http::head::{HEAD_BYTES_MAX, Said, read};

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
    /// On its way to hyper.
    given: Bytes,
    /// Read, and not looked at yet or not whole.
    held: Vec<u8>,
    /// The request that comes first is hyper's whatever its path.
    routed: bool,
    /// hyper was given something whose end it alone knows, and gets the rest.
    kept: bool,
    /// The next request asks for a file: hyper sees the end.
    released: bool,
    prefixes: &'static [&'static str],
    state: Arc<State>,
}

impl Relay {
    pub(crate) fn new(
        stream: TcpStream,
        held: Vec<u8>,
        routed: bool,
        prefixes: &'static [&'static str],
        state: Arc<State>,
    ) -> Relay {
        Relay { stream, given: Bytes::new(), held, routed, kept: false, released: false, prefixes, state }
    }

    /// The connection with what was read of the next request; None if it has ended.
    pub(crate) fn released(self) -> Option<(TcpStream, Vec<u8>)> {
        self.released.then_some((self.stream, self.held))
    }

    /// Waits for the next request. Ready: `given` holds something, or it is the end.
    fn look(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let whole = match read(&self.held, self.prefixes) {
                Said::File(head) if self.routed => Some(head.length),
                Said::File(_) => {
                    self.released = true;
                    return Poll::Ready(Ok(()));
                }
                Said::Other { whole } => whole,
                Said::More if ready!(self.fill(context))? => continue,
                Said::More => None, // it ended in the middle: hyper says what is wrong with that
            };
            self.routed = false;
            self.kept = whole.is_none();
            self.given = match whole {
                Some(length) => self.held.drain(..length).collect::<Vec<u8>>().into(),
                None => std::mem::take(&mut self.held).into(),
            };
            return Poll::Ready(Ok(()));
        }
    }

    /// Reads on. False: the client has closed its side.
    fn fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut octets = [0; PEEK_BYTES];
        let mut room = ReadBuf::new(&mut octets);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
        self.held.extend_from_slice(room.filled());
        Poll::Ready(Ok(!room.filled().is_empty()))
    }

    /// While an answer is under way, hyper reads only to hear that its client has gone. Ready: so it is.
    fn watch(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What comes meanwhile is the next request, and waits; of one that sends more, the end is not watched.
        while self.held.len() < HEAD_BYTES_MAX {
            if !ready!(self.fill(context))? {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending // until `poll_flush` wakes this task
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
        if self.given.is_empty() {
            if self.kept {
                return Pin::new(&mut self.stream).poll_read(context, room);
            }
            if self.state.busy.load(Ordering::Acquire) {
                return self.watch(context);
            }
            ready!(self.look(context))?;
        }
        let count = self.given.len().min(room.remaining());
        room.put_slice(&self.given.split_to(count));
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
        if self.state.under_way.load(Ordering::Acquire) == 0
            && self.state.busy.swap(false, Ordering::AcqRel)
            && !self.held.is_empty()
        {
            context.waker().wake_by_ref(); // the next request came while this one was answered
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
