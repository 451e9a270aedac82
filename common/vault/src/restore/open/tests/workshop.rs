//! A repository in memory, honest snapshots in it, and parts that only a holder of the writer key can make: arbitrary
//! content, sealed and signed as the format requires.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lifeboat_core::Sha256Digest;
pub(super) use lifeboat_testkit::noise;
use lifeboat_testkit::{FaultStore, context};

use crate::backup::pipeline::PackSizes;
use crate::backup::writer::{Committed, SnapshotOptions, SnapshotWriter, Stream, StreamOutcome};
use crate::error::VaultError;
use crate::format::compression::compress;
use crate::format::floor::Floor;
use crate::format::item::{Item, ItemKind};
use crate::format::layout;
use crate::format::manifest::{self, Consistency, Part, Predicate, StreamKind};
use crate::format::seal::Purpose;
use crate::format::signed::{self, Pen, Place};
use crate::ids::Signer;
use crate::keys::key_file::{RecoveryKey, WriterKey};
use crate::keys::{GroupView, Identity};
use crate::repository::open::{NewRepository, Repository};
use crate::repository::pins::PinFile;
use crate::repository::recovery_session::RecoverySession;
use crate::restore::open::{OpenSnapshot, Restored};
use crate::snapshots::history::Tip;
use crate::snapshots::snapshot::Listing;
use crate::tree::TargetFolder;
use crate::tree::source::{Body, Found, Layout, Source, Unreadable};

pub(super) struct Workshop {
    pub(super) faults: FaultStore,
    pub(super) writer: Arc<WriterKey>,
    recovery: RecoveryKey,
}

/// One stream to capture.
pub(super) struct Given {
    pub(super) kind: StreamKind,
    pub(super) name: String,
    pub(super) source: Box<dyn Source>,
}

pub(super) fn given(kind: StreamKind, name: &str, source: impl Source + 'static) -> Given {
    Given { kind, name: name.to_owned(), source: Box::new(source) }
}

pub(super) fn options() -> SnapshotOptions {
    SnapshotOptions {
        host: "ship".to_owned(),
        tags: Vec::new(),
        application: None,
        compression_level: 1,
        pack_sizes: PackSizes::default(),
        threads: 1,
        cache: None,
        dry_run: false,
    }
}

impl Workshop {
    pub(super) async fn new() -> Self {
        let new = NewRepository {
            recipients: Vec::new(),
            recovery_keys: 2,
            single_recipient: false,
            floor: Floor::default(),
        };
        let faults = FaultStore::new();
        let made = Repository::create(faults.open(), new, &context(), |_| Ok(())).await.unwrap();
        let identity = Identity::parse(made.recovery_keys[0].as_bytes()).unwrap();
        let recovery = RecoveryKey { repository: Some(made.writer_key.repository), location: None, identity };
        Self { faults, writer: Arc::new(made.writer_key), recovery }
    }

    pub(super) async fn repository(&self) -> Repository {
        Repository::open(self.faults.open(), &self.writer.repository, PinFile::none()).await.unwrap()
    }

    pub(super) async fn begin(&self, options: SnapshotOptions) -> Result<SnapshotWriter, VaultError> {
        let (repository, key) = (self.repository().await, Arc::clone(&self.writer));
        SnapshotWriter::begin(repository, key, options, &context()).await
    }

    /// Takes a snapshot like the product.
    pub(super) async fn take(
        &self,
        streams: Vec<Given>,
    ) -> Result<(Committed, Vec<StreamOutcome>), VaultError> {
        let mut writer = self.begin(options()).await?;
        let mut outcomes = Vec::new();
        for Given { kind, name, source } in streams {
            let cache_key = format!("{kind} {name}");
            let stream = Stream { kind, name, consistency: Consistency::None, cache_key, source };
            let outcome;
            (writer, outcome) = writer.capture(stream).await?;
            outcomes.push(outcome);
        }
        let writer = writer.document("definitions".to_owned(), b"what ran".to_vec()).await?;
        Ok((writer.commit().await?, outcomes))
    }

    /// Commits a snapshot whose part is that of the snapshot `from`, with changes. Returns its sequence.
    pub(super) async fn forge(&self, from: u64, change: impl FnOnce(&mut Part)) -> u64 {
        let (repository, key) = (self.repository().await, &self.writer);
        let member = repository.roster.writer(key.writer).unwrap();
        let manifest = repository.manifest(member, from).await.unwrap().unwrap();
        let mut part = repository.part(&manifest, &GroupView::from(&key.group)).await.unwrap().unwrap();
        change(&mut part);
        let place = Place { purpose: Purpose::Part, repository: &repository.id, group: key.group.id };
        let pen = Pen { signer: Signer::Writer(key.writer), key: &key.signing_key };
        let bytes = signed::seal(place, pen, &key.group.index_key, &compress(&crate::ids::to_cbor(&part)));
        let (part, part_bytes) = (Sha256Digest::of(&bytes), bytes.len() as u64);
        self.faults.plant(&layout::part(key.group.id, &part), bytes);
        let tip = Tip::of(&repository, member).await.unwrap();
        let predicate =
            Predicate { sequence: tip.next, previous: tip.previous, part_bytes, ..manifest.predicate };
        let (bytes, _) = manifest::sign(predicate, &part, &key.signing_key);
        self.faults.plant(&layout::snapshot(key.writer, tip.next), bytes);
        tip.next
    }

    pub(super) async fn restorer(&self) -> RecoverySession {
        RecoverySession::open(self.faults.open(), &self.recovery, None, |_| PinFile::none()).await.unwrap()
    }

    pub(super) async fn listing(&self) -> Listing {
        Listing::read(self.restorer().await.session()).await.unwrap()
    }

    pub(super) async fn open(&self, sequence: u64) -> OpenSnapshot {
        let restorer = self.restorer().await;
        let listing = Listing::read(restorer.session()).await.unwrap();
        let snapshot = listing.snapshots.into_iter().find(|s| s.sequence() == sequence).unwrap();
        OpenSnapshot::open(&restorer, snapshot).await.unwrap()
    }

    pub(super) async fn restore(&self, sequence: u64, to: &Path) -> Result<Restored, VaultError> {
        let to = TargetFolder::take(to).unwrap();
        self.open(sequence).await.restore(0, to, &context()).await
    }

    /// The objects below a folder of the repository.
    pub(super) fn objects(&self, folder: &str) -> BTreeMap<String, bytes::Bytes> {
        self.faults.contents().into_iter().filter(|(key, _)| key.starts_with(folder)).collect()
    }

    /// Changes an object in place.
    pub(super) fn change(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.faults.contents()[key].to_vec();
        change(&mut bytes);
        self.faults.plant(key, bytes);
    }
}

/// The captured folder itself.
pub(super) fn root() -> Item {
    Item { kind: ItemKind::Folder, size: None, mode: 0o755, xattrs: None, ..own(b"") }
}

/// An item that belongs to this user, so that its owner can be set.
pub(super) fn own(path: &[u8]) -> Item {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Item { uid, gid, xattrs: None, ..crate::format::item::tests::file(path) }
}

/// A source of the items that a test gives, each with the body of a file.
pub(super) struct Items(pub(super) std::vec::IntoIter<(Item, Option<Text>)>);

impl Items {
    pub(super) fn of(items: Vec<(Item, Option<Text>)>) -> Self {
        Self(items.into_iter())
    }
}

impl Source for Items {
    fn next(&mut self) -> Option<Result<Found, Unreadable>> {
        let (item, text) = self.0.next()?;
        let body = text.map(|text| -> Box<dyn Body> { Box::new(text) });
        Some(Ok(Found { item, fingerprint: None, body }))
    }
}

/// A file's bytes; `None` for a file that cannot be opened.
pub(super) struct Text(pub(super) Option<Vec<u8>>);

impl Body for Text {
    fn open(&mut self) -> io::Result<Layout> {
        let bytes = self.0.as_ref().ok_or_else(|| io::Error::other("it cannot be opened"))?;
        Ok(Layout::Dense { limit: bytes.len() as u64 })
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = &self.0.as_deref().unwrap_or_default()[usize::try_from(offset).unwrap()..];
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn has_changed(&mut self) -> bool {
        false
    }
}
