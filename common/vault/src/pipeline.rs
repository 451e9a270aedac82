//! From frames to stored packs: threads that compress and seal, one that fills packs, and uploads beside them.
//!
//! Memory is bounded: a few frames wait for each thread, and no more than a few packs are under way to the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use lifeboat_store::{Created, Store};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::VaultError;
use crate::frame::{RawFrame, SealedFrame};
use crate::ids::{GroupId, RepositoryId, RunId};
use crate::index::StoredPack;
use crate::layout;
use crate::pack::{FinishedPack, PackBuilder, PackKind, WrappedRunKey};
use crate::seal::SealKey;

/// How many packs may be on their way to the store at once.
const UPLOADS: usize = 2;

/// What a run writes with.
pub(crate) struct RunKeys {
    pub(crate) repository: RepositoryId,
    pub(crate) group: GroupId,
    pub(crate) run: RunId,
    pub(crate) key: SealKey,
    pub(crate) wrapped: WrappedRunKey,
    pub(crate) index_key: SealKey,
}

/// Running threads that turn frames into packs in the store.
pub(crate) struct Pipeline {
    frames: Sender<RawFrame>,
    sealers: Vec<JoinHandle<()>>,
    packer: JoinHandle<Result<Packed, VaultError>>,
    failure: Arc<Mutex<Option<VaultError>>>,
}

/// What went into the store.
#[derive(Default)]
pub(crate) struct Packed {
    pub(crate) packs: Vec<StoredPack>,
    /// Bytes of packs that were written now.
    pub(crate) stored_bytes: u64,
}

impl Pipeline {
    /// Starts the threads. Without a store frames are compressed, counted and dropped.
    pub(crate) fn start(keys: Arc<RunKeys>, store: Option<Store>, level: i32, threads: usize) -> Self {
        let (frames, raw) = bounded::<RawFrame>(threads + 1);
        let (sealed_out, sealed_in) = bounded::<SealedFrame>(threads + 1);
        let failure = Arc::new(Mutex::new(None));
        let sealers = (0..threads)
            .map(|_| {
                let (keys, raw, out) = (Arc::clone(&keys), raw.clone(), sealed_out.clone());
                std::thread::spawn(move || seal_all(&keys, &raw, &out, level))
            })
            .collect();
        let runtime = Handle::current();
        let told = Arc::clone(&failure);
        let packer = std::thread::spawn(move || {
            let packed = pack_all(&keys, &sealed_in, store.as_ref(), &runtime);
            if let Err(error) = packed {
                // The one who feeds frames learns of it at the next frame, the caller at the end.
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return Ok(Packed::default());
            }
            packed
        });
        Self { frames, sealers, packer, failure }
    }

    /// Hands a frame on; waits while the threads are busy.
    pub(crate) fn push(&self, frame: RawFrame) -> Result<(), VaultError> {
        self.frames.send(frame).map_err(|_| self.take_failure())
    }

    /// Waits until everything is in the store.
    pub(crate) fn finish(self) -> Result<Packed, VaultError> {
        let Self { frames, sealers, packer, failure } = self;
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
        failure.take().unwrap_or(VaultError::Internal("the pipeline stopped without saying why"))
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

fn pack_all(
    keys: &RunKeys,
    sealed: &Receiver<SealedFrame>,
    store: Option<&Store>,
    runtime: &Handle,
) -> Result<Packed, VaultError> {
    let mut open: [Option<PackBuilder>; 2] = [None, None];
    let mut packed = Packed::default();
    let mut uploads = JoinSet::new();
    for frame in sealed {
        let kind = frame.kind;
        let pack = open[kind as usize]
            .get_or_insert_with(|| PackBuilder::new(&keys.repository, keys.group, kind, &keys.wrapped));
        pack.push(keys.run, frame);
        if pack.is_full()
            && let Some(full) = open[kind as usize].take()
        {
            upload(full, keys, store, runtime, &mut uploads, &mut packed)?;
        }
    }
    for pack in open.into_iter().flatten() {
        upload(pack, keys, store, runtime, &mut uploads, &mut packed)?;
    }
    while let Some(done) = runtime.block_on(uploads.join_next()) {
        take(done, &mut packed)?;
    }
    Ok(packed)
}

type Upload = Result<(Created, u64), VaultError>;

fn upload(
    pack: PackBuilder,
    keys: &RunKeys,
    store: Option<&Store>,
    runtime: &Handle,
    uploads: &mut JoinSet<Upload>,
    packed: &mut Packed,
) -> Result<(), VaultError> {
    let FinishedPack { bytes, hash, frames } = pack.finish(&keys.index_key, &keys.repository, keys.group);
    let size = bytes.len() as u64;
    packed.packs.push(StoredPack { hash, frames });
    let Some(store) = store else {
        packed.stored_bytes += size;
        return Ok(());
    };
    while uploads.len() >= UPLOADS {
        if let Some(done) = runtime.block_on(uploads.join_next()) {
            take(done, packed)?;
        }
    }
    let (store, key) = (store.clone(), layout::pack(keys.group, &hash));
    uploads.spawn_on(async move { Ok((store.create(&key, Bytes::from(bytes)).await?, size)) }, runtime);
    Ok(())
}

fn take(done: Result<Upload, tokio::task::JoinError>, packed: &mut Packed) -> Result<(), VaultError> {
    let (created, size) = done.map_err(|_| VaultError::Internal("an upload was dropped"))??;
    if created == Created::Now {
        packed.stored_bytes += size;
    }
    Ok(())
}

/// Which of the two open packs a frame goes to follows from its kind.
const _: () = assert!(PackKind::Data as usize == 0 && PackKind::Metadata as usize == 1);
