//! Where frames lie: reading locations.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::VaultError;
use crate::authority::Word;
use crate::ids::{FrameName, GroupId, RunId, Signer};
use crate::index::{FrameLocation, Locations};
use crate::keys::GroupView;
use crate::layout;
use crate::repository::Repository;

/// What is wrong with a locations object that is whole and makes no sense.
pub(crate) const MALFORMED_LOCATIONS: &str =
    "it puts frames of another run somewhere, frames on each other, or frames that cannot be";

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FramePlace {
    pub(crate) pack: Sha256Digest,
    /// The pack's size.
    pub(crate) size: u64,
    pub(crate) frame: FrameLocation,
}

impl FramePlace {
    /// Whether `sealed` is the frame that was stored here.
    pub(crate) fn check(&self, sealed: &[u8]) -> Result<(), String> {
        let found = Sha256Digest::of(sealed);
        if found == self.frame.hash {
            return Ok(());
        }
        Err(format!("the frame at byte {} has SHA-256 {found}, not {}", self.frame.offset, self.frame.hash))
    }
}

/// Where frames lie, for each the places in the order in which to try them.
pub(crate) type FramePlaces = HashMap<FrameName, Vec<FramePlace>>;

/// Adds what a locations object says.
pub(crate) fn add_places(places: &mut FramePlaces, locations: &Locations) {
    for pack in &locations.packs {
        for frame in &pack.frames {
            let name = FrameName { run: locations.run, ordinal: frame.ordinal };
            let place = FramePlace { pack: pack.pack, size: pack.size, frame: *frame };
            let known = places.entry(name).or_default();
            if !known.contains(&place) {
                known.push(place);
            }
        }
    }
}

impl Repository {
    /// Reads a part of a pack.
    pub(crate) async fn pack_range(
        &self,
        group: GroupId,
        pack: &Sha256Digest,
        range: Range<u64>,
    ) -> Result<Bytes, VaultError> {
        let key = layout::pack(group, pack);
        match self.store.read_range(&key, range.clone()).await {
            Ok(bytes) => Ok(bytes),
            Err(StoreError::OutOfRange { size, .. }) => {
                Err(VaultError::damaged(key, format!("it has {size} bytes, and something lies at {range:?}")))
            }
            Err(error) => Err(VaultError::reading(error)),
        }
    }

    /// Reads the sealed frame that lies in a place; what lies there instead is damage.
    pub(crate) async fn frame_at(&self, group: GroupId, place: &FramePlace) -> Result<Bytes, VaultError> {
        let end = place.frame.offset.saturating_add(place.frame.length.into());
        let sealed = self.pack_range(group, &place.pack, place.frame.offset..end).await?;
        match place.check(&sealed) {
            Ok(()) => Ok(sealed),
            Err(reason) => Err(VaultError::damaged(layout::pack(group, &place.pack), reason)),
        }
    }

    /// Reads the locations objects of a run, the one that was stored last first.
    pub(crate) async fn locations(
        &self,
        group: &GroupView,
        run: RunId,
    ) -> Result<Vec<Result<Locations, VaultError>>, VaultError> {
        let mut entries = self.store.list(&layout::locations(group.id, run)).await?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
        let mut objects = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.locations_object(group, run, &entry.key).await {
                Err(error @ VaultError::Store(_)) => return Err(error),
                read => objects.push(read.map(|(_, object)| object)),
            }
        }
        Ok(objects)
    }

    /// Reads one locations object.
    pub(crate) async fn locations_object(
        &self,
        group: &GroupView,
        run: RunId,
        key: &str,
    ) -> Result<(Signer, Locations), VaultError> {
        let (signer, object): (_, Locations) = self.read_signed(key, group, Word::Places).await?;
        if object.run == run && object.is_sane() {
            Ok((signer, object))
        } else {
            Err(VaultError::damaged(key, MALFORMED_LOCATIONS))
        }
    }

    /// Where the frames of a run lie, the newest word first. A damaged object is passed over with a warning: what it
    /// alone located is lost.
    pub(crate) async fn places(&self, group: &GroupView, run: RunId) -> Result<FramePlaces, VaultError> {
        let mut places = FramePlaces::new();
        for locations in self.locations(group, run).await? {
            match locations {
                Ok(locations) => add_places(&mut places, &locations),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Ok(places)
    }
}
