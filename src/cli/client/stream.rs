//! Answers without an end: lines as they come.

use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::cli::progress::Metered;

/// How long a stream may be silent. The daemon sends a comment line far more often.
const SILENCE: Duration = Duration::from_secs(90);

/// Longest line: an event with all that it says.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Sends a request and hands each line of the answer to `on_line`, until that says false or the answer ends.
/// A refusal comes back with its body.
pub(crate) async fn lines<S>(
    stream: S,
    request: Request<Metered>,
    on_line: &mut dyn FnMut(&str) -> anyhow::Result<bool>,
) -> anyhow::Result<(StatusCode, Bytes)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = std::pin::pin!(connection);
    let reading = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            return Ok((status, body.collect().await?.to_bytes()));
        }
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let frame = tokio::time::timeout(SILENCE, body.frame()).await;
            let Some(frame) = frame.context("the daemon has gone silent")? else { break };
            let Ok(data) = frame?.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if !on_line(line.trim_end_matches(['\n', '\r']))? {
                    return Ok((status, Bytes::new()));
                }
            }
            anyhow::ensure!(rest.len() <= LINE_BYTES_MAX, "the daemon sends a line without an end");
        }
        Ok((status, Bytes::new()))
    };
    let mut reading = std::pin::pin!(reading);
    tokio::select! {
        answer = reading.as_mut() => answer,
        ended = connection.as_mut() => {
            ended?;
            reading.await
        }
    }
}
