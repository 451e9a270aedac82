//! Reads what writers must not refer to: frames that a keeper has condemned, and frames that a repair found lost.

use std::collections::HashSet;

use lifeboat_core::Sha256Digest;
use lifeboat_store::{Entry, PassedOver, StoreError};

use crate::error::{ObjectError, VaultError};
use crate::format::authority::Word;
use crate::format::condemnation::{Condemnation, Loss};
use crate::format::frame_set::FrameSet;
use crate::format::layout;
use crate::ids::{FrameName, GroupId, RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::repository::listing;
use crate::repository::objects::hash_of;
use crate::repository::open::Repository;

/// How often condemnations are listed at most, if some are gone when they are read: a prune may have stored others in
/// their place since the listing.
const LISTINGS: usize = 4;

/// A condemnation in the repository.
#[derive(Debug)]
pub(crate) struct FoundCondemnation {
    pub(crate) key: String,
    /// When it was stored, by the storage's clock.
    pub(crate) stored: jiff::Timestamp,
    pub(crate) body: Condemnation,
}

/// What a new snapshot must not refer to.
pub(crate) struct Excluded {
    /// Frames that are condemned or were found lost.
    pub(crate) frames: FrameSet,
    /// Those of them that were found lost.
    pub(crate) lost: FrameSet,
    /// The packs that are condemned: what is only in these will be deleted.
    pub(crate) packs: HashSet<Sha256Digest>,
    /// The runs whose registrations are condemned: without them, no frame of theirs opens.
    pub(crate) runs: HashSet<RunId>,
    /// The names of the condemned locations objects: the places that only these give will be forgotten.
    pub(crate) locations: HashSet<String>,
    /// Condemnations and losses that are damaged.
    pub(crate) unusable: Vec<ObjectError>,
}

impl Excluded {
    /// Whether a new snapshot must not refer to this frame, wherever it is.
    pub(crate) fn names(&self, frame: FrameName) -> bool {
        self.frames.contains(frame) || self.runs.contains(&frame.run)
    }
}

impl Repository {
    /// Reads the condemnations of a group that count for `word`, with the names only of those objects that are `there`:
    /// the others need no further work. One that is damaged, out of reach or by an unauthorised signer is returned as
    /// an error beside them.
    pub(crate) async fn condemnations(
        &self,
        group: &GroupView,
        word: Word,
        there: impl Fn(&str) -> bool,
    ) -> Result<(Vec<FoundCondemnation>, Vec<ObjectError>), StoreError> {
        let mut found = Vec::new();
        let unusable = self
            .each_condemnation(group, word, |mut condemnation| {
                condemnation.body.objects.retain(|name| there(name));
                condemnation.body.objects.shrink_to_fit();
                found.push(condemnation);
            })
            .await?;
        Ok((found, unusable))
    }

    /// Whether an object is in the folder of a removed keeper's condemnations of a group.
    pub(crate) fn is_condemned_by_removed(&self, key: &str, group: GroupId) -> bool {
        let mut removed = self.roster.keepers.iter().filter(|keeper| keeper.removed.is_some());
        removed.any(|keeper| is_in_folder_of(key, Signer::Keeper(keeper.id), group))
    }

    /// Passes them on one by one, and what cannot be used at the end. Of removed keepers, runs heed what was stored
    /// before the roster in force, and prunes nothing: a prune that such a keeper began looks for a newer roster before
    /// it deletes, so it deletes nothing by what it condemned later.
    async fn each_condemnation(
        &self,
        group: &GroupView,
        word: Word,
        mut each: impl FnMut(FoundCondemnation),
    ) -> Result<Vec<ObjectError>, StoreError> {
        let of = group.id.to_string();
        // Below a folder for each signer is one for each group.
        let group_in = |key: &str| key.split('/').nth(2).map(str::to_owned);
        let is_any_removed = self.roster.keepers.iter().any(|keeper| keeper.removed.is_some());
        let roster_stored = if word == Word::CondemnedToRuns && is_any_removed {
            self.store.entry(&layout::roster(self.roster.number())).await?.map(|entry| entry.modified)
        } else {
            None
        };
        let is_heeded = |entry: &Entry| {
            !self.is_condemned_by_removed(&entry.key, group.id)
                || roster_stored.is_some_and(|roster_stored| entry.modified <= roster_stored)
        };
        let (mut unusable, mut read) = (Vec::new(), HashSet::new());
        for round in 1..=LISTINGS {
            let listing = listing::listing(&self.store, layout::CONDEMNED).await?;
            let may_hide_it = |passed: &&PassedOver| {
                passed.obstacle.may_hide_objects() && group_in(&passed.place).is_none_or(|group| group == of)
            };
            let hidden = listing.passed_over.iter().filter(may_hide_it).map(ObjectError::out_of_reach);
            unusable.extend(hidden.filter(|hidden| !unusable.contains(hidden)).collect::<Vec<_>>());
            let of_group =
                listing.entries.into_iter().filter(|entry| group_in(&entry.key).as_ref() == Some(&of));
            let unread = of_group.filter(is_heeded).filter(|entry| !read.contains(&entry.key));
            let mut is_any_gone = false;
            for entry in unread.collect::<Vec<_>>() {
                match self.read_signed::<Condemnation>(&entry.key, group, word).await? {
                    Ok((signer, body)) if is_in_folder_of(&entry.key, signer, group.id) => {
                        let key = entry.key.clone();
                        each(FoundCondemnation { key, stored: entry.modified, body });
                    }
                    Ok((signer, _)) => {
                        let reason = format!("it is signed by {signer}, but is in another signer's folder");
                        unusable.push(ObjectError::damaged(&entry.key, reason));
                    }
                    Err(ObjectError::Missing { .. }) if round < LISTINGS => {
                        is_any_gone = true;
                        continue;
                    }
                    Err(error) => unusable.push(error),
                }
                read.insert(entry.key);
            }
            if !is_any_gone {
                break;
            }
        }
        Ok(unusable)
    }

    /// The frames of a group that were found lost, by those who are believed for `word`.
    pub(crate) async fn losses(
        &self,
        group: &GroupView,
        word: Word,
    ) -> Result<(FrameSet, Vec<ObjectError>), StoreError> {
        let (entries, gap) = self.objects_and_gap(&layout::losses(group.id)).await?;
        let (mut lost, mut unusable) = (FrameSet::default(), Vec::from_iter(gap));
        for entry in entries {
            match self.read_signed::<Loss>(&entry.key, group, word).await? {
                Ok((_, loss)) => lost.add_records(&loss.frames),
                Err(ObjectError::Missing { .. }) => {}
                Err(error) => unusable.push(error),
            }
        }
        Ok((lost, unusable))
    }

    /// The frames of a group that a restore of `writer`'s snapshots treats as lost: according to the writer itself, a
    /// keeper or the root. Another writer could claim that whole frames are lost.
    pub(crate) async fn losses_for(
        &self,
        group: &GroupView,
        writer: WriterId,
    ) -> Result<FrameSet, StoreError> {
        let (lost, unusable) = self.losses(group, Word::LostToRestore { writer }).await?;
        for error in &unusable {
            tracing::info!("{error}");
        }
        Ok(lost)
    }

    /// What a new snapshot must not refer to. Fails if any of it may be out of this user's reach: a keeper who can read
    /// it is about to delete what it names.
    pub(crate) async fn excluded(&self, group: &GroupView) -> Result<Excluded, VaultError> {
        let (lost, mut unusable) = self.losses(group, Word::LostToRuns).await?;
        let mut frames = lost.clone();
        let (mut packs, mut runs, mut locations) = (HashSet::new(), HashSet::new(), HashSet::new());
        let (of_packs, of_runs) = (layout::packs(group.id), layout::runs(group.id));
        let of_locations = layout::locations_of(group.id);
        let condemned = self
            .each_condemnation(group, Word::CondemnedToRuns, |condemnation| {
                frames.add_records(&condemnation.body.frames);
                for name in condemnation.body.objects {
                    if name.starts_with(&of_packs) {
                        packs.extend(hash_of(&name));
                    } else if name.starts_with(&of_runs) && !layout::is_run_end(&name) {
                        runs.extend(layout::run_of(&name));
                    } else if name.starts_with(&of_locations) {
                        locations.insert(name);
                    }
                }
            })
            .await?;
        unusable.extend(condemned);
        if let Some(hidden) = unusable.iter().find(|error| matches!(error, ObjectError::OutOfReach { .. })) {
            return Err(hidden.clone().into());
        }
        Ok(Excluded { frames, lost, packs, runs, locations, unusable })
    }
}

/// Whether a condemnation is where its signer may put it.
fn is_in_folder_of(key: &str, signer: Signer, group: GroupId) -> bool {
    key.strip_prefix(&layout::condemned(signer, group)).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use lifeboat_testkit::fault_store::Operation;

    use super::*;
    use crate::format::floor::Floor;
    use crate::hostile::crafted::Crafted;
    use crate::hostile::files;

    /// A registration can be condemned while a frame of its run is in a pack that stays: a late run moved it there.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_run_refers_to_frames_of_a_run_whose_registration_is_condemned() {
        let crafted = Crafted::with_floor(Floor { days: 0, snapshots: 1 }).await;
        let group = GroupView::from(&crafted.writer.group);
        let keeper = crafted.add_keeper().await;
        let registrations = || -> Vec<String> {
            let folder = format!("{}/", layout::runs(group.id));
            crafted.faults.contents().into_keys().filter(|key| key.starts_with(&folder)).collect()
        };
        let stored_by_a_run = || async {
            crafted.faults.clear_log();
            crafted.back_up(&crafted.writer, &files(1)).await.unwrap();
            let calls = crafted.faults.log().into_iter();
            let packs =
                calls.filter(|call| call.operation == Operation::Put && call.key.starts_with("packs/"));
            packs.map(|call| call.bytes).sum::<u64>()
        };
        assert!(stored_by_a_run().await > 1_000_000);
        assert!(stored_by_a_run().await < 100_000, "it refers to the first run");
        let session = crafted.as_keeper(&keeper).await;
        let condemnation = Condemnation { frames: Vec::new(), objects: registrations(), avoid_only: None };
        let pen = session.pruning_pen().unwrap();
        session.repository().store_signed(&group, pen, &condemnation).await.unwrap();
        assert!(stored_by_a_run().await > 1_000_000, "it stores everything again");
        assert!(stored_by_a_run().await < 100_000, "the registration of the third run is not condemned");
    }
}
