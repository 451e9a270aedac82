//! A repository in a store that fails on command, its keys, and a folder to capture.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lifeboat_core::Context;
use lifeboat_core::Sha256Digest;
use lifeboat_core::clock::Clock;
use lifeboat_core::progress::Progress;
use lifeboat_store::Store;
use lifeboat_testkit::{FakeClock, FaultStore, context};
pub(crate) use lifeboat_testkit::{noise, silent};
use lifeboat_vault::source::{Body, Found, Layout, Source, Unreadable};
use lifeboat_vault::{
    Asked, Committed, Consistency, Floor, FolderSource, GRACE_DAYS, KeeperKey, Listing, Membership,
    NewRepository, OpenSnapshot, PackSizes, PinFile, PruneOptions, Pruned, RecoveryKeyFile, RecoverySession,
    Repository, Session, Snapshot, SnapshotOptions, SnapshotWriter, Stream, StreamKind, TargetFolder,
    VaultError, WriterKey, forget, prune,
};

/// The contents of a folder: names and bytes.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A repository and what its owner has.
pub(crate) struct TestRepository {
    pub(crate) faults: FaultStore,
    pub(crate) home: tempfile::TempDir,
    pub(crate) writer: Arc<WriterKey>,
    pub(crate) recovery: String,
    /// What each committed snapshot must restore.
    pub(crate) committed: BTreeMap<Sha256Digest, Files>,
    /// The hosts' and keepers' clock; the store has its own.
    pub(crate) clock: FakeClock,
    pub(crate) packs: PackSizes,
    files_read: Arc<AtomicUsize>,
}

/// A few small packs for each run.
const SMALL_PACKS: PackSizes =
    PackSizes { pack_bytes: 256 << 10, checkpoint_bytes: 256 << 10, spool_bytes: 0 };

pub(crate) const DAY: Duration = Duration::from_hours(24);

pub(crate) fn days(count: i64) -> Duration {
    DAY * u32::try_from(count).unwrap()
}

/// One file that is the same for every seed and one that differs.
pub(crate) fn files(seed: u64) -> Files {
    BTreeMap::from([
        ("changing".to_owned(), noise(seed, 2_200_000)),
        ("staying".to_owned(), noise(1_000, 300_000)),
    ])
}

impl TestRepository {
    pub(crate) async fn new() -> Self {
        Self::over(FaultStore::new()).await
    }

    pub(crate) async fn over(faults: FaultStore) -> Self {
        let clock = FakeClock::at(faults.clock().now());
        let new = NewRepository {
            recipients: Vec::new(),
            recovery_keys: 2,
            single_recipient: false,
            floor: Floor::default(),
        };
        let made = Repository::create(faults.open(), new, &context().with_clock(clock.clone()), |_| Ok(()))
            .await
            .unwrap();
        Self {
            faults,
            home: tempfile::tempdir().unwrap(),
            writer: Arc::new(made.writer_key),
            recovery: made.recovery_keys[0].to_string(),
            committed: BTreeMap::new(),
            clock,
            packs: SMALL_PACKS,
            files_read: Arc::default(),
        }
    }

    /// A repository with two snapshots, of which the first is forgotten while a run with the same files is under way:
    /// the run refers to what the first one stored. Returns the keeper that forgot it, too.
    pub(crate) async fn with_a_run_on_what_is_forgotten(
        files: impl Fn(u64) -> Files,
    ) -> (Self, KeeperKey, SnapshotWriter) {
        let mut repo = Self::new().await;
        repo.snapshot(&files(0)).await.unwrap();
        repo.snapshot(&files(1)).await.unwrap();
        let keeper = repo.add_keeper().await;
        repo.fill_source(&files(0));
        let run = repo.begin(&repo.writer).await.unwrap();
        let session = repo.as_keeper(&keeper).await.unwrap();
        repo.forget_all_but(&session, 1).await.unwrap();
        (repo, keeper, run)
    }

    /// Snapshots of these files, of which all but the newest were forgotten and condemned, long enough ago to be swept
    /// now.
    pub(crate) async fn ready_to_sweep(snapshots: impl IntoIterator<Item = Files>) -> (Self, KeeperKey) {
        let mut repo = Self::new().await;
        for files in snapshots {
            repo.snapshot(&files).await.unwrap();
        }
        let keeper = repo.add_keeper().await;
        let session = repo.as_keeper(&keeper).await.unwrap();
        repo.forget_all_but(&session, 1).await.unwrap();
        repo.prune(&keeper, GRACE_DAYS).await.unwrap();
        repo.faults.advance(days(GRACE_DAYS) + DAY);
        (repo, keeper)
    }

    /// The same repository in a separate store, for another sequence of events.
    pub(crate) fn fork(&self) -> Self {
        Self {
            faults: self.faults.fork(),
            home: tempfile::tempdir().unwrap(),
            writer: Arc::clone(&self.writer),
            recovery: self.recovery.clone(),
            committed: self.committed.clone(),
            clock: FakeClock::at(self.clock.now()),
            packs: self.packs,
            files_read: Arc::default(),
        }
    }

    /// The same repository as seen by another machine, with a separate home and the same writer key.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { faults: self.faults.clone(), ..self.fork() }
    }

    pub(crate) fn store(&self) -> Store {
        self.faults.open()
    }

    pub(crate) async fn repository(&self) -> Result<Repository, VaultError> {
        Repository::open(self.store(), &self.writer.repository, PinFile::none()).await
    }

    pub(crate) async fn restorer(&self) -> Result<RecoverySession, VaultError> {
        let file = self.home.path().join("recovery.key");
        if !file.exists() {
            lifeboat_vault::write_private(&file, &self.recovery)?;
        }
        let dialog: Arc<dyn lifeboat_vault::PluginDialog> = Arc::new(lifeboat_vault::NoDialog);
        let key = RecoveryKeyFile::read(&file)?.key(&dialog)?;
        RecoverySession::open(self.store(), &key, None, |_| PinFile::none()).await
    }

    pub(crate) async fn add_keeper(&self) -> KeeperKey {
        let restorer = self.restorer().await.unwrap();
        Membership::of(&restorer, &self.context()).add_keeper(None, |_| Ok(())).await.unwrap()
    }

    pub(crate) async fn as_keeper(&self, key: &KeeperKey) -> Result<Session, VaultError> {
        Session::for_keeper(self.repository().await?, key).await
    }

    pub(crate) async fn as_writer(&self, key: &WriterKey) -> Result<Session, VaultError> {
        Session::for_writer(self.repository().await?, key)
    }

    /// Takes a snapshot of `files` by the repository's own writer, and remembers what it must restore.
    pub(crate) async fn snapshot(&mut self, files: &Files) -> Result<Committed, VaultError> {
        let writer = Arc::clone(&self.writer);
        self.snapshot_by(&writer, files).await
    }

    pub(crate) async fn snapshot_by(
        &mut self,
        writer: &Arc<WriterKey>,
        files: &Files,
    ) -> Result<Committed, VaultError> {
        self.fill_source(files);
        let run = self.begin(writer).await?;
        let committed = run.commit().await?;
        self.committed.insert(committed.id.unwrap(), files.clone());
        Ok(committed)
    }

    fn source(&self) -> std::path::PathBuf {
        self.home.path().join("source")
    }

    /// Fills the captured folder with exactly these files.
    pub(crate) fn fill_source(&self, files: &Files) {
        let source = self.source();
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(&source).unwrap();
        for (name, bytes) in files {
            fs::write(source.join(name), bytes).unwrap();
        }
    }

    /// How many files were opened and read for snapshots so far.
    /// The context of an operation at the host's time.
    pub(crate) fn context(&self) -> Context {
        context().with_clock(self.clock.clone())
    }

    pub(crate) fn files_read(&self) -> usize {
        self.files_read.load(Ordering::Relaxed)
    }

    /// A run that has captured everything and is not committed yet.
    pub(crate) async fn begin(&self, writer: &Arc<WriterKey>) -> Result<SnapshotWriter, VaultError> {
        self.begin_telling(writer, &silent()).await
    }

    /// The same, with a progress that receives the warnings.
    pub(crate) async fn begin_telling(
        &self,
        writer: &Arc<WriterKey>,
        progress: &Arc<dyn Progress>,
    ) -> Result<SnapshotWriter, VaultError> {
        let source = self.source();
        let options = SnapshotOptions {
            host: "host".to_owned(),
            tags: Vec::new(),
            application: None,
            compression_level: 1,
            pack_sizes: self.packs,
            threads: 2,
            cache: Some(self.home.path().join("cache")),
            dry_run: false,
        };
        let repository = self.repository().await?;
        let writer = Arc::clone(writer);
        let context = Context { progress: Arc::clone(progress), ..self.context() };
        let run = SnapshotWriter::begin(repository, writer, options, &context).await?;
        let stream = Stream {
            kind: StreamKind::Path,
            name: "path".to_owned(),
            consistency: Consistency::None,
            cache_key: source.display().to_string(),
            source: Box::new(Counted(FolderSource::open(&source)?, Arc::clone(&self.files_read))),
        };
        Ok(run.capture(stream).await?.0)
    }

    pub(crate) async fn prune(&self, keeper: &KeeperKey, days: i64) -> Result<Pruned, VaultError> {
        let grace = jiff::SignedDuration::from_hours(24 * days);
        let options = PruneOptions { grace, dry_run: false };
        prune(&self.as_keeper(keeper).await?, &options, &context()).await
    }

    /// Forgets all but the newest `keep` snapshots of every writer.
    pub(crate) async fn forget_all_but(&mut self, session: &Session, keep: u32) -> Result<(), VaultError> {
        let listing = Listing::read(session).await?;
        assert!(listing.unreadable.is_empty(), "{:?}", listing.unreadable);
        let rules = lifeboat_vault::Rules { last: keep, ..Default::default() };
        let reasons = lifeboat_vault::apply_rules(&rules, &listing.snapshots);
        let chosen = listing.snapshots.iter().zip(reasons).filter(|(_, reasons)| reasons.is_empty());
        let chosen: Vec<_> = chosen.map(|(snapshot, _)| snapshot).collect();
        let asked = forget(session, &chosen, false, &self.context()).await?;
        for (snapshot, asked) in chosen.iter().zip(asked) {
            assert_eq!(asked, Asked::Forgotten);
            self.committed.remove(snapshot.id());
        }
        Ok(())
    }

    /// Checks that every listed snapshot restores to what was committed, and that every committed one is listed.
    pub(crate) async fn assert_all_restore(&self, when: &str) {
        let restorer = self.restorer().await.unwrap_or_else(|error| panic!("{when}: {error}"));
        let listing =
            Listing::read(restorer.session()).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert!(listing.unreadable.is_empty(), "{when}: {:?}", listing.unreadable);
        for id in self.committed.keys() {
            assert!(listing.snapshots.iter().any(|s| s.id() == id), "{when}: {id} is not listed");
        }
        for snapshot in listing.snapshots {
            let (id, name) = (*snapshot.id(), snapshot.short_id());
            let restored = self.restore(&restorer, snapshot).await;
            let (damaged, files) = restored.unwrap_or_else(|error| panic!("{when}: {name}: {error}"));
            assert!(damaged.is_empty(), "{when}: {name}: {damaged:?}");
            // A run whose answer was lost is committed, although nobody knows.
            if let Some(committed) = self.committed.get(&id) {
                assert_eq!(&files, committed, "{when}: {name}");
            }
        }
    }

    /// Flips a bit of one byte of an object.
    pub(crate) fn flip(&self, key: &str, byte: usize) {
        let mut bytes = self.faults.contents()[key].to_vec();
        bytes[byte] ^= 1;
        self.faults.plant(key, bytes);
    }

    /// The result of restoring one snapshot, given by its id or as `latest`.
    pub(crate) async fn bring_back(&self, wanted: &str) -> (Vec<String>, Files) {
        let restorer = self.restorer().await.unwrap();
        let snapshot = Listing::read(restorer.session()).await.unwrap().find(wanted, None).unwrap();
        self.restore(&restorer, snapshot).await.unwrap()
    }

    /// The result of a restore: the files that it reports as damaged, and everything that it wrote.
    pub(crate) async fn restore(
        &self,
        restorer: &RecoverySession,
        snapshot: Snapshot,
    ) -> Result<(Vec<String>, Files), VaultError> {
        let target = tempfile::tempdir_in(self.home.path()).unwrap();
        let open = OpenSnapshot::open(restorer, snapshot).await?;
        let to = TargetFolder::take(target.path())?;
        let restored = open.restore(0, to, &context()).await?;
        let damaged = restored.damaged.iter().map(|damaged| format!("{damaged:?}")).collect();
        Ok((damaged, read_back(target.path())))
    }
}

/// A source that counts the files that are opened.
struct Counted(FolderSource, Arc<AtomicUsize>);

impl Source for Counted {
    fn next(&mut self) -> Option<Result<Found, Unreadable>> {
        let found = self.0.next()?;
        Some(found.map(|mut found| {
            let count = Arc::clone(&self.1);
            found.body = found.body.map(|body| -> Box<dyn Body> { Box::new(CountedBody(body, count)) });
            found
        }))
    }
}

struct CountedBody(Box<dyn Body>, Arc<AtomicUsize>);

impl Body for CountedBody {
    fn open(&mut self) -> std::io::Result<Layout> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.open()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn has_changed(&mut self) -> bool {
        self.0.has_changed()
    }
}

fn read_back(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}
