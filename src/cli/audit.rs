//! `muster audit`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use axum::http::Method;
use clap::{Args, Subcommand};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey as _;

use crate::api::v1::audit::{AuditLineBody, AuditPageBody, CheckpointBody};
use crate::base::limits::AUDIT_PAGE_LINES_MAX;
use crate::cli::client::{Client, escape};
use crate::cli::{Global, table};
use crate::engine::audit::Walk;
use crate::model::audit::{Checkpoint, Line};

/// Show, check and sign the audit log: who did what, and who was refused
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    List(List),
    Verify(Verify),
    /// Sign the log as it is now, and print the checkpoint
    #[command(after_help = "\
Kept on another machine, it shows later whether the log up to here was changed or its end cut off.

Example:
  muster audit checkpoint > /mnt/elsewhere/audit-$(date +%F).json")]
    Checkpoint,
}

/// List lines, the newest last
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster audit list
  muster audit list --actor alice --since 2026-03-01T00:00:00Z
  muster audit list --outcome refused -n 500
  muster --json audit list | jq .object")]
pub(crate) struct List {
    /// So many of the newest
    #[arg(short = 'n', long, default_value_t = 50)]
    number: usize,
    /// Only what this user or bearer of a token did
    #[arg(long)]
    actor: Option<String>,
    /// Only actions with this in them, such as /api/v1/tokens
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to things with this in their name
    #[arg(long)]
    object: Option<String>,
    /// Only what ended so: done, refused, failed
    #[arg(long)]
    outcome: Option<String>,
    /// Only from this time on, such as 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Check that no line was changed, removed or put in, and that none is missing at the end
#[derive(Debug, Args)]
#[command(after_help = "\
Reads the whole log and computes its digests here. Whoever can write the head's disk can make a log that fits
together; a checkpoint that was kept elsewhere, and the site key's public half from there, still tell.

Examples:
  muster audit verify
  muster audit verify --checkpoint audit-2026-03-01.json --site-key site.pub")]
pub(crate) struct Verify {
    /// A checkpoint that was kept elsewhere; may be given several times
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The public half of the site key; the head's own word for it otherwise
    #[arg(long, value_name = "FILE")]
    site_key: Option<PathBuf>,
}

impl Audit {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Audit::List(list) => list.run(client, global),
            Audit::Verify(verify) => verify.run(client),
            Audit::Checkpoint => {
                let signed: CheckpointBody = client.json(Method::POST, "/audit/checkpoint", &())?;
                table::json(&signed)
            }
        }
    }
}

impl List {
    fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let List { number, actor, action, object, outcome, since, until } = self;
        let fields = [
            ("actor", actor),
            ("action", action),
            ("object", object),
            ("outcome", outcome),
            ("since", since),
            ("until", until),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let query: String = fields.map(|(name, value)| format!("&{name}={}", escape(&value))).collect();
        let mut lines: Vec<AuditLineBody> = Vec::new();
        let mut before = None;
        while lines.len() < number {
            let limit = (number - lines.len()).min(AUDIT_PAGE_LINES_MAX);
            let place = before.map(|before: u64| format!("&before={before}")).unwrap_or_default();
            let page: AuditPageBody = client.get(&format!("/audit?limit={limit}{query}{place}"))?;
            lines.extend(page.lines);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        lines.reverse();
        if global.json {
            return lines.iter().try_for_each(|line| table::print(&(serde_json::to_string(line)? + "\n")));
        }
        let row = |line: &AuditLineBody| {
            let AuditLineBody { seq, time, actor, via, action, object, outcome, ip, detail, .. } =
                line.clone();
            let from = ip.map_or(via.clone(), |ip| format!("{via} {ip}"));
            vec![seq.to_string(), time, table::dash(Some(actor)), from, outcome, action, object, detail]
        };
        let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
        let header = ["line", "time", "who", "from", "outcome", "action", "object", "detail"];
        table::rows(&header, &rows, "nothing that fits is in the audit log")
    }
}

impl Verify {
    fn run(self, client: &Client) -> anyhow::Result<()> {
        let key = match &self.site_key {
            Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
            None => client.fetch("/site.pub?all")?,
        };
        let keys = public_keys(&key).context("the site key's public half")?;
        let mut bodies: Vec<CheckpointBody> = client.get("/audit/checkpoints")?;
        for path in &self.checkpoints {
            bodies.push(read(path).with_context(|| path.display().to_string())?);
        }
        let signed: Vec<Checkpoint> =
            bodies.iter().map(|body| genuine(body, &keys)).collect::<anyhow::Result<_>>()?;
        let mut walk = Walk::new(signed.iter().copied())?;
        let (mut after, mut first, mut count) = (0, None, 0_u64);
        loop {
            let page: AuditPageBody = client.get(&format!("/audit?after={after}"))?;
            for body in page.lines {
                let seq = body.seq;
                let line = Line::try_from(body).map_err(|why| anyhow::anyhow!("line {seq}: {why}"))?;
                walk.on(&line)?;
                first.get_or_insert(seq);
                count += 1;
            }
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        let tip = walk.end()?;
        let newest = signed.iter().map(|one| one.seq).max().unwrap_or(0);
        let begins = first.unwrap_or(0);
        let older = signed.iter().filter(|one| one.seq + 1 < begins).count();
        let mut text =
            format!("{count} lines, {begins} to {}, are in order; signed up to line {newest}\n", tip.seq);
        if older > 0 {
            text += &format!("{older} checkpoints are about lines that went by age, and tell nothing now\n");
        }
        table::print(&text)
    }
}

fn read(path: &Path) -> anyhow::Result<CheckpointBody> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// The checkpoint, if the site key signed it.
/// The keys in a text of PEM: the one that signs, and those that did.
fn public_keys(text: &str) -> anyhow::Result<Vec<VerifyingKey>> {
    const BEGIN: &str = "-----BEGIN";
    let starts = text.match_indices(BEGIN).map(|(at, _)| at);
    let ends = text.match_indices(BEGIN).map(|(at, _)| at).skip(1).chain([text.len()]);
    let parts = starts.zip(ends).filter_map(|(start, end)| text.get(start..end));
    let keys = parts.map(VerifyingKey::from_public_key_pem).collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!keys.is_empty(), "no public key");
    Ok(keys)
}

fn genuine(body: &CheckpointBody, keys: &[VerifyingKey]) -> anyhow::Result<Checkpoint> {
    let one = Checkpoint::try_from(body).map_err(|why| anyhow::anyhow!("checkpoint {}: {why}", body.seq))?;
    let message = Checkpoint::message(one.tip(), one.at);
    let signature = ed25519_dalek::Signature::from_bytes(&one.signature);
    let signed = keys.iter().any(|key| key.verify_strict(&message, &signature).is_ok());
    anyhow::ensure!(signed, "checkpoint {}: the site key did not sign it", body.seq);
    Ok(one)
}
