//! Images as text.

use crate::api::v1::types::{FileBody, GarbageBody, ImageBody, ImageDiffBody, ImageTagBody};
use crate::cli::table;

/// Digits of a version that people see.
const DIGITS: usize = 12;

/// The first digits of a digest.
pub(crate) fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(DIGITS).collect()
}

/// Octets as people say them.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

pub(crate) fn list(images: &[ImageBody]) -> String {
    let row = |image: &ImageBody| {
        vec![
            format!("{}@{}", image.name, short(&image.version)),
            image.tags.join(" "),
            image.kernel_version.clone().unwrap_or_default(),
            bytes(image.size),
            minute(&image.created),
            image.origin.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = images.iter().map(row).collect();
    table::grid(&["image", "tags", "kernel", "size", "created", "origin"], &rows, "no images")
}

/// A time without its seconds.
fn minute(time: &str) -> String {
    time.chars().take(16).collect::<String>().replace('T', " ")
}

pub(crate) fn one(image: &ImageBody) -> String {
    let file =
        |kind: &str, file: &FileBody| (kind.to_owned(), format!("{}  {}", file.digest, bytes(file.size)));
    let plain = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut lines = vec![
        plain("image", &image.name),
        plain("version", &image.version),
        plain("tags", &image.tags.join(" ")),
        plain("created", &image.created),
        plain("arch", image.arch.as_deref().unwrap_or_default()),
        plain("kernel version", image.kernel_version.as_deref().unwrap_or_default()),
        file("kernel", &image.kernel),
    ];
    lines.extend(image.initrds.iter().map(|initrd| file("initrd", initrd)));
    if let Some(root) = &image.root {
        let facts = FileBody { digest: root.digest.clone(), size: root.size };
        lines.push(file("root", &facts));
        lines.push(plain("root format", &root.format));
        lines.push(plain("delivery", &root.delivery));
    }
    lines.push(plain("params", &image.params));
    lines.push(plain("origin", &image.origin));
    lines.extend(image.labels.iter().map(|(key, value)| plain("label", &format!("{key}={value}"))));
    let shown = lines.into_iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(key, value)| format!("{key:<15} {value}\n")).collect()
}

pub(crate) fn tags(tags: &[ImageTagBody]) -> String {
    let row = |tag: &ImageTagBody| {
        let before: Vec<String> = tag.before.iter().map(|before| short(&before.version)).collect();
        vec![tag.tag.clone(), short(&tag.version), minute(&tag.since), before.join(" ")]
    };
    let rows: Vec<Vec<String>> = tags.iter().map(row).collect();
    table::grid(&["tag", "version", "since", "before"], &rows, "no tags")
}

pub(crate) fn diff(diff: &ImageDiffBody) -> String {
    if diff.fields.is_empty() {
        return "the versions do not differ\n".to_owned();
    }
    let rows: Vec<Vec<String>> =
        diff.fields.iter().map(|(field, [was, is])| vec![field.clone(), was.clone(), is.clone()]).collect();
    let table = table::grid(&["field", "was", "is"], &rows, "");
    format!("{table}{} new to who has the first\n", bytes(diff.new_bytes))
}

pub(crate) fn garbage(garbage: &GarbageBody) -> String {
    let would = if garbage.dry_run { "would be " } else { "" };
    let kept: Vec<Vec<String>> = garbage
        .kept
        .iter()
        .map(|(image, why)| {
            let (name, version) = image.split_once('@').unwrap_or((image, ""));
            vec![format!("{name}@{}", short(version)), why.clone()]
        })
        .collect();
    let mut text = table::grid(&["kept", "because"], &kept, "no version is kept");
    for image in &garbage.images {
        let (name, version) = image.split_once('@').unwrap_or((image, ""));
        text.push_str(&format!("{name}@{} {would}removed\n", short(version)));
    }
    text + &format!("{} files, {} {would}freed\n", garbage.files.len(), bytes(garbage.bytes))
}
