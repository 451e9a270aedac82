//! Archives in two forms at once: a layout's `index.json` next to the `manifest.json` of `docker save`, as Docker
//! writes them since version 25. Each program reads one of the two, so both must hold the same images.

use std::path::Path;

use lifeboat_core::Sha256Digest;

use crate::RegistryError;
use crate::content::{Descriptor, MAX_MANIFEST_BYTES, Manifest, RawDescriptor};
use crate::docker_archive;
use crate::files::Files;
use crate::layout::blob_in;

/// An image of `index.json`.
#[derive(Debug, Clone)]
pub(crate) struct IndexImage {
    /// Its manifest or index.
    pub(crate) descriptor: Descriptor,
    /// The tags of its entry.
    pub(crate) tags: Vec<String>,
}

/// An image of `manifest.json`, whose unpacked layers match those in its config.
#[derive(Debug, Clone)]
struct SavedImage {
    config: Sha256Digest,
    tags: Vec<String>,
    diff_ids: Vec<Sha256Digest>,
}

/// Everything that an entry of `index.json` leads to: each manifest that exists.
#[derive(Debug, Clone)]
struct Manifests {
    digest: Sha256Digest,
    tags: Vec<String>,
    images: Vec<OciImage>,
}

/// A manifest: its config, and its unpacked layers; `None` for a missing layer, in which case no program can use it.
#[derive(Debug, Clone)]
struct OciImage {
    config: Sha256Digest,
    layers: Vec<Option<Sha256Digest>>,
}

/// Refuses an archive whose two forms hold different images.
pub(crate) fn compare(files: &Files, path: &Path, index: &[IndexImage]) -> Result<(), RegistryError> {
    let mut saved = Vec::new();
    for image in docker_archive::images(files, path)? {
        let (config, diff_ids) = docker_archive::describe(files, path, &image)?;
        let tags = image.tags().map(str::to_owned).collect();
        saved.push(SavedImage { config: config.digest, tags, diff_ids });
    }
    let mut entries = Vec::new();
    for image in index {
        let images = manifests(files, path, image.descriptor.digest)?;
        entries.push(Manifests { digest: image.descriptor.digest, tags: image.tags.clone(), images });
    }
    contradiction(&saved, &entries).map_or(Ok(()), |reason| Err(RegistryError::ambiguous(path, reason)))
}

/// The manifests of an entry: its own, or those that its index names, as far as the archive contains them.
fn manifests(files: &Files, path: &Path, digest: Sha256Digest) -> Result<Vec<OciImage>, RegistryError> {
    let read = |digest: Sha256Digest| {
        let bytes = blob_in(files, path, "", digest, MAX_MANIFEST_BYTES)?;
        Manifest::parse(&format!("the manifest {}", digest.to_oci()), &bytes)
    };
    let manifest = read(digest)?;
    let children = manifest.children(&format!("the index {}", digest.to_oci()))?;
    let mut found: Vec<_> = image(files, path, &manifest)?.into_iter().collect();
    for child in children {
        let digest = child.descriptor.digest;
        match read(digest) {
            Ok(manifest) if manifest.manifests.is_none() => found.extend(image(files, path, &manifest)?),
            Ok(_) => {
                let reason =
                    format!("its `index.json` leads to an index within an index, {}", digest.to_oci());
                return Err(RegistryError::ambiguous(path, reason));
            }
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn image(files: &Files, path: &Path, manifest: &Manifest) -> Result<Option<OciImage>, RegistryError> {
    let Some(config) = manifest.config.as_ref().and_then(RawDescriptor::typed) else { return Ok(None) };
    let mut layers = Vec::new();
    for layer in manifest.layers.iter().flatten() {
        let Some(layer) = layer.typed() else { return Ok(None) };
        let name = format!("blobs/sha256/{}", layer.digest);
        let unpacked = if files.exists(&name) {
            Some(docker_archive::unpacked(files, path, &name)?.digest)
        } else {
            None
        };
        layers.push(unpacked);
    }
    Ok(Some(OciImage { config: config.digest, layers }))
}

/// Describes how the two forms contradict each other, if they do.
fn contradiction(saved: &[SavedImage], index: &[Manifests]) -> Option<String> {
    const SAVED: &str = docker_archive::MANIFEST;
    let is_it = |image: &SavedImage, manifest: &OciImage| {
        let is_layer = |(expected, found): (&Sha256Digest, &Option<Sha256Digest>)| {
            found.as_ref().is_none_or(|found| found == expected)
        };
        manifest.config == image.config
            && manifest.layers.len() == image.diff_ids.len()
            && image.diff_ids.iter().zip(&manifest.layers).all(is_layer)
    };
    for image in saved {
        let id = image.config.to_oci();
        if !index.iter().any(|entry| entry.images.iter().any(|manifest| is_it(image, manifest))) {
            return Some(format!("its `{SAVED}` holds the image {id}, which its `index.json` does not hold"));
        }
    }
    for entry in index {
        let digest = entry.digest.to_oci();
        let is_saved = |manifest: &OciImage| saved.iter().any(|image| is_it(image, manifest));
        if entry.images.is_empty() || !entry.images.iter().all(is_saved) {
            return Some(format!("its `index.json` holds {digest}, which its `{SAVED}` does not hold"));
        }
        // Whichever image of the entry a program chooses, it has the tag.
        for tag in &entry.tags {
            let bearing: Vec<_> = saved.iter().filter(|image| image.tags.contains(tag)).collect();
            let Some(first) = bearing.first() else { continue };
            let is_of_tag = |manifest: &OciImage| bearing.iter().any(|image| is_it(image, manifest));
            if !entry.images.iter().all(is_of_tag) {
                return Some(format!(
                    "the tag `{}` is the image {} in its `{SAVED}`, and {digest} in its `index.json`",
                    tag.escape_default(),
                    first.config.to_oci()
                ));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Sha256Digest {
        Sha256Digest::of(text.as_bytes())
    }

    /// An image of `manifest.json`, by config and tag, with one layer.
    fn saved(config: &str, tag: &str) -> SavedImage {
        SavedImage { config: digest(config), tags: vec![tag.to_owned()], diff_ids: vec![digest("layer")] }
    }

    /// An entry with manifests, each with its config and layers.
    fn of(images: &[(&str, &[&str])], tag: &str) -> Manifests {
        let manifest = |(config, layers): &(&str, &[&str])| OciImage {
            config: digest(config),
            layers: layers.iter().map(|layer| (*layer != "absent").then(|| digest(layer))).collect(),
        };
        Manifests {
            digest: digest(tag),
            tags: vec![tag.to_owned()],
            images: images.iter().map(manifest).collect(),
        }
    }

    fn entry(configs: &[&str], tag: &str) -> Manifests {
        of(&configs.iter().map(|config| (*config, &["layer"][..])).collect::<Vec<_>>(), tag)
    }

    #[test]
    fn two_forms_hold_the_same_images_or_contradict_each_other() {
        let good = || saved("good", "1");
        let untagged = |entry: Manifests| Manifests { tags: Vec::new(), ..entry };
        let (its_saved, its_index) = ("its `manifest.json` holds", "its `index.json` holds");
        for (saved_images, entries, said) in [
            (vec![good()], vec![entry(&["good"], "1")], None),
            (vec![good()], vec![of(&[("good", &["absent"])], "1")], None),
            (vec![good()], vec![entry(&["good", "good"], "1")], None),
            (vec![good()], vec![untagged(entry(&["good"], "1"))], None),
            (vec![good(), saved("two", "2")], vec![entry(&["good"], "1"), entry(&["two"], "2")], None),
            (vec![good(), saved("two", "1")], vec![entry(&["good", "two"], "1")], None),
            (vec![saved("evil", "1")], vec![entry(&["good"], "1")], Some(its_saved)),
            (vec![good(), saved("evil", "2")], vec![entry(&["good"], "1")], Some(its_saved)),
            (vec![good()], vec![], Some(its_saved)),
            // The same config with different, more or fewer layers.
            (vec![good()], vec![of(&[("good", &["evil"])], "1")], Some(its_saved)),
            (vec![good()], vec![of(&[("good", &["layer", "evil"])], "1")], Some(its_saved)),
            (vec![good()], vec![of(&[("good", &[])], "1")], Some(its_saved)),
            (vec![good()], vec![of(&[("good", &["layer"]), ("good", &["evil"])], "1")], Some(its_index)),
            // One of several images that programs choose from.
            (vec![good()], vec![entry(&["evil", "good"], "1")], Some(its_index)),
            (vec![good()], vec![entry(&["good"], "1"), entry(&["evil"], "2")], Some(its_index)),
            (vec![good()], vec![entry(&["good"], "1"), entry(&[], "2")], Some(its_index)),
            (vec![], vec![entry(&["good"], "1")], Some(its_index)),
            (
                vec![saved("good", "2"), saved("evil", "1")],
                vec![entry(&["good"], "1"), entry(&["evil"], "2")],
                Some("the tag `1` is the image"),
            ),
            (
                vec![good(), saved("two", "2")],
                vec![entry(&["good", "two"], "1"), entry(&["two"], "2")],
                Some("the tag `1` is the image"),
            ),
        ] {
            let found = contradiction(&saved_images, &entries);
            let is_as_said = match said {
                None => found.is_none(),
                Some(said) => found.as_ref().is_some_and(|found| found.starts_with(said)),
            };
            assert!(is_as_said, "{said:?}: {found:?}");
        }
    }
}
