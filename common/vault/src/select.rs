//! Which snapshots of a listing are meant.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lifeboat_core::text::printable;

use crate::VaultError;
use crate::ids::WriterId;
use crate::view::{Listing, Snapshot};

impl Snapshot {
    /// Whether it is of `host`, where one is asked for, and bears all of `tags`.
    pub fn is_of(&self, host: Option<&str>, tags: &[String]) -> bool {
        host.is_none_or(|host| self.host() == host) && tags.iter().all(|tag| self.tags().contains(tag))
    }
}

impl Listing {
    /// Keeps the snapshots of `host` that bear all of `tags`. Where `names` are given, keeps of those the ones that
    /// [`Listing::find`] takes them to mean, in the order of the names.
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
        // A snapshot that cannot be read may be the latest: whoever asks for the latest is told so first. Where
        // nobody does, it is passed over.
        let is_latest = |name: &&String| *name == "latest" || name.starts_with("latest:");
        if let (Some(doubt), Some(_)) = (doubt, names.iter().find(is_latest)) {
            return Err(doubt);
        }
        let chosen = Self { snapshots: self.snapshots, removed: self.removed, ..Self::default() };
        let find = |name: &String| chosen.find(name, None);
        let snapshots = names.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Self { snapshots, ..Self::default() })
    }

    /// Leaves out the snapshots of all writers but one, whose id begins with `writer`, those that lack one of `tags`, and
    /// those that were not taken before a time.
    #[must_use]
    pub fn narrow(mut self, writer: Option<&str>, tags: &[String], before: Option<Timestamp>) -> Self {
        let is_meant = |id: &WriterId| writer.is_none_or(|writer| id.to_string().starts_with(writer));
        self.doubtful.retain(|id, _| is_meant(id));
        self.snapshots.retain(|snapshot| {
            is_meant(&snapshot.writer())
                && snapshot.is_of(None, tags)
                && before.is_none_or(|before| snapshot.time() < before)
        });
        self
    }

    /// Finds the snapshot that `name` means: an id, a unique prefix of one, or `latest` (of `host`, or of the only host
    /// there is), or `latest:VOLUME`, the latest that holds the volume.
    pub fn find(&self, name: &str, host: Option<&str>) -> Result<Snapshot, VaultError> {
        self.find_tagged(name, host, &[])
    }

    /// The same among those that bear all of `tags`.
    pub fn find_tagged(
        &self,
        name: &str,
        host: Option<&str>,
        tags: &[String],
    ) -> Result<Snapshot, VaultError> {
        let missing = || VaultError::NoSuchSnapshot { wanted: name.to_owned() };
        let mut candidates: Vec<&Snapshot> = self.snapshots.iter().filter(|s| s.is_of(host, tags)).collect();
        let volume = name.strip_prefix("latest:");
        if let Some(volume) = volume {
            candidates.retain(|s| s.streams().any(|stream| stream.name == volume));
        }
        if name == "latest" || volume.is_some() {
            if let Some(doubt) = self.doubt(host) {
                // What cannot be read may be the latest.
                return Err(doubt.again());
            }
            for passed_over in &self.unreadable {
                tracing::warn!("{passed_over}");
            }
            let facts: Vec<Facts<'_>> = candidates.iter().map(|snapshot| self.facts(snapshot)).collect();
            return match latest(&facts) {
                Ok(None) => Err(missing()),
                Ok(Some(Latest { number, others })) => {
                    let chosen = candidates[number];
                    for other in others {
                        let (host, writer) = (printable(chosen.host()), chosen.writer());
                        tracing::warn!(
                            "of {host} the snapshot of writer {writer} is meant, and not of {other}"
                        );
                    }
                    Ok(chosen.clone())
                }
                Err(hosts) => Err(VaultError::AmbiguousSnapshot {
                    wanted: name.to_owned(),
                    candidates: hosts
                        .iter()
                        .map(|host| format!("the latest of {}", printable(host)))
                        .collect(),
                }),
            };
        }
        let is_prefix = name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit());
        candidates.retain(|snapshot| is_prefix && snapshot.id().to_string().starts_with(name));
        match candidates.len() {
            0 => Err(missing()),
            1 => candidates.pop().cloned().ok_or_else(missing),
            _ => Err(VaultError::AmbiguousSnapshot {
                wanted: name.to_owned(),
                candidates: candidates.iter().map(|s| s.id().to_string()[..20].to_owned()).collect(),
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

/// What decides which snapshot is the latest.
#[derive(Debug, Clone, Copy)]
struct Facts<'s> {
    host: &'s str,
    /// Who took it first, and which of that writer's snapshots it is.
    original: WriterId,
    sequence: u64,
    /// Whether who stored it was removed.
    is_removed: bool,
    /// By the storage's clock.
    stored: Timestamp,
}

/// Which snapshot is the latest.
#[derive(Debug, PartialEq, Eq)]
struct Latest {
    number: usize,
    /// Others that write under the same host's name and were not removed either.
    others: Vec<WriterId>,
}

/// The latest snapshot. Within one writer's the sequence tells, which nobody else can claim. A host that was enrolled again
/// has several writers: those that were not removed come first, and among them what was stored last. Snapshots of several
/// hosts have no latest: their names are the error.
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

#[cfg(test)]
mod tests {
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
            ("of an enrolment anew", vec![removed(facts("a", 1, 9, 9)), facts("a", 2, 0, 5)], one_of(1, &[])),
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
}
