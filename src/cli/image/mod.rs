//! `muster image`: versions of images in and out of the head, and the tags that name them.

mod import;
mod inspect;
pub(crate) mod show;
mod source;
mod traffic;
mod upload;
mod verify;
mod work;

use axum::http::Method;
use clap::{Args, Subcommand};

use crate::api::v1::types::{GarbageBody, ImageBody, ImageDiffBody, ImageTagBody, MoveTagBody};
use crate::cli::client::{Client, escape};
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, table};

/// Import images, name their versions, roll back, remove the unused ones, see who downloads
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    Import(import::Import),
    Inspect(inspect::Inspect),
    /// List versions of images, and the tags that name them
    #[command(after_help = "Example:\n  muster image list compute")]
    List {
        /// Only versions of this image
        name: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a version: its files, parameters and where it came from
    #[command(after_help = "Examples:\n  muster image show compute:prod\n  muster image show compute@3f2a91")]
    Show {
        /// NAME:TAG, NAME@VERSION, or the first digits of a version
        image: String,
    },
    Tag(TagCommand),
    /// Put a tag back on the version that it named before; nodes boot that one from now on
    #[command(after_help = "Example:\n  muster image rollback compute:prod")]
    Rollback {
        /// NAME:TAG
        tag: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// List tags, with what they named before
    #[command(after_help = "Example:\n  muster image tags compute")]
    Tags {
        /// Only tags of this image
        name: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Remove a tag that nobody boots by; the version stays
    #[command(after_help = "Example:\n  muster image untag compute:test")]
    Untag {
        /// NAME:TAG
        tag: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Remove a version that no tag names and nobody is pinned to; `gc` then removes its files
    #[command(after_help = "Example:\n  muster image rm compute@3f2a91")]
    Rm {
        /// NAME@VERSION
        image: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Show how two versions differ
    #[command(after_help = "Example:\n  muster image diff compute:prod compute:2026-11-22")]
    Diff {
        /// The one to compare with
        from: String,
        /// The other
        to: String,
    },
    Gc(Gc),
    Verify(verify::Verify),
    Traffic(traffic::TrafficCommand),
}

/// Name a version, or move a name to another version: nodes that boot by the tag get it with their next boot
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster image tag compute:2026-11-22 compute:prod     promote
  muster image tag compute@3f2a91 compute:canary")]
pub(crate) struct TagCommand {
    /// The version: NAME:TAG, NAME@VERSION, or the first digits of a version
    image: String,
    /// The name that it gets: NAME:TAG
    tag: String,
    #[command(flatten)]
    dry: DryRun,
}

/// Remove versions that nothing needs, and files that belong to no image
///
/// Kept are versions that a tag names or named last, that an assignment or a profile is pinned to, that a machine
/// is downloading or booted since the head started, the newest ones, and what is younger than an hour.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster image gc --dry-run\n  muster image gc --newest 0")]
pub(crate) struct Gc {
    /// How many of the newest versions of each image stay in any case
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    newest: usize,
    #[command(flatten)]
    dry: DryRun,
}

impl Image {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let writer = |dry| Writer { client, global, dry };
        match self {
            Image::Import(import) => import.run(client, global),
            Image::Inspect(inspect) => inspect.run(global),
            Image::List { name, watch } => watch.show(|| {
                let images: Vec<ImageBody> = client.get(&of("/images", name.as_deref()))?;
                if global.json { table::json_text(&images) } else { Ok(show::list(&images)) }
            }),
            Image::Show { image } => {
                let image: ImageBody = client.get(&at(&image))?;
                if global.json { table::json(&image) } else { table::print(&show::one(&image)) }
            }
            Image::Tags { name, watch } => watch.show(|| {
                let tags: Vec<ImageTagBody> = client.get(&of("/image-tags", name.as_deref()))?;
                if global.json { table::json_text(&tags) } else { Ok(show::tags(&tags)) }
            }),
            Image::Tag(TagCommand { image, tag, dry }) => {
                let body = MoveTagBody { image };
                let path = tag_path(&tag);
                told(writer(dry).send(Method::PUT, &path, &body)?, global)
            }
            Image::Rollback { tag, dry } => {
                let path = format!("{}/rollback", tag_path(&tag));
                told(writer(dry).bare(Method::POST, &path)?, global)
            }
            Image::Untag { tag, dry } => writer(dry).remove(&tag_path(&tag), &format!("tag {tag}")),
            Image::Rm { image, dry } => writer(dry).remove(&at(&image), &format!("image {image}")),
            Image::Diff { from, to } => {
                let path = format!("/images/diff?from={}&to={}", escape(&from), escape(&to));
                let diff: ImageDiffBody = client.get(&path)?;
                if global.json { table::json(&diff) } else { table::print(&show::diff(&diff)) }
            }
            Image::Traffic(traffic) => traffic.run(client, global),
            Image::Verify(verify) => verify.run(client, global),
            Image::Gc(Gc { newest, dry }) => {
                let dry = if dry.dry_run { "&dry_run" } else { "" };
                let answer = client.bare(Method::POST, &format!("/images/gc?newest={newest}{dry}"))?;
                let garbage: GarbageBody = serde_json::from_slice(&answer)?;
                if global.json { table::json(&garbage) } else { table::print(&show::garbage(&garbage)) }
            }
        }
    }
}

fn at(image: &str) -> String {
    format!("/images/{}", escape(image))
}

fn tag_path(tag: &str) -> String {
    format!("/image-tags/{}", escape(tag))
}

fn of(path: &str, name: Option<&str>) -> String {
    name.map_or_else(|| path.to_owned(), |name| format!("{path}?name={}", escape(name)))
}

/// Prints a tag that was moved. None: it was a dry run and has been told.
fn told(tag: Option<ImageTagBody>, global: &Global) -> anyhow::Result<()> {
    match tag {
        Some(tag) if global.json => table::json(&tag),
        Some(tag) => table::print(&show::tags(&[tag])),
        None => Ok(()),
    }
}
