//! What a key opens of a repository: the groups whose index can be read, and the signing key.
//!
//! A writer reads its own group's index and signs as itself; a keeper reads every group's index and signs
//! condemnations; a recovery key reads everything and opens the root key.

use lifeboat_core::Sha256Digest;
use lifeboat_trust::key::SigningKey;

use crate::error::{ObjectError, Read, VaultError};
use crate::format::layout;
use crate::format::signed::Pen;
use crate::ids::{GroupId, Signer, WriterId};
use crate::keys::keeper_key::KeeperKey;
use crate::keys::key_file::WriterKey;
use crate::keys::{GroupKeys, GroupView, index_key_from_cbor};
use crate::repository::open::{Repository, check_writer};

/// Groups whose keys a key should open but does not, and why.
pub(crate) type Closed = Vec<(GroupId, ObjectError)>;

/// A repository opened with one key: what that key may read, sign and delete.
#[derive(Clone)]
pub struct Session {
    pub(crate) repository: Repository,
    pub(crate) groups: Vec<GroupView>,
    /// Groups whose keys this key should open but does not, and why. A fault in one group does not affect others.
    pub(crate) closed: Closed,
    /// The signer for what is done through this session; `None` if a recovery key found no whole root key.
    signing: Option<(Signer, SigningKey)>,
}

impl Session {
    /// The view of a writer key: its own group's snapshots.
    pub fn for_writer(repository: Repository, key: &WriterKey) -> Result<Self, VaultError> {
        check_writer(&repository, key)?;
        let groups = vec![GroupView::from(&key.group)];
        let signing = Some((Signer::Writer(key.writer), key.signing_key.clone()));
        Ok(Self { repository, groups, closed: Vec::new(), signing })
    }

    /// The view of a keeper: every group's snapshots.
    pub async fn for_keeper(repository: Repository, key: &KeeperKey) -> Result<Self, VaultError> {
        let listed = repository.roster.keeper(key.keeper).ok_or(VaultError::UnknownWriter)?;
        if listed.removed.is_some() {
            return Err(VaultError::Removed("keeper"));
        }
        if listed.verification_key().as_ref() != Some(key.signing_key.verification_key()) {
            return Err(VaultError::UnknownWriter);
        }
        let mut opened = Opened::default();
        for group in &repository.roster.groups {
            opened.add(group.id, index_key_of(&repository, key, group.id, &group.index_commitment).await?);
        }
        let (groups, closed) = opened.some()?;
        let signing = Some((Signer::Keeper(key.keeper), key.signing_key.clone()));
        Ok(Self { repository, groups, closed, signing })
    }

    pub(crate) fn for_root(
        repository: Repository,
        groups: &[GroupKeys],
        closed: Closed,
        root: Option<SigningKey>,
    ) -> Self {
        let groups = groups.iter().map(GroupView::from).collect();
        Self { repository, groups, closed, signing: root.map(|key| (Signer::Root, key)) }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The writer whose key this is, if it is a writer's.
    pub fn writer(&self) -> Option<WriterId> {
        match self.signing {
            Some((Signer::Writer(writer), _)) => Some(writer),
            _ => None,
        }
    }

    /// The signing key.
    pub(crate) fn pen(&self) -> Result<Pen<'_>, VaultError> {
        let missing =
            || ObjectError::Missing { key: format!("{}/ (for this recovery key)", layout::ROOT_KEYS) };
        let (signer, key) = self.signing.as_ref().ok_or_else(missing)?;
        Ok(Pen { signer: *signer, key })
    }

    /// The root key, which a recovery key has opened.
    pub(crate) fn root(&self) -> Result<&SigningKey, VaultError> {
        let pen = self.pen()?;
        match pen.signer {
            Signer::Root => Ok(pen.key),
            Signer::Writer(_) | Signer::Keeper(_) => Err(VaultError::NotAllowed {
                who: "a writer or keeper key",
                what: "change the members of the repository",
                needed: "--identity FILE, a recovery key that `lifeboat-backup init` wrote",
            }),
        }
    }

    /// The signing key for condemnations. Fails for a writer, which never deletes anything.
    pub(crate) fn pruning_pen(&self) -> Result<Pen<'_>, VaultError> {
        match self.pen()? {
            Pen { signer: Signer::Writer(_), .. } => Err(VaultError::NotAllowed {
                who: "a writer key",
                what: "delete anything from the repository",
                needed: "--keeper-key FILE (made with `lifeboat-backup key add keeper FILE`) or --identity FILE",
            }),
            pen => Ok(pen),
        }
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&GroupView> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// Why a group is closed that this key should open.
    pub(crate) fn closed(&self, id: GroupId) -> Option<&ObjectError> {
        self.closed.iter().find(|(group, _)| *group == id).map(|(_, reason)| reason)
    }
}

/// The groups that a key opens, and those that it should open but does not.
pub(crate) struct Opened<T> {
    groups: Vec<T>,
    closed: Closed,
}

impl<T> Default for Opened<T> {
    fn default() -> Self {
        Self { groups: Vec::new(), closed: Vec::new() }
    }
}

impl<T> Opened<T> {
    /// Adds the result of opening a group.
    pub(crate) fn add(&mut self, group: GroupId, opened: Result<T, ObjectError>) {
        match opened {
            Ok(opened) => self.groups.push(opened),
            Err(error) => self.closed.push((group, error)),
        }
    }

    /// Returns both, unless nothing opened at all: then the key is of no use, and the first reason is the error.
    pub(crate) fn some(self) -> Result<(Vec<T>, Closed), ObjectError> {
        match self.closed.first() {
            Some((_, first)) if self.groups.is_empty() => Err(first.clone()),
            _ => {
                for (group, reason) in &self.closed {
                    tracing::warn!("group {group} stays closed: {reason}");
                }
                Ok((self.groups, self.closed))
            }
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.repository.id)
    }
}

/// Opens the index key that was wrapped to a keeper and checks it against the roster's commitment.
async fn index_key_of(
    repository: &Repository,
    keeper: &KeeperKey,
    group: GroupId,
    commitment: &Sha256Digest,
) -> Read<GroupView> {
    let folder = layout::group_keys(group);
    let opened = repository.first_that_opens(&folder, |key, sealed| {
        let secret = keeper.identity.unwrap(sealed)?;
        Some(match index_key_from_cbor(&secret) {
            Some((id, index_key))
                if id == group && Sha256Digest::from_bytes(index_key.commitment()) == *commitment =>
            {
                Ok(GroupView { id, index_key })
            }
            // Anyone who may write there can seal anything to a keeper.
            _ => Err(ObjectError::damaged(key, "it contains another key than the roster commits to")),
        })
    });
    let missing = || ObjectError::Missing { key: format!("{folder}/ (wrapped to this keeper)") };
    Ok(opened.await?.map_err(|refused| refused.unwrap_or_else(missing)))
}
