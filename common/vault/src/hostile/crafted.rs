//! For tests: a repository whose snapshots and requests are written by hand, with only what the holder of a key has,
//! true or not.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_core::{Context, Sha256Digest};
use lifeboat_testkit::{FakeClock, FaultStore, context};
use lifeboat_trust::key::SigningKey;

use crate::error::VaultError;
use crate::format::floor::Floor;
use crate::format::manifest::{self, Part, Predicate, RunRecord, Seen};
use crate::format::request::Request;
use crate::format::seal::Purpose;
use crate::format::signed::{self, Pen, Place};
use crate::format::{FORMAT_VERSION, layout};
use crate::ids::{Signer, WriterId};
use crate::keys::keeper_key::KeeperKey;
use crate::keys::key_file::{RecoveryKey, RecoveryKeyFile, WriterKey};
use crate::keys::{NoDialog, PluginDialog};
use crate::maintenance::members::Membership;
use crate::repository::access::Session;
use crate::repository::open::{NewRepository, Repository};
use crate::repository::pins::PinFile;
use crate::repository::recovery_session::RecoverySession;

/// A repository with one writer, and the key that opens it.
pub(crate) struct Crafted {
    pub(crate) faults: FaultStore,
    pub(crate) clock: FakeClock,
    pub(crate) writer: WriterKey,
    pub(crate) recovery: String,
}

/// A snapshot to be written.
#[derive(Clone)]
pub(crate) struct Taken {
    pub(crate) sequence: u64,
    pub(crate) previous: Option<Sha256Digest>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) host: &'static str,
    pub(crate) runs: Vec<RunRecord>,
    /// The part that its manifest names, if it is not its own.
    pub(crate) part: Option<Sha256Digest>,
}

impl Taken {
    pub(crate) fn at(sequence: u64, previous: Option<Sha256Digest>) -> Self {
        Self { sequence, previous, seen: Vec::new(), host: "host", runs: Vec::new(), part: None }
    }

    pub(crate) fn with_part(self, part: Sha256Digest) -> Self {
        Self { part: Some(part), ..self }
    }

    pub(crate) fn needing(mut self, record: &RunRecord) -> Self {
        self.runs.push(record.clone());
        self
    }

    pub(crate) fn of(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    pub(crate) fn seeing(mut self, writer: &WriterKey, sequence: u64, snapshot: Sha256Digest) -> Self {
        self.seen.push(Seen { writer: writer.writer, sequence, snapshot });
        self
    }
}

impl Crafted {
    pub(crate) async fn new() -> Self {
        Self::with_floor(Floor::default()).await
    }

    pub(crate) async fn with_floor(floor: Floor) -> Self {
        let faults = FaultStore::new();
        let clock = FakeClock::at(lifeboat_core::clock::Clock::now(faults.clock()));
        let new = NewRepository { recipients: Vec::new(), recovery_keys: 2, single_recipient: false, floor };
        let made = Repository::create(faults.open(), new, &context().with_clock(clock.clone()), |_| Ok(()))
            .await
            .unwrap();
        let recovery = made.recovery_keys[0].to_string();
        Self { faults, clock, writer: made.writer_key, recovery }
    }

    /// The context of an operation at the storage's time.
    pub(crate) fn context(&self) -> Context {
        context().with_clock(self.clock.clone())
    }

    /// Takes away all objects of a folder.
    pub(crate) fn lose(&self, folder: &str) {
        let below = format!("{folder}/");
        for key in self.faults.contents().into_keys().filter(|key| key.starts_with(&below)) {
            self.faults.take_away(&key);
        }
    }

    /// Writes all stored objects into a folder.
    pub(crate) fn write_to(&self, folder: &Path) {
        for (key, bytes) in self.faults.contents() {
            let path = folder.join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    pub(crate) async fn open(&self) -> Repository {
        self.open_with(PinFile::none()).await.unwrap()
    }

    pub(crate) async fn open_with(&self, pins: PinFile) -> Result<Repository, VaultError> {
        Repository::open(self.faults.open(), &self.writer.repository, pins).await
    }

    pub(crate) fn recovery_key(&self) -> RecoveryKey {
        recovery_key(&self.recovery)
    }

    pub(crate) async fn restorer(&self) -> RecoverySession {
        let store = self.faults.open();
        RecoverySession::open(store, &self.recovery_key(), None, |_| PinFile::none()).await.unwrap()
    }

    pub(crate) async fn add_writer(&self) -> WriterKey {
        let restorer = self.restorer().await;
        Membership::of(&restorer, &self.context()).add_writer(None, None, |_| Ok(())).await.unwrap()
    }

    /// Another host of the first writer's group.
    pub(crate) async fn add_neighbour(&self) -> WriterKey {
        let restorer = self.restorer().await;
        let group = Some(self.writer.group.id);
        Membership::of(&restorer, &self.context()).add_writer(group, None, |_| Ok(())).await.unwrap()
    }

    /// Removes a member whose key was stolen.
    pub(crate) async fn remove(&self, restorer: &RecoverySession, id: &str) {
        Membership::of(restorer, &self.context()).remove(id, None, false, None).await.unwrap();
    }

    /// The same if only the writer's snapshots up to number `last` are its own.
    pub(crate) async fn remove_after(&self, restorer: &RecoverySession, id: &str, last: u64) {
        Membership::of(restorer, &self.context()).remove(id, Some(last), false, None).await.unwrap();
    }

    pub(crate) async fn add_keeper(&self) -> KeeperKey {
        Membership::of(&self.restorer().await, &self.context()).add_keeper(None, |_| Ok(())).await.unwrap()
    }

    pub(crate) async fn as_keeper(&self, key: &KeeperKey) -> Session {
        Session::for_keeper(self.open().await, key).await.unwrap()
    }

    pub(crate) async fn as_writer(&self, key: &WriterKey) -> Session {
        Session::for_writer(self.open().await, key).unwrap()
    }

    /// Advances the storage's time.
    pub(crate) fn pass(&self, days: u64) {
        self.faults.advance(Duration::from_hours(24 * days));
    }

    /// Writes a snapshot without streams into a writer's chain; returns its id. Replaces what is in its place.
    pub(crate) fn take(&self, key: &WriterKey, taken: Taken) -> Sha256Digest {
        let part = Part { host: taken.host.to_owned(), runs: taken.runs, ..Part::of_nothing() };
        let place = Place { purpose: Purpose::Part, repository: &key.repository, group: key.group.id };
        let pen = Pen { signer: Signer::Writer(key.writer), key: &key.signing_key };
        let part = signed::write(place, pen, &key.group.index_key, &part);
        let hash = Sha256Digest::of(&part);
        let predicate = Predicate {
            format: FORMAT_VERSION,
            repository: key.repository,
            group: key.group.id,
            writer: key.writer,
            sequence: taken.sequence,
            previous: taken.previous,
            time: lifeboat_core::clock::Clock::now(self.faults.clock()),
            roster: 0,
            part_bytes: part.len() as u64,
            incomplete: false,
            contents: Vec::new(),
            seen: taken.seen,
        };
        self.faults.plant(&layout::part(key.group.id, &hash), part);
        let (manifest, id) = manifest::sign(predicate, &taken.part.unwrap_or(hash), &key.signing_key);
        self.faults.plant(&layout::snapshot(key.writer, taken.sequence), manifest);
        self.faults.advance(Duration::from_mins(1));
        id
    }

    /// A chain of `count` snapshots; returns their ids.
    pub(crate) fn chain(&self, key: &WriterKey, host: &'static str, count: u64) -> Vec<Sha256Digest> {
        let mut ids: Vec<Sha256Digest> = Vec::new();
        for sequence in 0..count {
            ids.push(self.take(key, Taken::at(sequence, ids.last().copied()).of(host)));
        }
        ids
    }

    /// Writes a request to forget.
    pub(crate) fn ask(
        &self,
        (by, key): (Signer, &SigningKey),
        writer: WriterId,
        sequence: u64,
        snapshot: Option<Sha256Digest>,
    ) {
        let request =
            Request::new(&self.writer.repository, writer, sequence, snapshot, by, Timestamp::UNIX_EPOCH);
        self.faults.plant(&layout::forget(writer, sequence), request.sign(key));
        self.faults.advance(Duration::from_mins(1));
    }

    pub(crate) fn flip(&self, key: &str) {
        let mut bytes = self.faults.contents()[key].to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.faults.plant(key, bytes);
    }
}

/// The key in the text of a recovery key file.
pub(crate) fn recovery_key(text: &str) -> RecoveryKey {
    let nobody: Arc<dyn PluginDialog> = Arc::new(NoDialog);
    RecoveryKeyFile::parse(Path::new("one.key"), text.as_bytes()).unwrap().key(&nobody).unwrap()
}

/// The signer of a writer's requests, and its key.
pub(crate) fn pen(key: &WriterKey) -> (Signer, &SigningKey) {
    (Signer::Writer(key.writer), &key.signing_key)
}

/// The same for a keeper.
pub(crate) fn keeper_pen(key: &KeeperKey) -> (Signer, &SigningKey) {
    (Signer::Keeper(key.keeper), &key.signing_key)
}
