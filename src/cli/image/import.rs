//! `muster image import`: from what a person has to a version on the head.

use anyhow::Context as _;
use axum::http::Method;
use clap::Args;

use crate::api::v1::types::{ImageBody, NewImageBody};
use crate::cli::client::Client;
use crate::cli::image::source::{self, Options, Prepared};
use crate::cli::image::work::WorkDir;
use crate::cli::image::{show, upload};
use crate::cli::progress::{Steps, bytes_bar};
use crate::cli::{Global, table};
use crate::model::TagKey;

/// Import an image: kernel, initrds and root as one version, tagged
#[derive(Debug, Args)]
#[command(after_help = "\
SOURCE is a directory or a tarball with vmlinuz-*, initramfs-*.img and rootfs-*, an OCI image (oci:PATH[:TAG] for a
layout, oci-archive:FILE, HOST/REPOSITORY:TAG in a registry), or a URL of one of these. Content that the head has
already is not sent again, and an import that was cut off goes on where it stopped when it is repeated.

Examples:
  muster image import compute:2026-11-22 ./compute/
  muster image import compute:2026-11-22 --kernel vmlinuz --initrd initrd.img --root root.squashfs
  muster image import compute registry.example/site/compute:v7 --delivery verified --params 'console=ttyS0'
  muster image import compute oci:./layout:v7 --also prod")]
pub(crate) struct Import {
    /// Name of the image and, after a colon, the tag of this version (latest)
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
    /// What to import; without it, the files that options name
    #[arg(value_name = "SOURCE")]
    spec: Option<String>,
    #[command(flatten)]
    source: Options,
    /// Kernel parameters of this image; {head} {http} {images} {name} are filled in, and {root} is the root's URL
    #[arg(long, allow_hyphen_values = true)]
    params: Option<String>,
    /// How the initrd brings the root: live (dracut), fetch (live-boot), verified (muster's hook), nbd (on demand),
    /// params (the parameters say it)
    #[arg(long, value_parser = ["live", "fetch", "verified", "nbd", "params"])]
    delivery: Option<String>,
    /// A fact to keep with the version: KEY=VALUE
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Another tag that names the version too; nodes that boot by it get it next
    #[arg(long, value_name = "TAG")]
    also: Vec<String>,
    #[command(flatten)]
    work: WorkDir,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Import {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let Import { name, spec, source, params, delivery, labels, also, work } = self;
        let key: TagKey = name.parse()?;
        let work = work.open()?;
        let steps = Steps::new(None);
        let prepared = source::open(spec.as_deref(), &source, work.path(), &steps)?;
        let Prepared { kernel, initrds, root, kernel_version, arch, cmdline, labels: found, origin, notes } =
            prepared;
        drop(steps);
        notes.iter().for_each(|note| eprintln!("muster: {note}"));
        let kernel = kernel.context("there is no kernel; name it with --kernel")?;
        let send = |path: &std::path::Path| {
            let bar = bytes_bar();
            let digest = upload::upload(client, path, &bar);
            bar.finish_and_clear();
            digest.map(|digest| digest.to_string())
        };
        let body = NewImageBody {
            name: key.name.to_string(),
            tag: Some(key.tag.to_string()),
            arch: arch.map(|arch| arch.as_str().to_owned()),
            kernel_version,
            kernel: send(&kernel)?,
            initrds: initrds.iter().map(|initrd| send(initrd)).collect::<Result<_, _>>()?,
            root: root.map(|root| send(&root)).transpose()?,
            delivery,
            params: params.or(cmdline).unwrap_or_default(),
            origin,
            labels: found.into_iter().chain(labels).collect(),
        };
        let mut image: ImageBody = client.json(Method::POST, "/images", &body)?;
        for tag in also {
            let body = NewImageBody { tag: Some(tag), ..body.clone() };
            image = client.json(Method::POST, "/images", &body)?;
        }
        if global.json { table::json(&image) } else { table::print(&show::list(&[image])) }
    }
}
