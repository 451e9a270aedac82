//! Decides what happens to the index: locations and contents objects, registrations and losses.

use std::collections::BTreeMap;

use futures::future::join_all;
use lifeboat_core::Sha256Digest;
use roaring::RoaringBitmap;

use super::homes::Claims;
use super::plan::{FoundLocations, GroupPlan, ListedPacks, Planner};
use super::runs::Runs;
use crate::error::VaultError;
use crate::format::authority::{Belief, Word};
use crate::format::condemnation::Loss;
use crate::format::frame_set::FrameSet;
use crate::format::index::{
    CONTENTS_CHUNKS, Contents, FrameContents, FramePlace, LOCATIONS_FRAMES, RunContents, split_contents,
};
use crate::format::layout;
use crate::ids::{FrameName, RunId};
use crate::repository::batch::batches;
use crate::repository::objects::hash_of;
use crate::snapshots::trusted_contents::TrustedContents;

/// If a run has more locations objects than this, they are merged; so are contents objects of this signer.
const MANY_LOCATIONS: usize = 4;
const MANY_CONTENTS: usize = 64;

impl Planner<'_> {
    /// Locations that name packs to be deleted are rewritten, as are those of a run that has many. If a run has
    /// disputed frames, none of its locations is deleted: the places of moved frames are written beside them.
    pub(super) fn settle_locations(
        &mut self,
        runs: &Runs,
        claims: &Claims,
        packs: &ListedPacks,
        locations: Vec<FoundLocations>,
    ) {
        let goes = |pack: &&Sha256Digest| self.plan.dead.contains(&layout::pack(self.group.id, pack));
        let going: RoaringBitmap = packs.all().filter(goes).filter_map(|pack| packs.number(pack)).collect();
        let mut homes: BTreeMap<RunId, Vec<(FrameName, FramePlace)>> = BTreeMap::new();
        for (name, place) in &self.plan.homes.places {
            homes.entry(name.run).or_default().push((*name, *place));
        }
        let mut by_run: BTreeMap<RunId, Vec<FoundLocations>> = BTreeMap::new();
        for found in locations {
            by_run.entry(found.run).or_default().push(found);
        }
        for (run, objects) in by_run {
            if runs.under_way.contains(&run) {
                continue;
            }
            let homes = homes.get(&run).map_or(&[][..], Vec::as_slice);
            // New objects here get a keeper's signature, which must not vouch for a doubtful claim.
            if self.plan.homes.disputed.has_run(run) || self.plan.homes.strangers.has_run(run) {
                let moved = self.plan.moves.values().flatten().map(|(name, _)| *name);
                let of_run: Vec<_> = moved.filter(|name| name.run == run).collect();
                for name in of_run {
                    self.plan.added.insert(name);
                }
                continue;
            }
            let (condemned, standing): (Vec<_>, Vec<_>) =
                objects.into_iter().partition(|found| found.is_condemned);
            let names_only_what_stays = standing.iter().all(|found| found.packs.is_disjoint(&going));
            let tells_all = homes.iter().all(|(name, home)| claims.is_told(*name, home));
            let are_few = standing.len() <= MANY_LOCATIONS + homes.len() / LOCATIONS_FRAMES;
            let is_fine = names_only_what_stays && tells_all && are_few;
            self.plan.dead.extend(condemned.into_iter().map(|found| found.key));
            if !is_fine || homes.is_empty() {
                self.plan.dead.extend(standing.into_iter().map(|found| found.key));
                if !homes.is_empty() {
                    self.plan.relocated.insert(run);
                }
            }
        }
    }

    /// Contents objects that list no needed frame are deleted. This signer's own are rewritten if they also list
    /// unneeded frames, or if there are many. Those of others keep their original signatures: a writer's statement must
    /// not outlive the trust in the writer under a keeper's signature.
    pub(super) async fn settle_contents(&mut self, runs: &Runs) -> Result<(), VaultError> {
        let mut trusted = TrustedContents::new(self.repository, self.group);
        let is_live = |plan: &GroupPlan, name: FrameName| {
            plan.live.contains(name) || runs.under_way.contains(&name.run)
        };
        let mut own: Vec<(bool, String)> = Vec::new();
        let entries: Vec<_> = self.below(&layout::contents(self.group.id)).collect();
        for batch in batches(entries, |(_, entry)| entry.size) {
            let read = batch
                .iter()
                .map(|(key, _)| self.repository.read_signed::<Contents>(key, self.group, Word::ChunksToKeep));
            for (read, (key, _)) in join_all(read).await.into_iter().zip(&batch) {
                let (signer, contents) = match read? {
                    Ok(read) => read,
                    Err(error) => {
                        self.plan.warnings.push(error.to_string());
                        continue;
                    }
                };
                let hash = hash_of(key).ok_or(VaultError::Internal("it was read by its hash"))?;
                let mut names = contents.names();
                if !trusted.is(signer, &hash).await? {
                    self.plan.dead.insert((*key).clone());
                } else if signer == self.signer {
                    let is_clean = names.all(|name| is_live(&self.plan, name));
                    own.push((is_clean && !self.condemned.contains(key.as_str()), (*key).clone()));
                } else if !names.any(|name| is_live(&self.plan, name)) {
                    self.plan.dead.insert((*key).clone());
                }
            }
        }
        let are_many = own.len() > MANY_CONTENTS;
        self.rewrite_contents(own, are_many, |plan, name| is_live(plan, name)).await
    }

    /// Rewrites this signer's own contents objects without what is unneeded.
    async fn rewrite_contents(
        &mut self,
        own: Vec<(bool, String)>,
        are_many: bool,
        is_live: impl Fn(&GroupPlan, FrameName) -> bool,
    ) -> Result<(), VaultError> {
        let (clean, others): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|(is_clean, _)| *is_clean && !are_many);
        let mut covered = FrameSet::default();
        let mut carried: BTreeMap<(RunId, [u8; 32]), Vec<FrameContents>> = BTreeMap::new();
        for (is_kept, key) in clean
            .into_iter()
            .map(|(_, key)| (true, key))
            .chain(others.into_iter().map(|(_, key)| (false, key)))
        {
            let contents =
                match self.repository.read_signed::<Contents>(&key, self.group, Word::ChunksToKeep).await? {
                    Ok((_, contents)) => contents,
                    Err(error) => {
                        self.plan.warnings.push(error.to_string());
                        continue;
                    }
                };
            let adds = contents.names().any(|name| is_live(&self.plan, name) && !covered.contains(name));
            if is_kept && adds {
                contents.names().for_each(|name| {
                    covered.insert(name);
                });
                continue;
            }
            self.plan.dead.insert(key);
            for RunContents { run, frames, commitment } in contents.runs {
                for frame in frames {
                    let name = run.frame(frame.ordinal);
                    if is_live(&self.plan, name) && covered.insert(name) {
                        carried.entry((run, commitment)).or_default().push(frame);
                    }
                }
            }
        }
        let carried =
            carried.into_iter().map(|((run, commitment), frames)| RunContents { run, frames, commitment });
        self.plan.new_contents = split_contents(carried, CONTENTS_CHUNKS);
        Ok(())
    }

    /// Registrations and marks of runs of which nothing is needed are deleted, and so are losses of frames that nothing
    /// needs.
    pub(super) async fn settle_the_rest(&mut self, runs: &Runs) -> Result<(), VaultError> {
        for (key, _) in self.below(&layout::runs(self.group.id)) {
            let run = layout::run_of(key);
            if run.is_some_and(|run| !runs.under_way.contains(&run) && !self.plan.live.has_run(run)) {
                self.plan.dead.insert(key.clone());
            }
        }
        for (key, _) in self.below(&layout::losses(self.group.id)) {
            match self.repository.read_known::<Loss>(key, self.group, Word::LostToRuns).await? {
                Ok((Belief::No, _)) => {
                    self.plan.dead.insert(key.clone());
                }
                Ok((_, loss)) => {
                    let mut lost = FrameSet::default();
                    lost.add_records(&loss.frames);
                    if !lost.meets(&self.plan.live) {
                        self.plan.dead.insert(key.clone());
                    }
                }
                Err(error) => self.plan.warnings.push(error.to_string()),
            }
        }
        Ok(())
    }
}
