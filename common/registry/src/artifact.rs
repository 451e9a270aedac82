//! Artifacts that refer to an image: a manifest with a `subject`, an empty config and one layer (OCI image
//! specification, "Guidelines for Artifact Usage").

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use serde::Serialize;

use crate::RegistryError;
use crate::content::{Descriptor, Manifest, OCI_EMPTY, OCI_MANIFEST};

/// The content of the empty config.
pub(crate) const EMPTY: &[u8] = b"{}";

/// An artifact to attach to an image.
#[derive(Debug)]
pub struct Artifact {
    /// The media type of the layer, and the artifact type of the manifest.
    pub media_type: String,
    /// The layer.
    pub content: Vec<u8>,
    /// The manifest's annotations, besides the time of creation.
    pub annotations: BTreeMap<String, String>,
    /// The time of creation, which goes into the manifest.
    pub created: Timestamp,
}

/// How readers will find an attached artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// The registry lists referrers.
    ReferrersApi,
    /// The registry does not; the entry is in the index under this tag.
    FallbackTag(String),
    /// `index.json` of the layout names it.
    LayoutIndex,
    /// It is a layer of the manifest under this tag, as cosign kept signatures before referrers.
    LegacyTag(String),
}

/// The result of attaching an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The digest of the manifest that refers to the image.
    pub manifest: Sha256Digest,
    /// How readers will find it.
    pub discovery: Discovery,
}

/// Manifests that claim to refer to an image. Anyone who may write to the repository may have put them there.
#[derive(Debug, Default)]
pub struct Referrers {
    /// The manifests, each once.
    pub manifests: Vec<Descriptor>,
    /// Whether there were more than a reader should have to examine, so that the rest was left out.
    pub truncated: bool,
    /// The lists that could not be read, by name: their entries may refer to the image as well.
    pub unread: Vec<(String, RegistryError)>,
}

/// How many referrers of one image are listed.
const MAX_REFERRERS: usize = 1024;

impl Referrers {
    /// Adds what another list names.
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson<'a> {
    schema_version: u8,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: BTreeMap<String, String>,
    subject: &'a Descriptor,
}

impl Artifact {
    /// The manifest that attaches this to `subject`.
    pub(crate) fn manifest(&self, subject: &Descriptor) -> Vec<u8> {
        let manifest = ManifestJson {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            artifact_type: &self.media_type,
            config: Descriptor::of(OCI_EMPTY, EMPTY),
            layers: [Descriptor::of(&self.media_type, &self.content)],
            annotations: self.all_annotations(),
            subject,
        };
        serde_json::to_vec(&manifest).expect("strings and numbers always serialise")
    }

    /// The entry of this artifact in an index of referrers.
    pub(crate) fn index_entry(&self, manifest: &Descriptor) -> serde_json::Value {
        let mut entry = serde_json::to_value(manifest).expect("strings and numbers always serialise");
        entry["artifactType"] = self.media_type.clone().into();
        entry["annotations"] =
            serde_json::to_value(self.all_annotations()).expect("strings always serialise");
        entry
    }

    fn all_annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = self.annotations.clone();
        let created = self.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        annotations.insert("org.opencontainers.image.created".to_owned(), created);
        annotations
    }
}

/// An attached artifact. Only its content is verified, against the digest that was requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The content of the layer.
    pub content: Vec<u8>,
    /// The image that the manifest says it refers to.
    pub subject: Option<Sha256Digest>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A manifest's description of its single layer.
pub(crate) struct SingleLayer {
    pub(crate) layer: Descriptor,
    pub(crate) subject: Option<Sha256Digest>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The layer of an artifact's manifest, if there is exactly one and its media type starts with `prefix`. The artifact
/// type is ignored: not every tool sets it, and nobody vouches for it.
pub(crate) fn single_layer(
    what: &str,
    manifest: &[u8],
    prefix: &str,
) -> Result<Option<SingleLayer>, RegistryError> {
    let manifest = Manifest::parse(what, manifest)?;
    let layer = match manifest.layers.as_deref() {
        Some([layer]) if layer.media_type.starts_with(prefix) => layer.typed(),
        _ => None,
    };
    Ok(layer.map(|layer| SingleLayer {
        layer,
        subject: manifest.subject.and_then(|subject| subject.typed()).map(|subject| subject.digest),
        annotations: manifest.annotations.unwrap_or_default(),
    }))
}
