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
            } else if known.is_none_or(|known| known.range(seen.sequence..).next().is_none()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ObjectError;
    use crate::format::roster::Revocation;
    use crate::snapshots::history::made::{WRITER, asked, id, recorded, roster, writer};

    const CLAIMANT: WriterId = WriterId::from_bytes([8; 16]);
    const ANOTHER: WriterId = WriterId::from_bytes([9; 16]);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn other() -> Sha256Digest {
        Sha256Digest::of(b"other")
    }

    /// Who claims, when, which number, and which snapshot.
    type Row = (WriterId, i64, u64, Sha256Digest);

    fn problems(roster: &Roster, snapshots: &[Recorded], requests: Requests, rows: &[Row]) -> Vec<String> {
        let mut claims = Claims::default();
        for sequence in snapshots.iter().map(|recorded| recorded.sequence).chain(requests.keys().copied()) {
            claims.know(WRITER, sequence);
        }
        for &(claimant, stored, sequence, snapshot) in rows {
            claims.add(&writer(claimant), at(stored), &[Seen { writer: WRITER, sequence, snapshot }]);
        }
        let requests = BTreeMap::from([(WRITER, requests)]);
        let found = claims.judge(roster, snapshots, &requests).into_iter();
        found
            .map(|problem| {
                let name = |id| match id {
                    WRITER => "writer",
                    CLAIMANT => "claimant",
                    _ => "another",
                };
                let by = match (problem.evidence, name(problem.writer)) {
                    (Evidence::Claim, of) => format!("claim about {of}"),
                    (_, of) => format!("own of {of}"),
                };
                match problem.error {
                    VaultError::Contradicted { claimant, sequence, claimed, found, .. } => {
                        assert_ne!(claimed, found);
                        format!("{by}: {} contradicts {sequence}", name(claimant))
                    }
                    VaultError::Claimed { claimant, first, last, .. } => {
                        format!("{by}: {} claims {first}-{last}", name(claimant))
                    }
                    VaultError::Disproved { claimant, claimed, found, .. } => {
                        format!("{by}: {} claimed {claimed}, newest {found}", name(claimant))
                    }
                    error => panic!("{error}"),
                }
            })
            .collect()
    }

    fn ours() -> Roster {
        roster(vec![writer(WRITER), writer(CLAIMANT), writer(ANOTHER)])
    }

    /// Snapshots 0, 1 and 4 are there, and 4 names 3 as the one before it. 2 was asked to be forgotten.
    #[test]
    fn a_claim_is_compared_with_the_manifest_the_request_or_the_next_manifest() {
        let snapshots =
            [recorded(WRITER, 0, None), recorded(WRITER, 1, Some(id(0))), recorded(WRITER, 4, Some(id(3)))];
        let (named, unnamed) = (Some(id(2)), None);
        let rows: &[(Option<Sha256Digest>, u64, Sha256Digest, &[&str])] = &[
            (named, 1, id(1), &[]),
            (named, 1, other(), &["claim about writer: claimant contradicts 1"]),
            (named, 2, id(2), &[]),
            (named, 2, other(), &["claim about writer: claimant contradicts 2"]),
            (unnamed, 2, other(), &[]),
            (named, 3, id(3), &[]),
            (named, 3, other(), &["claim about writer: claimant contradicts 3"]),
            (named, 4, id(4), &[]),
            (named, 5, id(5), &["claim about writer: claimant claims 5-5"]),
            (named, 9, id(9), &["claim about writer: claimant claims 5-9"]),
        ];
        for (requests, sequence, claimed, expected) in rows {
            let requests = Requests::from([asked(2, *requests)]);
            let found = problems(&ours(), &snapshots, requests, &[(CLAIMANT, 0, *sequence, *claimed)]);
            assert_eq!(found, *expected, "{sequence} {claimed}");
        }
    }

    #[test]
    fn what_is_beyond_the_known_places_is_missing_unless_a_later_snapshot_disproves_it() {
        let mut newest = recorded(WRITER, 1, Some(id(0)));
        newest.stored = at(100);
        let snapshots = [recorded(WRITER, 0, None), newest];
        let mut unreadable = [recorded(WRITER, 0, None), recorded(WRITER, 1, None)];
        unreadable[1].stored = at(100);
        unreadable[1].manifest = Err(ObjectError::damaged("snapshots/1", "cut").into());
        let (none, later) = (None, Some(4));
        let rows: &[(&[Recorded], Option<u64>, i64, &str)] = &[
            (&snapshots, none, 99, "own of claimant: claimant claimed 7, newest 1"),
            (&snapshots, none, 100, "claim about writer: claimant claims 2-7"),
            (&snapshots, none, 101, "claim about writer: claimant claims 2-7"),
            (&snapshots, later, 101, "claim about writer: claimant claims 5-7"),
            (&unreadable, none, 99, "claim about writer: claimant claims 2-7"),
            (&[], none, 99, "claim about writer: claimant claims 0-7"),
        ];
        for (snapshots, asked_for, stored, expected) in rows {
            let requests = asked_for.map(|sequence| asked(sequence, None)).into_iter().collect();
            let found = problems(&ours(), snapshots, requests, &[(CLAIMANT, *stored, 7, id(7))]);
            assert_eq!(found, [*expected], "{stored}");
        }
    }

    /// A claim that was disproved is not renewed by repeating it.
    #[test]
    fn of_equal_claims_the_first_counts() {
        let mut newest = recorded(WRITER, 1, None);
        newest.stored = at(100);
        let rows = [(CLAIMANT, 99, 7, id(7)), (CLAIMANT, 101, 7, id(7))];
        let found = problems(&ours(), &[newest], Requests::new(), &rows);
        assert_eq!(found, ["own of claimant: claimant claimed 7, newest 1"]);
    }

    #[test]
    fn each_claimant_is_reported_once_for_each_kind() {
        let snapshots = [0, 1, 2].map(|sequence| recorded(WRITER, sequence, sequence.checked_sub(1).map(id)));
        let rows = [
            (CLAIMANT, 0, 2, other()),
            (CLAIMANT, 0, 1, other()),
            (ANOTHER, 0, 2, id(77)),
            (CLAIMANT, 0, 8, id(8)),
            (CLAIMANT, 0, 9, id(9)),
            (CLAIMANT, 0, 7, id(7)),
        ];
        let expected = [
            "claim about writer: claimant contradicts 1",
            "claim about writer: claimant claims 3-9",
            "claim about writer: another contradicts 2",
        ];
        assert_eq!(problems(&ours(), &snapshots, Requests::new(), &rows), expected);
    }

    #[test]
    fn few_claims_are_remembered_for_a_place_each_of_another_snapshot() {
        let snapshots = [recorded(WRITER, 0, None)];
        let of = |claimant: u8, snapshot: u64| (WriterId::from_bytes([claimant; 16]), 0, 0, id(snapshot));
        let many: Vec<Row> = (10..20).map(|number| of(number, number.into())).collect();
        assert_eq!(problems(&ours(), &snapshots, Requests::new(), &many).len(), MOST_IN_A_PLACE);
        let same: Vec<Row> = (10..20).map(|number| of(number, 77)).collect();
        assert_eq!(problems(&ours(), &snapshots, Requests::new(), &same).len(), 1);
    }

    #[test]
    fn unknown_places_below_the_newest_unknown_writers_and_removed_ones_have_no_claims() {
        let snapshots = [recorded(WRITER, 5, Some(id(4)))];
        assert_eq!(problems(&ours(), &snapshots, Requests::new(), &[(CLAIMANT, 0, 2, other())]), [""; 0]);
        let strangers = roster(vec![writer(CLAIMANT)]);
        for sequence in [5, 7] {
            let rows = [(CLAIMANT, 0, sequence, other())];
            assert_eq!(problems(&strangers, &snapshots, Requests::new(), &rows), [""; 0]);
        }
        // What counts of a removed writer can be replaced, but only its roster says what is missing of it.
        let mut removed = writer(WRITER);
        removed.revoked = Some(Revocation { last: None });
        let removed = roster(vec![removed]);
        let replaced = ["claim about writer: claimant contradicts 5"];
        assert_eq!(problems(&removed, &snapshots, Requests::new(), &[(CLAIMANT, 0, 5, other())]), replaced);
        assert_eq!(problems(&removed, &snapshots, Requests::new(), &[(CLAIMANT, 0, 7, other())]), [""; 0]);
        let mut revoked = [recorded(WRITER, 5, None)];
        revoked[0].standing = Standing::Revoked;
        assert_eq!(problems(&ours(), &revoked, Requests::new(), &[(CLAIMANT, 0, 5, other())]), [""; 0]);
    }
}
