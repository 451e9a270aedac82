//! cosign's older way of attaching signatures: a tag `sha256-<digest>.sig` or `.att` for a manifest with a layer for
//! each (Cosign, "Signature specification", section Discovery and Storage).

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;
use lifeboat_strict::json;
use serde::Serialize;
use serde_json::{Value, json};

use crate::RegistryError;
use crate::content::{Descriptor, LIST, MANIFEST, Manifest, OCI_MANIFEST};

/// The media type of the config of such a manifest.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// How many layers of one manifest are considered.
const MAX_LAYERS: usize = 1024;

/// The kinds of legacy tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyKind {
    /// Signatures.
    Signatures,
    /// Attestations.
    Attestations,
}

impl LegacyKind {
    /// The tag for the image `subject`.
    pub fn tag(self, subject: Sha256Digest) -> String {
        let suffix = match self {
            Self::Signatures => "sig",
            Self::Attestations => "att",
        };
        format!("sha256-{subject}.{suffix}")
    }

    /// cosign's name for it in a layout that it saved.
    pub(crate) fn saved_as(self) -> &'static str {
        match self {
            Self::Signatures => "dev.cosignproject.cosign/sigs",
            Self::Attestations => "dev.cosignproject.cosign/atts",
        }
    }
}

/// Whether this is a legacy tag, of any image.
pub(crate) fn is_tag(text: &str) -> bool {
    let subject = text.strip_prefix("sha256-").and_then(|rest| rest.split_once('.'));
    subject.is_some_and(|(digest, suffix)| {
        digest.parse::<Sha256Digest>().is_ok() && ["sig", "att"].contains(&suffix)
    })
}

/// A layer under a legacy tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyLayer {
    /// The layer's content.
    pub descriptor: Descriptor,
    /// The annotations, which hold the signature.
    pub annotations: BTreeMap<String, String>,
}

/// Something to attach under a legacy tag.
#[derive(Debug)]
pub struct LegacyArtifact {
    /// The kind of tag.
    pub kind: LegacyKind,
    /// The media type of the layer.
    pub media_type: String,
    /// The layer.
    pub content: Vec<u8>,
    /// The layer's annotations.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer<'a> {
    #[serde(flatten)]
    descriptor: Descriptor,
    annotations: &'a BTreeMap<String, String>,
}

impl LegacyArtifact {
    /// The layer's descriptor in the manifest.
    pub(crate) fn layer(&self) -> Value {
        let descriptor = Descriptor::of(&self.media_type, &self.content);
        serde_json::to_value(Layer { descriptor, annotations: &self.annotations })
            .expect("strings and numbers always serialise")
    }
}

/// The layers of a manifest under a legacy tag, and whether there are more than a reader should have to examine.
pub(crate) fn layers(what: &str, manifest: &[u8]) -> Result<(Vec<LegacyLayer>, bool), RegistryError> {
    let layers = Manifest::parse_list(what, manifest)?.layers.unwrap_or_default();
    let found = layers.iter().take(MAX_LAYERS).filter_map(|layer| {
        let annotations = layer.annotations.clone().unwrap_or_default();
        Some(LegacyLayer { descriptor: layer.typed()?, annotations })
    });
    Ok((found.collect(), layers.len() > MAX_LAYERS))
}

/// The manifest under a legacy tag while layers are added to it.
#[derive(Debug, Default)]
pub(crate) struct LegacyManifest {
    layers: Vec<Value>,
}

impl LegacyManifest {
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, RegistryError> {
        let malformed = |reason: String| RegistryError::Malformed { what: what.to_owned(), reason };
        let mut manifest: Value =
            json::read(bytes, &MANIFEST, LIST).map_err(|refusal| RegistryError::refused(what, refusal))?;
        match manifest.get_mut("layers").map(Value::take) {
            Some(Value::Array(layers)) => Ok(Self { layers }),
            _ => Err(malformed("it has no `layers`".to_owned())),
        }
    }

    /// Adds the layers of `seen` that are missing here, and adds to `seen` those that it does not have. Returns whether
    /// any was missing here. Two layers may have the same content and differ in the signature that annotates them.
    pub(crate) fn add(&mut self, seen: &mut Vec<Value>) -> bool {
        for layer in &self.layers {
            if !seen.contains(layer) {
                seen.push(layer.clone());
            }
        }
        let before = self.layers.len();
        for layer in seen.iter() {
            if !self.layers.contains(layer) {
                self.layers.push(layer.clone());
            }
        }
        self.layers.len() > before
    }

    /// The config and the manifest, in the shape that cosign writes, and needs in order to add to them.
    pub(crate) fn to_json(&self) -> (Vec<u8>, Vec<u8>) {
        const NEVER: &str = "0001-01-01T00:00:00Z";
        let digests: Vec<_> = self.layers.iter().map(|layer| layer["digest"].clone()).collect();
        let history: Vec<_> = self.layers.iter().map(|_| json!({ "created": NEVER })).collect();
        let config = json!({
            "architecture": "", "created": NEVER, "history": history, "os": "",
            "rootfs": {"type": "layers", "diff_ids": digests}, "config": {},
        });
        let config = serde_json::to_vec(&config).expect("JSON values always serialise");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": Descriptor::of(CONFIG, &config), "layers": self.layers,
        });
        (config, serde_json::to_vec(&manifest).expect("JSON values always serialise"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_added_once_and_the_others_stay() {
        let artifact = |signature: &str| LegacyArtifact {
            kind: LegacyKind::Signatures,
            media_type: "a/b".to_owned(),
            content: b"payload".to_vec(),
            annotations: BTreeMap::from([("signature".to_owned(), signature.to_owned())]),
        };
        let mut manifest = LegacyManifest::default();
        assert!(manifest.add(&mut vec![artifact("one").layer()]));
        let (_, bytes) = manifest.to_json();
        let mut again = LegacyManifest::parse("it", &bytes).unwrap();
        assert!(again.add(&mut vec![artifact("two").layer()]));
        assert!(!again.add(&mut vec![artifact("two").layer()]));
        let (config, bytes) = again.to_json();
        let (layers, truncated) = layers("it", &bytes).unwrap();
        assert_eq!((layers.len(), truncated), (2, false));
        assert_eq!(layers[1].annotations["signature"], "two");
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(2));
        assert!(LegacyManifest::parse("it", b"{}").is_err());
    }
}
