//! `muster secret` and `muster ssh-ca`. Values come from a file or standard input, never from the command line, which
//! everybody on the machine can read.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use zeroize::Zeroizing;

use crate::api::v1::types::{
    NewSecretBody, NewVersionBody, RevealedBody, SecretBody, SecretEnvBody, SecretFileBody,
    SecretVersionBody, WhatBody,
};
use crate::base::Level;
use crate::base::limits::SECRET_BYTES_MAX;
use crate::cli::client::{Client, escape};
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, table};

/// Keep secrets that nodes get: munge's key, SSH host keys, files, variables
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// List secrets, without values
    #[command(after_help = "Example:\n  muster secret list")]
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a secret; its value only with --reveal, which is written down
    #[command(after_help = "\
Examples:
  muster secret show munge
  muster secret show munge --reveal > munge.key
  muster secret show ssh-host-keys --node nid001 --reveal")]
    Show {
        #[command(flatten)]
        whose: Whose,
        /// Print the value
        #[arg(long)]
        reveal: bool,
        /// Not the newest value but this one
        #[arg(long, value_name = "NUMBER", requires = "reveal")]
        of: Option<u64>,
    },
    Set(Box<Set>),
    /// Give a secret a new value: one that the head makes, or your own
    #[command(after_help = "\
Examples:
  muster secret rotate munge
  muster secret rotate db-password --file -          from standard input
  muster secret rotate ssh-host-keys --node nid001")]
    Rotate {
        #[command(flatten)]
        whose: Whose,
        /// File with the value; - is standard input
        #[arg(long)]
        file: Option<PathBuf>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Show who changed a secret and when
    #[command(after_help = "Example:\n  muster secret history munge")]
    History {
        #[command(flatten)]
        whose: Whose,
    },
    /// Remove a secret with all its versions
    #[command(after_help = "Example:\n  muster secret rm db-password --group login")]
    Rm {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        dry: DryRun,
    },
}

/// Whose secret.
#[derive(Clone, Debug, Args)]
pub(crate) struct Whose {
    /// Its name; or all of it, such as munge@group:compute
    name: String,
    /// Of this node alone
    #[arg(long, value_name = "NODE", conflicts_with = "group")]
    node: Option<String>,
    /// Of the members of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

/// Make a secret or replace it; the value comes from --file, --generate or standard input
#[derive(Debug, Args)]
#[command(after_help = "\
Of secrets with one name a node gets its own, else its group's, else the site's.

Examples:
  muster secret set munge --generate munge --level 2
  muster secret set ssh-host-keys --generate ssh-host-keys
  muster secret set keytab --node nid001 --file nid001.keytab --path /etc/krb5.keytab
  pass show db | muster secret set db --group login --env /etc/sysconfig/app:DB_PASSWORD
  muster secret set db --group login --env /etc/sysconfig/app:DB_PASSWORD --keep --level 2p")]
pub(crate) struct Set {
    #[command(flatten)]
    whose: Whose,
    /// What a node must prove to get it: 0 address, 1 boot grant, 2 TPM, 2p TPM and what was booted
    #[arg(long, default_value = "1")]
    level: Level,
    /// Where nodes write it; without this and --env, templates and programs ask for it
    #[arg(long, conflicts_with = "env")]
    path: Option<String>,
    /// Whose the file is: USER or USER:GROUP
    #[arg(long, value_name = "USER", default_value = "root", requires = "path")]
    owner: String,
    /// Permissions of the file, octal
    #[arg(long, default_value = "0400", requires = "path")]
    mode: String,
    /// FILE:NAME, a variable in a file of environment variables
    #[arg(long, value_name = "FILE:NAME")]
    env: Option<String>,
    /// How nodes come to new versions: next-boot, push, coordinated; munge's key coordinated, others next-boot
    #[arg(long)]
    rotate: Option<String>,
    /// File with the value; - is standard input, as is nothing at all
    #[arg(long)]
    file: Option<PathBuf>,
    /// Have the head make the value
    #[arg(long, value_name = "KIND", conflicts_with = "file")]
    generate: Option<Generate>,
    /// Change what it is, and keep its value
    #[arg(long, conflicts_with_all = ["file", "generate"])]
    keep: bool,
    #[command(flatten)]
    dry: DryRun,
}

/// What the head makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Generate {
    /// munge's key, where munge looks for it
    Munge,
    /// SSH host keys, of each node its own
    SshHostKeys,
    /// 43 random characters
    Random,
}

/// The authority that signs nodes' SSH host keys
#[derive(Debug, Subcommand)]
pub(crate) enum SshCa {
    /// Print the line by which SSH clients know every node
    #[command(after_help = "\
Examples:
  muster ssh-ca print >> /etc/ssh/ssh_known_hosts
  muster ssh-ca print --hosts 'nid*,*.demo.example' >> ~/.ssh/known_hosts")]
    Print {
        /// Which hosts it may speak for, as known_hosts writes them
        #[arg(long, value_name = "PATTERNS", default_value = "*")]
        hosts: String,
    },
}

impl Whose {
    fn key(&self) -> anyhow::Result<String> {
        let Whose { name, node, group } = self;
        let scope = match (node, group) {
            (Some(node), _) => format!("node:{node}"),
            (None, Some(group)) => format!("group:{group}"),
            (None, None) => return Ok(name.clone()),
        };
        anyhow::ensure!(!name.contains('@'), "{name:?} says already whose it is");
        Ok(format!("{name}@{scope}"))
    }

    fn path(&self) -> anyhow::Result<String> {
        Ok(format!("/secrets/{}", escape(&self.key()?)))
    }
}

impl Secret {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let writer = |dry| Writer { client, global, dry };
        match self {
            Secret::List { watch } => watch.show(|| {
                let secrets: Vec<SecretBody> = client.get("/secrets")?;
                if global.json { table::json_text(&secrets) } else { Ok(list(&secrets)) }
            }),
            Secret::Show { whose, reveal: true, of } => reveal(client, global, &whose, of),
            Secret::Show { whose, .. } => {
                let secret: SecretBody = client.get(&whose.path()?)?;
                if global.json { table::json(&secret) } else { table::print(&list(&[secret])) }
            }
            Secret::Set(set) => set.run(client, global),
            Secret::Rotate { whose, file, dry } => {
                let value = file.map(|file| value(Some(&file))).transpose()?;
                let body = NewVersionBody { value: value.map(|value| STANDARD.encode(&value)) };
                let path = format!("{}/versions", whose.path()?);
                say(global, writer(dry).send(Method::POST, &path, &body)?)
            }
            Secret::History { whose } => {
                let versions: Vec<SecretVersionBody> = client.get(&format!("{}/versions", whose.path()?))?;
                if global.json {
                    return table::json(&versions);
                }
                let row = |one: SecretVersionBody| vec![one.number.to_string(), one.created, one.by];
                let rows: Vec<Vec<String>> = versions.into_iter().map(row).collect();
                table::rows(
                    &["version", "made", "by"],
                    &rows,
                    "no values: nodes get host keys when they boot",
                )
            }
            Secret::Rm { whose, dry } => {
                writer(dry).remove(&whose.path()?, &format!("secret {}", whose.key()?))
            }
        }
    }
}

impl Set {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let what = self.what()?;
        let path = self.whose.path()?;
        let value = match (self.generate, self.keep) {
            (None, false) => Some(value(self.file.as_ref())?),
            _ => None,
        };
        let text = value.map(|value| {
            // The end of a line is the shell's, not the variable's.
            let line = if matches!(what, WhatBody::Env(_)) { trimmed(&value) } else { &value };
            STANDARD.encode(line)
        });
        let body = NewSecretBody {
            min_level: self.level.to_string(),
            what,
            rotate: self.rotate,
            value: text,
            generate: self.generate.is_some(),
        };
        say(global, Writer { client, global, dry: self.dry }.send(Method::PUT, &path, &body)?)
    }

    fn what(&self) -> anyhow::Result<WhatBody> {
        let special = match self.generate {
            Some(Generate::Munge) => Some(WhatBody::MungeKey),
            Some(Generate::SshHostKeys) => Some(WhatBody::SshHostKey),
            Some(Generate::Random) | None => None,
        };
        match (special, &self.path, &self.env) {
            (Some(special), None, None) => Ok(special),
            (Some(_), ..) => bail!("this key has its place already; leave --path and --env away"),
            (None, Some(path), _) => {
                let (owner, group) = self.owner.split_once(':').unwrap_or((&self.owner, "root"));
                let (owner, group) = (owner.to_owned(), group.to_owned());
                Ok(WhatBody::File(SecretFileBody {
                    path: path.clone(),
                    owner,
                    group,
                    mode: self.mode.clone(),
                }))
            }
            (None, None, Some(text)) => {
                let (file, name) = text.rsplit_once(':').context("--env: expected FILE:NAME")?;
                Ok(WhatBody::Env(SecretEnvBody { file: file.to_owned(), name: name.to_owned() }))
            }
            (None, None, None) => Ok(WhatBody::Opaque),
        }
    }
}

impl SshCa {
    pub(crate) fn run(self, client: &Client) -> anyhow::Result<()> {
        let SshCa::Print { hosts } = self;
        anyhow::ensure!(
            !hosts.is_empty() && !hosts.chars().any(char::is_whitespace),
            "--hosts: patterns are separated by commas alone"
        );
        let key = client.get_text("/ssh-ca")?;
        table::print(&format!("@cert-authority {hosts} {} muster\n", key.trim_end()))
    }
}

/// Reads a value: of a file, or of standard input.
fn value(file: Option<&PathBuf>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let most = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut octets = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX));
    match file.filter(|file| file.as_os_str() != "-") {
        Some(file) => {
            let open =
                std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
            open.take(most).read_to_end(&mut octets)?;
        }
        None => {
            let input = std::io::stdin();
            if input.is_terminal() {
                eprintln!("muster: reads the value from the terminal; Ctrl-D twice ends it");
            }
            input.lock().take(most).read_to_end(&mut octets)?;
        }
    }
    anyhow::ensure!(octets.len() <= SECRET_BYTES_MAX, "a secret has at most {SECRET_BYTES_MAX} octets");
    anyhow::ensure!(!octets.is_empty(), "the value is empty");
    Ok(octets)
}

/// Without one end of a line.
fn trimmed(octets: &[u8]) -> &[u8] {
    let bare = octets.strip_suffix(b"\n").unwrap_or(octets);
    bare.strip_suffix(b"\r").unwrap_or(bare)
}

fn reveal(client: &Client, global: &Global, whose: &Whose, of: Option<u64>) -> anyhow::Result<()> {
    let version = of.map_or_else(String::new, |number| format!("?version={number}"));
    let octets = client.bare(Method::POST, &format!("{}/reveal{version}", whose.path()?))?;
    let revealed: RevealedBody = serde_json::from_slice(&octets)?;
    if global.json {
        return table::json(&revealed);
    }
    if !revealed.files.is_empty() {
        let text = |file: &crate::api::v1::types::HostFileBody| {
            format!("# /etc/ssh/{}\n{}", file.name, file.content)
        };
        return table::print(&Zeroizing::new(revealed.files.iter().map(text).collect::<String>()));
    }
    let value = Zeroizing::new(STANDARD.decode(&revealed.value)?);
    let is_text =
        std::str::from_utf8(&value).is_ok_and(|text| !text.contains(|c: char| c.is_control() && c != '\n'));
    let terminal = std::io::stdout().is_terminal();
    anyhow::ensure!(is_text || !terminal, "the value is no text; write it to a file with >");
    table::octets(&value)?;
    if terminal && value.last() != Some(&b'\n') { table::print("\n") } else { Ok(()) }
}

fn say(global: &Global, made: Option<SecretBody>) -> anyhow::Result<()> {
    match made {
        None => Ok(()),
        Some(secret) if global.json => table::json(&secret),
        Some(secret) => table::print(&list(&[secret])),
    }
}

fn list(secrets: &[SecretBody]) -> String {
    let row = |one: &SecretBody| {
        let what = match &one.what {
            WhatBody::File(file) => {
                format!("{} {}:{} {}", file.path, file.owner, file.group, file.mode)
            }
            WhatBody::Env(env) => format!("{} in {}", env.name, env.file),
            WhatBody::SshHostKey => "SSH host keys".to_owned(),
            WhatBody::MungeKey => "munge key".to_owned(),
            WhatBody::Opaque => "-".to_owned(),
        };
        let (name, scope, level) = (one.name.clone(), one.scope.clone(), one.min_level.clone());
        let version = table::dash(one.version);
        vec![name, scope, level, what, one.rotate.clone(), version, table::dash(one.updated.clone())]
    };
    let rows: Vec<Vec<String>> = secrets.iter().map(row).collect();
    let header = ["secret", "whose", "level", "what", "rotate", "version", "updated"];
    table::grid(&header, &rows, "no secrets; muster secret set makes one")
}

#[cfg(test)]
mod tests {
    use crate::cli::secret::{Whose, trimmed};

    #[test]
    fn options_and_names_say_whose_a_secret_is() {
        let key = |name: &str, node: Option<&str>, group: Option<&str>| {
            let (node, group) = (node.map(str::to_owned), group.map(str::to_owned));
            Whose { name: name.to_owned(), node, group }.key().ok()
        };
        assert_eq!(key("munge", None, None).unwrap(), "munge");
        assert_eq!(key("munge", Some("nid001"), None).unwrap(), "munge@node:nid001");
        assert_eq!(key("munge", None, Some("a")).unwrap(), "munge@group:a");
        assert_eq!(key("munge@group:a", None, None).unwrap(), "munge@group:a");
        assert_eq!(key("munge@group:a", Some("nid001"), None), None);
    }

    #[test]
    fn one_end_of_a_line_goes() {
        assert_eq!(trimmed(b"a\r\n"), b"a");
        assert_eq!(trimmed(b"a\n\n"), b"a\n");
        assert_eq!(trimmed(b"a"), b"a");
    }
}
