//! The manifest: what an image version is, line by line, so that a shell in an initramfs can read it. Its
//! SHA-256 is the version, so what was ever written here must be written the same for ever.

use sha2::{Digest as _, Sha256};

use crate::base::Digest;
use crate::model::Image;
use crate::model::image::File;

/// The first line: format and version.
const HEAD: &str = "muster-manifest 1";

/// Writes the manifest of an image. The version that the image carries plays no part.
#[must_use]
pub fn emit(image: &Image) -> String {
    // In full, so that a new field is an error here until it is decided whether it makes another version.
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
    let file = |kind: &str, file: &File| format!("{kind} {} {}", file.digest, file.size);
    let mut lines = vec![HEAD.to_owned(), format!("image {name}"), format!("created {created}")];
    lines.extend(arch.map(|arch| format!("arch {}", arch.as_str())));
    lines.extend(kernel_version.as_ref().map(|version| format!("kernel-version {version}")));
    lines.push(file("kernel", kernel));
    lines.extend(initrds.iter().map(|initrd| file("initrd", initrd)));
    if let Some(root) = root {
        lines.push(format!("{} {}", file("root", &root.file), root.format.as_str()));
        lines.push(format!("delivery {}", root.delivery.as_str()));
    }
    for (key, text) in [("params", params), ("origin", origin)] {
        lines.extend((!text.is_empty()).then(|| format!("{key} {text}")));
    }
    lines.extend(labels.iter().map(|(key, value)| format!("label {key}={value}")));
    lines.push(String::new());
    lines.join("\n")
}

/// The version of an image: the SHA-256 of its manifest.
#[must_use]
pub fn version(image: &Image) -> Digest {
    Digest(Sha256::digest(emit(image)).into())
}

/// True if a text fits on a line of its own: what is stored with an image must not forge other lines.
#[must_use]
pub fn fits_on_a_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
