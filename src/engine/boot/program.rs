//! What a boot target means on this revision: images become kernel, initrds and root by their content's names.

use crate::engine::image::names;
use crate::model::image::{Delivery, Root};
use crate::model::{BootTarget, Image, Inventory};

/// What a machine is told to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Program {
    /// Kernel and initrds by URL, or by path below `url::IMAGES`.
    Linux { kernel: String, initrds: Vec<String>, params: String },
    /// An iPXE script written by the site, sent as it is.
    Script(String),
    /// Another script or program by URL.
    Chain(String),
    /// The next boot device of the firmware.
    LocalDisk,
}

/// What a target means; None if it names an image that is not there.
#[must_use]
pub fn program(inventory: &Inventory, target: &BootTarget) -> Option<Program> {
    Some(match target {
        BootTarget::Linux { kernel, initrds, params } => {
            Program::Linux { kernel: kernel.clone(), initrds: initrds.clone(), params: params.clone() }
        }
        BootTarget::Image { image, params } => of_image(inventory.image(image)?, params),
        BootTarget::Script(text) => Program::Script(text.clone()),
        BootTarget::Chain(url) => Program::Chain(url.clone()),
        BootTarget::LocalDisk => Program::LocalDisk,
    })
}

/// Kernel and initrds by content, the root as its delivery wants it; the image's parameters, then the others.
fn of_image(image: &Image, params: &str) -> Program {
    let root = image.root.as_ref().map(|root| root_params(image, root)).unwrap_or_default();
    let own = match &image.root {
        // The image says itself how its root is found.
        Some(root) => image.params.replace("{root}", &root_url(root)),
        None => image.params.clone(),
    };
    let line = [root.as_str(), &own, params].map(str::trim);
    let params = line.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    Program::Linux {
        kernel: names::by_content(&image.kernel.digest, names::KERNEL),
        initrds: (0..)
            .zip(&image.initrds)
            .map(|(index, file)| names::by_content(&file.digest, &names::initrd(index)))
            .collect(),
        params,
    }
}

fn root_url(root: &Root) -> String {
    format!("{{images}}/{}", names::by_content(&root.file.digest, names::root(root.format)))
}

/// The parameters by which the initrd finds the root (dracut.cmdline(7), live-boot(7), and our own hook's).
fn root_params(image: &Image, root: &Root) -> String {
    let (url, digest, size) = (root_url(root), root.file.digest.hex(), root.file.size);
    match root.delivery {
        Delivery::Live => format!("root=live:{url}"),
        Delivery::Fetch => format!("boot=live fetch={url}"),
        Delivery::Verified => format!(
            "root=muster muster.root={url} muster.sha256={digest} muster.size={size} \
             muster.manifest={{images}}/{}",
            names::manifest(image)
        ),
        Delivery::Nbd => format!("root=nbd:{{head}}:{digest}:{}:ro", root.format.as_str()),
        Delivery::Params => String::new(),
    }
}
