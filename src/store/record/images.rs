//! The serde forms of images and tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::model::image::{Delivery, File, Root, RootFormat};
use crate::model::{Image, Tag, TagKey};
use crate::store::record::declared::{read, read_arch};

#[derive(Serialize, Deserialize)]
pub struct ImageForm {
    name: String,
    version: String,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kernel_version: Option<String>,
    kernel: FileForm,
    initrds: Vec<FileForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<RootForm>,
    params: String,
    origin: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FileForm {
    digest: String,
    size: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RootForm {
    file: FileForm,
    format: String,
    delivery: String,
}

#[derive(Serialize, Deserialize)]
pub struct TagForm {
    name: String,
    tag: String,
    version: String,
    since: u64,
    before: Vec<(String, u64)>,
}

impl From<File> for FileForm {
    fn from(file: File) -> Self {
        let File { digest, size } = file;
        FileForm { digest: digest.to_string(), size }
    }
}

impl TryFrom<FileForm> for File {
    type Error = String;

    fn try_from(form: FileForm) -> Result<Self, String> {
        Ok(File { digest: read("digest", &form.digest)?, size: form.size })
    }
}

impl From<Root> for RootForm {
    fn from(root: Root) -> Self {
        let Root { file, format, delivery } = root;
        RootForm {
            file: file.into(),
            format: format.as_str().to_owned(),
            delivery: delivery.as_str().to_owned(),
        }
    }
}

impl TryFrom<RootForm> for Root {
    type Error = String;

    fn try_from(form: RootForm) -> Result<Self, String> {
        let RootForm { file, format, delivery } = form;
        Ok(Root {
            file: file.try_into()?,
            format: RootFormat::from_name(&format).ok_or_else(|| format!("root.format: {format:?}"))?,
            delivery: Delivery::from_name(&delivery).ok_or_else(|| format!("root.delivery: {delivery:?}"))?,
        })
    }
}

impl From<&Image> for ImageForm {
    fn from(image: &Image) -> Self {
        let Image {
            name,
            version,
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
        ImageForm {
            name: name.to_string(),
            version: version.to_string(),
            created: created.0,
            arch: arch.map(|arch| arch.as_str().to_owned()),
            kernel_version: kernel_version.clone(),
            kernel: (*kernel).into(),
            initrds: initrds.iter().map(|file| FileForm::from(*file)).collect(),
            root: root.map(RootForm::from),
            params: params.clone(),
            origin: origin.clone(),
            labels: labels.clone(),
        }
    }
}

impl TryFrom<ImageForm> for Image {
    type Error = String;

    fn try_from(form: ImageForm) -> Result<Self, String> {
        Ok(Image {
            name: read("name", &form.name)?,
            version: read("version", &form.version)?,
            created: Timestamp(form.created),
            arch: read_arch(form.arch.as_ref())?,
            kernel_version: form.kernel_version,
            kernel: form.kernel.try_into()?,
            initrds: form.initrds.into_iter().map(File::try_from).collect::<Result<_, _>>()?,
            root: form.root.map(Root::try_from).transpose()?,
            params: form.params,
            origin: form.origin,
            labels: form.labels,
        })
    }
}

impl From<&Tag> for TagForm {
    fn from(tag: &Tag) -> Self {
        let Tag { key: TagKey { name, tag }, version, since, before } = tag;
        TagForm {
            name: name.to_string(),
            tag: tag.to_string(),
            version: version.to_string(),
            since: since.0,
            before: before.iter().map(|(version, since)| (version.to_string(), since.0)).collect(),
        }
    }
}

impl TryFrom<TagForm> for Tag {
    type Error = String;

    fn try_from(form: TagForm) -> Result<Self, String> {
        let TagForm { name, tag, version, since, before } = form;
        let before = before
            .into_iter()
            .map(|(version, since)| Ok::<_, String>((read("before", &version)?, Timestamp(since))));
        Ok(Tag {
            key: TagKey { name: read("name", &name)?, tag: read("tag", &tag)? },
            version: read("version", &version)?,
            since: Timestamp(since),
            before: before.collect::<Result<_, _>>()?,
        })
    }
}
