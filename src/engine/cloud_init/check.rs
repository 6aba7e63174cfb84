//! Checks a file before it is kept: what cloud-init would refuse on every node at boot is refused here, with
//! its line.

use crate::engine::cloud_init::{template, yaml};

/// Beginnings that tell cloud-init what a file is (cloudinit/handlers/__init__.py, `INCLUSION_TYPES_MAP`).
const KINDS: [&str; 10] = [
    "#cloud-config",
    "#cloud-config-archive",
    "#cloud-config-jsonp",
    "#cloud-boothook",
    "#include",
    "#include-once",
    "#!",
    "#part-handler",
    "#upstart-job",
    "## template:",
];

/// Beginnings of a multi-part message.
const MESSAGE: [&str; 3] = ["content-type:", "mime-version:", "from "];

/// Something about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// Line of the file, from one.
    pub line: Option<usize>,
    pub text: String,
}

/// What was found. Without problems the file may be kept.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Checked {
    pub problems: Vec<Remark>,
    pub warnings: Vec<Remark>,
}

/// What is said of a document that asks for secrets.
pub(crate) const SECURE_ONLY: &str = "asks for secrets: nodes get it on the secure path alone";

/// Checks the content of a file.
#[must_use]
pub fn check(content: &[u8]) -> Checked {
    let mut checked = Checked::default();
    let Ok(text) = std::str::from_utf8(content) else {
        // Compressed or an archive: cloud-init takes those too.
        return checked;
    };
    if text.trim().is_empty() {
        return checked;
    }
    match template::template(text) {
        Some(source) => {
            match template::check(source) {
                Ok(()) => checked.warnings.extend(
                    template::asks_for_secrets(source)
                        .map(|line| Remark { line: Some(line), text: SECURE_ONLY.to_owned() }),
                ),
                Err(error) => checked.problems.push(Remark { line: Some(error.line), text: error.text }),
            }
            checked.kind(source, 2);
        }
        None => {
            checked.kind(text, 1);
            checked.body(text, 0);
        }
    }
    checked
}

/// Checks what a template became.
#[must_use]
pub fn check_rendered(text: &str) -> Checked {
    let mut checked = Checked::default();
    checked.kind(text, 1);
    checked.body(text, 0);
    checked
}

impl Checked {
    /// Warns if the beginning tells cloud-init nothing.
    fn kind(&mut self, text: &str, line: usize) {
        let lower = text.trim_start().to_ascii_lowercase();
        if !KINDS.iter().chain(&MESSAGE).any(|kind| lower.starts_with(kind)) {
            let text =
                "no first line such as #cloud-config: cloud-init will not know what this is".to_owned();
            self.warnings.push(Remark { line: Some(line), text });
        }
    }

    /// Checks cloud-config, with or without its first line.
    fn body(&mut self, text: &str, offset: usize) {
        let first = text.trim_start().lines().next().unwrap_or_default();
        let is_config = first.starts_with("#cloud-config") && !first.starts_with("#cloud-config-");
        let is_mapping = match yaml::parse(text) {
            Err(error) if is_config => {
                let line = Some(error.line.saturating_add(offset));
                return self.problems.push(Remark { line, text: error.text });
            }
            Err(_) => return,
            Ok(value) => yaml::mapping(value).is_some(),
        };
        if is_config && !is_mapping {
            let text = "cloud-config is a mapping of keys to values".to_owned();
            self.problems.push(Remark { line: Some(1), text });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::cloud_init::check::check;

    #[test]
    fn what_no_node_could_read_is_refused_with_its_line() {
        for (text, line, why) in [
            ("#cloud-config\nruncmd:\n  - a\n b: [\n", 4, ""),
            ("#cloud-config\n- a\n", 1, "mapping"),
            ("#cloud-config\na: 1\na: 2\n", 3, "twice"),
            ("## template: jinja\n#cloud-config\na: {% if x %}\n", 4, ""),
            ("## template: jinja\n#cloud-config\na: {{ x y }}\n", 3, "unexpected"),
        ] {
            let checked = check(text.as_bytes());
            let found = checked.problems.first().unwrap_or_else(|| panic!("{text}"));
            assert!(found.text.contains(why), "{text}: {found:?}");
            assert!(found.line.unwrap().abs_diff(line) <= 1, "{text}: {found:?}");
        }
    }

    #[test]
    fn what_cloud_init_takes_passes() {
        for text in [
            "",
            "#cloud-config",
            "#cloud-config\n# nothing\n",
            "#!/bin/sh\necho ': ['\n",
            "#include\nhttp://192.0.2.1/a\n",
            "## template: jinja\n#cloud-config\n{% for k in ds.x %}\n{{ k }}: 1\n{% endfor %}\n",
            "Content-Type: multipart/mixed; boundary=\"x\"\n\n--x\n",
        ] {
            assert_eq!(check(text.as_bytes()).problems, [], "{text}");
            assert_eq!(check(text.as_bytes()).warnings, [], "{text}");
        }
        assert_eq!(check(b"\x1f\x8b\x08\x00").problems, []);
        assert_eq!(check(b"runcmd: [a]\n").warnings.len(), 1, "the first line is missing");
    }
}
