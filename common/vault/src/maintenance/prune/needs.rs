//! What a group's snapshots and parts need, and which of these objects are unneeded. [`Needs`] decides that from facts
//! about each; [`Planner::read_needs`] reads the facts.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::plan::{Planner, not_whole};
use super::runs::{Runs, is_old};
use crate::error::VaultError;
use crate::format::frame_set::FrameSet;
use crate::format::layout;
use crate::ids::{RunId, WriterId};
use crate::snapshots::history::{History, Recorded};

/// A snapshot that was forgotten, or does not count.
#[derive(Debug, Clone)]
pub(super) struct LeftSnapshot {
    /// Who signed its manifest.
    pub(super) writer: WriterId,
    /// The names of its manifest and of the countersignatures beside it.
    pub(super) objects: Vec<String>,
    /// The name of its part and the run that made it, if the part is this writer's and can be read.
    pub(super) part: Option<(String, RunId)>,
}

/// A part that no manifest names: of a run that was killed just before its end, or that is about to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnnamedPart<'a> {
    pub(super) key: &'a str,
    /// When it was stored, by the storage's clock.
    pub(super) stored: Timestamp,
    /// Whether its run marked its end: then no manifest follows.
    pub(super) has_end: bool,
}

/// What the snapshots and parts of a group need, and which of these objects are unneeded.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The frames that are needed.
    pub(super) live: FrameSet,
    /// The names of manifests, countersignatures and parts that are unneeded.
    pub(super) dead: BTreeSet<String>,
    /// Those of them that show that a run is over: they are not deleted yet.
    pub(super) evidence: BTreeSet<String>,
    /// For each run, the writers whose snapshots call it their own, kept or not.
    pub(super) made_snapshots: HashMap<RunId, HashSet<WriterId>>,
    /// The parts that the added manifests name.
    named_parts: HashSet<String>,
    /// Those of them that are named by a snapshot that counts.
    kept_parts: HashSet<String>,
    /// The snapshots that do not count, until it is decided which of them are unneeded.
    left: Vec<LeftSnapshot>,
}

impl Needs {
    /// Adds a snapshot that counts, the part that its manifest names, and the frames that it needs.
    pub(super) fn keep(&mut self, writer: WriterId, part: String, run: RunId, needed: &FrameSet) {
        self.made_snapshots.entry(run).or_default().insert(writer);
        self.named_parts.insert(part.clone());
        self.kept_parts.insert(part);
        self.live.extend(needed);
    }

    /// Adds a snapshot that does not count.
    pub(super) fn leave(&mut self, snapshot: LeftSnapshot) {
        if let Some((part, run)) = &snapshot.part {
            self.made_snapshots.entry(*run).or_default().insert(snapshot.writer);
            self.named_parts.insert(part.clone());
        }
        self.left.push(snapshot);
    }

    /// Whether one of the added manifests names a part.
    pub(super) fn names_part(&self, key: &str) -> bool {
        self.named_parts.contains(key)
    }

    /// Adds a part that no manifest names. The frames that it needs stay until a lease after it was stored: by then,
    /// its run has checked for the last time or will check again.
    pub(super) fn add_unnamed(&mut self, part: UnnamedPart<'_>, needed: &FrameSet, now: Timestamp) {
        if part.has_end || is_old(part.stored, now) {
            self.dead.insert(part.key.to_owned());
        } else {
            self.live.extend(needed);
        }
    }

    /// Decides what is unneeded, after everything was added. `registered` gives the time at which a run was registered.
    ///
    /// A forgotten snapshot shows that its run is over. It is not deleted while the run would look under way without
    /// it: while the run's registration is young, and stays because something needs a frame of the run. Nor is the
    /// snapshot condemned if the `grace` would end before that.
    pub(super) fn settle(
        &mut self,
        registered: impl Fn(RunId) -> Option<Timestamp>,
        now: Timestamp,
        grace: SignedDuration,
    ) {
        let due = now.checked_add(grace).unwrap_or(Timestamp::MAX);
        let live = &self.live;
        let is_evidence = |snapshot: &LeftSnapshot, time: Timestamp| {
            let is_young = |run| registered(run).is_some_and(|at| !is_old(at, time));
            snapshot.part.as_ref().is_some_and(|(_, run)| is_young(*run) && live.has_run(*run))
        };
        let left = std::mem::take(&mut self.left).into_iter();
        let (kept, left): (Vec<_>, Vec<_>) = left.partition(|snapshot| is_evidence(snapshot, due));
        self.kept_parts.extend(kept.into_iter().filter_map(|snapshot| snapshot.part).map(|(part, _)| part));
        for snapshot in left {
            let stays_for_now = is_evidence(&snapshot, now);
            let LeftSnapshot { mut objects, part, .. } = snapshot;
            objects.extend(part.map(|(part, _)| part).filter(|part| !self.kept_parts.contains(part)));
            if stays_for_now {
                self.evidence.extend(objects.iter().cloned());
            }
            self.dead.extend(objects);
        }
    }
}

impl Planner<'_> {
    /// Reads the parts of the group, and what is known of its runs.
    pub(super) async fn read_needs(&mut self, history: &History) -> Result<(Needs, Runs), VaultError> {
        let mut needs = Needs::default();
        let mut runs = Runs::of(self.group, self.listing);
        for recorded in history.snapshots.iter().filter(|recorded| recorded.group == self.group.id) {
            if recorded.is_live() {
                self.read_kept(recorded, &mut needs).await?;
            } else {
                needs.leave(self.read_left(recorded).await?);
            }
        }
        let (group, listing) = (self.group.id, self.listing);
        let registered = |run| listing.get(&layout::run(group, run)).map(|entry| entry.modified);
        self.read_unnamed_parts(&mut needs, &mut runs).await?;
        needs.settle(registered, self.now, self.grace);
        needs.dead.retain(|key| listing.contains_key(key));
        runs.find_under_way(self.repository, self.group, listing, &needs.made_snapshots, self.now).await?;
        Ok((needs, runs))
    }

    async fn read_kept(&mut self, recorded: &Recorded, needs: &mut Needs) -> Result<(), VaultError> {
        // An unreadable manifest holds back the whole group already.
        let Ok(manifest) = &recorded.manifest else { return Ok(()) };
        let key = layout::part(self.group.id, &manifest.part);
        match self.repository.part(manifest, self.group).await? {
            Ok(part) => needs.keep(recorded.writer, key, part.run, &part.needed_frames()),
            Err(error) => match self.repository.unnamed_part(&key, self.group).await? {
                // The part is whole, and another writer's: whatever is kept, this manifest restores nothing.
                Ok(_) => {
                    let manifest = layout::snapshot(recorded.writer, recorded.sequence);
                    self.plan.warnings.push(format!("`{manifest}` names a part of another writer: {error}"));
                }
                Err(_) => return Err(not_whole(&error)),
            },
        }
        Ok(())
    }

    async fn read_left(&self, recorded: &Recorded) -> Result<LeftSnapshot, VaultError> {
        let key = layout::snapshot(recorded.writer, recorded.sequence);
        let mut objects: Vec<String> =
            self.below(&format!("{key}.sig")).map(|(key, _)| key.clone()).collect();
        objects.push(key);
        let mut left = LeftSnapshot { writer: recorded.writer, objects, part: None };
        // A part that another writer signed is not this snapshot's, whatever its manifest names.
        if let Ok(manifest) = &recorded.manifest
            && let Ok(part) = self.repository.part(manifest, self.group).await?
        {
            left.part = Some((layout::part(self.group.id, &manifest.part), part.run));
        }
        Ok(left)
    }

    async fn read_unnamed_parts(&mut self, needs: &mut Needs, runs: &mut Runs) -> Result<(), VaultError> {
        for (key, entry) in self.below(&layout::parts(self.group.id)) {
            if needs.names_part(key) {
                continue;
            }
            let mut unnamed = UnnamedPart { key, stored: entry.modified, has_end: false };
            if is_old(entry.modified, self.now) {
                needs.add_unnamed(unnamed, &FrameSet::default(), self.now);
                continue;
            }
            match self.repository.unnamed_part(key, self.group).await? {
                Ok(part) => {
                    let run = runs.facts(self.repository, self.group, self.listing, part.run).await?;
                    unnamed.has_end = run.has_end;
                    needs.add_unnamed(unnamed, &part.needed_frames(), self.now);
                }
                Err(error) => self.plan.warnings.push(error.to_string()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
