//! Takes a snapshot: registers the run, captures the streams, stores the index, signs the manifest. In this order,
//! everything that a manifest names is in the store before it, so a run that is killed at any point leaves every
//! committed snapshot whole.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use lifeboat_core::progress::{Progress, WarningsOfAKind};
use lifeboat_core::{Context, Sha256Digest};
use lifeboat_store::StoreError;

use crate::backup::capture::{ChunkStore, Stored, Underused};
use crate::backup::contents_cache::ContentsCache;
use crate::backup::file_cache::{CacheFile, FileCaches};
use crate::backup::keeping::Keeping;
use crate::backup::pipeline::{PackSizes, Pipeline};
use crate::backup::register::{RunKeys, register};
use crate::backup::run_end::{OpenRun, mark_the_dead};
use crate::backup::spool::Spool;
use crate::error::{ObjectError, VaultError};
use crate::format::FORMAT_VERSION;
use crate::format::chunk::{ChunkSizes, Chunker};
use crate::format::frame_set::bitmap;
use crate::format::index::ContentsIndex;
use crate::format::layout::{self, cap};
use crate::format::manifest::{
    self, Consistency, DocumentRecord, Part, Predicate, RunRecord, Seen, StreamKind, StreamRecord,
};
use crate::format::name::{check_name, check_text};
use crate::format::roster::Head;
use crate::format::signed::SignedObject;
use crate::ids::RunId;
use crate::keys::GroupView;
use crate::keys::key_file::WriterKey;
use crate::repository::objects::check_size;
use crate::repository::open::{Repository, check_writer};
use crate::snapshots::history::Tip;
use crate::snapshots::snapshot::Snapshot;
use crate::tree::source::{Source, Unreadable};

/// If the last snapshot used less than this percentage of a frame, the part still in use is stored again; otherwise old
/// frames would never be freed, and restores would scatter.
const UNDERUSED_PERCENT: u64 = 70;
/// The most chunks that a run stores again for this, in percent of those that the last snapshot used.
const REWRITTEN_PERCENT: u64 = 3;
/// How often another run of the same writer may commit first before this one gives up.
const COMMIT_TRIES: u32 = 5;

/// Options of a snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// The host's name, visible to the group.
    pub host: String,
    /// Labels to find snapshots by.
    pub tags: Vec<String>,
    /// The application, if the snapshot is of one.
    pub application: Option<String>,
    /// The compression level of zstd.
    pub compression_level: i32,
    /// How large packs grow and how often the index is written.
    pub pack_sizes: PackSizes,
    /// How many threads compress and seal.
    pub threads: usize,
    /// The folder of the host's cache.
    pub cache: Option<PathBuf>,
    /// Read and count everything, store nothing.
    pub dry_run: bool,
}

/// A stream to capture.
pub struct Stream {
    /// What it is captured from.
    pub kind: StreamKind,
    /// Its name in the snapshot: a volume's name; for folders a number, since the group must not see paths.
    pub name: String,
    /// How writers were excluded.
    pub consistency: Consistency,
    /// Distinguishes this stream's cache from others on this host, such as the folder's path. Never stored in the
    /// clear.
    pub cache_key: String,
    /// The data.
    pub source: Box<dyn Source>,
}

/// The result of one stream.
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
    /// Its number in the writer's sequence.
    pub sequence: u64,
    /// When it was taken.
    pub time: Timestamp,
    /// Bytes of chunks that were not in the repository before.
    pub new_bytes: u64,
    /// Bytes that went into packs, compressed.
    pub stored_bytes: u64,
    /// Whether something that should have been captured is missing.
    pub incomplete: bool,
}

/// Does work that blocks on a thread for that.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| VaultError::Internal("the capturing thread panicked"))?
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
    caches: FileCaches,
    /// The place in the writer's chain, unless another run takes it first.
    next: u64,
    previous: Option<Sha256Digest>,
    seen: Vec<Seen>,
    time: Timestamp,
    incomplete: bool,
    /// The packs that were condemned when the run began: the run refers to nothing that is only in these.
    condemned: HashSet<Sha256Digest>,
    open: Arc<OpenRun>,
    context: Context,
}

impl SnapshotWriter {
    /// Registers a run and reads what the group has stored before.
    pub async fn begin(
        repository: Repository,
        key: Arc<WriterKey>,
        options: SnapshotOptions,
        context: &Context,
    ) -> Result<Self, VaultError> {
        check_writer(&repository, &key)?;
        check_texts(&options)?;
        let (progress, entropy) = (&context.progress, &*context.entropy);
        let time = context.clock.now();
        let group = GroupView::from(&key.group);
        let writer = repository.roster.writer(key.writer).ok_or(VaultError::UnknownWriter)?;
        let Tip { next, previous, newest } = Tip::of(&repository, writer).await?;
        let seen = heads_of_others(&repository, &key, progress).await?;
        if let Some(cache) = options.cache.as_deref().filter(|_| !options.dry_run) {
            mark_the_dead(&repository, &key, cache).await;
        }
        let run = RunId::random(entropy);
        let open = Arc::new(if options.dry_run {
            OpenRun::dry(&key, run)
        } else {
            OpenRun::begin(&repository, &key, run, options.cache.as_deref())
        });
        let registered = Arc::clone(&open);
        let begun = async {
            let keys = register(&repository, &key, run, options.dry_run, context).await?;
            let excluded = repository.excluded(&group).await?;
            let unusable = WarningsOfAKind::new(progress);
            excluded.unusable.iter().for_each(|error| unusable.warn(&error.to_string()));
            let last_part = match &newest {
                Some(head) => match repository.part(head, &group).await? {
                    Ok(part) => Some(part),
                    // The part is damaged, which affects the snapshot before, not this one.
                    Err(error) => {
                        progress.warn(&error.to_string());
                        None
                    }
                },
                None => None,
            };
            let used = last_part.iter().flat_map(|part| &part.runs);
            let used = used.flat_map(|record| record.needed().zip(record.used.iter().copied())).collect();
            let known = ContentsCache::new(&repository, &group, options.cache.as_deref(), progress);
            let placed = known.placed(&excluded).await?;
            let index = known.read(key.writer, &placed, &excluded, &used).await?;
            let underused = last_part.map_or_else(Underused::default, |part| underused_frames(&part, &index));
            let chunker = Chunker::new(&key.group.chunker_seed, &key.group.chunk_id_key, ChunkSizes::FINE);
            let target = (!options.dry_run).then(|| repository.clone());
            let threads = options.threads.max(1);
            let sizes = options.pack_sizes;
            let spool = Spool::new(options.cache.as_deref(), sizes.spool_bytes, progress);
            let level = options.compression_level;
            let pipeline = Pipeline::start(Arc::clone(&keys), &open, target, (sizes, spool), level, threads);
            let chunks = ChunkStore::new(keys.run, index, underused, pipeline);
            let condemned = excluded.packs;
            let part = Part {
                host: options.host.clone(),
                tags: options.tags.clone(),
                streams: Vec::new(),
                documents: Vec::new(),
                runs: Vec::new(),
                application: options.application.clone(),
                run: keys.run,
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
                caches: FileCaches::after(previous),
                next,
                previous,
                seen,
                time,
                incomplete: false,
                condemned,
                open,
                context: context.clone(),
            })
        };
        let begun = Box::pin(begun).await;
        if begun.is_err() {
            // No thread was started that would do this.
            registered.settled.cancel();
            registered.end().await;
        }
        begun
    }

    /// Makes this snapshot a copy of one in another repository: it keeps the time, lacks what the original lacks, and
    /// names the original. `remembered` is the copy that the host's cache belongs to.
    pub(crate) fn copies(&mut self, original: &Snapshot, remembered: Option<Sha256Digest>) {
        self.time = original.time();
        self.incomplete = original.is_incomplete();
        self.part.copied_from = Some(original.original());
        self.caches = FileCaches::after(remembered.or(self.previous));
    }

    /// The run that makes this snapshot. It must be ended ([`OpenRun::end`]) if the snapshot is abandoned.
    pub fn open_run(&self) -> Arc<OpenRun> {
        Arc::clone(&self.open)
    }

    /// When the snapshot began.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Captures one stream, on a thread that may block. Returns when the source has been read; its data may still be on
    /// the way to the store. The capture goes on, until it notices that it is cancelled, if nobody waits for it any
    /// more.
    pub async fn capture(mut self, stream: Stream) -> Result<(Self, StreamOutcome), VaultError> {
        on_a_thread(move || self.capture_blocking(stream).map(|outcome| (self, outcome))).await
    }

    fn capture_blocking(&mut self, mut stream: Stream) -> Result<StreamOutcome, VaultError> {
        let Context { progress, cancel, .. } = &self.context;
        let is_taken = self.part.streams.iter().any(|s| (s.kind, &s.name) == (stream.kind, &stream.name));
        check_new_name("stream", &stream.name, is_taken)?;
        let file = self.options.cache.as_deref().map(|c| CacheFile::new(c, &self.key, &stream.cache_key));
        if let Some(reason) = self.caches.begin(file, self.time) {
            progress.warn(&format!("the cache of the last run is set aside, all is read again: {reason}"));
        }
        let captured =
            self.chunks.capture(&mut *stream.source, &self.chunker, &mut self.caches, progress, cancel)?;
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
            source: source_hash(&self.key.group.chunk_id_key, &stream.cache_key),
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

    /// Lowers the consistency of a captured stream: a writer was not excluded after all.
    pub fn weaken(&mut self, kind: StreamKind, name: &str, consistency: Consistency) {
        for stream in self.part.streams.iter_mut().filter(|s| s.kind == kind && s.name == name) {
            stream.consistency = consistency;
        }
    }

    /// Stores a document beside the streams, sealed like file contents.
    pub async fn document(mut self, name: String, bytes: Vec<u8>) -> Result<Self, VaultError> {
        on_a_thread(move || self.document_blocking(&name, &bytes).map(|()| self)).await
    }

    fn document_blocking(&mut self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        let is_taken = self.part.documents.iter().any(|document| document.name == name);
        check_new_name("document", name, is_taken)?;
        let content = self.chunks.put_document(&self.chunker, bytes)?;
        self.part.documents.push(DocumentRecord { name: name.to_owned(), content });
        Ok(())
    }

    /// Waits for the store, and signs the manifest. If another run of the same writer committed first, this snapshot
    /// takes the next place.
    pub async fn commit(self) -> Result<Committed, VaultError> {
        let Self {
            repository,
            key,
            options,
            keys,
            chunks,
            mut part,
            mut caches,
            next: mut sequence,
            mut previous,
            seen,
            time,
            incomplete,
            condemned,
            open,
            context,
            ..
        } = self;
        let progress = &context.progress;
        let stored = on_a_thread(move || chunks.finish()).await?;
        // Everything is stored: a run that ends before its manifest is stored leaves all of it to the next one.
        caches.checkpoint(keys.run, &stored.packed.chunk_counts.keys().copied().collect());
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
        part.runs = run_records(&keys, &stored)?;
        let (part_hash, part_bytes) = store_part(&repository, &key, &part).await?;
        let keeping = Keeping {
            repository: &repository,
            key: &key,
            run: keys.run,
            wrapped: &keys.wrapped,
            registered: keys.registered.ok_or(VaultError::Internal("a run that stores is registered"))?,
            needed: &stored.needed,
            cache: options.cache.as_deref(),
            condemned,
        };
        let part_time = keeping.look_before_commit(&part_hash, progress).await?;
        for _ in 0..COMMIT_TRIES {
            let predicate = Predicate {
                format: FORMAT_VERSION,
                repository: repository.id,
                group: key.group.id,
                writer: key.writer,
                sequence,
                previous,
                time,
                roster: repository.roster.number,
                part_bytes,
                incomplete,
                contents: stored.packed.contents.clone(),
                seen: seen.clone(),
            };
            if sequence > layout::MOST_NUMBER {
                return Err(VaultError::NoMoreNumbers { writer: key.writer });
            }
            let (manifest, id) = manifest::sign(predicate, &part_hash, &key.signing_key);
            let name = layout::snapshot(key.writer, sequence);
            check_size(&name, &manifest, cap::MANIFEST)?;
            open.note_manifest();
            match repository.store.create_alone(&name, manifest.into()).await {
                Ok(_) => {
                    open.is_committed();
                    let committed_as = Head { sequence, id };
                    keeping.look_after_commit(committed_as, &part_hash, part_time, progress).await?;
                    caches.commit(&id);
                    repository.pin_head(key.writer, committed_as)?;
                    (committed.id, committed.sequence) = (Some(id), sequence);
                    return Ok(committed);
                }
                Err(StoreError::AlreadyExists { .. }) => {
                    progress.warn(&format!(
                        "another run with this writer key has committed snapshot {sequence} meanwhile; \
                         this one comes after it"
                    ));
                    let writer = repository.roster.writer(key.writer).ok_or(VaultError::UnknownWriter)?;
                    let other = repository.manifest(writer, sequence).await??;
                    (sequence, previous) = (sequence + 1, Some(other.id));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let store = repository.store.name().to_owned();
        let key = layout::snapshots_of(key.writer);
        Err(StoreError::AlreadyExists { store, key }.into())
    }
}

/// The hash of a source's name in the part: only a writer of the group can tell what it is a hash of.
fn source_hash(chunk_id_key: &[u8; 32], name: &str) -> [u8; 16] {
    let key = blake3::derive_key("lifeboat v0 source name", chunk_id_key);
    let hash = blake3::keyed_hash(&key, name.as_bytes());
    hash.as_bytes()[..16].try_into().expect("16 of 32 bytes")
}

/// The newest snapshots of the other writers, to be named in the manifest. One that cannot be read is its own host's
/// problem: it is reported and omitted.
async fn heads_of_others(
    repository: &Repository,
    key: &WriterKey,
    progress: &Arc<dyn Progress>,
) -> Result<Vec<Seen>, StoreError> {
    let mut seen = Vec::new();
    let others = repository.roster.writers.iter().filter(|w| w.id != key.writer && w.revoked.is_none());
    for writer in others {
        match Tip::newest(repository, writer).await? {
            Ok(Some(head)) => {
                seen.push(Seen { writer: writer.id, sequence: head.predicate.sequence, snapshot: head.id });
            }
            Ok(None) => {}
            Err(error) => progress.warn(&error.to_string()),
        }
    }
    Ok(seen)
}

/// The frames of which the last snapshot uses so few chunks that these are stored again: the thinnest, as many as the
/// budget can empty.
fn underused_frames(part: &Part, index: &ContentsIndex) -> Underused {
    let mut frames = Vec::new();
    let mut used_chunks = 0;
    for record in &part.runs {
        for (frame, used) in record.needed().zip(&record.used) {
            let used = u64::from(*used);
            used_chunks += used;
            if let Some(count) = index.chunk_count(frame).map(u64::from)
                && used * 100 < count * UNDERUSED_PERCENT
            {
                frames.push((used * 1000 / count.max(1), frame, used));
            }
        }
    }
    frames.sort_unstable();
    let budget = used_chunks * REWRITTEN_PERCENT / 100;
    let mut chosen = 0;
    let thinnest = frames.into_iter().take_while(|(_, _, used)| {
        let is_needed = chosen < budget;
        chosen += *used;
        is_needed
    });
    Underused { frames: thinnest.map(|(_, frame, _)| frame).collect(), budget }
}

/// Texts from the command line go into the part unchanged.
fn check_texts(options: &SnapshotOptions) -> Result<(), VaultError> {
    let check = |what, text: &str| check_text(text).map_err(|reason| VaultError::BadText { what, reason });
    check("host name", &options.host)?;
    options.tags.iter().try_for_each(|tag| check("tag", tag))?;
    options.application.iter().try_for_each(|application| check("application name", application))
}

/// Checks that a stream or document has a name that readers accept and that no other of its kind has.
fn check_new_name(what: &'static str, name: &str, is_taken: bool) -> Result<(), VaultError> {
    check_name(name).map_err(|reason| VaultError::BadName { what, name: name.to_owned(), reason })?;
    if is_taken { Err(VaultError::NameTaken { what, name: name.to_owned() }) } else { Ok(()) }
}

fn run_records(keys: &RunKeys, stored: &Stored) -> Result<Vec<RunRecord>, VaultError> {
    let mut records = Vec::with_capacity(stored.needed.len());
    for (run, frames) in &stored.needed {
        let commitment =
            if *run == keys.run { Some(keys.key.commitment()) } else { stored.index.commitment(*run) };
        let commitment =
            commitment.ok_or(VaultError::Internal("a run that is referred to is in the index"))?;
        let (frames, used) = (bitmap(frames.keys().copied()), frames.values().copied().collect());
        records.push(RunRecord { run: *run, commitment, frames, used });
    }
    Ok(records)
}

async fn store_part(
    repository: &Repository,
    key: &WriterKey,
    part: &Part,
) -> Result<(Sha256Digest, u64), VaultError> {
    part.check().map_err(|reason| VaultError::Unreadable { reason: reason.to_string() })?;
    match repository.store_signed(&GroupView::from(&key.group), key.pen(), part).await {
        Ok(SignedObject { hash, bytes, .. }) => Ok((hash, bytes.len() as u64)),
        Err(VaultError::Store(error @ StoreError::AlreadyExists { .. })) => {
            Err(ObjectError::damaged("parts", error).into())
        }
        Err(error) => Err(error),
    }
}
