//! Builds valid and invalid OCI image layouts for tests.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An OCI image layout under construction.
#[derive(Debug)]
pub struct LayoutBuilder {
    path: PathBuf,
}

impl LayoutBuilder {
    /// An empty layout in the new folder `path`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn create(path: &Path) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let empty = json!({"schemaVersion": 2, "manifests": [], "annotations": {"kept": "as it is"}});
        fs::write(path.join("index.json"), empty.to_string()).unwrap();
        Self { path: path.to_owned() }
    }

    /// The file of a blob.
    pub fn blob_path(&self, digest: Sha256Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.to_string())
    }

    /// Adds a blob.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn blob(&self, bytes: &[u8]) -> Sha256Digest {
        let digest = Sha256Digest::of(bytes);
        fs::write(self.blob_path(digest), bytes).unwrap();
        digest
    }

    /// Adds an image under a tag, which is removed from other images; `content` distinguishes images.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn image(&self, tag: &str, content: &str) -> Sha256Digest {
        let config =
            json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let layers = [descriptor(
            "application/vnd.oci.image.layer.v1.tar",
            self.blob(content.as_bytes()),
            content.len(),
        )];
        let config = config.to_string();
        let config = descriptor(
            "application/vnd.oci.image.config.v1+json",
            self.blob(config.as_bytes()),
            config.len(),
        );
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.manifest(&manifest, Some(tag))
    }

    /// Adds a manifest that refers to `subject` and has `layer` of the type `media_type` as its only layer.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn referrer(&self, subject: Sha256Digest, media_type: &str, layer: &[u8]) -> Sha256Digest {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": media_type,
            "config": descriptor("application/vnd.oci.empty.v1+json", self.blob(b"{}"), 2),
            "layers": [descriptor(media_type, self.blob(layer), layer.len())],
            "subject": descriptor(MANIFEST, subject, 0),
        });
        self.manifest(&manifest, None)
    }

    /// Adds an index of images under a tag.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn image_index(&self, tag: &str, children: &[(Sha256Digest, &str)]) -> Sha256Digest {
        let child = |(digest, architecture): &(Sha256Digest, &str)| {
            let size = fs::read(self.blob_path(*digest)).unwrap().len();
            let mut entry = descriptor(MANIFEST, *digest, size);
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        };
        let children: Vec<_> = children.iter().map(child).collect();
        self.manifest(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}), Some(tag))
    }

    /// Adds a manifest, under a tag if one is given.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn manifest(&self, manifest: &Value, tag: Option<&str>) -> Sha256Digest {
        const NAME: &str = "org.opencontainers.image.ref.name";
        let bytes = manifest.to_string();
        let digest = self.blob(bytes.as_bytes());
        let mut index = self.index();
        let entries = index["manifests"].as_array_mut().unwrap();
        let kind = manifest["mediaType"].as_str().unwrap_or(MANIFEST);
        let mut entry = descriptor(kind, digest, bytes.len());
        if let Some(tag) = tag {
            entries.retain(|other| other["annotations"][NAME] != tag);
            entry["annotations"] = json!({ NAME: tag });
        }
        entries.push(entry);
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
        digest
    }

    /// The layout's present index.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path.join("index.json")).unwrap()).unwrap()
    }

    /// The manifest of a digest.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(&self, digest: Sha256Digest) -> Value {
        serde_json::from_slice(&fs::read(self.blob_path(digest)).unwrap()).unwrap()
    }

    /// The manifests of the index that refer to `subject`, with the bytes of their first layer.
    ///
    /// # Panics
    /// When one cannot be read.
    pub fn referrers(&self, subject: Sha256Digest) -> Vec<(Sha256Digest, Vec<u8>)> {
        let digest_of =
            |value: &Value| value["digest"].as_str().map(|text| Sha256Digest::from_oci(text).unwrap());
        let index = self.index();
        let digests = index["manifests"].as_array().unwrap().iter().filter_map(digest_of);
        let referring = digests.filter(|digest| digest_of(&self.read(*digest)["subject"]) == Some(subject));
        let layer =
            |digest| fs::read(self.blob_path(digest_of(&self.read(digest)["layers"][0]).unwrap())).unwrap();
        referring.map(|digest| (digest, layer(digest))).collect()
    }
}

fn descriptor(media_type: &str, digest: Sha256Digest, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_oci(), "size": size})
}
