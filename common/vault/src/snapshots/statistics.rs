//! What a repository contains and what it saves, as far as a group's index key shows: no paths, no contents.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_core::Context;
use lifeboat_core::progress::{Progress, Unit};

use crate::error::VaultError;
use crate::format::authority::Word;
use crate::format::index::Locations;
use crate::format::layout;
use crate::keys::GroupView;
use crate::repository::access::Session;
use crate::repository::open::Repository;
use crate::snapshots::snapshot::{Listing, Snapshot};

/// The kinds of objects in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// Frames of contents and metadata.
    Packs,
    /// Which frame contains a chunk.
    Contents,
    /// Where a frame is stored.
    Locations,
    /// What the group can read of a snapshot.
    Parts,
    /// The signed manifests of snapshots, and their countersignatures.
    Manifests,
    /// Wrapped keys.
    Keys,
    /// The registrations of runs.
    Runs,
    /// The members, and the repository's own marker.
    Rosters,
    /// Requests, condemnations, losses and everything else.
    Other,
}

/// The number of objects of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectCount {
    /// How many.
    pub objects: u64,
    /// Their total size, in bytes.
    pub stored_bytes: u64,
}

/// What some snapshots captured, each counted as if it were the only one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// How many snapshots.
    pub snapshots: u64,
    /// Their files, folders and other items.
    pub items: u64,
    /// The data of their files, in bytes.
    pub data_bytes: u64,
    /// Their item streams and documents, in bytes.
    pub metadata_bytes: u64,
}

/// The frames of the visible groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// How many frames there are.
    pub frames: u64,
    /// The chunks in them before compression, in bytes. Every chunk was stored once.
    pub chunk_bytes: u64,
    /// The frames after compression and sealing, in bytes.
    pub sealed_bytes: u64,
}

/// The statistics of a repository.
#[derive(Debug, Default)]
pub struct Statistics {
    /// The hosts of the snapshots.
    pub hosts: BTreeSet<String>,
    /// All snapshots that the key shows.
    pub all: Total,
    /// The newest snapshot of each writer.
    pub newest: Total,
    /// Every object of the repository, including those of other groups.
    pub objects: BTreeMap<ObjectKind, ObjectCount>,
    /// The frames of the groups that the key shows.
    pub frames: Frames,
    /// How many groups the key does not show.
    pub hidden_groups: u64,
    /// What could not be read and is not counted above.
    pub unreadable: Vec<VaultError>,
}

impl Statistics {
    /// The sum of all objects.
    pub fn stored(&self) -> ObjectCount {
        let mut sum = ObjectCount::default();
        for count in self.objects.values() {
            sum.objects += count.objects;
            sum.stored_bytes += count.stored_bytes;
        }
        sum
    }

    /// How many times larger the captured data is than its chunks.
    pub fn deduplication_ratio(&self) -> Option<f64> {
        ratio(self.all.data_bytes + self.all.metadata_bytes, self.frames.chunk_bytes)
    }

    /// How many times larger the chunks are than their frames.
    pub fn compression_ratio(&self) -> Option<f64> {
        ratio(self.frames.chunk_bytes, self.frames.sealed_bytes)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is told with two digits")]
fn ratio(large: u64, small: u64) -> Option<f64> {
    (small > 0 && large > 0).then(|| large as f64 / small as f64)
}

impl Total {
    fn add(&mut self, snapshot: &Snapshot) {
        self.snapshots += 1;
        // One part cannot overflow a u64; very many together can.
        self.items = snapshot.streams().map(|s| s.items).fold(self.items, u64::saturating_add);
        self.data_bytes = snapshot.streams().map(|s| s.data_bytes).fold(self.data_bytes, u64::saturating_add);
        self.metadata_bytes = self.metadata_bytes.saturating_add(snapshot.summary.metadata_bytes);
    }
}

impl Statistics {
    /// Counts the contents of the repository. Lists the objects, and reads the locations of the visible groups, one at
    /// a time.
    pub async fn read(session: &Session, context: &Context) -> Result<Self, VaultError> {
        let progress = &*context.progress;
        let count = async {
            let listing = Listing::read(session).await?;
            let mut statistics = Self { unreadable: listing.unreadable, ..Self::default() };
            let mut newest: BTreeMap<_, &Snapshot> = BTreeMap::new();
            for snapshot in &listing.snapshots {
                statistics.hosts.insert(snapshot.host().to_owned());
                statistics.all.add(snapshot);
                let (writer, sequence) = snapshot.line();
                let last = newest.entry(writer).or_insert(snapshot);
                if last.line().1 < sequence {
                    *last = snapshot;
                }
            }
            for snapshot in newest.values() {
                statistics.newest.add(snapshot);
            }
            progress.phase("listing", Unit::Items, None);
            for entry in session.repository.store.list("").await? {
                progress.advance(1);
                let count = statistics.objects.entry(kind_of(&entry.key)).or_default();
                count.objects += 1;
                count.stored_bytes += entry.size;
            }
            for group in &session.groups {
                statistics.count_frames(&session.repository, group, progress).await?;
            }
            let groups = session.repository.roster.groups.iter();
            statistics.hidden_groups =
                groups.filter(|group| session.group(group.id).is_none()).count() as u64;
            Ok(statistics)
        };
        context.cancel.run_until_cancelled(count).await.unwrap_or(Err(VaultError::Interrupted))
    }

    async fn count_frames(
        &mut self,
        repository: &Repository,
        group: &GroupView,
        progress: &dyn Progress,
    ) -> Result<(), VaultError> {
        let entries = repository.objects_below(&layout::locations_of(group.id)).await?;
        progress.phase("reading the index", Unit::Items, Some(entries.len() as u64));
        // The objects of one run come one after another; a frame that was moved is located twice but counts once.
        let mut run = None;
        let mut seen = BTreeSet::new();
        for entry in entries {
            let read = repository.read_signed::<Locations>(&entry.key, group, Word::Places);
            progress.advance(1);
            let object = match read.await? {
                Ok((_, object)) => object,
                Err(error) => {
                    self.unreadable.push(error.into());
                    continue;
                }
            };
            if run != Some(object.run) {
                run = Some(object.run);
                seen.clear();
            }
            for frame in object.packs.iter().flat_map(|pack| &pack.frames) {
                if seen.insert(frame.ordinal) {
                    self.frames.frames += 1;
                    self.frames.chunk_bytes += u64::from(frame.chunk_bytes);
                    self.frames.sealed_bytes += u64::from(frame.length);
                }
            }
        }
        Ok(())
    }
}

fn kind_of(key: &str) -> ObjectKind {
    match key.split('/').next().unwrap_or_default() {
        "packs" => ObjectKind::Packs,
        "contents" => ObjectKind::Contents,
        "locations" => ObjectKind::Locations,
        "parts" => ObjectKind::Parts,
        layout::SNAPSHOTS => ObjectKind::Manifests,
        "keys" => ObjectKind::Keys,
        "runs" => ObjectKind::Runs,
        layout::ROSTERS | layout::MARKER => ObjectKind::Rosters,
        _ => ObjectKind::Other,
    }
}

impl std::fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Packs => "packs",
            Self::Contents => "contents",
            Self::Locations => "locations",
            Self::Parts => "parts",
            Self::Manifests => "manifests",
            Self::Keys => "keys",
            Self::Runs => "runs",
            Self::Rosters => "rosters",
            Self::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_of_the_layout_has_its_kind() {
        let kinds = [
            (layout::MARKER, ObjectKind::Rosters),
            ("roster/0000000000", ObjectKind::Rosters),
            ("keys/data-0/a.age", ObjectKind::Keys),
            ("snapshots/a/0000000000.sig/b", ObjectKind::Manifests),
            ("forget/a/0000000000", ObjectKind::Other),
            ("packs/a/00/b", ObjectKind::Packs),
        ];
        for (key, kind) in kinds {
            assert_eq!(kind_of(key), kind, "{key}");
        }
    }

    #[test]
    fn nothing_stored_has_no_ratio() {
        assert_eq!(Statistics::default().deduplication_ratio(), None);
        assert_eq!(ratio(300, 100), Some(3.0));
    }
}
