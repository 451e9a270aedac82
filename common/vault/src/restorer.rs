//! With a recovery key: from the sealed root of trust down to the keys that open a snapshot's contents.

use std::collections::HashMap;

use lifeboat_core::Sha256Digest;
use lifeboat_store::Store;

use crate::VaultError;
use crate::frame::MAX_SEALED_FRAME;
use crate::ids::{FrameName, GroupId, RepositoryId, RunId, from_cbor};
use crate::index::{FrameLocation, Locations};
use crate::key_file::RecoveryKey;
use crate::keys::{GroupKeys, Identity, recipient_of};
use crate::layout::{self, cap};
use crate::manifest::{Part, RunRecord};
use crate::reader::FrameReader;
use crate::repository::{Repository, Viewer, hash_of};
use crate::seal::{Purpose, SealKey};
use crate::signed::{self, Place};
use crate::snapshot::Registration;
use crate::view::Snapshot;

/// Someone who can read everything.
pub struct Restorer {
    viewer: Viewer,
    /// The data identities that the recovery key opened, by epoch.
    epochs: HashMap<u32, Identity>,
}

impl Restorer {
    /// Opens the repository in `store` with a recovery key. `root` names the repository where the key does not.
    pub async fn open(
        store: Store,
        key: &RecoveryKey,
        root: Option<RepositoryId>,
    ) -> Result<Self, VaultError> {
        let expected = match (key.repository, root) {
            (Some(named), Some(root)) if named != root => {
                let store = store.name().to_owned();
                return Err(VaultError::OtherRepository { store, expected: root, found: named });
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => return Err(VaultError::UnboundIdentity),
        };
        let repository = Repository::open(store, &expected).await?;
        let epochs = open_epochs(&repository, &key.identity).await?;
        let mut groups = Vec::new();
        for group in &repository.roster.groups {
            groups.push(open_group(&repository, &epochs, group.id, &group.commitment).await?);
        }
        Ok(Self { viewer: Viewer { repository, groups }, epochs })
    }

    /// What this restorer can list: everything.
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// Makes the contents of a snapshot readable: finds where its frames lie and opens the keys of its runs.
    pub async fn reader(&self, snapshot: &Snapshot) -> Result<FrameReader, VaultError> {
        let group = snapshot.manifest.predicate.group;
        let keys =
            self.viewer.group(group).ok_or(VaultError::Internal("a restorer has every group's keys"))?;
        let mut frames = HashMap::new();
        let mut run_keys = HashMap::new();
        for record in &snapshot.part.runs {
            run_keys.insert(record.run, self.run_key(group, record).await?);
            self.locate(group, keys, record, &mut frames).await?;
        }
        Ok(FrameReader::new(
            self.viewer.repository.store.clone(),
            *self.viewer.repository.id(),
            keys.clone(),
            run_keys,
            frames,
        ))
    }

    async fn run_key(&self, group: GroupId, record: &RunRecord) -> Result<SealKey, VaultError> {
        let name = layout::run(group, record.run);
        let repository = &self.viewer.repository;
        let bytes = repository.store.read(&name, cap::KEY).await.map_err(VaultError::reading)?;
        let registration: Registration =
            from_cbor(&bytes).map_err(|error| VaultError::damaged(&name, error))?;
        let identity = self.epochs.get(&registration.epoch).ok_or_else(|| {
            VaultError::damaged(&name, "it names an epoch that this recovery key does not open")
        })?;
        let secret = identity
            .unwrap(&registration.wrapped_key)
            .ok_or_else(|| VaultError::damaged(&name, "its run key does not open"))?;
        let secret: &[u8; 32] = secret[..]
            .try_into()
            .map_err(|_| VaultError::damaged(&name, "its run key has another length"))?;
        let key = SealKey::from_bytes(secret);
        if key.commitment() == record.commitment {
            Ok(key)
        } else {
            Err(VaultError::damaged(&name, "its run key is not the one that the snapshot was made with"))
        }
    }

    /// Reads where the frames of a run lie. A damaged object is an error only if nothing else locates what it should.
    async fn locate(
        &self,
        group: GroupId,
        keys: &GroupKeys,
        record: &RunRecord,
        frames: &mut HashMap<FrameName, FramePlace>,
    ) -> Result<(), VaultError> {
        let repository = &self.viewer.repository;
        let place = Place { purpose: Purpose::Locations, repository: &repository.id, group };
        let mut unusable = None;
        for entry in repository.store.list(&layout::locations(group, record.run)).await? {
            let read = async {
                let hash = hash_of(&entry.key)
                    .ok_or_else(|| VaultError::damaged(&entry.key, "its name is no hash"))?;
                let bytes = repository.read_hashed(&entry.key, &hash, cap::INDEX).await?;
                let key_of = |writer| repository.writer_verification_key(writer);
                let object: Locations = signed::read(place, &keys.index_key, key_of, &bytes)
                    .map_err(|reason| VaultError::damaged(&entry.key, reason))?;
                Ok(object)
            };
            match read.await {
                Ok(object) if object.run == record.run => {
                    for pack in object.packs {
                        for frame in pack.frames.into_iter().filter(|f| record.needs(f.ordinal)) {
                            let name = FrameName { run: record.run, ordinal: frame.ordinal };
                            frames.insert(name, FramePlace { pack: pack.pack, frame });
                        }
                    }
                }
                Ok(_) => unusable = Some(VaultError::damaged(&entry.key, "it locates another run's frames")),
                Err(error @ (VaultError::Damaged { .. } | VaultError::Missing { .. })) => {
                    unusable = Some(error)
                }
                Err(error) => return Err(error),
            }
        }
        for name in record.needed() {
            match frames.get(&name) {
                Some(place) if u64::from(place.frame.length) > MAX_SEALED_FRAME => {
                    let key = layout::pack(group, &place.pack);
                    return Err(VaultError::damaged(key, "a frame is said to be longer than any can be"));
                }
                Some(_) => {}
                None => {
                    let lost = VaultError::LostFrame { run: name.run, ordinal: name.ordinal };
                    return Err(unusable.unwrap_or(lost));
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Restorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Restorer({:?})", self.viewer)
    }
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FramePlace {
    pub(crate) pack: Sha256Digest,
    pub(crate) frame: FrameLocation,
}

/// Opens the data identity of every epoch. What opens must be the identity whose recipient the roster names.
async fn open_epochs(
    repository: &Repository,
    identity: &Identity,
) -> Result<HashMap<u32, Identity>, VaultError> {
    let mut epochs = HashMap::new();
    for epoch in &repository.roster.epochs {
        for entry in repository.store.list(&layout::data_keys(epoch.epoch)).await? {
            let bytes = repository.store.read(&entry.key, cap::KEY).await.map_err(VaultError::reading)?;
            let Some(secret) = identity.unwrap(&bytes) else { continue };
            if recipient_of(&secret).as_deref() != Some(&epoch.recipient) {
                return Err(VaultError::damaged(
                    &entry.key,
                    "it holds another data identity than the roster names",
                ));
            }
            let opened =
                Identity::parse(&secret).map_err(|reason| VaultError::damaged(&entry.key, reason))?;
            epochs.insert(epoch.epoch, opened);
            break;
        }
    }
    if epochs.is_empty() { Err(VaultError::WrongIdentity { what: "data keys" }) } else { Ok(epochs) }
}

/// Opens a group's keys and checks them against the roster's commitment.
async fn open_group(
    repository: &Repository,
    epochs: &HashMap<u32, Identity>,
    group: GroupId,
    commitment: &Sha256Digest,
) -> Result<GroupKeys, VaultError> {
    let mut refused = None;
    for entry in repository.store.list(&layout::group_keys(group)).await? {
        let bytes = repository.store.read(&entry.key, cap::KEY).await.map_err(VaultError::reading)?;
        let opened = epochs.values().find_map(|identity| identity.unwrap(&bytes));
        match opened.and_then(|secret| GroupKeys::from_cbor(&secret)) {
            Some(keys) if keys.id == group && keys.commitment() == *commitment => return Ok(keys),
            Some(_) => refused = Some("it holds other keys than the roster commits to"),
            None => refused = Some("it does not open"),
        }
        if refused.is_some() {
            tracing::info!("{} is passed over", entry.key);
        }
    }
    let key = layout::group_keys(group);
    Err(match refused {
        Some(reason) => VaultError::damaged(key, reason),
        None => VaultError::Missing { key },
    })
}

impl Part {
    /// The stream called `name`, of the given kind where one is given.
    pub(crate) fn stream(&self, index: usize) -> Result<&crate::manifest::StreamRecord, VaultError> {
        self.streams.get(index).ok_or(VaultError::Internal("streams are counted from the listing"))
    }
}

/// Which run's key opens a frame.
pub(crate) type RunKeyring = HashMap<RunId, SealKey>;
