//! Archives in the format of `docker save` before version 25: a `manifest.json` that names a config and layers.
//!
//! Such an archive has no OCI manifest; what names an image is the digest of its config, the image's id. The config
//! names the digest of every layer, so that comparing those binds the layers to the id.

use std::io;
use std::path::Path;

use lifeboat_core::Sha256Digest;
use serde::Deserialize;

use crate::RegistryError;
use crate::content::{Descriptor, MAX_MANIFEST_BYTES};
use crate::files::Files;

/// The file that tells this format from others.
pub(crate) const MANIFEST: &str = "manifest.json";

/// The media type of an image's config.
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

fn malformed(path: &Path, reason: String) -> RegistryError {
    RegistryError::Malformed { what: path.display().to_string(), reason }
}

/// Why a file of the archive cannot be had: an archive that is not whole is no trouble with the disk.
fn failed(path: &Path, name: &str, source: io::Error) -> RegistryError {
    match source.kind() {
        io::ErrorKind::NotFound if path.exists() => {
            malformed(path, format!("it does not hold `{}`", name.escape_default()))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => malformed(path, source.to_string()),
        _ => RegistryError::Io { path: path.to_owned(), action: "read", source },
    }
}

fn images(files: &Files, path: &Path) -> Result<Vec<Image>, RegistryError> {
    let bytes = files.read(MANIFEST, MAX_MANIFEST_BYTES).map_err(|source| failed(path, MANIFEST, source))?;
    serde_json::from_slice(&bytes).map_err(|error| malformed(path, format!("its `{MANIFEST}`: {error}")))
}

/// The image of the tag; without one, the only image that there is.
pub(crate) fn look_up(files: &Files, path: &Path, tag: Option<&str>) -> Result<Descriptor, RegistryError> {
    let images = images(files, path)?;
    let names: Vec<String> =
        images.iter().flat_map(|image| image.repo_tags.clone().unwrap_or_default()).collect();
    let is_meant = |image: &&Image| match tag {
        None => true,
        Some(tag) => image.repo_tags.iter().flatten().any(|name| name.rsplit(':').next() == Some(tag)),
    };
    let meant: Vec<&Image> = images.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [image] => describe(files, path, image),
        [] => Err(RegistryError::NotFound {
            what: format!(
                "tag `{}` in {}, which holds {}",
                tag.unwrap_or_default(),
                path.display(),
                names.join(", ")
            ),
        }),
        _ => Err(RegistryError::WhichImage { path: path.to_owned(), known: names }),
    }
}

/// The image of this id.
pub(crate) fn stat(files: &Files, path: &Path, id: Sha256Digest) -> Result<Descriptor, RegistryError> {
    for image in images(files, path)? {
        let descriptor = describe(files, path, &image)?;
        if descriptor.digest == id {
            return Ok(descriptor);
        }
    }
    Err(RegistryError::NotFound { what: format!("image {} in {}", id.to_oci(), path.display()) })
}

/// The descriptor of an image whose layers are those that its config names.
fn describe(files: &Files, path: &Path, image: &Image) -> Result<Descriptor, RegistryError> {
    let config = files
        .read(&image.config, MAX_MANIFEST_BYTES)
        .map_err(|source| failed(path, &image.config, source))?;
    let names: Config = serde_json::from_slice(&config)
        .map_err(|error| malformed(path, format!("the config of its image: {error}")))?;
    if names.rootfs.diff_ids.len() != image.layers.len() {
        return Err(malformed(path, "it has other layers than the config of its image names".to_owned()));
    }
    for (layer, expected) in image.layers.iter().zip(&names.rootfs.diff_ids) {
        let expected = Sha256Digest::from_oci(expected)
            .map_err(|error| malformed(path, format!("the config of its image: {error}")))?;
        let found = files.digest(layer).map_err(|source| failed(path, layer, source))?;
        if found != expected {
            let what = format!("the layer {} in {}", layer.escape_default(), path.display());
            return Err(RegistryError::DigestMismatch { what, expected, found });
        }
    }
    Ok(Descriptor::of(CONFIG, &config))
}
