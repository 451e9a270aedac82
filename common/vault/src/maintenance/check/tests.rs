//! A hostile host of a shared group: it stores other bytes under the id of a chunk that its neighbour is about to
//! store, and the neighbour refers to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use lifeboat_core::random::OsEntropy;
use lifeboat_store::Store;
use lifeboat_testkit::fault_store::{Answer, Fault, Rule};
use lifeboat_testkit::{FaultStore, context};

use super::*;
use crate::backup::pipeline::PackSizes;
use crate::backup::writer::{SnapshotOptions, SnapshotWriter, Stream};
use crate::format::FORMAT_VERSION;
use crate::format::chunk::chunk_id;
use crate::format::floor::Floor;
use crate::format::frame::{PackKind, RawFrame};
use crate::format::index::{self, Contents, FrameContents, RunContents, StoredPack};
use crate::format::manifest::{Consistency, StreamKind};
use crate::format::pack::{PackBuilder, WrappedRunKey};
use crate::format::registration::Registration;
use crate::format::seal::Purpose;
use crate::format::signed::{self, Pen, Place};
use crate::ids::Signer;
use crate::keys::key_file::RecoveryKeyFile;
use crate::keys::{GroupView, NoDialog};
use crate::maintenance::members::Membership;
use crate::maintenance::repair::RepairOptions;
use crate::repository::open::NewRepository;
use crate::repository::pins::PinFile;
use crate::restore::open::OpenSnapshot;
use crate::snapshots::snapshot::Listing;
use crate::tree::FolderSource;

const VICTIM: &[u8] = b"what the neighbour is about to store";

struct Scene {
    store: Store,
    honest: Arc<WriterKey>,
    hostile: WriterKey,
    home: tempfile::TempDir,
    recovery: String,
}

impl Scene {
    async fn new(store: Store) -> Self {
        let new = NewRepository {
            recipients: Vec::new(),
            recovery_keys: 2,
            single_recipient: false,
            floor: Floor::default(),
        };
        let made = Repository::create(store.clone(), new, &context(), |_| Ok(())).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("source")).unwrap();
        fs::write(home.path().join("source/victim"), VICTIM).unwrap();
        let recovery = made.recovery_keys[0].to_string();
        crate::keys::key_file::write_private(&home.path().join("recovery.key"), &recovery).unwrap();
        let honest = Arc::new(made.writer_key);
        let group = honest.group.id;
        let restorer = Self::open(&store, home.path()).await.0;
        let hostile =
            Membership::of(&restorer, &context()).add_writer(Some(group), None, |_| Ok(())).await.unwrap();
        Self { store, honest, hostile, home, recovery }
    }

    async fn open(store: &Store, home: &Path) -> (RecoverySession, RecoveryKey) {
        let dialog: Arc<dyn crate::keys::PluginDialog> = Arc::new(NoDialog);
        let key = RecoveryKeyFile::read(&home.join("recovery.key")).unwrap().key(&dialog).unwrap();
        let restorer = RecoverySession::open(store.clone(), &key, None, |_| PinFile::none()).await.unwrap();
        (restorer, key)
    }

    async fn repository(&self) -> Repository {
        Repository::open(self.store.clone(), &self.honest.repository, PinFile::none()).await.unwrap()
    }

    /// Maintenance with a recovery key.
    async fn maintenance(&self) -> Maintenance {
        assert!(!self.recovery.is_empty());
        let (restorer, key) = Self::open(&self.store, self.home.path()).await;
        Maintenance::with_recovery_key(restorer, key, context())
    }

    async fn writer_checker(&self) -> Maintenance {
        let repository = self.repository().await;
        Maintenance::with_writer_key(repository, &self.honest, context()).unwrap()
    }

    /// Stores a frame that claims to contain the victim's chunk, listed and located as the format requires.
    async fn lie(&self) {
        let (repository, key) = (self.repository().await, &self.hostile);
        let group = &key.group;
        let (run, run_key) = (RunId::random(&OsEntropy), SealKey::random(&OsEntropy));
        let wrapped = key.data_recipient.wrap(run_key.as_bytes()).unwrap();
        let pen = Pen { signer: Signer::Writer(key.writer), key: &key.signing_key };
        let place = |purpose| Place { purpose, repository: &repository.id, group: group.id };
        let registration = Registration {
            format: FORMAT_VERSION,
            repository: repository.id,
            group: group.id,
            writer: key.writer,
            run,
            epoch: 0,
            wrapped_key: wrapped.clone().into(),
        };
        let bytes = signed::write(place(Purpose::Registration), pen, &group.index_key, &registration);
        self.store.create(&layout::run(group.id, run), bytes.into()).await.unwrap();
        let mut frame = RawFrame::new(0, PackKind::Data);
        frame.push(chunk_id(&group.chunk_id_key, VICTIM), &b"EVIL".repeat(9));
        let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
        let sealed = frame.seal(&run_key, &repository.id, run, &mut compressor);
        let run_keys = vec![WrappedRunKey { run, wrapped: wrapped.into() }];
        let mut pack = PackBuilder::new(&repository.id, group.id, PackKind::Data, run_keys, 1000);
        pack.push(run, sealed);
        let pack = pack.finish(&group.index_key, &repository.id, group.id);
        let stored = [StoredPack { hash: pack.hash, size: pack.bytes.len() as u64, frames: pack.frames }];
        self.store.create(&layout::pack(group.id, &pack.hash), pack.bytes.into()).await.unwrap();
        for locations in index::locations_of(&stored) {
            let bytes = signed::write(place(Purpose::Locations), pen, &group.index_key, &locations);
            let name = layout::locations_object(group.id, run, &Sha256Digest::of(&bytes));
            self.store.create(&name, bytes.into()).await.unwrap();
        }
        for contents in index::contents_of(run, run_key.commitment(), &stored) {
            let bytes = signed::write(place(Purpose::Contents), pen, &group.index_key, &contents);
            let name = layout::contents_object(group.id, &Sha256Digest::of(&bytes));
            self.store.create(&name, bytes.into()).await.unwrap();
        }
    }

    /// The hostile host lists every chunk of the group in frames of its own that do not exist.
    async fn flood(&self) {
        let (repository, key) = (self.repository().await, &self.hostile);
        let view = GroupView::from(&key.group);
        let mut chunks = Vec::new();
        let tell = |_, run: RunContents| chunks.extend(run.frames.into_iter().flat_map(|frame| frame.chunks));
        repository.listed_contents(&view).await.unwrap().each_run(tell).await.unwrap();
        assert!(!chunks.is_empty());
        let pen = Pen { signer: Signer::Writer(key.writer), key: &key.signing_key };
        let place = Place { purpose: Purpose::Contents, repository: &repository.id, group: view.id };
        for number in 0..40 {
            let frame = |ordinal| FrameContents { ordinal, chunks: chunks.clone() };
            let run = RunContents {
                run: RunId::from_bytes([number; 16]),
                frames: (0..3).map(frame).collect(),
                commitment: [number; 32],
            };
            let bytes = signed::write(place, pen, &view.index_key, &Contents { runs: vec![run] });
            let name = layout::contents_object(view.id, &Sha256Digest::of(&bytes));
            self.store.create(&name, bytes.into()).await.unwrap();
        }
    }

    async fn snapshot(&self) -> Sha256Digest {
        let options = SnapshotOptions {
            host: "honest".to_owned(),
            tags: Vec::new(),
            application: None,
            compression_level: 1,
            pack_sizes: PackSizes::default(),
            threads: 1,
            cache: None,
            dry_run: false,
        };
        let key = Arc::clone(&self.honest);
        let repository = self.repository().await;
        let run = SnapshotWriter::begin(repository, key, options, &context()).await.unwrap();
        let stream = Stream {
            kind: StreamKind::Path,
            name: "path".to_owned(),
            consistency: Consistency::None,
            cache_key: "source".to_owned(),
            source: Box::new(FolderSource::open(&self.home.path().join("source")).unwrap()),
        };
        let (run, _) = run.capture(stream).await.unwrap();
        run.commit().await.unwrap().id.unwrap()
    }

    /// The files that a restore of a snapshot yields, by name.
    async fn restore(&self, id: &Sha256Digest) -> BTreeMap<String, Vec<u8>> {
        let (restorer, _) = Self::open(&self.store, self.home.path()).await;
        let listing = Listing::read(restorer.session()).await.unwrap();
        let snapshot = listing.snapshots.into_iter().find(|snapshot| snapshot.id() == id).unwrap();
        let target = tempfile::tempdir().unwrap();
        let open = OpenSnapshot::open(&restorer, snapshot).await.unwrap();
        let to = crate::tree::TargetFolder::take(target.path()).unwrap();
        let restored = open.restore(0, to, &context()).await.unwrap();
        let entries = fs::read_dir(target.path()).unwrap().map(Result::unwrap);
        let files: BTreeMap<_, _> =
            entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect();
        assert_eq!(files.is_empty(), !restored.damaged.is_empty());
        files
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_frame_of_a_neighbour_is_found_named_and_replaced() {
    let everything = CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE };
    let right = BTreeMap::from([("victim".to_owned(), VICTIM.to_vec())]);
    let scene = Scene::new(Store::memory()).await;
    scene.lie().await;
    let before = scene.snapshot().await;
    assert!(scene.restore(&before).await.is_empty(), "bytes of the hostile host came back");

    // Only a key that opens frames can detect it.
    assert_eq!(scene.writer_checker().await.check(everything).await.unwrap().damage, Damages::default());
    let findings = scene.maintenance().await.check(everything).await.unwrap();
    let damages: Vec<_> = findings.damage.iter().collect();
    let [damage] = damages[..] else { panic!("{damages:?}") };
    assert_eq!(damage.kind, DamageKind::FalseFrame);
    assert_eq!(damage.snapshots, [before.to_string()]);
    assert!(damage.reason.contains(&scene.hostile.writer.to_string()), "{}", damage.reason);

    let repaired = scene.maintenance().await.repair(RepairOptions::default()).await.unwrap();
    assert_eq!(repaired.marked_frames, 1);
    let files = repaired.affected[0].files.as_ref().unwrap();
    assert_eq!((files[0].path.to_str(), files[0].replaced), (Some("victim"), false));

    let after = scene.snapshot().await;
    assert_eq!(scene.restore(&after).await, right);
    assert_eq!(scene.restore(&before).await, right, "the older snapshot is not replaced");
    let findings = scene.maintenance().await.check(everything).await.unwrap();
    assert_eq!(findings.damage, Damages::default());
    let again = scene.maintenance().await.repair(RepairOptions::default()).await.unwrap();
    assert!(again.actions.is_empty(), "{:?}", again.actions);
    assert!(again.affected[0].files.as_ref().unwrap()[0].replaced);
}

/// A pack is lost and its chunks are stored again. A neighbour lists them in very many frames that do not exist.
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_a_neighbour_makes_up_do_not_hide_what_was_stored_again() {
    let right = BTreeMap::from([("victim".to_owned(), VICTIM.to_vec())]);
    let scene = Scene::new(Store::memory()).await;
    let before = scene.snapshot().await;
    let (repository, view) = (scene.repository().await, GroupView::from(&scene.honest.group));
    for pack in repository.objects_below("packs").await.unwrap() {
        let hash = crate::repository::objects::hash_of(&pack.key).unwrap();
        if repository.pack_facts(&view, &hash, pack.size).await.unwrap().unwrap().kind == PackKind::Data {
            scene.store.delete(&pack.key).await.unwrap();
        }
    }
    scene.maintenance().await.repair(RepairOptions::default()).await.unwrap();
    assert!(scene.restore(&before).await.is_empty(), "the file's bytes are lost");
    let after = scene.snapshot().await;
    assert_eq!(scene.restore(&before).await, right, "the next backup replaces what is lost");
    scene.flood().await;
    assert_eq!(scene.restore(&before).await, right);
    assert_eq!(scene.restore(&after).await, right);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_reported_and_neither_called_damaged_nor_repaired() {
    let everything = CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE };
    let faults = FaultStore::new();
    let scene = Scene::new(faults.open()).await;
    scene.snapshot().await;
    for folder in ["keys/", "runs/", "contents/", "locations/", "parts/", "packs/"] {
        let maintenance = scene.writer_checker().await;
        faults.script(Rule::new(Fault::answer(Answer::Gone)).below(folder).always());
        let findings = maintenance.check(everything).await.unwrap();
        assert_eq!(findings.damage, Damages::default(), "{folder}");
        assert!(findings.unread.iter().all(|unread| unread.key.starts_with(folder)), "{:?}", findings.unread);
        assert!(!findings.unread.is_empty(), "{folder}");
        let repaired = maintenance.repair(RepairOptions::default()).await.unwrap();
        assert!(repaired.actions.is_empty() && !repaired.unread.is_empty(), "{folder}: {repaired:?}");
        faults.clear_script();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_asked_to_stop_stops() {
    let scene = Scene::new(Store::memory()).await;
    scene.snapshot().await;
    let maintenance = scene.writer_checker().await;
    maintenance.context.cancel.cancel();
    let options = CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE };
    assert!(matches!(maintenance.check(options).await.unwrap_err(), VaultError::Interrupted));
    let stopped = maintenance.repair(RepairOptions::default()).await.unwrap_err();
    assert!(matches!(stopped, VaultError::Interrupted));
}
