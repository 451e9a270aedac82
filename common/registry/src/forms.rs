//! Archives of two forms at once: a layout's `index.json` beside the `manifest.json` of `docker save`, as Docker writes
//! them since version 25. Each program reads one of the two, so that both must hold the same images.

use std::path::Path;

use lifeboat_core::Sha256Digest;

use crate::RegistryError;
use crate::content::{Descriptor, MAX_MANIFEST_BYTES, Manifest};
use crate::docker_archive;
use crate::files::Files;
use crate::layout::blob_in;

/// An image of `index.json`.
#[derive(Debug, Clone)]
pub(crate) struct IndexImage {
    /// Its manifest or index.
    pub(crate) descriptor: Descriptor,
    /// The tags that its entry bears.
    pub(crate) tags: Vec<String>,
}

/// An image of `manifest.json`.
#[derive(Debug, Clone)]
struct SavedImage {
    config: Sha256Digest,
    tags: Vec<String>,
    layers: Vec<Sha256Digest>,
    diff_ids: Vec<Sha256Digest>,
}

/// What an entry of `index.json` leads to: each manifest that is there, with its config and its layers.
#[derive(Debug, Clone)]
struct Manifests {
    digest: Sha256Digest,
    tags: Vec<String>,
    images: Vec<(Sha256Digest, Vec<Sha256Digest>)>,
}

/// Refuses an archive whose two forms hold different images.
pub(crate) fn compare(files: &Files, path: &Path, index: &[IndexImage]) -> Result<(), RegistryError> {
    let mut saved = Vec::new();
    for image in docker_archive::images(files, path)? {
        image.check_sources(path)?;
        let (config, diff_ids) = image.config(files, path)?;
        let layers = image.layers(files, path)?.into_iter().map(|(_, digest)| digest).collect();
        let tags = image.tags().map(str::to_owned).collect();
        saved.push(SavedImage { config: config.digest, tags, layers, diff_ids });
    }
    let mut entries = Vec::new();
    for image in index {
        let manifests = manifests(files, path, image.descriptor.digest)?;
        entries.push(Manifests {
            digest: image.descriptor.digest,
            tags: image.tags.clone(),
            images: manifests,
        });
    }
    contradiction(&saved, &entries)
        .map_or(Ok(()), |reason| Err(RegistryError::Ambiguous { what: path.display().to_string(), reason }))
}

/// The manifests of an entry: its own, or those that its index names, as far as the archive holds them.
fn manifests(
    files: &Files,
    path: &Path,
    digest: Sha256Digest,
) -> Result<Vec<(Sha256Digest, Vec<Sha256Digest>)>, RegistryError> {
    let read = |digest: Sha256Digest| {
        let bytes = blob_in(files, path, "", digest, MAX_MANIFEST_BYTES)?;
        Manifest::parse(&format!("the manifest {}", digest.to_oci()), &bytes)
    };
    let manifest = read(digest)?;
    let children = manifest.children(&format!("the index {}", digest.to_oci()))?;
    let mut found: Vec<_> = parts(&manifest).into_iter().collect();
    for child in children {
        match read(child.descriptor.digest) {
            Ok(manifest) => found.extend(parts(&manifest)),
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn parts(manifest: &Manifest) -> Option<(Sha256Digest, Vec<Sha256Digest>)> {
    let config = manifest.config.as_ref()?.typed()?.digest;
    let layers = manifest.layers.iter().flatten().map(|layer| layer.typed().map(|layer| layer.digest));
    Some((config, layers.collect::<Option<_>>()?))
}

/// How the two forms contradict each other, if they do.
fn contradiction(saved: &[SavedImage], index: &[Manifests]) -> Option<String> {
    const SAVED: &str = docker_archive::MANIFEST;
    for image in saved {
        let id = image.config.to_oci();
        let is_it = |(config, layers): &&(Sha256Digest, Vec<Sha256Digest>)| {
            let is_layer = |(place, found): (usize, &Sha256Digest)| {
                image.diff_ids.get(place) == Some(found) || layers.get(place) == Some(found)
            };
            *config == image.config && image.layers.iter().enumerate().all(is_layer)
        };
        let holds = |entry: &&Manifests| entry.images.iter().any(|manifest| is_it(&manifest));
        if !index.iter().any(|entry| holds(&entry)) {
            return Some(format!("its `{SAVED}` holds the image {id}, which its `index.json` does not hold"));
        }
        for tag in &image.tags {
            let other = index.iter().find(|entry| entry.tags.contains(tag) && !holds(entry));
            if let Some(other) = other {
                let other = other.digest.to_oci();
                return Some(format!(
                    "the tag `{}` is the image {id} in its `{SAVED}`, and {other} in its `index.json`",
                    tag.escape_default()
                ));
            }
        }
    }
    let is_saved = |entry: &&Manifests| {
        entry.images.iter().any(|(config, _)| saved.iter().any(|image| image.config == *config))
    };
    let lost = index.iter().find(|entry| !is_saved(entry))?;
    Some(format!("its `index.json` holds {}, which its `{SAVED}` does not hold", lost.digest.to_oci()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Sha256Digest {
        Sha256Digest::of(text.as_bytes())
    }

    /// An image of `manifest.json`, by config, tag and layer.
    fn saved(config: &str, tag: &str, layer: &str) -> SavedImage {
        SavedImage {
            config: digest(config),
            tags: vec![tag.to_owned()],
            layers: vec![digest(layer)],
            diff_ids: vec![digest("plain")],
        }
    }

    fn entry(configs: &[&str], tag: &str) -> Manifests {
        let manifest = |config: &&str| (digest(config), vec![digest("packed")]);
        Manifests {
            digest: digest(tag),
            tags: vec![tag.to_owned()],
            images: configs.iter().map(manifest).collect(),
        }
    }

    #[test]
    fn two_forms_hold_the_same_images_or_contradict_each_other() {
        let good = || saved("good", "1", "plain");
        for (saved_images, entries, said) in [
            (vec![good()], vec![entry(&["good"], "1")], None),
            (vec![saved("good", "1", "packed")], vec![entry(&["good"], "1")], None),
            (vec![good()], vec![entry(&["other", "good"], "1")], None),
            (
                vec![good(), saved("two", "2", "plain")],
                vec![entry(&["good"], "1"), entry(&["two"], "2")],
                None,
            ),
            (
                vec![saved("evil", "1", "plain")],
                vec![entry(&["good"], "1")],
                Some("its `manifest.json` holds"),
            ),
            (
                vec![saved("good", "1", "evil")],
                vec![entry(&["good"], "1")],
                Some("its `manifest.json` holds"),
            ),
            (
                vec![good(), saved("evil", "2", "plain")],
                vec![entry(&["good"], "1")],
                Some("its `manifest.json` holds"),
            ),
            (
                vec![good()],
                vec![entry(&["good"], "1"), entry(&["evil"], "2")],
                Some("its `index.json` holds"),
            ),
            (vec![], vec![entry(&["good"], "1")], Some("its `index.json` holds")),
            (vec![good()], vec![], Some("its `manifest.json` holds")),
            (
                vec![saved("good", "2", "plain"), saved("evil", "1", "plain")],
                vec![entry(&["good"], "1"), entry(&["evil"], "2")],
                Some("the tag `2` is the image"),
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
