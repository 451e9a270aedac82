//! The roster: who may do what, signed by the root key, each version naming the one before by its hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::key::{SigningKey, VerificationKey};
use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, RepositoryId, WriterId};

const PAYLOAD_TYPE: &str = "application/vnd.lifeboat.roster.v0+json";

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
    /// The backup hosts.
    pub(crate) writers: Vec<Writer>,
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
}

/// A backup host and its verification key, base64 of its `SubjectPublicKeyInfo`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Writer {
    pub(crate) id: WriterId,
    pub(crate) group: GroupId,
    pub(crate) key: String,
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
        Ok(claimed)
    }

    fn root_key(&self) -> Option<VerificationKey> {
        parse_key(&self.root_key)
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
        let other_repository = Roster { repository: other_hash, ..roster(&root, 0, None) };
        assert_eq!(refused(&other_repository.sign(&root), None), RosterError::OtherRepository(other_hash));
    }
}
