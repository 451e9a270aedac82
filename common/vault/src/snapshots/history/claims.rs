//! Compares the claims of writers about each other with what exists. Reads nothing.
//!
//! A claim is evidence against two writers: either the snapshot that it names is withheld or replaced, or the claimant
//! lies. So it is reported with the claimant's name, and stops deletion in the group of the writer that it is about. It
//! stops no restore and no listing: otherwise one compromised host could block the restores of all others. A claim that
//! the other writer disproves, by a later snapshot with a lower number, counts only against the claimant. Removing the
//! claimant with a `--last` before the claim ends it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use super::chain::Requests;
use super::{Evidence, Problem, Recorded, Standing};
use crate::error::VaultError;
use crate::format::manifest::Seen;
use crate::format::roster::{Roster, Writer};
use crate::ids::{GroupId, WriterId};

/// How many different claimed snapshots are remembered for one place: two already contradict each other.
const MOST_IN_A_PLACE: usize = 4;

/// One writer's claim about a snapshot of another.
#[derive(Debug, Clone, Copy)]
struct Claim {
    claimant: WriterId,
    group: GroupId,
    sequence: u64,
    snapshot: Sha256Digest,
    /// When the claim was stored.
    stored: Timestamp,
}

/// All claims of a history, as far as they can be compared with anything. Their memory is bounded by the existing
/// snapshots and the writers, whatever manifests claim.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The known places: those with a manifest or a request, or right after one.
    known: HashMap<WriterId, BTreeSet<u64>>,
    /// The claims about those places.
    places: HashMap<(WriterId, u64), Vec<Claim>>,
    /// By writer and claimant, the highest claim about a place beyond all known ones.
    beyond: HashMap<(WriterId, WriterId), Claim>,
}

impl Claims {
    /// Adds a listed manifest or request of `writer`.
    pub(super) fn know(&mut self, writer: WriterId, sequence: u64) {
        let known = self.known.entry(writer).or_default();
        known.insert(sequence);
        known.extend(sequence.checked_sub(1));
    }

    /// Adds the claims in a manifest of `claimant`. All places must have been added before.
    pub(super) fn add(&mut self, claimant: &Writer, stored: Timestamp, seen: &[Seen]) {
        for seen in seen {
            let claim = Claim {
                claimant: claimant.id,
                group: claimant.group,
                sequence: seen.sequence,
                snapshot: seen.snapshot,
                stored,
            };
            let known = self.known.get(&seen.writer);
            if known.is_some_and(|known| known.contains(&seen.sequence)) {
                let claims = self.places.entry((seen.writer, seen.sequence)).or_default();
                let is_new = claims.iter().all(|claim| claim.snapshot != seen.snapshot);
                if is_new && claims.len() < MOST_IN_A_PLACE {
                    claims.push(claim);
                }
            } else if known.and_then(BTreeSet::last).is_none_or(|last| *last < seen.sequence) {
                let highest = self.beyond.entry((seen.writer, claimant.id)).or_insert(claim);
                if highest.sequence < claim.sequence {
                    *highest = claim;
                }
            }
        }
    }

    /// Compares the claims with what exists. Returns one problem for each claimant, writer and kind.
    pub(super) fn judge(
        &self,
        roster: &Roster,
        snapshots: &[Recorded],
        requests: &BTreeMap<WriterId, Requests>,
    ) -> Vec<Problem> {
        let there = There::new(snapshots, requests);
        let mut found: BTreeMap<(WriterId, WriterId, bool), Problem> = BTreeMap::new();
        // The first of several places is the most informative.
        let in_order: BTreeMap<_, _> = self.places.iter().collect();
        for (&(about, _), claims) in in_order {
            let Some(writer) = roster.writer(about) else { continue };
            for claim in claims {
                if let Some(problem) = there.replaced(writer, claim) {
                    found.entry((about, claim.claimant, false)).or_insert(problem);
                }
            }
        }
        for ((about, claimant), claim) in &self.beyond {
            // For a removed writer, only what counts can be missing, and the roster states the last of these.
            let Some(writer) = roster.writer(*about).filter(|writer| writer.revoked.is_none()) else {
                continue;
            };
            found.insert((*about, *claimant, true), there.missing(writer, claim));
        }
        found.into_values().collect()
    }
}

/// What exists, to compare claims with.
struct There<'a> {
    recorded: HashMap<(WriterId, u64), &'a Recorded>,
    requests: &'a BTreeMap<WriterId, Requests>,
    /// The newest readable manifest of each writer.
    newest: HashMap<WriterId, &'a Recorded>,
}

impl<'a> There<'a> {
    fn new(snapshots: &'a [Recorded], requests: &'a BTreeMap<WriterId, Requests>) -> Self {
        let counting = || snapshots.iter().filter(|recorded| recorded.standing != Standing::Revoked);
        let readable = counting().filter(|recorded| recorded.manifest.is_ok());
        Self {
            recorded: counting().map(|recorded| ((recorded.writer, recorded.sequence), recorded)).collect(),
            requests,
            newest: readable.map(|recorded| (recorded.writer, recorded)).collect(),
        }
    }

    /// The id of the snapshot at a place, from its manifest, from the request to forget it, or from the manifest after
    /// it; `None` if none of them has it.
    fn id_at(&self, writer: WriterId, sequence: u64) -> Option<Sha256Digest> {
        let manifest =
            |sequence| self.recorded.get(&(writer, sequence)).and_then(|r| r.manifest.as_ref().ok());
        if let Some(manifest) = manifest(sequence) {
            return Some(manifest.id);
        }
        let request = self.requests.get(&writer).and_then(|requests| requests.get(&sequence));
        match request.and_then(|found| found.request.as_ref()) {
            Some(request) => request.snapshot,
            None => manifest(sequence.checked_add(1)?)?.predicate.previous,
        }
    }

    fn replaced(&self, writer: &Writer, claim: &Claim) -> Option<Problem> {
        let found = self.id_at(writer.id, claim.sequence).filter(|found| *found != claim.snapshot)?;
        let error = VaultError::Contradicted {
            claimant: claim.claimant,
            writer: writer.id,
            sequence: claim.sequence,
            claimed: claim.snapshot,
            found,
        };
        Some(Problem { writer: writer.id, group: writer.group, evidence: Evidence::Claim, error })
    }

    fn missing(&self, writer: &Writer, claim: &Claim) -> Problem {
        if let Some(newest) = self.newest.get(&writer.id).filter(|newest| newest.stored > claim.stored) {
            let error = VaultError::Disproved {
                claimant: claim.claimant,
                writer: writer.id,
                claimed: claim.sequence,
                found: newest.sequence,
            };
            return Problem { writer: claim.claimant, group: claim.group, evidence: Evidence::Own, error };
        }
        let of = |(of, sequence): &(WriterId, u64)| (*of == writer.id).then_some(*sequence);
        let requested =
            self.requests.get(&writer.id).and_then(|requests| requests.keys().next_back().copied());
        let known = self.recorded.keys().filter_map(of).max().max(requested);
        let error = VaultError::Claimed {
            claimant: claim.claimant,
            writer: writer.id,
            first: known.map_or(0, |known| known + 1),
            last: claim.sequence,
        };
        Problem { writer: writer.id, group: writer.group, evidence: Evidence::Claim, error }
    }
}
