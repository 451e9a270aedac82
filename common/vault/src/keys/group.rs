//! The keys of a group, which its hosts share so that they deduplicate against each other.

use lifeboat_core::Sha256Digest;
use lifeboat_core::random::Entropy;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::format::roster::Group;
use crate::format::seal::SealKey;
use crate::ids::{GroupId, from_cbor, to_cbor};

/// The keys of one group of hosts that deduplicate against each other.
#[derive(Clone)]
pub(crate) struct GroupKeys {
    /// The group.
    pub(crate) id: GroupId,
    pub(crate) chunk_id_key: Zeroizing<[u8; 32]>,
    pub(crate) chunker_seed: Zeroizing<[u8; 32]>,
    pub(crate) index_key: SealKey,
}

/// A group's index key: it opens names, sizes and the set of frames that a snapshot needs.
#[derive(Debug, Clone)]
pub(crate) struct GroupView {
    pub(crate) id: GroupId,
    pub(crate) index_key: SealKey,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct GroupKeysRecord {
    #[n(0)]
    group: GroupId,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    chunk_id_key: [u8; 32],
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    chunker_seed: [u8; 32],
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    index_key: [u8; 32],
}

/// The part of a group's keys that a keeper gets.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
#[cbor(map)]
struct IndexKeyRecord {
    #[n(0)]
    #[zeroize(skip)]
    group: GroupId,
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    index_key: [u8; 32],
}

/// Parses the result of [`GroupKeys::index_to_cbor`].
pub(crate) fn index_key_from_cbor(bytes: &[u8]) -> Option<(GroupId, SealKey)> {
    let record: IndexKeyRecord = from_cbor(bytes).ok()?;
    Some((record.group, SealKey::from_bytes(&record.index_key)))
}

impl From<&GroupKeys> for GroupView {
    fn from(keys: &GroupKeys) -> Self {
        Self { id: keys.id, index_key: keys.index_key.clone() }
    }
}

impl GroupKeys {
    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        Self {
            id: GroupId::random(entropy),
            chunk_id_key: Zeroizing::new(entropy.array()),
            chunker_seed: Zeroizing::new(entropy.array()),
            index_key: SealKey::random(entropy),
        }
    }

    pub(crate) fn from_parts(
        id: GroupId,
        chunk_id_key: Zeroizing<[u8; 32]>,
        chunker_seed: Zeroizing<[u8; 32]>,
        index_key: &Zeroizing<[u8; 32]>,
    ) -> Self {
        Self { id, chunk_id_key, chunker_seed, index_key: SealKey::from_bytes(index_key) }
    }

    /// The form that is wrapped.
    pub(crate) fn to_cbor(&self) -> Zeroizing<Vec<u8>> {
        let mut record = GroupKeysRecord {
            group: self.id,
            chunk_id_key: *self.chunk_id_key,
            chunker_seed: *self.chunker_seed,
            index_key: *self.index_key.as_bytes(),
        };
        let bytes = Zeroizing::new(to_cbor(&record));
        record.wipe();
        bytes
    }

    /// The index key alone, in the form that is wrapped to a keeper.
    pub(crate) fn index_to_cbor(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(to_cbor(&IndexKeyRecord { group: self.id, index_key: *self.index_key.as_bytes() }))
    }

    /// The group's entry in the roster.
    pub(crate) fn listed(&self) -> Group {
        let index_commitment = Sha256Digest::from_bytes(self.index_key.commitment());
        Group { id: self.id, commitment: self.commitment(), index_commitment }
    }

    pub(crate) fn from_cbor(bytes: &[u8]) -> Option<Self> {
        let mut record: GroupKeysRecord = from_cbor(bytes).ok()?;
        let keys = Self {
            id: record.group,
            chunk_id_key: Zeroizing::new(record.chunk_id_key),
            chunker_seed: Zeroizing::new(record.chunker_seed),
            index_key: SealKey::from_bytes(&record.index_key),
        };
        record.wipe();
        Some(keys)
    }

    /// A value in the roster that distinguishes the group's true keys from ones that a provider made up.
    pub(crate) fn commitment(&self) -> Sha256Digest {
        Sha256Digest::from_bytes(blake3::derive_key("lifeboat v0 group key commitment", &self.to_cbor()))
    }
}

impl GroupKeysRecord {
    fn wipe(&mut self) {
        use zeroize::Zeroize;
        self.chunk_id_key.zeroize();
        self.chunker_seed.zeroize();
        self.index_key.zeroize();
    }
}

impl std::fmt::Debug for GroupKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GroupKeys({}, redacted)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;

    #[test]
    fn group_keys_survive_their_wrapped_form_and_commit_to_themselves() {
        let keys = GroupKeys::random(&OsEntropy);
        let again = GroupKeys::from_cbor(&keys.to_cbor()).unwrap();
        assert_eq!(keys.commitment(), again.commitment());
        assert_ne!(keys.commitment(), GroupKeys::random(&OsEntropy).commitment());
        assert!(!format!("{keys:?}").contains(&hex::encode(*keys.chunk_id_key)));
    }
}
