//! Selects snapshots from a listing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lifeboat_core::text::printable;

use crate::error::VaultError;
use crate::format::manifest::StreamKind;
use crate::ids::WriterId;
use crate::snapshots::snapshot::{Listing, Snapshot, StreamView};

impl Snapshot {
    /// Whether it is of `host`, if given, and has all of `tags`.
    pub fn is_of(&self, host: Option<&str>, tags: &[String]) -> bool {
        host.is_none_or(|host| self.host() == host) && tags.iter().all(|tag| self.tags().contains(tag))
    }
}

impl Listing {
    /// Keeps the snapshots of `host` that have all of `tags`. If `names` are given, keeps only those that
    /// [`Listing::find`] finds for them, in the order of the names.
    pub fn select(
        mut self,
        host: Option<&str>,
        tags: &[String],
        names: &[String],
    ) -> Result<Self, VaultError> {
        let doubt = self.doubt(host).map(VaultError::again);
        self.snapshots.retain(|snapshot| snapshot.is_of(host, tags));
        if names.is_empty() {
            return Ok(self);
        }
        // An unreadable snapshot may be the latest: reports that first if the latest is wanted. Otherwise skips it.
        let is_latest = |name: &&String| *name == "latest" || name.starts_with("latest:");
        if let (Some(doubt), Some(_)) = (doubt, names.iter().find(is_latest)) {
            return Err(doubt);
        }
        let chosen = Self { snapshots: self.snapshots, removed: self.removed, ..Self::default() };
        let find = |name: &String| chosen.find(name, None);
        let snapshots = names.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Self { snapshots, ..Self::default() })
    }

    /// Removes the snapshots of all writers but one, whose id begins with `writer`, those that lack one of `tags`, and
    /// those from before a time; with a kind, those that contain nothing of it.
    #[must_use]
    pub fn narrow(
        mut self,
        writer: Option<&str>,
        tags: &[String],
        before: Option<Timestamp>,
        kind: Option<StreamKind>,
    ) -> Self {
        let is_meant = |id: &WriterId| writer.is_none_or(|writer| id.to_string().starts_with(writer));
        self.doubtful.retain(|id, _| is_meant(id));
        self.holding(|snapshot| {
            is_meant(&snapshot.writer())
                && snapshot.is_of(None, tags)
                && before.is_none_or(|before| snapshot.time() < before)
                && kind.is_none_or(|kind| snapshot.streams().any(|stream| stream.kind == kind))
        })
    }

    /// Removes the snapshots that do not contain what is wanted.
    #[must_use]
    pub fn holding(mut self, is_meant: impl Fn(&Snapshot) -> bool) -> Self {
        let count = self.snapshots.len();
        self.snapshots.retain(is_meant);
        self.left_out += count - self.snapshots.len();
        self
    }

    /// Describes for people which snapshots were searched, if not all.
    fn among(&self, host: Option<&str>) -> String {
        let hosts: BTreeSet<String> =
            self.snapshots.iter().map(|snapshot| printable(snapshot.host())).collect();
        match host {
            Some(host) if !hosts.is_empty() && !hosts.contains(host) => {
                let hosts = hosts.into_iter().collect::<Vec<_>>().join(", ");
                format!(" of host `{}`; there are snapshots of {hosts}", printable(host))
            }
            _ if self.left_out > 0 => {
                " of the requested writer, tags, kind, volume, folder and time; there are others".to_owned()
            }
            _ => String::new(),
        }
    }

    /// Finds the snapshot that `name` refers to: an id, a unique prefix of one, or `latest` (of `host`, or of the only
    /// host), or `latest:NAME`, the latest that contains the volume or standard input of that name.
    pub fn find(&self, name: &str, host: Option<&str>) -> Result<Snapshot, VaultError> {
        let candidates = self.snapshots.iter().filter(|snapshot| snapshot.is_of(host, &[]));
        let missing = || VaultError::NoSuchSnapshot { wanted: name.to_owned(), among: self.among(host) };
        if name == "latest" {
            return self.latest_of(&candidates.collect::<Vec<_>>(), host)?.cloned().ok_or_else(missing);
        }
        if let Some(held) = name.strip_prefix("latest:") {
            let is_it = |stream: StreamView<'_>| stream.kind != StreamKind::Path && stream.name == held;
            let holding = candidates.filter(|snapshot| snapshot.streams().any(is_it));
            return self.latest_of(&holding.collect::<Vec<_>>(), host)?.cloned().ok_or_else(missing);
        }
        let is_prefix = name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let found: Vec<&Snapshot> =
            candidates.filter(|snapshot| is_prefix && snapshot.id().to_string().starts_with(name)).collect();
        match found[..] {
            [] => Err(missing()),
            [found] => {
                if let Some(doubt) = self.doubt(Some(found.host())) {
                    tracing::warn!(
                        "{doubt}: snapshot {} is the requested one, but not the newest",
                        found.short_id()
                    );
                }
                Ok(found.clone())
            }
            _ => Err(VaultError::AmbiguousSnapshot {
                wanted: name.to_owned(),
                candidates: found.iter().map(|s| s.id().to_string()[..20].to_owned()).collect(),
            }),
        }
    }

    /// The latest of `host` that has all of `tags` and contains something of `kind`, with the name `stream` if given.
    pub fn latest_with(
        &self,
        kind: StreamKind,
        stream: Option<&str>,
        host: Option<&str>,
        tags: &[String],
    ) -> Result<Option<Snapshot>, VaultError> {
        let is_it = |held: StreamView<'_>| held.kind == kind && stream.is_none_or(|name| held.name == name);
        let is_meant = |snapshot: &&Snapshot| snapshot.is_of(host, tags) && snapshot.streams().any(is_it);
        let candidates: Vec<&Snapshot> = self.snapshots.iter().filter(is_meant).collect();
        Ok(self.latest_of(&candidates, host)?.cloned())
    }

    /// The latest of `host`, the one before it, and so on.
    pub fn latest_first(&self, host: Option<&str>) -> Result<Vec<Snapshot>, VaultError> {
        let candidates: Vec<&Snapshot> = self.snapshots.iter().filter(|s| s.is_of(host, &[])).collect();
        // Reports which writer is chosen, and fails if there is no latest.
        self.latest_of(&candidates, host)?;
        let facts: Vec<Facts<'_>> = candidates.iter().map(|snapshot| self.facts(snapshot)).collect();
        Ok(latest_first(&facts).into_iter().map(|number| candidates[number].clone()).collect())
    }

    /// The latest of `candidates`, which are of `host` if one is given.
    fn latest_of<'s>(
        &self,
        candidates: &[&'s Snapshot],
        host: Option<&str>,
    ) -> Result<Option<&'s Snapshot>, VaultError> {
        if let Some(doubt) = self.doubt(host) {
            // An unreadable one may be the latest.
            return Err(doubt.again());
        }
        for passed_over in &self.unreadable {
            tracing::warn!("{passed_over}");
        }
        let facts: Vec<Facts<'_>> = candidates.iter().map(|snapshot| self.facts(snapshot)).collect();
        match latest(&facts) {
            Ok(None) => Ok(None),
            Ok(Some(Latest { number, others })) => {
                let chosen = candidates[number];
                for other in others {
                    let (host, writer) = (printable(chosen.host()), chosen.writer());
                    tracing::warn!(
                        "of {host} the snapshot of writer {writer} is used, not that of {other}: choose with --writer"
                    );
                }
                Ok(Some(chosen))
            }
            Err(hosts) => Err(VaultError::AmbiguousSnapshot {
                wanted: "latest".to_owned(),
                candidates: hosts.iter().map(|host| format!("the latest of {}", printable(host))).collect(),
            }),
        }
    }

    fn facts<'s>(&self, snapshot: &'s Snapshot) -> Facts<'s> {
        let (original, sequence) = snapshot.line();
        Facts {
            host: snapshot.host(),
            original,
            sequence,
            is_removed: self.removed.contains(&snapshot.writer()),
            stored: snapshot.stored(),
        }
    }
}

/// The facts that decide which snapshot is the latest.
#[derive(Debug, Clone, Copy)]
struct Facts<'s> {
    host: &'s str,
    /// The writer that took it first, and its number in that writer's sequence.
    original: WriterId,
    sequence: u64,
    /// Whether the writer that stored it was removed.
    is_removed: bool,
    /// By the storage's clock.
    stored: Timestamp,
}

/// The latest snapshot.
#[derive(Debug, PartialEq, Eq)]
struct Latest {
    number: usize,
    /// Other writers under the same host's name that were not removed either.
    others: Vec<WriterId>,
}

/// The latest snapshot. Within one writer's the sequence decides, which nobody else can claim. A host that was enrolled
/// again has several writers: those that were not removed come first, and among them the last one stored. Snapshots of
/// several hosts have no latest: their names are the error.
fn latest<'s>(all: &[Facts<'s>]) -> Result<Option<Latest>, Vec<&'s str>> {
    let hosts: BTreeSet<&str> = all.iter().map(|facts| facts.host).collect();
    let writers: BTreeSet<WriterId> = all.iter().map(|facts| facts.original).collect();
    // One writer may give each of its snapshots another host's name.
    if hosts.len() > 1 && writers.len() > 1 {
        return Err(hosts.into_iter().collect());
    }
    let all_are_removed = all.iter().all(|facts| facts.is_removed);
    let mut newest: BTreeMap<WriterId, (usize, &Facts<'s>)> = BTreeMap::new();
    for (number, facts) in all.iter().enumerate().filter(|(_, facts)| all_are_removed || !facts.is_removed) {
        let entry = newest.entry(facts.original).or_insert((number, facts));
        if entry.1.sequence <= facts.sequence {
            *entry = (number, facts);
        }
    }
    let chosen = newest.values().max_by_key(|(_, facts)| (facts.stored, facts.original));
    let others =
        |chosen: &Facts<'_>| newest.keys().copied().filter(|writer| *writer != chosen.original).collect();
    Ok(chosen.map(|(number, facts)| Latest { number: *number, others: others(facts) }))
}

/// All snapshots, if there is a latest: that one, the latest of the others, and so on, as [`latest`] would return them
/// one after the other.
fn latest_first(all: &[Facts<'_>]) -> Vec<usize> {
    let mut sorted = Vec::with_capacity(all.len());
    for is_removed in [false, true] {
        // The remaining snapshots of each writer, the last one at the end.
        let mut left: BTreeMap<WriterId, Vec<usize>> = BTreeMap::new();
        for (number, facts) in all.iter().enumerate().filter(|(_, facts)| facts.is_removed == is_removed) {
            left.entry(facts.original).or_default().push(number);
        }
        for numbers in left.values_mut() {
            numbers.sort_by_key(|number| all[*number].sequence);
        }
        let last = |numbers: &Vec<usize>| numbers.last().map(|number| all[*number].stored);
        while let Some((_, numbers)) =
            left.iter_mut().max_by_key(|(writer, numbers)| (last(numbers), **writer))
        {
            let Some(number) = numbers.pop() else { break };
            sorted.push(number);
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(host: &str, writer: u8, sequence: u64, stored: i64) -> Facts<'_> {
        Facts {
            host,
            original: WriterId::from_bytes([writer; 16]),
            sequence,
            is_removed: false,
            stored: Timestamp::from_second(stored).unwrap(),
        }
    }

    fn removed(facts: Facts<'_>) -> Facts<'_> {
        Facts { is_removed: true, ..facts }
    }

    #[test]
    fn the_latest_is_the_last_of_a_hosts_writers_and_removed_ones_come_last() {
        let two = WriterId::from_bytes([2; 16]);
        let one_of = |number, others: &[WriterId]| Ok(Some(Latest { number, others: others.to_vec() }));
        for (name, all, expected) in [
            ("none", vec![], Ok(None)),
            ("the highest sequence", vec![facts("a", 1, 1, 9), facts("a", 1, 2, 5)], one_of(1, &[])),
            (
                "of a second enrolment",
                vec![removed(facts("a", 1, 9, 9)), facts("a", 2, 0, 5)],
                one_of(1, &[]),
            ),
            (
                "of removed ones only",
                vec![removed(facts("a", 1, 9, 9)), removed(facts("a", 2, 0, 5))],
                one_of(0, &[two]),
            ),
            ("of two that write", vec![facts("a", 1, 0, 9), facts("a", 2, 7, 5)], one_of(0, &[two])),
            ("of one writer under two names", vec![facts("b", 1, 0, 9), facts("a", 1, 1, 5)], one_of(1, &[])),
            ("of two hosts", vec![facts("b", 1, 0, 9), facts("a", 2, 7, 5)], Err(vec!["a", "b"])),
        ] {
            assert_eq!(latest(&all), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_latest_of_those_that_are_left(
            all in prop::collection::vec((0_u8..3, 0_u64..4, 0_i64..4, any::<bool>()), 0..12)
        ) {
            let all: Vec<Facts<'_>> = all
                .into_iter()
                .map(|(writer, sequence, stored, is_removed)| Facts { is_removed, ..facts("a", writer, sequence, stored) })
                .collect();
            let mut left: Vec<usize> = (0..all.len()).collect();
            let mut expected = Vec::new();
            let of = |left: &[usize]| left.iter().map(|number| all[*number]).collect::<Vec<_>>();
            while let Some(found) = latest(&of(&left)).unwrap() {
                expected.push(left.remove(found.number));
            }
            prop_assert_eq!(latest_first(&all), expected);
        }
    }
}
