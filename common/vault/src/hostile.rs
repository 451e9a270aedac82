//! For tests: a hostile member of a repository. It seals, signs and stores anything that is possible with its key, true
//! or not, and so does anyone with write access to the storage.

mod claims;
mod cost;
pub(crate) mod crafted;
mod folders;
mod hiding;
mod kinds;
mod reach;
mod repairs;
mod statements;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use lifeboat_core::{Context, Sha256Digest};
use lifeboat_testkit::{context, noise};
use lifeboat_trust::key::SigningKey;
use minicbor::Encode;

use crate::backup::pipeline::PackSizes;
use crate::backup::writer::{Committed, SnapshotOptions, SnapshotWriter, Stream};
use crate::error::VaultError;
use crate::format::compression::compress;
use crate::format::condemnation::GRACE_DAYS;
use crate::format::index::{FrameLocation, Locations, PackLocations};
use crate::format::layout;
use crate::format::manifest::{Consistency, StreamKind};
use crate::format::pack::{Trailer, TrailerFrame, seal_trailer};
use crate::format::seal::Purpose;
use crate::format::signed::{self, Pen, Place};
use crate::hostile::crafted::Crafted;
use crate::ids::{GroupId, RepositoryId, RunId, Signer};
use crate::keys::GroupView;
use crate::keys::keeper_key::KeeperKey;
use crate::keys::key_file::WriterKey;
use crate::maintenance::check::{CheckOptions, Findings, Maintenance, ReadData, Shard};
use crate::maintenance::prune::{PruneOptions, Pruned, prune};
use crate::repository::access::Session;
use crate::repository::open::Repository;
use crate::restore::open::OpenSnapshot;
use crate::snapshots::snapshot::Listing;
use crate::tree::{FolderSource, TargetFolder};

/// The files of a folder.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Two files: one that all snapshots share, and one that is new in each.
pub(crate) fn files(seed: u64) -> Files {
    BTreeMap::from([
        ("changing".to_owned(), noise(seed, 900_000)),
        ("staying".to_owned(), noise(1_000_000, 700_000)),
    ])
}

impl Crafted {
    /// Backs up files with a key, like an honest host. Returns the snapshot's id.
    pub(crate) async fn back_up(&self, key: &WriterKey, files: &Files) -> Result<Sha256Digest, VaultError> {
        let committed = back_up(self.open().await, key, files, &self.context()).await?;
        self.faults.advance(Duration::from_mins(1));
        Ok(committed.id.unwrap())
    }

    /// The result of restoring a snapshot, and how many files are reported as damaged.
    pub(crate) async fn bring_back(&self, id: &Sha256Digest) -> Result<(Files, usize), VaultError> {
        let restorer = self.restorer().await;
        let listing = Listing::read(restorer.session()).await?;
        let wanted = || VaultError::NoSuchSnapshot { wanted: id.to_string(), among: String::new() };
        let snapshot = listing.snapshots.into_iter().find(|s| s.id() == id).ok_or_else(wanted)?;
        let open = OpenSnapshot::open(&restorer, snapshot).await?;
        let target = tempfile::tempdir().unwrap();
        let to = TargetFolder::take(target.path())?;
        let restored = open.restore(0, to, &context()).await?;
        assert!(restored.unfinished.is_empty(), "{id}: {:?}", restored.unfinished);
        let entries = fs::read_dir(target.path()).unwrap().map(Result::unwrap);
        let read = |e: fs::DirEntry| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap());
        Ok((entries.map(read).collect(), restored.damaged.len()))
    }

    /// Checks that every one of these snapshots can be fully restored.
    pub(crate) async fn assert_all_come_back(&self, committed: &BTreeMap<Sha256Digest, Files>, when: &str) {
        for (id, files) in committed {
            let (found, damaged) =
                self.bring_back(id).await.unwrap_or_else(|error| panic!("{when}: {id}: {error}"));
            assert_eq!(damaged, 0, "{when}: {id}");
            for (name, bytes) in files {
                let Some(there) = found.get(name) else { panic!("{when}: {id}: `{name}` is not restored") };
                let differs = there.iter().zip(bytes).position(|(one, other)| one != other);
                let lengths = (there.len(), bytes.len());
                assert!(
                    there == bytes,
                    "{when}: {id}: `{name}` differs from {differs:?} on, lengths {lengths:?}"
                );
            }
            assert_eq!(found.len(), files.len(), "{when}: {id} restores more files");
        }
    }

    pub(crate) async fn prune(&self, keeper: &KeeperKey, days: i64) -> Result<Pruned, VaultError> {
        let options = PruneOptions { grace: SignedDuration::from_hours(24 * days), dry_run: false };
        prune(&self.as_keeper(keeper).await, &options, &context()).await
    }

    /// Prunes, waits out the grace, and prunes twice more: whatever a first prune condemned is deleted then.
    pub(crate) async fn prune_to_the_end(&self, keeper: &KeeperKey) -> Vec<Result<Pruned, VaultError>> {
        let mut prunes = Vec::new();
        for _ in 0..3 {
            prunes.push(self.prune(keeper, GRACE_DAYS).await);
            self.faults.advance(Duration::from_hours(24 * (GRACE_DAYS.unsigned_abs() + 1)));
        }
        prunes
    }

    /// Maintenance with a recovery key.
    pub(crate) async fn maintenance(&self) -> Maintenance {
        let (restorer, key) = (self.restorer().await, self.recovery_key());
        Maintenance::with_recovery_key(restorer, key, context())
    }

    pub(crate) async fn check(&self, session: Session, read_data: ReadData) -> Result<Findings, VaultError> {
        let maintenance = Maintenance::new(session, context());
        maintenance.check(CheckOptions { read_data, shard: Shard::WHOLE }).await
    }
}

/// Backs up files with a key, like an honest host.
async fn back_up(
    repository: Repository,
    key: &WriterKey,
    files: &Files,
    context: &Context,
) -> Result<Committed, VaultError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let options = SnapshotOptions {
        host: "honest".to_owned(),
        tags: Vec::new(),
        application: None,
        compression_level: 1,
        pack_sizes: PackSizes { pack_bytes: 256 << 10, checkpoint_bytes: 256 << 10, spool_bytes: 0 },
        threads: 1,
        cache: None,
        dry_run: false,
    };
    let key = Arc::new(WriterKey::parse(&key.to_text()).unwrap());
    let run = SnapshotWriter::begin(repository, key, options, context).await?;
    let stream = Stream {
        kind: StreamKind::Path,
        name: "path".to_owned(),
        consistency: Consistency::None,
        cache_key: "source".to_owned(),
        source: Box::new(FolderSource::open(folder.path())?),
    };
    let (run, _) = run.capture(stream).await?;
    run.commit().await
}

/// A signer with one key for the objects of one group, whose index key it has.
pub(crate) struct Member {
    pub(crate) repository: RepositoryId,
    pub(crate) view: GroupView,
    pub(crate) signer: Signer,
    pub(crate) key: SigningKey,
}

impl Member {
    /// The holder of a writer key.
    pub(crate) fn writer(key: &WriterKey) -> Self {
        Self {
            repository: key.repository,
            view: GroupView::from(&key.group),
            signer: Signer::Writer(key.writer),
            key: key.signing_key.clone(),
        }
    }

    /// The holder of a keeper key, for the group of `view`.
    pub(crate) fn keeper(key: &KeeperKey, view: &GroupView) -> Self {
        Self {
            repository: key.repository,
            view: view.clone(),
            signer: Signer::Keeper(key.keeper),
            key: key.signing_key.clone(),
        }
    }

    /// The same signer, for another group whose index key it has learned.
    pub(crate) fn for_group(self, view: &GroupView) -> Self {
        Self { view: view.clone(), ..self }
    }

    fn group(&self) -> GroupId {
        self.view.id
    }

    /// The bytes of an object that this member signs.
    pub(crate) fn sign<T: Encode<()>>(&self, purpose: Purpose, body: &T) -> Vec<u8> {
        let place = Place { purpose, repository: &self.repository, group: self.group() };
        let pen = Pen { signer: self.signer, key: &self.key };
        signed::write(place, pen, &self.view.index_key, body)
    }

    /// Stores a locations object; returns its name.
    pub(crate) fn say_where(&self, crafted: &Crafted, locations: &Locations) -> String {
        let bytes = self.sign(Purpose::Locations, locations);
        let key = layout::locations_object(self.group(), locations.run, &Sha256Digest::of(&bytes));
        crafted.faults.plant(&key, bytes);
        crafted.faults.advance(Duration::from_mins(1));
        key
    }

    /// Stores bytes as a pack; returns its hash and size.
    pub(crate) fn store_pack(&self, crafted: &Crafted, bytes: Vec<u8>) -> (Sha256Digest, u64) {
        let (pack, size) = (Sha256Digest::of(&bytes), bytes.len() as u64);
        crafted.faults.plant(&layout::pack(self.group(), &pack), bytes);
        (pack, size)
    }

    /// Stores bytes with a trailer of these frames and a header without runs; returns its hash and size.
    pub(crate) fn store_with_trailer(
        &self,
        crafted: &Crafted,
        mut bytes: Vec<u8>,
        frames: Vec<TrailerFrame>,
    ) -> (Sha256Digest, u64) {
        let trailer = compress(&crate::ids::to_cbor(&Trailer { frames }));
        seal_trailer(&mut bytes, &trailer, &self.view.index_key, &self.repository, self.group());
        self.store_pack(crafted, bytes)
    }

    /// Every frame that is located in the group, as read by any member.
    pub(crate) async fn frames(&self, crafted: &Crafted) -> BTreeMap<RunId, Vec<FrameLocation>> {
        let repository = crafted.open().await;
        let mut frames: BTreeMap<RunId, Vec<FrameLocation>> = BTreeMap::new();
        for entry in repository.store.list(&layout::locations_of(self.group())).await.unwrap() {
            let run: RunId = entry.key.split('/').nth(2).unwrap().parse().unwrap();
            let (_, locations) =
                repository.locations_object(&self.view, run, &entry.key).await.unwrap().unwrap();
            frames.entry(run).or_default().extend(locations.packs.into_iter().flat_map(|pack| pack.frames));
        }
        frames
    }
}

/// One object that places frames of a run in one pack.
pub(crate) fn located(
    run: RunId,
    (pack, size): (Sha256Digest, u64),
    frames: Vec<FrameLocation>,
) -> Locations {
    Locations { run, packs: vec![PackLocations { pack, frames, size }] }
}
