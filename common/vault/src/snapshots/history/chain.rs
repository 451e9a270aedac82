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
    before.is_none_or(|before| before.sequence + 1 != recorded.sequence)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::format::floor::Floor;
    use crate::format::roster::Revocation;
    use crate::snapshots::history::made::{WRITER, asked, id, recorded, roster, writer};

    fn judge(chain: &mut [Recorded], requests: &Requests) -> Vec<String> {
        let problems = judged(chain, requests, &writer(WRITER), None).problems;
        let text = |problem: &VaultError| match problem {
            VaultError::Withheld { first, last, .. } => format!("withheld {first}-{last}"),
            other => other.to_string(),
        };
        problems.iter().map(text).collect()
    }

    fn judged(chain: &mut [Recorded], requests: &Requests, writer: &Writer, pinned: Option<Head>) -> Judged {
        let roster = Roster { floor: Floor { days: 10, snapshots: 1 }, ..roster(vec![writer.clone()]) };
        Chain { roster: &roster, writer, requests, pinned }.judge(chain)
    }

    fn unreadable(mut recorded: Recorded) -> Recorded {
        recorded.manifest = Err(ObjectError::damaged("snapshots/?", "cut").into());
        recorded
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 60 * 60).unwrap()
    }

    fn stored(hours: i64, mut recorded: Recorded) -> Recorded {
        recorded.stored = at(hours);
        recorded
    }

    #[test]
    fn a_gap_is_explained_by_requests_alone() {
        let (zero, two) = (|| recorded(WRITER, 0, None), |named| recorded(WRITER, 2, named));
        let four = || recorded(WRITER, 4, Some(id(3)));
        let gap = "its own number is 2: numbers have no gaps that nothing explains";
        let rows: [(Vec<Recorded>, &[u64], &[&str]); 9] = [
            (vec![zero(), two(Some(id(1)))], &[], &["withheld 1-1"]),
            (vec![zero(), two(None)], &[], &["withheld 1-1"]),
            (vec![zero(), two(Some(id(0)))], &[], &[gap]),
            (vec![zero(), two(Some(id(0)))], &[1], &[]),
            (vec![zero(), unreadable(two(None))], &[], &["withheld 1-1"]),
            (vec![unreadable(zero()), unreadable(two(None))], &[], &["withheld 1-1"]),
            (vec![zero(), four()], &[2], &["withheld 1-1", "withheld 3-3"]),
            (vec![zero(), four()], &[1], &["withheld 2-3"]),
            (vec![four()], &[0, 1, 3], &["withheld 2-2"]),
        ];
        for (number, (mut chain, requests, expected)) in rows.into_iter().enumerate() {
            let requests: Requests = requests.iter().map(|of| asked(*of, Some(id(*of)))).collect();
            let problems = judge(&mut chain, &requests);
            assert_eq!(problems.len(), expected.len(), "row {number}: {problems:?}");
            assert!(problems.iter().zip(expected).all(|(found, end)| found.ends_with(end)), "{problems:?}");
        }
    }

    #[test]
    fn a_manifest_follows_the_one_right_before_it() {
        for (named, follows) in [(Some(id(0)), true), (Some(id(7)), false), (None, false)] {
            let mut chain = [recorded(WRITER, 0, None), recorded(WRITER, 1, named)];
            assert_eq!(judge(&mut chain, &Requests::new()).is_empty(), follows, "{named:?}");
        }
        // That it is also to be forgotten makes it no second problem, and no problem of one that cannot be read.
        let requests = Requests::from([asked(1, Some(id(1)))]);
        let chain = |one| [recorded(WRITER, 0, None), one, recorded(WRITER, 2, Some(id(7)))];
        assert_eq!(judge(&mut chain(recorded(WRITER, 1, Some(id(0)))), &requests).len(), 1);
        assert_eq!(judge(&mut chain(unreadable(recorded(WRITER, 1, None))), &requests), [""; 0]);
        // Nobody knows the id of one that cannot be read.
        let mut chain = [unreadable(recorded(WRITER, 0, None)), recorded(WRITER, 1, Some(id(7)))];
        assert_eq!(judge(&mut chain, &Requests::new()), [""; 0]);
    }

    #[test]
    fn what_was_seen_is_there_and_is_the_same() {
        let head = |sequence, id| Some(Head { sequence, id });
        let removed = |last| Writer { revoked: Some(Revocation { last }), ..writer(WRITER) };
        let seen = "was seen in its place before, but now it is";
        let rows = [
            (writer(WRITER), head(1, id(1)), None),
            (writer(WRITER), head(1, id(7)), Some(seen)),
            (writer(WRITER), head(3, id(3)), Some("2 to 3")),
            (writer(WRITER), None, None),
            (removed(head(1, id(1))), None, None),
            (removed(head(1, id(7))), None, Some(seen)),
            (removed(head(2, id(2))), None, Some("2")),
            (removed(head(1, id(1))), head(1, id(7)), Some(seen)),
            // After the last one that counts, nothing is missing.
            (removed(head(1, id(1))), head(3, id(3)), None),
        ];
        for (number, (writer, pinned, expected)) in rows.into_iter().enumerate() {
            let mut chain = [recorded(WRITER, 0, None), recorded(WRITER, 1, Some(id(0)))];
            let problems = judged(&mut chain, &Requests::new(), &writer, pinned).problems;
            match (expected, &problems[..]) {
                (None, []) => {}
                (Some(text), [problem]) => {
                    assert!(problem.to_string().contains(text), "row {number}: {problem}");
                }
                (_, problems) => panic!("row {number}: {problems:?}"),
            }
        }
    }

    #[test]
    fn what_came_after_the_last_snapshot_of_a_removed_writer_does_not_count() {
        let writer = Writer {
            revoked: Some(Revocation { last: Some(Head { sequence: 0, id: id(0) }) }),
            ..writer(WRITER)
        };
        let late = stored(99, recorded(WRITER, 1, Some(id(0))));
        let mut chain = [stored(1, recorded(WRITER, 0, None)), late];
        let judged = judged(&mut chain, &Requests::new(), &writer, None);
        assert_eq!((chain[0].standing, chain[1].standing), (Standing::Kept, Standing::Revoked));
        assert_eq!(judged.latest, Some(at(1)), "the time of what does not count is no time");
        assert!(chain[1].floor.is_none());
        assert!(chain[0].floor.is_some(), "it is the newest that counts");
    }

    /// Of three snapshots the floor keeps the newest readable one and those of the last ten days.
    #[test]
    fn the_floor_keeps_from_keepers_what_it_does_not_keep_from_the_root() {
        use Standing::{Forgotten, Kept, Refused};
        let day = 24;
        let chain = |newest: fn(Recorded) -> Recorded| {
            [
                stored(0, recorded(WRITER, 0, None)),
                stored(11 * day, recorded(WRITER, 1, Some(id(0)))),
                newest(stored(12 * day, recorded(WRITER, 2, Some(id(1))))),
                newest(stored(30 * day, recorded(WRITER, 3, Some(id(2))))),
            ]
        };
        let requests = |by| -> Requests {
            let of = |sequence| asked(sequence, None);
            let all = [0, 1, 2, 3].map(of).into_iter().map(|(sequence, mut found)| {
                let request = found.request.as_mut().unwrap();
                (request.by, request.snapshot) = (by, Some(id(sequence)));
                (sequence, found)
            });
            all.collect()
        };
        let own = By::Writer(WRITER);
        let none = Requests::new();
        for (mut chain, requests, expected) in [
            (chain(|it| it), &requests(own), [Forgotten, Forgotten, Forgotten, Refused]),
            (chain(|it| it), &requests(By::Root), [Forgotten; 4]),
            // The newest that can be read is another one.
            (chain(unreadable), &requests(own), [Forgotten, Refused, Forgotten, Forgotten]),
            (chain(|it| it), &none, [Kept; 4]),
        ] {
            let judged = judged(&mut chain, requests, &writer(WRITER), None);
            assert_eq!(chain.each_ref().map(|recorded| recorded.standing), expected);
            assert_eq!(judged.latest, Some(at(30 * day)));
        }
        let mut young = chain(|it| it);
        young[3].stored = at(12 * day);
        judged(&mut young, &requests(own), &writer(WRITER), None);
        let standings = young.each_ref().map(|recorded| recorded.standing);
        assert_eq!(standings, [Forgotten, Refused, Refused, Refused], "one and two are at most a day old");
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
        // A request for the snapshot itself, or for a later one, explains nothing.
        let mut chain = [recorded(WRITER, 0, None), recorded(WRITER, 2, Some(other))];
        let requests = Requests::from([asked(1, Some(id(1))), asked(2, Some(other))]);
        assert_eq!(judge(&mut chain, &requests).len(), 1);
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
