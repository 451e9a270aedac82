//! Descriptors and manifests (OCI image specification 1.1), read strictly where it matters and no further.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::RegistryError;

/// The largest manifest or index that is read, in bytes: what registries themselves accept.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Every kind of manifest that an image may be.
pub(crate) const MANIFEST_TYPES: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// What names a piece of content: kind, digest and size (OCI image specification, "Descriptor").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The kind of content.
    pub media_type: String,
    /// Its digest.
    #[serde(serialize_with = "oci_digest")]
    pub digest: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
}

fn oci_digest<S: serde::Serializer>(digest: &Sha256Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&digest.to_oci())
}

impl Descriptor {
    /// The descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: Sha256Digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// Compares bytes that came from outside with the digest in their name.
pub(crate) fn check(what: &str, expected: Sha256Digest, bytes: Vec<u8>) -> Result<Vec<u8>, RegistryError> {
    let found = Sha256Digest::of(&bytes);
    if found == expected {
        Ok(bytes)
    } else {
        Err(RegistryError::DigestMismatch { what: what.to_owned(), expected, found })
    }
}

/// A descriptor as it came.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawDescriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) platform: Option<RawPlatform>,
}

/// What an image is for, as an index says (OCI image specification, "Image Index").
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl RawPlatform {
    fn shown(&self) -> String {
        let variant = self.variant.as_ref().filter(|variant| !variant.is_empty());
        let variant = variant.map_or(String::new(), |variant| format!("/{variant}"));
        format!("{}/{}{variant}", self.os, self.architecture)
    }
}

/// An image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The image's manifest.
    pub descriptor: Descriptor,
    /// What it is for, such as `linux/arm64/v8`, if the index says so.
    pub platform: Option<String>,
}

/// How many images of an index are looked at.
const MAX_CHILDREN: usize = 256;

impl RawDescriptor {
    /// The typed form; `None` for a digest of another algorithm than SHA-256, which is the only one read.
    pub(crate) fn typed(&self) -> Option<Descriptor> {
        let digest = Sha256Digest::from_oci(&self.digest).ok()?;
        Some(Descriptor { media_type: self.media_type.clone(), digest, size: self.size })
    }
}

/// What is looked at in a manifest or index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default)]
    pub(crate) media_type: Option<String>,
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) subject: Option<RawDescriptor>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<RawDescriptor>>,
    #[serde(default)]
    pub(crate) manifests: Option<Vec<RawDescriptor>>,
}

impl Manifest {
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, RegistryError> {
        let malformed = |reason: String| RegistryError::Malformed { what: what.to_owned(), reason };
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        // One document must not be an image to one reader and an index to another.
        if manifest.layers.is_some() && manifest.manifests.is_some() {
            return Err(malformed("it is a manifest and an index at once".to_owned()));
        }
        Ok(manifest)
    }

    /// The images of an index; none for any other manifest. Entries that are for no platform, such as the attestations
    /// that build tools put there, are no images.
    pub(crate) fn children(&self, what: &str) -> Result<Vec<Child>, RegistryError> {
        let entries = self.manifests.as_deref().unwrap_or_default();
        if entries.len() > MAX_CHILDREN {
            let reason = format!("it names {} images", entries.len());
            return Err(RegistryError::Malformed { what: what.to_owned(), reason });
        }
        let children = entries.iter().filter_map(|entry| {
            let platform = entry.platform.as_ref().map(RawPlatform::shown);
            (platform.as_deref() != Some("unknown/unknown")).then_some(())?;
            Some(Child { descriptor: entry.typed()?, platform })
        });
        Ok(children.collect())
    }

    /// The kind that the document says it is, which must be the kind that whoever served it says.
    pub(crate) fn media_type(&self, what: &str, served_as: Option<&str>) -> Result<String, RegistryError> {
        let media_type = match (self.media_type.as_deref(), served_as) {
            (Some(own), Some(served)) if own != served => {
                let reason = format!("it was served as `{served}` but says that it is `{own}`");
                return Err(RegistryError::Malformed { what: what.to_owned(), reason });
            }
            (Some(own), _) => own,
            (None, Some(served)) => served,
            (None, None) if self.manifests.is_some() => OCI_INDEX,
            (None, None) => OCI_MANIFEST,
        };
        if MANIFEST_TYPES.contains(&media_type) {
            Ok(media_type.to_owned())
        } else {
            let reason = format!("`{}` is no kind of image", media_type.escape_default());
            Err(RegistryError::Malformed { what: what.to_owned(), reason })
        }
    }
}

/// Whether these bytes are a manifest or index that would be read.
pub fn check_manifest(bytes: &[u8]) -> Result<(), RegistryError> {
    let what = "the manifest";
    let manifest = Manifest::parse(what, bytes)?;
    manifest.media_type(what, None)?;
    manifest.children(what).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_is_two_things_at_once_is_refused() {
        let parse = |json: &str| Manifest::parse("it", json.as_bytes());
        assert!(parse(r#"{"layers":[],"manifests":[]}"#).is_err());
        assert!(parse(r#"{"subject":{"mediaType":"a","digest":"b","size":-1}}"#).is_err());
        assert!(parse(r#"{"layers":[],"layers":[]}"#).is_err());
        assert!(parse(&"[".repeat(1_000_000)).is_err());
        let manifest = parse(&format!(r#"{{"mediaType":"{OCI_MANIFEST}","layers":[]}}"#)).unwrap();
        assert_eq!(manifest.media_type("it", None).unwrap(), OCI_MANIFEST);
        assert!(manifest.media_type("it", Some(OCI_INDEX)).is_err());
        assert!(parse("{}").unwrap().media_type("it", Some("text/html")).is_err());
    }
}
