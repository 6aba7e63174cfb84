//! How two versions of an image differ, in a person's words.

use std::collections::BTreeSet;

use crate::model::Image;
use crate::model::image::File;

/// The differences.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diff {
    /// Field, what it was, what it is.
    pub fields: Vec<(&'static str, String, String)>,
    /// Octets of files that the old version has not.
    pub new_bytes: u64,
}

/// Compares two versions.
#[must_use]
pub fn diff(from: &Image, to: &Image) -> Diff {
    let (old, new) = (fields(from), fields(to));
    let fields = old.into_iter().zip(new).filter(|((_, was), (_, is))| was != is);
    let had: BTreeSet<_> = from.files().map(|file| file.digest).collect();
    let new = to.files().filter(|file| !had.contains(&file.digest));
    Diff {
        fields: fields.map(|((field, was), (_, is))| (field, was, is)).collect(),
        new_bytes: new.map(|file| file.size).sum(),
    }
}

fn fields(image: &Image) -> [(&'static str, String); 10] {
    // In full, so that a new field is an error here until it is compared.
    let Image {
        name,
        version: _,
        created,
        arch,
        kernel_version,
        kernel,
        initrds,
        root,
        params,
        origin,
        labels,
    } = image;
    let file = |file: &File| format!("{}, {} bytes", file.digest.short(), file.size);
    let root = root
        .map(|root| format!("{}, {}, {}", file(&root.file), root.format.as_str(), root.delivery.as_str()));
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    [
        ("name", name.to_string()),
        ("created", created.rfc3339()),
        ("arch", arch.map_or("", |arch| arch.as_str()).to_owned()),
        ("kernel_version", kernel_version.clone().unwrap_or_default()),
        ("kernel", file(kernel)),
        ("initrds", initrds.iter().map(file).collect::<Vec<_>>().join("; ")),
        ("root", root.unwrap_or_default()),
        ("params", params.clone()),
        ("origin", origin.clone()),
        ("labels", labels.join(", ")),
    ]
}
