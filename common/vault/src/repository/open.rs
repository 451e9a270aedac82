//! A repository: made once, opened many times, and what anyone can check of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_core::clock::Clock;
use lifeboat_core::random::Entropy;
use lifeboat_store::{Location, Store, StoreError};
use lifeboat_trust::key::{SigningKey, VerificationKey};
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

/// An open repository: its store and the roster in force. What can be read in it depends on the key that comes to it.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) store: Store,
    pub(crate) id: RepositoryId,
    pub(crate) roster: Roster,
    /// The roster's number and the hash of its stored bytes.
    pub(crate) roster_pin: PinnedRoster,
    /// What is wrong with other rosters.
    pub(crate) holes: Holes,
    /// What this machine has seen of the repository, and where it keeps that.
    pub(crate) pins: PinFile,
    pub(crate) pinned: Pins,
    /// The number of the newest roster that this machine has seen, where the storage was rolled back to before it.
    seen: Option<u64>,
}

/// The plaintext object that tells a repository.
#[derive(Serialize, Deserialize)]
struct Marker {
    lifeboat: String,
    format: u64,
    repository: RepositoryId,
}

/// Who is to be able to open a new repository.
pub struct NewRepository {
    /// Recipients whose private keys exist elsewhere.
    pub recipients: Vec<Recipient>,
    /// How many recovery keys to make.
    pub recovery_keys: usize,
    /// Accept a single recipient.
    pub single_recipient: bool,
    /// What no request to forget is to go below.
    pub floor: Floor,
}

/// What `init` gives to be kept: none of it is in the repository in the clear.
pub struct Made {
    /// The new repository.
    pub repository: Repository,
    /// The first host's key.
    pub writer_key: WriterKey,
    /// The texts of the recovery key files that were asked for.
    pub recovery_keys: Vec<Zeroizing<String>>,
}

impl Repository {
    /// Makes a repository: root key, data identity, a first group and a first writer. `keep` is given the keys to put
    /// them away before anything is stored; if it fails, nothing is.
    pub async fn create(
        store: Store,
        new: NewRepository,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
        keep: impl FnOnce(&Made) -> Result<(), VaultError>,
    ) -> Result<Made, VaultError> {
        let count = new.recipients.len() + new.recovery_keys;
        if count < 2 && !(new.single_recipient && count == 1) {
            return Err(VaultError::TooFewRecipients { found: count });
        }
        // A listing first: of what is wrong with the settings its answer says more than that of a look at one object.
        if !store.list(layout::ROSTERS).await?.is_empty() || store.entry(layout::MARKER).await?.is_some() {
            return Err(VaultError::AlreadyARepository { store: store.name().to_owned() });
        }
        let now = clock.now();
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
                    // What stands there opens nothing without the rest. What cannot be taken away is in nobody's way.
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

    /// Reads the sealed keys of a folder, one after the other, until `open` makes something of one, given its name and its
    /// bytes. What cannot be read, or is refused, is passed over; the last reason comes where nothing is found.
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

    /// Whether the storage never replaces an object by a conditional write, tried on the marker. On one that does, two
    /// machines that write the same sequence at the same moment may lose one of the two snapshots.
    pub async fn has_conditional_writes(&self) -> Result<bool, VaultError> {
        Ok(self.store.keeps_conditions(layout::MARKER, marker_of(&self.id).into()).await?)
    }

    /// Opens the repository in `store`, which must be the one that the caller's key names, and must not show an older
    /// roster than this machine has pinned. The marker is a claim that anyone can write, and the roster is the proof:
    /// a repository whose marker is damaged or missing opens all the same.
    pub async fn open(store: Store, expected: &RepositoryId, pins: PinFile) -> Result<Self, VaultError> {
        let repository = Self::open_to_read(store, expected, pins).await?;
        match repository.rolled_back() {
            Some(error) => Err(error),
            None => Ok(repository),
        }
    }

    /// The same for those who only read: they may use what an older state has, as long as they name it.
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
                // Where the marker is not there and nothing can be listed either, as in a bucket that does not exist.
                (Err(_), Err(error @ VaultError::NotARepository { .. })) | (Ok(Err(_)), Err(error)) => {
                    return Err(error);
                }
                (Err(unreachable), _) => return Err(unreachable.into()),
                (Ok(Err(error)), Ok(())) => return Err(error.into()),
            };
        for hole in holes.iter() {
            tracing::warn!(
                "{}; the newest roster that the root signed, {}, is in force",
                hole.to_error(),
                pin.number
            );
        }
        Ok(Self { store, id, roster, roster_pin: pin, holes, pins, pinned, seen })
    }

    /// The repository that these public objects are of, in memory: what they show is verified as anywhere else.
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

    /// That the storage shows an older state than this machine has seen, if it does.
    pub(crate) fn rolled_back(&self) -> Option<VaultError> {
        let seen = self.seen?;
        let (store, pins) = (self.location().to_owned(), self.pins.path().map(Path::to_owned));
        Some(VaultError::RolledBack { store, found: self.roster.number(), seen, pins })
    }

    /// Which repository lies in `store`, as its marker claims. Only [`Repository::open`] checks the claim.
    pub async fn probe(store: &Store) -> Result<RepositoryId, VaultError> {
        Self::marked(store).await?
    }

    /// The same, where a storage that is out of reach is told from one whose marker shows no such repository.
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

    /// Where the repository lies.
    pub fn location(&self) -> &str {
        self.store.name()
    }

    /// The folder that it lies in, where that is its storage.
    pub fn local_folder(&self) -> Option<PathBuf> {
        Location::parse(self.location()).ok()?.folder().map(Path::to_owned)
    }

    /// The storage that the repository lies in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The roster in force.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The verification key of a writer on the roster.
    pub fn writer_verification_key(&self, writer: WriterId) -> Option<VerificationKey> {
        self.roster.writer(writer)?.verification_key()
    }

    /// Remembers on this machine that `head` was seen.
    pub(crate) fn pin_head(&self, writer: WriterId, head: Head) -> Result<(), VaultError> {
        let heads = BTreeMap::from([(writer, head)]);
        self.pins.advance(&Pins { roster: Some(self.roster_pin), heads })
    }

    /// The folders in which objects of a group lie, those of its writers included.
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

/// What a new repository consists of, in the order in which it is stored: what is sealed, the roster, the marker. All is
/// sealed before anything is stored, since sealing to a plugin's recipient may fail.
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
    let recipients =
        recipients.iter().map(|r| RosterRecipient { id: r.id(), recipient: r.as_str().to_owned() }).collect();
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
            revoked: None,
        }],
        keepers: Vec::new(),
        floor,
        required: Vec::new(),
    }
}

/// The roster must be no older than the key, and list its holder, with the same verification key, in the same group with the same keys.
pub(crate) fn check_writer(repository: &Repository, key: &WriterKey) -> Result<(), VaultError> {
    // The key file was made by the root: a roster of an earlier epoch is older than the key, and would have runs sealed
    // to a data identity that was given up.
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
