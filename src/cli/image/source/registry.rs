//! Images from a registry (OCI distribution specification), by `oci-client`. Layers come to disk, since they are
//! read twice; a download that breaks goes on where it stopped.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use futures_util::StreamExt as _;
use oci_client::client::{BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::runtime::Runtime;

use crate::base::Digest;
use crate::base::limits::OCI_DOCUMENT_BYTES_MAX;
use crate::cli::image::source::blob::{Blob, check};
use crate::cli::image::source::oci::{DOCUMENTS, Document, Store, resolve};
use crate::cli::image::source::scratch::Scratch;
use crate::cli::image::source::url::Trouble;
use crate::cli::image::source::{Options, Prepared, login, rootfs, url};
use crate::cli::progress::Steps;

const CONNECT: Duration = Duration::from_secs(10);
/// How long a registry may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// A repository of a registry.
struct Registry<'a> {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
    runtime: Runtime,
    scratch: &'a Scratch,
    steps: &'a Steps,
    /// Octets that layers may still have: packed ones are smaller than what they unpack to.
    left: Cell<u64>,
}

/// An image by its reference, such as `registry.example.org/compute/rocky:9.5`.
pub(crate) fn open(
    name: &str,
    options: &Options,
    scratch: &Scratch,
    steps: &Steps,
) -> anyhow::Result<Prepared> {
    let reference: Reference = name.parse().map_err(|error| anyhow!("{name}: {error}"))?;
    let registry = Registry {
        client: client(options)?,
        auth: login::find(reference.resolve_registry(), options)?,
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        reference,
        scratch,
        steps,
        left: Cell::new(options.unpacked_max()),
    };
    let read = || {
        steps.on(format!("asking {}", registry.reference.resolve_registry()));
        let (bytes, digest) = registry.manifest(&registry.reference)?;
        resolve(&registry, Document::parse(&bytes, digest)?, options.arch)
    };
    let (mut image, digest) = read().with_context(|| name.to_owned())?;
    let Registry { reference, .. } = registry;
    image.origin = format!("{}/{}@{digest}", reference.registry(), reference.repository());
    rootfs::make(image, options, scratch, steps)
}

fn client(options: &Options) -> anyhow::Result<Client> {
    // Whoever comes second finds the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = ClientConfig {
        protocol: if options.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: url::USER_AGENT,
        ..ClientConfig::default()
    };
    if let Some(data) = url::roots(options)? {
        let pem = |data| Certificate { encoding: CertificateEncoding::Pem, data };
        config.tls_certs_only.extend(data.into_iter().map(pem));
    }
    Client::try_from(config).context("cannot set up the client")
}

impl Registry<'_> {
    fn wait<T>(&self, work: impl Future<Output = Result<T, OciDistributionError>>) -> anyhow::Result<T> {
        self.runtime.block_on(work).map_err(|error| self.reason(&error))
    }

    /// TODO(correctness): the library reads a manifest of any length into memory; a hostile registry could fill it.
    fn manifest(&self, reference: &Reference) -> anyhow::Result<(Vec<u8>, Digest)> {
        let (bytes, digest) = self.wait(self.client.pull_manifest_raw(reference, &self.auth, &DOCUMENTS))?;
        let length = u64::try_from(bytes.len())?;
        ensure!(
            length <= OCI_DOCUMENT_BYTES_MAX,
            "the manifest has {length} octets, at most {OCI_DOCUMENT_BYTES_MAX}"
        );
        let digest = digest.parse().with_context(|| format!("digest {digest:?}"))?;
        check("the manifest", &bytes, length, Some(digest))?;
        Ok((bytes.to_vec(), digest))
    }

    /// One try; what came stands in the file, whatever happens.
    async fn pull(&self, descriptor: &OciDescriptor, file: &mut File, size: u64) -> Result<(), Trouble> {
        let from = file.stream_position()?;
        let answer = self.client.pull_blob_stream_partial(&self.reference, descriptor, from, None).await;
        let mut stream = match answer.map_err(|error| self.trouble(&error, from == 0))? {
            BlobResponse::Partial(stream) => stream,
            BlobResponse::Full(stream) => {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
                stream
            }
        };
        let mut position = file.stream_position()?;
        while let Some(chunk) = stream.next().await {
            // Once all is there, the library's only complaint is the digest.
            let trouble = if position == size { Trouble::Final } else { Trouble::Passing };
            let chunk = chunk.map_err(|error| trouble(error.into()))?;
            position += url::octets(chunk.len());
            if position > size {
                let text = format!("it has more octets than the {size} that were promised");
                return Err(Trouble::Final(anyhow!(text)));
            }
            file.write_all(&chunk)?;
            self.steps.on(format!("fetching {} of {} MB", position / 1_000_000, size / 1_000_000));
        }
        if position < size {
            return Err(Trouble::Passing(anyhow!("it ended after {position} of {size} octets")));
        }
        Ok(())
    }

    fn trouble(&self, error: &OciDistributionError, first: bool) -> Trouble {
        match error {
            OciDistributionError::RequestError(error) => url::trouble(error, first),
            OciDistributionError::ServerError { code, .. } => url::refusal(*code, self.reason(error)),
            other => Trouble::Final(self.reason(other)),
        }
    }

    /// What went wrong, in words of ours where the library's would not help.
    fn reason(&self, error: &OciDistributionError) -> anyhow::Error {
        match error {
            OciDistributionError::UnauthorizedError { .. } if self.auth == RegistryAuth::Anonymous => {
                anyhow!("the registry wants a login (--username and --password-stdin, or docker login)")
            }
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => {
                anyhow!("the registry does not accept this login")
            }
            OciDistributionError::RequestError(error) => anyhow!(url::reason(error)),
            OciDistributionError::RegistryError { envelope, .. } => {
                let said = envelope.errors.iter().map(|error| format!("{:?} {}", error.code, error.message));
                anyhow!("the registry says: {}", said.collect::<Vec<_>>().join("; "))
            }
            OciDistributionError::ServerError { code, .. } => anyhow!("the registry answers {code}"),
            other => anyhow!("{other}"),
        }
    }
}

impl Store for Registry<'_> {
    fn document(&self, digest: Digest, size: u64) -> anyhow::Result<Vec<u8>> {
        let (bytes, _) = self.manifest(&self.reference.clone_with_digest(digest.to_string()))?;
        check(&format!("manifest {digest}"), &bytes, size, Some(digest))?;
        Ok(bytes)
    }

    fn blob(&self, label: String, digest: Digest, size: u64) -> anyhow::Result<Blob> {
        let Some(left) = self.left.get().checked_sub(size) else {
            bail!("{label}: the image is larger than allowed (--max-unpacked)");
        };
        self.left.set(left);
        let (mut file, path) = self.scratch.create("layer")?;
        let descriptor = OciDescriptor {
            digest: digest.to_string(),
            size: i64::try_from(size)?,
            ..OciDescriptor::default()
        };
        let work = url::persist(async || self.pull(&descriptor, &mut file, size).await);
        self.runtime.block_on(work).with_context(|| label.clone())?;
        let blob = Blob { label, digest: Some(digest), ..Blob::of(&path)? };
        ensure!(blob.size == size, "{} has {} octets, expected {size}", blob.label, blob.size);
        Ok(blob)
    }
}
