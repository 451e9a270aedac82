//! Which runs are over and which may still be under way. A run is over when a snapshot of its own writer names it, or
//! when its registrant marked its end; no other writer can end it.
//!
//! [`RunFacts::state`] decides; [`Runs`] reads the facts.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::{Listing, RunsUnderWay, below};
use crate::error::VaultError;
use crate::format::authority::{Belief, Word, belief};
use crate::format::condemnation::LEASE;
use crate::format::layout;
use crate::ids::{RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::repository::open::Repository;

/// What is known of a run, apart from the frames that it stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunFacts {
    /// When its registration was stored, by the storage's clock; absent where none is listed.
    pub(super) registered: Option<Timestamp>,
    /// Who registered it; absent where the registration is missing or damaged.
    pub(super) registrant: Option<Signer>,
    /// Whether the registrant may have runs under way today.
    pub(super) may_run: bool,
    /// Whether the registrant marked its end.
    pub(super) has_end: bool,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunState {
    /// Its writer committed or forgot its snapshot, or marked its end.
    Over,
    /// It was registered less than a lease ago, by this signer; a damaged registration does not say by whom.
    UnderWay(Option<Signer>),
    /// No snapshot of it can follow, whether it ended or not: its lease is over, or its registrant was removed.
    Lapsed,
}

impl RunFacts {
    /// The state of the run, given the writers whose snapshots, kept or forgotten, call it their own.
    pub(super) fn state(&self, made_snapshots: Option<&HashSet<WriterId>>, now: Timestamp) -> RunState {
        let has_snapshot = match (self.registrant, made_snapshots) {
            (Some(Signer::Writer(writer)), Some(writers)) => writers.contains(&writer),
            // A repair registered it again, so its registration was missing: a run that is under way has one.
            (Some(Signer::Keeper(_) | Signer::Root), Some(_)) => true,
            (None, _) | (_, None) => false,
        };
        if has_snapshot || self.has_end {
            return RunState::Over;
        }
        match (self.registered, self.registrant) {
            (Some(at), _) if is_old(at, now) => RunState::Lapsed,
            // The damaged registration may be of a run that goes on.
            (Some(_), None) => RunState::UnderWay(None),
            (Some(_), Some(registrant)) if self.may_run => RunState::UnderWay(Some(registrant)),
            (Some(_), Some(_)) | (None, _) => RunState::Lapsed,
        }
    }
}

/// Whether something was stored a lease ago or longer.
pub(super) fn is_old(stored: Timestamp, now: Timestamp) -> bool {
    now.duration_since(stored) >= LEASE
}

/// The runs of a group, as far as something was asked about them.
#[derive(Default)]
pub(super) struct Runs {
    /// Runs whose end is listed, whether it counts or not.
    marked: HashSet<RunId>,
    facts: HashMap<RunId, RunFacts>,
    /// The runs under way.
    pub(super) under_way: HashSet<RunId>,
    /// The same, by who registered them.
    pub(super) found_under_way: BTreeMap<Option<Signer>, RunsUnderWay>,
}

impl Runs {
    /// The runs of a group, before anything is read of them.
    pub(super) fn of(group: &GroupView, listing: &Listing) -> Self {
        let keys = below(listing, &layout::runs(group.id)).map(|(key, _)| key);
        let ends = keys.filter(|key| layout::is_run_end(key));
        Self { marked: ends.filter_map(|key| layout::run_of(key)).collect(), ..Self::default() }
    }

    /// What is known of a run, which is read only once.
    pub(super) async fn facts(
        &mut self,
        repository: &Repository,
        group: &GroupView,
        listing: &Listing,
        run: RunId,
    ) -> Result<RunFacts, VaultError> {
        if let Some(known) = self.facts.get(&run) {
            return Ok(*known);
        }
        let registration = repository.registration(group, run, Word::RunKey).await?;
        let registrant = registration.ok().map(|(signer, _)| signer);
        let may_run = registrant.is_some_and(|signer| {
            belief(Word::RunUnderWay, signer, repository.roster.standing(signer, group.id)) == Belief::Yes
        });
        let has_end = match registrant.filter(|_| self.marked.contains(&run)) {
            Some(registrant) => repository.has_ended(group, run, registrant).await?,
            None => false,
        };
        let registered = listing.get(&layout::run(group.id, run)).map(|entry| entry.modified);
        let facts = RunFacts { registered, registrant, may_run, has_end };
        self.facts.insert(run, facts);
        Ok(facts)
    }

    /// Finds the runs under way among the registrations that are younger than a lease.
    pub(super) async fn find_under_way(
        &mut self,
        repository: &Repository,
        group: &GroupView,
        listing: &Listing,
        made_snapshots: &HashMap<RunId, HashSet<WriterId>>,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        for (key, entry) in below(listing, &layout::runs(group.id)) {
            let Some(run) = layout::run_of(key).filter(|_| !layout::is_run_end(key)) else { continue };
            if is_old(entry.modified, now) {
                continue;
            }
            let facts = self.facts(repository, group, listing, run).await?;
            if let RunState::UnderWay(registrant) = facts.state(made_snapshots.get(&run), now) {
                self.note_under_way(run, registrant, entry.modified);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeeperId;

    #[test]
    fn a_run_is_over_by_its_own_writers_word_and_lapses_with_its_lease() {
        use RunState::{Lapsed, Over, UnderWay};
        let (own, other) = (WriterId::from_bytes([1; 16]), WriterId::from_bytes([2; 16]));
        let (writer, keeper) = (Signer::Writer(own), Signer::Keeper(KeeperId::from_bytes([3; 16])));
        let now = Timestamp::from_second(100 * 24 * 60 * 60).unwrap();
        let days_ago = |days: i64| Some(now - LEASE / 7 * i32::try_from(days).unwrap());
        let (young, old) = (days_ago(6), days_ago(7));
        // registered, registrant, may run, has an end, writers of snapshots that call it theirs
        let rows: &[(_, _, _, _, &[WriterId], _)] = &[
            (young, Some(writer), true, false, &[], UnderWay(Some(writer))),
            (old, Some(writer), true, false, &[], Lapsed),
            (young, Some(writer), true, false, &[own], Over),
            (old, Some(writer), true, false, &[own], Over),
            (young, Some(writer), true, false, &[other], UnderWay(Some(writer))),
            (young, Some(writer), true, false, &[other, own], Over),
            (young, Some(writer), true, true, &[], Over),
            (young, Some(writer), false, false, &[], Lapsed),
            (young, Some(writer), false, false, &[own], Over),
            (young, Some(keeper), true, false, &[], UnderWay(Some(keeper))),
            (young, Some(keeper), true, false, &[other], Over),
            (young, Some(Signer::Root), true, false, &[own], Over),
            (young, None, false, false, &[], UnderWay(None)),
            (young, None, false, false, &[own], UnderWay(None)),
            (old, None, false, false, &[own], Lapsed),
            (None, None, false, false, &[own], Lapsed),
        ];
        for row in rows {
            let (registered, registrant, may_run, has_end, writers, expected) = *row;
            let facts = RunFacts { registered, registrant, may_run, has_end };
            let writers: HashSet<WriterId> = writers.iter().copied().collect();
            let made = (!writers.is_empty()).then_some(&writers);
            assert_eq!(facts.state(made, now), expected, "{facts:?} {writers:?}");
        }
    }
    #[test]
    fn runs_under_way_are_counted_by_who_registered_them_since_the_oldest() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (one, none) = (Some(Signer::Writer(WriterId::from_bytes([1; 16]))), None);
        let mut runs = Runs::default();
        for (run, signer, since) in [(1, one, 30), (2, none, 7), (3, one, 20), (4, one, 40)] {
            runs.note_under_way(RunId::from_bytes([run; 16]), signer, at(since));
        }
        let found: Vec<_> =
            runs.found_under_way.values().map(|found| (found.signer, found.runs, found.since)).collect();
        assert_eq!(found, [(none, 1, at(7)), (one, 3, at(20))]);
        assert_eq!(runs.under_way, (1..=4).map(|run| RunId::from_bytes([run; 16])).collect());
    }
}
