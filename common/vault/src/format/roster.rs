//! The roster: the members and their rights, signed by the root key; each version names the one before by its hash.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::key::{SigningKey, VerificationKey};
use serde::{Deserialize, Serialize};

use crate::format::floor::Floor;
use crate::format::member_name::{self, MemberName};
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
    /// The number of this version, from 0.
    pub(crate) number: u64,
    /// SHA-256 of the stored bytes of the version before.
    pub(crate) previous: Option<Sha256Digest>,
    /// When it was made, by the maker's clock.
    pub(crate) time: Timestamp,
    /// The root verification key, base64 of its `SubjectPublicKeyInfo`.
    pub(crate) root_key: String,
    /// The recipients that can open the repository.
    pub(crate) recipients: Vec<RosterRecipient>,
    /// The recipients that run keys are wrapped to, by epoch; the last one is current.
    pub(crate) epochs: Vec<Epoch>,
    /// The groups of hosts.
    pub(crate) groups: Vec<Group>,
    /// The backup hosts, including removed ones.
    pub(crate) writers: Vec<Writer>,
    /// The keepers, including removed ones.
    pub(crate) keepers: Vec<Keeper>,
    /// The minimum that is kept regardless of requests by writers and keepers.
    pub(crate) floor: Floor,
    /// Features that a reader must support.
    pub(crate) required: Vec<String>,
}

/// A recovery recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RosterRecipient {
    pub(crate) id: String,
    pub(crate) recipient: String,
    #[serde(default, deserialize_with = "member_name::lenient", skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<MemberName>,
}

/// A time between two rotations of the data identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Epoch {
    pub(crate) epoch: u32,
    pub(crate) recipient: String,
}

/// A group and the commitments to its true keys.
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
    #[serde(default, deserialize_with = "member_name::lenient", skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<MemberName>,
    /// Set if the writer was removed: what it signs from then on does not count.
    pub(crate) revoked: Option<Revocation>,
}

/// The end of the trust in a removed writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revocation {
    /// Its last snapshot that counts; `None` if none does.
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
    #[serde(default, deserialize_with = "member_name::lenient", skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<MemberName>,
    /// Set if the keeper was removed: what it signs from then on does not count.
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
    #[error("{0}")]
    Inconsistent(String),
    #[error("its format version is {0}")]
    OtherFormat(u8),
    #[error("the key of {0} on it is invalid")]
    BadKey(Signer),
    #[error("it requires `{0}`, which this version of Lifeboat does not support")]
    UnknownFeature(String),
}

impl RosterError {
    /// Whether the root signed the refused roster, so that no older roster may be used instead.
    pub(crate) fn is_of_the_root(&self) -> bool {
        match self {
            Self::OtherFormat(_)
            | Self::UnknownFeature(_)
            | Self::BadKey(_)
            | Self::Inconsistent(_)
            | Self::BrokenChain => true,
            Self::Envelope(_)
            | Self::Malformed(_)
            | Self::OtherRoot
            | Self::OtherRepository(_)
            | Self::OtherNumber { .. } => false,
        }
    }
}

/// The fields of a roster that are read before its signature is checked.
#[derive(Deserialize)]
struct Claimed {
    format: u8,
    root_key: String,
    required: Vec<String>,
}

/// The first id that occurs twice.
fn repeated<T: Ord + ToString>(ids: impl Iterator<Item = T>) -> Option<String> {
    let mut seen = BTreeSet::new();
    ids.into_iter().find_map(|id| {
        if seen.contains(&id) {
            Some(id.to_string())
        } else {
            seen.insert(id);
            None
        }
    })
}

/// A key of the roster as PEM (RFC 7468).
pub(crate) fn pem_of(base64: &str) -> String {
    let der = STANDARD.decode(base64).unwrap_or_default();
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("PUBLIC KEY", der), lines)
}

impl Roster {
    /// The root verification key as PEM: its hash is the repository's id.
    pub fn root_key_pem(&self) -> String {
        pem_of(&self.root_key)
    }

    /// The stored bytes of this version, signed by the root.
    pub(crate) fn sign(&self, root: &SigningKey) -> Vec<u8> {
        let payload = serde_json::to_vec(self).expect("a roster is strings and numbers");
        Envelope::sign(PAYLOAD_TYPE, payload, root).to_json()
    }

    /// Checks that the root signed this version, and that its number is this one. [`Roster::follows`] checks which
    /// version comes before it.
    pub(crate) fn verify(bytes: &[u8], repository: &RepositoryId, number: u64) -> Result<Self, RosterError> {
        let envelope =
            Envelope::from_json(bytes).map_err(|error| RosterError::Envelope(error.to_string()))?;
        let malformed = |error: serde_json::Error| RosterError::Malformed(error.to_string());
        // The root key is in the roster itself; it is the root because the repository is named after it. Before the
        // signature is checked, just enough is read to distinguish a later format from damage.
        let claimed: Claimed = serde_json::from_slice(&envelope.payload).map_err(malformed)?;
        let root = parse_key(&claimed.root_key).ok_or(RosterError::OtherRoot)?;
        if root.id() != *repository {
            return Err(RosterError::OtherRoot);
        }
        envelope.verify(PAYLOAD_TYPE, &root).map_err(|error| RosterError::Envelope(error.to_string()))?;
        if claimed.format != crate::format::FORMAT_VERSION {
            return Err(RosterError::OtherFormat(claimed.format));
        }
        if let Some(unknown) = claimed.required.iter().find(|f| !KNOWN_FEATURES.contains(&f.as_str())) {
            return Err(RosterError::UnknownFeature(unknown.clone()));
        }
        let claimed: Self = serde_json::from_slice(&envelope.payload).map_err(malformed)?;
        if claimed.repository != *repository {
            return Err(RosterError::OtherRepository(claimed.repository));
        }
        if claimed.number != number {
            return Err(RosterError::OtherNumber { expected: number, found: claimed.number });
        }
        if claimed.previous.is_some() != (number > 0) {
            return Err(RosterError::BrokenChain);
        }
        let writers = claimed.writers.iter().map(|writer| (Signer::Writer(writer.id), &writer.key));
        let keepers = claimed.keepers.iter().map(|keeper| (Signer::Keeper(keeper.id), &keeper.key));
        match writers.chain(keepers).find(|(_, key)| parse_key(key).is_none()) {
            Some((signer, _)) => Err(RosterError::BadKey(signer)),
            None => claimed.is_consistent().map_err(RosterError::Inconsistent).map(|()| claimed),
        }
    }

    /// Checks that no member is on the roster twice, and that every writer's group exists.
    fn is_consistent(&self) -> Result<(), String> {
        let twice = |what: &str, id: Option<String>| match id {
            Some(id) => Err(format!("it lists {what} {id} twice")),
            None => Ok(()),
        };
        twice("writer", repeated(self.writers.iter().map(|writer| writer.id)))?;
        twice("keeper", repeated(self.keepers.iter().map(|keeper| keeper.id)))?;
        twice("group", repeated(self.groups.iter().map(|group| group.id)))?;
        twice("recipient", repeated(self.recipients.iter().map(|recipient| &recipient.id)))?;
        if let Some(writer) = self.writers.iter().find(|writer| self.group(writer.group).is_none()) {
            return Err(format!(
                "it puts writer {} into group {}, which it does not list",
                writer.id, writer.group
            ));
        }
        let out_of_order = (0..).zip(&self.epochs).find(|(number, epoch)| *number != epoch.epoch);
        match out_of_order {
            Some((number, epoch)) => {
                Err(format!("it lists epoch {} in the place of epoch {number}", epoch.epoch))
            }
            None => Ok(()),
        }
    }

    /// Whether this version can come after `before`, directly or later: members are added and removed, but neither
    /// change nor vanish. Otherwise a roster could let someone sign as another host, or make a host's snapshots vanish.
    pub(crate) fn follows(&self, before: &Self) -> Result<(), RosterError> {
        let refuse = |what: String| Err(RosterError::Inconsistent(what));
        let number = before.number;
        for old in &before.writers {
            match self.writer(old.id) {
                None => {
                    return refuse(format!("it does not list writer {}, who is on roster {number}", old.id));
                }
                Some(new) if new.key != old.key || new.group != old.group => {
                    return refuse(format!(
                        "it gives writer {} another key or group than roster {number}",
                        old.id
                    ));
                }
                Some(new) if old.revoked.is_some() && new.revoked != old.revoked => {
                    return refuse(format!(
                        "it changes where the trust in writer {} ended by roster {number}",
                        old.id
                    ));
                }
                Some(_) => {}
            }
        }
        for old in &before.keepers {
            match self.keeper(old.id) {
                None => {
                    return refuse(format!("it does not list keeper {}, who is on roster {number}", old.id));
                }
                Some(new) if new.key != old.key || new.recipient != old.recipient => {
                    return refuse(format!("it gives keeper {} other keys than roster {number}", old.id));
                }
                Some(new) if old.removed.is_some() && new.removed != old.removed => {
                    return refuse(format!("it changes what counts of keeper {} by roster {number}", old.id));
                }
                Some(_) => {}
            }
        }
        for old in &before.groups {
            let same = |new: &Group| {
                new.commitment == old.commitment && new.index_commitment == old.index_commitment
            };
            if !self.group(old.id).is_some_and(same) {
                return refuse(format!("it does not list group {} with the keys of roster {number}", old.id));
            }
        }
        for (place, old) in before.epochs.iter().enumerate() {
            if self.epochs.get(place).is_none_or(|new| new.recipient != old.recipient) {
                return refuse(format!("it does not list epoch {} as roster {number} does", old.epoch));
            }
        }
        Ok(())
    }

    /// The root verification key; a verified roster has one.
    pub(crate) fn root_key(&self) -> Option<VerificationKey> {
        parse_key(&self.root_key)
    }

    /// The key of a signer that this roster lists, including removed ones: what it stored before stays readable.
    pub(crate) fn key_of(&self, signer: Signer) -> Option<VerificationKey> {
        match signer {
            Signer::Writer(id) => self.writer(id)?.verification_key(),
            Signer::Keeper(id) => parse_key(&self.keeper(id)?.key),
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

    /// The number of this version, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it was made, by the maker's clock.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The minimum that requests to forget must leave.
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

/// The form of keys in a roster.
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
            format: crate::format::FORMAT_VERSION,
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

    fn writer(number: u8) -> Writer {
        let key = key_text(SigningKey::generate().verification_key());
        Writer {
            id: WriterId::from_bytes([number; 16]),
            group: GroupId::from_bytes([2; 16]),
            key,
            name: None,
            revoked: None,
        }
    }

    fn group(number: u8) -> Group {
        let commitment = Sha256Digest::of(&[number]);
        Group { id: GroupId::from_bytes([number; 16]), commitment, index_commitment: commitment }
    }

    fn keeper(number: u8) -> Keeper {
        let key = key_text(SigningKey::generate().verification_key());
        Keeper {
            id: KeeperId::from_bytes([number; 16]),
            key,
            recipient: "age1pq1".to_owned(),
            name: None,
            removed: None,
        }
    }

    #[test]
    fn a_roster_counts_when_the_root_signed_it_for_its_number_and_it_is_consistent() {
        let root = SigningKey::generate();
        let id = root.verification_key().id();
        let hash = Some(Sha256Digest::of(b"before"));
        Roster::verify(&roster(&root, 0, None).sign(&root), &id, 0).unwrap();
        Roster::verify(&roster(&root, 1, hash).sign(&root), &id, 1).unwrap();

        let refused = |bytes: &[u8], number| Roster::verify(bytes, &id, number).unwrap_err();
        let second = roster(&root, 1, hash).sign(&root);
        assert_eq!(refused(&second, 2), RosterError::OtherNumber { expected: 2, found: 1 });
        assert_eq!(refused(&roster(&root, 1, None).sign(&root), 1), RosterError::BrokenChain);
        assert_eq!(refused(&roster(&root, 0, hash).sign(&root), 0), RosterError::BrokenChain);
        let forger = SigningKey::generate();
        assert_eq!(refused(&roster(&forger, 0, None).sign(&forger), 0), RosterError::OtherRoot);
        assert!(matches!(refused(&roster(&root, 0, None).sign(&forger), 0), RosterError::Envelope(_)));
        let novel = Roster { required: vec!["novelty".to_owned()], ..roster(&root, 0, None) };
        assert_eq!(refused(&novel.sign(&root), 0), RosterError::UnknownFeature("novelty".to_owned()));
        let nobody = Writer { key: STANDARD.encode(b"no key"), ..writer(1) };
        let expected = RosterError::BadKey(Signer::Writer(nobody.id));
        let keyless = Roster { writers: vec![nobody], ..roster(&root, 0, None) };
        assert_eq!(refused(&keyless.sign(&root), 0), expected);
        let other = Sha256Digest::of(b"other");
        let other_repository = Roster { repository: other, ..roster(&root, 0, None) };
        assert_eq!(refused(&other_repository.sign(&root), 0), RosterError::OtherRepository(other));

        let base = || Roster { groups: vec![group(2)], ..roster(&root, 0, None) };
        let epoch = |epoch| Epoch { epoch, recipient: "age1pq1".to_owned() };
        let person = || RosterRecipient { id: "one".to_owned(), recipient: "age1pq1".to_owned(), name: None };
        for (inconsistent, reason) in [
            (
                Roster { writers: vec![writer(1), writer(1)], ..base() },
                "lists writer 01010101010101010101010101010101 twice",
            ),
            (Roster { keepers: vec![keeper(1), keeper(1)], ..base() }, "lists keeper"),
            (Roster { groups: vec![group(2), group(2)], ..base() }, "lists group"),
            (Roster { recipients: vec![person(), person()], ..base() }, "lists recipient one twice"),
            (Roster { groups: vec![group(3)], writers: vec![writer(1)], ..base() }, "which it does not list"),
            (Roster { epochs: vec![epoch(0), epoch(2)], ..base() }, "epoch 2 in the place of epoch 1"),
        ] {
            let error = refused(&inconsistent.sign(&root), 0);
            assert!(error.is_of_the_root() && error.to_string().contains(reason), "{error}");
        }
    }

    type Row<'r> = (&'r dyn Fn(&mut Roster), &'static str);

    #[test]
    fn members_are_added_and_removed_and_neither_change_nor_vanish() {
        let root = SigningKey::generate();
        let head = Head { sequence: 3, id: Sha256Digest::of(b"three") };
        let removed = Writer { revoked: Some(Revocation { last: Some(head) }), ..writer(2) };
        let gone = Keeper { removed: Some(RemovedKeeper { contents: Vec::new() }), ..keeper(2) };
        let epoch = |text: &str| Epoch { epoch: 0, recipient: text.to_owned() };
        let before = Roster {
            groups: vec![group(2)],
            writers: vec![writer(1), removed.clone()],
            keepers: vec![keeper(1), gone.clone()],
            epochs: vec![epoch("age1pq1")],
            ..roster(&root, 4, None)
        };
        let changed = |change: &dyn Fn(&mut Roster)| {
            let mut after = before.clone();
            change(&mut after);
            after.follows(&before).err().map(|error| error.to_string())
        };
        assert_eq!(changed(&|_| {}), None);
        assert_eq!(changed(&|after| after.writers.push(writer(3))), None);
        assert_eq!(changed(&|after| after.writers[0].revoked = Some(Revocation { last: None })), None);
        assert_eq!(changed(&|after| after.recipients.clear()), None);
        let table: [Row<'_>; 10] = [
            (&|after| drop(after.writers.remove(0)), "does not list writer"),
            (&|after| after.writers[0].key = writer(1).key, "another key or group"),
            (&|after| after.writers[0].group = GroupId::from_bytes([9; 16]), "another key or group"),
            (&|after| after.writers[1].revoked = None, "where the trust in writer"),
            (
                &|after| after.writers[1].revoked = Some(Revocation { last: None }),
                "where the trust in writer",
            ),
            (&|after| drop(after.keepers.remove(0)), "does not list keeper"),
            (&|after| after.keepers[0].key = keeper(1).key, "other keys"),
            (&|after| after.keepers[1].removed = None, "what counts of keeper"),
            (&|after| after.groups[0].commitment = Sha256Digest::of(b"x"), "does not list group"),
            (&|after| after.epochs[0].recipient = "age1pq2".to_owned(), "does not list epoch 0"),
        ];
        for (change, expected) in table {
            let said = changed(change).unwrap_or_default();
            assert!(said.contains(expected), "{expected}: {said:?}");
        }
    }
}
