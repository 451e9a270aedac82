//! Reading and storing the objects of a repository: the size is capped, then hash and signature are checked, then the bytes
//! are parsed. Who may be believed for what, [`authority`](crate::format::authority) says.

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_store::{Entry, StoreError};

use crate::error::VaultError;
use crate::format::authority::{Belief, Word, belief};
use crate::format::layout::{self, cap};
use crate::format::manifest::{self, Manifest, Part};
use crate::format::registration::Registration;
use crate::format::request::Request;
use crate::format::roster::Writer;
use crate::format::run_end::RunEnd;
use crate::format::signed::{self, Body, Place, SignedObjectError};
use crate::ids::{RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::repository::listing;
use crate::repository::open::Repository;

impl Repository {
    /// The same as [`Self::objects_below`], with what may hide more of them.
    pub(crate) async fn objects_and_gap(
        &self,
        folder: &str,
    ) -> Result<(Vec<Entry>, Option<VaultError>), VaultError> {
        let listing = listing::listing(&self.store, folder).await?;
        let gap =
            listing.gap_in(folder).map(|gap| VaultError::damaged(&gap.place, format!("it {}", gap.obstacle)));
        Ok((listing.entries, gap))
    }

    /// The objects below a folder, in no order. What has no name of the format is none of them.
    pub(crate) async fn objects_below(&self, folder: &str) -> Result<Vec<Entry>, VaultError> {
        listing::listed(&self.store, folder).await
    }

    /// Reads an object of a group whose name is the hash of its bytes and whose signer may be believed for `word`.
    pub(crate) async fn read_signed<T: Body>(
        &self,
        key: &str,
        group: &GroupView,
        word: Word,
    ) -> Result<(Signer, T), VaultError> {
        let bytes = self.read_named(key).await?;
        self.open_signed(key, group, word, &bytes)
    }

    /// The same, where what its signer stored and cannot be right is told from what the storage damaged.
    pub(crate) async fn read_stated<T: Body>(
        &self,
        key: &str,
        group: &GroupView,
        word: Word,
    ) -> Result<Result<(Signer, T), SignedObjectError>, VaultError> {
        let bytes = self.read_named(key).await?;
        match self.opened(group, word, &bytes) {
            Err(reason) if !matches!(reason, SignedObjectError::Unsound(..)) => {
                Err(VaultError::damaged(key, reason))
            }
            read => Ok(read),
        }
    }

    /// Reads an object of a group that anyone signed whom the group knows, and says whether that signer is believed for
    /// `word`.
    pub(crate) async fn read_known<T: Body>(
        &self,
        key: &str,
        group: &GroupView,
        word: Word,
    ) -> Result<(Belief, T), VaultError> {
        let bytes = self.read_named(key).await?;
        let place = Place { purpose: word.purpose(), repository: &self.id, group: group.id };
        let key_of = |signer| self.roster.knows(group.id, signer);
        let (signer, body) = signed::read(place, &group.index_key, key_of, &bytes)
            .map_err(|reason| VaultError::damaged(key, reason))?;
        Ok((belief(word, signer, self.roster.standing(signer, group.id)), body))
    }

    /// Checks and opens the bytes of a signed object of a group, whose signer must be believed for `word`.
    pub(crate) fn open_signed<T: Body>(
        &self,
        key: &str,
        group: &GroupView,
        word: Word,
        bytes: &[u8],
    ) -> Result<(Signer, T), VaultError> {
        self.opened(group, word, bytes).map_err(|reason| VaultError::damaged(key, reason))
    }

    fn opened<T: Body>(
        &self,
        group: &GroupView,
        word: Word,
        bytes: &[u8],
    ) -> Result<(Signer, T), SignedObjectError> {
        let place = Place { purpose: word.purpose(), repository: &self.id, group: group.id };
        let key_of = |signer| self.roster.believes(word, group.id, signer);
        signed::read(place, &group.index_key, key_of, bytes)
    }

    /// Reads an object of the index, which the hash of its bytes names.
    async fn read_named(&self, key: &str) -> Result<Bytes, VaultError> {
        let hash = hash_of(key).ok_or_else(|| VaultError::damaged(key, "its name is not a hash"))?;
        self.read_hashed(key, &hash, cap::INDEX).await
    }

    /// Stores an object, unless it is larger than any reader takes.
    pub(crate) async fn create_within(&self, key: &str, bytes: Vec<u8>, most: u64) -> Result<(), VaultError> {
        check_size(key, &bytes, most)?;
        self.store.create(key, bytes.into()).await?;
        Ok(())
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

    /// Reads the registration of a run, and who signed it.
    pub(crate) async fn registration(
        &self,
        group: &GroupView,
        run: RunId,
        word: Word,
    ) -> Result<(Signer, Registration), VaultError> {
        let name = layout::run(group.id, run);
        let bytes = self.store.read(&name, cap::KEY).await.map_err(VaultError::reading)?;
        let (signer, registration): (_, Registration) = self.open_signed(&name, group, word, &bytes)?;
        if registration.run == run {
            Ok((signer, registration))
        } else {
            Err(VaultError::damaged(&name, "it belongs to another run"))
        }
    }

    /// Whether a mark says that `run` is over, signed by `registrant`, who registered it: nobody else may.
    pub(crate) async fn has_ended(
        &self,
        group: &GroupView,
        run: RunId,
        registrant: Signer,
    ) -> Result<bool, VaultError> {
        let name = layout::run_end(group.id, run);
        let bytes = match self.store.read(&name, cap::KEY).await {
            Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => return Ok(false),
            bytes => bytes?,
        };
        let read = self.open_signed::<RunEnd>(&name, group, Word::RunEnded { registrant }, &bytes);
        Ok(read.is_ok_and(|(_, end)| end.run == run))
    }

    /// One request to forget, checked. Whether it has any effect is for [`chain`] to say.
    pub(crate) async fn request(&self, writer: &Writer, sequence: u64) -> Result<Request, VaultError> {
        let key = layout::forget(writer.id, sequence);
        let bytes = self.store.read(&key, cap::FORGET).await.map_err(VaultError::reading)?;
        Request::verify(&bytes, &self.roster, writer.id, sequence)
            .map_err(|reason| VaultError::damaged(key, reason))
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

    /// Reads the part that a manifest names, which its own writer must have signed.
    pub(crate) async fn part(&self, manifest: &Manifest, group: &GroupView) -> Result<Part, VaultError> {
        self.part_named(&manifest.part, manifest.predicate.writer, group).await
    }

    /// The bytes of the part that a manifest names, as they are stored.
    pub(crate) async fn sealed_part(&self, manifest: &Manifest) -> Result<Bytes, VaultError> {
        let key = layout::part(manifest.predicate.group, &manifest.part);
        let most = manifest.predicate.part_bytes.min(cap::INDEX);
        self.read_hashed(&key, &manifest.part, most).await
    }

    /// Opens what [`Self::sealed_part`] gave. The writer of the manifest must have signed it.
    pub(crate) fn open_part(
        &self,
        manifest: &Manifest,
        group: &GroupView,
        sealed: &[u8],
    ) -> Result<Part, VaultError> {
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
    ) -> Result<Part, VaultError> {
        let key = layout::part(group.id, part);
        self.read_signed(&key, group, Word::Part { writer }).await.map(|(_, part)| part)
    }

    /// Reads a part that no manifest names yet.
    pub(crate) async fn unnamed_part(&self, key: &str, group: &GroupView) -> Result<Part, VaultError> {
        self.read_signed(key, group, Word::PartUnderWay).await.map(|(_, part)| part)
    }
}

/// Whether readers take an object of this size. What is larger must not be stored: nobody could read it again, and what
/// may not be replaced would be in the way for ever.
pub(crate) fn check_size(key: &str, bytes: &[u8], most: u64) -> Result<(), VaultError> {
    let size = bytes.len() as u64;
    if size <= most { Ok(()) } else { Err(VaultError::TooLarge { key: key.to_owned(), size, most }) }
}

/// The hash in the last part of an object's name.
pub(crate) fn hash_of(key: &str) -> Option<Sha256Digest> {
    key.rsplit('/').next()?.parse().ok()
}
