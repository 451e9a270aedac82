//! Which runs are over and which may still be under way. A run is over when its own writer's snapshot names it: another
//! writer's word ends nobody's run.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::plan::is_old;
use super::{Listing, RunsUnderWay, below};
use crate::error::VaultError;
use crate::format::authority::Word;
use crate::format::layout;
use crate::ids::{RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::repository::open::Repository;

/// The runs of a group by what is known of their end.
#[derive(Default)]
pub(super) struct Runs {
    /// Runs that a snapshot calls its own, kept or forgotten, and the writers who signed these snapshots.
    made_snapshots: HashMap<RunId, HashSet<WriterId>>,
    /// Registered less than a lease ago by someone who may register runs today, and not over.
    pub(super) under_way: HashSet<RunId>,
    /// The same, by who registered them.
    pub(super) found_under_way: BTreeMap<Option<Signer>, RunsUnderWay>,
    registrants: BTreeMap<RunId, Option<Signer>>,
    /// Runs of which a mark is listed, and whether it counts, where that was looked at.
    marks: HashMap<RunId, Option<bool>>,
}

impl Runs {
    /// Notes of which runs there are marks that they are over.
    pub(super) fn note_marks(&mut self, group: &GroupView, listing: &Listing) {
        let of_runs = below(listing, &layout::runs(group.id)).map(|(key, _)| key);
        let marks = of_runs.filter(|key| layout::is_run_end(key)).filter_map(|key| layout::run_of(key));
        self.marks = marks.map(|run| (run, None)).collect();
    }

    /// Notes that a snapshot of `writer` calls `run` its own.
    pub(super) fn note_snapshot(&mut self, run: RunId, writer: WriterId) {
        self.made_snapshots.entry(run).or_default().insert(writer);
    }

    /// Finds the runs under way: the registrations that are younger than a lease.
    pub(super) async fn find_under_way(
        &mut self,
        repository: &Repository,
        group: &GroupView,
        listing: &Listing,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        for (key, entry) in below(listing, &layout::runs(group.id)) {
            let Some(run) = layout::run_of(key).filter(|_| !layout::is_run_end(key)) else { continue };
            if is_old(entry, now) || self.is_over(repository, group, run).await? {
                continue;
            }
            match repository.registration(group, run, Word::RunUnderWay).await? {
                Ok((signer, _)) => self.note_under_way(run, Some(signer), entry.modified),
                // Damaged, it may still be of a run that goes on; by someone who may not, it is of none.
                Err(_) if self.registrant(repository, group, run).await?.is_none() => {
                    self.note_under_way(run, None, entry.modified);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn note_under_way(&mut self, run: RunId, registrant: Option<Signer>, since: Timestamp) {
        self.under_way.insert(run);
        let found = self.found_under_way.entry(registrant).or_insert(RunsUnderWay {
            signer: registrant,
            runs: 0,
            since,
        });
        found.runs += 1;
        found.since = found.since.min(since);
    }

    /// Whether the run's own writer has committed or forgotten its snapshot, or marked its end, as far as its registration
    /// says who that is.
    pub(super) async fn is_over(
        &mut self,
        repository: &Repository,
        group: &GroupView,
        run: RunId,
    ) -> Result<bool, VaultError> {
        if self.has_ended(repository, group, run).await? {
            return Ok(true);
        }
        let Some(writers) = self.made_snapshots.get(&run).cloned() else { return Ok(false) };
        Ok(match self.registrant(repository, group, run).await? {
            Some(Signer::Writer(writer)) => writers.contains(&writer),
            // A repair registered it again, so it was missing: a run that is under way has its registration.
            Some(Signer::Keeper(_) | Signer::Root) => true,
            None => false,
        })
    }

    /// Whether its registrant marked the run's end.
    pub(super) async fn has_ended(
        &mut self,
        repository: &Repository,
        group: &GroupView,
        run: RunId,
    ) -> Result<bool, VaultError> {
        let known = match self.marks.get(&run) {
            None => return Ok(false),
            Some(known) => *known,
        };
        if let Some(counts) = known {
            return Ok(counts);
        }
        let counts = match self.registrant(repository, group, run).await? {
            Some(registrant) => repository.has_ended(group, run, registrant).await?,
            None => false,
        };
        self.marks.insert(run, Some(counts));
        Ok(counts)
    }

    /// Who registered these runs, as far as their registrations are whole.
    pub(super) async fn registrants(
        &mut self,
        repository: &Repository,
        group: &GroupView,
        runs: impl IntoIterator<Item = RunId>,
    ) -> Result<HashMap<RunId, Signer>, VaultError> {
        let mut found = HashMap::new();
        for run in runs {
            if let Some(signer) = self.registrant(repository, group, run).await? {
                found.insert(run, signer);
            }
        }
        Ok(found)
    }

    /// Who registered a run; `None` where its registration is missing or damaged.
    async fn registrant(
        &mut self,
        repository: &Repository,
        group: &GroupView,
        run: RunId,
    ) -> Result<Option<Signer>, VaultError> {
        if let Some(known) = self.registrants.get(&run) {
            return Ok(*known);
        }
        let registration = repository.registration(group, run, Word::RunKey).await?;
        let registrant = registration.ok().map(|(signer, _)| signer);
        self.registrants.insert(run, registrant);
        Ok(registrant)
    }
}
