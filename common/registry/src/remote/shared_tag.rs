//! Adds to the document under a tag without losing what others add at the same time.
//!
//! Registries have no conditional write for a tag, so another writer may overwrite this one's document with one based
//! on an earlier read. A writer therefore reads again after its write, and once more after a pause that is long
//! compared with the time between its own reading and writing, and starts over if an entry that it has seen is gone.

use std::time::Duration;

use lifeboat_core::Sha256Digest;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Remote;
use crate::RegistryError;
use crate::content::OCI_MANIFEST;
use crate::legacy::LegacyManifest;

/// How often the document is written before giving up.
const MAX_WRITES: u32 = 12;

/// How long an entry must survive in the document before it counts as written: minimum and maximum.
const SETTLE: (Duration, Duration) = (Duration::from_millis(40), Duration::from_secs(2));

/// A document that several writers add to.
pub(super) trait SharedDocument: Default {
    const MEDIA_TYPE: &'static str;

    /// Reads what is stored under `tag`.
    fn parse(tag: &str, bytes: &[u8]) -> Result<Self, RegistryError>;

    /// Adds the entries of `seen` that are missing here, and adds to `seen` those that it does not have. Returns
    /// whether any was missing here.
    fn add(&mut self, seen: &mut Vec<Value>) -> bool;

    /// The blob that the manifest names, if it names one, and the manifest.
    fn to_json(&self) -> (Option<Vec<u8>>, Vec<u8>);
}

impl SharedDocument for LegacyManifest {
    const MEDIA_TYPE: &'static str = OCI_MANIFEST;

    fn parse(tag: &str, bytes: &[u8]) -> Result<Self, RegistryError> {
        Self::parse(&format!("the manifest under the tag `{tag}`"), bytes)
    }

    fn add(&mut self, seen: &mut Vec<Value>) -> bool {
        self.add(seen)
    }

    fn to_json(&self) -> (Option<Vec<u8>>, Vec<u8>) {
        let (config, manifest) = self.to_json();
        (Some(config), manifest)
    }
}

impl Remote {
    /// The document under the tag; an empty one if there isn't one.
    async fn shared<T: SharedDocument>(&self, tag: &str) -> Result<T, RegistryError> {
        match self.optional_manifest_by_tag(tag).await? {
            Some((_, bytes)) => T::parse(tag, &bytes),
            None => Ok(T::default()),
        }
    }

    async fn write_shared<T: SharedDocument>(&self, tag: &str, document: &T) -> Result<(), RegistryError> {
        let (blob, manifest) = document.to_json();
        if let Some(blob) = blob {
            self.push_blob(&blob).await?;
        }
        self.push_manifest(tag, T::MEDIA_TYPE, manifest).await.map(drop)
    }

    /// Adds an entry to the document under the tag without losing any. `id` spreads writers that collide.
    pub(super) async fn add_to_tag<T: SharedDocument>(
        &self,
        tag: &str,
        entry: Value,
        id: Sha256Digest,
    ) -> Result<(), RegistryError> {
        let mut seen = vec![entry];
        for attempt in 1..=MAX_WRITES {
            let began = Instant::now();
            let mut document: T = self.shared(tag).await?;
            if document.add(&mut seen) {
                self.write_shared(tag, &document).await?;
            }
            let settle = (began.elapsed() * 8).clamp(SETTLE.0, SETTLE.1);
            let mut lost = false;
            for pause in [Duration::ZERO, settle] {
                sleep(pause).await;
                lost |= self.shared::<T>(tag).await?.add(&mut seen);
                if lost {
                    break;
                }
            }
            if !lost {
                return Ok(());
            }
            tracing::debug!(tag, attempt, "another writer overwrote what stands under the tag");
            // Writers that collided must not collide again: the digest spreads them, as randomness would.
            let spread = u32::from(id.as_bytes()[attempt as usize]);
            sleep(settle * spread / 128).await;
        }
        let registry = self.registry.clone();
        Err(RegistryError::Contended { registry, tag: tag.to_owned(), entry: id, attempts: MAX_WRITES })
    }
}
