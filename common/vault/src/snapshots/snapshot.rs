//! What a group's index key shows of snapshots: who, when, what and how much, but no paths and no contents.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use tokio::sync::Semaphore;

use crate::error::VaultError;
use crate::format::manifest::{Consistency, Manifest, Original, StreamKind};
use crate::ids::{GroupId, WriterId};
use crate::repository::access::Session;
use crate::snapshots::history::{Evidence, History, Recorded};
use crate::snapshots::summary::{MOST_OF_A_WRITER, Room, Summary};

/// How many parts are read at once.
const READS: usize = 8;

/// How many bytes of parts are read at a time, whatever their number: a listing reads those of all writers.
const MOST_AT_ONCE: usize = 16 << 20;

/// A snapshot as seen by a session. Its manifest and part were checked.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) manifest: Manifest,
    pub(crate) summary: Summary,
    /// When its manifest was stored, by the storage's clock.
    pub(crate) stored: Timestamp,
}

/// One stream of a snapshot as seen by a session.
#[derive(Debug, Clone)]
pub struct StreamView<'a> {
    /// What it was captured from.
    pub kind: StreamKind,
    /// Its name.
    pub name: &'a str,
    /// How writers were excluded while it was captured.
    pub consistency: Consistency,
    /// How many items it has.
    pub items: u64,
    /// The sum of its files' data, in bytes.
    pub data_bytes: u64,
    /// How many items could not be captured.
    pub unreadable: u64,
}

/// All snapshots of a session's groups.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that verify, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// What is missing, unreadable or contradictory. Problems are never dropped silently.
    pub unreadable: Vec<VaultError>,
    /// The first reason for each writer whose latest snapshot is not known for certain: `latest` refuses to skip one.
    pub(crate) doubtful: BTreeMap<WriterId, VaultError>,
    /// Set if the storage was rolled back: any writer may have newer snapshots.
    pub(crate) behind: Option<VaultError>,
    /// The writers that were removed.
    pub(crate) removed: BTreeSet<WriterId>,
    /// How many snapshots were removed because they do not match.
    pub(crate) left_out: usize,
}

/// The share of [`MOST_AT_ONCE`] that the part of a manifest takes.
fn room_of(manifest: &Manifest) -> u32 {
    u32::try_from(manifest.predicate.part_bytes.min(MOST_AT_ONCE as u64)).unwrap_or(u32::MAX)
}

impl Listing {
    /// Reads and checks every manifest and the parts that this session can open. Manifests of other groups are checked
    /// but omitted, and so are forgotten snapshots.
    pub async fn read(session: &Session) -> Result<Self, VaultError> {
        let history = History::read(&session.repository).await?;
        let writers = session.repository.roster.writers.iter();
        let removed = writers.filter(|writer| writer.revoked.is_some()).map(|writer| writer.id).collect();
        let behind = session.repository.rolled_back();
        let unreadable = behind.iter().map(VaultError::again).collect();
        let mut listing = Self { unreadable, behind, removed, ..Self::default() };
        for problem in history.problems {
            let is_doubtful = problem.evidence == Evidence::Own && shows(session, problem.group);
            listing.report(problem.writer, is_doubtful, problem.error);
        }
        let mut reported = BTreeSet::new();
        let mut room = Room::default();
        let of_histories = listing.unreadable.len();
        // The newest first: if a writer has too many names in its snapshots, those of the oldest are omitted.
        let live = history.snapshots.into_iter().rev().filter(Recorded::is_live);
        let room_for_parts = &Semaphore::new(MOST_AT_ONCE);
        let read = |recorded: Recorded| async move {
            let sealed = match &recorded.manifest {
                Ok(manifest) if session.group(recorded.group).is_some() => {
                    let room = room_for_parts.acquire_many(room_of(manifest)).await;
                    Some((session.repository.sealed_part(manifest).await, room))
                }
                _ => None,
            };
            (recorded, sealed)
        };
        let mut read = std::pin::pin!(futures::stream::iter(live).map(read).buffered(READS));
        while let Some((recorded, sealed)) = read.next().await {
            let Recorded { writer, group, stored, manifest, .. } = recorded;
            let sealed = match sealed {
                Some((sealed, room)) => Some((sealed?, room)),
                None => None,
            };
            let snapshot = manifest.and_then(|manifest| match (session.group(group), sealed) {
                (Some(view), Some((sealed, _room))) => {
                    let part = session.repository.open_part(&manifest, view, &sealed?)?;
                    let summary = room.fit(writer, Summary::of(&part));
                    Ok(Some(Snapshot { manifest, summary, stored }))
                }
                _ => Ok(None),
            });
            match snapshot {
                Ok(Some(snapshot)) => listing.snapshots.push(snapshot),
                // A group whose keys should open but do not is reported once.
                Ok(None) => {
                    if let Some(reason) = session.closed(group) {
                        listing.doubtful.entry(writer).or_insert_with(|| reason.clone().into());
                        if reported.insert(group) {
                            listing.unreadable.push(reason.clone().into());
                        }
                    }
                }
                Err(error) => listing.report(writer, shows(session, group), error),
            }
        }
        listing.unreadable[of_histories..].reverse();
        let cut = room.cut().map(|(writer, count)| VaultError::TooMuchToList {
            writer,
            count,
            most_bytes: MOST_OF_A_WRITER,
        });
        listing.unreadable.extend(cut);
        listing.snapshots.sort_by_key(|snapshot| (snapshot.time(), snapshot.writer(), snapshot.sequence()));
        Ok(listing)
    }
}

/// Whether a key should show a group's snapshots. Problems with others are reported, but cast no doubt on which of its
/// own is the latest.
fn shows(session: &Session, group: GroupId) -> bool {
    session.group(group).is_some() || session.closed(group).is_some()
}

impl Snapshot {
    /// The snapshot with everything in its part, even if a listing had no room for its names.
    pub async fn whole(self, session: &Session) -> Result<Self, VaultError> {
        let Some(group) = session.group(self.manifest.predicate.group) else { return Ok(self) };
        let part = session.repository.part(&self.manifest, group).await??;
        Ok(Self { summary: Summary::of(&part), ..self })
    }

    /// The snapshot's id.
    pub fn id(&self) -> &Sha256Digest {
        &self.manifest.id
    }

    /// A short prefix of the id, for people.
    pub fn short_id(&self) -> String {
        short(&self.manifest.id)
    }

    /// Who wrote it.
    pub fn writer(&self) -> WriterId {
        self.manifest.predicate.writer
    }

    /// Its number in the writer's sequence.
    pub fn sequence(&self) -> u64 {
        self.manifest.predicate.sequence
    }

    /// When it was taken, by the writer's clock.
    pub fn time(&self) -> Timestamp {
        self.manifest.predicate.time
    }

    /// When it was stored, by the storage's clock.
    pub fn stored(&self) -> Timestamp {
        self.stored
    }

    /// Whether something that should have been captured is missing.
    pub fn is_incomplete(&self) -> bool {
        self.manifest.predicate.incomplete
    }

    /// The host's name.
    pub fn host(&self) -> &str {
        &self.summary.host
    }

    /// The application, if the snapshot is of one.
    pub fn application(&self) -> Option<&str> {
        self.summary.application.as_deref()
    }

    /// Its labels.
    pub fn tags(&self) -> &[String] {
        &self.summary.tags
    }

    /// Its streams.
    pub fn streams(&self) -> impl Iterator<Item = StreamView<'_>> {
        self.summary.streams.iter().map(|stream| StreamView {
            kind: stream.kind,
            name: &stream.name,
            consistency: stream.consistency,
            items: stream.items,
            data_bytes: stream.data_bytes,
            unreadable: stream.unreadable,
        })
    }

    /// The snapshot that this one is a copy of; itself if it is not a copy.
    pub fn original(&self) -> Original {
        self.summary.copied_from.unwrap_or(Original {
            repository: self.manifest.predicate.repository,
            snapshot: self.manifest.id,
            writer: self.writer(),
            sequence: self.sequence(),
        })
    }

    /// Whether it was copied from another repository.
    pub fn is_copy(&self) -> bool {
        self.summary.copied_from.is_some()
    }

    /// The writer that first took it, and its number in that writer's sequence: copies stay in order, whoever made them
    /// and in whatever order.
    pub(crate) fn line(&self) -> (WriterId, u64) {
        let original = self.original();
        (original.writer, original.sequence)
    }
}

/// How ids are shown to people.
fn short(id: &Sha256Digest) -> String {
    id.to_string()[..12].to_owned()
}

impl Listing {
    fn report(&mut self, writer: WriterId, is_doubtful: bool, error: VaultError) {
        if is_doubtful {
            self.doubtful.entry(writer).or_insert_with(|| error.again());
        }
        self.unreadable.push(error);
    }

    /// Why the latest snapshot of `host`, or of all writers if none is given, is not known for certain. A problem with
    /// one host does not affect others. A host of which nothing can be read may be any of those in doubt.
    pub(crate) fn doubt(&self, host: Option<&str>) -> Option<&VaultError> {
        if self.behind.is_some() {
            return self.behind.as_ref();
        }
        let Some(host) = host else { return self.doubtful.values().next() };
        let of_host: BTreeSet<WriterId> =
            self.snapshots.iter().filter(|s| s.host() == host).map(Snapshot::writer).collect();
        if of_host.is_empty() {
            return self.doubtful.values().next();
        }
        self.doubtful.iter().find(|(writer, _)| of_host.contains(writer)).map(|(_, error)| error)
    }
}
