//! Compares two snapshots: walks both item streams side by side, with one item of each in memory at a time.

use std::cmp::Ordering;

use lifeboat_core::Context;
use lifeboat_core::progress::Unit;
use tokio_util::sync::CancellationToken;

use crate::error::VaultError;
use crate::format::item::{Item, ItemKind, path_order};
use crate::restore::compare::metadata_aspects;
use crate::restore::open::OpenSnapshot;
use crate::restore::reader::ContentStream;

/// One difference of a later snapshot from an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path below the captured folder.
    pub path: Vec<u8>,
    /// What happened to it.
    pub what: Changed,
    /// A file's length before, in bytes.
    pub size_before: Option<u64>,
    /// A file's length after, in bytes.
    pub size_after: Option<u64>,
}

/// What happened to an item between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Only the later snapshot has it.
    Added,
    /// Only the earlier snapshot has it.
    Removed,
    /// Both have it, and these aspects are not the same: `kind`, `links` (a name of another file became a file, or the
    /// other way round), `mode`, `owner`, `mtime`, `xattrs`, `target`, `device`, `size`, `holes`, `content`.
    Aspects(Vec<&'static str>),
}

/// The size of the difference, counted while the snapshots are walked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Items that only the later snapshot has.
    pub added: u64,
    /// The sum of their files' lengths.
    pub added_bytes: u64,
    /// Items that only the earlier snapshot has.
    pub removed: u64,
    /// The sum of their files' lengths.
    pub removed_bytes: u64,
    /// Items that both have but that differ.
    pub changed: u64,
    /// The sum of the later lengths of those files whose content differs.
    pub changed_bytes: u64,
    /// Items that are the same in both.
    pub unchanged: u64,
}

impl OpenSnapshot {
    /// Compares the stream at `index` with the one at `later_index` of a later snapshot; calls `each` with the changes
    /// in stream order. Contents are compared by their hashes; if the two streams were cut into chunks differently, as
    /// in two groups, files of the same size are read and compared byte by byte.
    pub async fn changes(
        &self,
        index: usize,
        later: &OpenSnapshot,
        later_index: usize,
        context: &Context,
        mut each: impl FnMut(Change),
    ) -> Result<ChangeCounts, VaultError> {
        let (record, later_record) = (self.record(index)?, later.record(later_index)?);
        context.progress.phase("comparing", Unit::Items, Some(record.item_count + later_record.item_count));
        let same_cuts = record.chunk_sizes == later_record.chunk_sizes
            && self.snapshot().manifest.predicate.group == later.snapshot().manifest.predicate.group;
        let mut contents = Contents {
            same_cuts,
            before: ContentStream::new(self.reader().clone(), record.items.clone()),
            after: ContentStream::new(later.reader().clone(), later_record.items.clone()),
        };
        let (mut stream, mut later_stream) = (self.items(index)?, later.items(later_index)?);
        let mut counts = ChangeCounts::default();
        let (mut before, mut after) = (stream.next().await?, later_stream.next().await?);
        loop {
            if context.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            let order = match (&before, &after) {
                (None, None) => return Ok(counts),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => path_order(&before.path, &after.path),
            };
            let was = if order.is_le() { before.take() } else { None };
            let is = if order.is_ge() { after.take() } else { None };
            context.progress.advance(u64::from(was.is_some()) + u64::from(is.is_some()));
            let what = match (&was, &is) {
                (Some(_), None) => Some(Changed::Removed),
                (None, Some(_)) => Some(Changed::Added),
                (Some(was), Some(is)) => {
                    let aspects = contents.aspects(was, is, &context.cancel).await?;
                    (!aspects.is_empty()).then_some(Changed::Aspects(aspects))
                }
                (None, None) => None,
            };
            counts.add(what.as_ref(), was.as_ref(), is.as_ref());
            if let (Some(what), Some(item)) = (what, is.as_ref().or(was.as_ref())) {
                let size = |item: &Option<Item>| item.as_ref().and_then(|item| item.size);
                each(Change {
                    path: item.path.to_vec(),
                    what,
                    size_before: size(&was),
                    size_after: size(&is),
                });
            }
            if was.is_some() {
                before = stream.next().await?;
            }
            if is.is_some() {
                after = later_stream.next().await?;
            }
        }
    }
}

impl ChangeCounts {
    fn add(&mut self, what: Option<&Changed>, before: Option<&Item>, after: Option<&Item>) {
        let size = |item: Option<&Item>| item.and_then(|item| item.size).unwrap_or(0);
        match what {
            None => self.unchanged += 1,
            Some(Changed::Added) => {
                self.added += 1;
                self.added_bytes += size(after);
            }
            Some(Changed::Removed) => {
                self.removed += 1;
                self.removed_bytes += size(before);
            }
            Some(Changed::Aspects(aspects)) => {
                self.changed += 1;
                if aspects.iter().any(|aspect| matches!(*aspect, "content" | "size" | "kind")) {
                    self.changed_bytes += size(after);
                }
            }
        }
    }
}

impl std::ops::AddAssign for ChangeCounts {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.added_bytes += other.added_bytes;
        self.removed += other.removed;
        self.removed_bytes += other.removed_bytes;
        self.changed += other.changed;
        self.changed_bytes += other.changed_bytes;
        self.unchanged += other.unchanged;
    }
}

/// Compares the contents of two streams' files.
struct Contents {
    /// Whether equal contents have equal hashes, and different contents different ones.
    same_cuts: bool,
    before: ContentStream,
    after: ContentStream,
}

impl Contents {
    async fn aspects(
        &mut self,
        before: &Item,
        after: &Item,
        cancel: &CancellationToken,
    ) -> Result<Vec<&'static str>, VaultError> {
        let mut aspects = Vec::new();
        match (before.kind, after.kind) {
            (ItemKind::File, ItemKind::HardLink) | (ItemKind::HardLink, ItemKind::File) => {
                aspects.push("links");
            }
            (one, other) if one != other => return Ok(vec!["kind"]),
            _ => {}
        }
        aspects.extend(metadata_aspects(before, after));
        if before.kind != ItemKind::File || after.kind != ItemKind::File {
            return Ok(aspects);
        }
        if before.size != after.size {
            aspects.push("size");
            return Ok(aspects);
        }
        if before.segments != after.segments {
            aspects.push("holes");
        }
        if !self.have_same_bytes(before, after, cancel).await? {
            aspects.push("content");
        }
        Ok(aspects)
    }

    /// Whether the data of both files, without holes, is the same.
    async fn have_same_bytes(
        &mut self,
        before: &Item,
        after: &Item,
        cancel: &CancellationToken,
    ) -> Result<bool, VaultError> {
        let (Some(one), Some(other)) = (&before.content, &after.content) else {
            return Ok(before.content.is_some() == after.content.is_some());
        };
        if one.hash == other.hash || self.same_cuts {
            return Ok(one.hash == other.hash);
        }
        if one.bytes() != other.bytes() {
            return Ok(false);
        }
        self.before.turn_to(one.clone(), Vec::new());
        self.after.turn_to(other.clone(), Vec::new());
        let (mut here, mut there) = (Vec::new(), Vec::new());
        loop {
            if cancel.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            if here.is_empty() {
                here = self.before.next().await?.unwrap_or_default();
            }
            if there.is_empty() {
                there = self.after.next().await?.unwrap_or_default();
            }
            let length = here.len().min(there.len());
            if length == 0 {
                return Ok(here.len() == there.len());
            }
            if here[..length] != there[..length] {
                return Ok(false);
            }
            here.drain(..length);
            there.drain(..length);
        }
    }
}
