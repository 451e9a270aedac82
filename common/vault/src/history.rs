//! The history of a repository: every writer's chain of manifests, what was asked to be forgotten, and what is missing.
//!
//! Nothing is left out in silence. A manifest that cannot be read, a gap that no request explains, a chain that does
//! not hold, a snapshot that another writer or this machine saw and that is not there: each comes as a problem. A
//! keeper deletes nothing while there is one.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use crate::VaultError;
use crate::ids::WriterId;
use crate::layout::{self, cap};
use crate::manifest::{self, Manifest};
use crate::pins::Pins;
use crate::repository::Repository;
use crate::request::{By, Request};
use crate::roster::{Head, Roster, Writer};

/// How many manifests are read at once.
const READS: usize = 16;
const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// All that was ever committed and is still there.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By writer in roster order, then by sequence.
    pub(crate) snapshots: Vec<Recorded>,
    /// What is missing, unreadable or does not fit, apart from single manifests.
    pub(crate) problems: Vec<VaultError>,
    /// Of each writer, the highest sequence that is there or was asked to be forgotten.
    known: BTreeMap<WriterId, u64>,
}

/// One place in a writer's chain that a manifest stands at.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) writer: WriterId,
    pub(crate) sequence: u64,
    /// When its manifest was stored, by the storage's clock.
    pub(crate) stored: Timestamp,
    pub(crate) manifest: Result<Manifest, VaultError>,
    pub(crate) standing: Standing,
}

/// What is to become of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It counts.
    Kept,
    /// Someone who may asked to forget it.
    Forgotten,
    /// It was asked to be forgotten, and the retention floor keeps it.
    Refused,
    /// Its writer was removed, and this came after the last one that counts.
    Revoked,
}

impl Recorded {
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.standing, Standing::Kept | Standing::Refused)
    }
}

/// Where a writer's chain goes on.
#[derive(Debug)]
pub(crate) struct Tip {
    /// The first sequence that was never used.
    pub(crate) next: u64,
    /// The id of the snapshot before, as far as it is known.
    pub(crate) previous: Option<Sha256Digest>,
    /// The newest manifest, where it can be read.
    pub(crate) newest: Option<Manifest>,
}

/// A request as it was found.
struct Found {
    /// Absent where the object is no request that could be believed.
    request: Option<Request>,
    stored: Timestamp,
}

impl Repository {
    /// Reads and checks everything that was committed.
    pub(crate) async fn history(&self) -> Result<History, VaultError> {
        let mut history = History::default();
        for writer in &self.roster.writers {
            self.writer_history(writer, &mut history).await?;
        }
        missed_by_others(&self.roster, &mut history);
        let mut seen = Pins { roster: Some(self.roster_pin), heads: BTreeMap::new() };
        for recorded in &history.snapshots {
            if let Ok(manifest) = &recorded.manifest
                && recorded.standing != Standing::Revoked
            {
                let head = Head { sequence: recorded.sequence, id: manifest.id };
                seen.heads.insert(recorded.writer, head);
            }
        }
        if history.problems.is_empty() {
            self.pins.advance(&seen)?;
        }
        Ok(history)
    }

    async fn writer_history(&self, writer: &Writer, history: &mut History) -> Result<(), VaultError> {
        let mut places = BTreeMap::new();
        for entry in self.store.list(&layout::snapshots_of(writer.id)).await? {
            if let Some(sequence) = layout::sequence_of(&entry.key) {
                places.insert(sequence, entry.modified);
            }
        }
        let requests = self.requests(writer, history).await?;
        let read = |(sequence, stored): (u64, Timestamp)| async move {
            (sequence, stored, self.manifest(writer, sequence).await)
        };
        let manifests: Vec<_> = futures::stream::iter(places).map(read).buffered(READS).collect().await;
        let mut chain = Vec::with_capacity(manifests.len());
        for (sequence, stored, manifest) in manifests {
            let manifest = match manifest {
                Err(error @ VaultError::Store(_)) => return Err(error),
                // It was there when it was listed: a keeper has swept it since.
                Err(VaultError::Missing { .. }) if requests.contains_key(&sequence) => continue,
                other => other,
            };
            let standing = standing_before_the_floor(self, writer, sequence, requests.get(&sequence));
            chain.push(Recorded { writer: writer.id, sequence, stored, manifest, standing });
        }
        let highest = chain.last().map(|recorded| recorded.sequence).max(requests.keys().max().copied());
        history.known.extend(highest.map(|sequence| (writer.id, sequence)));
        self.apply_floor(&mut chain, &requests);
        self.check_chain(writer, &chain, &requests, history);
        history.snapshots.append(&mut chain);
        Ok(())
    }

    async fn requests(
        &self,
        writer: &Writer,
        history: &mut History,
    ) -> Result<BTreeMap<u64, Found>, VaultError> {
        let mut requests = BTreeMap::new();
        for entry in self.store.list(&layout::forget_of(writer.id)).await? {
            let Some(sequence) = layout::sequence_of(&entry.key) else { continue };
            let bytes = match self.store.read(&entry.key, cap::FORGET).await.map_err(VaultError::reading) {
                Ok(bytes) => bytes,
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(error) => {
                    history.problems.push(error);
                    continue;
                }
            };
            let request = match Request::verify(&bytes, &self.roster, writer.id, sequence) {
                Ok(request) => Some(request),
                Err(reason) => {
                    history.problems.push(VaultError::damaged(&entry.key, reason));
                    None
                }
            };
            requests.insert(sequence, Found { request, stored: entry.modified });
        }
        Ok(requests)
    }

    /// Takes back what goes below the retention floor. The root, whose key only a recovery key opens, may go below.
    fn apply_floor(&self, chain: &mut [Recorded], requests: &BTreeMap<u64, Found>) {
        let floor = self.roster.floor;
        let counting = chain.iter().filter(|r| r.manifest.is_ok() && r.standing != Standing::Revoked);
        let newest: Vec<u64> = counting.map(|r| r.sequence).rev().take(floor.snapshots as usize).collect();
        // The latest time by the storage's clock that this history shows: a young snapshot grows older with it.
        let stored = chain.iter().map(|r| r.stored).chain(requests.values().map(|found| found.stored));
        let latest = stored.max().unwrap_or(Timestamp::UNIX_EPOCH);
        for recorded in chain.iter_mut().filter(|r| r.standing == Standing::Forgotten) {
            let Some(found) = requests.get(&recorded.sequence) else { continue };
            let by_root = found.request.as_ref().is_some_and(|request| request.by == By::Root);
            let age = latest.as_second() - recorded.stored.as_second();
            let is_young = floor.days > 0 && age < i64::from(floor.days) * SECONDS_OF_A_DAY;
            let is_protected = recorded.manifest.is_ok() && (is_young || newest.contains(&recorded.sequence));
            if !by_root && is_protected {
                recorded.standing = Standing::Refused;
            }
        }
    }

    /// Every sequence up to the newest one known must be there or be explained, and each manifest must name the one
    /// before it.
    fn check_chain(
        &self,
        writer: &Writer,
        chain: &[Recorded],
        requests: &BTreeMap<u64, Found>,
        history: &mut History,
    ) {
        let pinned = self.pinned.heads.get(&writer.id).copied();
        let revoked_at = writer.revoked.map(|revocation| revocation.last);
        let expected = match revoked_at {
            Some(last) => last,
            None => pinned,
        };
        let mut next = 0;
        let mut before: Option<(u64, &Manifest)> = None;
        for recorded in chain.iter().filter(|r| r.standing != Standing::Revoked) {
            Self::explain_gap(writer.id, next..recorded.sequence, requests, history);
            next = recorded.sequence + 1;
            let Ok(manifest) = &recorded.manifest else {
                before = None;
                continue;
            };
            let key = layout::snapshot(writer.id, recorded.sequence);
            if let Some((sequence, previous)) = before
                && sequence + 1 == recorded.sequence
                && manifest.predicate.previous != Some(previous.id)
            {
                history.problems.push(VaultError::damaged(&key, "it does not follow the snapshot before it"));
            }
            for head in [expected, pinned].into_iter().flatten() {
                if head.sequence == recorded.sequence && head.id != manifest.id {
                    let reason = format!("snapshot {} was seen in its place before", head.id);
                    history.problems.push(VaultError::damaged(&key, reason));
                    break;
                }
            }
            before = Some((recorded.sequence, manifest));
        }
        if let Some(head) = expected {
            Self::explain_gap(writer.id, next..head.sequence.saturating_add(1), requests, history);
        }
    }

    fn explain_gap(
        writer: WriterId,
        gap: std::ops::Range<u64>,
        requests: &BTreeMap<u64, Found>,
        history: &mut History,
    ) {
        let mut at = gap.start;
        if gap.is_empty() {
            return;
        }
        let mut missing = |from: u64, to: u64| {
            if from < to {
                history.problems.push(VaultError::Withheld { writer, first: from, last: to - 1 });
            }
        };
        for (sequence, _) in requests.range(gap.clone()).filter(|(_, found)| found.request.is_some()) {
            missing(at, *sequence);
            at = sequence + 1;
        }
        missing(at, gap.end);
    }

    /// One manifest, checked.
    pub(crate) async fn manifest(&self, writer: &Writer, sequence: u64) -> Result<Manifest, VaultError> {
        let key = layout::snapshot(writer.id, sequence);
        let bytes = self.store.read(&key, cap::MANIFEST).await.map_err(VaultError::reading)?;
        let place = manifest::Place { repository: self.id, writer: writer.id, group: writer.group, sequence };
        let verification_key =
            writer.verification_key().ok_or(VaultError::Internal("a verified roster holds whole keys"))?;
        manifest::verify(&bytes, &verification_key, &place).map_err(|reason| VaultError::damaged(key, reason))
    }

    /// The newest manifest of a writer, or `None` when it has none. Less than this machine has seen before is an error.
    pub(crate) async fn head(&self, writer: &Writer) -> Result<Option<Manifest>, VaultError> {
        let entries = self.store.list(&layout::snapshots_of(writer.id)).await?;
        let newest = entries.iter().filter_map(|entry| layout::sequence_of(&entry.key)).max();
        let head = match newest {
            Some(sequence) => Some(self.manifest(writer, sequence).await?),
            None => None,
        };
        let Some(pinned) = self.pinned.heads.get(&writer.id) else { return Ok(head) };
        match &head {
            Some(found) if found.predicate.sequence > pinned.sequence => Ok(head),
            Some(found) if found.predicate.sequence == pinned.sequence => {
                if found.id == pinned.id {
                    Ok(head)
                } else {
                    let key = layout::snapshot(writer.id, pinned.sequence);
                    let reason = format!("snapshot {} was seen in its place before", pinned.id);
                    Err(VaultError::damaged(key, reason))
                }
            }
            _ => {
                let first = head.as_ref().map_or(0, |head| head.predicate.sequence + 1);
                Err(VaultError::Withheld { writer: writer.id, first, last: pinned.sequence })
            }
        }
    }

    /// Where a writer's chain goes on. A newest snapshot that is damaged does not stop its host from backing up where
    /// this machine knows its id, and neither do snapshots that were given up: their places are not used again.
    pub(crate) async fn tip(&self, writer: &Writer) -> Result<Tip, VaultError> {
        let (newest, damage) = match self.head(writer).await {
            Ok(newest) => (newest, None),
            Err(error @ (VaultError::Damaged { .. } | VaultError::Withheld { .. })) => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let pinned = self.pinned.heads.get(&writer.id).copied();
        let requests = self.store.list(&layout::forget_of(writer.id)).await?;
        let mut requested = BTreeSet::new();
        for sequence in requests.iter().filter_map(|entry| layout::sequence_of(&entry.key)) {
            let key = layout::forget(writer.id, sequence);
            match self.store.read(&key, cap::FORGET).await.map_err(VaultError::reading) {
                Ok(bytes) if Request::verify(&bytes, &self.roster, writer.id, sequence).is_ok() => {
                    requested.insert(sequence);
                }
                Err(error @ VaultError::Store(_)) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        let mut used = newest.as_ref().map(|newest| newest.predicate.sequence);
        used = used.max(requested.last().copied());
        if let Some(damage) = damage {
            let entries = self.store.list(&layout::snapshots_of(writer.id)).await?;
            let listed = entries.iter().filter_map(|entry| layout::sequence_of(&entry.key)).max();
            let is_known = |sequence| {
                requested.contains(&sequence) || pinned.is_some_and(|pinned| pinned.sequence == sequence)
            };
            let is_explained = match &damage {
                VaultError::Withheld { first, last, .. } => {
                    (*first..=*last).all(|sequence| requested.contains(&sequence))
                }
                _ => listed.is_some_and(is_known),
            };
            if !is_explained {
                return Err(damage);
            }
            tracing::warn!("{damage}");
            used = used.max(listed).max(pinned.map(|pinned| pinned.sequence));
        }
        let of_pin = pinned.filter(|pinned| Some(pinned.sequence) == used).map(|pinned| pinned.id);
        Ok(Tip {
            next: used.map_or(0, |used| used + 1),
            previous: of_pin.or(newest.as_ref().map(|newest| newest.id)),
            newest,
        })
    }

    /// Remembers on this machine that `head` was seen.
    pub(crate) fn pin_head(&self, writer: WriterId, head: Head) -> Result<(), VaultError> {
        let heads = BTreeMap::from([(writer, head)]);
        self.pins.advance(&Pins { roster: Some(self.roster_pin), heads })
    }
}

fn standing_before_the_floor(
    repository: &Repository,
    writer: &Writer,
    sequence: u64,
    found: Option<&Found>,
) -> Standing {
    if let Some(revocation) = &writer.revoked
        && revocation.last.is_none_or(|last| sequence > last.sequence)
    {
        return Standing::Revoked;
    }
    let counts = found
        .and_then(|found| found.request.as_ref())
        .is_some_and(|request| request.counts(&repository.roster));
    if counts { Standing::Forgotten } else { Standing::Kept }
}

/// What one writer's manifest says it saw of another must still be there. Of a removed writer only what counts is
/// missed, and its roster entry says up to where.
fn missed_by_others(roster: &Roster, history: &mut History) {
    let mut missed: BTreeMap<WriterId, u64> = BTreeMap::new();
    for recorded in history.snapshots.iter().filter(|recorded| recorded.standing != Standing::Revoked) {
        let Ok(manifest) = &recorded.manifest else { continue };
        for seen in &manifest.predicate.seen {
            let is_there = history.known.get(&seen.writer).is_some_and(|known| *known >= seen.sequence);
            let is_enrolled = roster.writer(seen.writer).is_some_and(|writer| writer.revoked.is_none());
            if !is_there && is_enrolled {
                let last = missed.entry(seen.writer).or_default();
                *last = seen.sequence.max(*last);
            }
        }
    }
    for (writer, last) in missed {
        let is_told = |problem: &VaultError| matches!(problem, VaultError::Withheld { writer: w, last: l, .. } if *w == writer && *l >= last);
        if !history.problems.iter().any(is_told) {
            let first = history.known.get(&writer).map_or(0, |sequence| sequence + 1);
            history.problems.push(VaultError::Withheld { writer, first, last });
        }
    }
}
