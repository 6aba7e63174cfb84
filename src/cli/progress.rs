//! Progress of long work, on terminals only: octets while a body is sent, then a spinner while the daemon thinks.

use std::io::IsTerminal;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Bodies below this are sent before anybody could read a bar.
const SHOWN_BYTES: usize = 1 << 20;

/// Octets that are handed over at a time: small enough that the bar moves.
const CHUNK_BYTES: usize = 128 << 10;

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// A request's body that shows how much of it is gone.
pub(crate) struct Metered {
    rest: Bytes,
    bar: ProgressBar,
}

impl Metered {
    /// `then` is what the daemon does once it has the body.
    pub(crate) fn new(bytes: Bytes, then: &'static str) -> Metered {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let bar = if bytes.len() >= SHOWN_BYTES && std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            bar.set_style(style("sending {wide_bar} {bytes} of {total_bytes}"));
            bar.set_message(then);
            bar
        } else {
            ProgressBar::hidden()
        };
        Metered { rest: bytes, bar }
    }

    /// Without a bar of its own: the caller shows one for many requests.
    pub(crate) fn hidden(bytes: Bytes) -> Metered {
        Metered { rest: bytes, bar: ProgressBar::hidden() }
    }
}

/// A bar for octets that are read and sent; nothing is seen off terminals.
pub(crate) fn bytes_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.set_style(style("{wide_bar} {bytes} of {total_bytes} {msg}"));
    bar
}

impl Body for Metered {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(CHUNK_BYTES);
        let chunk = self.rest.split_to(length);
        self.bar.inc(u64::try_from(length).unwrap_or(u64::MAX));
        if self.rest.is_empty() {
            self.bar.set_style(style("{spinner} {msg} … {elapsed}"));
            self.bar.enable_steady_tick(TICK);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}

/// What is being done, with a counter; nothing is seen off terminals.
pub(crate) struct Steps(ProgressBar);

impl Steps {
    /// `count` steps; None: nobody knows how many.
    pub(crate) fn new(count: Option<usize>) -> Steps {
        if !std::io::stderr().is_terminal() {
            return Steps(ProgressBar::hidden());
        }
        let length = count.and_then(|count| u64::try_from(count).ok());
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        bar.set_style(style(match length {
            Some(_) => "{wide_bar} {pos} of {len} {msg}",
            None => "{spinner} {msg} … {elapsed}",
        }));
        bar.enable_steady_tick(TICK);
        Steps(bar)
    }

    /// Says what is done now.
    pub(crate) fn on(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// How many steps are done by now.
    pub(crate) fn at(&self, count: u64) {
        self.0.set_position(count);
    }

    pub(crate) fn done(&self) {
        self.0.inc(1);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use http_body_util::BodyExt;
    use hyper::body::Body;
    use indicatif::ProgressStyle;

    use crate::cli::progress::Metered;

    #[test]
    fn a_metered_body_is_the_body() {
        let bytes = Bytes::from((0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<u8>>());
        let body = Metered::new(bytes.clone(), "thinking");
        assert_eq!(body.size_hint().exact(), Some(300_000));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(body.collect()).unwrap().to_bytes(), bytes);
        assert!(Metered::new(Bytes::new(), "").is_end_stream());
    }

    #[test]
    fn templates_are_understood() {
        for template in [
            "sending {wide_bar} {bytes} of {total_bytes}",
            "{spinner} {msg} … {elapsed}",
            "{wide_bar} {pos} of {len} {msg}",
            "{wide_bar} {bytes} of {total_bytes} {msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
