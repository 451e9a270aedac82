//! A repository: creating it, opening it, and what can be checked of it without a key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_core::{Context, Sha256Digest};
use lifeboat_store::{Location, Store, StoreError};
use lifeboat_trust::key::SigningKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{ObjectError, VaultError};
use crate::format::FORMAT_VERSION;
use crate::format::floor::Floor;
use crate::format::layout::{self, cap};
use crate::format::roster::{Epoch, Head, Roster, RosterRecipient, Writer, key_text};
use crate::ids::{GroupId, RepositoryId, WriterId};
use crate::keys::key_file::{WriterKey, recovery_key_text};
use crate::keys::{self, GroupKeys, Recipient};
use crate::repository::objects::check_size;
use crate::repository::pins::{PinFile, PinnedRoster, Pins};
use crate::repository::rosters::{self, Holes, Rosters};

/// An open repository: its store and the roster in force. What can be read in it depends on the key.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) store: Store,
    pub(crate) id: RepositoryId,
    pub(crate) roster: Roster,
    /// The roster's number and the hash of its stored bytes.
    pub(crate) roster_pin: PinnedRoster,
    /// Faults of other rosters.
    pub(crate) holes: Holes,
    /// What this machine has seen of the repository, and where it stores that.
    pub(crate) pins: PinFile,
    pub(crate) pinned: Pins,
    /// The number of the newest roster that this machine has seen, if the storage was rolled back to before it.
    seen: Option<u64>,
}

/// The plaintext object that identifies a repository.
#[derive(Serialize, Deserialize)]
struct Marker {
    lifeboat: String,
    format: u64,
    repository: RepositoryId,
}

/// Options of a new repository.
pub struct NewRepository {
    /// Recipients whose private keys exist elsewhere.
    pub recipients: Vec<Recipient>,
    /// How many recovery keys to make.
    pub recovery_keys: usize,
    /// Accept a single recipient.
    pub single_recipient: bool,
    /// The minimum that requests to forget must leave.
    pub floor: Floor,
}

/// The result of `init`, to be stored by the caller: none of it is in the repository in the clear.
pub struct Made {
    /// The new repository.
    pub repository: Repository,
    /// The first host's key.
    pub writer_key: WriterKey,
    /// The texts of the requested recovery key files.
    pub recovery_keys: Vec<Zeroizing<String>>,
}

impl Repository {
    /// Makes a repository: root key, data identity, a first group and a first writer. `keep` receives the keys and must
    /// store them before anything else is stored; if it fails, nothing is.
    pub async fn create(
        store: Store,
        new: NewRepository,
        context: &Context,
        keep: impl FnOnce(&Made) -> Result<(), VaultError>,
    ) -> Result<Made, VaultError> {
        let count = new.recipients.len() + new.recovery_keys;
        if count < 2 && !(new.single_recipient && count == 1) {
            return Err(VaultError::TooFewRecipients { found: count });
        }
        // Lists first: if the settings are wrong, the error of a listing says more than that of a look-up of one
        // object.
        if !store.list(layout::ROSTERS).await?.is_empty() || store.entry(layout::MARKER).await?.is_some() {
            return Err(VaultError::AlreadyARepository { store: store.name().to_owned() });
        }
        let (now, entropy) = (context.clock.now(), &*context.entropy);
        let root = SigningKey::generate();
        let id = root.verification_key().id();
        let mut recipients = new.recipients;
        let mut recovery_keys = Vec::new();
        for _ in 0..new.recovery_keys {
            let (secret, recipient) = keys::generate(entropy);
            recovery_keys.push(recovery_key_text(&secret, recipient.as_str(), &id, store.name(), now));
            recipients.push(recipient);
        }

        let (data_secret, data_recipient) = keys::generate(entropy);
        let group = GroupKeys::random(entropy);
        let writer_key = WriterKey {
            repository: id,
            writer: WriterId::random(entropy),
            signing_key: SigningKey::generate(),
            group,
            data_recipient,
            epoch: 0,
        };
        let roster = first_roster(id, &root, now, &recipients, &writer_key, new.floor);
        let roster_bytes = roster.sign(&root);
        let repository = Self {
            store: store.clone(),
            id,
            roster_pin: PinnedRoster { number: 0, hash: Sha256Digest::of(&roster_bytes) },
            roster,
            holes: Holes::default(),
            pins: PinFile::none(),
            pinned: Pins::default(),
            seen: None,
        };
        let made = Made { repository, writer_key, recovery_keys };
        keep(&made)?;
        let objects = first_objects(&made, &root, &recipients, data_secret.as_bytes(), roster_bytes)?;
        for (key, bytes) in &objects {
            let most = if key.starts_with(layout::ROSTERS) { cap::ROSTER } else { cap::KEY };
            check_size(key, bytes, most)?;
        }
        let mut stored = Vec::with_capacity(objects.len());
        for (key, bytes) in objects {
            match store.create(&key, bytes.into()).await {
                Ok(_) => stored.push(key),
                Err(error) => {
                    // The objects open nothing without the rest, so one that cannot be deleted does no harm.
                    for key in stored.iter().rev() {
                        let _ = store.delete(key).await;
                    }
                    return Err(match error {
                        StoreError::AlreadyExists { store, .. } => VaultError::AlreadyARepository { store },
                        error => error.into(),
                    });
                }
            }
        }
        Ok(made)
    }

    /// Reads the sealed keys of a folder, one by one, until `open` succeeds with one, given its name and its bytes. A
    /// key that cannot be read, or is refused, is skipped; if none succeeds, the last reason is returned.
    pub(crate) async fn first_that_opens<T>(
        &self,
        folder: &str,
        mut open: impl FnMut(&str, &[u8]) -> Option<Result<T, ObjectError>>,
    ) -> Result<Result<T, Option<ObjectError>>, StoreError> {
        let mut refused = None;
        for entry in self.objects_below(folder).await? {
            let opened = match self.read(&entry.key, cap::KEY).await? {
                Ok(sealed) => open(&entry.key, &sealed),
                Err(error) => Some(Err(error)),
            };
            match opened {
                Some(Ok(opened)) => return Ok(Ok(opened)),
                Some(Err(reason)) => refused = Some(reason),
                None => {}
            }
        }
        Ok(Err(refused))
    }

    /// Whether the storage never overwrites an object in a conditional write, tried on the marker. If it does, two
    /// machines that write the same sequence at the same moment may lose one of the two snapshots.
    pub async fn has_conditional_writes(&self) -> Result<bool, VaultError> {
        Ok(self.store.keeps_conditions(layout::MARKER, marker_of(&self.id).into()).await?)
    }

    /// Opens the repository in `store`, which must be the one that the caller's key names, and must not show an older
    /// roster than this machine has pinned. The marker is a claim that anyone can write, and the roster is the proof: a
    /// repository whose marker is damaged or missing can still be opened.
    pub async fn open(store: Store, expected: &RepositoryId, pins: PinFile) -> Result<Self, VaultError> {
        let repository = Self::open_to_read(store, expected, pins).await?;
        match repository.rolled_back() {
            Some(error) => Err(error),
            None => Ok(repository),
        }
    }

    /// The same for readers, who may use an older state as long as they report it.
    pub async fn open_to_read(
        store: Store,
        expected: &RepositoryId,
        pins: PinFile,
    ) -> Result<Self, VaultError> {
        let id = *expected;
        let marked = match Self::marked(&store).await? {
            Ok(found) if found == id => Ok(()),
            Ok(found) => {
                Err(VaultError::OtherRepository { store: store.name().to_owned(), expected: id, found })
            }
            Err(error) => Err(error),
        };
        let pinned = pins.read()?;
        let Rosters { roster, pin, holes, seen } =
            match (rosters::read(&store, &id, pinned.roster).await, marked) {
                (Ok(Ok(read)), Ok(())) => read,
                (Ok(Ok(read)), Err(error)) => {
                    tracing::warn!("{error}; the roster proves that this is repository {id}");
                    read
                }
                // If the marker does not exist and nothing can be listed either, as in a bucket that does not exist.
                (Err(_), Err(error @ VaultError::NotARepository { .. })) | (Ok(Err(_)), Err(error)) => {
                    return Err(error);
                }
                (Err(unreachable), _) => return Err(unreachable.into()),
                (Ok(Err(error)), Ok(())) => return Err(error.into()),
            };
        for hole in holes.iter() {
            tracing::warn!(
                "{}; the newest roster that the root signed, {}, is in force",
                hole.error,
                pin.number
            );
        }
        Ok(Self { store, id, roster, roster_pin: pin, holes, pins, pinned, seen })
    }

    /// The repository of these public objects, in memory: they are verified as in any other store.
    pub async fn of_public_objects(
        objects: impl IntoIterator<Item = (String, Bytes)>,
        expected: &RepositoryId,
    ) -> Result<Self, VaultError> {
        let store = Store::memory();
        for (name, bytes) in objects {
            store.create(&name, bytes).await?;
        }
        Self::open(store, expected, PinFile::none()).await
    }

    /// An error if the storage shows an older state than this machine has seen.
    pub(crate) fn rolled_back(&self) -> Option<VaultError> {
        let seen = self.seen?;
        let (store, pins) = (self.location().to_owned(), self.pins.path().map(Path::to_owned));
        Some(VaultError::RolledBack { store, found: self.roster.number(), seen, pins })
    }

    /// The repository in `store`, according to its marker. Only [`Repository::open`] checks the claim.
    pub async fn probe(store: &Store) -> Result<RepositoryId, VaultError> {
        Self::marked(store).await?
    }

    /// The same, but distinguishes an unreachable storage from one whose marker shows no such repository.
    async fn marked(store: &Store) -> Result<Result<RepositoryId, VaultError>, StoreError> {
        let name = || store.name().to_owned();
        let read = ObjectError::split(store.read(layout::MARKER, cap::MARKER).await)?;
        let marker = read.and_then(|bytes| {
            read_marker(&bytes).map_err(|error| ObjectError::damaged(layout::MARKER, error))
        });
        Ok(match marker {
            Ok((format, repository)) if format == u64::from(FORMAT_VERSION) => Ok(repository),
            Ok((found, _)) => {
                Err(VaultError::OtherFormat { store: name(), found, supported: FORMAT_VERSION })
            }
            Err(ObjectError::Missing { .. }) => Err(VaultError::NotARepository { store: name() }),
            Err(error) => Err(error.into()),
        })
    }

    /// The repository's id.
    pub fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// The repository's location.
    pub fn location(&self) -> &str {
        self.store.name()
    }

    /// Its folder, if its storage is one.
    pub fn local_folder(&self) -> Option<PathBuf> {
        Location::parse(self.location()).ok()?.folder().map(Path::to_owned)
    }

    /// The repository's storage.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The roster in force.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Remembers on this machine that `head` was seen.
    pub(crate) fn pin_head(&self, writer: WriterId, head: Head) -> Result<(), VaultError> {
        let heads = BTreeMap::from([(writer, head)]);
        self.pins.advance(&Pins { roster: Some(self.roster_pin), heads })
    }

    /// The folders that contain objects of a group, including those of its writers.
    pub(crate) fn folders_of(&self, group: GroupId) -> Vec<String> {
        let writers = self.roster.writers.iter().filter(|writer| writer.group == group);
        let of_writers = writers.flat_map(|w| [layout::snapshots_of(w.id), layout::forget_of(w.id)]);
        layout::index_folders(group).into_iter().chain([layout::packs(group)]).chain(of_writers).collect()
    }
}

/// The bytes of `lifeboat.json`.
pub(crate) fn marker_of(repository: &RepositoryId) -> Vec<u8> {
    let marker =
        Marker { lifeboat: "repository".to_owned(), format: FORMAT_VERSION.into(), repository: *repository };
    serde_json::to_vec_pretty(&marker).expect("a marker is strings and numbers")
}

/// The format version and the repository that the bytes of `lifeboat.json` claim.
pub(crate) fn read_marker(bytes: &[u8]) -> serde_json::Result<(u64, RepositoryId)> {
    let marker: Marker = serde_json::from_slice(bytes)?;
    Ok((marker.format, marker.repository))
}

/// The objects of a new repository, in the order in which they are stored: sealed keys, the roster, the marker.
/// Everything is sealed before anything is stored, since sealing to a plugin's recipient may fail.
fn first_objects(
    made: &Made,
    root: &SigningKey,
    recipients: &[Recipient],
    data_secret: &[u8],
    roster: Vec<u8>,
) -> Result<Vec<(String, Vec<u8>)>, VaultError> {
    let mut objects = Vec::new();
    for recipient in recipients {
        let wrapped = recipient.wrap(&root.to_pkcs8_der())?;
        objects.push((layout::root_key(&recipient.id(), &Sha256Digest::of(&wrapped)), wrapped));
        let wrapped = recipient.wrap(data_secret)?;
        objects.push((layout::data_key(0, &recipient.id(), &Sha256Digest::of(&wrapped)), wrapped));
    }
    let WriterKey { data_recipient, group, .. } = &made.writer_key;
    let wrapped = data_recipient.wrap(&group.to_cbor())?;
    let key = layout::group_key(group.id, &data_recipient.id(), &Sha256Digest::of(&wrapped));
    objects.push((key, wrapped));
    objects.push((layout::roster(0), roster));
    objects.push((layout::MARKER.to_owned(), marker_of(&made.repository.id)));
    Ok(objects)
}

fn first_roster(
    id: RepositoryId,
    root: &SigningKey,
    time: Timestamp,
    recipients: &[Recipient],
    writer_key: &WriterKey,
    floor: Floor,
) -> Roster {
    let recipients = recipients
        .iter()
        .map(|r| RosterRecipient { id: r.id(), recipient: r.as_str().to_owned(), name: None })
        .collect();
    Roster {
        format: FORMAT_VERSION,
        repository: id,
        number: 0,
        previous: None,
        time,
        root_key: key_text(root.verification_key()),
        recipients,
        epochs: vec![Epoch { epoch: 0, recipient: writer_key.data_recipient.as_str().to_owned() }],
        groups: vec![writer_key.group.listed()],
        writers: vec![Writer {
            id: writer_key.writer,
            group: writer_key.group.id,
            key: key_text(writer_key.signing_key.verification_key()),
            name: None,
            revoked: None,
        }],
        keepers: Vec::new(),
        floor,
        required: Vec::new(),
    }
}

/// The roster must not be older than the key, and must list its holder, with the same verification key, in the same
/// group with the same keys.
pub(crate) fn check_writer(repository: &Repository, key: &WriterKey) -> Result<(), VaultError> {
    // The root made the key file: a roster of an earlier epoch is older than the key, and would have runs sealed to a
    // data identity that was given up.
    let found = repository.roster.epoch().map_or(0, |epoch| epoch.epoch);
    if found < key.epoch {
        let store = repository.location().to_owned();
        return Err(VaultError::OlderEpoch { store, found, made: key.epoch });
    }
    let listed = repository.roster.writer(key.writer).ok_or(VaultError::UnknownWriter)?;
    if listed.revoked.is_some() {
        return Err(VaultError::Removed("writer"));
    }
    let group = repository.roster.group(listed.group).ok_or(VaultError::UnknownWriter)?;
    let same = listed.verification_key().as_ref() == Some(key.signing_key.verification_key())
        && group.id == key.group.id
        && group.commitment == key.group.commitment();
    if same { Ok(()) } else { Err(VaultError::UnknownWriter) }
}
