//! The common interface of registries and layouts.

use lifeboat_core::Sha256Digest;

use crate::artifact::{Artifact, Attached, Found, SingleLayer, single_layer};
use crate::content::{Child, DOCKER_LIST, Descriptor, MAX_MANIFEST_BYTES, Manifest, OCI_INDEX};
use crate::layout::Layout;
use crate::legacy::{LegacyArtifact, LegacyKind, LegacyLayer};
use crate::remote::Remote;
use crate::{Access, Reference, Referrers, RegistryError};

/// The place that holds an image.
pub enum Repository {
    /// In a registry.
    Registry(Box<Remote>),
    /// In a layout on disk.
    Layout(Layout),
}

/// An image, resolved once. From here on it is identified by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The image's manifest or index.
    pub descriptor: Descriptor,
    /// The tag that was resolved, if the reference had one.
    pub tag: Option<String>,
}

/// An index as it was served.
#[derive(Debug, Clone)]
pub struct Index {
    /// The digest of its bytes.
    pub digest: Sha256Digest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The images that it names.
    pub children: Vec<Child>,
}

impl Index {
    /// Parses an index whose bytes have this digest.
    pub fn parse(digest: Sha256Digest, bytes: Vec<u8>) -> Result<Self, RegistryError> {
        let what = format!("the index {}", digest.to_oci());
        let children = Manifest::parse(&what, &bytes)?.children(&what)?;
        Ok(Self { digest, bytes, children })
    }

    /// Whether it names the image of this digest.
    pub fn names(&self, digest: Sha256Digest) -> bool {
        self.children.iter().any(|child| child.descriptor.digest == digest)
    }
}

impl Repository {
    /// Opens the repository that the reference names. A registry is not contacted yet.
    pub fn open(reference: &Reference, access: Access) -> Result<Self, RegistryError> {
        Ok(match reference {
            Reference::Registry(reference) => Self::Registry(Box::new(Remote::new(reference, access)?)),
            Reference::Layout(reference) => Self::Layout(Layout::open(reference.path(), reference.form())?),
            Reference::Daemon(name) => return Err(RegistryError::NeverPushed { name: name.clone() }),
        })
    }

    /// Resolves the reference to a digest: the only time that a tag is read. A reference with tag and digest is refused
    /// if the tag points to another digest.
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

    /// The descriptor of an existing manifest, whose bytes have this digest.
    pub async fn stat(&self, digest: Sha256Digest) -> Result<Descriptor, RegistryError> {
        match self {
            Self::Registry(remote) => remote.manifest_by_digest(digest).await.map(|(d, _)| d),
            Self::Layout(layout) => layout.stat(digest),
        }
    }

    /// The manifests that claim to refer to `subject`.
    pub async fn referrers(&self, subject: Sha256Digest) -> Result<Referrers, RegistryError> {
        match self {
            Self::Registry(remote) => remote.referrers(subject).await,
            Self::Layout(layout) => Ok(layout.referrers(subject)),
        }
    }

    /// The bytes of a manifest, compared with its digest.
    async fn manifest(&self, digest: Sha256Digest) -> Result<Vec<u8>, RegistryError> {
        match self {
            Self::Registry(remote) => Ok(remote.manifest_by_digest(digest).await?.1),
            Self::Layout(layout) => layout.blob(digest, MAX_MANIFEST_BYTES),
        }
    }

    /// The index with the images that it names; `None` for an image.
    pub async fn index(&self, image: &Descriptor) -> Result<Option<Index>, RegistryError> {
        if ![OCI_INDEX, DOCKER_LIST].contains(&image.media_type.as_str()) {
            return Ok(None);
        }
        Index::parse(image.digest, self.manifest(image.digest).await?).map(Some)
    }

    /// The artifact with the manifest `manifest`: its single layer, at most `cap` bytes of it, if that layer's media
    /// type starts with `prefix`; `None` for every other kind of manifest.
    pub async fn artifact(
        &self,
        manifest: &Descriptor,
        prefix: &str,
        cap: u64,
    ) -> Result<Option<Found>, RegistryError> {
        let bytes = self.manifest(manifest.digest).await?;
        let what = format!("the manifest {}", manifest.digest.to_oci());
        let Some(SingleLayer { layer, subject, annotations }) = single_layer(&what, &bytes, prefix)? else {
            return Ok(None);
        };
        let content = self.blob(&layer, cap).await?;
        Ok(Some(Found { content, subject, annotations }))
    }

    /// The bytes of a blob, at most `cap` of them, compared with its digest.
    pub async fn blob(&self, blob: &Descriptor, cap: u64) -> Result<Vec<u8>, RegistryError> {
        if blob.size > cap {
            let what = format!("the layer {}", blob.digest.to_oci());
            return Err(RegistryError::TooLarge { what, cap });
        }
        match self {
            Self::Registry(remote) => remote.blob(blob, cap).await,
            Self::Layout(layout) => layout.blob(blob.digest, cap),
        }
    }

    /// The layers under the legacy tag of `subject`, and whether there are more than are listed.
    pub async fn legacy(
        &self,
        subject: Sha256Digest,
        kind: LegacyKind,
    ) -> Result<(Vec<LegacyLayer>, bool), RegistryError> {
        match self {
            Self::Registry(remote) => remote.legacy(subject, kind).await,
            Self::Layout(layout) => layout.legacy(subject, kind),
        }
    }

    /// Adds `artifact` under the legacy tag of the image `subject`.
    pub async fn attach_legacy(
        &self,
        subject: Sha256Digest,
        artifact: &LegacyArtifact,
    ) -> Result<Attached, RegistryError> {
        match self {
            Self::Registry(remote) => remote.attach_legacy(subject, artifact).await,
            Self::Layout(layout) => layout.attach_legacy(subject, artifact),
        }
    }

    /// Attaches `artifact` to the image `subject`, keeping what is attached already.
    pub async fn attach(&self, subject: &Descriptor, artifact: &Artifact) -> Result<Attached, RegistryError> {
        match self {
            Self::Registry(remote) => remote.attach(subject, artifact).await,
            Self::Layout(layout) => layout.attach(subject, artifact),
        }
    }
}
