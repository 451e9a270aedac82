//! Opens a repository with a recovery key: from the sealed root of trust down to the keys that open a snapshot's
//! contents.

use std::collections::HashMap;
use std::sync::Arc;

use lifeboat_core::Sha256Digest;
use lifeboat_store::{Store, StoreError};
use lifeboat_trust::key::SigningKey;
use zeroize::Zeroizing;

use crate::error::{ObjectError, Read, VaultError};
use crate::format::authority::Word;
use crate::format::layout;
use crate::format::pack::{MAX_HEADER, read_header};
use crate::format::seal::SealKey;
use crate::ids::{GroupId, RepositoryId, RunId};
use crate::keys::key_file::RecoveryKey;
use crate::keys::{GroupKeys, GroupView, Identity, Recipient, recipient_of};
use crate::repository::access::{Opened, Session};
use crate::repository::locate::{FramePlaces, packs_of};
use crate::repository::open::Repository;
use crate::repository::pins::PinFile;

/// A repository opened with a recovery key, which can read everything and change the members. Cheap to clone.
#[derive(Clone)]
pub struct RecoverySession {
    session: Session,
    groups: Arc<[GroupKeys]>,
    /// The data identities that the recovery key opened, by epoch.
    epochs: Arc<HashMap<u32, DataIdentity>>,
}

/// The data identity of one epoch, opened, and its text for wrapping it to others.
struct DataIdentity {
    identity: Identity,
    secret: Zeroizing<Vec<u8>>,
}

impl RecoverySession {
    /// Opens the repository in `store` with a recovery key. `root` is the repository's id if the key does not name it,
    /// and `pins` is where this machine stores what it has seen of a repository.
    pub async fn open(
        store: Store,
        key: &RecoveryKey,
        root: Option<RepositoryId>,
        pins: impl FnOnce(&RepositoryId) -> PinFile,
    ) -> Result<Self, VaultError> {
        let restorer = Self::open_to_read(store, key, root, pins).await?;
        match restorer.repository().rolled_back() {
            Some(error) => Err(error),
            None => Ok(restorer),
        }
    }

    /// The same for readers. Storage that was rolled back still has snapshots: a listing reports the rollback, and a
    /// snapshot that is named by its id can be restored.
    pub async fn open_to_read(
        store: Store,
        key: &RecoveryKey,
        root: Option<RepositoryId>,
        pins: impl FnOnce(&RepositoryId) -> PinFile,
    ) -> Result<Self, VaultError> {
        let expected = match (key.repository, root) {
            (Some(named), Some(root)) if named != root => {
                let store = store.name().to_owned();
                return Err(VaultError::OtherRepository { store, expected: root, found: named });
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => return Err(VaultError::UnboundIdentity),
        };
        let repository = Repository::open_to_read(store, &expected, pins(&expected)).await?;
        let epochs = open_epochs(&repository, &key.identity).await?;
        let mut opened = Opened::default();
        for group in &repository.roster.groups {
            opened.add(group.id, open_group(&repository, &epochs, group.id, &group.commitment).await?);
        }
        let (groups, closed) = opened.some()?;
        let root = open_root(&repository, &key.identity).await?;
        let session = Session::for_root(repository, &groups, closed, root);
        Ok(Self { session, groups: groups.into(), epochs: Arc::new(epochs) })
    }

    /// What this restorer can list: everything.
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn repository(&self) -> &Repository {
        self.session.repository()
    }

    pub(crate) fn group(&self, id: GroupId) -> Result<&GroupKeys, VaultError> {
        let keys = self.groups.iter().find(|group| group.id == id);
        keys.ok_or_else(|| match self.session.closed(id) {
            Some(reason) => reason.clone().into(),
            None => VaultError::Internal("a group that is not closed is open"),
        })
    }

    pub(crate) fn groups(&self) -> &[GroupKeys] {
        &self.groups
    }

    /// The data identities that this recovery key opens, by epoch, in the form that is wrapped.
    pub(crate) fn data_secrets(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.epochs.iter().map(|(epoch, data)| (*epoch, &data.secret[..]))
    }

    /// Whether a passphrase is among the recipients, so that it is needed to rotate the data identity.
    pub fn has_passphrase(&self) -> bool {
        let recipients = self.repository().roster.recipients.iter();
        recipients.filter_map(|r| r.recipient.parse::<Recipient>().ok()).any(|r| r.needs_passphrase())
    }

    /// Opens a run's key: from the run's registration, or, if that is damaged or missing, from the header of a pack
    /// with frames of the run. The commitment distinguishes the true key from any other.
    pub(crate) async fn run_key(
        &self,
        group: &GroupView,
        run: RunId,
        commitment: &[u8; 32],
        places: &FramePlaces,
    ) -> Read<SealKey> {
        self.run_key_from(group, run, commitment, &packs_of(places)).await
    }

    /// The same, given the packs that contain frames of the run, each with its size.
    pub(crate) async fn run_key_from(
        &self,
        group: &GroupView,
        run: RunId,
        commitment: &[u8; 32],
        packs: &[(Sha256Digest, u64)],
    ) -> Read<SealKey> {
        let repository = self.repository();
        let registration = repository.registration(group, run, Word::RunKey).await?;
        let registered = registration.and_then(|(_, registration)| {
            self.unwrap_run_key(&registration.wrapped_key, commitment).ok_or_else(|| {
                let reason =
                    "its run key does not open with this recovery key, or is not the one of the snapshot";
                ObjectError::damaged(layout::run(group.id, run), reason)
            })
        });
        let error = match registered {
            Ok(key) => return Ok(Ok(key)),
            Err(error) => error,
        };
        for (pack, size) in packs {
            let range = 0..*size.min(&MAX_HEADER);
            let Ok(beginning) = repository.pack_range(group.id, pack, range).await? else { continue };
            let Ok((_, keys)) = read_header(&beginning, &repository.id, group.id) else { continue };
            let mut of_run = keys.iter().filter(|key| key.run == run);
            if let Some(key) = of_run.find_map(|key| self.unwrap_run_key(&key.wrapped, commitment)) {
                tracing::info!("{error}; the key was found in pack {pack}");
                return Ok(Ok(key));
            }
        }
        Ok(Err(error))
    }

    /// Opens what was wrapped to a data identity; also returns the epoch.
    pub(crate) fn unwrap(&self, wrapped: &[u8]) -> Option<(u32, Zeroizing<Vec<u8>>)> {
        self.epochs.iter().find_map(|(epoch, data)| Some((*epoch, data.identity.unwrap(wrapped)?)))
    }

    fn unwrap_run_key(&self, wrapped: &[u8], commitment: &[u8; 32]) -> Option<SealKey> {
        self.epochs.values().find_map(|data| {
            let secret = data.identity.unwrap(wrapped)?;
            let key = SealKey::from_bytes(secret[..].try_into().ok()?);
            (key.commitment() == *commitment).then_some(key)
        })
    }
}

impl std::fmt::Debug for RecoverySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecoverySession({:?})", self.session)
    }
}

/// Opens the root's signing key; `None` if no whole one is wrapped to this identity, because reading needs none.
async fn open_root(repository: &Repository, identity: &Identity) -> Result<Option<SigningKey>, StoreError> {
    let opened = repository.first_that_opens(layout::ROOT_KEYS, |key, sealed| {
        let secret = identity.unwrap(sealed)?;
        match SigningKey::from_pkcs8_der(&secret) {
            Ok(root) if root.verification_key().id() == repository.id => Some(Ok(root)),
            _ => {
                tracing::warn!("`{key}` contains another key than the root's");
                None
            }
        }
    });
    Ok(opened.await?.ok())
}

/// Opens the data identity of every epoch that is wrapped to this identity. The result must be the identity whose
/// recipient the roster names; an object that is damaged or was slipped in is skipped.
async fn open_epochs(
    repository: &Repository,
    identity: &Identity,
) -> Result<HashMap<u32, DataIdentity>, VaultError> {
    let mut epochs = HashMap::new();
    let mut refused = None;
    for epoch in &repository.roster.epochs {
        let folder = layout::data_keys(epoch.epoch);
        let opened = repository.first_that_opens(&folder, |key, sealed| {
            let secret = identity.unwrap(sealed)?;
            if recipient_of(&secret).as_deref() != Some(&epoch.recipient) {
                let reason = "it contains another data identity than the roster names";
                return Some(Err(ObjectError::damaged(key, reason)));
            }
            let opened = Identity::parse(&secret).map_err(|reason| ObjectError::damaged(key, reason));
            Some(opened.map(|identity| DataIdentity { identity, secret }))
        });
        match opened.await? {
            Ok(data) => {
                epochs.insert(epoch.epoch, data);
            }
            Err(reason) => refused = reason.or(refused),
        }
    }
    if epochs.is_empty() {
        let wrong = || VaultError::WrongIdentity { what: "data keys" };
        return Err(refused.map_or_else(wrong, VaultError::from));
    }
    Ok(epochs)
}

/// Opens a group's keys and checks them against the roster's commitment.
async fn open_group(
    repository: &Repository,
    epochs: &HashMap<u32, DataIdentity>,
    group: GroupId,
    commitment: &Sha256Digest,
) -> Read<GroupKeys> {
    let mut refused = None;
    let key = layout::group_keys(group);
    let opened = repository.first_that_opens(&key, |key, sealed| {
        let opened = epochs.values().find_map(|data| data.identity.unwrap(sealed));
        match opened.and_then(|secret| GroupKeys::from_cbor(&secret)) {
            Some(keys) if keys.id == group && keys.commitment() == *commitment => return Some(Ok(keys)),
            Some(_) => refused = Some("it contains other keys than the roster commits to"),
            None => refused = Some("it does not open"),
        }
        tracing::info!("{key} is skipped");
        None
    });
    if let Ok(keys) = opened.await? {
        return Ok(Ok(keys));
    }
    Ok(Err(match refused {
        Some(reason) => ObjectError::damaged(key, reason),
        None => ObjectError::Missing { key },
    }))
}
