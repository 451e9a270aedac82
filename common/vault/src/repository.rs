//! A repository: made once, opened many times, and what anyone can check of it.

use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_core::clock::Clock;
use lifeboat_core::random::Entropy;
use lifeboat_store::{Created, Store, StoreError};
use lifeboat_trust::key::{SigningKey, VerificationKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ids::{GroupId, RepositoryId, WriterId};
use crate::key_file::{WriterKey, recovery_key_text};
use crate::keys::{self, GroupKeys, Recipient};
use crate::layout::{self, cap};
use crate::manifest::{self, Manifest};
use crate::roster::{Epoch, Group, Roster, RosterRecipient, Writer, key_text};
use crate::{FORMAT_VERSION, VaultError};

/// An open repository: its store and the roster in force. What can be read in it depends on the key that comes to it.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) store: Store,
    pub(crate) id: RepositoryId,
    pub(crate) roster: Roster,
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
        if store.entry(layout::MARKER).await?.is_some() || !store.list(layout::ROSTERS).await?.is_empty() {
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
        let roster = first_roster(id, &root, now, &recipients, &writer_key);
        let made = Made { repository: Self { store: store.clone(), id, roster }, writer_key, recovery_keys };
        keep(&made)?;
        let (writer_key, roster) = (&made.writer_key, &made.repository.roster);
        for recipient in &recipients {
            let wrapped = recipient.wrap(&root.to_pkcs8_der())?;
            let key = layout::root_key(&recipient.id(), &Sha256Digest::of(&wrapped));
            store.create(&key, wrapped.into()).await?;
            let wrapped = recipient.wrap(data_secret.as_bytes())?;
            let key = layout::data_key(0, &recipient.id(), &Sha256Digest::of(&wrapped));
            store.create(&key, wrapped.into()).await?;
        }
        let wrapped = writer_key.data_recipient.wrap(&writer_key.group.to_cbor())?;
        let key = layout::group_key(writer_key.group.id, &Sha256Digest::of(&wrapped));
        store.create(&key, wrapped.into()).await?;

        store.create(&layout::roster(0), roster.sign(&root).into()).await?;
        let marker =
            Marker { lifeboat: "repository".to_owned(), format: FORMAT_VERSION.into(), repository: id };
        let marker = serde_json::to_vec_pretty(&marker).expect("a marker is strings and numbers");
        match store.create(layout::MARKER, marker.into()).await {
            Ok(Created::Now | Created::Before) => Ok(made),
            Err(StoreError::AlreadyExists { store, .. }) => Err(VaultError::AlreadyARepository { store }),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the repository in `store`, which must be the one that the caller's key names.
    pub async fn open(store: Store, expected: &RepositoryId) -> Result<Self, VaultError> {
        let id = Self::probe(&store).await?;
        if id != *expected {
            return Err(VaultError::OtherRepository {
                store: store.name().to_owned(),
                expected: *expected,
                found: id,
            });
        }
        let roster = read_rosters(&store, &id).await?;
        Ok(Self { store, id, roster })
    }

    /// Which repository lies in `store`, as its marker claims. Only [`Repository::open`] checks the claim.
    pub async fn probe(store: &Store) -> Result<RepositoryId, VaultError> {
        let bytes = match store.read(layout::MARKER, cap::MARKER).await {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { store, .. }) => return Err(VaultError::NotARepository { store }),
            Err(error) => return Err(VaultError::reading(error)),
        };
        let marker: Marker =
            serde_json::from_slice(&bytes).map_err(|error| VaultError::damaged(layout::MARKER, error))?;
        if marker.format != u64::from(FORMAT_VERSION) {
            return Err(VaultError::OtherFormat {
                store: store.name().to_owned(),
                found: marker.format,
                supported: FORMAT_VERSION,
            });
        }
        Ok(marker.repository)
    }

    /// The repository's id.
    pub fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// Where the repository lies.
    pub fn location(&self) -> &str {
        self.store.name()
    }

    /// The roster in force.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The verification key of a writer on the roster.
    pub fn writer_verification_key(&self, writer: WriterId) -> Option<VerificationKey> {
        self.roster.writer(writer)?.verification_key()
    }

    /// All manifests of all writers on the roster, each checked, oldest first. One that cannot be read or does not
    /// verify comes as its object's name and the reason, never left out.
    pub(crate) async fn manifests(&self) -> Result<Vec<Result<Manifest, VaultError>>, VaultError> {
        let mut manifests = Vec::new();
        for writer in &self.roster.writers {
            for entry in self.store.list(&layout::snapshots_of(writer.id)).await? {
                let Some(sequence) = sequence_of(&entry.key) else { continue };
                manifests.push(self.manifest(writer, sequence).await);
            }
        }
        manifests.sort_by_key(|manifest| manifest.as_ref().ok().map(|m| m.predicate.time));
        Ok(manifests)
    }

    /// One manifest, checked.
    pub(crate) async fn manifest(&self, writer: &Writer, sequence: u64) -> Result<Manifest, VaultError> {
        let key = layout::snapshot(writer.id, sequence);
        let bytes = self.store.read(&key, cap::MANIFEST).await.map_err(VaultError::reading)?;
        let place = manifest::Place { repository: self.id, writer: writer.id, group: writer.group, sequence };
        let verification_key =
            writer.verification_key().ok_or(VaultError::Internal("a verified roster holds whole keys"))?;
        manifest::verify(&bytes, &verification_key, &place).map_err(|reason| VaultError::damaged(key, reason))
    }

    /// The highest sequence number of a writer's snapshots.
    pub(crate) async fn newest_sequence(&self, writer: WriterId) -> Result<Option<u64>, VaultError> {
        let entries = self.store.list(&layout::snapshots_of(writer)).await?;
        Ok(entries.iter().filter_map(|entry| sequence_of(&entry.key)).max())
    }

    /// Reads an object that is named by the hash of its bytes.
    pub(crate) async fn read_hashed(
        &self,
        key: &str,
        hash: &Sha256Digest,
        cap: u64,
    ) -> Result<Bytes, VaultError> {
        let bytes = self.store.read(key, cap).await.map_err(VaultError::reading)?;
        let found = Sha256Digest::of(&bytes);
        if found == *hash { Ok(bytes) } else { Err(VaultError::other_hash(key, hash, &found)) }
    }
}

/// The sequence in a manifest's name; other objects of the folder (countersignatures) have none.
fn sequence_of(key: &str) -> Option<u64> {
    let name = key.rsplit('/').next()?;
    (name.len() == 10 && key.matches('/').count() == 2).then(|| name.parse().ok()).flatten()
}

/// The hash in the last part of an object's name.
pub(crate) fn hash_of(key: &str) -> Option<Sha256Digest> {
    key.rsplit('/').next()?.parse().ok()
}

fn first_roster(
    id: RepositoryId,
    root: &SigningKey,
    time: Timestamp,
    recipients: &[Recipient],
    writer_key: &WriterKey,
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
        groups: vec![Group { id: writer_key.group.id, commitment: writer_key.group.commitment() }],
        writers: vec![Writer {
            id: writer_key.writer,
            group: writer_key.group.id,
            key: key_text(writer_key.signing_key.verification_key()),
        }],
    }
}

/// Follows the chain of rosters from the first to the last.
async fn read_rosters(store: &Store, id: &RepositoryId) -> Result<Roster, VaultError> {
    let mut last: Option<(Roster, Sha256Digest)> = None;
    let count = store.list(layout::ROSTERS).await?.len() as u64;
    for number in 0..count.max(1) {
        let key = layout::roster(number);
        let bytes = store.read(&key, cap::ROSTER).await.map_err(VaultError::reading)?;
        let before = last.as_ref().map(|(roster, hash)| (roster, *hash));
        let roster = Roster::verify(&bytes, id, before).map_err(|reason| VaultError::damaged(key, reason))?;
        last = Some((roster, Sha256Digest::of(&bytes)));
    }
    last.map(|(roster, _)| roster).ok_or(VaultError::Internal("the loop above runs at least once"))
}

/// A group's index key and what it opens: what a writer, or someone with a recovery key, can list.
#[derive(Clone)]
pub struct Viewer {
    pub(crate) repository: Repository,
    pub(crate) groups: Vec<GroupKeys>,
}

impl Viewer {
    /// What the holder of a writer key can list: its own group's snapshots.
    pub fn for_writer(repository: Repository, key: &WriterKey) -> Result<Self, VaultError> {
        check_writer(&repository, key)?;
        Ok(Self { repository, groups: vec![key.group.clone()] })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&GroupKeys> {
        self.groups.iter().find(|group| group.id == id)
    }
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Viewer({})", self.repository.id)
    }
}

/// The roster must list the key's holder, with the same verification key, in the same group with the same keys.
pub(crate) fn check_writer(repository: &Repository, key: &WriterKey) -> Result<(), VaultError> {
    let listed = repository.roster.writer(key.writer).ok_or(VaultError::UnknownWriter)?;
    let group = repository.roster.group(listed.group).ok_or(VaultError::UnknownWriter)?;
    let same = listed.verification_key().as_ref() == Some(key.signing_key.verification_key())
        && group.id == key.group.id
        && group.commitment == key.group.commitment();
    if same { Ok(()) } else { Err(VaultError::UnknownWriter) }
}
