//! `muster image inspect`: what an import would take, without importing it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::image::source::{Options, Prepared, open};
use crate::cli::image::work::WorkDir;
use crate::cli::progress::Steps;
use crate::cli::{Global, table};

/// Show what an image source holds, without importing it
#[derive(Debug, Args)]
#[command(after_help = "\
SOURCE is a folder with vmlinuz-VERSION, initramfs-VERSION.img and rootfs-VERSION; a tarball of
such a folder or of a root file system (plain, gzip, zstd); an OCI layout (oci:FOLDER[:TAG],
oci-archive:FILE[:TAG]); an image of a registry (HOST/NAME:TAG, docker://NAME); or the URL of a
tarball, with #sha256=DIGEST at its end to hold it to one.

Examples:
  muster image inspect registry.example.org/compute/rocky:9.5
  muster image inspect oci:/srv/layout:compute --arch arm64
  muster image inspect /data/domain-images/openchami/rocky/9.5 --kernel-version 5.14.0-503.el9.x86_64
  muster image inspect --kernel vmlinuz --initrd initrd.img --root rootfs.squashfs")]
pub(crate) struct Inspect {
    /// Where the image is
    source: Option<String>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    work: WorkDir,
}

impl Inspect {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<()> {
        let work = self.work.open()?;
        let steps = Steps::new(None);
        let prepared = open(self.source.as_deref(), &self.options, work.path(), &steps)?;
        drop(steps);
        let facts = facts(&prepared)?;
        if global.json {
            return table::json(&facts);
        }
        table::print(&text(&facts))
    }
}

fn facts(prepared: &Prepared) -> anyhow::Result<Value> {
    let Prepared { kernel, initrds, root, kernel_version, arch, cmdline, labels, origin, notes } = prepared;
    let size = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()));
        metadata.map(|metadata| metadata.len())
    };
    Ok(json!({
        "origin": origin,
        "arch": arch.map(crate::model::Arch::as_str),
        "kernel_version": kernel_version,
        "cmdline": cmdline,
        "kernel_bytes": kernel.as_ref().map(size).transpose()?,
        "initrd_bytes": initrds.iter().map(size).collect::<anyhow::Result<Vec<u64>>>()?,
        "root_bytes": root.as_ref().map(size).transpose()?,
        "labels": labels,
        "notes": notes,
    }))
}

/// One line for each fact; labels below one another.
fn text(facts: &Value) -> String {
    const WIDTH: usize = 16;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<WIDTH$}{value}\n"));
    for (name, value) in facts.as_object().into_iter().flatten() {
        let name = name.replace('_', " ");
        match value {
            Value::String(value) => line(&name, value),
            Value::Array(values) => values.iter().for_each(|value| match value.as_str() {
                Some(value) => line(&name, value),
                None => line(&name, &value.to_string()),
            }),
            Value::Object(labels) => labels.iter().for_each(|(key, value)| {
                line("label", &format!("{key}={}", value.as_str().unwrap_or_default()));
            }),
            Value::Null => line(&name, "-"),
            other => line(&name, &other.to_string()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::cli::image::inspect::{facts, text};
    use crate::cli::image::source::Prepared;
    use crate::model::Arch;

    #[test]
    fn facts_are_shown_for_people_and_for_programs() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel");
        std::fs::write(&kernel, [0; 7]).unwrap();
        let prepared = Prepared {
            kernel: Some(kernel.clone()),
            initrds: vec![kernel],
            kernel_version: Some("6.1.0".to_owned()),
            arch: Some(Arch::X86_64),
            labels: BTreeMap::from([("name".to_owned(), "compute".to_owned())]),
            origin: "r.example.org/compute@sha256:00".to_owned(),
            notes: vec!["the root has no kernel modules".to_owned()],
            ..Prepared::default()
        };
        let facts = facts(&prepared).unwrap();
        assert_eq!(facts["kernel_bytes"], 7);
        assert_eq!(facts["initrd_bytes"], serde_json::json!([7]));
        assert!(facts["root_bytes"].is_null());
        let text = text(&facts);
        for line in [
            "arch            x86_64\n",
            "kernel version  6.1.0\n",
            "label           name=compute\n",
            "notes           the root has no kernel modules\n",
            "origin          r.example.org/compute@sha256:00\n",
            "root bytes      -\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
