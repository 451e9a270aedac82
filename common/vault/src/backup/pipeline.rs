//! Turns frames into stored packs: threads compress and seal, one thread fills packs, uploads run beside them, and the
//! index objects of stored packs follow.
//!
//! Memory is bounded: a few frames wait for each thread, and no more than a few packs are being uploaded. Others may
//! wait on disk, if that is allowed. Contents and locations are written as packs are stored, so that the next run can
//! use what a killed run leaves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use lifeboat_core::Sha256Digest;
use lifeboat_store::Created;
use roaring::RoaringBitmap;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::backup::register::RunKeys;
use crate::backup::run_end::OpenRun;
use crate::backup::spool::{Pending, Spool};
use crate::error::VaultError;
use crate::format::frame::{PackKind, RawFrame, SealedFrame};
use crate::format::index::{self, StoredPack};
use crate::format::layout;
use crate::format::pack::{FinishedPack, PackBuilder};
use crate::keys::GroupView;
use crate::repository::open::Repository;

/// How many packs may be uploaded at once.
const UPLOADS: usize = 2;

/// The index of what was stored is written at least this often, if there is anything new.
const WRITE_DOWN_EVERY: Duration = Duration::from_mins(1);

/// How often the thread that fills packs checks whether it must stop.
const LOOK: Duration = Duration::from_millis(50);

/// How long uploads in progress may take to finish when the run ends without a snapshot.
const LANDING: Duration = Duration::from_millis(300);

/// How long writing the index of what was stored may take then.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// How much packs leave free on the disk of a repository in a folder, in bytes: needed for the packs' index and the end
/// of the run.
const RESERVE: u64 = 4 << 20;

/// How large packs grow, how many of them wait, and how often the index is written.
#[derive(Debug, Clone, Copy)]
pub struct PackSizes {
    /// A pack is closed when it contains this many bytes.
    pub pack_bytes: usize,
    /// Contents and locations are written whenever this many bytes of packs have been stored.
    pub checkpoint_bytes: u64,
    /// How many bytes of packs may wait on this host's disk for a slow store while reading goes on.
    pub spool_bytes: u64,
}

impl Default for PackSizes {
    fn default() -> Self {
        Self { pack_bytes: crate::format::pack::PACK_BYTES, checkpoint_bytes: 256 << 20, spool_bytes: 0 }
    }
}

/// Running threads that turn frames into packs in the store.
pub(crate) struct Pipeline {
    frames: Sender<RawFrame>,
    sealers: Vec<JoinHandle<()>>,
    packer: JoinHandle<Result<Packed, VaultError>>,
    failure: Arc<Mutex<Option<VaultError>>>,
    landed: Arc<Landed>,
    turns: AtomicU64,
}

/// The run's frames that are in the store and in its index objects.
#[derive(Default)]
pub(crate) struct Landed {
    /// How often the set grew.
    generation: AtomicU64,
    ordinals: Mutex<RoaringBitmap>,
}

impl Landed {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn ordinals(&self) -> RoaringBitmap {
        self.ordinals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, packs: &[StoredPack]) {
        let mut ordinals = self.ordinals.lock().unwrap_or_else(PoisonError::into_inner);
        ordinals.extend(packs.iter().flat_map(|pack| &pack.frames).map(|frame| frame.ordinal));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The result of storing packs.
#[derive(Default)]
pub(crate) struct Packed {
    /// The contents objects that list the run's frames.
    pub(crate) contents: Vec<Sha256Digest>,
    /// How many chunks each frame has.
    pub(crate) chunk_counts: BTreeMap<u32, u32>,
    /// Bytes of packs that this run wrote.
    pub(crate) stored_bytes: u64,
}

impl Pipeline {
    /// Starts the threads. Without a repository, frames are compressed, counted and dropped. The threads stop when
    /// `open` tells them to, or when something fails; even then the index of what was stored is written.
    pub(crate) fn start(
        keys: Arc<RunKeys>,
        open: &OpenRun,
        repository: Option<Repository>,
        (sizes, spool): (PackSizes, Spool),
        level: i32,
        threads: usize,
    ) -> Self {
        let (frames, raw) = bounded::<RawFrame>(threads + 1);
        let (sealed_out, sealed_in) = bounded::<SealedFrame>(threads + 1);
        let failure = Arc::new(Mutex::new(None));
        let landed = Arc::new(Landed::default());
        let sealers = (0..threads)
            .map(|_| {
                let (keys, raw, out) = (Arc::clone(&keys), raw.clone(), sealed_out.clone());
                std::thread::spawn(move || seal_all(&keys, &raw, &out, level))
            })
            .collect();
        let runtime = Handle::current();
        let (told, landing) = (Arc::clone(&failure), Arc::clone(&landed));
        let (stop, settled) = (open.stop.clone(), open.settled.clone().drop_guard());
        let packer = std::thread::spawn(move || {
            // On every exit of this thread.
            let _settled = settled;
            let mut packer = Packer {
                keys,
                repository,
                sizes,
                runtime,
                uploads: JoinSet::new(),
                spool,
                arrived: Vec::new(),
                landed: landing,
                packed: Packed::default(),
                stop,
                written_down: Instant::now(),
            };
            match packer.pack_all(&sealed_in) {
                Ok(()) => Ok(packer.packed),
                Err(error) => {
                    // The caller that feeds frames sees the error at the next frame, the caller of `finish` at the end.
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    drop(sealed_in);
                    packer.salvage();
                    Ok(Packed::default())
                }
            }
        });
        Self { frames, sealers, packer, failure, landed, turns: AtomicU64::new(0) }
    }

    /// Passes a frame on; waits while the threads are busy.
    pub(crate) fn push(&self, mut frame: RawFrame) -> Result<(), VaultError> {
        frame.turn = self.turns.fetch_add(1, Ordering::Relaxed);
        self.frames.send(frame).map_err(|_| self.take_failure())
    }

    /// The frames stored so far.
    pub(crate) fn landed(&self) -> &Landed {
        &self.landed
    }

    /// Waits until everything is in the store.
    pub(crate) fn finish(self) -> Result<Packed, VaultError> {
        let Self { frames, sealers, packer, failure, .. } = self;
        drop(frames);
        for sealer in sealers {
            sealer.join().map_err(|_| VaultError::Internal("a sealing thread panicked"))?;
        }
        let packed = packer.join().map_err(|_| VaultError::Internal("the packing thread panicked"))?;
        match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => packed,
        }
    }

    fn take_failure(&self) -> VaultError {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().unwrap_or(VaultError::Internal("the pipeline stopped without a reason"))
    }
}

fn seal_all(keys: &RunKeys, raw: &Receiver<RawFrame>, out: &Sender<SealedFrame>, level: i32) {
    let mut compressor = zstd::bulk::Compressor::new(level).expect("a compressor needs memory only");
    for frame in raw {
        let sealed = frame.seal(&keys.key, &keys.repository, keys.run, &mut compressor);
        if out.send(sealed).is_err() {
            return;
        }
    }
}

/// Yields the frames in the order in which they were passed on, until the last or until `stop` is cancelled: a frame
/// that was sealed early waits for those before it.
fn in_order(
    sealed: &Receiver<SealedFrame>,
    stop: CancellationToken,
) -> impl Iterator<Item = Result<SealedFrame, VaultError>> + '_ {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    std::iter::from_fn(move || {
        loop {
            if stop.is_cancelled() {
                return Some(Err(VaultError::Interrupted));
            }
            if let Some(frame) = waiting.remove(&next) {
                next += 1;
                return Some(Ok(frame));
            }
            match sealed.recv_timeout(LOOK) {
                Ok(frame) => _ = waiting.insert(frame.turn, frame),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    })
}

type Upload = Result<(StoredPack, Created), VaultError>;

/// The thread that fills packs.
struct Packer {
    keys: Arc<RunKeys>,
    /// `None` for a dry run.
    repository: Option<Repository>,
    sizes: PackSizes,
    runtime: Handle,
    uploads: JoinSet<Upload>,
    /// Packs that wait for a free upload.
    spool: Spool,
    /// Packs that are in the store but not yet in an index object.
    arrived: Vec<StoredPack>,
    landed: Arc<Landed>,
    packed: Packed,
    /// Whether the run must end.
    stop: CancellationToken,
    /// When the index was last written.
    written_down: Instant,
}

impl Packer {
    fn pack_all(&mut self, sealed: &Receiver<SealedFrame>) -> Result<(), VaultError> {
        let mut open: [Option<PackBuilder>; 2] = [None, None];
        for frame in in_order(sealed, self.stop.clone()) {
            let frame = frame?;
            let kind = frame.kind;
            let chunks = u32::try_from(frame.ids.len()).expect("a frame has a few thousand slots");
            self.packed.chunk_counts.insert(frame.ordinal, chunks);
            let pack = open[kind as usize].get_or_insert_with(|| {
                let (keys, target) = (&self.keys, self.sizes.pack_bytes);
                let run_keys = vec![keys.wrapped.clone()];
                PackBuilder::new(&keys.repository, keys.writer.group.id, kind, run_keys, target)
            });
            pack.push(self.keys.run, frame);
            if pack.is_full()
                && let Some(full) = open[kind as usize].take()
            {
                self.upload(full)?;
            }
        }
        for pack in open.into_iter().flatten() {
            self.upload(pack)?;
        }
        while let Some(done) = self.next_upload()? {
            self.take(done)?;
            self.start_waiting()?;
        }
        self.write_down()
    }

    /// Waits for an upload to end; `None` if none is in progress.
    fn next_upload(&mut self) -> Result<Option<Result<Upload, JoinError>>, VaultError> {
        let (uploads, stop) = (&mut self.uploads, &self.stop);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => Err(VaultError::Interrupted),
                done = uploads.join_next() => Ok(done),
            }
        })
    }

    /// Writes the index of what was stored by a run that ends here. If that fails, the data is only stored again.
    fn salvage(&mut self) {
        let uploads = &mut self.uploads;
        let arrived = self.runtime.block_on(async {
            let mut arrived = Vec::new();
            let landing = async {
                while let Some(done) = uploads.join_next().await {
                    arrived.extend(done.ok().and_then(Result::ok).map(|(stored, _)| stored));
                }
            };
            let _ = timeout(LANDING, landing).await;
            uploads.abort_all();
            arrived
        });
        self.arrived.extend(arrived);
        let runtime = self.runtime.clone();
        match runtime.block_on(async { timeout(LAST_WORDS, self.write_down_what_arrived()).await }) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("the index of what was stored is not written: {error}"),
            Err(_) => tracing::debug!("the index of what was stored is not written within {LAST_WORDS:?}"),
        }
    }

    fn upload(&mut self, pack: PackBuilder) -> Result<(), VaultError> {
        let group = &self.keys.writer.group;
        let FinishedPack { bytes, hash, frames } =
            pack.finish(&group.index_key, &self.keys.repository, group.id);
        let stored = StoredPack { hash, size: bytes.len() as u64, frames };
        if self.repository.is_none() {
            self.packed.stored_bytes += stored.size;
            return Ok(());
        }
        if self.spool.is_used() {
            while let Some(done) = self.uploads.try_join_next() {
                self.take(done)?;
            }
            self.start_waiting()?;
        }
        let mut pack = (stored, Bytes::from(bytes));
        while self.uploads.len() >= UPLOADS {
            pack = match self.spool.put(pack) {
                Ok(()) => return self.write_down_if_much(),
                Err(pack) => pack,
            };
            if let Some(done) = self.next_upload()? {
                self.take(done)?;
            }
            self.start_waiting()?;
        }
        self.start(pack);
        self.write_down_if_much()
    }

    /// Starts as many uploads of waiting packs as allowed.
    fn start_waiting(&mut self) -> Result<(), VaultError> {
        while self.uploads.len() < UPLOADS
            && let Some(pack) = self.spool.next()?
        {
            self.start(pack);
        }
        Ok(())
    }

    fn start(&mut self, (stored, bytes): Pending) {
        let Some(store) = self.repository.as_ref().map(|repository| repository.store.clone()) else { return };
        let key = layout::pack(self.keys.writer.group.id, &stored.hash);
        let upload = async move {
            let created = store.create_leaving(&key, bytes, RESERVE).await?;
            Ok((stored, created))
        };
        self.uploads.spawn_on(upload, &self.runtime);
    }

    fn write_down_if_much(&mut self) -> Result<(), VaultError> {
        let arrived: u64 = self.arrived.iter().map(|pack| pack.size).sum();
        let is_due =
            arrived >= self.sizes.checkpoint_bytes || self.written_down.elapsed() >= WRITE_DOWN_EVERY;
        if is_due { self.write_down() } else { Ok(()) }
    }

    fn take(&mut self, done: Result<Upload, JoinError>) -> Result<(), VaultError> {
        let (stored, created) = done.map_err(|_| VaultError::Internal("an upload was dropped"))??;
        if created == Created::Now {
            self.packed.stored_bytes += stored.size;
        }
        self.arrived.push(stored);
        Ok(())
    }

    fn write_down(&mut self) -> Result<(), VaultError> {
        let runtime = self.runtime.clone();
        runtime.block_on(self.write_down_what_arrived())
    }

    /// Writes the locations and then the contents of the packs stored since the last time. A reader that finds the
    /// contents of a frame thus finds its place as well.
    async fn write_down_what_arrived(&mut self) -> Result<(), VaultError> {
        self.written_down = Instant::now();
        let Some(repository) = self.repository.as_ref().filter(|_| !self.arrived.is_empty()) else {
            return Ok(());
        };
        let (keys, pen) = (&self.keys, self.keys.writer.pen());
        let group = GroupView::from(&keys.writer.group);
        repository.write_locations(&group, pen, &index::locations_of(&self.arrived)).await?;
        for contents in index::contents_of(keys.run, keys.key.commitment(), &self.arrived) {
            self.packed.contents.push(repository.store_signed(&group, pen, &contents).await?.hash);
        }
        self.landed.add(&self.arrived);
        self.arrived.clear();
        Ok(())
    }
}

/// A frame's kind decides which of the two open packs it goes to.
const _: () = assert!(PackKind::Data as usize == 0 && PackKind::Metadata as usize == 1);
