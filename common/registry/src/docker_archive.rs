//! Archives in the format of `docker save`: a `manifest.json` that names a config and layers (Docker Image
//! Specification v1.2, "Combined Image JSON + Filesystem Changeset Format").
//!
//! Such an archive need not have an OCI manifest; an image is identified by the digest of its config, the image's id.
//! The config contains the digest of every layer, so comparing those binds the layers to the id.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use lifeboat_core::Sha256Digest;
use lifeboat_strict::json::{self, Limits, Shape, Structure};
use lifeboat_strict::{printable, tar};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::RegistryError;
use crate::content::{DESCRIPTOR, Descriptor, MAX_ENTRIES, MAX_MANIFEST_BYTES, RawDescriptor};
use crate::files::Files;
use crate::layout::two_of_one_tag;

/// The file that identifies this format.
pub(crate) const MANIFEST: &str = "manifest.json";

/// The file that identifies the previous format.
const REPOSITORIES: &str = "repositories";

/// The media type of an image's config.
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The media types of uncompressed layers, whose own digest is the one in the config.
const PLAIN_LAYERS: [&str; 2] =
    ["application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"];

const IMAGES: Shape = Shape::List(
    &Shape::Structure(&Structure::open(&[
        ("Config", Shape::Any),
        ("RepoTags", Shape::List(&Shape::Any, MAX_ENTRIES)),
        ("Layers", Shape::List(&Shape::Any, MAX_ENTRIES)),
        ("Parent", Shape::Any),
        ("LayerSources", Shape::Map(&DESCRIPTOR)),
    ])),
    MAX_ENTRIES,
);

/// The config of an image (OCI image specification, "Image Configuration"), with the members that identify a manifest.
const CONFIGURATION: Shape = Shape::Structure(&Structure::open(&[
    ("created", Shape::Any),
    ("author", Shape::Any),
    ("architecture", Shape::Any),
    ("os", Shape::Any),
    ("os.version", Shape::Any),
    ("os.features", Shape::Any),
    ("variant", Shape::Any),
    ("config", Shape::Any),
    (
        "rootfs",
        Shape::Structure(&Structure::open(&[
            ("type", Shape::Any),
            ("diff_ids", Shape::List(&Shape::Any, MAX_ENTRIES)),
        ])),
    ),
    ("history", Shape::Any),
    ("schemaVersion", Shape::Any),
    ("layers", Shape::Any),
    ("manifests", Shape::Any),
    ("fsLayers", Shape::Any),
]));

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    #[serde(default)]
    layer_sources: Option<BTreeMap<String, RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    rootfs: RootFs,
    #[serde(default)]
    schema_version: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

fn malformed(path: &Path, reason: String) -> RegistryError {
    RegistryError::Malformed { what: path.display().to_string(), reason }
}

/// The error for a file of the archive that cannot be read: an incomplete archive is not a problem with the disk.
pub(crate) fn failed(path: &Path, name: &str, source: io::Error) -> RegistryError {
    if let Some(refusal) = tar::refusal(&source) {
        return RegistryError::refused(&path.display().to_string(), refusal.clone());
    }
    match source.kind() {
        io::ErrorKind::NotFound if path.exists() => {
            malformed(path, format!("it does not hold `{}`", name.escape_default()))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => malformed(path, source.to_string()),
        _ => RegistryError::Io { path: path.to_owned(), action: "read", source },
    }
}

/// Whether the archive is in the previous format, which has an image in every folder and no `manifest.json`. Docker
/// falls back to that format if it finds no `manifest.json`, whatever else the archive contains.
pub(crate) fn is_of_the_oldest_form(files: &Files) -> bool {
    let is_image = |name: &str| name.split_once('/').is_some_and(|(_, file)| file == "json");
    !files.exists(MANIFEST) && (files.exists(REPOSITORIES) || files.names().any(is_image))
}

/// The images that `manifest.json` names.
pub(crate) fn images(files: &Files, path: &Path) -> Result<Vec<Image>, RegistryError> {
    let bytes = files.read(MANIFEST, MAX_MANIFEST_BYTES).map_err(|source| failed(path, MANIFEST, source))?;
    json::read(&bytes, &IMAGES, Limits::UNSIGNED).map_err(|refusal| {
        let reason = format!("its `{MANIFEST}`: {}", refusal.reason);
        RegistryError::refused(&path.display().to_string(), lifeboat_strict::Refusal { reason, ..refusal })
    })
}

impl Image {
    /// The tags under which the image was saved, without the names of repositories.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().flatten().filter_map(|name| name.rsplit(':').next())
    }

    /// The digest and the size of the config, and the layers in it.
    fn config(&self, files: &Files, path: &Path) -> Result<(Descriptor, Vec<Sha256Digest>), RegistryError> {
        let bytes = files
            .read(&self.config, MAX_MANIFEST_BYTES)
            .map_err(|source| failed(path, &self.config, source))?;
        let diff_ids = diff_ids(&path.display().to_string(), &bytes)?;
        if diff_ids.len() != self.layers.len() {
            return Err(malformed(path, "it has other layers than the config of its image names".to_owned()));
        }
        Ok((Descriptor::of(CONFIG, &bytes), diff_ids))
    }

    /// Programs that push an archive use what is named here instead of its layers.
    fn check_sources(&self, path: &Path) -> Result<(), RegistryError> {
        let is_plain = |(id, source): (&String, &RawDescriptor)| {
            PLAIN_LAYERS.contains(&source.media_type.as_str()) && *id == source.digest
        };
        match self.layer_sources.iter().flatten().find(|source| !is_plain(*source)) {
            None => Ok(()),
            Some((id, source)) => {
                let (id, other) = (printable(id), printable(&source.digest));
                Err(RegistryError::ambiguous(
                    path,
                    format!("its `{MANIFEST}` names `{other}` as the source of the layer `{id}`"),
                ))
            }
        }
    }
}

/// The layers in the config of an image.
pub(crate) fn diff_ids(what: &str, config: &[u8]) -> Result<Vec<Sha256Digest>, RegistryError> {
    let refused = |reason: String| RegistryError::Malformed {
        what: what.to_owned(),
        reason: format!("the config of its image: {reason}"),
    };
    let config: Config = json::read(config, &CONFIGURATION, Limits::UNSIGNED).map_err(|refusal| {
        let reason = format!("the config of its image: {}", refusal.reason);
        RegistryError::refused(what, lifeboat_strict::Refusal { reason, ..refusal })
    })?;
    let is_manifest = [config.schema_version, config.layers, config.manifests, config.fs_layers];
    if is_manifest.iter().any(Option::is_some) {
        let reason = "the config of its image is a manifest at once".to_owned();
        return Err(RegistryError::Ambiguous { what: what.to_owned(), reason });
    }
    let ids = config.rootfs.diff_ids.iter().map(|id| Sha256Digest::from_oci(id));
    ids.collect::<Result<_, _>>().map_err(|error| refused(error.to_string()))
}

/// The image of the tag; without a tag, the only image in the archive.
pub(crate) fn look_up(files: &Files, path: &Path, tag: Option<&str>) -> Result<Descriptor, RegistryError> {
    let images = images(files, path)?;
    let names: Vec<String> =
        images.iter().flat_map(|image| image.repo_tags.clone().unwrap_or_default()).collect();
    let is_meant = |image: &&Image| tag.is_none_or(|tag| image.tags().any(|own| own == tag));
    let meant: Vec<&Image> = images.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [image] => Ok(describe(files, path, image)?.0),
        [] => Err(RegistryError::NotFound {
            what: format!(
                "tag `{}` in {}, which holds {}",
                tag.unwrap_or_default(),
                path.display(),
                names.join(", ")
            ),
        }),
        several => match tag {
            None => Err(RegistryError::WhichImage { path: path.to_owned(), known: names }),
            Some(tag) => {
                let configs = several.iter().map(|image| printable(&image.config));
                Err(two_of_one_tag(path, tag, configs))
            }
        },
    }
}

/// The image with this id.
pub(crate) fn stat(files: &Files, path: &Path, id: Sha256Digest) -> Result<Descriptor, RegistryError> {
    for image in images(files, path)? {
        let (descriptor, _) = describe(files, path, &image)?;
        if descriptor.digest == id {
            return Ok(descriptor);
        }
    }
    Err(RegistryError::NotFound { what: format!("image {} in {}", id.to_oci(), path.display()) })
}

/// The descriptor of an image, and its unpacked layers, which must match those in its config.
pub(crate) fn describe(
    files: &Files,
    path: &Path,
    image: &Image,
) -> Result<(Descriptor, Vec<Sha256Digest>), RegistryError> {
    image.check_sources(path)?;
    let (descriptor, diff_ids) = image.config(files, path)?;
    let mut are_packed = None;
    for (layer, expected) in image.layers.iter().zip(&diff_ids) {
        let Unpacked { digest: found, is_packed } = unpacked(files, path, layer)?;
        if found != *expected {
            let what = format!("the layer {} in {}", layer.escape_default(), path.display());
            return Err(RegistryError::DigestMismatch { what, expected: *expected, found });
        }
        // Some programs check only the first layer, and compress all layers again if it is not compressed.
        if *are_packed.get_or_insert(is_packed) != is_packed {
            return Err(RegistryError::ambiguous(path, "some of its layers are packed, and some are not"));
        }
    }
    Ok((descriptor, diff_ids))
}

/// A layer as programs that load the image see it.
pub(crate) struct Unpacked {
    pub(crate) digest: Sha256Digest,
    pub(crate) is_packed: bool,
}

/// Unpacks a layer if it is compressed with gzip.
pub(crate) fn unpacked(files: &Files, path: &Path, layer: &str) -> Result<Unpacked, RegistryError> {
    let unpacked = files.unpacked_digest(layer).and_then(|unpacked| match unpacked {
        Some(digest) => Ok(Unpacked { digest, is_packed: true }),
        None => Ok(Unpacked { digest: files.digest(layer)?, is_packed: false }),
    });
    unpacked.map_err(|source| failed(path, layer, source))
}
