//! Copies snapshots into another repository: what a recovery key opens here is captured again there, under the other
//! repository's keys. A copy keeps what was captured and when, and names its original.

use std::path::PathBuf;
use std::sync::Arc;

use lifeboat_core::progress::Unit;
use lifeboat_core::{Context, Sha256Digest};

use crate::backup::pipeline::PackSizes;
use crate::backup::writer::{Committed, SnapshotOptions, SnapshotWriter, Stream};
use crate::copy::source::SnapshotSource;
use crate::error::VaultError;
use crate::format::manifest::Original;
use crate::keys::key_file::WriterKey;
use crate::repository::access::Session;
use crate::repository::open::Repository;
use crate::restore::open::OpenSnapshot;
use crate::snapshots::snapshot::{Listing, Snapshot};
use crate::tree::source::Unreadable;

/// Options of a copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The compression level of zstd.
    pub compression_level: i32,
    /// How many threads compress and seal.
    pub threads: usize,
    /// The folder with a cache of the copies' contents, so that the next copy need not read them again.
    pub cache: Option<PathBuf>,
    /// Copy a snapshot without its damaged files, instead of not at all.
    pub keeps_damaged: bool,
}

/// A snapshot that was copied.
#[derive(Debug)]
pub struct Copied {
    /// The copy.
    pub committed: Committed,
    /// How many items it has.
    pub items: u64,
    /// The sum of its files' data, in bytes.
    pub data_bytes: u64,
    /// Files that are damaged and were omitted, each with its stream's name.
    pub lost: Vec<(String, Unreadable)>,
}

/// The repository that snapshots are copied into.
pub struct Copier {
    repository: Repository,
    key: Arc<WriterKey>,
    options: CopyOptions,
    /// The originals of the existing snapshots, and the ids that they have there.
    there: Vec<(Original, Sha256Digest)>,
    unreadable: Vec<VaultError>,
}

impl Copier {
    /// Lists what `repository` already contains.
    pub async fn new(
        repository: Repository,
        key: Arc<WriterKey>,
        options: CopyOptions,
    ) -> Result<Self, VaultError> {
        let listing = Listing::read(&Session::for_writer(repository.clone(), &key)?).await?;
        let there = listing.snapshots.iter().map(|s| (s.original(), *s.id())).collect();
        Ok(Self { repository, key, options, there, unreadable: listing.unreadable })
    }

    /// The unreadable snapshots of the repository: if one of them is a copy, its original is copied again.
    pub fn unreadable(&self) -> &[VaultError] {
        &self.unreadable
    }

    /// Whether the repository contains the snapshot or a copy of it.
    pub fn holds(&self, snapshot: &Snapshot) -> bool {
        let original = snapshot.original();
        self.there.iter().any(|(there, _)| *there == original)
    }

    /// Copies a snapshot. Nothing is committed unless it was read whole, except for damaged files if the options allow
    /// that.
    pub async fn copy(&mut self, source: &OpenSnapshot, context: &Context) -> Result<Copied, VaultError> {
        let snapshot = source.snapshot();
        let original = snapshot.original();
        let options = SnapshotOptions {
            host: snapshot.host().to_owned(),
            tags: snapshot.tags().to_vec(),
            application: snapshot.application().map(str::to_owned),
            compression_level: self.options.compression_level,
            pack_sizes: PackSizes::default(),
            threads: self.options.threads,
            cache: self.options.cache.clone(),
            dry_run: false,
        };
        let (repository, key) = (self.repository.clone(), Arc::clone(&self.key));
        let mut writer = SnapshotWriter::begin(repository, key, options, context).await?;
        writer.copies(snapshot, self.copied_before(&original));
        let open = writer.open_run();
        let copied = Box::pin(self.copy_into(writer, source, context)).await;
        match &copied {
            Ok(copied) => self.there.extend(copied.committed.id.map(|id| (original, id))),
            Err(_) => open.end().await,
        }
        copied
    }

    /// Copies all of `source` into the snapshot that `writer` takes.
    async fn copy_into(
        &self,
        writer: SnapshotWriter,
        source: &OpenSnapshot,
        context: &Context,
    ) -> Result<Copied, VaultError> {
        let snapshot = source.snapshot();
        context.progress.phase("copying", Unit::Bytes, Some(snapshot.streams().map(|s| s.data_bytes).sum()));
        let mut copied = Progressing { writer, items: 0, data_bytes: 0, lost: Vec::new() };
        for index in 0..source.part().streams.len() {
            copied = copied.stream(source, index, self.options.keeps_damaged, context).await?;
        }
        for record in &source.part().documents {
            let bytes = source.document(&record.name).await?.unwrap_or_default();
            copied = copied.document(record.name.clone(), bytes).await?;
        }
        let Progressing { writer, items, data_bytes, lost } = copied;
        if context.is_cancelled() {
            return Err(VaultError::Interrupted);
        }
        let committed = writer.commit().await?;
        Ok(Copied { committed, items, data_bytes, lost })
    }

    /// The copy of the newest snapshot before this one of the same writer: the cache of it is still valid.
    fn copied_before(&self, original: &Original) -> Option<Sha256Digest> {
        let of_writer = |there: &Original| {
            (there.repository, there.writer) == (original.repository, original.writer)
                && there.sequence < original.sequence
        };
        let before = self.there.iter().filter(|(there, _)| of_writer(there));
        before.max_by_key(|(there, _)| there.sequence).map(|(_, id)| *id)
    }
}

impl std::fmt::Debug for Copier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Copier({:?}, {} snapshots)", self.repository, self.there.len())
    }
}

/// A copy in progress.
struct Progressing {
    writer: SnapshotWriter,
    items: u64,
    data_bytes: u64,
    lost: Vec<(String, Unreadable)>,
}

impl Progressing {
    async fn stream(
        self,
        snapshot: &OpenSnapshot,
        index: usize,
        keeps_damaged: bool,
        context: &Context,
    ) -> Result<Self, VaultError> {
        let record = snapshot.record(index)?;
        let (source, failure) = SnapshotSource::new(snapshot, index, keeps_damaged, &context.cancel)?;
        let writer = snapshot.snapshot().original().writer;
        let stream = Stream {
            kind: record.kind,
            name: record.name.clone(),
            consistency: record.consistency,
            cache_key: format!("copy {writer} {} {}", record.kind, record.name),
            source: Box::new(source),
        };
        let (writer, outcome) = self.writer.capture(stream).await?;
        if let Some(error) = failure.take() {
            return Err(error);
        }
        let mut copied = Self { writer, ..self };
        copied.items += outcome.items;
        copied.data_bytes += outcome.data_bytes;
        copied.lost.extend(outcome.unreadable.into_iter().map(|lost| (outcome.name.clone(), lost)));
        Ok(copied)
    }

    async fn document(self, name: String, bytes: Vec<u8>) -> Result<Self, VaultError> {
        Ok(Self { writer: self.writer.document(name, bytes).await?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use lifeboat_store::Store;
    use lifeboat_testkit::context;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::format::floor::Floor;
    use crate::format::manifest::{Consistency, StreamKind};
    use crate::keys::Identity;
    use crate::keys::key_file::RecoveryKey;
    use crate::repository::open::NewRepository;
    use crate::repository::pins::PinFile;
    use crate::repository::recovery_session::RecoverySession;
    use crate::restore::diff::{Change, ChangeCounts, Changed};
    use crate::tree::FolderSource;
    use crate::tree::source::{Found, Source};

    struct Vault {
        store: Store,
        writer: Arc<WriterKey>,
        recovery: RecoveryKey,
    }

    impl Vault {
        async fn new() -> Self {
            let new = NewRepository {
                recipients: Vec::new(),
                recovery_keys: 2,
                single_recipient: false,
                floor: Floor::default(),
            };
            let store = Store::memory();
            let made = Repository::create(store.clone(), new, &context(), |_| Ok(())).await;
            let made = made.unwrap();
            let identity = Identity::parse(made.recovery_keys[0].as_bytes()).unwrap();
            let recovery =
                RecoveryKey { repository: Some(made.writer_key.repository), location: None, identity };
            Self { store, writer: Arc::new(made.writer_key), recovery }
        }

        async fn repository(&self) -> Repository {
            Repository::open(self.store.clone(), &self.writer.repository, PinFile::none()).await.unwrap()
        }

        async fn take(&self, kind: StreamKind, source: impl Source + 'static, document: &'static [u8]) {
            let options = SnapshotOptions {
                host: "ship".to_owned(),
                tags: vec!["nightly".to_owned()],
                application: Some("shop".to_owned()),
                compression_level: 1,
                pack_sizes: PackSizes::default(),
                threads: 1,
                cache: None,
                dry_run: false,
            };
            let (repository, key) = (self.repository().await, Arc::clone(&self.writer));
            let writer = SnapshotWriter::begin(repository, key, options, &context()).await.unwrap();
            let stream = Stream {
                kind,
                name: "data".to_owned(),
                consistency: Consistency::Paused,
                cache_key: String::new(),
                source: Box::new(source),
            };
            let (writer, _) = writer.capture(stream).await.unwrap();
            let writer = writer.document("definitions".to_owned(), document.to_vec()).await.unwrap();
            writer.commit().await.unwrap();
        }

        async fn newest(&self) -> OpenSnapshot {
            let restorer =
                RecoverySession::open(self.store.clone(), &self.recovery, None, |_| PinFile::none())
                    .await
                    .unwrap();
            let snapshot = Listing::read(restorer.session()).await.unwrap().find("latest", None).unwrap();
            OpenSnapshot::open(&restorer, snapshot).await.unwrap()
        }

        async fn copy_newest_to(
            &self,
            other: &Self,
            cancel: &CancellationToken,
        ) -> Result<Copied, VaultError> {
            let options = CopyOptions { compression_level: 1, threads: 1, cache: None, keeps_damaged: false };
            let mut copier =
                Copier::new(other.repository().await, Arc::clone(&other.writer), options).await?;
            copier.copy(&self.newest().await, &Context { cancel: cancel.clone(), ..context() }).await
        }
    }

    async fn changes(before: &OpenSnapshot, after: &OpenSnapshot) -> (ChangeCounts, Vec<Change>) {
        let mut changes = Vec::new();
        let counts = before.changes(0, after, 0, &context(), |change| changes.push(change)).await;
        (counts.unwrap(), changes)
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let noise: Vec<u8> =
            (0_u32..400_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(folder.path().join("large"), noise).unwrap();
        std::fs::write(folder.path().join("empty"), b"").unwrap();
        std::fs::File::create(folder.path().join("hole")).unwrap().set_len(1 << 20).unwrap();
        let sparse = std::fs::File::create(folder.path().join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"after a hole", 1 << 20).unwrap();
        for number in 0..300 {
            std::fs::write(folder.path().join(format!("small-{number}")), number.to_string()).unwrap();
        }
        folder
    }

    fn source(folder: &tempfile::TempDir) -> FolderSource {
        FolderSource::open(folder.path()).unwrap()
    }

    /// A walk with one unreadable item.
    struct Lossy(FolderSource, bool);

    impl Source for Lossy {
        fn next(&mut self) -> Option<Result<Found, Unreadable>> {
            if std::mem::replace(&mut self.1, false) {
                let error = io::Error::other("closed");
                return Some(Err(Unreadable { path: Path::new("closed").to_owned(), error }));
            }
            self.0.next()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_has_and_lacks_the_same_as_its_original() {
        let (vault, other) = (Vault::new().await, Vault::new().await);
        let folder = folder();
        vault.take(StreamKind::Volume, Lossy(source(&folder), true), b"what ran").await;
        let copied = vault.copy_newest_to(&other, &CancellationToken::new()).await.unwrap();
        assert!(copied.lost.is_empty() && copied.committed.incomplete);
        let (original, copy) = (vault.newest().await, other.newest().await);
        assert_eq!(copy.document("definitions").await.unwrap().unwrap(), b"what ran");
        let (one, two) = (original.snapshot(), copy.snapshot());
        assert_eq!((one.time(), one.host(), one.tags()), (two.time(), two.host(), two.tags()));
        assert_eq!((one.application(), one.is_incomplete()), (two.application(), two.is_incomplete()));
        let (stream, copied) = (one.streams().next().unwrap(), two.streams().next().unwrap());
        assert_eq!(
            (stream.kind, stream.name, stream.consistency),
            (copied.kind, copied.name, copied.consistency)
        );
        assert_eq!((stream.items, stream.data_bytes), (copied.items, copied.data_bytes));
        assert_eq!((stream.unreadable, copied.unreadable), (1, 1));
        assert_eq!((two.original(), two.is_copy()), (one.original(), true));

        // The two groups have different keys, so different cuts and hashes; the bytes are the same.
        let (counts, found) = changes(&original, &copy).await;
        assert_eq!((found, counts.unchanged), (Vec::new(), one.streams().next().unwrap().items));

        let large = std::fs::File::options().write(true).open(folder.path().join("large")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&large, b"other", 1_000_000).unwrap();
        large.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        vault.take(StreamKind::Volume, source(&folder), b"").await;
        let (counts, found) = changes(&copy, &vault.newest().await).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].what, Changed::Aspects(vec!["mtime", "content"]));
        assert_eq!(counts.changed_bytes, 1_600_000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_that_is_interrupted_commits_nothing() {
        let (vault, other) = (Vault::new().await, Vault::new().await);
        vault.take(StreamKind::Path, source(&folder()), b"").await;
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = vault.copy_newest_to(&other, &cancel).await.unwrap_err();
        assert!(matches!(error, VaultError::Interrupted), "{error:?}");
        assert!(other.store.list("snapshots").await.unwrap().is_empty());
    }
}
