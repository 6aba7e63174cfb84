//! Answers without an end: lines as they come.

use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;

use crate::api::v1;
use crate::cli::client::{Client, Wire, refusal};
use crate::cli::progress::Metered;

/// How long a stream may be silent. The daemon sends a comment line far more often.
const SILENCE: Duration = Duration::from_secs(90);

/// Longest line: an event with all that it says.
const LINE_BYTES_MAX: usize = 4 << 20;

impl Client {
    /// Hands each line of an answer to `on_line`, until that says false or the answer ends.
    pub(crate) fn follow(
        &self,
        path: &str,
        mut on_line: impl FnMut(&str) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let request =
            self.request(Method::GET, &format!("{}{path}", v1::PREFIX), Metered::hidden(Bytes::new()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, body) =
            runtime.block_on(async { lines(self.open().await?, request, &mut on_line).await })?;
        if status.is_success() { Ok(()) } else { Err(refusal(status, &body)) }
    }
}

/// A refusal comes back with its body.
async fn lines(
    stream: Box<dyn Wire>,
    request: Request<Metered>,
    on_line: &mut dyn FnMut(&str) -> anyhow::Result<bool>,
) -> anyhow::Result<(StatusCode, Bytes)> {
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
