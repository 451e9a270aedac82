//! Captures a source as chunks in frames: stores new chunks and refers to known ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use lifeboat_core::progress::Progress;
use lifeboat_core::text::path_text;
use roaring::RoaringBitmap;
use tokio_util::sync::CancellationToken;

use crate::backup::file_cache::{FileCache, FileCaches};
use crate::backup::pipeline::Pipeline;
use crate::error::VaultError;
use crate::format::chunk::{ChunkBuffer, Chunker};
use crate::format::frame::{PackKind, RawFrame};
use crate::format::frame_set::FrameSet;
use crate::format::index::{ChunkPlace, ContentsIndex};
use crate::format::item::{Content, Extent, Item, ItemKind, Segment, has_holes};
use crate::ids::{ChunkId, FrameName, RunId};
use crate::tree::source::{Body, Found, Layout, Source, Unreadable};

/// Stores each chunk once and returns its place.
pub(crate) struct ChunkStore {
    pub(crate) run: RunId,
    index: ContentsIndex,
    /// Old frames of which so little is used that the chunks still in use are stored again, within the budget.
    underused: Underused,
    new: HashMap<ChunkId, (u32, u32)>,
    next_ordinal: u32,
    filling: [Option<RawFrame>; 2],
    pipeline: Pipeline,
    needed: HashMap<FrameName, RoaringBitmap>,
    generation: u64,
    /// Bytes of chunks that were not in the repository before.
    pub(crate) new_bytes: u64,
}

/// Frames of which the last snapshot used little, and how many of their chunks may be stored again.
#[derive(Default)]
pub(crate) struct Underused {
    pub(crate) frames: FrameSet,
    pub(crate) budget: u64,
}

impl Underused {
    /// Whether a chunk in this frame must be stored again; if so, it counts against the budget.
    fn rewrites(&mut self, frame: FrameName) -> bool {
        let rewrites = self.budget > 0 && self.frames.contains(frame);
        self.budget -= u64::from(rewrites);
        rewrites
    }

    /// Whether a whole content has chunks to store again, and the budget allows all of them.
    fn would_rewrite(&self, content: &Content) -> bool {
        let underused = content.extents.iter().filter(|extent| self.frames.contains(content.frame(extent)));
        let chunks: u64 = underused.map(|extent| u64::from(extent.chunks)).sum();
        chunks > 0 && chunks <= self.budget
    }
}

/// The places of a file's or a stream's chunks, as they are stored one by one.
struct ContentBuilder {
    content: Content,
    hasher: blake3::Hasher,
    last_slot: u32,
}

/// The items in a stream so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) items: u64,
    pub(crate) data_bytes: u64,
}

/// The observer of a capture's progress, and the token that cancels it.
type Watchers<'w> = (&'w Arc<dyn Progress>, &'w CancellationToken);

/// The result of capturing one stream.
pub(crate) struct Captured {
    pub(crate) items: Content,
    pub(crate) counts: Counts,
    pub(crate) unreadable: Vec<Unreadable>,
    /// Files that changed while they were read, and were captured in the state that was read.
    pub(crate) changed: Vec<Vec<u8>>,
}

/// A failure to read, which costs one file, or to store, which ends the run.
enum CaptureError {
    Read(io::Error),
    Vault(VaultError),
}

impl From<io::Error> for CaptureError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<VaultError> for CaptureError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

/// The first name of a hard link's file, if that file is missing from the stream: a link to it would dangle.
fn other_name_of_lost<'l>(item: &Item, lost: &'l HashSet<Vec<u8>>) -> Option<&'l [u8]> {
    let target = item.target.as_ref().filter(|_| item.kind == ItemKind::HardLink)?;
    lost.get(&target[..]).map(Vec::as_slice)
}

impl ChunkStore {
    pub(crate) fn new(run: RunId, index: ContentsIndex, underused: Underused, pipeline: Pipeline) -> Self {
        Self {
            run,
            index,
            underused,
            new: HashMap::new(),
            next_ordinal: 0,
            filling: [None, None],
            pipeline,
            needed: HashMap::new(),
            generation: 0,
            new_bytes: 0,
        }
    }

    fn put(&mut self, kind: PackKind, id: ChunkId, chunk: &[u8]) -> Result<ChunkPlace, VaultError> {
        if let Some(&(ordinal, slot)) = self.new.get(&id) {
            let frame = self.run.frame(ordinal);
            self.need(frame, slot..slot + 1);
            return Ok(ChunkPlace { frame, slot });
        }
        if let Some(place) = self.index.find(&id)
            && !self.underused.rewrites(place.frame)
        {
            self.need(place.frame, place.slot..place.slot + 1);
            return Ok(place);
        }
        let next = &mut self.next_ordinal;
        let frame = self.filling[kind as usize].get_or_insert_with(|| {
            *next += 1;
            RawFrame::new(*next - 1, kind)
        });
        let (ordinal, slot) = (frame.ordinal, frame.push(id, chunk));
        self.new.insert(id, (ordinal, slot));
        self.new_bytes += chunk.len() as u64;
        if frame.is_full() {
            self.flush(kind)?;
        }
        let frame = self.run.frame(ordinal);
        self.need(frame, slot..slot + 1);
        Ok(ChunkPlace { frame, slot })
    }

    fn need(&mut self, frame: FrameName, slots: std::ops::Range<u32>) {
        self.needed.entry(frame).or_default().insert_range(slots);
    }

    fn flush(&mut self, kind: PackKind) -> Result<(), VaultError> {
        match self.filling[kind as usize].take() {
            Some(frame) if !frame.is_empty() => self.pipeline.push(frame),
            _ => Ok(()),
        }
    }

    /// Refers to content that an earlier run stored, if all its frames are known, whole and worth keeping.
    fn lean_on(&mut self, content: &Content) -> bool {
        let is_good = |extent: &Extent| {
            let frame = content.frame(extent);
            let last = extent.slot.checked_add(extent.chunks);
            self.index.chunk_count(frame).zip(last).is_some_and(|(count, last)| last <= count)
        };
        if content.check().is_err() || !content.extents.iter().all(is_good) {
            return false;
        }
        if self.underused.would_rewrite(content) {
            return false;
        }
        for extent in &content.extents {
            self.need(content.frame(extent), extent.slot..extent.slot + extent.chunks);
        }
        true
    }

    /// Stores `bytes` as metadata, cut into chunks.
    pub(crate) fn put_document(
        &mut self,
        chunker: &Chunker,
        mut bytes: &[u8],
    ) -> Result<Content, VaultError> {
        let mut builder = ContentBuilder::new();
        let read = |buffer: &mut [u8]| {
            let count = buffer.len().min(bytes.len());
            let (now, rest) = bytes.split_at(count);
            buffer[..count].copy_from_slice(now);
            bytes = rest;
            Ok(count)
        };
        ChunkBuffer::new(chunker.sizes())
            .cut_all(chunker, read, |chunk| -> Result<(), CaptureError> {
                Ok(builder.add(self, PackKind::Metadata, chunker, chunk)?)
            })
            .map_err(|error| match error {
                CaptureError::Vault(error) => error,
                CaptureError::Read(_) => VaultError::Internal("reading from memory does not fail"),
            })?;
        Ok(builder.finish())
    }

    /// Captures a whole source.
    pub(crate) fn capture(
        &mut self,
        source: &mut dyn Source,
        chunker: &Chunker,
        caches: &mut FileCaches,
        progress: &Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<Captured, VaultError> {
        let mut stream = ItemStream { builder: ContentBuilder::new(), pending: Vec::new(), start: 0 };
        let mut buffer = ChunkBuffer::new(chunker.sizes());
        let mut counts = Counts::default();
        let (mut unreadable, mut changed) = (Vec::new(), Vec::new());
        // Paths of what is missing from the stream.
        let mut lost: HashSet<Vec<u8>> = HashSet::new();
        while let Some(found) = source.next() {
            if cancel.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    unreadable.push(error);
                    continue;
                }
            };
            let path = found.item.path.clone();
            let generation = self.pipeline.landed().generation();
            if generation != self.generation {
                self.generation = generation;
                caches.checkpoint(self.run, &self.pipeline.landed().ordinals());
            }
            let cache = caches.current();
            let captured = if let Some(first) = other_name_of_lost(&found.item, &lost) {
                Err(CaptureError::Read(io::Error::other(format!(
                    "it is another name of {}, which could not be captured",
                    path_text(first)
                ))))
            } else {
                self.capture_one(found, chunker, &mut buffer, cache, (progress, cancel)).and_then(
                    |captured| {
                        // What readers would refuse costs only this item, not the stream.
                        let record = captured.0.checked_record().map_err(|malformed| {
                            io::Error::other(format!("it cannot be stored in a readable form: {malformed}"))
                        })?;
                        Ok((captured, record))
                    },
                )
            };
            match captured {
                Ok(((item, has_changed), record)) => {
                    if has_changed {
                        changed.push(path.to_vec());
                    }
                    counts.items += 1;
                    counts.data_bytes += item.data_segments().iter().map(|s| s.length).sum::<u64>();
                    stream.push(self, chunker, &record)?;
                }
                Err(CaptureError::Vault(error)) => return Err(error),
                Err(CaptureError::Read(error)) => {
                    use std::os::unix::ffi::OsStringExt;
                    source.not_captured(&path);
                    lost.insert(path.to_vec());
                    let path = std::ffi::OsString::from_vec(path.into()).into();
                    unreadable.push(Unreadable { path, error });
                }
            }
        }
        let items = stream.finish(self, chunker)?;
        Ok(Captured { items, counts, unreadable, changed })
    }

    fn capture_one(
        &mut self,
        found: Found,
        chunker: &Chunker,
        buffer: &mut ChunkBuffer,
        cache: &mut FileCache,
        (progress, cancel): Watchers<'_>,
    ) -> Result<(Item, bool), CaptureError> {
        let Found { mut item, fingerprint, body } = found;
        let Some(mut body) = body else { return Ok((item, false)) };
        let remembered = fingerprint.and_then(|fingerprint| cache.recall(&item.path, &fingerprint));
        if let Some((content, segments)) = remembered
            && self.lean_on(&content)
        {
            progress.advance(content.bytes());
            item.content = (!content.extents.is_empty()).then_some(content);
            item.segments = segments;
            cache.keep(&item, fingerprint.as_ref());
            return Ok((item, false));
        }
        self.read_content(&mut item, &mut *body, chunker, buffer, (progress, cancel))?;
        let has_changed = body.has_changed();
        if !has_changed {
            cache.keep(&item, fingerprint.as_ref());
        }
        Ok((item, has_changed))
    }

    fn read_content(
        &mut self,
        item: &mut Item,
        body: &mut dyn Body,
        chunker: &Chunker,
        buffer: &mut ChunkBuffer,
        (progress, cancel): Watchers<'_>,
    ) -> Result<(), CaptureError> {
        let layout = body.open()?;
        let mut builder = ContentBuilder::new();
        let mut read_bytes = 0;
        let segments = match &layout {
            Layout::Dense { limit } => &[Segment { offset: 0, length: *limit }][..],
            Layout::Sparse { segments, .. } => segments,
        };
        for segment in segments {
            let mut at = segment.offset;
            let end = segment.offset.saturating_add(segment.length);
            let read = |buffer: &mut [u8]| {
                let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
                let count = body.read_at(at, &mut buffer[..room])?;
                at += count as u64;
                progress.advance(count as u64);
                Ok(count)
            };
            read_bytes += buffer.cut_all(chunker, read, |chunk| -> Result<(), CaptureError> {
                if cancel.is_cancelled() {
                    return Err(VaultError::Interrupted.into());
                }
                Ok(builder.add(self, PackKind::Data, chunker, chunk)?)
            })?;
        }
        match layout {
            Layout::Dense { .. } => item.size = Some(read_bytes),
            Layout::Sparse { size, segments } => {
                if read_bytes != segments.iter().map(|s| s.length).sum::<u64>() {
                    return Err(io::Error::other("it became shorter while it was read").into());
                }
                item.size = Some(size);
                item.segments = has_holes(&segments, size).then_some(segments);
            }
        }
        let content = builder.finish();
        item.content = (!content.extents.is_empty()).then_some(content);
        Ok(())
    }

    /// Stores what is still open and waits for the threads.
    pub(crate) fn finish(mut self) -> Result<Stored, VaultError> {
        self.flush(PackKind::Data)?;
        self.flush(PackKind::Metadata)?;
        let packed = self.pipeline.finish()?;
        let mut needed: BTreeMap<RunId, BTreeMap<u32, u16>> = BTreeMap::new();
        for (frame, slots) in self.needed {
            let used = u16::try_from(slots.len()).expect("a frame has a few thousand slots");
            needed.entry(frame.run).or_default().insert(frame.ordinal, used);
        }
        Ok(Stored { packed, needed, index: self.index, new_bytes: self.new_bytes })
    }
}

/// What a run stored and what it referred to.
pub(crate) struct Stored {
    pub(crate) packed: crate::backup::pipeline::Packed,
    /// How many chunks of a frame the snapshot uses, by run and ordinal.
    pub(crate) needed: BTreeMap<RunId, BTreeMap<u32, u16>>,
    pub(crate) index: ContentsIndex,
    pub(crate) new_bytes: u64,
}

impl ContentBuilder {
    fn new() -> Self {
        let content = Content { runs: Vec::new(), extents: Vec::new(), hash: [0; 32] };
        Self { content, hasher: blake3::Hasher::new(), last_slot: 0 }
    }

    fn add(
        &mut self,
        store: &mut ChunkStore,
        kind: PackKind,
        chunker: &Chunker,
        chunk: &[u8],
    ) -> Result<(), VaultError> {
        let id = chunker.id(chunk);
        let place = store.put(kind, id, chunk)?;
        self.hasher.update(&id.0);
        let runs = &mut self.content.runs;
        let run = runs.iter().position(|run| *run == place.frame.run).unwrap_or_else(|| {
            runs.push(place.frame.run);
            runs.len() - 1
        });
        let run = u32::try_from(run).expect("far fewer runs than chunks");
        let length = chunk.len() as u64;
        match self.content.extents.last_mut() {
            Some(last)
                if last.run == run
                    && last.ordinal == place.frame.ordinal
                    && self.last_slot + 1 == place.slot =>
            {
                last.chunks += 1;
                last.bytes += length;
            }
            _ => self.content.extents.push(Extent {
                run,
                ordinal: place.frame.ordinal,
                slot: place.slot,
                chunks: 1,
                bytes: length,
            }),
        }
        self.last_slot = place.slot;
        Ok(())
    }

    fn finish(mut self) -> Content {
        self.content.hash = *self.hasher.finalize().as_bytes();
        self.content
    }
}

/// The records of a stream, to be cut into chunks.
struct ItemStream {
    builder: ContentBuilder,
    pending: Vec<u8>,
    start: usize,
}

impl ItemStream {
    fn push(&mut self, store: &mut ChunkStore, chunker: &Chunker, record: &[u8]) -> Result<(), VaultError> {
        self.pending.extend_from_slice(record);
        self.cut(store, chunker, chunker.sizes().maximum as usize)
    }

    fn finish(mut self, store: &mut ChunkStore, chunker: &Chunker) -> Result<Content, VaultError> {
        self.cut(store, chunker, 1)?;
        Ok(self.builder.finish())
    }

    /// Cuts chunks while at least `least` bytes are available.
    fn cut(&mut self, store: &mut ChunkStore, chunker: &Chunker, least: usize) -> Result<(), VaultError> {
        while self.pending.len() - self.start >= least {
            let window = &self.pending[self.start..];
            let length = chunker.cut(window);
            self.builder.add(store, PackKind::Metadata, chunker, &window[..length])?;
            self.start += length;
        }
        if self.start > 1 << 20 {
            self.pending.drain(..self.start);
            self.start = 0;
        }
        Ok(())
    }
}
