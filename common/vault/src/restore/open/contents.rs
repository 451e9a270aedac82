//! Restores the contents of a stream's files: reads packs in the order of the store, and checks and writes every chunk.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lifeboat_core::Context;
use lifeboat_core::progress::Progress;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Made;
use crate::error::{ObjectError, VaultError};
use crate::format::frame::OpenedFrame;
use crate::format::item::{Extent, Segment};
use crate::ids::FrameName;
use crate::restore::reader::{FrameReader, RangeRead};
use crate::tree::{Folders, TreeWriter};

/// How many fetched reads wait for the threads that write them.
const READS_AHEAD: usize = 2;

/// Why a file was not restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotWhole {
    /// The repository does not have its bytes, or has others.
    Damaged(String),
    /// The repository has its bytes, but they could not be written here.
    NotWritten(String),
}

/// The state of the contents when the restore of them ended.
pub(super) struct Brought {
    /// The files that are not whole, by their position among the items. The bytes under their names are not what was
    /// backed up.
    pub(super) not_whole: HashMap<usize, NotWhole>,
    /// Why the restore ends here, if it does.
    pub(super) ended: Option<VaultError>,
}

impl Brought {
    /// The restore ended before any contents came.
    pub(super) fn nothing(made: &Made, error: VaultError) -> Self {
        Self { not_whole: ContentCheck::new(made).finish(), ended: Some(error) }
    }
}

/// A piece of a file, from one extent.
#[derive(Clone, Copy)]
struct Piece {
    item: usize,
    /// Its offset in the file's data (segments one after another).
    at: u64,
    extent: Extent,
    /// Its position among the extents of the item.
    number: u32,
}

/// Fetches what the files need and writes it in place.
pub(super) async fn bring(
    reader: &FrameReader,
    tree: &TreeWriter,
    made: &Arc<Made>,
    context: &Context,
) -> Brought {
    let work = Work {
        reader: reader.clone(),
        made: Arc::clone(made),
        pieces: Arc::new(pieces_by_frame(made)),
        check: Arc::new(Mutex::new(ContentCheck::new(made))),
        lost: Arc::default(),
        stop: Arc::default(),
        progress: Arc::clone(&context.progress),
    };
    let ended = match work.bring(tree, &context.cancel).await {
        Ok(()) => lock(&work.stop).take(),
        Err(error) => Some(error),
    };
    let check = std::mem::take(&mut *lock(&work.check));
    Brought { not_whole: check.finish(), ended }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shared state of one restore's threads.
#[derive(Clone)]
struct Work {
    reader: FrameReader,
    made: Arc<Made>,
    /// The pieces of files that each frame contains.
    pieces: Arc<BTreeMap<FrameName, Vec<Piece>>>,
    check: Arc<Mutex<ContentCheck>>,
    /// Frames that did not open in their first place.
    lost: Arc<Mutex<Vec<(FrameName, ObjectError)>>>,
    /// Why nothing more can be written.
    stop: Arc<Mutex<Option<VaultError>>>,
    progress: Arc<dyn Progress>,
}

impl Work {
    async fn bring(&self, tree: &TreeWriter, cancel: &CancellationToken) -> Result<(), VaultError> {
        let (reads, unplaced) = self.reader.plan(self.pieces.keys().copied());
        let (send, receive) = mpsc::channel::<(RangeRead, Result<Bytes, ObjectError>)>(READS_AHEAD);
        let receive = Arc::new(Mutex::new(receive));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let writers: Vec<_> = (0..threads)
            .map(|_| {
                let mut writer = PieceWriter { work: self.clone(), folders: tree.folders() };
                let receive = Arc::clone(&receive);
                tokio::task::spawn_blocking(move || {
                    loop {
                        let next = lock(&receive).blocking_recv();
                        let Some((read, bytes)) = next else { return };
                        writer.write(&read, bytes);
                    }
                })
            })
            .collect();
        let fetched = self.fetch_all(reads, &send, cancel).await;
        drop(send);
        for writer in writers {
            writer.await.map_err(|_| VaultError::Internal("a restoring thread panicked"))?;
        }
        fetched?;
        let mut lost = std::mem::take(&mut *lock(&self.lost));
        lost.extend(unplaced.iter().map(|name| (*name, ObjectError::lost(*name))));
        let mut writer = PieceWriter { work: self.clone(), folders: tree.folders() };
        for (name, error) in lost {
            if cancel.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            if lock(&self.stop).is_some() {
                return Ok(());
            }
            match self.reader.recover(name, error).await? {
                Ok(frame) => writer = write_frame(writer, name, frame).await?,
                Err(error) => self.fail(name, &error.to_string()),
            }
        }
        Ok(())
    }

    async fn fetch_all(
        &self,
        reads: Vec<RangeRead>,
        send: &mpsc::Sender<(RangeRead, Result<Bytes, ObjectError>)>,
        cancel: &CancellationToken,
    ) -> Result<(), VaultError> {
        for read in reads {
            if cancel.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            if lock(&self.stop).is_some() {
                break;
            }
            let bytes = self.reader.fetch(&read).await?;
            if send.send((read, bytes)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Marks the files that need a frame as not restorable.
    fn fail(&self, frame: FrameName, reason: &str) {
        let mut check = lock(&self.check);
        for piece in self.pieces.get(&frame).into_iter().flatten() {
            check.fail(piece.item, NotWhole::Damaged(reason.to_owned()));
        }
    }
}

/// Writes the pieces of one frame where blocking is allowed, and returns the writer.
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

fn pieces_by_frame(made: &Made) -> BTreeMap<FrameName, Vec<Piece>> {
    let mut pieces: BTreeMap<FrameName, Vec<Piece>> = BTreeMap::new();
    for (number, item) in made.items.iter().enumerate() {
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

/// Checks every file's content hash, although its pieces come in any order.
#[derive(Default)]
struct ContentCheck {
    /// For files with missing pieces: the chunk ids of those that have come.
    open: HashMap<usize, BTreeMap<u32, Vec<u8>>>,
    not_whole: HashMap<usize, NotWhole>,
}

impl ContentCheck {
    fn new(made: &Made) -> Self {
        let open = made.items.iter().enumerate().filter(|(_, item)| item.content.is_some());
        Self { open: open.map(|(number, _)| (number, BTreeMap::new())).collect(), ..Self::default() }
    }

    fn fail(&mut self, item: usize, reason: NotWhole) {
        self.open.remove(&item);
        self.not_whole.entry(item).or_insert(reason);
    }

    fn piece(&mut self, made: &Made, piece: &Piece, ids: Vec<u8>) {
        let Some(pieces) = self.open.get_mut(&piece.item) else { return };
        pieces.insert(piece.number, ids);
        let Some(content) = &made.items[piece.item].content else { return };
        if pieces.len() < content.extents.len() {
            return;
        }
        let mut hasher = blake3::Hasher::new();
        for ids in pieces.values() {
            hasher.update(ids);
        }
        if *hasher.finalize().as_bytes() == content.hash {
            self.open.remove(&piece.item);
        } else {
            let reason = "its chunks are not the ones that were backed up".to_owned();
            self.fail(piece.item, NotWhole::Damaged(reason));
        }
    }

    fn finish(mut self) -> HashMap<usize, NotWhole> {
        for number in self.open.into_keys() {
            let reason = NotWhole::NotWritten("not all of its content came".to_owned());
            self.not_whole.insert(number, reason);
        }
        self.not_whole
    }
}

/// One thread that opens frames and writes their chunks into the files.
struct PieceWriter {
    work: Work,
    folders: Folders,
}

impl PieceWriter {
    /// Writes the result of a read. Frames that do not open are noted as lost: they may be found elsewhere.
    fn write(&mut self, read: &RangeRead, bytes: Result<Bytes, ObjectError>) {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                lock(&self.work.lost).extend(read.frames.iter().map(|name| (*name, error.clone())));
                return;
            }
        };
        for name in &read.frames {
            if lock(&self.work.stop).is_some() {
                return;
            }
            match self.work.reader.open(read, &bytes, *name) {
                Ok(frame) => self.write_pieces(*name, &frame),
                Err(error) => lock(&self.work.lost).push((*name, error)),
            }
        }
    }

    fn write_pieces(&mut self, name: FrameName, frame: &OpenedFrame) {
        let pieces = Arc::clone(&self.work.pieces);
        let mut open: Option<(usize, std::fs::File)> = None;
        for piece in pieces.get(&name).into_iter().flatten() {
            let mut ids = Vec::with_capacity(32 * piece.extent.chunks as usize);
            let mut chunks = Vec::with_capacity(piece.extent.chunks as usize);
            let whole = self.work.reader.chunks_of(frame, &piece.extent, |chunk, id| {
                chunks.push(chunk);
                ids.extend_from_slice(id);
            });
            let written = match whole {
                Ok(()) => self.write_piece(piece, &chunks, &mut open).map_err(|error| {
                    let reason = NotWhole::NotWritten(error.to_string());
                    if ends_the_restore(&error) {
                        let path = self.path_of(piece.item);
                        lock(&self.work.stop).get_or_insert(VaultError::Target { path, source: error });
                    }
                    reason
                }),
                Err(reason) => Err(NotWhole::Damaged(reason.to_owned())),
            };
            let mut check = lock(&self.work.check);
            match written {
                Ok(()) => check.piece(&self.work.made, piece, ids),
                Err(reason) => check.fail(piece.item, reason),
            }
            drop(check);
            self.work.progress.advance(piece.extent.bytes);
        }
    }

    fn path_of(&self, item: usize) -> PathBuf {
        self.work.made.path_of(item)
    }

    fn write_piece(
        &mut self,
        piece: &Piece,
        chunks: &[&[u8]],
        open: &mut Option<(usize, std::fs::File)>,
    ) -> io::Result<()> {
        let (item, identity) = (&self.work.made.items[piece.item], self.work.made.identities[piece.item]);
        if open.as_ref().is_none_or(|(number, _)| *number != piece.item) {
            *open = Some((piece.item, self.folders.open_file(&item.path, identity)?));
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
}

/// Whether an error of the target's file system affects all files and not only one.
pub(super) fn ends_the_restore(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Writes bytes that begin at `at` of a file's data to their places in its segments.
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
