//! Reading frames: ranges of packs, checked by the hash of the sealed frame, opened, and their chunks checked by id.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_store::Store;

use crate::VaultError;
use crate::chunk::{ChunkSizes, Chunker, chunk_id};
use crate::frame::OpenedFrame;
use crate::ids::{FrameName, RepositoryId};
use crate::item::{Content, Extent, Item, MAX_ITEM};
use crate::keys::GroupKeys;
use crate::layout;
use crate::restorer::{FramePlace, RunKeyring};

/// Frames of one pack that lie this close together are read in one request, in bytes.
const COALESCE_GAP: u64 = 256 << 10;
/// The most that one request reads, in bytes.
const MAX_READ: u64 = 16 << 20;
/// How much of opened frames is kept at hand while an item stream is read, in bytes.
const FRAME_CACHE: usize = 32 << 20;

/// Opens the frames of one snapshot. Cheap to clone.
#[derive(Clone)]
pub struct FrameReader {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    repository: RepositoryId,
    group: GroupKeys,
    run_keys: RunKeyring,
    frames: HashMap<FrameName, FramePlace>,
}

/// One request to the store and the frames that it brings.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) pack: Sha256Digest,
    pub(crate) range: Range<u64>,
    pub(crate) frames: Vec<FrameName>,
}

impl FrameReader {
    pub(crate) fn new(
        store: Store,
        repository: RepositoryId,
        group: GroupKeys,
        run_keys: RunKeyring,
        frames: HashMap<FrameName, FramePlace>,
    ) -> Self {
        Self { inner: Arc::new(Inner { store, repository, group, run_keys, frames }) }
    }

    /// The chunker that cut a stream of this snapshot.
    pub(crate) fn chunker(&self, sizes: ChunkSizes) -> Chunker {
        Chunker::new(&self.inner.group.chunker_seed, &self.inner.group.chunk_id_key, sizes)
    }

    fn place(&self, frame: FrameName) -> Result<&FramePlace, VaultError> {
        let lost = VaultError::LostFrame { run: frame.run, ordinal: frame.ordinal };
        self.inner.frames.get(&frame).ok_or(lost)
    }

    /// The requests that bring `frames`, pack by pack, each frame once.
    pub(crate) fn plan(&self, frames: impl IntoIterator<Item = FrameName>) -> Result<Vec<Read>, VaultError> {
        let mut by_place = BTreeMap::new();
        for frame in frames {
            let place = self.place(frame)?;
            by_place.insert((place.pack, place.frame.offset), (frame, u64::from(place.frame.length)));
        }
        let mut reads: Vec<Read> = Vec::new();
        for ((pack, offset), (frame, length)) in by_place {
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
                _ => reads.push(Read { pack, range: offset..end, frames: vec![frame] }),
            }
        }
        Ok(reads)
    }

    /// Brings the bytes of one request.
    pub(crate) async fn fetch(&self, read: &Read) -> Result<Bytes, VaultError> {
        let key = layout::pack(self.inner.group.id, &read.pack);
        match self.inner.store.read_range(&key, read.range.clone()).await {
            Ok(bytes) => Ok(bytes),
            // A pack that was cut answers as a failed range: tell the two apart by its size.
            Err(error @ lifeboat_store::StoreError::Failed { .. }) => {
                match self.inner.store.entry(&key).await {
                    Ok(Some(entry)) if entry.size < read.range.end => Err(VaultError::damaged(
                        key,
                        format!("it has {} bytes, and a frame lies at {:?}", entry.size, read.range),
                    )),
                    _ => Err(error.into()),
                }
            }
            Err(error) => Err(VaultError::reading(error)),
        }
    }

    /// Opens one frame of what [`FrameReader::fetch`] brought.
    pub(crate) fn open(
        &self,
        read: &Read,
        bytes: &[u8],
        frame: FrameName,
    ) -> Result<OpenedFrame, VaultError> {
        let place = self.place(frame)?;
        let key = layout::pack(self.inner.group.id, &read.pack);
        let start = usize::try_from(place.frame.offset - read.range.start).unwrap_or(usize::MAX);
        let sealed = bytes
            .get(start..start.saturating_add(place.frame.length as usize))
            .ok_or(VaultError::Internal("a planned read holds its frames"))?;
        let found = Sha256Digest::of(sealed);
        if found != place.frame.hash {
            let reason = format!(
                "the frame at byte {} has SHA-256 {found}, not {}",
                place.frame.offset, place.frame.hash
            );
            return Err(VaultError::damaged(key, reason));
        }
        let run_key =
            self.inner.run_keys.get(&frame.run).ok_or(VaultError::Internal("runs come with keys"))?;
        OpenedFrame::open(sealed, run_key, &self.inner.repository, frame)
            .map_err(|reason| VaultError::damaged(key, reason))
    }

    /// Hands on the chunks of an extent, each checked against its id; gives their ids to `ids`.
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

    /// Reads content whole and checks it against its hash. For metadata: it is held in memory.
    pub(crate) async fn read_all(&self, content: &Content, cap: u64) -> Result<Vec<u8>, VaultError> {
        let mut bytes = Vec::new();
        let mut stream = ContentStream::new(self.clone(), content.clone());
        while let Some(part) = stream.next().await? {
            bytes.extend_from_slice(&part);
            if bytes.len() as u64 > cap {
                return Err(VaultError::damaged("a document", "it is longer than any can be"));
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

/// How many frames that come next are asked for together with one that is needed now, at the most.
pub(crate) const FRAMES_AHEAD: usize = 64;

/// The bytes of a content in order, an extent at a time, with the frames of the next requests read once.
pub struct ContentStream {
    reader: FrameReader,
    content: Content,
    next: usize,
    /// Frames that will be wanted after this content.
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

    /// Turns to another content of the same snapshot and keeps the frames that are at hand. `ahead` names what will be
    /// wanted after it.
    pub(crate) fn turn_to(&mut self, content: Content, ahead: Vec<FrameName>) {
        (self.content, self.ahead, self.next) = (content, ahead, 0);
        self.hasher = blake3::Hasher::new();
    }

    /// The next bytes; `None` once all were given and their hash was found right.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, VaultError> {
        let Some(extent) = self.content.extents.get(self.next).copied() else {
            let right = *self.hasher.finalize().as_bytes() == self.content.hash;
            return if right { Ok(None) } else { Err(VaultError::damaged("a stream", "its hash differs")) };
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
            .map_err(|reason| VaultError::damaged("a stream", reason))?;
        Ok(Some(bytes))
    }

    async fn frame(&mut self, name: FrameName) -> Result<Arc<OpenedFrame>, VaultError> {
        if let Some((_, frame)) = self.cache.iter().find(|(cached, _)| *cached == name) {
            return Ok(Arc::clone(frame));
        }
        // The frames that come next in the content and lie beside this one come with the same request.
        let ahead =
            self.content.extents[self.next - 1..].iter().take(FRAMES_AHEAD).map(|e| self.content.frame(e));
        let ahead = ahead.chain(self.ahead.iter().copied());
        let reads = self.reader.plan(ahead)?;
        let read = reads
            .iter()
            .find(|read| read.frames.contains(&name))
            .ok_or(VaultError::Internal("a plan holds every frame that was asked for"))?;
        let bytes = self.reader.fetch(read).await?;
        let mut wanted = None;
        for other in &read.frames {
            let opened = Arc::new(self.reader.open(read, &bytes, *other)?);
            self.cached_bytes += opened.weight();
            self.cache.push_back((*other, Arc::clone(&opened)));
            if *other == name {
                wanted = Some(opened);
            }
        }
        while self.cached_bytes > FRAME_CACHE
            && let Some((_, frame)) = self.cache.pop_front()
        {
            self.cached_bytes -= frame.weight();
        }
        wanted.ok_or(VaultError::Internal("a read brings the frames of its plan"))
    }
}

/// The items of a stream in order, each checked, and the order checked with them.
pub struct ItemStream {
    bytes: ContentStream,
    pending: Vec<u8>,
    start: usize,
    last: Option<Vec<u8>>,
}

impl ItemStream {
    pub(crate) fn new(reader: FrameReader, items: Content) -> Self {
        Self { bytes: ContentStream::new(reader, items), pending: Vec::new(), start: 0, last: None }
    }

    /// The next item; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Item>, VaultError> {
        let damaged = |reason: &dyn std::fmt::Display| VaultError::damaged("an item stream", reason);
        loop {
            let pending = &self.pending[self.start..];
            if let Some((length, rest)) = pending.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > MAX_ITEM {
                    return Err(damaged(&"an item is longer than any can be"));
                }
                if let Some(record) = rest.get(..length) {
                    let item = Item::from_cbor(record).map_err(|reason| damaged(&reason))?;
                    self.start += 4 + length;
                    let in_order = self
                        .last
                        .as_ref()
                        .is_none_or(|last| crate::item::path_order(last, &item.path).is_lt());
                    if !in_order {
                        return Err(damaged(&"its items are not in order"));
                    }
                    self.last = Some(item.path.to_vec());
                    return Ok(Some(item));
                }
            }
            self.pending.drain(..self.start);
            self.start = 0;
            match self.bytes.next().await? {
                Some(bytes) => self.pending.extend_from_slice(&bytes),
                None if self.pending.is_empty() => return Ok(None),
                None => return Err(damaged(&"it ends within an item")),
            }
        }
    }
}
