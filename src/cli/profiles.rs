//! `muster profile`, and the options that describe a boot target.

use anyhow::Context;
use axum::http::Method;
use clap::{Args, Subcommand};

use crate::api::v1::types::{ImageBody, ProfileBody, TargetBody};
use crate::cli::client::{Client, escape};
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, edit, table};

/// List, show, change and remove profiles: boot targets with a name
#[derive(Debug, Subcommand)]
pub(crate) enum Profile {
    /// List profiles
    #[command(after_help = "Example:\n  muster profile list")]
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a profile
    #[command(after_help = "Example:\n  muster profile show compute")]
    Show {
        name: String,
        #[command(flatten)]
        watch: Watch,
    },
    /// Make or replace a profile
    #[command(after_help = "\
Examples:
  muster profile set compute --image compute:prod
  muster profile set compute --kernel compute/vmlinuz --initrd compute/initrd.img --params 'console=ttyS0'
  muster profile set menu --script ./menu.ipxe
  muster profile set disk --local")]
    Set {
        name: String,
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Change all of a profile in an editor (VISUAL, EDITOR, or vi)
    #[command(after_help = "Example:\n  muster profile edit compute")]
    Edit {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Remove a profile that nobody boots
    #[command(after_help = "Example:\n  muster profile rm menu")]
    Rm {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
}

/// What to boot.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Target {
    /// Image: NAME:TAG, or NAME@VERSION to stay with a version whatever its tags do
    #[arg(long, conflicts_with_all = ["kernel", "script", "chain", "local"])]
    pub(crate) image: Option<String>,
    /// URL of the kernel, or its path below images.root
    #[arg(long)]
    pub(crate) kernel: Option<String>,
    /// URL or path of an initrd; may be given several times
    #[arg(long = "initrd", requires = "kernel")]
    pub(crate) initrds: Vec<String>,
    /// Kernel parameters, after the image's own; {head} {http} {images} {name} are filled in
    #[arg(long, allow_hyphen_values = true, default_value = "")]
    pub(crate) params: String,
    /// File with an iPXE script of your own
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    pub(crate) script: Option<std::path::PathBuf>,
    /// URL that iPXE chains to
    #[arg(long, value_name = "URL", conflicts_with_all = ["kernel", "script"])]
    pub(crate) chain: Option<String>,
    /// The local disk
    #[arg(long, conflicts_with_all = ["kernel", "script", "chain"])]
    pub(crate) local: bool,
}

impl Target {
    /// None: no option describes a target. The first digits of a version are made whole here: what is stored
    /// names one version whatever comes later.
    pub(crate) fn body(self, client: &Client) -> anyhow::Result<Option<TargetBody>> {
        let Target { image, kernel, initrds, params, script, chain, local } = self;
        let read = |file: std::path::PathBuf| {
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        let script = script.map(read).transpose()?;
        let whole = |image: String| match image.split_once('@') {
            None => Ok(image),
            Some(_) => {
                let known: ImageBody = client.get(&format!("/images/{}", escape(&image)))?;
                anyhow::Ok(format!("{}@{}", known.name, known.version))
            }
        };
        let image = image.map(whole).transpose()?;
        let body = TargetBody { image, kernel, initrds, params, script, chain, local };
        Ok(Some(body).filter(|body| *body != TargetBody::default()))
    }
}

impl Profile {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let path = |name: &str| format!("/profiles/{}", escape(name));
        let writer = |dry| Writer { client, global, dry };
        match self {
            Profile::List { watch } => watch.show(|| {
                let profiles: Vec<ProfileBody> = client.get("/profiles")?;
                if global.json { table::json_text(&profiles) } else { Ok(list(&profiles)) }
            }),
            Profile::Show { name, watch } => watch.show(|| {
                let profile: ProfileBody = client.get(&path(&name))?;
                if global.json { table::json_text(&profile) } else { Ok(list(&[profile])) }
            }),
            Profile::Set { name, description, target, dry } => {
                let target = target.body(client)?;
                let target = target.ok_or_else(|| {
                    anyhow::anyhow!("give one of --image, --kernel, --script, --chain, --local")
                })?;
                let body = ProfileBody { name: name.clone(), description, target };
                match writer(dry).send::<ProfileBody>(Method::PUT, &path(&name), &body)? {
                    Some(profile) if global.json => table::json(&profile),
                    Some(profile) => table::print(&list(&[profile])),
                    None => Ok(()),
                }
            }
            Profile::Edit { name, dry } => edit::edit(&writer(dry), &path(&name)),
            Profile::Rm { name, dry } => writer(dry).remove(&path(&name), &format!("profile {name}")),
        }
    }
}

fn list(profiles: &[ProfileBody]) -> String {
    let row = |profile: &ProfileBody| {
        vec![profile.name.clone(), sentence(&profile.target), profile.description.clone()]
    };
    let rows: Vec<Vec<String>> = profiles.iter().map(row).collect();
    table::grid(&["name", "boots", "description"], &rows, "no profiles")
}

/// A target on one line.
pub(crate) fn sentence(target: &TargetBody) -> String {
    match target {
        TargetBody { kernel: Some(kernel), initrds, params, .. } => {
            [vec![kernel.clone()], initrds.clone(), vec![params.clone()]]
                .concat()
                .join(" ")
                .trim_end()
                .to_owned()
        }
        TargetBody { image: Some(image), params, .. } => {
            format!("image {image} {params}").trim_end().to_owned()
        }
        TargetBody { script: Some(script), .. } => format!("a script of {} lines", script.lines().count()),
        TargetBody { chain: Some(url), .. } => format!("chain {url}"),
        TargetBody { local: true, .. } => "the local disk".to_owned(),
        TargetBody { .. } => "nothing".to_owned(),
    }
}
