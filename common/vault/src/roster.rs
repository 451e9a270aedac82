//! The roster: who may do what, signed by the root key, each version naming the one before by its hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::key::{SigningKey, VerificationKey};
use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, KeeperId, RepositoryId, Signer, WriterId};

pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.lifeboat.roster.v0+json";

/// The features of this format that a roster may require; one that requires another is refused.
const KNOWN_FEATURES: &[&str] = &[];

/// One version of the roster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Roster {
    /// The format version.
    pub(crate) format: u8,
    /// The repository's id.
    pub(crate) repository: RepositoryId,
    /// Which version this is, from 0.
    pub(crate) number: u64,
    /// SHA-256 of the stored bytes of the version before.
    pub(crate) previous: Option<Sha256Digest>,
    /// When it was made, as the maker's clock had it.
    pub(crate) time: Timestamp,
    /// The root verification key, base64 of its `SubjectPublicKeyInfo`.
    pub(crate) root_key: String,
    /// Who can open the repository.
    pub(crate) recipients: Vec<RosterRecipient>,
    /// Whom run keys are wrapped to, by epoch; the last one is the current one.
    pub(crate) epochs: Vec<Epoch>,
    /// The groups of hosts.
    pub(crate) groups: Vec<Group>,
    /// The backup hosts, also those that were removed.
    pub(crate) writers: Vec<Writer>,
    /// Who checks and prunes, also those who were removed.
    pub(crate) keepers: Vec<Keeper>,
    /// What is kept whatever a writer or a keeper asks.
    pub(crate) floor: Floor,
    /// Features that a reader must know.
    pub(crate) required: Vec<String>,
}

/// What no request to forget goes below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// A snapshot is kept for this many days after it was stored, by the storage's clock.
    pub days: u32,
    /// This many of a writer's newest snapshots are kept.
    pub snapshots: u32,
}

impl Default for Floor {
    /// The newest snapshot of every writer is kept.
    fn default() -> Self {
        Self { days: 0, snapshots: 1 }
    }
}

/// A recovery recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RosterRecipient {
    pub(crate) id: String,
    pub(crate) recipient: String,
}

/// A time between two rotations of the data identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Epoch {
    pub(crate) epoch: u32,
    pub(crate) recipient: String,
}

/// A group and how its true keys are known.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) commitment: Sha256Digest,
    /// The same for the index key alone, which is all that a keeper has.
    pub(crate) index_commitment: Sha256Digest,
}

/// A backup host and its verification key, base64 of its `SubjectPublicKeyInfo`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Writer {
    pub(crate) id: WriterId,
    pub(crate) group: GroupId,
    pub(crate) key: String,
    /// Set when the writer was removed: what it signs from then on does not count.
    pub(crate) revoked: Option<Revocation>,
}

/// Where the trust in a removed writer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revocation {
    /// Its last snapshot that counts; none of them does where this is absent.
    pub(crate) last: Option<Head>,
}

/// One snapshot of a writer: its place in the chain and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) id: Sha256Digest,
}

/// A keeper: its verification key, and the age recipient that index keys are wrapped to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Keeper {
    pub(crate) id: KeeperId,
    pub(crate) key: String,
    pub(crate) recipient: String,
    /// Set when the keeper was removed: what it signs from then on does not count.
    pub(crate) removed: Option<RemovedKeeper>,
}

/// What still counts of a removed keeper's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemovedKeeper {
    /// The contents objects that it had signed.
    pub(crate) contents: Vec<Sha256Digest>,
}

/// Why a roster is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RosterError {
    #[error("{0}")]
    Envelope(String),
    #[error("it does not decode: {0}")]
    Malformed(String),
    #[error("its root key is not the one that the repository is named after")]
    OtherRoot,
    #[error("it belongs to repository {0}")]
    OtherRepository(RepositoryId),
    #[error("it is number {found}, where number {expected} was expected")]
    OtherNumber { expected: u64, found: u64 },
    #[error("it does not follow the roster before it")]
    BrokenChain,
    #[error("its format version is {0}")]
    OtherFormat(u8),
    #[error("the key of {0} on it is no key")]
    BadKey(Signer),
    #[error("it requires `{0}`, which this version of Lifeboat does not know")]
    UnknownFeature(String),
}

impl Roster {
    /// The stored bytes of this version, signed by the root.
    pub(crate) fn sign(&self, root: &SigningKey) -> Vec<u8> {
        let payload = serde_json::to_vec(self).expect("a roster is strings and numbers");
        Envelope::sign(PAYLOAD_TYPE, payload, root).to_json()
    }

    /// Checks one version against the repository's name and the version before it.
    pub(crate) fn verify(
        bytes: &[u8],
        repository: &RepositoryId,
        before: Option<(&Self, Sha256Digest)>,
    ) -> Result<Self, RosterError> {
        let envelope =
            Envelope::from_json(bytes).map_err(|error| RosterError::Envelope(error.to_string()))?;
        // The root key stands in the roster itself; what makes it the root is that the repository is named after it.
        let claimed: Self = serde_json::from_slice(&envelope.payload)
            .map_err(|error| RosterError::Malformed(error.to_string()))?;
        let root = claimed.root_key().ok_or(RosterError::OtherRoot)?;
        if root.id() != *repository {
            return Err(RosterError::OtherRoot);
        }
        envelope.verify(PAYLOAD_TYPE, &root).map_err(|error| RosterError::Envelope(error.to_string()))?;
        if claimed.format != crate::FORMAT_VERSION {
            return Err(RosterError::OtherFormat(claimed.format));
        }
        if let Some(unknown) = claimed.required.iter().find(|f| !KNOWN_FEATURES.contains(&f.as_str())) {
            return Err(RosterError::UnknownFeature(unknown.clone()));
        }
        if claimed.repository != *repository {
            return Err(RosterError::OtherRepository(claimed.repository));
        }
        let expected = before.map_or(0, |(before, _)| before.number + 1);
        if claimed.number != expected {
            return Err(RosterError::OtherNumber { expected, found: claimed.number });
        }
        if claimed.previous != before.map(|(_, hash)| hash) {
            return Err(RosterError::BrokenChain);
        }
        let writers = claimed.writers.iter().map(|writer| (Signer::Writer(writer.id), &writer.key));
        let keepers = claimed.keepers.iter().map(|keeper| (Signer::Keeper(keeper.id), &keeper.key));
        match writers.chain(keepers).find(|(_, key)| parse_key(key).is_none()) {
            Some((signer, _)) => Err(RosterError::BadKey(signer)),
            None => Ok(claimed),
        }
    }

    /// The root verification key; a verified roster has one.
    pub(crate) fn root_key(&self) -> Option<VerificationKey> {
        parse_key(&self.root_key)
    }

    /// The key of someone whom this roster ever knew, also one who was removed: what it stored before stays readable.
    pub(crate) fn key_of(&self, signer: Signer) -> Option<VerificationKey> {
        match signer {
            Signer::Writer(id) => self.writer(id)?.verification_key(),
            Signer::Keeper(id) => parse_key(&self.keeper(id)?.key),
            Signer::Root => self.root_key(),
        }
    }

    /// The key of someone who may condemn today.
    pub(crate) fn pruning_key_of(&self, signer: Signer) -> Option<VerificationKey> {
        match signer {
            Signer::Writer(_) => None,
            Signer::Keeper(id) => {
                self.keeper(id).filter(|keeper| keeper.removed.is_none()).and_then(Keeper::verification_key)
            }
            Signer::Root => self.root_key(),
        }
    }

    /// The epoch that run keys are wrapped to today.
    pub(crate) fn epoch(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    pub(crate) fn keeper(&self, id: KeeperId) -> Option<&Keeper> {
        self.keepers.iter().find(|keeper| keeper.id == id)
    }

    pub(crate) fn writer(&self, id: WriterId) -> Option<&Writer> {
        self.writers.iter().find(|writer| writer.id == id)
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// Which version this is, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What no request to forget goes below.
    pub fn floor(&self) -> Floor {
        self.floor
    }
}

impl Keeper {
    pub(crate) fn verification_key(&self) -> Option<VerificationKey> {
        parse_key(&self.key)
    }
}

impl Writer {
    pub(crate) fn verification_key(&self) -> Option<VerificationKey> {
        parse_key(&self.key)
    }
}

/// The form in which keys stand in a roster.
pub(crate) fn key_text(key: &VerificationKey) -> String {
    STANDARD.encode(key.to_spki_der())
}

fn parse_key(text: &str) -> Option<VerificationKey> {
    VerificationKey::from_spki_der(&STANDARD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(root: &SigningKey, number: u64, previous: Option<Sha256Digest>) -> Roster {
        Roster {
            format: crate::FORMAT_VERSION,
            repository: root.verification_key().id(),
            number,
            previous,
            time: Timestamp::UNIX_EPOCH,
            root_key: key_text(root.verification_key()),
            recipients: Vec::new(),
            epochs: Vec::new(),
            groups: Vec::new(),
            writers: Vec::new(),
            keepers: Vec::new(),
            floor: Floor::default(),
            required: Vec::new(),
        }
    }

    #[test]
    fn a_chain_of_rosters_is_followed_and_every_break_in_it_found() {
        let root = SigningKey::generate();
        let id = root.verification_key().id();
        let first_bytes = roster(&root, 0, None).sign(&root);
        let first = Roster::verify(&first_bytes, &id, None).unwrap();
        let hash = Sha256Digest::of(&first_bytes);
        let second = roster(&root, 1, Some(hash)).sign(&root);
        Roster::verify(&second, &id, Some((&first, hash))).unwrap();

        let refused = |bytes: &[u8], before| Roster::verify(bytes, &id, before).unwrap_err();
        assert_eq!(refused(&second, None), RosterError::OtherNumber { expected: 0, found: 1 });
        let other_hash = Sha256Digest::of(b"other");
        assert_eq!(refused(&second, Some((&first, other_hash))), RosterError::BrokenChain);

        let forger = SigningKey::generate();
        assert_eq!(refused(&roster(&forger, 0, None).sign(&forger), None), RosterError::OtherRoot);
        assert!(matches!(refused(&roster(&root, 0, None).sign(&forger), None), RosterError::Envelope(_)));
        let novel = Roster { required: vec!["novelty".to_owned()], ..roster(&root, 0, None) };
        assert_eq!(refused(&novel.sign(&root), None), RosterError::UnknownFeature("novelty".to_owned()));
        let id_of_nobody = WriterId::from_bytes([1; 16]);
        let key = STANDARD.encode(b"no key");
        let nobody = Writer { id: id_of_nobody, group: GroupId::from_bytes([2; 16]), key, revoked: None };
        let keyless = Roster { writers: vec![nobody], ..roster(&root, 0, None) };
        let expected = RosterError::BadKey(Signer::Writer(id_of_nobody));
        assert_eq!(refused(&keyless.sign(&root), None), expected);
        let other_repository = Roster { repository: other_hash, ..roster(&root, 0, None) };
        assert_eq!(refused(&other_repository.sign(&root), None), RosterError::OtherRepository(other_hash));
    }
}
