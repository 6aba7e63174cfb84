//! Lists of nodes and their keys, as people and other heads write them.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::api::v1::types::tpm::ListedBody;
use crate::model::EkFingerprint;

/// An object of a list in JSON; what stands in it besides is not looked at.
#[derive(Deserialize)]
struct Line {
    node: String,
    #[serde(alias = "ek_fp")]
    ek: Option<String>,
    #[serde(alias = "ek_cert")]
    certificate: Option<String>,
    state: Option<String>,
}

/// Reads a list. `open` reads files of certificates that it names.
///
/// # Errors
/// Names the line and what is wrong with it.
pub(crate) fn read(
    text: &str,
    open: impl Fn(&Path) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Vec<ListedBody>> {
    let listed = if text.trim_start().starts_with('[') { json(text)? } else { csv(text, open)? };
    ensure!(!listed.is_empty(), "the list names no TPM");
    Ok(listed)
}

fn json(text: &str) -> anyhow::Result<Vec<ListedBody>> {
    let lines: Vec<Line> = serde_json::from_str(text).context("the list is no JSON of nodes and keys")?;
    // Of a list of everything, what another head had let in.
    let enrolled = |line: &Line| line.state.as_deref().is_none_or(|state| state == "enrolled");
    let lines = lines.into_iter().filter(enrolled);
    Ok(lines.map(|Line { node, ek, certificate, .. }| ListedBody { node, ek, certificate }).collect())
}

fn csv(text: &str, open: impl Fn(&Path) -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Vec<ListedBody>> {
    let mut listed = Vec::new();
    let header = |fields: &[&str]| fields.first().is_some_and(|first| first.eq_ignore_ascii_case("node"));
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        if line.trim().is_empty() || line.starts_with('#') || index == 0 && header(&fields) {
            continue;
        }
        let [node, key] = fields[..] else { bail!("line {number}: expected a node and its key") };
        ensure!(!node.is_empty() && !key.is_empty(), "line {number}: expected a node and its key");
        let node = node.to_owned();
        listed.push(if key.parse::<EkFingerprint>().is_ok() {
            ListedBody { node, ek: Some(key.to_owned()), certificate: None }
        } else {
            let octets = open(Path::new(key)).with_context(|| {
                format!("line {number}: {key:?} is no fingerprint, and no file of a certificate")
            })?;
            ListedBody { node, ek: None, certificate: Some(pem(&octets)) }
        });
    }
    Ok(listed)
}

/// A certificate in PEM, whichever it was.
fn pem(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) if text.contains("-----BEGIN") => text.to_owned(),
        _ => format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(octets)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::bail;

    use crate::cli::tpm::listed::read;

    fn open(path: &Path) -> anyhow::Result<Vec<u8>> {
        match path.to_str() {
            Some("a.pem") => Ok(b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_vec()),
            Some("a.der") => Ok(vec![0x30, 0xff]),
            _ => bail!("no such file"),
        }
    }

    #[test]
    fn lists_are_csv_or_json_and_hold_fingerprints_or_certificates() {
        let ek = "a5".repeat(32);
        let text = format!("node,ek_fp\n# rack 1\nnid001,{ek}\n\n nid002 , a.pem\nnid003,a.der\n");
        let listed = read(&text, open).unwrap();
        let keys: Vec<(&str, bool)> =
            listed.iter().map(|one| (one.node.as_str(), one.ek.is_some())).collect();
        assert_eq!(keys, [("nid001", true), ("nid002", false), ("nid003", false)]);
        assert!(listed[2].certificate.as_ref().unwrap().contains("\nMP8=\n"));

        let text = format!(
            r#"[{{"node":"a","state":"enrolled","ek":"{ek}","findings":[]}},{{"node":"b","ek_fp":"{ek}"}},
                {{"node":"c","state":"pending","ek":"{ek}"}},{{"node":"d","state":"revoked"}}]"#
        );
        let nodes: Vec<String> = read(&text, open).unwrap().into_iter().map(|one| one.node).collect();
        assert_eq!(nodes, ["a", "b"], "what waits elsewhere is not let in here");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        let says = |text: &str| format!("{:#}", read(text, open).unwrap_err());
        assert!(
            says("nid001,a5\n").starts_with("line 1: \"a5\" is no fingerprint"),
            "{}",
            says("nid001,a5\n")
        );
        assert!(says("node,ek\nnid001\n").starts_with("line 2: expected"));
        assert!(says("nid001,").starts_with("line 1: expected"));
        assert!(says("nid001,a.pem,x").starts_with("line 1: expected"));
        assert_eq!(says("node,ek\n"), "the list names no TPM");
        assert!(says("[{}]").contains("missing field `node`"));
    }
}
