//! Compares a folder with a snapshot without fetching contents: cuts and hashes the folder's files as in their capture,
//! and compares the hashes.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use lifeboat_core::Context;
use lifeboat_core::progress::{Progress, Unit};

use crate::error::VaultError;
use crate::format::chunk::{ChunkBuffer, Chunker};
use crate::format::item::{Item, ItemKind, path_order};
use crate::restore::open::{OpenSnapshot, Subtree};
use crate::restore::reader::ItemStream;
use crate::tree::source::{Body, Found, Layout, Source};
use crate::tree::{FolderSource, leave_out_owner};

/// One difference between a folder and a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path below the captured folder.
    pub path: Vec<u8>,
    /// What differs.
    pub what: What,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The snapshot has it, the folder does not.
    Missing,
    /// The folder has it, the snapshot does not.
    Extra,
    /// Both have it, and these aspects are not the same: `kind`, `mode`, `owner`, `mtime`, `xattrs`, `target`,
    /// `device`, `size`, `content`.
    Changed(Vec<&'static str>),
    /// It could not be read.
    Unreadable(String),
}

/// Options of a comparison.
#[derive(Debug)]
pub struct Compared {
    /// The stream.
    pub index: usize,
    /// Only this part of it. A part that is a file is compared with the file of its name in the folder, or with a file.
    pub part: Option<Subtree>,
    /// Ignore owners, and what a restore without owners omits.
    pub no_owner: bool,
}

/// The wanted items, in order.
enum Wanted {
    Stream(Box<ItemStream>),
    Part(std::vec::IntoIter<Item>),
}

impl Wanted {
    async fn next(&mut self) -> Result<Option<Item>, VaultError> {
        match self {
            Self::Stream(stream) => stream.next().await,
            Self::Part(items) => Ok(items.next()),
        }
    }
}

impl OpenSnapshot {
    /// Compares the folder `at` with a stream. Differences come in stream order.
    pub async fn compare(
        &self,
        with: Compared,
        at: &Path,
        context: &Context,
    ) -> Result<Vec<Difference>, VaultError> {
        let record = self.record(with.index)?;
        let chunker = self.chunker(record.chunk_sizes);
        let mut source = open_source(at, with.part.as_ref())?;
        let mut buffer = ChunkBuffer::new(chunker.sizes());
        let mut differences = Vec::new();
        let (mut stream, bytes) = match with.part {
            Some(part) => {
                let bytes = part.items.iter().filter_map(|item| item.size).sum();
                (Wanted::Part(part.items.into_iter()), bytes)
            }
            None => (Wanted::Stream(Box::new(self.items(with.index)?)), record.data_bytes),
        };
        context.progress.phase("comparing", Unit::Bytes, Some(bytes));
        let mut there = next_found(&mut source, at, &mut differences);
        let mut wanted = stream.next().await?;
        loop {
            if context.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            let order = match (&wanted, &there) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(item), Some(found)) => path_order(&item.path, &found.item.path),
            };
            if order.is_gt() {
                if let Some(found) = there {
                    differences.push(Difference { path: found.item.path.into(), what: What::Extra });
                }
                there = next_found(&mut source, at, &mut differences);
                continue;
            }
            let Some(mut item) = wanted else { break };
            if order.is_lt() {
                differences.push(Difference { path: item.path.into(), what: What::Missing });
            } else if let Some(found) = there {
                if with.no_owner {
                    leave_out_owner(&mut item, &found.item);
                }
                let what = differing(&item, found, &chunker, &mut buffer, &*context.progress);
                if let Some(what) = what {
                    differences.push(Difference { path: item.path.into(), what });
                }
                there = next_found(&mut source, at, &mut differences);
                wanted = stream.next().await?;
                continue;
            }
            wanted = stream.next().await?;
        }
        // An unreadable item was reported when it was found, and is missing at its turn: report it once.
        let unreadable: BTreeSet<_> = differences
            .iter()
            .filter(|d| matches!(d.what, What::Unreadable(_)))
            .map(|d| d.path.clone())
            .collect();
        differences.retain(|d| d.what != What::Missing || !unreadable.contains(&d.path));
        Ok(differences)
    }
}

/// The source to compare: a folder with its contents, or one file.
fn open_source(at: &Path, part: Option<&Subtree>) -> Result<FolderSource, VaultError> {
    match part.and_then(Subtree::file_name) {
        Some(name) => FolderSource::open_only(at, name),
        None => FolderSource::open(at),
    }
}

fn next_found(source: &mut FolderSource, root: &Path, differences: &mut Vec<Difference>) -> Option<Found> {
    use std::os::unix::ffi::OsStrExt;
    loop {
        match source.next()? {
            Ok(found) => return Some(found),
            Err(unreadable) => {
                let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
                let below = unreadable.path.strip_prefix(&absolute).unwrap_or(&unreadable.path);
                differences.push(Difference {
                    path: below.as_os_str().as_bytes().to_vec(),
                    what: What::Unreadable(unreadable.error.to_string()),
                });
            }
        }
    }
}

fn differing(
    item: &Item,
    mut found: Found,
    chunker: &Chunker,
    buffer: &mut ChunkBuffer,
    progress: &dyn Progress,
) -> Option<What> {
    let there = &found.item;
    if item.kind != there.kind {
        return Some(What::Changed(vec!["kind"]));
    }
    let mut aspects = metadata_aspects(item, there);
    if item.kind == ItemKind::File && item.size != there.size {
        aspects.push("size");
    }
    if item.kind == ItemKind::File && item.size == there.size {
        match found.body.as_deref_mut().map(|body| has_content(item, body, chunker, buffer, progress)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => aspects.push("content"),
            Some(Err(error)) => return Some(What::Unreadable(error.to_string())),
        }
    }
    (!aspects.is_empty()).then_some(What::Changed(aspects))
}

/// The differences between two items of one path, except kind, size and content.
pub(crate) fn metadata_aspects(one: &Item, other: &Item) -> Vec<&'static str> {
    let mut aspects = Vec::new();
    let mut note = |differs: bool, aspect| {
        if differs {
            aspects.push(aspect);
        }
    };
    // Linux gives every symbolic link the mode 0777.
    note(one.mode != other.mode && one.kind != ItemKind::Symlink, "mode");
    note((one.uid, one.gid) != (other.uid, other.gid), "owner");
    note((one.mtime, one.mtime_ns) != (other.mtime, other.mtime_ns), "mtime");
    note(one.xattrs != other.xattrs, "xattrs");
    note(one.kind == other.kind && one.target != other.target, "target");
    note(one.device != other.device, "device");
    aspects
}

/// Whether the file has the item's content: its data where the item has data, only zeros elsewhere.
fn has_content(
    item: &Item,
    body: &mut dyn Body,
    chunker: &Chunker,
    buffer: &mut ChunkBuffer,
    progress: &dyn Progress,
) -> io::Result<bool> {
    let layout = body.open()?;
    let wanted = item.data_segments();
    let mut hasher = blake3::Hasher::new();
    for segment in &wanted {
        let (mut at, end) = (segment.offset, segment.offset + segment.length);
        let read = |buffer: &mut [u8]| {
            let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let count = body.read_at(at, &mut buffer[..room])?;
            at += count as u64;
            progress.advance(count as u64);
            Ok(count)
        };
        buffer.cut_all::<io::Error>(chunker, read, |chunk| {
            hasher.update(&chunker.id(chunk).0);
            Ok(())
        })?;
    }
    let expected =
        item.content.as_ref().map_or_else(|| *blake3::hash(b"").as_bytes(), |content| content.hash);
    if *hasher.finalize().as_bytes() != expected {
        return Ok(false);
    }
    let data_there = match layout {
        Layout::Sparse { segments, .. } => segments,
        Layout::Dense { .. } => {
            item.size.map(|length| crate::format::item::Segment { offset: 0, length }).into_iter().collect()
        }
    };
    // Only where the file has data and the item has a hole can there be anything but zeros.
    let mut zeros = vec![0; 64 << 10];
    for hole in crate::format::item::holes_of(&wanted, item.size.unwrap_or(0)) {
        for data in &data_there {
            let (mut at, end) =
                (hole.offset.max(data.offset), (hole.offset + hole.length).min(data.offset + data.length));
            while at < end {
                let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(zeros.len());
                let count = body.read_at(at, &mut zeros[..room])?;
                if count == 0 || zeros[..count].iter().any(|byte| *byte != 0) {
                    return Ok(false);
                }
                at += count as u64;
            }
        }
    }
    Ok(true)
}
