//! What can be checked of snapshots without a key to open them: who signed each, in which order, and who signed it
//! besides the host that wrote it.
//!
//! A countersignature is a separate object beside the manifest, named by the hash of its bytes. It signs the manifest's
//! payload, byte for byte, so that one statement has several signers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_store::{Entry, StoreError};
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::key::VerificationKey;

use crate::error::{ObjectError, Read, VaultError};
use crate::format::layout::{self, cap};
use crate::format::manifest::{self, Manifest};
use crate::ids::WriterId;
use crate::repository::objects::hash_of;
use crate::repository::open::Repository;

/// The largest countersignature that is read, in bytes: the manifest's payload in base64, and the overhead of a bundle.
const MAX_COUNTERSIGNATURE: u64 = 2 * cap::MANIFEST;

/// How many countersignatures of one snapshot are read.
const MAX_COUNTERSIGNATURES: usize = 256;

/// The largest size, in bytes, of an object that someone without a key to open snapshots needs to check one: a roster.
pub const MOST_OF_A_PUBLIC_OBJECT: u64 = cap::ROSTER;

/// A snapshot's signed manifest, which can be checked without a key.
#[derive(Debug, Clone)]
pub struct SignedManifest {
    manifest: Manifest,
    key: VerificationKey,
    envelope: Vec<u8>,
    payload: Vec<u8>,
}

/// Every manifest of a repository, each checked with the key of its writer on the roster.
#[derive(Debug)]
pub struct ManifestChain {
    /// Those that verify, by writer and sequence.
    manifests: BTreeMap<WriterId, BTreeMap<u64, SignedManifest>>,
    /// Snapshots that an authorised signer asked to forget: they may be gone.
    forgotten: BTreeSet<(WriterId, u64)>,
    /// The writers that were removed.
    removed: BTreeSet<WriterId>,
    /// Why other manifests do not verify.
    pub unreadable: Vec<ObjectError>,
}

/// Why the manifests of a writer do not follow each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A manifest names a predecessor other than the existing one.
    #[error("snapshot {sequence} of writer {writer} names {} as the one before it, but {found} is", named(*expected))]
    OtherPredecessor {
        /// The writer.
        writer: WriterId,
        /// The snapshot that names a predecessor.
        sequence: u64,
        /// The predecessor that it names.
        expected: Option<Sha256Digest>,
        /// The snapshot that exists.
        found: Sha256Digest,
    },
    /// A manifest is missing between others.
    #[error("snapshot {sequence} of writer {writer} is missing, but later ones exist")]
    Gap {
        /// The writer.
        writer: WriterId,
        /// The snapshot that is missing.
        sequence: u64,
    },
}

fn named(digest: Option<Sha256Digest>) -> String {
    digest.map_or("none".to_owned(), |digest| digest.to_string())
}

impl SignedManifest {
    /// The snapshot's id: the hash of the payload.
    pub fn id(&self) -> Sha256Digest {
        self.manifest.id
    }

    /// Who wrote it.
    pub fn writer(&self) -> WriterId {
        self.manifest.predicate.writer
    }

    /// The writer's key, which the signature was checked with.
    pub fn key(&self) -> &VerificationKey {
        &self.key
    }

    /// Its number in the writer's sequence.
    pub fn sequence(&self) -> u64 {
        self.manifest.predicate.sequence
    }

    /// When it was taken, by the writer's clock.
    pub fn time(&self) -> Timestamp {
        self.manifest.predicate.time
    }

    /// Whether something that should have been captured is missing.
    pub fn is_incomplete(&self) -> bool {
        self.manifest.predicate.incomplete
    }

    /// The hash of the sealed part, which is the statement's subject.
    pub fn part(&self) -> Sha256Digest {
        self.manifest.part
    }

    /// The statement's bytes, as they were signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The envelope's bytes, in their stored form.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    fn folder(&self) -> String {
        format!("{}.sig", layout::snapshot(self.writer(), self.sequence()))
    }
}

impl ManifestChain {
    /// All manifests that verify, oldest first within each writer.
    pub fn manifests(&self) -> impl Iterator<Item = &SignedManifest> {
        self.manifests.values().flat_map(BTreeMap::values)
    }

    /// The newest snapshot of each writer.
    pub fn heads(&self) -> impl Iterator<Item = &SignedManifest> {
        self.manifests.values().filter_map(|of_writer| of_writer.values().next_back())
    }

    /// The snapshot of a writer with this sequence.
    pub fn at(&self, writer: WriterId, sequence: u64) -> Option<&SignedManifest> {
        self.manifests.get(&writer)?.get(&sequence)
    }

    /// The snapshot that `name` refers to: an id, a unique prefix of one, or `latest`. That is the newest of the one
    /// writer whose id begins with `writer`; without `writer`, of the only writer, with removed writers considered
    /// last.
    pub fn find(&self, name: &str, writer: Option<&str>) -> Result<&SignedManifest, VaultError> {
        let missing = || VaultError::NoSuchSnapshot { wanted: name.to_owned(), among: String::new() };
        let is_meant = |m: &&SignedManifest| writer.is_none_or(|id| m.writer().to_string().starts_with(id));
        let candidates: Vec<&SignedManifest> = if name == "latest" {
            let mut heads: Vec<&SignedManifest> = self.heads().filter(is_meant).collect();
            if heads.iter().any(|head| !self.removed.contains(&head.writer())) {
                heads.retain(|head| !self.removed.contains(&head.writer()));
            }
            heads
        } else {
            let is_prefix = name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit());
            let is_it = |m: &&SignedManifest| is_prefix && m.id().to_string().starts_with(name);
            self.manifests().filter(is_it).filter(is_meant).collect()
        };
        match candidates.as_slice() {
            [] => Err(missing()),
            [one] => Ok(one),
            several => Err(VaultError::AmbiguousSnapshot {
                wanted: name.to_owned(),
                candidates: several.iter().map(|m| m.id().to_string()[..20].to_owned()).collect(),
            }),
        }
    }

    /// Checks that the snapshots of a writer follow each other up to its newest. Only those with a request to forget
    /// may be missing in between.
    pub fn check(&self, writer: WriterId) -> Result<(), BrokenChain> {
        let Some(manifests) = self.manifests.get(&writer) else { return Ok(()) };
        let mut before: Option<&SignedManifest> = None;
        for (sequence, manifest) in manifests {
            if let Some(before) = before {
                let mut between = before.sequence() + 1..*sequence;
                if let Some(sequence) = between.clone().find(|n| !self.forgotten.contains(&(writer, *n))) {
                    return Err(BrokenChain::Gap { writer, sequence });
                }
                let is_next = between.next().is_none();
                let expected = manifest.manifest.predicate.previous;
                if is_next && expected != Some(before.id()) {
                    let (sequence, found) = (*sequence, before.id());
                    return Err(BrokenChain::OtherPredecessor { writer, sequence, expected, found });
                }
            }
            before = Some(manifest);
        }
        Ok(())
    }
}

impl ManifestChain {
    /// Reads every manifest of every writer on the roster, and checks each. No key is needed.
    pub async fn read(repository: &Repository) -> Result<Self, VaultError> {
        let writers = repository.roster.writers.iter();
        let mut chain = Self {
            manifests: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            removed: writers.filter(|writer| writer.revoked.is_some()).map(|writer| writer.id).collect(),
            unreadable: Vec::new(),
        };
        for writer in &repository.roster.writers {
            let key = writer
                .verification_key()
                .ok_or(VaultError::Internal("a verified roster contains whole keys"))?;
            for entry in repository.objects_below(&layout::snapshots_of(writer.id)).await? {
                let Some(sequence) = layout::sequence_of(&entry.key) else { continue };
                let place = manifest::Place {
                    repository: repository.id,
                    writer: writer.id,
                    group: writer.group,
                    sequence,
                };
                match SignedManifest::read(repository, &entry.key, &key, &place).await? {
                    Ok(manifest) => {
                        chain.manifests.entry(writer.id).or_default().insert(sequence, manifest);
                    }
                    Err(error) => chain.unreadable.push(error),
                }
            }
            for entry in repository.objects_below(&layout::forget_of(writer.id)).await? {
                let Some(sequence) = layout::sequence_of(&entry.key) else { continue };
                match repository.request(writer, sequence).await? {
                    Ok(_) => {
                        chain.forgotten.insert((writer.id, sequence));
                    }
                    Err(error) => chain.unreadable.push(error),
                }
            }
        }
        Ok(chain)
    }
}

impl SignedManifest {
    async fn read(
        repository: &Repository,
        name: &str,
        key: &VerificationKey,
        place: &manifest::Place,
    ) -> Read<Self> {
        let read = repository.read(name, cap::MANIFEST).await?;
        Ok(read.and_then(|bytes| {
            let manifest =
                manifest::verify(&bytes, key, place).map_err(|reason| ObjectError::damaged(name, reason))?;
            let envelope =
                Envelope::from_json(&bytes).map_err(|reason| ObjectError::damaged(name, reason))?;
            Ok(Self { manifest, key: key.clone(), envelope: bytes.to_vec(), payload: envelope.payload })
        }))
    }

    /// The countersignatures of a snapshot, by the names of their objects: the bytes, which have the hash in the name,
    /// or what is wrong with the object. Judging them is up to the caller.
    pub async fn countersignatures(
        &self,
        repository: &Repository,
    ) -> Result<Vec<(String, Result<Bytes, ObjectError>)>, VaultError> {
        let mut found = Vec::new();
        for entry in repository.objects_below(&self.folder()).await?.into_iter().take(MAX_COUNTERSIGNATURES) {
            let Some(hash) = hash_of(&entry.key) else { continue };
            let read = repository.read_hashed(&entry.key, &hash, MAX_COUNTERSIGNATURE).await?;
            found.push((entry.key, read));
        }
        Ok(found)
    }

    /// All objects, by name, that someone without a key to open it needs to check a snapshot: the marker, the rosters,
    /// every manifest and request of a writer on the roster, and the snapshot's countersignatures, each whether it is
    /// whole or not. [`Repository::of_public_objects`] turns them into a repository again. `None` if they exceed `most`
    /// bytes in total.
    pub async fn public_objects(
        &self,
        repository: &Repository,
        most: u64,
    ) -> Result<Option<Vec<(String, Bytes)>>, VaultError> {
        let mut wanted = vec![(layout::MARKER.to_owned(), cap::MARKER)];
        let mut add = |entries: Vec<Entry>, most: u64| {
            wanted.extend(entries.into_iter().map(|entry| (entry.key, most)));
        };
        let numbered = |mut entries: Vec<Entry>| {
            entries.retain(|entry| layout::sequence_of(&entry.key).is_some());
            entries
        };
        add(repository.objects_below(layout::ROSTERS).await?, cap::ROSTER);
        for writer in &repository.roster.writers {
            add(numbered(repository.objects_below(&layout::snapshots_of(writer.id)).await?), cap::MANIFEST);
            add(numbered(repository.objects_below(&layout::forget_of(writer.id)).await?), cap::FORGET);
        }
        let countersignatures = repository.objects_below(&self.folder()).await?;
        add(countersignatures.into_iter().take(MAX_COUNTERSIGNATURES).collect(), MAX_COUNTERSIGNATURE);
        let (mut objects, mut room) = (Vec::new(), most);
        for (name, most) in wanted {
            match repository.store.read(&name, most).await {
                Ok(bytes) => {
                    let Some(left) = room.checked_sub(bytes.len() as u64) else { return Ok(None) };
                    room = left;
                    objects.push((name, bytes));
                }
                // An object that is gone or too large is treated as missing.
                Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(objects))
    }

    /// Stores a countersignature, and returns the name of its object.
    pub async fn add_countersignature(
        &self,
        repository: &Repository,
        bytes: Vec<u8>,
    ) -> Result<String, VaultError> {
        let name = format!("{}/{}", self.folder(), Sha256Digest::of(&bytes));
        repository.store.create(&name, bytes.into()).await?;
        Ok(name)
    }
}
