//! Taking a snapshot: register the run, capture the streams, store the index, sign the manifest. In this order: what
//! a manifest names is in the store before it, so a run that is killed anywhere leaves every committed snapshot whole.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_core::clock::Clock;
use lifeboat_core::progress::Progress;
use lifeboat_core::random::Entropy;
use lifeboat_store::StoreError;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use tokio_util::sync::CancellationToken;

use crate::capture::{ChunkStore, Stored};
use crate::chunk::{ChunkSizes, Chunker};
use crate::ids::{GroupId, RepositoryId, RunId, WriterId, digest_in_cbor, to_cbor};
use crate::index::{self, Contents, ContentsIndex};
use crate::key_file::WriterKey;
use crate::layout::{self, cap};
use crate::manifest::{
    self, Consistency, DocumentRecord, Part, Predicate, RunRecord, StreamKind, StreamRecord, bitmap,
};
use crate::memory::{HostMemory, MemoryFile};
use crate::pack::WrappedRunKey;
use crate::pipeline::{Pipeline, RunKeys};
use crate::repository::{Repository, check_writer, hash_of};
use crate::seal::{Purpose, SealKey};
use crate::signed::{self, Place};
use crate::source::{Source, Unreadable};
use crate::view::Snapshot;
use crate::{FORMAT_VERSION, VaultError};

/// How a snapshot is taken.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// The host's name, told to the group.
    pub host: String,
    /// Labels to find snapshots by.
    pub tags: Vec<String>,
    /// The application, where the snapshot is of one.
    pub application: Option<String>,
    /// zstd's level.
    pub compression_level: i32,
    /// How many threads compress and seal.
    pub threads: usize,
    /// Where host memory is kept.
    pub cache: Option<PathBuf>,
    /// Read and count everything, store nothing.
    pub dry_run: bool,
}

/// A stream to capture.
pub struct Stream {
    /// What it is captured from.
    pub kind: StreamKind,
    /// Its name in the snapshot: a volume's name; for folders a number, since paths are not for the group.
    pub name: String,
    /// How writers were kept off.
    pub consistency: Consistency,
    /// What tells this stream's memory from others on this host, such as the folder's path. Never stored in the clear.
    pub memory_key: String,
    /// The data.
    pub source: Box<dyn Source>,
}

/// What became of one stream.
#[derive(Debug)]
pub struct StreamOutcome {
    /// What it was captured from.
    pub kind: StreamKind,
    /// Its name in the snapshot.
    pub name: String,
    /// How many items it has.
    pub items: u64,
    /// The sum of its files' data.
    pub data_bytes: u64,
    /// What could not be captured.
    pub unreadable: Vec<Unreadable>,
    /// Files that changed while they were read.
    pub changed: Vec<Vec<u8>>,
}

/// A committed snapshot.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The snapshot's id; `None` after a dry run.
    pub id: Option<Sha256Digest>,
    /// Which of the writer's snapshots it is.
    pub sequence: u64,
    /// When it was taken.
    pub time: Timestamp,
    /// Bytes of chunks that were not in the repository before.
    pub new_bytes: u64,
    /// Bytes that went into packs, compressed.
    pub stored_bytes: u64,
    /// Some of what was to be captured is missing.
    pub incomplete: bool,
}

/// A run's registration in the store.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct Registration {
    #[n(0)]
    pub(crate) format: u8,
    #[n(1)]
    #[cbor(with = "digest_in_cbor")]
    pub(crate) repository: RepositoryId,
    #[n(2)]
    pub(crate) group: GroupId,
    #[n(3)]
    pub(crate) writer: WriterId,
    #[n(4)]
    pub(crate) run: RunId,
    #[n(5)]
    pub(crate) epoch: u32,
    /// The run key as an age file to the epoch's data recipient.
    #[n(6)]
    pub(crate) wrapped_key: ByteVec,
}

/// A snapshot that is being taken.
pub struct SnapshotWriter {
    repository: Repository,
    key: Arc<WriterKey>,
    options: SnapshotOptions,
    keys: Arc<RunKeys>,
    chunks: ChunkStore,
    chunker: Chunker,
    part: Part,
    memories: Vec<(MemoryFile, HostMemory)>,
    head: Option<Head>,
    /// The snapshot that host memory is of, where it is not the newest one.
    remembered: Option<Sha256Digest>,
    time: Timestamp,
    incomplete: bool,
}

/// The writer's newest snapshot.
struct Head {
    sequence: u64,
    id: Sha256Digest,
}

impl SnapshotWriter {
    /// Registers a run and reads what the group has stored before.
    pub async fn begin(
        repository: Repository,
        key: Arc<WriterKey>,
        options: SnapshotOptions,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
        progress: &Arc<dyn Progress>,
    ) -> Result<Self, VaultError> {
        check_writer(&repository, &key)?;
        let time = clock.now();
        let head = read_head(&repository, &key).await?;
        let keys = register(&repository, &key, entropy, options.dry_run).await?;
        let contents = read_contents(&repository, &key, progress).await?;
        let chunker = Chunker::new(&key.group.chunker_seed, &key.group.chunk_id_key, ChunkSizes::FINE);
        let store = (!options.dry_run).then(|| repository.store.clone());
        let pipeline =
            Pipeline::start(Arc::clone(&keys), store, options.compression_level, options.threads.max(1));
        let chunks = ChunkStore::new(keys.run, ContentsIndex::new(contents), pipeline);
        let part = Part {
            host: options.host.clone(),
            tags: options.tags.clone(),
            streams: Vec::new(),
            documents: Vec::new(),
            runs: Vec::new(),
            application: options.application.clone(),
            copied_from: None,
        };
        Ok(Self {
            repository,
            key,
            options,
            keys,
            chunks,
            chunker,
            part,
            memories: Vec::new(),
            head,
            remembered: None,
            time,
            incomplete: false,
        })
    }

    /// Makes this snapshot a copy of one of another repository: it keeps the time, lacks what that one lacks, and says
    /// what it is a copy of. `remembered` is the copy that host memory is of.
    pub(crate) fn copies(&mut self, original: &Snapshot, remembered: Option<Sha256Digest>) {
        self.time = original.time();
        self.incomplete = original.is_incomplete();
        self.part.copied_from = Some(original.original());
        self.remembered = remembered;
    }

    /// When the snapshot began.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Captures one stream. Returns when the source has been read; what it gave may still be on its way to the store.
    /// Blocks: call it where blocking is allowed.
    pub fn capture(
        &mut self,
        mut stream: Stream,
        progress: &Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<StreamOutcome, VaultError> {
        let file = self.options.cache.as_deref().map(|c| MemoryFile::new(c, &self.key, &stream.memory_key));
        let head = self.remembered.as_ref().or(self.head.as_ref().map(|head| &head.id));
        let mut memory = match &file {
            Some(file) => {
                let (memory, reason) = file.load(head, self.time);
                if let Some(reason) = reason {
                    progress.warn(&format!(
                        "the cache of the last run is set aside, all is read again: {reason}"
                    ));
                }
                memory
            }
            None => HostMemory::none(),
        };
        let captured =
            self.chunks.capture(&mut *stream.source, &self.chunker, &mut memory, progress, cancel)?;
        if let Some(file) = file {
            self.memories.push((file, memory));
        }
        self.incomplete |= !captured.unreadable.is_empty();
        self.part.streams.push(StreamRecord {
            kind: stream.kind,
            name: stream.name.clone(),
            consistency: stream.consistency,
            chunk_sizes: self.chunker.sizes(),
            items: captured.items,
            item_count: captured.counts.items,
            data_bytes: captured.counts.data_bytes,
            unreadable: captured.unreadable.len() as u64 + stream.source.missing(),
        });
        Ok(StreamOutcome {
            kind: stream.kind,
            name: stream.name,
            items: captured.counts.items,
            data_bytes: captured.counts.data_bytes,
            unreadable: captured.unreadable,
            changed: captured.changed,
        })
    }

    /// Stores a document beside the streams, sealed like file contents. Blocks as [`SnapshotWriter::capture`] does.
    pub fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        let content = self.chunks.put_document(&self.chunker, bytes)?;
        self.part.documents.push(DocumentRecord { name: name.to_owned(), content });
        Ok(())
    }

    /// Waits for the store, writes the index, and signs the manifest.
    pub async fn commit(self) -> Result<Committed, VaultError> {
        let Self {
            repository, key, options, keys, chunks, mut part, memories, head, time, incomplete, ..
        } = self;
        let stored = tokio::task::spawn_blocking(move || chunks.finish())
            .await
            .map_err(|_| VaultError::Internal("the capturing thread panicked"))??;
        let sequence = head.as_ref().map_or(0, |head| head.sequence + 1);
        let mut committed = Committed {
            id: None,
            sequence,
            time,
            new_bytes: stored.new_bytes,
            stored_bytes: stored.packed.stored_bytes,
            incomplete,
        };
        if options.dry_run {
            return Ok(committed);
        }
        let contents = store_index(&repository, &key, &keys, &stored).await?;
        part.runs = run_records(&keys, &stored)?;
        let (part_hash, part_bytes) = store_part(&repository, &key, &part).await?;
        let predicate = Predicate {
            format: FORMAT_VERSION,
            repository: repository.id,
            group: key.group.id,
            writer: key.writer,
            sequence,
            previous: head.map(|head| head.id),
            time,
            roster: repository.roster.number,
            part_bytes,
            incomplete,
            contents,
        };
        let (manifest, id) = manifest::sign(predicate, &part_hash, &key.signing_key);
        repository.store.create(&layout::snapshot(key.writer, sequence), manifest.into()).await?;
        for (file, memory) in &memories {
            // The snapshot stands; a memory that cannot be kept costs the next run a reread.
            if let Err(error) = file.store(memory, &id) {
                tracing::warn!("{error}: the next run reads everything again");
            }
        }
        committed.id = Some(id);
        Ok(committed)
    }
}

async fn read_head(repository: &Repository, key: &WriterKey) -> Result<Option<Head>, VaultError> {
    let Some(sequence) = repository.newest_sequence(key.writer).await? else { return Ok(None) };
    let writer = repository.roster.writer(key.writer).ok_or(VaultError::UnknownWriter)?;
    let manifest = repository.manifest(writer, sequence).await?;
    Ok(Some(Head { sequence, id: manifest.id }))
}

/// Makes the run's key and puts it, wrapped, where it outlives this process; then reads it back.
async fn register(
    repository: &Repository,
    key: &WriterKey,
    entropy: &dyn Entropy,
    dry_run: bool,
) -> Result<Arc<RunKeys>, VaultError> {
    let run = RunId::random(entropy);
    let run_key = SealKey::random(entropy);
    let wrapped: ByteVec = key.data_recipient.wrap(run_key.as_bytes())?.into();
    if !dry_run {
        let registration = to_cbor(&Registration {
            format: FORMAT_VERSION,
            repository: repository.id,
            group: key.group.id,
            writer: key.writer,
            run,
            epoch: key.epoch,
            wrapped_key: wrapped.clone(),
        });
        let name = layout::run(key.group.id, run);
        repository.store.create(&name, registration.clone().into()).await?;
        // Without this key nothing that the run writes can ever be read: see that it is there.
        let found = repository.store.read(&name, cap::KEY).await.map_err(VaultError::reading)?;
        if found != registration {
            return Err(VaultError::damaged(name, "it reads back otherwise than it was written"));
        }
    }
    Ok(Arc::new(RunKeys {
        repository: repository.id,
        group: key.group.id,
        run,
        wrapped: WrappedRunKey { run, wrapped },
        index_key: key.group.index_key.clone(),
        key: run_key,
    }))
}

/// Reads every contents object of the group. One that is damaged is left out with a warning: its chunks are stored
/// again.
async fn read_contents(
    repository: &Repository,
    key: &WriterKey,
    progress: &Arc<dyn Progress>,
) -> Result<Vec<Contents>, VaultError> {
    let group = key.group.id;
    let place = Place { purpose: Purpose::Contents, repository: &repository.id, group };
    let mut contents = Vec::new();
    for entry in repository.store.list(&layout::contents(group)).await? {
        let read = async {
            let hash =
                hash_of(&entry.key).ok_or_else(|| VaultError::damaged(&entry.key, "its name is no hash"))?;
            let bytes = repository.read_hashed(&entry.key, &hash, cap::INDEX).await?;
            signed::read(place, &key.group.index_key, |w| repository.writer_verification_key(w), &bytes)
                .map_err(|reason| VaultError::damaged(&entry.key, reason))
        };
        match read.await {
            Ok(object) => contents.push(object),
            Err(error @ (VaultError::Damaged { .. } | VaultError::Missing { .. })) => {
                progress.warn(&format!("{error}; what it lists is stored again"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(contents)
}

async fn store_index(
    repository: &Repository,
    key: &WriterKey,
    keys: &RunKeys,
    stored: &Stored,
) -> Result<Vec<Sha256Digest>, VaultError> {
    if stored.packed.packs.is_empty() {
        return Ok(Vec::new());
    }
    let group = key.group.id;
    let (contents, locations) = index::of_packs(keys.run, keys.key.commitment(), &stored.packed.packs);
    let seal = |purpose, body: &dyn Fn(Place<'_>) -> Vec<u8>| {
        body(Place { purpose, repository: &repository.id, group })
    };
    let write_contents = |place: Place<'_>| {
        signed::write(place, key.writer, &key.signing_key, &key.group.index_key, &contents)
    };
    let write_locations = |place: Place<'_>| {
        signed::write(place, key.writer, &key.signing_key, &key.group.index_key, &locations)
    };
    let locations = seal(Purpose::Locations, &write_locations);
    let contents = seal(Purpose::Contents, &write_contents);
    let name = layout::locations_object(group, keys.run, &Sha256Digest::of(&locations));
    repository.store.create(&name, locations.into()).await?;
    let hash = Sha256Digest::of(&contents);
    repository.store.create(&layout::contents_object(group, &hash), contents.into()).await?;
    Ok(vec![hash])
}

fn run_records(keys: &RunKeys, stored: &Stored) -> Result<Vec<RunRecord>, VaultError> {
    let mut records = Vec::with_capacity(stored.needed.len());
    for (run, ordinals) in &stored.needed {
        let commitment =
            if *run == keys.run { Some(keys.key.commitment()) } else { stored.index.commitment(*run) };
        let commitment = commitment.ok_or(VaultError::Internal("a run that is leaned on is in the index"))?;
        records.push(RunRecord { run: *run, commitment, frames: bitmap(ordinals.iter().copied()) });
    }
    records.sort_unstable_by_key(|record| record.run);
    Ok(records)
}

async fn store_part(
    repository: &Repository,
    key: &WriterKey,
    part: &Part,
) -> Result<(Sha256Digest, u64), VaultError> {
    let place = Place { purpose: Purpose::Part, repository: &repository.id, group: key.group.id };
    let bytes = signed::write(place, key.writer, &key.signing_key, &key.group.index_key, part);
    let (hash, size) = (Sha256Digest::of(&bytes), bytes.len() as u64);
    match repository.store.create(&layout::part(key.group.id, &hash), bytes.into()).await {
        Ok(_) => Ok((hash, size)),
        Err(error @ StoreError::AlreadyExists { .. }) => Err(VaultError::damaged("parts", error)),
        Err(error) => Err(error.into()),
    }
}
