//! Descriptors and manifests (OCI image specification 1.1), parsed strictly only where it matters.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;
use lifeboat_strict::json::{self, Limits, Shape, Structure};
use lifeboat_strict::printable;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::RegistryError;
use crate::platform::Platform;

/// The largest manifest or index that is read, in bytes: the limit of registries themselves.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Every media type that an image's manifest may have.
pub(crate) const MANIFEST_TYPES: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// A descriptor (OCI image specification, "Descriptor").
pub(crate) const DESCRIPTOR: Shape = Shape::Structure(&Structure::open(&[
    ("mediaType", Shape::Any),
    ("digest", Shape::Any),
    ("size", Shape::Any),
    ("urls", Shape::List(&Shape::Any, MAX_ENTRIES)),
    ("annotations", Shape::Map(&Shape::Any)),
    ("data", Shape::Any),
    ("artifactType", Shape::Any),
    ("platform", PLATFORM),
]));

/// The platform of an image (OCI image specification, "Image Index").
const PLATFORM: Shape = Shape::Structure(&Structure::open(&[
    ("architecture", Shape::Any),
    ("os", Shape::Any),
    ("os.version", Shape::Any),
    ("os.features", Shape::List(&Shape::Any, MAX_ENTRIES)),
    ("variant", Shape::Any),
    ("features", Shape::List(&Shape::Any, MAX_ENTRIES)),
]));

/// A manifest or an index (OCI image specification, "Image Manifest" and "Image Index"), with the members that identify
/// Docker's first schema and the configuration of an image.
pub(crate) const MANIFEST: Shape = Shape::Structure(&Structure::open(&[
    ("schemaVersion", Shape::Any),
    ("mediaType", Shape::Any),
    ("artifactType", Shape::Any),
    ("config", DESCRIPTOR),
    ("layers", Shape::List(&DESCRIPTOR, MAX_ENTRIES)),
    ("manifests", Shape::List(&DESCRIPTOR, MAX_ENTRIES)),
    ("subject", DESCRIPTOR),
    ("annotations", Shape::Map(&Shape::Any)),
    ("fsLayers", Shape::Any),
    ("rootfs", Shape::Any),
]));

/// How many entries of a list are read.
pub(crate) const MAX_ENTRIES: usize = 16_384;

/// Limits for lists of manifests, which are longer than any single manifest.
pub(crate) const LIST: Limits = Limits { values: 1 << 18, ..Limits::UNSIGNED };

/// The media types that name other images.
pub(crate) const INDEX_TYPES: [&str; 2] = [OCI_INDEX, DOCKER_LIST];

/// Identifies a piece of content: media type, digest and size (OCI image specification, "Descriptor").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
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

/// Compares bytes from outside with the digest in their name.
pub(crate) fn check(what: &str, expected: Sha256Digest, bytes: Vec<u8>) -> Result<Vec<u8>, RegistryError> {
    let found = Sha256Digest::of(&bytes);
    if found == expected {
        Ok(bytes)
    } else {
        Err(RegistryError::DigestMismatch { what: what.to_owned(), expected, found })
    }
}

/// A descriptor as received.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawDescriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
}

/// An image in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The image's manifest.
    pub descriptor: Descriptor,
    /// Its platform, such as `linux/arm64/v8`, if the index says so.
    pub platform: Option<String>,
    /// The same in the index's own form.
    pub(crate) target: Option<Platform>,
}

/// How many images of an index are considered.
const MAX_CHILDREN: usize = 256;

impl RawDescriptor {
    /// The typed form; `None` for a digest with an algorithm other than SHA-256, which is the only one supported.
    pub(crate) fn typed(&self) -> Option<Descriptor> {
        let digest = Sha256Digest::from_oci(&self.digest).ok()?;
        Some(Descriptor { media_type: self.media_type.clone(), digest, size: self.size })
    }
}

/// The members of a manifest or index that matter here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default)]
    schema_version: Option<u64>,
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
    #[serde(default)]
    pub(crate) config: Option<RawDescriptor>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
    #[serde(default)]
    rootfs: Option<IgnoredAny>,
}

impl Manifest {
    /// Parses a manifest or an index of images.
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, RegistryError> {
        Self::read(what, bytes, Limits::UNSIGNED)
    }

    /// Parses an index that lists referrers.
    pub(crate) fn parse_list(what: &str, bytes: &[u8]) -> Result<Self, RegistryError> {
        Self::read(what, bytes, LIST)
    }

    fn read(what: &str, bytes: &[u8], limits: Limits) -> Result<Self, RegistryError> {
        let malformed =
            |reason: &str| RegistryError::Malformed { what: what.to_owned(), reason: reason.to_owned() };
        let manifest: Self =
            json::read(bytes, &MANIFEST, limits).map_err(|refusal| RegistryError::refused(what, refusal))?;
        // One document must not be an image to one reader and an index to another.
        if manifest.manifests.is_some() && (manifest.layers.is_some() || manifest.config.is_some()) {
            return Err(malformed("it is a manifest and an index at once"));
        }
        let ambiguous =
            |reason: &str| RegistryError::Ambiguous { what: what.to_owned(), reason: reason.to_owned() };
        if manifest.rootfs.is_some() {
            return Err(ambiguous("it is a manifest and the configuration of an image at once"));
        }
        if manifest.fs_layers.is_some() || manifest.schema_version.is_some_and(|version| version != 2) {
            return Err(ambiguous("it is a manifest of two schemas at once"));
        }
        Ok(manifest)
    }

    /// The images of an index; empty for any other manifest. Entries that are for no platform, such as the attestations
    /// that build tools add, are not images.
    pub(crate) fn children(&self, what: &str) -> Result<Vec<Child>, RegistryError> {
        let entries = self.manifests.as_deref().unwrap_or_default();
        if entries.len() > MAX_CHILDREN {
            let reason = format!("it names {} images", entries.len());
            return Err(RegistryError::Malformed { what: what.to_owned(), reason });
        }
        let mut children = Vec::new();
        for entry in entries {
            let platform = entry.platform.as_ref().map(Platform::to_string);
            if platform.as_deref() == Some("unknown/unknown") {
                continue;
            }
            let Some(descriptor) = entry.typed() else {
                let reason = format!(
                    "it names an image by the digest `{}`, which is not read",
                    printable(&entry.digest)
                );
                return Err(RegistryError::Ambiguous { what: what.to_owned(), reason });
            };
            children.push(Child { descriptor, platform, target: entry.platform.clone() });
        }
        Ok(children)
    }

    /// The media type that the document declares, which must agree with the one it was served as.
    pub(crate) fn media_type(&self, what: &str, served_as: Option<&str>) -> Result<String, RegistryError> {
        let media_type = match (self.media_type.as_deref(), served_as) {
            (Some(own), Some(served)) if own != served => {
                let reason = format!("it was served as `{served}` but says that it is `{own}`");
                return Err(RegistryError::Malformed { what: what.to_owned(), reason });
            }
            (Some(own), _) => own,
            (None, Some(served)) => served,
            (None, None) if self.manifests.is_some() => OCI_INDEX,
            (None, None) if self.config.is_some() && self.layers.is_some() => OCI_MANIFEST,
            (None, None) => {
                let reason =
                    "it says not what it is, and has neither images nor a config with layers".to_owned();
                return Err(RegistryError::Malformed { what: what.to_owned(), reason });
            }
        };
        if !MANIFEST_TYPES.contains(&media_type) {
            let reason = format!("`{}` is not a kind of image", media_type.escape_default());
            return Err(RegistryError::Malformed { what: what.to_owned(), reason });
        }
        if INDEX_TYPES.contains(&media_type) != self.manifests.is_some() {
            let reason = format!("it is `{media_type}` by name and another kind of document by its members");
            return Err(RegistryError::Ambiguous { what: what.to_owned(), reason });
        }
        Ok(media_type.to_owned())
    }
}

/// Checks that these bytes are a manifest or index that this crate would accept.
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
        for polyglot in [
            r#"{"manifests":[],"Manifests":[]}"#,
            "{\"manifests\":[],\"manife\u{17f}ts\":[]}",
            r#"{"manifests":[],"config":{"mediaType":"a","digest":"b","size":1}}"#,
            r#"{"layers":[],"rootfs":{"diff_ids":[]}}"#,
            r#"{"layers":[],"fsLayers":[]}"#,
            r#"{"layers":[],"schemaVersion":1}"#,
            r#"{"layers":[{"mediaType":"a","digest":"b","Digest":"c","size":1}]}"#,
            r#"{"layers":[{"mediaType":"a","digest":"b","size":1,"platform":{"os":"a","OS":"b"}}]}"#,
            r#"{"layers":{}}"#,
            "[2]",
        ] {
            assert!(parse(polyglot).is_err(), "{polyglot}");
        }
        let two_labels = r#"{"layers":[],"annotations":{"a":"1","A":"2"}}"#;
        parse(two_labels).unwrap();
    }

    #[test]
    fn a_document_is_of_the_kind_that_its_members_show() {
        let media_type = |json: &str, served: &str| {
            Manifest::parse("it", json.as_bytes()).unwrap().media_type("it", Some(served))
        };
        media_type(r#"{"manifests":[]}"#, OCI_INDEX).unwrap();
        media_type(r#"{"layers":[]}"#, OCI_MANIFEST).unwrap();
        media_type(r#"{"manifests":[]}"#, OCI_MANIFEST).unwrap_err();
        media_type(r#"{"layers":[]}"#, DOCKER_LIST).unwrap_err();
    }

    #[test]
    fn an_index_that_names_an_image_by_a_digest_that_is_not_read_is_ambiguous() {
        let entry = |platform: &str| {
            let index = format!(
                r#"{{"manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"sha512:00","size":1,"platform":{{"os":"{platform}","architecture":"{platform}"}}}}]}}"#
            );
            Manifest::parse("it", index.as_bytes()).unwrap().children("it")
        };
        assert!(entry("linux").unwrap_err().to_string().contains("sha512:00"));
        assert_eq!(entry("unknown").unwrap(), []);
    }
}
