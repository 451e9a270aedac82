//! Reads and stores the objects of a repository: the size is capped, then hash and signature are checked, then the
//! bytes are parsed. [`authority`](crate::format::authority) decides who may be believed for what.

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_store::{Entry, StoreError};

use crate::error::{ObjectError, Read, VaultError};
use crate::format::authority::{Belief, Word, belief};
use crate::format::layout::{self, cap};
use crate::format::manifest::{self, Manifest, Part};
use crate::format::registration::Registration;
use crate::format::request::Request;
use crate::format::roster::Writer;
use crate::format::run_end::RunEnd;
use crate::format::signed::{self, Body, Pen, SignedObject, SignedObjectError};
use crate::ids::{RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::repository::listing;
use crate::repository::open::Repository;

impl Repository {
    /// The same as [`Self::objects_below`], with what may hide more of them.
    pub(crate) async fn objects_and_gap(
        &self,
        folder: &str,
    ) -> Result<(Vec<Entry>, Option<ObjectError>), StoreError> {
        self.entries_and_gap(folder, |_| true).await
    }

    /// The objects of a folder of numbered objects, and what may hide more of these. What is hidden in a folder beside
    /// them, such as that of a snapshot's countersignatures, hides none.
    pub(crate) async fn numbered_and_gap(
        &self,
        folder: &str,
    ) -> Result<(Vec<Entry>, Option<ObjectError>), StoreError> {
        let below = format!("{folder}/");
        let counts = |place: &str| !place.starts_with(&below) || layout::sequence_of(place).is_some();
        self.entries_and_gap(folder, counts).await
    }

    async fn entries_and_gap(
        &self,
        folder: &str,
        counts: impl Fn(&str) -> bool,
    ) -> Result<(Vec<Entry>, Option<ObjectError>), StoreError> {
        let mut listing = listing::listing(&self.store, folder).await?;
        listing.passed_over.retain(|passed| counts(&passed.place));
        let gap = listing.gap_in(folder).map(ObjectError::out_of_reach);
        Ok((listing.entries, gap))
    }

    /// The objects below a folder, in no order. Objects whose names are not of the format are omitted.
    pub(crate) async fn objects_below(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        listing::listed(&self.store, folder).await
    }

    /// Reads an object of a group whose name is the hash of its bytes and whose signer may be believed for `word`.
    pub(crate) async fn read_signed<T: Body>(
        &self,
        key: &str,
        group: &GroupView,
        word: Word,
    ) -> Read<(Signer, T)> {
        let read = self.read_named::<T>(key).await?;
        Ok(read.and_then(|bytes| self.open_signed(key, group, word, &bytes)))
    }

    /// The same, but distinguishes an invalid object that its signer stored from one that the storage damaged.
    pub(crate) async fn read_stated<T: Body>(
        &self,
        key: &str,
        group: &GroupView,
        word: Word,
    ) -> Read<Result<(Signer, T), SignedObjectError>> {
        let read = self.read_named::<T>(key).await?;
        Ok(read.and_then(|bytes| match self.opened(group, word, &bytes) {
            Err(reason) if !matches!(reason, SignedObjectError::Unsound(..)) => {
                Err(ObjectError::damaged(key, reason))
            }
            stated => Ok(stated),
        }))
    }

    /// Reads an object of a group with any signer known to the group, and returns whether that signer is believed for
    /// `word`.
    pub(crate) async fn read_known<T: Body>(
        &self,
        key: &str,
        group: &GroupView,
        word: Word,
    ) -> Read<(Belief, T)> {
        let key_of = |signer| self.roster.knows(group.id, signer);
        let read = self.read_named::<T>(key).await?;
        Ok(read.and_then(|bytes| {
            let (signer, body) = signed::read::<T>(&self.id, group.id, &group.index_key, key_of, &bytes)
                .map_err(|reason| ObjectError::damaged(key, reason))?;
            Ok((belief(word, signer, self.roster.standing(signer, group.id)), body))
        }))
    }

    /// Checks and opens the bytes of a signed object of a group, whose signer must be believed for `word`.
    pub(crate) fn open_signed<T: Body>(
        &self,
        key: &str,
        group: &GroupView,
        word: Word,
        bytes: &[u8],
    ) -> Result<(Signer, T), ObjectError> {
        self.opened(group, word, bytes).map_err(|reason| ObjectError::damaged(key, reason))
    }

    fn opened<T: Body>(
        &self,
        group: &GroupView,
        word: Word,
        bytes: &[u8],
    ) -> Result<(Signer, T), SignedObjectError> {
        debug_assert_eq!(word.purpose(), T::PURPOSE, "a word is about one kind of object");
        let key_of = |signer| self.roster.believes(word, group.id, signer);
        signed::read(&self.id, group.id, &group.index_key, key_of, bytes)
    }

    /// Reads an object of at most `most` bytes.
    pub(crate) async fn read(&self, key: &str, most: u64) -> Read<Bytes> {
        ObjectError::split(self.store.read(key, most).await)
    }

    /// Reads the bytes of a signed object, which is named by their hash.
    async fn read_named<T: Body>(&self, key: &str) -> Read<Bytes> {
        match hash_in(key) {
            Ok(hash) => self.read_hashed(key, &hash, T::CAP).await,
            Err(error) => Ok(Err(error)),
        }
    }

    /// Signs an object of a group, and checks that readers accept it.
    pub(crate) fn sign<T: Body>(
        &self,
        group: &GroupView,
        pen: Pen<'_>,
        body: &T,
    ) -> Result<SignedObject, VaultError> {
        Ok(signed::sign(&self.id, group.id, &group.index_key, pen, body)?)
    }

    /// The same, and stores it under its name.
    pub(crate) async fn store_signed<T: Body>(
        &self,
        group: &GroupView,
        pen: Pen<'_>,
        body: &T,
    ) -> Result<SignedObject, VaultError> {
        let object = self.sign(group, pen, body)?;
        self.store.create(&object.name, object.bytes.clone()).await?;
        Ok(object)
    }

    /// Stores an object, unless it is larger than readers accept.
    pub(crate) async fn create_within(&self, key: &str, bytes: Vec<u8>, most: u64) -> Result<(), VaultError> {
        check_size(key, &bytes, most)?;
        self.store.create(key, bytes.into()).await?;
        Ok(())
    }

    /// Reads an object that is named by the hash of its bytes.
    pub(crate) async fn read_hashed(&self, key: &str, hash: &Sha256Digest, most: u64) -> Read<Bytes> {
        let read = self.read(key, most).await?;
        Ok(read.and_then(|bytes| {
            let found = Sha256Digest::of(&bytes);
            if found == *hash { Ok(bytes) } else { Err(ObjectError::other_hash(key, hash, &found)) }
        }))
    }

    /// Reads the registration of a run, and its signer.
    pub(crate) async fn registration(
        &self,
        group: &GroupView,
        run: RunId,
        word: Word,
    ) -> Read<(Signer, Registration)> {
        let name = layout::run(group.id, run);
        let read = self.read(&name, Registration::CAP).await?;
        Ok(read.and_then(|bytes| {
            let (signer, registration): (_, Registration) = self.open_signed(&name, group, word, &bytes)?;
            if registration.run == run {
                Ok((signer, registration))
            } else {
                Err(ObjectError::damaged(&name, "it belongs to another run"))
            }
        }))
    }

    /// Whether a mark signed by `registrant`, who registered `run`, states that it is over: nobody else may.
    pub(crate) async fn has_ended(
        &self,
        group: &GroupView,
        run: RunId,
        registrant: Signer,
    ) -> Result<bool, StoreError> {
        let name = layout::run_end(group.id, run);
        let read = self.read(&name, RunEnd::CAP).await?;
        let word = Word::RunEnded { registrant };
        let read = read.and_then(|bytes| self.open_signed::<RunEnd>(&name, group, word, &bytes));
        Ok(read.is_ok_and(|(_, end)| end.run == run))
    }

    /// One request to forget, checked. [`chain`] decides whether it has any effect.
    pub(crate) async fn request(&self, writer: &Writer, sequence: u64) -> Read<Request> {
        let key = layout::forget(writer.id, sequence);
        let read = self.read(&key, cap::FORGET).await?;
        Ok(read.and_then(|bytes| {
            Request::verify(&bytes, &self.roster, writer.id, sequence)
                .map_err(|reason| ObjectError::damaged(key, reason))
        }))
    }

    /// One manifest, checked.
    pub(crate) async fn manifest(&self, writer: &Writer, sequence: u64) -> Read<Manifest> {
        let key = layout::snapshot(writer.id, sequence);
        let read = self.read(&key, cap::MANIFEST).await?;
        let place = manifest::Place { repository: self.id, writer: writer.id, group: writer.group, sequence };
        Ok(read.and_then(|bytes| {
            let verification_key = writer
                .verification_key()
                .ok_or_else(|| ObjectError::damaged(&key, "its writer's key is malformed"))?;
            manifest::verify(&bytes, &verification_key, &place)
                .map_err(|reason| ObjectError::damaged(&key, reason))
        }))
    }

    /// Reads the part that a manifest names, which its own writer must have signed.
    pub(crate) async fn part(&self, manifest: &Manifest, group: &GroupView) -> Read<Part> {
        self.part_named(&manifest.part, manifest.predicate.writer, group).await
    }

    /// The bytes of the part that a manifest names, in their stored form.
    pub(crate) async fn sealed_part(&self, manifest: &Manifest) -> Read<Bytes> {
        let key = layout::part(manifest.predicate.group, &manifest.part);
        let most = manifest.predicate.part_bytes.min(Part::CAP);
        self.read_hashed(&key, &manifest.part, most).await
    }

    /// Opens the result of [`Self::sealed_part`]. The writer of the manifest must have signed it.
    pub(crate) fn open_part(
        &self,
        manifest: &Manifest,
        group: &GroupView,
        sealed: &[u8],
    ) -> Result<Part, ObjectError> {
        let key = layout::part(group.id, &manifest.part);
        let word = Word::Part { writer: manifest.predicate.writer };
        self.open_signed(&key, group, word, sealed).map(|(_, part)| part)
    }

    /// Reads the part of this hash, which `writer` must have signed.
    pub(crate) async fn part_named(
        &self,
        part: &Sha256Digest,
        writer: WriterId,
        group: &GroupView,
    ) -> Read<Part> {
        let key = layout::part(group.id, part);
        let read = self.read_signed(&key, group, Word::Part { writer }).await?;
        Ok(read.map(|(_, part)| part))
    }

    /// Reads a part that no manifest names yet.
    pub(crate) async fn unnamed_part(&self, key: &str, group: &GroupView) -> Read<Part> {
        let read = self.read_signed(key, group, Word::PartUnderWay).await?;
        Ok(read.map(|(_, part)| part))
    }
}

/// Whether readers accept an object of this size. A larger one must not be stored: nobody could read it again, and if
/// it may not be replaced it would be in the way for ever.
pub(crate) fn check_size(key: &str, bytes: &[u8], most: u64) -> Result<(), VaultError> {
    let size = bytes.len() as u64;
    if size <= most { Ok(()) } else { Err(VaultError::TooLarge { key: key.to_owned(), size, most }) }
}

/// The hash in the last component of an object's name.
pub(crate) fn hash_of(key: &str) -> Option<Sha256Digest> {
    key.rsplit('/').next()?.parse().ok()
}

/// The same, for an object that must have one.
pub(crate) fn hash_in(key: &str) -> Result<Sha256Digest, ObjectError> {
    hash_of(key).ok_or_else(|| ObjectError::damaged(key, "its name is not a hash"))
}
