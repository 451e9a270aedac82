//! OCI image layouts on disk, in a folder or in an archive (OCI image specification, "Image Layout"), and the older
//! archives of `docker save`.
//!
//! Blobs are written under a temporary name, synced and renamed, and `index.json` after them, so that a crash leaves
//! either the old layout or the new one. Writers of this house take a lock on the file `oci-layout`.

use std::io;
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::artifact::{Artifact, Attached, Discovery, EMPTY, Referrers};
use crate::content::{
    Descriptor, MAX_MANIFEST_BYTES, Manifest, OCI_INDEX, OCI_MANIFEST, RawDescriptor, check,
};
use crate::files::Files;
use crate::legacy::{self, LegacyArtifact, LegacyKind, LegacyLayer, LegacyManifest};
use crate::{RegistryError, docker_archive};

/// The annotation that holds a tag (OCI image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation by which `cosign save` tells what it saved.
const SAVED_KIND: &str = "kind";

/// How many entries of `index.json` are read for their subject.
const MAX_ENTRIES: usize = 16_384;

/// A layout on disk.
pub struct Layout {
    path: PathBuf,
    files: Files,
    /// Whether this is an archive of Docker's own older format, which keeps what refers to its images in a corner.
    is_docker: bool,
}

/// Where an archive in Docker's format keeps what was attached to its images; `docker load` passes it over.
const CORNER: &str = "lifeboat/";

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<RawDescriptor>,
}

impl Layout {
    /// Opens the layout in the folder `path`.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let not = |reason: String| RegistryError::NotALayout { path: path.to_owned(), reason };
        let files = Files::at(path);
        let marker = match files.read("oci-layout", 4096) {
            Err(_) if files.is_archive() && files.exists(docker_archive::MANIFEST) => {
                return Ok(Self { path: path.to_owned(), files, is_docker: true });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && files.is_archive() => {
                return Err(not("it is no archive of an image".to_owned()));
            }
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_dir() => {
                return Err(not("there is no such folder".to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not("it has no file `oci-layout`".to_owned()));
            }
            Err(error) => return Err(not(format!("its file `oci-layout` cannot be read: {error}"))),
        };
        let marker: Marker = serde_json::from_slice(&marker)
            .map_err(|error| not(format!("its file `oci-layout` says: {error}")))?;
        if !marker.version.starts_with("1.") {
            return Err(not(format!("its version is `{}`, not 1", marker.version.escape_default())));
        }
        let layout = Self { path: path.to_owned(), files, is_docker: false };
        layout.index()?;
        Ok(layout)
    }

    fn index_name(&self) -> String {
        if self.is_docker { format!("{CORNER}index.json") } else { "index.json".to_owned() }
    }

    /// The bytes of the index; nothing where an archive in Docker's format has none yet.
    fn index_bytes(&self) -> io::Result<Option<Vec<u8>>> {
        match self.files.read(&self.index_name(), MAX_MANIFEST_BYTES) {
            Err(error) if self.is_docker && error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn index(&self) -> Result<Index, RegistryError> {
        let not = |reason: String| RegistryError::NotALayout { path: self.path.clone(), reason };
        let bytes = self
            .index_bytes()
            .map_err(|error| not(format!("its file `index.json` cannot be read: {error}")))?;
        let Some(bytes) = bytes else { return Ok(Index { manifests: Vec::new() }) };
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| not(format!("its file `index.json` is malformed: {error}")))?;
        if index.manifests.len() > MAX_ENTRIES {
            return Err(not(format!("its file `index.json` has {} entries", index.manifests.len())));
        }
        Ok(index)
    }

    /// The image of the tag; without one, the only image that there is.
    pub(crate) fn look_up(&self, tag: Option<&str>) -> Result<Descriptor, RegistryError> {
        if self.is_docker {
            return docker_archive::look_up(&self.files, &self.path, tag);
        }
        let entries = self.index()?.manifests;
        let name_of =
            |entry: &RawDescriptor| entry.annotations.as_ref().and_then(|a| a.get(REF_NAME).cloned());
        let mut images = Vec::new();
        for entry in &entries {
            let Some(descriptor) = entry.typed() else { continue };
            let name = name_of(entry);
            // What refers to another image is no image of its own. A tag is an image whatever it holds.
            if (name.is_some() && name.as_deref() == tag)
                || (tag.is_none() && !is_legacy(entry) && matches!(self.subject_of(&descriptor), Ok(None)))
            {
                images.push((name, descriptor));
            }
        }
        images.dedup_by(|a, b| a.1.digest == b.1.digest);
        match images.as_slice() {
            [(_, descriptor)] => self.stat(descriptor.digest),
            [] if tag.is_some() => {
                let mut what = format!("tag `{}` in {}", tag.unwrap_or_default(), self.path.display());
                let known: Vec<_> = entries.iter().filter_map(name_of).collect();
                if !known.is_empty() {
                    what = format!("{what}, which holds {}", known.join(", "));
                }
                Err(RegistryError::NotFound { what })
            }
            several => {
                let known = several.iter().map(|(name, descriptor)| match name {
                    Some(name) => format!(":{}", name.escape_default()),
                    None => format!("@{}", descriptor.digest.to_oci()),
                });
                Err(RegistryError::WhichImage { path: self.path.clone(), known: known.collect() })
            }
        }
    }

    /// The descriptor of a manifest that lies in the layout.
    pub(crate) fn stat(&self, digest: Sha256Digest) -> Result<Descriptor, RegistryError> {
        if self.is_docker {
            return docker_archive::stat(&self.files, &self.path, digest);
        }
        let bytes = self.blob(digest, MAX_MANIFEST_BYTES)?;
        let what = format!("the manifest {}", digest.to_oci());
        let media_type = Manifest::parse(&what, &bytes)?.media_type(&what, None)?;
        Ok(Descriptor { media_type, digest, size: bytes.len() as u64 })
    }

    fn subject_of(&self, manifest: &Descriptor) -> Result<Option<Sha256Digest>, RegistryError> {
        let bytes = self.blob(manifest.digest, MAX_MANIFEST_BYTES)?;
        let subject = Manifest::parse("the manifest", &bytes)?.subject;
        Ok(subject.and_then(|subject| subject.typed()).map(|subject| subject.digest))
    }

    /// What refers to `subject`, and what cannot be read: that may refer to it, and whoever reads it gets the error.
    pub(crate) fn referrers(&self, subject: Sha256Digest) -> Result<Referrers, RegistryError> {
        let descriptors = self.index()?.manifests.into_iter().filter_map(|entry| entry.typed());
        let mut referrers = Referrers::default();
        referrers.merge(descriptors.filter(|descriptor| match self.subject_of(descriptor) {
            Ok(found) => found == Some(subject),
            // A layout need not hold everything that its index names.
            Err(RegistryError::NotFound { .. }) => false,
            Err(_) => descriptor.digest != subject,
        }));
        Ok(referrers)
    }

    fn blob_name(&self, digest: Sha256Digest) -> String {
        format!("{}blobs/sha256/{digest}", if self.is_docker { CORNER } else { "" })
    }

    /// The bytes of a blob, compared with its digest.
    pub(crate) fn blob(&self, digest: Sha256Digest, cap: u64) -> Result<Vec<u8>, RegistryError> {
        let name = self.blob_name(digest);
        let what = format!("the blob {}", digest.to_oci());
        let bytes = self.files.read(&name, cap).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                RegistryError::NotFound { what: format!("{} in {}", &what[4..], self.path.display()) }
            }
            io::ErrorKind::FileTooLarge => RegistryError::TooLarge { what: what.clone(), cap },
            _ => RegistryError::Io { path: self.files.path(&name), action: "read", source },
        })?;
        check(&what, digest, bytes)
    }

    /// The layers under a legacy tag, of the layout's own tag or as cosign saves them.
    pub(crate) fn legacy(
        &self,
        subject: Sha256Digest,
        kind: LegacyKind,
    ) -> Result<(Vec<LegacyLayer>, bool), RegistryError> {
        let tag = kind.tag(subject);
        let is_meant = |entry: &RawDescriptor| {
            entry.annotations.as_ref().is_some_and(|annotations| {
                annotations.get(REF_NAME) == Some(&tag)
                    || annotations.get(SAVED_KIND).is_some_and(|saved| saved == kind.saved_as())
            })
        };
        let (mut layers, mut truncated) = (Vec::new(), false);
        for entry in self.index()?.manifests.iter().filter(|entry| is_meant(entry)) {
            let Some(descriptor) = entry.typed() else { continue };
            let bytes = self.blob(descriptor.digest, MAX_MANIFEST_BYTES)?;
            let (found, more) = legacy::layers(&format!("the manifest under the tag `{tag}`"), &bytes)?;
            layers.extend(found);
            truncated |= more;
        }
        Ok((layers, truncated))
    }

    pub(crate) fn attach(
        &self,
        subject: &Descriptor,
        artifact: &Artifact,
    ) -> Result<Attached, RegistryError> {
        let manifest = artifact.manifest(subject);
        let descriptor = Descriptor::of(OCI_MANIFEST, &manifest);
        self.update(|entries| {
            let same = |entry: &Value| entry["digest"] == descriptor.digest.to_oci();
            if !entries.iter().any(same) {
                entries.push(artifact.index_entry(&descriptor));
            }
            Ok(vec![EMPTY.to_vec(), artifact.content.clone(), manifest])
        })?;
        Ok(Attached { manifest: descriptor.digest, discovery: Discovery::LayoutIndex })
    }

    pub(crate) fn attach_legacy(
        &self,
        subject: Sha256Digest,
        artifact: &LegacyArtifact,
    ) -> Result<Attached, RegistryError> {
        let tag = artifact.kind.tag(subject);
        let mut digest = None;
        self.update(|entries| {
            let is_tagged = |entry: &Value| entry["annotations"][REF_NAME] == tag.as_str();
            let before =
                entries.iter().find(|entry| is_tagged(entry)).and_then(|entry| entry["digest"].as_str());
            let mut manifest = match before.and_then(|digest| Sha256Digest::from_oci(digest).ok()) {
                Some(before) => {
                    let bytes = self.blob(before, MAX_MANIFEST_BYTES)?;
                    LegacyManifest::parse(&format!("the manifest under the tag `{tag}`"), &bytes)?
                }
                None => LegacyManifest::default(),
            };
            manifest.add(&mut vec![artifact.layer()]);
            let (config, manifest) = manifest.to_json();
            let descriptor = Descriptor::of(OCI_MANIFEST, &manifest);
            entries.retain(|entry| !is_tagged(entry));
            let mut entry = serde_json::to_value(&descriptor).expect("strings and numbers always serialise");
            entry["annotations"] = json!({ REF_NAME: tag });
            entries.push(entry);
            digest = Some(descriptor.digest);
            Ok(vec![config, artifact.content.clone(), manifest])
        })?;
        let manifest = digest.expect("an update that succeeded ran its change");
        Ok(Attached { manifest, discovery: Discovery::LegacyTag(tag) })
    }

    /// Changes the entries of the index, and writes the blobs that the change gives before it; everything else in the
    /// index stays, known or not.
    fn update(
        &self,
        change: impl FnOnce(&mut Vec<Value>) -> Result<Vec<Vec<u8>>, RegistryError>,
    ) -> Result<(), RegistryError> {
        let failed =
            |action, source| RegistryError::Io { path: self.files.path(&self.index_name()), action, source };
        let lock = self.files.lock().map_err(|source| failed("written", source))?;
        let malformed = |reason: String| RegistryError::NotALayout { path: self.path.clone(), reason };
        let mut index: Value = match self.index_bytes().map_err(|source| failed("read", source))? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?,
            None => json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }),
        };
        let entries = index
            .get_mut("manifests")
            .and_then(Value::as_array_mut)
            .ok_or_else(|| malformed("its file `index.json` has no `manifests`".to_owned()))?;
        let blobs = change(entries)?;
        let mut changes: Vec<(String, Vec<u8>)> = Vec::new();
        for bytes in blobs {
            let name = self.blob_name(Sha256Digest::of(&bytes));
            if !self.files.exists(&name) && changes.iter().all(|(other, _)| *other != name) {
                changes.push((name, bytes));
            }
        }
        changes.push((self.index_name(), serde_json::to_vec(&index).expect("JSON values always serialise")));
        self.files.write(&changes).map_err(|source| failed("written", source))?;
        drop(lock);
        Ok(())
    }
}

/// Whether an entry holds signatures or attestations of another one, in cosign's older form.
fn is_legacy(entry: &RawDescriptor) -> bool {
    let annotation = |name: &str| entry.annotations.as_ref().and_then(|annotations| annotations.get(name));
    let kinds = [LegacyKind::Signatures, LegacyKind::Attestations];
    let is_saved =
        annotation(SAVED_KIND).is_some_and(|saved| kinds.iter().any(|kind| kind.saved_as() == saved));
    is_saved || annotation(REF_NAME).is_some_and(|name| legacy::is_tag(name))
}
