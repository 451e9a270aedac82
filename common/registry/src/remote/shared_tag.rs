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
use super::referrers::FallbackIndex;
use crate::RegistryError;
use crate::content::{OCI_INDEX, OCI_MANIFEST};
use crate::legacy::LegacyManifest;

/// How often the document is written before giving up.
const MAX_WRITES: u32 = 12;

/// How long an entry must survive in the document before it counts as written: minimum and maximum.
const SETTLE: (Duration, Duration) = (Duration::from_millis(40), Duration::from_secs(2));

/// A document that several writers add to.
pub(super) enum Shared {
    /// An index of referrers.
    Index(FallbackIndex),
    /// A manifest of legacy signatures.
    Legacy(LegacyManifest),
}

/// The kind of document under a tag.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Index,
    Legacy,
}

impl Shared {
    fn add(&mut self, seen: &mut Vec<Value>) -> bool {
        match self {
            Self::Index(index) => index.add(seen),
            Self::Legacy(manifest) => manifest.add(seen),
        }
    }
}

impl Remote {
    /// The document under the tag; an empty one if there isn't one.
    async fn shared(&self, tag: &str, kind: Kind) -> Result<Shared, RegistryError> {
        let bytes = self.optional_manifest_by_tag(tag).await?.map(|(_, bytes)| bytes);
        let what = format!("the manifest under the tag `{tag}`");
        Ok(match (kind, bytes) {
            (Kind::Index, None) => Shared::Index(FallbackIndex::default()),
            (Kind::Index, Some(bytes)) => Shared::Index(FallbackIndex::parse(tag, &bytes)?),
            (Kind::Legacy, None) => Shared::Legacy(LegacyManifest::default()),
            (Kind::Legacy, Some(bytes)) => Shared::Legacy(LegacyManifest::parse(&what, &bytes)?),
        })
    }

    async fn write_shared(&self, tag: &str, document: &Shared) -> Result<(), RegistryError> {
        match document {
            Shared::Index(index) => self.push_manifest(tag, OCI_INDEX, index.to_json()).await.map(drop),
            Shared::Legacy(manifest) => {
                let (config, manifest) = manifest.to_json();
                self.push_blob(&config).await?;
                self.push_manifest(tag, OCI_MANIFEST, manifest).await.map(drop)
            }
        }
    }

    /// Adds an entry to the document under the tag without losing any. `id` spreads writers that collide.
    pub(super) async fn add_to_tag(
        &self,
        tag: &str,
        kind: Kind,
        entry: Value,
        id: Sha256Digest,
    ) -> Result<(), RegistryError> {
        let mut seen = vec![entry];
        for attempt in 1..=MAX_WRITES {
            let began = Instant::now();
            let mut document = self.shared(tag, kind).await?;
            if document.add(&mut seen) {
                self.write_shared(tag, &document).await?;
            }
            let settle = (began.elapsed() * 8).clamp(SETTLE.0, SETTLE.1);
            let mut lost = false;
            for pause in [Duration::ZERO, settle] {
                sleep(pause).await;
                lost |= self.shared(tag, kind).await?.add(&mut seen);
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
