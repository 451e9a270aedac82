//! OCI image layouts on disk (OCI image specification, "Image Layout").
//!
//! Blobs are written under a temporary name, synced and renamed, and `index.json` after them, so that a crash leaves
//! either the old layout or the new one. Writers of this house take a lock on the file `oci-layout`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use serde::Deserialize;

use crate::RegistryError;
use crate::artifact::{Artifact, Attached, Discovery, EMPTY};
use crate::content::{Descriptor, MAX_MANIFEST_BYTES, Manifest, OCI_MANIFEST, RawDescriptor, check};
use crate::repository::Referrers;

/// The annotation that holds a tag (OCI image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How many entries of `index.json` are read for their subject.
const MAX_ENTRIES: usize = 16_384;

/// A layout on disk.
pub struct Layout {
    path: PathBuf,
}

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
        let marker = match read_file_capped(&path.join("oci-layout"), 4096) {
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
        let layout = Self { path: path.to_owned() };
        layout.index()?;
        Ok(layout)
    }

    fn index_path(&self) -> PathBuf {
        self.path.join("index.json")
    }

    fn index(&self) -> Result<Index, RegistryError> {
        let path = self.index_path();
        let not = |reason: String| RegistryError::NotALayout { path: self.path.clone(), reason };
        let bytes = read_file_capped(&path, MAX_MANIFEST_BYTES)
            .map_err(|error| not(format!("its file `index.json` cannot be read: {error}")))?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| not(format!("its file `index.json` is malformed: {error}")))?;
        if index.manifests.len() > MAX_ENTRIES {
            return Err(not(format!("its file `index.json` has {} entries", index.manifests.len())));
        }
        Ok(index)
    }

    /// The image of the tag; without one, the only image that there is.
    pub(crate) fn look_up(&self, tag: Option<&str>) -> Result<Descriptor, RegistryError> {
        let entries = self.index()?.manifests;
        let name_of =
            |entry: &RawDescriptor| entry.annotations.as_ref().and_then(|a| a.get(REF_NAME).cloned());
        let mut images = Vec::new();
        for entry in &entries {
            let Some(descriptor) = entry.typed() else { continue };
            let name = name_of(entry);
            // What refers to another image is no image of its own. A tag is an image whatever it holds.
            if (name.is_some() && name.as_deref() == tag)
                || (tag.is_none() && matches!(self.subject_of(&descriptor), Ok(None)))
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

    fn blob_path(&self, digest: Sha256Digest) -> PathBuf {
        self.path.join("blobs").join("sha256").join(digest.to_string())
    }

    /// The bytes of a blob, compared with its digest.
    pub(crate) fn blob(&self, digest: Sha256Digest, cap: u64) -> Result<Vec<u8>, RegistryError> {
        let path = self.blob_path(digest);
        let what = format!("the blob {}", digest.to_oci());
        let bytes = read_file_capped(&path, cap).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                RegistryError::NotFound { what: format!("{} in {}", &what[4..], self.path.display()) }
            }
            io::ErrorKind::FileTooLarge => RegistryError::TooLarge { what: what.clone(), cap },
            _ => RegistryError::Io { path: path.clone(), action: "read", source },
        })?;
        check(&what, digest, bytes)
    }

    pub(crate) fn attach(
        &self,
        subject: &Descriptor,
        artifact: &Artifact,
    ) -> Result<Attached, RegistryError> {
        let manifest = artifact.manifest(subject);
        let descriptor = Descriptor::of(OCI_MANIFEST, &manifest);
        let marker = self.path.join("oci-layout");
        let written =
            |path: &Path, source| RegistryError::Io { path: path.to_owned(), action: "written", source };
        let lock = File::open(&marker).and_then(|file| file.lock().map(|()| file));
        let lock = lock.map_err(|source| written(&marker, source))?;
        for bytes in [EMPTY, &artifact.content, &manifest] {
            let path = self.blob_path(Sha256Digest::of(bytes));
            if !path.exists() {
                write_atomically(&path, bytes).map_err(|source| written(&path, source))?;
            }
        }
        self.add_to_index(&descriptor, artifact)?;
        drop(lock);
        Ok(Attached { manifest: descriptor.digest, discovery: Discovery::LayoutIndex })
    }

    /// Adds an entry to `index.json` and keeps everything else in it, known or not.
    fn add_to_index(&self, manifest: &Descriptor, artifact: &Artifact) -> Result<(), RegistryError> {
        if self
            .index()?
            .manifests
            .iter()
            .any(|entry| entry.typed().is_some_and(|d| d.digest == manifest.digest))
        {
            return Ok(());
        }
        let path = self.index_path();
        let bytes = read_file_capped(&path, MAX_MANIFEST_BYTES).map_err(|source| RegistryError::Io {
            path: path.clone(),
            action: "read",
            source,
        })?;
        let malformed = |reason: String| RegistryError::NotALayout { path: self.path.clone(), reason };
        let mut index: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        index
            .get_mut("manifests")
            .and_then(|manifests| manifests.as_array_mut())
            .ok_or_else(|| malformed("its file `index.json` has no `manifests`".to_owned()))?
            .push(artifact.index_entry(manifest));
        let bytes = serde_json::to_vec(&index).expect("JSON values always serialise");
        write_atomically(&path, &bytes).map_err(|source| RegistryError::Io {
            path: path.clone(),
            action: "written",
            source,
        })
    }
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().expect("the files of a layout lie in folders");
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".lifeboat-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    // Temporary files are private; the files of a layout are as readable as those beside them.
    let mode = fs::metadata(path)
        .or_else(|_| fs::metadata(folder))
        .map_or(0o644, |m| m.permissions().mode() & 0o666);
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
