//! Bringing a stream back: make the tree, then bring contents pack by pack in the order they lie in the store, then
//! give everything its owner, mode and times.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lifeboat_core::progress::{Progress, Unit};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::VaultError;
use crate::frame::OpenedFrame;
use crate::ids::FrameName;
use crate::item::{Content, Extent, Item, ItemKind, Segment};
use crate::manifest::StreamKind;
use crate::reader::{ContentStream, FrameReader, ItemStream, Read};
use crate::restorer::Restorer;
use crate::tree::{Folders, TreeWriter};
use crate::view::Snapshot;

/// A snapshot whose contents can be read.
#[derive(Debug)]
pub struct OpenSnapshot {
    snapshot: Snapshot,
    reader: FrameReader,
}

/// What a restore brought back.
#[derive(Debug, Default)]
pub struct Restored {
    /// How many items stand now.
    pub items: u64,
    /// How many of them are files.
    pub files: u64,
    /// Bytes of file data written.
    pub data_bytes: u64,
    /// Files that could not be brought back whole, and were taken away again.
    pub damaged: Vec<Problem>,
    /// Items whose owner, mode, attributes or times could not be set, or that could not be made.
    pub unfinished: Vec<Problem>,
}

/// Something about one path.
#[derive(Debug)]
pub struct Problem {
    /// The path.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// The largest document that is read, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;
/// How many fetched reads wait for the threads that write them.
const READS_AHEAD: usize = 2;

impl Restorer {
    /// Opens a snapshot for reading.
    pub async fn open_snapshot(&self, snapshot: Snapshot) -> Result<OpenSnapshot, VaultError> {
        let reader = self.reader(&snapshot).await?;
        Ok(OpenSnapshot { snapshot, reader })
    }
}

/// A piece of a file that one extent brings.
#[derive(Clone, Copy)]
struct Piece {
    item: usize,
    /// Where in the file's data (segments one after another) it begins.
    at: u64,
    extent: Extent,
    /// Its place among the extents of the item.
    number: u32,
}

impl OpenSnapshot {
    pub(crate) fn chunker(&self, sizes: crate::chunk::ChunkSizes) -> crate::chunk::Chunker {
        self.reader.chunker(sizes)
    }

    pub(crate) fn reader(&self) -> &FrameReader {
        &self.reader
    }

    /// The snapshot as a viewer sees it.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The items of the stream at `index`.
    pub fn items(&self, index: usize) -> Result<ItemStream, VaultError> {
        Ok(ItemStream::new(self.reader.clone(), self.snapshot.part.stream(index)?.items.clone()))
    }

    /// The bytes of a file's content.
    pub fn content(&self, content: &Content) -> ContentStream {
        ContentStream::new(self.reader.clone(), content.clone())
    }

    /// A document that was stored beside the streams.
    pub async fn document(&self, name: &str) -> Result<Option<Vec<u8>>, VaultError> {
        match self.snapshot.part.documents.iter().find(|document| document.name == name) {
            Some(document) => self.reader.read_all(&document.content, MAX_DOCUMENT).await.map(Some),
            None => Ok(None),
        }
    }

    /// The host's path of a captured folder.
    pub async fn origin(&self, index: usize) -> Result<Option<PathBuf>, VaultError> {
        use std::os::unix::ffi::OsStringExt;
        let first = self.items(index)?.next().await?;
        Ok(first.and_then(|item| item.origin).map(|p| std::ffi::OsString::from_vec(p.into()).into()))
    }

    /// Brings the stream at `index` back into the folder `to`, which must be empty or absent.
    pub async fn restore(
        &self,
        index: usize,
        to: &Path,
        progress: &Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<Restored, VaultError> {
        let record = self.snapshot.part.stream(index)?;
        let mut tree = TreeWriter::create(to)?;
        progress.phase("reading the tree", Unit::Items, Some(record.item_count));
        let mut restored = Restored::default();
        let mut items = Vec::new();
        let mut stream = self.items(index)?;
        while let Some(item) = stream.next().await? {
            if cancel.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            match tree.make(&item) {
                Ok(()) => items.push(item),
                Err(error) => restored.unfinished.push(problem(&tree, &item, &error)),
            }
            progress.advance(1);
        }
        progress.phase("restoring", Unit::Bytes, Some(record.data_bytes));
        let items: Arc<[Item]> = items.into();
        let hurt = self.bring_contents(&tree, &items, progress, cancel).await?;
        let items_left = Arc::clone(&items);
        let progress = Arc::clone(progress);
        let finish = move || {
            finish_items(&mut tree, &items_left, hurt, &mut restored, &progress)?;
            Ok(restored)
        };
        tokio::task::spawn_blocking(finish)
            .await
            .map_err(|_| VaultError::Internal("the restoring thread panicked"))?
    }

    /// Fetches what the files need and writes it in place. Gives the files that could not be brought back, and why.
    async fn bring_contents(
        &self,
        tree: &TreeWriter,
        items: &Arc<[Item]>,
        progress: &Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<HashMap<usize, String>, VaultError> {
        let pieces = Arc::new(pieces_by_frame(items));
        let (reads, unplaced) = self.reader.plan(pieces.keys().copied());
        let lost: Arc<Mutex<Vec<(FrameName, VaultError)>>> = Arc::default();
        let hashes = Arc::new(Mutex::new(ContentCheck::new(items)));
        let (send, receive) = mpsc::channel::<(Read, Result<Bytes, VaultError>)>(READS_AHEAD);
        let receive = Arc::new(Mutex::new(receive));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let writers: Vec<_> = (0..threads)
            .map(|_| {
                let mut writer = self.piece_writer(tree, items, &pieces, &hashes, progress);
                let lost = Arc::clone(&lost);
                let receive = Arc::clone(&receive);
                tokio::task::spawn_blocking(move || {
                    loop {
                        let next = receive.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                        let Some((read, bytes)) = next else { return };
                        writer.write(&read, bytes, &lost);
                    }
                })
            })
            .collect();
        for read in reads {
            if cancel.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            let bytes = match self.reader.fetch(&read).await {
                Err(error @ VaultError::Store(_)) => return Err(error),
                other => other,
            };
            if send.send((read, bytes)).await.is_err() {
                break;
            }
        }
        drop(send);
        for writer in writers {
            writer.await.map_err(|_| VaultError::Internal("a restoring thread panicked"))?;
        }
        let mut writer = self.piece_writer(tree, items, &pieces, &hashes, progress);
        let of_unplaced = |name: &FrameName| VaultError::LostFrame { run: name.run, ordinal: name.ordinal };
        let mut lost = std::mem::take(&mut *lost.lock().unwrap_or_else(PoisonError::into_inner));
        lost.extend(unplaced.iter().map(|name| (*name, of_unplaced(name))));
        for (name, error) in lost {
            if cancel.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            match self.reader.recover(name, error).await {
                Ok(frame) => writer = write_frame(writer, name, frame).await?,
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(error) => writer.fail(name, &error.to_string()),
            }
        }
        let check = std::mem::take(&mut *hashes.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(check.finish(items))
    }
}

impl OpenSnapshot {
    fn piece_writer(
        &self,
        tree: &TreeWriter,
        items: &Arc<[Item]>,
        pieces: &Arc<BTreeMap<FrameName, Vec<Piece>>>,
        check: &Arc<Mutex<ContentCheck>>,
        progress: &Arc<dyn Progress>,
    ) -> PieceWriter {
        PieceWriter {
            reader: self.reader.clone(),
            folders: tree.folders(),
            items: Arc::clone(items),
            pieces: Arc::clone(pieces),
            check: Arc::clone(check),
            progress: Arc::clone(progress),
        }
    }
}

/// Writes the pieces of one frame where blocking is allowed, and gives the writer back.
async fn write_frame(
    mut writer: PieceWriter,
    name: FrameName,
    frame: OpenedFrame,
) -> Result<PieceWriter, VaultError> {
    let write = move || {
        writer.write_pieces(name, &frame);
        writer
    };
    tokio::task::spawn_blocking(write).await.map_err(|_| VaultError::Internal("a restoring thread panicked"))
}

/// Which pieces of which files each frame brings.
fn pieces_by_frame(items: &[Item]) -> BTreeMap<FrameName, Vec<Piece>> {
    let mut pieces: BTreeMap<FrameName, Vec<Piece>> = BTreeMap::new();
    for (number, item) in items.iter().enumerate() {
        let Some(content) = &item.content else { continue };
        let mut at = 0;
        for (extent, place) in content.extents.iter().zip(0..) {
            let piece = Piece { item: number, at, extent: *extent, number: place };
            pieces.entry(content.frame(extent)).or_default().push(piece);
            at += extent.bytes;
        }
    }
    pieces
}

/// Checks every file's content hash although its pieces come in any order.
#[derive(Default)]
struct ContentCheck {
    /// For files whose pieces have not all come: the chunk ids of those that have.
    open: HashMap<usize, BTreeMap<u32, Vec<u8>>>,
    hurt: HashMap<usize, String>,
    done: HashSet<usize>,
}

impl ContentCheck {
    fn new(items: &[Item]) -> Self {
        let open = items.iter().enumerate().filter(|(_, item)| item.content.is_some());
        Self { open: open.map(|(number, _)| (number, BTreeMap::new())).collect(), ..Self::default() }
    }

    fn fail(&mut self, item: usize, reason: String) {
        self.open.remove(&item);
        self.hurt.entry(item).or_insert(reason);
    }

    fn piece(&mut self, items: &[Item], piece: &Piece, ids: Vec<u8>) {
        let Some(pieces) = self.open.get_mut(&piece.item) else { return };
        pieces.insert(piece.number, ids);
        let Some(content) = &items[piece.item].content else { return };
        if pieces.len() < content.extents.len() {
            return;
        }
        let mut hasher = blake3::Hasher::new();
        for ids in pieces.values() {
            hasher.update(ids);
        }
        if *hasher.finalize().as_bytes() == content.hash {
            self.open.remove(&piece.item);
            self.done.insert(piece.item);
        } else {
            self.fail(piece.item, "its chunks are not the ones that were backed up".to_owned());
        }
    }

    fn finish(mut self, items: &[Item]) -> HashMap<usize, String> {
        for number in self.open.into_keys() {
            self.hurt.insert(number, "not all of its content came".to_owned());
        }
        debug_assert!(self.done.len() + self.hurt.len() <= items.len(), "every file is counted once");
        self.hurt
    }
}

/// One thread that opens frames and writes their chunks where they belong.
struct PieceWriter {
    reader: FrameReader,
    folders: Folders,
    items: Arc<[Item]>,
    pieces: Arc<BTreeMap<FrameName, Vec<Piece>>>,
    check: Arc<Mutex<ContentCheck>>,
    progress: Arc<dyn Progress>,
}

impl PieceWriter {
    /// Writes what a read brought. Frames that do not open are left in `lost`: they may be found elsewhere.
    fn write(
        &mut self,
        read: &Read,
        bytes: Result<Bytes, VaultError>,
        lost: &Mutex<Vec<(FrameName, VaultError)>>,
    ) {
        let lose = |name, error| lost.lock().unwrap_or_else(PoisonError::into_inner).push((name, error));
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                read.frames.iter().for_each(|name| lose(*name, error.again()));
                return;
            }
        };
        for name in &read.frames {
            match self.reader.open(read, &bytes, *name) {
                Ok(frame) => self.write_pieces(*name, &frame),
                Err(error) => lose(*name, error),
            }
        }
    }

    fn write_pieces(&mut self, name: FrameName, frame: &OpenedFrame) {
        let pieces = Arc::clone(&self.pieces);
        let mut open: Option<(usize, std::fs::File)> = None;
        for piece in pieces.get(&name).into_iter().flatten() {
            let mut ids = Vec::with_capacity(32 * piece.extent.chunks as usize);
            let mut chunks = Vec::with_capacity(piece.extent.chunks as usize);
            let whole = self.reader.chunks_of(frame, &piece.extent, |chunk, id| {
                chunks.push(chunk);
                ids.extend_from_slice(id);
            });
            let written = match whole {
                Ok(()) => self.write_piece(piece, &chunks, &mut open).map_err(|error| error.to_string()),
                Err(reason) => Err(reason.to_owned()),
            };
            let mut check = self.check.lock().unwrap_or_else(PoisonError::into_inner);
            match written {
                Ok(()) => check.piece(&self.items, piece, ids),
                Err(reason) => check.fail(piece.item, reason),
            }
            drop(check);
            self.progress.advance(piece.extent.bytes);
        }
    }

    fn write_piece(
        &mut self,
        piece: &Piece,
        chunks: &[&[u8]],
        open: &mut Option<(usize, std::fs::File)>,
    ) -> io::Result<()> {
        let item = &self.items[piece.item];
        if open.as_ref().is_none_or(|(number, _)| *number != piece.item) {
            *open = Some((piece.item, self.folders.open_file(&item.path)?));
        }
        let Some((_, file)) = open else { return Ok(()) };
        let segments = item.data_segments();
        let mut at = piece.at;
        for chunk in chunks {
            write_at(file, &segments, at, chunk)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    fn fail(&self, frame: FrameName, reason: &str) {
        let mut check = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in self.pieces.get(&frame).into_iter().flatten() {
            check.fail(piece.item, reason.to_owned());
        }
    }
}

/// Writes bytes that begin at `at` of a file's data to where its segments put them.
fn write_at(file: &std::fs::File, segments: &[Segment], mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    for segment in segments {
        if bytes.is_empty() {
            break;
        }
        if at >= segment.length {
            at -= segment.length;
            continue;
        }
        let room = usize::try_from(segment.length - at).unwrap_or(usize::MAX).min(bytes.len());
        let (now, rest) = bytes.split_at(room);
        file.write_all_at(now, segment.offset + at)?;
        bytes = rest;
        at = 0;
    }
    if bytes.is_empty() { Ok(()) } else { Err(io::Error::other("content goes past the end of its file")) }
}

fn finish_items(
    tree: &mut TreeWriter,
    items: &[Item],
    mut hurt: HashMap<usize, String>,
    restored: &mut Restored,
    progress: &Arc<dyn Progress>,
) -> Result<(), VaultError> {
    progress.phase("setting metadata", Unit::Items, Some(items.len() as u64));
    let mut finish = |tree: &mut TreeWriter, number: usize, item: &Item| {
        progress.advance(1);
        if let Some(reason) = hurt.remove(&number) {
            let _ = tree.remove(item);
            restored.damaged.push(Problem { path: tree.path_of(item), reason });
            return;
        }
        restored.items += 1;
        if item.kind == ItemKind::File {
            restored.files += 1;
            restored.data_bytes += item.content.as_ref().map_or(0, Content::bytes);
        }
        // A hard link has its file's metadata, which the file's own item set.
        if item.kind != ItemKind::HardLink
            && let Err(error) = tree.finish(item)
        {
            restored.unfinished.push(problem(tree, item, &error));
        }
    };
    for (number, item) in items.iter().enumerate().filter(|(_, item)| item.kind != ItemKind::Folder) {
        finish(tree, number, item);
    }
    for (number, item) in items.iter().enumerate().rev().filter(|(_, item)| item.kind == ItemKind::Folder) {
        finish(tree, number, item);
    }
    tree.sync().map_err(|source| VaultError::Target { path: tree.path_of(&items[0]), source })
}

fn problem(tree: &TreeWriter, item: &Item, error: &io::Error) -> Problem {
    Problem { path: tree.path_of(item), reason: error.to_string() }
}

impl Snapshot {
    /// The streams of one kind, with their places in the snapshot.
    pub fn streams_of(&self, kind: StreamKind) -> Vec<(usize, String)> {
        let streams = self.part.streams.iter().enumerate();
        streams.filter(|(_, s)| s.kind == kind).map(|(index, s)| (index, s.name.clone())).collect()
    }
}
