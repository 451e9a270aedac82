//! Reads frames: fetches ranges of packs, checks them by the hash of the sealed frame, opens them, and checks their
//! chunks by id.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::{ObjectError, Read, VaultError};
use crate::format::chunk::{ChunkSizes, Chunker, chunk_id};
use crate::format::frame::OpenedFrame;
use crate::format::frame_set::FrameSet;
use crate::format::index::FramePlace;
use crate::format::item::{Content, Extent, Item};
use crate::format::item_records::ItemRecords;
use crate::format::layout;
use crate::format::manifest::Part;
use crate::ids::{FrameName, RunId};
use crate::keys::{GroupKeys, GroupView};
use crate::repository::locate::FramePlaces;
use crate::repository::open::Repository;
use crate::repository::recovery_session::RecoverySession;
use crate::restore::recover::Healer;
use crate::restore::run_keys::RunKeys;
use crate::snapshots::snapshot::Snapshot;

/// Frames of one pack that are this close together are read in one request, in bytes.
const COALESCE_GAP: u64 = 256 << 10;
/// The most that one request reads, in bytes.
const MAX_READ: u64 = 16 << 20;
/// How much of the opened frames is kept while an item stream is read, in bytes.
const FRAME_CACHE: usize = 32 << 20;

/// Opens the frames of one snapshot. Cheap to clone.
#[derive(Clone)]
pub struct FrameReader {
    inner: Arc<Inner>,
}

struct Inner {
    restorer: RecoverySession,
    group: GroupKeys,
    run_keys: RunKeys,
    frames: FramePlaces,
    /// Frames that were found lost or false: their chunks are looked for in other frames first.
    lost: FrameSet,
    healer: Healer,
}

/// One request to the store and the frames that it fetches.
#[derive(Debug)]
pub(crate) struct RangeRead {
    pub(crate) pack: Sha256Digest,
    pub(crate) range: Range<u64>,
    pub(crate) frames: Vec<FrameName>,
}

impl FrameReader {
    /// Makes the contents of a snapshot readable: finds the places of its frames. The keys of its runs are opened when
    /// they are needed.
    pub(crate) async fn of(
        restorer: &RecoverySession,
        snapshot: &Snapshot,
        part: &Part,
    ) -> Result<Self, VaultError> {
        let group = restorer.group(snapshot.manifest.predicate.group)?;
        let view = GroupView::from(group);
        let mut frames = FramePlaces::new();
        let mut run_keys = RunKeys::default();
        for record in &part.runs {
            let places =
                restorer.repository().places(&view, record.run, |ordinal| record.needs(ordinal)).await?;
            run_keys.add(record, &places);
            frames.extend(places);
        }
        let lost = restorer.repository().losses_for(&view, snapshot.writer()).await?;
        let healer = Healer::new(restorer.clone(), group, part.needed_frames());
        let (restorer, group) = (restorer.clone(), group.clone());
        Ok(Self { inner: Arc::new(Inner { restorer, group, run_keys, frames, lost, healer }) })
    }

    fn repository(&self) -> &Repository {
        self.inner.restorer.repository()
    }

    /// The chunker that cut a stream of this snapshot.
    pub(crate) fn chunker(&self, sizes: ChunkSizes) -> Chunker {
        Chunker::new(&self.inner.group.chunker_seed, &self.inner.group.chunk_id_key, sizes)
    }

    /// The places of a frame in the order in which to try them; empty for a lost frame.
    fn places(&self, frame: FrameName) -> &[FramePlace] {
        self.inner.frames.get(&frame).map_or(&[], Vec::as_slice)
    }

    /// The requests that fetch `frames`, pack by pack, each frame once; and the frames without a known place.
    pub(crate) fn plan(
        &self,
        frames: impl IntoIterator<Item = FrameName>,
    ) -> (Vec<RangeRead>, Vec<FrameName>) {
        let mut by_place = BTreeMap::new();
        let mut lost = Vec::new();
        for frame in frames {
            match self.places(frame).first().filter(|_| !self.inner.lost.contains(frame)) {
                Some(place) => {
                    let length = u64::from(place.frame.length);
                    // Others may claim several frames for one place: each of them is tried there.
                    by_place.insert((place.pack, place.frame.offset, frame), length);
                }
                None => lost.push(frame),
            }
        }
        let mut reads: Vec<RangeRead> = Vec::new();
        for ((pack, offset, frame), length) in by_place {
            let end = offset.saturating_add(length);
            match reads.last_mut() {
                Some(read)
                    if read.pack == pack
                        && offset <= read.range.end.saturating_add(COALESCE_GAP)
                        && end.saturating_sub(read.range.start) <= MAX_READ =>
                {
                    read.range.end = read.range.end.max(end);
                    read.frames.push(frame);
                }
                _ => reads.push(RangeRead { pack, range: offset..end, frames: vec![frame] }),
            }
        }
        (reads, lost)
    }

    /// Opens the key of a run, if it is not lost.
    async fn open_run(&self, run: RunId) -> Result<(), StoreError> {
        let group = GroupView::from(&self.inner.group);
        self.inner.run_keys.open(&self.inner.restorer, &group, run).await
    }

    /// Fetches the bytes of one request, and opens the keys that its frames need.
    pub(crate) async fn fetch(&self, read: &RangeRead) -> Read<Bytes> {
        for frame in &read.frames {
            self.open_run(frame.run).await?;
        }
        self.repository().pack_range(self.inner.group.id, &read.pack, read.range.clone()).await
    }

    /// Opens one frame from the result of [`FrameReader::fetch`].
    pub(crate) fn open(
        &self,
        read: &RangeRead,
        bytes: &[u8],
        frame: FrameName,
    ) -> Result<OpenedFrame, ObjectError> {
        let place = self.places(frame).first().ok_or_else(|| ObjectError::lost(frame))?;
        let start = usize::try_from(place.frame.offset - read.range.start).unwrap_or(usize::MAX);
        let sealed = bytes.get(start..start.saturating_add(place.frame.length as usize));
        self.open_at(place, sealed.expect("a planned read contains its frames"), frame)
    }

    fn open_at(
        &self,
        place: &FramePlace,
        sealed: &[u8],
        frame: FrameName,
    ) -> Result<OpenedFrame, ObjectError> {
        let key = layout::pack(self.inner.group.id, &place.pack);
        place.check(sealed).map_err(|reason| ObjectError::damaged(&key, reason))?;
        let run_key = self.inner.run_keys.get(frame.run)?;
        OpenedFrame::open(sealed, run_key, self.repository().id(), frame)
            .map_err(|reason| ObjectError::damaged(key, reason))
    }

    /// Looks for a frame that did not open in its first place: in its other places, and then for its chunks in other
    /// frames. Returns `error`, the first fault, if nothing is found.
    pub(crate) async fn recover(&self, frame: FrameName, error: ObjectError) -> Read<OpenedFrame> {
        self.open_run(frame.run).await?;
        let is_lost = self.inner.lost.contains(frame);
        if is_lost && let Some(assembled) = self.inner.healer.assemble(frame).await? {
            return Ok(Ok(assembled));
        }
        // Without the run's key no place helps, but the chunks may still be in other runs' frames.
        let has_key = self.inner.run_keys.get(frame.run).is_ok();
        for place in self.places(frame).iter().skip(usize::from(!is_lost)).filter(|_| has_key) {
            let end = place.frame.offset.saturating_add(place.frame.length.into());
            let range = place.frame.offset..end;
            let read = self.repository().pack_range(self.inner.group.id, &place.pack, range).await?;
            match read.and_then(|sealed| self.open_at(place, &sealed, frame)) {
                Ok(opened) => return Ok(Ok(opened)),
                Err(error) => tracing::info!("{error}"),
            }
        }
        Ok(match self.inner.healer.assemble(frame).await?.filter(|_| !is_lost) {
            Some(assembled) => {
                tracing::info!("{error}; its chunks were found in other frames");
                Ok(assembled)
            }
            None => Err(error),
        })
    }

    /// Passes on the chunks of an extent, each checked against its id; adds their ids to `ids`.
    pub(crate) fn chunks_of<'f>(
        &self,
        frame: &'f OpenedFrame,
        extent: &Extent,
        mut each: impl FnMut(&'f [u8], &[u8; 32]),
    ) -> Result<(), &'static str> {
        let mut bytes = 0;
        for slot in extent.slot..extent.slot.saturating_add(extent.chunks) {
            let chunk =
                frame.chunk(slot as usize).ok_or("an extent names a slot that its frame does not have")?;
            bytes += chunk.len() as u64;
            let id = chunk_id(&self.inner.group.chunk_id_key, chunk);
            each(chunk, &id.0);
        }
        if bytes == extent.bytes { Ok(()) } else { Err("an extent has another length than its chunks") }
    }

    /// Reads a whole content and checks it against its hash. For metadata: the content is kept in memory.
    pub(crate) async fn read_all(&self, content: &Content, cap: u64) -> Result<Vec<u8>, VaultError> {
        let mut bytes = Vec::new();
        let mut stream = ContentStream::new(self.clone(), content.clone());
        while let Some(part) = stream.next().await? {
            bytes.extend_from_slice(&part);
            if bytes.len() as u64 > cap {
                return Err(ObjectError::damaged("a document", "it is too long").into());
            }
        }
        Ok(bytes)
    }
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameReader({} frames)", self.inner.frames.len())
    }
}

/// The most upcoming frames that are requested together with one that is needed now.
pub(crate) const FRAMES_AHEAD: usize = 64;

/// The bytes of a content in order, one extent at a time; the frames of the next requests are read once.
pub struct ContentStream {
    reader: FrameReader,
    content: Content,
    next: usize,
    /// Frames that will be needed after this content.
    ahead: Vec<FrameName>,
    hasher: blake3::Hasher,
    cache: VecDeque<(FrameName, Arc<OpenedFrame>)>,
    cached_bytes: usize,
}

impl ContentStream {
    pub(crate) fn new(reader: FrameReader, content: Content) -> Self {
        Self {
            reader,
            content,
            next: 0,
            ahead: Vec::new(),
            hasher: blake3::Hasher::new(),
            cache: VecDeque::new(),
            cached_bytes: 0,
        }
    }

    /// Switches to another content of the same snapshot and keeps the frames in memory. `ahead` are the frames that
    /// will be needed after it.
    pub(crate) fn turn_to(&mut self, content: Content, ahead: Vec<FrameName>) {
        (self.content, self.ahead, self.next) = (content, ahead, 0);
        self.hasher = blake3::Hasher::new();
    }

    /// The next bytes; `None` after all of them were returned and their hash was checked.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, VaultError> {
        let Some(extent) = self.content.extents.get(self.next).copied() else {
            let right = *self.hasher.finalize().as_bytes() == self.content.hash;
            let other = || ObjectError::damaged("a stream", "its hash differs").into();
            return if right { Ok(None) } else { Err(other()) };
        };
        self.next += 1;
        let frame = self.frame(self.content.frame(&extent)).await?;
        let mut bytes = Vec::new();
        let hasher = &mut self.hasher;
        self.reader
            .chunks_of(&frame, &extent, |chunk, id| {
                bytes.extend_from_slice(chunk);
                hasher.update(id);
            })
            .map_err(|reason| ObjectError::damaged("a stream", reason))?;
        Ok(Some(bytes))
    }

    async fn frame(&mut self, name: FrameName) -> Result<Arc<OpenedFrame>, VaultError> {
        if let Some((_, frame)) = self.cache.iter().find(|(cached, _)| *cached == name) {
            return Ok(Arc::clone(frame));
        }
        // The frames that come next in the content and are beside this one come with the same request.
        let ahead =
            self.content.extents[self.next - 1..].iter().take(FRAMES_AHEAD).map(|e| self.content.frame(e));
        let ahead = ahead.chain(self.ahead.iter().copied());
        let (reads, _) = self.reader.plan(ahead);
        let wanted = match reads.iter().find(|read| read.frames.contains(&name)) {
            Some(read) => self.reader.fetch(read).await?.and_then(|bytes| {
                for other in read.frames.iter().filter(|other| **other != name) {
                    // One that does not open is looked for elsewhere at its turn.
                    if let Ok(opened) = self.reader.open(read, &bytes, *other) {
                        self.keep(*other, Arc::new(opened));
                    }
                }
                self.reader.open(read, &bytes, name)
            }),
            None => Err(ObjectError::lost(name)),
        };
        let wanted = match wanted {
            Ok(opened) => opened,
            Err(error) => self.reader.recover(name, error).await??,
        };
        let wanted = Arc::new(wanted);
        self.keep(name, Arc::clone(&wanted));
        Ok(wanted)
    }

    fn keep(&mut self, name: FrameName, frame: Arc<OpenedFrame>) {
        self.cached_bytes += frame.weight();
        self.cache.push_back((name, frame));
        while self.cached_bytes > FRAME_CACHE
            && let Some((_, frame)) = self.cache.pop_front()
        {
            self.cached_bytes -= frame.weight();
        }
    }
}

/// The items of a stream in order, each checked, and their order checked.
pub struct ItemStream {
    bytes: ContentStream,
    records: ItemRecords,
}

impl ItemStream {
    pub(crate) fn new(reader: FrameReader, items: Content) -> Self {
        Self { bytes: ContentStream::new(reader, items), records: ItemRecords::default() }
    }

    /// The next item; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Item>, VaultError> {
        let damaged = |reason| VaultError::from(ObjectError::damaged("an item stream", reason));
        loop {
            if let Some(item) = self.records.next().map_err(damaged)? {
                return Ok(Some(item));
            }
            match self.bytes.next().await? {
                Some(bytes) => self.records.push(&bytes),
                None => return self.records.finish().map(|()| None).map_err(damaged),
            }
        }
    }
}
