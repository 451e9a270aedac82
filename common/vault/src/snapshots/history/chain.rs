//! Judges one writer's chain by what the writer signed and by the requests to forget: which snapshots count, what the
//! floor keeps, what is missing, and what is contradictory. Reads nothing.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use super::{Found, Recorded, Standing};
use crate::error::{ObjectError, VaultError};
use crate::format::layout;
use crate::format::request::{By, Request};
use crate::format::roster::{Head, Roster, Writer};
use crate::ids::Signer;

/// A writer's requests to forget, by the sequence in their names.
pub(crate) type Requests = BTreeMap<u64, Found>;

/// The input to judge a writer's chain.
pub(super) struct Chain<'a> {
    pub(super) roster: &'a Roster,
    pub(super) writer: &'a Writer,
    pub(super) requests: &'a Requests,
    /// The newest snapshot that this machine has seen.
    pub(super) pinned: Option<Head>,
}

/// The result, apart from the standing of each snapshot.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) problems: Vec<VaultError>,
    /// Requests without effect, by sequence, and why.
    pub(super) void: Vec<(u64, String)>,
    /// The latest time by the storage's clock in the chain.
    pub(super) latest: Option<Timestamp>,
}

/// Whether a snapshot came after the last one that counts of a removed writer.
pub(super) fn is_revoked(writer: &Writer, sequence: u64) -> bool {
    let last = writer.revoked.map(|revocation| revocation.last);
    last.is_some_and(|last| last.is_none_or(|last| sequence > last.sequence))
}

/// Why a request has no effect on the snapshot in its place, whose id is given if its manifest can be read. A request
/// is for one snapshot: nobody can turn it against another that later takes the same place.
pub(crate) fn why_void(
    request: &Request,
    snapshot: Option<&Sha256Digest>,
    roster: &Roster,
) -> Option<String> {
    if !request.counts(roster) {
        return Some(format!("it is signed by {}, who was removed", Signer::from(request.by)));
    }
    match (request.snapshot, snapshot) {
        (Some(asked), Some(found)) if asked != *found => {
            Some(format!("it asks to forget snapshot {asked}, but snapshot {found} is in its place"))
        }
        (None, Some(found)) => {
            Some(format!("it gives up a snapshot that could not be read, but snapshot {found} can be read"))
        }
        _ => None,
    }
}

fn id_of(recorded: &Recorded) -> Option<&Sha256Digest> {
    recorded.manifest.as_ref().ok().map(|manifest| &manifest.id)
}

impl Chain<'_> {
    /// Judges the chain, which comes in the order of sequences: sets the standing of every snapshot.
    pub(super) fn judge(&self, chain: &mut [Recorded]) -> Judged {
        let mut judged = Judged::default();
        for recorded in chain.iter_mut() {
            recorded.standing = self.standing(recorded, &mut judged.void);
        }
        let stored = chain.iter().filter(|r| r.standing != Standing::Revoked).map(|r| r.stored);
        // A young snapshot ages with every manifest and request that is stored after it.
        judged.latest = stored.chain(self.requests.values().map(|found| found.stored)).max();
        self.apply_floor(chain, judged.latest.unwrap_or(Timestamp::UNIX_EPOCH));
        let counting: Vec<&Recorded> = chain.iter().filter(|r| r.standing != Standing::Revoked).collect();
        self.check_order(&counting, &mut judged.problems);
        self.check_heads(&counting, &mut judged.problems);
        judged
    }

    fn request(&self, sequence: u64) -> Option<&Request> {
        self.requests.get(&sequence)?.request.as_ref()
    }

    fn standing(&self, recorded: &Recorded, void: &mut Vec<(u64, String)>) -> Standing {
        if is_revoked(self.writer, recorded.sequence) {
            return Standing::Revoked;
        }
        let Some(request) = self.request(recorded.sequence) else { return Standing::Kept };
        match why_void(request, id_of(recorded), self.roster) {
            Some(why) => {
                void.push((recorded.sequence, why));
                Standing::Kept
            }
            None => Standing::Forgotten,
        }
    }

    /// Keeps what the retention floor protects. The root, whose key only a recovery key opens, may go below.
    fn apply_floor(&self, chain: &mut [Recorded], latest: Timestamp) {
        let mut newer = 0;
        for recorded in chain.iter_mut().rev() {
            if recorded.manifest.is_err() || recorded.standing == Standing::Revoked {
                continue;
            }
            recorded.floor = self.roster.floor.keeps(newer, recorded.stored, latest);
            newer += 1;
            let by_root = self.request(recorded.sequence).is_some_and(|request| request.by == By::Root);
            if recorded.standing == Standing::Forgotten && recorded.floor.is_some() && !by_root {
                recorded.standing = Standing::Refused;
            }
        }
    }

    /// Checks that every sequence up to the newest exists or is explained, and that each manifest names the one before
    /// it.
    fn check_order(&self, chain: &[&Recorded], problems: &mut Vec<VaultError>) {
        let mut next = 0;
        let mut before: Option<&Recorded> = None;
        // The ids of earlier snapshots that are there, and of those that requests name; `None` for a request that names
        // none.
        let (mut there, mut asked) = (HashSet::new(), HashSet::new());
        let mut requests = self.requests.iter().peekable();
        for recorded in chain {
            while let Some((_, found)) = requests.next_if(|(sequence, _)| **sequence < recorded.sequence) {
                asked.extend(found.request.as_ref().map(|request| request.snapshot));
            }
            let key = layout::snapshot(self.writer.id, recorded.sequence);
            let previous = recorded.manifest.as_ref().ok().and_then(|manifest| manifest.predicate.previous);
            let gap = self.unexplained(next..recorded.sequence);
            let named = before.filter(|before| previous.is_some() && id_of(before) == previous.as_ref());
            match (gap.first(), named) {
                (Some(_), Some(before)) => {
                    let reason = format!(
                        "it names snapshot {} as the one before it, and its own number is {}: numbers have no gaps that \
                         nothing explains",
                        before.sequence, recorded.sequence
                    );
                    problems.push(ObjectError::damaged(&key, reason).into());
                }
                _ => problems.extend(gap.into_iter().map(|gap| self.withheld(&gap))),
            }
            if let Ok(manifest) = &recorded.manifest {
                let right_before = before.filter(|before| before.sequence + 1 == recorded.sequence);
                if let Some(expected) = right_before.and_then(id_of)
                    && manifest.predicate.previous != Some(*expected)
                {
                    let named = manifest.predicate.previous.map_or("none".to_owned(), |id| id.to_string());
                    let reason = format!(
                        "it does not follow the snapshot before it: it names {named}, but that is {expected}"
                    );
                    problems.push(ObjectError::damaged(&key, reason).into());
                }
            }
            if right_before_is_gone(before, recorded)
                && let Some(previous) = previous
                // A machine without memory names the last snapshot that it found, and one that was given up has no
                // known id.
                && !there.contains(&previous)
                && !asked.contains(&Some(previous))
                && !asked.contains(&None)
            {
                problems.extend(self.contradicts_request(recorded.sequence, &previous));
            }
            there.extend(id_of(recorded).copied());
            next = recorded.sequence + 1;
            before = Some(recorded);
        }
    }

    /// A request explains why its snapshot is gone, but not the absence of another one: if the next manifest names one
    /// that nobody asked to forget, that one is withheld.
    fn contradicts_request(&self, sequence: u64, previous: &Sha256Digest) -> Option<VaultError> {
        let gone = sequence.checked_sub(1)?;
        let asked = self.request(gone)?.snapshot?;
        let key = layout::forget(self.writer.id, gone);
        let reason = format!(
            "it asks to forget snapshot {asked}, but the next snapshot names {previous} as the one before it"
        );
        Some(ObjectError::damaged(key, reason).into())
    }

    /// Checks that what the roster and this machine know exists.
    fn check_heads(&self, chain: &[&Recorded], problems: &mut Vec<VaultError>) {
        let expected = match self.writer.revoked {
            Some(revocation) => revocation.last,
            None => self.pinned,
        };
        for recorded in chain {
            let Some(id) = id_of(recorded) else { continue };
            let heads = [expected, self.pinned].into_iter().flatten();
            let other = heads.filter(|head| head.sequence == recorded.sequence).find(|head| head.id != *id);
            if let Some(head) = other {
                let reason = format!("snapshot {} was seen in its place before, but now it is {id}", head.id);
                let key = layout::snapshot(self.writer.id, recorded.sequence);
                problems.push(ObjectError::damaged(key, reason).into());
            }
        }
        if let Some(head) = expected {
            let next = chain.last().map_or(0, |recorded| recorded.sequence + 1);
            let missing = self.unexplained(next..head.sequence.saturating_add(1));
            problems.extend(missing.iter().map(|gap| self.withheld(gap)));
        }
    }

    /// The parts of a gap that no request explains.
    fn unexplained(&self, gap: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        if gap.is_empty() {
            return missing;
        }
        let mut at = gap.start;
        for (sequence, _) in self.requests.range(gap.clone()).filter(|(_, found)| found.request.is_some()) {
            if at < *sequence {
                missing.push(at..*sequence);
            }
            at = sequence + 1;
        }
        if at < gap.end {
            missing.push(at..gap.end);
        }
        missing
    }

    fn withheld(&self, gap: &Range<u64>) -> VaultError {
        VaultError::Withheld { writer: self.writer.id, first: gap.start, last: gap.end - 1 }
    }
}

fn right_before_is_gone(before: Option<&Recorded>, recorded: &Recorded) -> bool {
    recorded.sequence > 0 && before.is_none_or(|before| before.sequence + 1 != recorded.sequence)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::snapshots::history::made::{WRITER, asked, id, recorded, roster, writer};

    fn judge(chain: &mut [Recorded], requests: &Requests) -> Vec<String> {
        let writer = writer(WRITER);
        let roster = roster(vec![writer.clone()]);
        let judged = Chain { roster: &roster, writer: &writer, requests, pinned: None }.judge(chain);
        judged.problems.iter().map(ToString::to_string).collect()
    }

    /// Snapshots 0 and 2 are there, 1 was asked to be forgotten: which snapshot 2 may name as the one before it.
    #[test]
    fn a_request_explains_the_gap_before_a_snapshot_that_names_what_was_there() {
        let other = Sha256Digest::of(b"other");
        for (named, of_request, is_explained) in [
            (Some(id(1)), Some(id(1)), true),
            (Some(id(0)), Some(id(1)), true),
            (Some(other), Some(id(1)), false),
            (Some(other), Some(other), true),
            (Some(other), None, true),
            (None, Some(id(1)), true),
        ] {
            let mut chain = [recorded(WRITER, 0, None), recorded(WRITER, 2, named)];
            let problems = judge(&mut chain, &Requests::from([asked(1, of_request)]));
            assert_eq!(problems.is_empty(), is_explained, "{named:?} {of_request:?}: {problems:?}");
        }
        // A request for a later snapshot explains nothing.
        let mut chain =
            [recorded(WRITER, 0, None), recorded(WRITER, 2, Some(other)), recorded(WRITER, 3, Some(id(2)))];
        let requests = Requests::from([asked(1, Some(id(1))), asked(4, Some(other))]);
        assert_eq!(judge(&mut chain, &requests).len(), 1);
    }

    #[test]
    fn the_time_for_very_many_gaps_grows_with_their_number_and_not_faster() {
        const COUNT: u64 = 50_000;
        let other = Sha256Digest::of(b"other");
        let mut chain: Vec<_> = (0..COUNT).map(|n| recorded(WRITER, 2 * n + 1, Some(other))).collect();
        let requests: Requests = (0..COUNT).map(|n| asked(2 * n, Some(id(2 * n)))).collect();
        let began = Instant::now();
        assert_eq!(judge(&mut chain, &requests).len() as u64, COUNT);
        // An hour if each gap is compared with all snapshots and requests before it.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
