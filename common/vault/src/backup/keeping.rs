//! Ensures that what a snapshot refers to still exists when the snapshot is committed.
//!
//! A run refers to frames that earlier runs stored, and a prune may condemn them in the meantime. The run checks once
//! after its part is stored: from then on every prune keeps what the part needs, until a lease later. A machine that
//! sleeps between this check and its manifest may outlast even that, so a run whose manifest was stored long after its
//! part checks again. All times are the storage's.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::Sha256Digest;
use lifeboat_core::progress::Progress;

use crate::backup::contents_cache::ContentsCache;
use crate::backup::rescue::{Trailers, by_trust, trust};
use crate::error::{ObjectError, VaultError};
use crate::format::authority::Word;
use crate::format::condemnation::{GRACE_DAYS, LEASE, LEASE_DAYS};
use crate::format::frame_set::FrameSet;
use crate::format::pack::WrappedRunKey;
use crate::format::roster::Head;
use crate::format::{index, layout};
use crate::ids::{FrameName, RunId};
use crate::keys::GroupView;
use crate::keys::key_file::WriterKey;
use crate::repository::condemnations::Excluded;
use crate::repository::open::Repository;
use crate::repository::repack::Moves;

/// How long after its part a manifest may be stored without another check. What the part needs is kept for a lease, and
/// what is condemned after that for a grace more, so this is far below both.
const MARGIN: SignedDuration = SignedDuration::from_hours((GRACE_DAYS - LEASE_DAYS) * 24);

/// A run that is about to commit its snapshot.
pub(crate) struct Keeping<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) key: &'a WriterKey,
    pub(crate) run: RunId,
    /// The run's own key, as it is in the headers of its packs.
    pub(crate) wrapped: &'a WrappedRunKey,
    /// When the run was registered.
    pub(crate) registered: Timestamp,
    /// The frames that the snapshot needs, by run.
    pub(crate) needed: &'a BTreeMap<RunId, BTreeMap<u32, u16>>,
    pub(crate) cache: Option<&'a Path>,
    /// The packs that were condemned when the run began.
    pub(crate) condemned: HashSet<Sha256Digest>,
}

impl Keeping<'_> {
    /// Checks once more after the part is stored. Fails if the run outlived its lease; moves frames that were condemned
    /// since the run began to packs of this run's own. Returns the time at which the part was stored.
    pub(crate) async fn look_before_commit(
        &self,
        part: &Sha256Digest,
        progress: &Arc<dyn Progress>,
    ) -> Result<Timestamp, VaultError> {
        let (store, group) = (&self.repository.store, self.key.group.id);
        let registration = layout::run(group, self.run);
        store.entry(&registration).await?.ok_or_else(|| gone(registration.clone()))?;
        let part = layout::part(group, part);
        let stored = store.entry(&part).await?.ok_or_else(|| gone(part))?.modified;
        if is_past_lease(self.registered, stored) {
            return Err(VaultError::PastLease { days: LEASE_DAYS });
        }
        let excluded = self.repository.excluded(&GroupView::from(&self.key.group)).await?;
        // If nothing was condemned since the run began, only the frames that condemnations and losses name are affected.
        let is_any_new = !excluded.packs.is_subset(&self.condemned);
        self.rescue(self.endangered(&excluded, &excluded.frames, is_any_new, progress).await?).await?;
        Ok(stored)
    }

    /// Checks again after the manifest is stored, if it was stored long after the part.
    pub(crate) async fn look_after_commit(
        &self,
        head: Head,
        part: &Sha256Digest,
        part_stored: Timestamp,
        progress: &Arc<dyn Progress>,
    ) -> Result<(), VaultError> {
        let key = layout::snapshot(self.key.writer, head.sequence);
        let entry = self.repository.store.entry(&key).await?;
        let stored = entry.ok_or(ObjectError::Missing { key })?.modified;
        if !is_late(part_stored, stored) {
            return Ok(());
        }
        let late = stored.duration_since(part_stored);
        progress.warn(&format!(
            "the manifest was stored {} hours after what it names, as when a machine sleeps: looking whether all of it \
             is still there",
            late.as_hours()
        ));
        match self.look_at_everything(part, progress).await {
            Err(VaultError::PrunedUnderWay { evidence }) => {
                Err(VaultError::CommittedTooLate { snapshot: head.id, evidence })
            }
            other => other,
        }
    }

    /// Also looks for the part and for the registrations of all needed runs, because no frame opens without its run's
    /// key: a prune may have deleted them in any order, or be about to.
    async fn look_at_everything(
        &self,
        part: &Sha256Digest,
        progress: &Arc<dyn Progress>,
    ) -> Result<(), VaultError> {
        let group = GroupView::from(&self.key.group);
        let part = layout::part(group.id, part);
        let runs: BTreeSet<String> =
            self.needed.keys().chain([&self.run]).map(|run| layout::run(group.id, *run)).collect();
        // Condemnations first: a prune deletes what they name before it deletes them.
        let is_needed = |key: &str| key == part || runs.contains(key);
        let (condemned, _) = self.repository.condemnations(&group, Word::CondemnedToRuns, is_needed).await?;
        self.repository.store.entry(&part).await?.ok_or_else(|| gone(part.clone()))?;
        let (listed, gap) = self.repository.objects_and_gap(&layout::runs(group.id)).await?;
        if let Some(gap) = gap {
            return Err(gap.into());
        }
        let listed: HashSet<String> = listed.into_iter().map(|entry| entry.key).collect();
        if let Some(missing) = runs.iter().find(|run| !listed.contains(*run)) {
            return Err(gone(missing.clone()));
        }
        if let Some(key) = condemned.into_iter().find_map(|mut found| found.body.objects.pop()) {
            return Err(gone(format!("{key}, which is condemned")));
        }
        let excluded = self.repository.excluded(&group).await?;
        // It is too late to move them: the same frames of the same run make the same pack, which may be condemned. Frames
        // that it has moved are condemned by name, in a pack that stays.
        match self.endangered(&excluded, &excluded.lost, true, progress).await?.into_values().flatten().next()
        {
            Some(name) => Err(gone(frame(name))),
            None => Ok(()),
        }
    }

    /// The needed frames that prunes or losses threaten: those that are `named` and, `by_place`, those that have no place
    /// in a pack that stays.
    async fn endangered(
        &self,
        excluded: &Excluded,
        named: &FrameSet,
        by_place: bool,
        progress: &Arc<dyn Progress>,
    ) -> Result<BTreeMap<RunId, BTreeSet<FrameName>>, VaultError> {
        let group = GroupView::from(&self.key.group);
        let placed = if by_place {
            let known = ContentsCache::new(self.repository, &group, self.cache, progress);
            Some(known.placed(excluded).await?)
        } else {
            None
        };
        let is_endangered = |name: &FrameName| {
            named.contains(*name) || placed.as_ref().is_some_and(|placed| !placed.contains(*name))
        };
        let of_run = self.needed.iter().map(|(run, frames)| {
            let names = frames.keys().map(|ordinal| run.frame(*ordinal));
            (*run, names.filter(is_endangered).collect::<BTreeSet<FrameName>>())
        });
        Ok(of_run.filter(|(_, endangered)| !endangered.is_empty()).collect())
    }

    /// Moves needed frames to packs of this run's own.
    async fn rescue(&self, endangered: BTreeMap<RunId, BTreeSet<FrameName>>) -> Result<(), VaultError> {
        let group = GroupView::from(&self.key.group);
        let (mut moves, mut trailers) = (Moves::new(), Trailers::default());
        for (run, endangered) in &endangered {
            let is_wanted = |ordinal| endangered.contains(&run.frame(ordinal));
            let of_run = self.repository.stated_places(&group, *run, is_wanted).await?;
            let registrant = self.registrant(&group, *run).await?;
            for name in endangered {
                let stated = of_run.get(name).map_or(&[][..], Vec::as_slice);
                let standing = |signer| self.repository.roster.standing(signer, group.id);
                let by_trust = by_trust(stated, |signer| trust(signer, standing(signer), registrant));
                let whole = self.whole_places(&group, *name, by_trust, &mut trailers).await?;
                if whole.is_empty() {
                    return Err(gone(frame(*name)));
                }
                for place in whole {
                    moves.entry(place.pack).or_default().push((*name, place));
                }
            }
        }
        let moved = self.repository.move_frames(&group, &moves, Some(self.wrapped)).await?;
        let packs = moved.map_err(|error| gone(error.to_string()))?;
        self.repository.write_locations(&group, self.key.pen(), &index::locations_of(&packs)).await
    }
}

/// Whether a run took so long that a prune may have considered it dead before its part was stored.
pub(crate) fn is_past_lease(registered: Timestamp, part_stored: Timestamp) -> bool {
    part_stored.duration_since(registered) > LEASE
}

/// Whether a manifest was stored so long after its part that what it needs may have been deleted in between.
pub(crate) fn is_late(part_stored: Timestamp, manifest_stored: Timestamp) -> bool {
    manifest_stored.duration_since(part_stored) > MARGIN
}

fn frame(name: FrameName) -> String {
    format!("frame {} of run {}", name.ordinal, name.run)
}

fn gone(evidence: String) -> VaultError {
    VaultError::PrunedUnderWay { evidence }
}
