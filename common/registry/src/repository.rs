//! The one face of registries and layouts.

use lifeboat_core::Sha256Digest;

use crate::artifact::{Artifact, Attached, single_layer};
use crate::content::{Descriptor, MAX_MANIFEST_BYTES};
use crate::layout::Layout;
use crate::remote::Remote;
use crate::{Credentials, Reference, RegistryError};

/// How registries are spoken to.
#[derive(Debug, Default)]
pub struct Access {
    /// Whether to speak plain HTTP to a registry that is not on loopback.
    pub allow_http: bool,
    /// Who is calling.
    pub credentials: Credentials,
}

/// Where an image lies.
pub enum Repository {
    /// In a registry.
    Registry(Box<Remote>),
    /// In a layout on disk.
    Layout(Layout),
}

/// An image, resolved once: from here on the digest is its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The image's manifest or index.
    pub descriptor: Descriptor,
    /// The tag that was resolved, if the reference had one.
    pub tag: Option<String>,
}

/// What says that it refers to an image. Anyone who may write to the repository may have put it there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Referrers {
    /// The manifests, each once.
    pub manifests: Vec<Descriptor>,
    /// Whether there were more than anyone should have to look at, and the rest was left out.
    pub truncated: bool,
}

/// How many referrers of one image are listed.
pub(crate) const MAX_REFERRERS: usize = 1024;

impl Referrers {
    /// Takes in what another list names besides.
    pub(crate) fn merge(&mut self, descriptors: impl IntoIterator<Item = Descriptor>) {
        for descriptor in descriptors {
            if self.manifests.iter().any(|known| known.digest == descriptor.digest) {
                continue;
            }
            if self.manifests.len() >= MAX_REFERRERS {
                self.truncated = true;
                return;
            }
            self.manifests.push(descriptor);
        }
    }
}

impl Repository {
    /// The repository that the reference names. A layout is opened, a registry is not spoken to yet.
    pub fn open(reference: &Reference, access: Access) -> Result<Self, RegistryError> {
        Ok(match reference {
            Reference::Registry(reference) => Self::Registry(Box::new(Remote::new(reference, access)?)),
            Reference::Layout(reference) => Self::Layout(Layout::open(reference.path())?),
        })
    }

    /// Resolves the reference to a digest: the only time that a tag is looked at. A reference with tag and digest is
    /// refused when the tag names another digest.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, RegistryError> {
        let tag = reference.tag();
        let tagged = match (tag, reference.digest()) {
            (None, Some(_)) => None,
            (Some(tag), _) => Some(self.look_up(Some(tag)).await?),
            (None, None) => Some(self.look_up(None).await?),
        };
        let descriptor = match (tagged, reference.digest()) {
            (Some(tagged), Some(expected)) if tagged.digest != expected => {
                let tag = tag.unwrap_or_default().to_owned();
                return Err(RegistryError::TagMoved { tag, expected, found: tagged.digest });
            }
            (Some(tagged), _) => tagged,
            (None, Some(digest)) => self.stat(digest).await?,
            (None, None) => unreachable!("a reference without digest was looked up above"),
        };
        Ok(Resolved { descriptor, tag: tag.map(str::to_owned) })
    }

    async fn look_up(&self, tag: Option<&str>) -> Result<Descriptor, RegistryError> {
        match self {
            Self::Registry(remote) => remote.manifest_by_tag(tag.unwrap_or("latest")).await.map(|(d, _)| d),
            Self::Layout(layout) => layout.look_up(tag),
        }
    }

    async fn stat(&self, digest: Sha256Digest) -> Result<Descriptor, RegistryError> {
        match self {
            Self::Registry(remote) => remote.manifest_by_digest(digest).await.map(|(d, _)| d),
            Self::Layout(layout) => layout.stat(digest),
        }
    }

    /// The manifests that say they refer to `subject`.
    pub async fn referrers(&self, subject: Sha256Digest) -> Result<Referrers, RegistryError> {
        match self {
            Self::Registry(remote) => remote.referrers(subject).await,
            Self::Layout(layout) => layout.referrers(subject),
        }
    }

    /// The content of the artifact whose manifest is `manifest`: its single layer, at most `cap` bytes of it, if that
    /// layer's media type begins with `prefix`; `None` for every other kind of manifest.
    pub async fn artifact(
        &self,
        manifest: &Descriptor,
        prefix: &str,
        cap: u64,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        let bytes = match self {
            Self::Registry(remote) => remote.manifest_by_digest(manifest.digest).await?.1,
            Self::Layout(layout) => layout.blob(manifest.digest, MAX_MANIFEST_BYTES)?,
        };
        let what = format!("the manifest {}", manifest.digest.to_oci());
        let Some(layer) = single_layer(&what, &bytes, prefix)? else {
            return Ok(None);
        };
        if layer.size > cap {
            return Err(RegistryError::TooLarge {
                what: format!("the layer {}", layer.digest.to_oci()),
                cap,
            });
        }
        match self {
            Self::Registry(remote) => remote.blob(&layer, cap).await,
            Self::Layout(layout) => layout.blob(layer.digest, cap),
        }
        .map(Some)
    }

    /// Attaches `artifact` to the image `subject`. What is attached already stays.
    pub async fn attach(&self, subject: &Descriptor, artifact: &Artifact) -> Result<Attached, RegistryError> {
        match self {
            Self::Registry(remote) => remote.attach(subject, artifact).await,
            Self::Layout(layout) => layout.attach(subject, artifact),
        }
    }
}
