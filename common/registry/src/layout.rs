//! OCI image layouts on disk, in a folder or in an archive (OCI image specification, "Image Layout"), and the older
//! archives of `docker save`.
//!
//! Blobs are written under a temporary name, synced and renamed, and `index.json` after them, so that a crash leaves
//! either the old layout or the new one. Lifeboat's own writers lock the file `oci-layout`.

use std::io;
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_strict::json::{self, Limits, Shape, Structure};
use lifeboat_strict::{Fault, printable, tar};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::artifact::{Artifact, Attached, Discovery, EMPTY, Referrers};
use crate::content::{
    Descriptor, LIST, MANIFEST, MAX_MANIFEST_BYTES, Manifest, OCI_INDEX, OCI_MANIFEST, RawDescriptor, check,
};
use crate::files::Files;
use crate::forms::IndexImage;
use crate::legacy::{self, LegacyArtifact, LegacyKind, LegacyLayer, LegacyManifest};
use crate::{Form, RegistryError, docker_archive, forms};

/// The annotation that holds a tag (OCI image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation in which `cosign save` records what it saved.
const SAVED_KIND: &str = "kind";

/// A layout on disk.
pub struct Layout {
    path: PathBuf,
    form: Form,
    files: Files,
    /// Whether this is an archive in Docker's own older format, which keeps referrers of its images in [`CORNER`].
    is_docker: bool,
    /// The index as it was when the layout was opened.
    index: Index,
}

/// Where an archive in Docker's format keeps what was attached to its images; `docker load` ignores it.
const CORNER: &str = "lifeboat/";

/// The file that names the images of a layout.
const INDEX: &str = "index.json";

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

const MARKER: Shape = Shape::Structure(&Structure::open(&[("imageLayoutVersion", Shape::Any)]));

#[derive(Default, Deserialize)]
struct Index {
    manifests: Vec<RawDescriptor>,
}

/// The annotations of entries that contain names of images (OCI image specification, "Pre-Defined Annotation Keys";
/// containerd, `images/annotations.go`). containerd prefers its own.
const NAMES: [&str; 2] = [REF_NAME, "io.containerd.image.name"];

impl Layout {
    /// Opens the layout at `path`.
    pub fn open(path: &Path, form: Form) -> Result<Self, RegistryError> {
        let not = |reason: String| RegistryError::NotALayout { path: path.to_owned(), reason };
        let files = Files::open(path).map_err(|source| match tar::refusal(&source) {
            Some(refusal) if refusal.fault == Fault::Malformed => not(refusal.reason.clone()),
            Some(refusal) => RegistryError::refused(&path.display().to_string(), refusal.clone()),
            None => RegistryError::Io { path: path.to_owned(), action: "read", source },
        })?;
        if form != Form::Shown && !files.is_archive() {
            let is_there =
                if path.is_dir() { "it is a folder, not an archive" } else { "the archive does not exist" };
            return Err(not(is_there.to_owned()));
        }
        let has_index = files.exists("oci-layout") || files.exists(INDEX);
        let has_saved = files.exists(docker_archive::MANIFEST);
        let is_docker = match form {
            Form::Shown => files.is_archive() && has_saved && !has_index,
            Form::LayoutArchive => false,
            Form::DockerArchive if has_saved => true,
            Form::DockerArchive => return Err(not(format!("it has no file `{}`", docker_archive::MANIFEST))),
        };
        let mut layout = Self { path: path.to_owned(), form, files, is_docker, index: Index::default() };
        if !is_docker {
            layout.check_marker()?;
        }
        layout.index = layout.read_index(is_docker)?;
        if has_saved && has_index {
            layout.check_forms()?;
        } else if layout.files.is_archive() && docker_archive::is_of_the_oldest_form(&layout.files) {
            let reason = "it is an archive of Docker's oldest form at once, whose images no name binds";
            return Err(RegistryError::ambiguous(path, reason));
        }
        Ok(layout)
    }

    fn check_marker(&self) -> Result<(), RegistryError> {
        let path = &self.path;
        let not = |reason: String| RegistryError::NotALayout { path: path.clone(), reason };
        let marker = match self.files.read("oci-layout", 4096) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.files.is_archive() => {
                return Err(not("it is not an archive of an image".to_owned()));
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
        let marker: Marker = json::read(&marker, &MARKER, Limits::UNSIGNED)
            .map_err(|error| not(format!("its file `oci-layout` says: {error}")))?;
        if !marker.version.starts_with("1.") {
            return Err(not(format!("its version is `{}`, not 1", marker.version.escape_default())));
        }
        Ok(())
    }

    /// Refuses a layout that is also an image in another form, unless it is the same one.
    fn check_forms(&self) -> Result<(), RegistryError> {
        if !self.files.is_archive() {
            // A list is left over from an archive, and no program reads it in a folder. Anything else is an image to
            // programs that read the folder as `dir:` (containers-transports(5)).
            let bytes = self.files.read(docker_archive::MANIFEST, MAX_MANIFEST_BYTES);
            let is_list = bytes.is_ok_and(|bytes| bytes.trim_ascii_start().starts_with(b"["));
            return if is_list {
                Ok(())
            } else {
                let reason = format!(
                    "its file `{}` makes it an image of the form `dir:` at once",
                    docker_archive::MANIFEST
                );
                Err(RegistryError::ambiguous(&self.path, reason))
            };
        }
        let index = if self.is_docker { &self.read_index(false)? } else { &self.index };
        let mut images = Vec::new();
        for entry in &index.manifests {
            let descriptor = self.typed(entry)?;
            // Anything with a tag is an image to programs that read by tag.
            let is_named = tags(entry).any(|tag| !legacy::is_tag(tag));
            let is_beside =
                is_legacy(entry) || subject_in(&self.files, &self.path, "", &descriptor)?.is_some();
            if is_named || !is_beside {
                images.push(IndexImage { descriptor, tags: tags(entry).map(str::to_owned).collect() });
            }
        }
        forms::compare(&self.files, &self.path, &images)
    }

    /// The descriptor of an entry that is, or may be, an image.
    fn typed(&self, entry: &RawDescriptor) -> Result<Descriptor, RegistryError> {
        entry.typed().ok_or_else(|| {
            let digest = printable(&entry.digest);
            let reason = format!("its index names an image by the digest `{digest}`, which is not read");
            RegistryError::ambiguous(&self.path, reason)
        })
    }

    fn corner(&self) -> &'static str {
        if self.is_docker { CORNER } else { "" }
    }

    fn index_name(&self) -> String {
        format!("{}{INDEX}", self.corner())
    }

    /// The bytes of the index; `None` if an archive in Docker's format has none yet.
    fn index_bytes(&self, in_corner: bool) -> io::Result<Option<Vec<u8>>> {
        let name = format!("{}{INDEX}", if in_corner { CORNER } else { "" });
        match self.files.read(&name, MAX_MANIFEST_BYTES) {
            Err(error) if in_corner && error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn read_index(&self, in_corner: bool) -> Result<Index, RegistryError> {
        let not = |reason: String| RegistryError::NotALayout { path: self.path.clone(), reason };
        let bytes = self
            .index_bytes(in_corner)
            .map_err(|error| not(format!("its file `index.json` cannot be read: {error}")))?;
        let Some(bytes) = bytes else { return Ok(Index::default()) };
        json::read(&bytes, &MANIFEST, LIST).map_err(|refusal| match refusal.fault {
            Fault::Ambiguous => {
                RegistryError::refused(&format!("the file `index.json` in {}", self.path.display()), refusal)
            }
            _ => not(format!("its file `index.json` is malformed: {refusal}")),
        })
    }

    /// The image of the tag; without a tag, the only image in the layout.
    pub(crate) fn look_up(&self, tag: Option<&str>) -> Result<Descriptor, RegistryError> {
        if self.is_docker {
            return docker_archive::look_up(&self.files, &self.path, tag);
        }
        let entries = &self.index.manifests;
        let name_of =
            |entry: &RawDescriptor| entry.annotations.as_ref().and_then(|a| a.get(REF_NAME).cloned());
        let mut images = Vec::new();
        for entry in entries {
            // A referrer of another image does not count as an image. A tag does, whatever it points to.
            let is_meant = match tag {
                Some(tag) => tags(entry).any(|own| own == tag),
                None if is_legacy(entry) => false,
                None => {
                    let descriptor = self.typed(entry)?;
                    matches!(self.subject_of(&descriptor), Ok(None))
                }
            };
            if is_meant {
                images.push((name_of(entry), self.typed(entry)?));
            }
        }
        images.dedup_by(|a, b| a.1 == b.1);
        match images.as_slice() {
            [(_, descriptor)] => self.describe(descriptor.digest, Some(&descriptor.media_type)),
            [] if tag.is_some() => {
                let mut what = format!("tag `{}` in {}", tag.unwrap_or_default(), self.path.display());
                let known: Vec<_> = entries.iter().filter_map(name_of).collect();
                if !known.is_empty() {
                    what = format!("{what}, which holds {}", known.join(", "));
                }
                Err(RegistryError::NotFound { what })
            }
            several if tag.is_some() => {
                let digests = several.iter().map(|(_, descriptor)| descriptor.digest.to_oci());
                Err(two_of_one_tag(&self.path, tag.unwrap_or_default(), digests))
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

    /// The descriptor of a manifest in the layout.
    pub(crate) fn stat(&self, digest: Sha256Digest) -> Result<Descriptor, RegistryError> {
        if self.is_docker {
            return docker_archive::stat(&self.files, &self.path, digest);
        }
        // If the index names it, programs use the media type in the index.
        let named = self.index.manifests.iter().filter(|entry| entry.digest == digest.to_oci());
        let mut kinds = named.map(|entry| entry.media_type.as_str());
        let kind = kinds.next();
        if kinds.any(|other| Some(other) != kind) {
            let reason = format!("its index names {} as two kinds of document", digest.to_oci());
            return Err(RegistryError::ambiguous(&self.path, reason));
        }
        self.describe(digest, kind)
    }

    fn describe(&self, digest: Sha256Digest, named_as: Option<&str>) -> Result<Descriptor, RegistryError> {
        let bytes = self.blob(digest, MAX_MANIFEST_BYTES)?;
        let what = format!("the manifest {}", digest.to_oci());
        let media_type = Manifest::parse(&what, &bytes)?.media_type(&what, named_as)?;
        Ok(Descriptor { media_type, digest, size: bytes.len() as u64 })
    }

    fn subject_of(&self, manifest: &Descriptor) -> Result<Option<Sha256Digest>, RegistryError> {
        subject_in(&self.files, &self.path, self.corner(), manifest)
    }

    /// The referrers of `subject`, and entries that cannot be read: they may be referrers, and reading one returns the
    /// error.
    pub(crate) fn referrers(&self, subject: Sha256Digest) -> Referrers {
        let descriptors = self.index.manifests.iter().filter_map(RawDescriptor::typed);
        let mut referrers = Referrers::default();
        referrers.merge(descriptors.filter(|descriptor| match self.subject_of(descriptor) {
            Ok(found) => found == Some(subject),
            // A layout need not contain everything that its index names.
            Err(RegistryError::NotFound { .. }) => false,
            Err(_) => descriptor.digest != subject,
        }));
        referrers
    }

    /// The bytes of a blob, compared with its digest.
    pub(crate) fn blob(&self, digest: Sha256Digest, cap: u64) -> Result<Vec<u8>, RegistryError> {
        blob_in(&self.files, &self.path, self.corner(), digest, cap)
    }

    /// The layers under a legacy tag, either the layout's own tag or in cosign's saved form.
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
        for entry in self.index.manifests.iter().filter(|entry| is_meant(entry)) {
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
        self.update(|_, entries| {
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
        self.update(|layout, entries| {
            let is_tagged = |entry: &Value| entry["annotations"][REF_NAME] == tag.as_str();
            let before =
                entries.iter().find(|entry| is_tagged(entry)).and_then(|entry| entry["digest"].as_str());
            let mut manifest = match before.and_then(|digest| Sha256Digest::from_oci(digest).ok()) {
                Some(before) => {
                    let bytes = layout.blob(before, MAX_MANIFEST_BYTES)?;
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

    /// Changes the entries of the present index, after writing the blobs that `change` returns. Everything else in the
    /// index is kept, known or not.
    fn update(
        &self,
        change: impl FnOnce(&Self, &mut Vec<Value>) -> Result<Vec<Vec<u8>>, RegistryError>,
    ) -> Result<(), RegistryError> {
        let failed =
            |action, source| RegistryError::Io { path: self.files.path(&self.index_name()), action, source };
        let lock = self.files.lock().map_err(|source| failed("written", source))?;
        let malformed = |reason: String| RegistryError::NotALayout { path: self.path.clone(), reason };
        let layout = Self::open(&self.path, self.form)?;
        let mut index: Value = match layout
            .index_bytes(layout.is_docker)
            .map_err(|source| failed("read", source))?
        {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?,
            None => json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }),
        };
        let entries = index
            .get_mut("manifests")
            .and_then(Value::as_array_mut)
            .ok_or_else(|| malformed("its file `index.json` has no `manifests`".to_owned()))?;
        let blobs = change(&layout, entries)?;
        let mut changes: Vec<(String, Vec<u8>)> = Vec::new();
        for bytes in blobs {
            let name = blob_name(layout.corner(), Sha256Digest::of(&bytes));
            if !layout.files.exists(&name) && changes.iter().all(|(other, _)| *other != name) {
                changes.push((name, bytes));
            }
        }
        changes
            .push((layout.index_name(), serde_json::to_vec(&index).expect("JSON values always serialise")));
        layout.files.write(&changes).map_err(|source| failed("written", source))?;
        drop(lock);
        Ok(())
    }
}

/// Programs differ in which of several images with one tag they choose.
pub(crate) fn two_of_one_tag(path: &Path, tag: &str, digests: impl Iterator<Item = String>) -> RegistryError {
    let digests: Vec<String> = digests.collect();
    let reason = format!("several images bear the tag `{}`: {}", printable(tag), digests.join(", "));
    RegistryError::ambiguous(path, reason)
}

fn blob_name(corner: &str, digest: Sha256Digest) -> String {
    format!("{corner}blobs/sha256/{digest}")
}

/// The bytes of a blob in the given folder, compared with its digest.
pub(crate) fn blob_in(
    files: &Files,
    path: &Path,
    corner: &str,
    digest: Sha256Digest,
    cap: u64,
) -> Result<Vec<u8>, RegistryError> {
    let name = blob_name(corner, digest);
    let what = format!("the blob {}", digest.to_oci());
    let bytes = files.read(&name, cap).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            RegistryError::NotFound { what: format!("{} in {}", &what[4..], path.display()) }
        }
        io::ErrorKind::FileTooLarge => RegistryError::TooLarge { what: what.clone(), cap },
        _ if tar::refusal(&source).is_some() => docker_archive::failed(path, &name, source),
        _ => RegistryError::Io { path: files.path(&name), action: "read", source },
    })?;
    check(&what, digest, bytes)
}

fn subject_in(
    files: &Files,
    path: &Path,
    corner: &str,
    manifest: &Descriptor,
) -> Result<Option<Sha256Digest>, RegistryError> {
    let bytes = blob_in(files, path, corner, manifest.digest, MAX_MANIFEST_BYTES)?;
    let subject = Manifest::parse("the manifest", &bytes)?.subject;
    Ok(subject.and_then(|subject| subject.typed()).map(|subject| subject.digest))
}

/// The tags of an entry. An annotation may hold a tag, or a whole name with one.
fn tags(entry: &RawDescriptor) -> impl Iterator<Item = &str> {
    let names = NAMES.into_iter().filter_map(|name| entry.annotations.as_ref()?.get(name));
    names.flat_map(|name| {
        let name = name.split('@').next().unwrap_or_default();
        let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
        [Some(name), tag].into_iter().flatten()
    })
}

/// Whether an entry holds signatures or attestations of another entry, in cosign's older form.
fn is_legacy(entry: &RawDescriptor) -> bool {
    let annotation = |name: &str| entry.annotations.as_ref().and_then(|annotations| annotations.get(name));
    let kinds = [LegacyKind::Signatures, LegacyKind::Attestations];
    let is_saved =
        annotation(SAVED_KIND).is_some_and(|saved| kinds.iter().any(|kind| kind.saved_as() == saved));
    is_saved || annotation(REF_NAME).is_some_and(|name| legacy::is_tag(name))
}
