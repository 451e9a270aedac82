//! The history of a repository: every writer's chain of manifests, the requests to forget, and what is missing.
//!
//! This module reads; pure functions decide what follows from it: [`chain`] judges one writer's own manifests and
//! requests, [`claims`] compares the claims of writers about each other. [`tip`] is where a writer's chain continues.
//!
//! Inconsistencies are reported as problems; nothing is skipped silently. These are unreadable manifests, gaps that no
//! request explains, broken chains, and missing snapshots that another writer or this machine saw. A problem belongs to
//! one writer. It stops what depends on that writer's history, and nothing of another group.

mod chain;
mod claims;
#[cfg(test)]
mod made;
#[cfg(test)]
mod tests;
mod tip;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_store::{Entry, StoreError};
use tokio::sync::Semaphore;

pub(crate) use self::chain::why_void;
pub(crate) use self::tip::Tip;

use self::chain::{Chain, Requests};
use self::claims::Claims;
use crate::error::{ObjectError, VaultError};
use crate::format::floor::Floored;
use crate::format::layout;
use crate::format::manifest::Manifest;
use crate::format::request::Request;
use crate::format::roster::{Head, Writer};
use crate::ids::{GroupId, WriterId};
use crate::repository::open::Repository;
use crate::repository::pins::Pins;

/// How many manifests are read at once.
const READS: usize = 16;
/// How many MiB of manifests are read at once; a larger one is read alone.
const MIB_READ: u32 = 64;

/// Everything that was ever committed and still exists.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By writer in roster order, then by sequence. The manifests' lists of index objects and of other writers are
    /// removed.
    pub(crate) snapshots: Vec<Recorded>,
    /// What is missing or contradictory, apart from manifests that cannot be read.
    pub(crate) problems: Vec<Problem>,
    /// Requests that have no effect on the snapshot in their place, and why. The snapshot is kept.
    pub(crate) void: BTreeMap<(WriterId, u64), String>,
    /// The latest time of the storage in this history.
    pub(crate) latest: Option<Timestamp>,
}

/// A fault in the history of one writer.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The writer.
    pub(crate) writer: WriterId,
    /// The writer's group: nothing of it may be deleted.
    pub(crate) group: GroupId,
    pub(crate) evidence: Evidence,
    pub(crate) error: VaultError,
}

/// How many snapshots are given up because another writer claims to have seen them. A claim of more is probably a lie;
/// it ends when the claimant is removed, or when the writer continues, which disproves it.
const MOST_CLAIMED: u64 = 16;

impl Problem {
    /// The places of a writer that are missing, if giving up their snapshots ends the problem.
    pub(crate) fn missing(&self) -> Option<(WriterId, RangeInclusive<u64>)> {
        match self.error {
            VaultError::Withheld { writer, first, last } => Some((writer, first..=last)),
            VaultError::Claimed { writer, first, last, .. } if last - first < MOST_CLAIMED => {
                Some((writer, first..=last))
            }
            _ => None,
        }
    }
}

/// The evidence of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// In what the writer signed itself, in requests about it, or in what this machine or the roster knows of it.
    Own,
    /// Another writer claims it, and may be wrong or compromised. It stops deletion, but no restore.
    Claim,
}

/// One place in a writer's chain that has a manifest.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) writer: WriterId,
    pub(crate) group: GroupId,
    pub(crate) sequence: u64,
    /// When its manifest was stored, by the storage's clock.
    pub(crate) stored: Timestamp,
    /// Manifests after the last one of a removed writer are not read.
    pub(crate) manifest: Result<Manifest, VaultError>,
    pub(crate) standing: Standing,
    /// Why the retention floor keeps it from writers and keepers today.
    pub(crate) floor: Option<Floored>,
}

/// What happens to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It counts.
    Kept,
    /// An authorised signer asked to forget it.
    Forgotten,
    /// There is a request to forget it, but the retention floor keeps it.
    Refused,
    /// Its writer was removed, and it came after the last one that counts.
    Revoked,
}

impl Recorded {
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.standing, Standing::Kept | Standing::Refused)
    }
}

/// The contents of a writer's two folders.
struct Folder {
    manifests: BTreeMap<u64, Entry>,
    requests: Requests,
}

/// The earlier of a time of the storage and `now`, if that is known.
fn bounded(time: Timestamp, now: Option<Timestamp>) -> Timestamp {
    now.map_or(time, |now| time.min(now))
}

impl Problem {
    /// A problem in what a writer signed itself, or in requests about it.
    fn own(writer: &Writer, error: impl Into<VaultError>) -> Self {
        Self { writer: writer.id, group: writer.group, evidence: Evidence::Own, error: error.into() }
    }
}

/// A request in the repository.
#[derive(Debug)]
pub(crate) struct Found {
    /// `None` if the object is not a request that can be trusted.
    pub(crate) request: Option<Request>,
    pub(crate) stored: Timestamp,
}

impl History {
    /// The problems in the histories of a group's writers.
    pub(crate) fn problems_of(&self, group: GroupId) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(move |problem| problem.group == group)
    }

    /// Why nothing of a group may be deleted: something missing or unreadable may need what looks unneeded.
    pub(crate) fn holds_back(&self, group: GroupId) -> Option<VaultError> {
        let unreadable = self.snapshots.iter().filter(|r| r.group == group && r.is_live());
        let unreadable = unreadable.filter_map(|recorded| recorded.manifest.as_ref().err());
        let problems = self.problems_of(group).map(|problem| &problem.error);
        let mut wrong = problems.chain(unreadable).map(ToString::to_string);
        let first = wrong.next()?;
        Some(VaultError::NotWhole { first, others: wrong.count() })
    }

    /// The problems in the history of one writer, including unreadable snapshots.
    pub(crate) fn doubts_about(&self, writer: WriterId) -> impl Iterator<Item = &VaultError> {
        let problems = self.problems.iter().filter(move |problem| problem.writer == writer);
        let unreadable = self.snapshots.iter().filter(move |r| r.writer == writer && r.is_live());
        let unreadable = unreadable.filter_map(|recorded| recorded.manifest.as_ref().err());
        problems.map(|problem| &problem.error).chain(unreadable)
    }

    fn own_problems(&self) -> BTreeSet<WriterId> {
        let own = self.problems.iter().filter(|problem| problem.evidence == Evidence::Own);
        own.map(|problem| problem.writer).collect()
    }
}

impl History {
    /// Reads and checks everything that was committed. In a folder, the owner of a file can date it ahead; nothing
    /// there counts as stored later than tomorrow by this machine's clock.
    pub(crate) async fn read(repository: &Repository) -> Result<Self, VaultError> {
        let tomorrow = SystemClock.now().saturating_add(SignedDuration::from_hours(24)).ok();
        Self::read_until(repository, tomorrow.filter(|_| repository.store.is_folder())).await
    }

    /// The same with the storage's time: nothing counts as stored later than that. In a folder, the owner of a file can
    /// date it ahead.
    pub(crate) async fn read_until(
        repository: &Repository,
        now: Option<Timestamp>,
    ) -> Result<Self, VaultError> {
        let mut history = Self::default();
        let mut claims = Claims::default();
        let mut folders = Vec::new();
        for writer in &repository.roster.writers {
            let folder = history.folder(repository, writer, now).await?;
            let listed = folder.manifests.keys().chain(folder.requests.keys());
            listed.for_each(|sequence| claims.know(writer.id, *sequence));
            folders.push((writer, folder));
        }
        let mut requests = BTreeMap::new();
        for (writer, folder) in folders {
            let of_writer = history.add_writer(repository, writer, folder, now, &mut claims).await?;
            requests.insert(writer.id, of_writer);
        }
        let found = claims.judge(&repository.roster, &history.snapshots, &requests);
        history.problems.extend(found);
        let troubled = history.own_problems();
        let mut seen = Pins { roster: Some(repository.roster_pin), heads: BTreeMap::new() };
        for recorded in &history.snapshots {
            if let Ok(manifest) = &recorded.manifest
                && recorded.standing != Standing::Revoked
                && !troubled.contains(&recorded.writer)
            {
                let head = Head { sequence: recorded.sequence, id: manifest.id };
                seen.heads.insert(recorded.writer, head);
            }
        }
        repository.pins.advance(&seen)?;
        Ok(history)
    }

    /// Lists one writer's manifests, and reads the requests to forget them.
    async fn folder(
        &mut self,
        repository: &Repository,
        writer: &Writer,
        now: Option<Timestamp>,
    ) -> Result<Folder, StoreError> {
        let mut manifests = BTreeMap::new();
        let (entries, gap) = repository.numbered_and_gap(&layout::snapshots_of(writer.id)).await?;
        self.problems.extend(gap.map(|error| Problem::own(writer, error)));
        for entry in entries {
            if let Some(sequence) = layout::sequence_of(&entry.key) {
                manifests.insert(sequence, entry);
            }
        }
        let mut requests = self.requests(repository, writer).await?;
        for found in requests.values_mut() {
            found.stored = bounded(found.stored, now);
        }
        Ok(Folder { manifests, requests })
    }

    async fn add_writer(
        &mut self,
        repository: &Repository,
        writer: &Writer,
        folder: Folder,
        now: Option<Timestamp>,
        claims: &mut Claims,
    ) -> Result<Requests, StoreError> {
        let Folder { manifests, requests } = folder;
        let room = Semaphore::new(MIB_READ as usize);
        let room = &room;
        let read = |(sequence, entry): (u64, Entry)| async move {
            if chain::is_revoked(writer, sequence) {
                return (sequence, entry.modified, Ok(Err(VaultError::Removed("writer"))));
            }
            let mib = u32::try_from(entry.size >> 20).unwrap_or(MIB_READ).saturating_add(1).min(MIB_READ);
            // The semaphore is never closed; without a permit the read is just not counted.
            let _permit = room.acquire_many(mib).await.ok();
            let read = repository.manifest(writer, sequence).await;
            (sequence, entry.modified, read.map(|read| read.map_err(VaultError::from)))
        };
        let mut manifests = std::pin::pin!(futures::stream::iter(manifests).map(read).buffered(READS));
        let mut chain = Vec::new();
        while let Some((sequence, stored, manifest)) = manifests.next().await {
            let mut manifest = manifest?;
            // It existed when it was listed: a keeper has swept it since.
            if let Err(VaultError::Object(ObjectError::Missing { .. })) = manifest
                && requests.contains_key(&sequence)
            {
                continue;
            }
            let stored = bounded(stored, now);
            if let Ok(manifest) = &mut manifest {
                let seen = std::mem::take(&mut manifest.predicate.seen);
                claims.add(writer, stored, &seen);
                manifest.predicate.contents = Vec::new();
            }
            let (standing, floor) = (Standing::Kept, None);
            let (writer, group) = (writer.id, writer.group);
            chain.push(Recorded { writer, group, sequence, stored, manifest, standing, floor });
        }
        let pinned = repository.pinned.heads.get(&writer.id).copied();
        let judged =
            Chain { roster: &repository.roster, writer, requests: &requests, pinned }.judge(&mut chain);
        self.problems.extend(judged.problems.into_iter().map(|error| Problem::own(writer, error)));
        self.void.extend(judged.void.into_iter().map(|(sequence, why)| ((writer.id, sequence), why)));
        self.latest = self.latest.max(judged.latest);
        self.snapshots.append(&mut chain);
        Ok(requests)
    }

    async fn requests(&mut self, repository: &Repository, writer: &Writer) -> Result<Requests, StoreError> {
        let mut requests = BTreeMap::new();
        let (entries, gap) = repository.numbered_and_gap(&layout::forget_of(writer.id)).await?;
        self.problems.extend(gap.map(|error| Problem::own(writer, error)));
        for entry in entries {
            let Some(sequence) = layout::sequence_of(&entry.key) else { continue };
            let request = match repository.request(writer, sequence).await? {
                Ok(request) => Some(request),
                Err(error) => {
                    self.problems.push(Problem::own(writer, error));
                    None
                }
            };
            requests.insert(sequence, Found { request, stored: entry.modified });
        }
        Ok(requests)
    }
}
