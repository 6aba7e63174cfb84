//! `muster image verify`: holds what the head has against its names.

use anyhow::ensure;
use axum::http::Method;
use clap::Args;

use crate::api::v1::blobs::BlobBody;
use crate::api::v1::types::ImageBody;
use crate::cli::client::{Client, escape};
use crate::cli::image::show::{bytes, short};
use crate::cli::progress::bytes_bar;
use crate::cli::{Global, table};

/// Hold the files of an image, or of all, against their digests
///
/// The head does so by itself, slowly, once a week. A damaged file is set aside and no longer served; importing
/// the same image again replaces it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster image verify\n  muster image verify compute:prod")]
pub(crate) struct Verify {
    /// NAME:TAG, NAME@VERSION, or the first digits of a version; all files without one
    image: Option<String>,
}

impl Verify {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let files = self.files(client)?;
        let bar = bytes_bar();
        bar.set_length(files.iter().map(|(_, size)| size).sum());
        let mut checked: Vec<BlobBody> = Vec::new();
        for (digest, size) in files {
            bar.set_message(short(&digest));
            let answer = client.bare(Method::POST, &format!("/blobs/{}/verify", escape(&digest)))?;
            checked.push(serde_json::from_slice(&answer)?);
            bar.inc(size);
        }
        bar.finish_and_clear();
        let bad: Vec<&BlobBody> = checked.iter().filter(|blob| blob.state != "good").collect();
        if global.json {
            table::json(&checked)?;
        } else {
            let size = checked.iter().map(|blob| blob.size).sum();
            let rows: Vec<Vec<String>> = bad
                .iter()
                .map(|blob| vec![blob.digest.clone(), bytes(blob.size), blob.state.clone()])
                .collect();
            let good = format!("{} files, {}: what their digests say", checked.len(), bytes(size));
            table::print(&table::grid(&["digest", "size", "state"], &rows, &good))?;
        }
        ensure!(
            bad.is_empty(),
            "{} of {} files are damaged: import their images again",
            bad.len(),
            checked.len()
        );
        Ok(())
    }

    /// Digests and sizes.
    fn files(&self, client: &Client) -> anyhow::Result<Vec<(String, u64)>> {
        let Some(image) = &self.image else {
            let blobs: Vec<BlobBody> = client.get("/blobs")?;
            return Ok(blobs.into_iter().map(|blob| (blob.digest, blob.size)).collect());
        };
        let image: ImageBody = client.get(&format!("/images/{}", escape(image)))?;
        let root = image.root.map(|root| (root.digest, root.size));
        let others = [image.kernel].into_iter().chain(image.initrds).map(|file| (file.digest, file.size));
        Ok(others.chain(root).collect())
    }
}
