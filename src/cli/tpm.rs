//! `muster trust tpm`: which TPM is whose, and who lets it in.

mod listed;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::v1::types::tpm::{
    ApproveBody, CodeBody, EnrolAnewBody, HeldBody, OpenWindowBody, PreloadBody, RevokedBody, TpmBody,
    WindowBody,
};
use crate::api::v1::types::{NewVersionBody, SecretBody};
use crate::cli::client::{Client, escape};
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, table};

/// Let nodes' TPMs in, and see which are known
#[derive(Debug, Subcommand)]
pub(crate) enum Tpm {
    /// List TPMs that are known or wait for approval
    #[command(after_help = "\
Examples:
  muster trust tpm list
  muster trust tpm list --state pending --watch
  muster trust tpm list --json > tpms.json      what muster trust tpm preload takes on another head")]
    List {
        /// Node set
        set: Option<String>,
        /// Only those that are none, pending, enrolled or revoked
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a node's TPM, and what its last attestation found
    #[command(after_help = "Example:\n  muster trust tpm show nid007")]
    Show {
        node: String,
    },
    Approve(Approve),
    /// Let TPMs in by a list, before their nodes boot
    #[command(after_help = "\
The list is CSV with a node and its key in each line, or JSON with a list of objects with node and ek. A key is the
SHA-256 of the endorsement key's SubjectPublicKeyInfo in base 16, or the file of its certificate (PEM or DER). What
muster trust tpm list --json prints is such a list. All of it is taken, or nothing.

Examples:
  muster trust tpm preload rack1.csv
  muster trust tpm preload --dry-run tpms.json
  echo 'nid007,ek-nid007.pem' | muster trust tpm preload -")]
    Preload {
        /// - is standard input
        file: PathBuf,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Forget a node's TPM, or its revocation, and take another one (for administrators)
    #[command(after_help = "\
As after a new mainboard. Without --ek the node shows its TPM at its next boot, and that one waits for approval.

Examples:
  muster trust tpm anew nid007
  muster trust tpm anew nid007 --ek 5f0c2e…")]
    Anew {
        node: String,
        /// The fingerprint of the new endorsement key
        #[arg(long, value_name = "FINGERPRINT")]
        ek: Option<String>,
    },
    /// Note anew what a node's firmware measures, after an update of it (for administrators)
    #[command(after_help = "Example:\n  muster trust tpm unpin nid007")]
    Unpin {
        node: String,
    },
    /// Let in, for a while, what members of a group show in boots that this head or an operator began
    #[command(after_help = "\
Where trust.enrol is \"window\". Nobody compares codes then: open it while you stand beside the machines.

Examples:
  muster trust tpm window rack1 --minutes 30
  muster trust tpm window                        which are open?
  muster trust tpm window rack1 --shut")]
    Window {
        group: Option<String>,
        /// How long
        #[arg(long, requires = "group", default_value_t = 30)]
        minutes: u32,
        /// Let in no more
        #[arg(long, requires = "group")]
        shut: bool,
    },
}

/// Let in the TPMs that wait, after their codes were compared
#[derive(Debug, Args)]
#[command(after_help = "\
Each node prints the code of its TPM on its console. Compare: another machine may have taken its address. Exactly what
is shown here is let in; a TPM that comes in between is not.

Examples:
  muster trust tpm approve nid007 --code ABCD-EFGH-IJKL-MNOP
  muster trust tpm approve 'nid[001-064]'       lists the codes, and asks
  muster trust tpm approve @rack1 --yes")]
pub(crate) struct Approve {
    /// Node set
    set: String,
    /// The code that the node's console shows; for one node
    #[arg(long)]
    code: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    dry: DryRun,
}

impl Tpm {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let one = |tpm: &TpmBody| if global.json { table::json(tpm) } else { table::print(&shown(tpm)) };
        match self {
            Tpm::List { set, state, watch } => watch.show(|| {
                let tpms: Vec<TpmBody> = client.get(&list_path(set.as_deref(), state.as_deref()))?;
                if global.json { table::json_text(&tpms) } else { Ok(list(&tpms)) }
            }),
            Tpm::Show { node } => one(&client.get(&format!("/trust/tpms/{}", escape(&node)))?),
            Tpm::Approve(approve) => approve.run(client, global),
            Tpm::Preload { file, dry } => {
                let (text, folder) = if file.as_os_str() == "-" {
                    let mut text = String::new();
                    std::io::stdin().read_to_string(&mut text)?;
                    (text, PathBuf::new())
                } else {
                    let text = std::fs::read_to_string(&file);
                    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
                    (text, file.parent().map(PathBuf::from).unwrap_or_default())
                };
                let tpms = listed::read(&text, |name| Ok(std::fs::read(folder.join(name))?))?;
                let writer = Writer { client, global, dry };
                writer.report(Method::POST, "/trust/tpms/preload", &PreloadBody { tpms })
            }
            Tpm::Anew { node, ek } => {
                let path = format!("/trust/tpms/{}/anew", escape(&node));
                one(&client.json(Method::POST, &path, &EnrolAnewBody { ek })?)
            }
            Tpm::Unpin { node } => {
                let path = format!("/trust/tpms/{}/unpin", escape(&node));
                one(&client.json(Method::POST, &path, &json!({}))?)
            }
            Tpm::Window { group: None, .. } => {
                let open: Vec<WindowBody> = client.get("/trust/windows")?;
                if global.json { table::json(&open) } else { table::print(&windows(&open)) }
            }
            Tpm::Window { group: Some(group), shut: true, .. } => {
                client.bare(Method::DELETE, &format!("/trust/windows/{}", escape(&group)))?;
                table::print(&format!("TPMs of {group} wait for approval again\n"))
            }
            Tpm::Window { group: Some(group), minutes, .. } => {
                let path = format!("/trust/windows/{}", escape(&group));
                let open: WindowBody = client.json(Method::PUT, &path, &OpenWindowBody { minutes })?;
                if global.json { table::json(&open) } else { table::print(&windows(&[open])) }
            }
        }
    }
}

fn list_path(set: Option<&str>, state: Option<&str>) -> String {
    let fields = [("set", set), ("state", state)];
    let fields =
        fields.iter().filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_ref()?))));
    format!("/trust/tpms?{}", fields.collect::<Vec<_>>().join("&"))
}

impl Approve {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let Approve { set, code, yes, dry } = self;
        let waiting: Vec<TpmBody> = client.get(&list_path(Some(&set), Some("pending")))?;
        let tpms = match code {
            Some(code) => {
                ensure!(waiting.len() <= 1, "{} TPMs of {set} wait; --code is for one", waiting.len());
                // The head knows best what to say of a node of which none waits.
                let node = waiting.into_iter().next().map_or(set, |one| one.node);
                vec![CodeBody { node, code }]
            }
            None => {
                ensure!(!waiting.is_empty(), "no TPM of {set} waits for approval");
                if !yes && !dry.dry_run {
                    eprint!("{}", list(&waiting));
                    confirm(&format!("Let {} in? Compare each code with its console.", waiting.len()))?;
                }
                let code = |one: TpmBody| Some(CodeBody { node: one.node, code: one.ek? });
                waiting.into_iter().filter_map(code).collect()
            }
        };
        let writer = Writer { client, global, dry };
        writer.report(Method::POST, "/trust/tpms/approve", &ApproveBody { tpms })
    }
}

/// Asks. Without a terminal nobody can answer: refused.
fn confirm(question: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to be asked; say --yes to do it without");
    }
    if asked(question)? { Ok(()) } else { bail!("nothing was changed") }
}

fn asked(question: &str) -> anyhow::Result<bool> {
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// `muster node revoke`.
pub(crate) fn revoke(node: &str, rotate: bool, client: &Client, global: &Global) -> anyhow::Result<()> {
    let path = format!("/trust/tpms/{}/revoke", escape(node));
    let revoked: RevokedBody = client.json(Method::POST, &path, &json!({}))?;
    if global.json {
        table::json(&revoked)?;
    } else {
        let ended = revoked.ended.len();
        let word = if ended == 0 { "" } else { "; its boot session is ended" };
        table::print(&format!("{} is revoked{word}\n\n{}", revoked.tpm.node, held_list(&revoked.held)))?;
    }
    let current = |one: &&HeldBody| one.current;
    let names: BTreeSet<(&str, bool)> =
        revoked.held.iter().filter(current).map(|one| (one.secret.as_str(), one.generated)).collect();
    for (name, generated) in names {
        if !generated {
            eprintln!("{name}: only you can make its new value: muster secret rotate {name} --file -");
            continue;
        }
        let ask = !rotate && !global.json && std::io::stdin().is_terminal();
        if rotate || ask && asked(&format!("Rotate {name}?"))? {
            let path = format!("/secrets/{}/versions", escape(name));
            let new: SecretBody = client.json(Method::POST, &path, &NewVersionBody { value: None })?;
            eprintln!("{name}: version {} is current", table::dash(new.version));
        } else {
            eprintln!("{name}: not rotated: muster secret rotate {name}");
        }
    }
    Ok(())
}

/// `muster trust held`.
pub(crate) fn held(node: &str, client: &Client, global: &Global) -> anyhow::Result<()> {
    let held: Vec<HeldBody> = client.get(&format!("/trust/nodes/{}/held", escape(node)))?;
    if global.json { table::json(&held) } else { table::print(&held_list(&held)) }
}

fn held_list(held: &[HeldBody]) -> String {
    let row = |one: &HeldBody| {
        let state = match (&one.scope, one.current) {
            (None, _) => "removed",
            (Some(_), true) => "in use",
            (Some(_), false) => "rotated since",
        };
        let scope = table::dash(one.scope.as_ref());
        vec![one.secret.clone(), one.version.to_string(), scope, one.at.clone(), state.to_owned()]
    };
    let rows: Vec<Vec<String>> = held.iter().map(row).collect();
    table::grid(
        &["secret", "version", "shared by", "had since", "its value is"],
        &rows,
        "it never had a secret",
    )
}

fn list(tpms: &[TpmBody]) -> String {
    let row = |tpm: &TpmBody| {
        let vendor = tpm.manufacturer.as_ref().or(tpm.vendor.as_ref());
        vec![
            tpm.node.clone(),
            tpm.state.clone(),
            table::dash(tpm.code.as_ref()),
            table::dash(vendor),
            table::dash(tpm.ek_chain.as_ref()),
            table::dash(tpm.address.as_ref()),
            table::dash(tpm.level.as_ref()),
            table::dash(tpm.attested.as_ref()),
            table::dash(tpm.flag.as_ref().map(|_| "ALARM")),
        ]
    };
    let rows: Vec<Vec<String>> = tpms.iter().map(row).collect();
    let header = ["node", "TPM", "code", "vendor", "certificate", "address", "level", "attested", "note"];
    table::grid(&header, &rows, "no TPM is known or waits")
}

fn shown(tpm: &TpmBody) -> String {
    let mut text = format!("{}: {}\n", tpm.node, tpm.state);
    let mut line = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            text.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    line("code", tpm.code.as_ref());
    line("fingerprint", tpm.ek.as_ref());
    line("how", tpm.how.as_ref());
    line("by", tpm.by.as_ref());
    line("since", tpm.at.as_ref());
    line("vendor", tpm.vendor.as_ref());
    line("firmware", tpm.firmware.as_ref());
    line("manufacturer", tpm.manufacturer.as_ref());
    line("certificate", tpm.ek_chain.as_ref());
    line("address", tpm.address.as_ref());
    line("attested", tpm.attested.as_ref());
    line("level", tpm.level.as_ref());
    line("ALARM", tpm.flag.as_ref());
    tpm.findings.iter().for_each(|finding| line("found", Some(finding)));
    line("enrol", Some(&tpm.enrol));
    line("pcr", Some(&tpm.pcr));
    text
}

fn windows(open: &[WindowBody]) -> String {
    let row = |one: &WindowBody| vec![one.group.clone(), one.until.clone(), one.by.clone()];
    let rows: Vec<Vec<String>> = open.iter().map(row).collect();
    table::grid(&["group", "until", "by"], &rows, "no window is open")
}
