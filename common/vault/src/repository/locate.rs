//! Finds the places of frames by reading locations.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use futures::future::join_all;
use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::{ObjectError, Read};
use crate::format::authority::{Standing, Word};
use crate::format::index::{FramePlace, Locations};
use crate::format::layout;
use crate::ids::{FrameName, GroupId, RunId, Signer};
use crate::keys::GroupView;
use crate::repository::batch::batches;
use crate::repository::open::Repository;

/// The fault of a locations object that is whole but in the folder of another run.
pub(crate) const OF_ANOTHER_RUN: &str = "it locates frames of another run";

/// The places of frames, for each in the order in which to try them.
pub(crate) type FramePlaces = HashMap<FrameName, Vec<FramePlace>>;

/// The packs that contain frames, with their sizes.
pub(crate) fn packs_of(places: &FramePlaces) -> Vec<(Sha256Digest, u64)> {
    let mut packs: Vec<_> = places.values().flatten().map(|place| (place.pack, place.size)).collect();
    packs.sort_unstable();
    packs.dedup();
    packs
}

/// How many places of a frame are remembered of a member, the newest first. However many false ones it states, those of
/// others stay.
pub(crate) const PLACES_OF_A_MEMBER: usize = 4;
/// The same of a keeper in force and of the root, who state what the packs of many members list.
const PLACES_OF_A_PRUNER: usize = 64;

/// The places of frames that signers state, for each in the order in which to try them.
pub(crate) type StatedPlaces = HashMap<FrameName, Vec<(Signer, FramePlace)>>;

/// Collects the places of the wanted frames of a run, the newest first.
pub(crate) struct Collector<W> {
    is_wanted: W,
    pub(crate) stated: StatedPlaces,
}

impl<W: Fn(u32) -> bool> Collector<W> {
    pub(crate) fn new(is_wanted: W) -> Self {
        Self { is_wanted, stated: StatedPlaces::new() }
    }

    /// Adds the places in one object, up to `most` of each frame by this signer.
    pub(crate) fn add(&mut self, signer: Signer, most: usize, locations: &Locations) {
        for (name, place) in locations.places().filter(|(name, _)| (self.is_wanted)(name.ordinal)) {
            let known = self.stated.entry(name).or_default();
            let is_known = known.iter().any(|(_, known)| *known == place);
            if !is_known && known.iter().filter(|(by, _)| *by == signer).count() < most {
                known.push((signer, place));
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
    ) -> Read<Bytes> {
        ObjectError::split(self.store.read_range(&layout::pack(group, pack), range).await)
    }

    /// Reads the sealed frame in a place; anything else there is damage.
    pub(crate) async fn frame_at(&self, group: GroupId, place: &FramePlace) -> Read<Bytes> {
        let end = place.frame.offset.saturating_add(place.frame.length.into());
        let read = self.pack_range(group, &place.pack, place.frame.offset..end).await?;
        Ok(read.and_then(|sealed| match place.check(&sealed) {
            Ok(()) => Ok(sealed),
            Err(reason) => Err(ObjectError::damaged(layout::pack(group, &place.pack), reason)),
        }))
    }

    /// Reads one locations object.
    pub(crate) async fn locations_object(
        &self,
        group: &GroupView,
        run: RunId,
        key: &str,
    ) -> Read<(Signer, Locations)> {
        let read = self.read_signed::<Locations>(key, group, Word::Places).await?;
        Ok(read.and_then(|(signer, object)| {
            if object.run == run {
                Ok((signer, object))
            } else {
                Err(ObjectError::damaged(key, OF_ANOTHER_RUN))
            }
        }))
    }

    /// The places of the wanted frames of a run, the newest first, and who states each. A damaged object is skipped
    /// with a warning: what only it located is lost.
    pub(crate) async fn stated_places(
        &self,
        group: &GroupView,
        run: RunId,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Result<StatedPlaces, StoreError> {
        let mut entries = self.objects_below(&layout::locations(group.id, run)).await?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
        let mut collector = Collector::new(is_wanted);
        for batch in batches(entries, |entry| entry.size) {
            let read = batch.iter().map(|entry| self.locations_object(group, run, &entry.key));
            for read in join_all(read).await {
                match read? {
                    Ok((signer, locations)) => {
                        let most = match self.roster.standing(signer, group.id) {
                            Standing::Keeper | Standing::Root => PLACES_OF_A_PRUNER,
                            _ => PLACES_OF_A_MEMBER,
                        };
                        collector.add(signer, most, &locations);
                    }
                    Err(error) => tracing::warn!("{error}"),
                }
            }
        }
        Ok(collector.stated)
    }

    /// The same without the signers.
    pub(crate) async fn places(
        &self,
        group: &GroupView,
        run: RunId,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Result<FramePlaces, StoreError> {
        let stated = self.stated_places(group, run, is_wanted).await?;
        let places = |stated: Vec<(Signer, FramePlace)>| stated.into_iter().map(|(_, place)| place).collect();
        Ok(stated.into_iter().map(|(name, stated)| (name, places(stated))).collect())
    }
}
