//! The contents index as a writer reads it: every contents object of its group that may be believed, from a cache on
//! this machine where it was read before.
//!
//! A cached object is the stored object, sealed and signed, under the same name; its hash is checked whenever it is
//! read, so a damaged cache costs a download and nothing else.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use lifeboat_core::private_folder;
use lifeboat_core::progress::Progress;

use crate::VaultError;
use crate::ids::{Signer, WriterId};
use crate::index::Contents;
use crate::keys::GroupView;
use crate::layout::{self, cap};
use crate::repository::{Repository, hash_of};
use crate::seal::Purpose;
use crate::signed::{self, Place};

/// Reads the contents objects of one group.
pub(crate) struct KnownContents<'a> {
    repository: &'a Repository,
    group: &'a GroupView,
    cache: Option<PathBuf>,
}

impl<'a> KnownContents<'a> {
    pub(crate) fn new(repository: &'a Repository, group: &'a GroupView, cache: Option<&Path>) -> Self {
        let folder =
            |cache: &Path| cache.join(repository.id.to_string()).join("contents").join(group.id.to_string());
        Self { repository, group, cache: cache.map(folder) }
    }

    /// Reads all of them, those that `own` signed first: a writer leans on its own frames where it can. One that is
    /// damaged is left out with a warning: its chunks are stored again.
    pub(crate) async fn read(
        &self,
        own: WriterId,
        progress: &Arc<dyn Progress>,
    ) -> Result<Vec<Contents>, VaultError> {
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        let mut still_there = HashSet::new();
        let mut believable = Believable::new(self.repository, self.group);
        for entry in self.repository.store.list(&layout::contents(self.group.id)).await? {
            let (signer, contents) = match self.read_one(&entry.key, progress).await {
                Ok(read) => read,
                Err(error @ (VaultError::Damaged { .. } | VaultError::Missing { .. })) => {
                    progress.warn(&format!("{error}; what it lists is stored again"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(hash) = hash_of(&entry.key) else { continue };
            still_there.insert(hash);
            if !believable.is(signer, &hash).await? {
                continue;
            }
            if signer == Signer::Writer(own) { mine.push(contents) } else { others.push(contents) }
        }
        self.drop_all_but(&still_there);
        mine.append(&mut others);
        Ok(mine)
    }

    async fn read_one(
        &self,
        key: &str,
        progress: &Arc<dyn Progress>,
    ) -> Result<(Signer, Contents), VaultError> {
        let hash = hash_of(key).ok_or_else(|| VaultError::damaged(key, "its name is no hash"))?;
        let bytes = if let Some(bytes) = self.cached(&hash, progress) {
            bytes
        } else {
            let bytes = self.repository.read_hashed(key, &hash, cap::INDEX).await?;
            self.keep(&hash, &bytes);
            bytes
        };
        let place =
            Place { purpose: Purpose::Contents, repository: &self.repository.id, group: self.group.id };
        let key_of = |signer| self.repository.roster.key_of(signer);
        let (signer, contents): (_, Contents) = signed::read(place, &self.group.index_key, key_of, &bytes)
            .map_err(|reason| VaultError::damaged(key, reason))?;
        if contents.is_sane() {
            Ok((signer, contents))
        } else {
            Err(VaultError::damaged(key, "it lists frames that cannot be"))
        }
    }

    fn cached(&self, hash: &Sha256Digest, progress: &Arc<dyn Progress>) -> Option<Bytes> {
        let path = self.cache.as_ref()?.join(hash.to_string());
        let bytes = read_file_capped(&path, cap::INDEX).ok()?;
        if Sha256Digest::of(&bytes) == *hash {
            return Some(bytes.into());
        }
        progress.warn(&format!(
            "the cached index {} is damaged; it is set aside and fetched again",
            path.display()
        ));
        let _ = fs::rename(&path, path.with_extension("damaged"));
        None
    }

    /// Keeps an object for the next run; if that fails, the next run fetches it again.
    fn keep(&self, hash: &Sha256Digest, bytes: &[u8]) {
        let Some(folder) = &self.cache else { return };
        let write = || -> std::io::Result<()> {
            private_folder::make(folder)?;
            let new = folder.join(format!("{hash}.new"));
            fs::File::create(&new)?.write_all(bytes)?;
            fs::rename(&new, folder.join(hash.to_string()))
        };
        if let Err(error) = write() {
            tracing::info!("the index cannot be cached: {error}");
        }
    }

    fn drop_all_but(&self, still_there: &HashSet<Sha256Digest>) {
        let Some(entries) = self.cache.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let hash = name.to_str().and_then(|name| name.parse::<Sha256Digest>().ok());
            if hash.is_some_and(|hash| !still_there.contains(&hash)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Which contents objects may be believed: those of someone on the roster, and of someone who was removed only what
/// was signed for certain before. Of a removed writer that is what its valid snapshots name, of a removed keeper what
/// the roster names.
pub(crate) struct Believable<'a> {
    repository: &'a Repository,
    group: &'a GroupView,
    of_removed_writers: Option<HashSet<Sha256Digest>>,
}

impl<'a> Believable<'a> {
    pub(crate) fn new(repository: &'a Repository, group: &'a GroupView) -> Self {
        Self { repository, group, of_removed_writers: None }
    }

    pub(crate) async fn is(&mut self, signer: Signer, object: &Sha256Digest) -> Result<bool, VaultError> {
        let roster = &self.repository.roster;
        match signer {
            Signer::Root => Ok(true),
            Signer::Keeper(id) => Ok(roster.keeper(id).is_some_and(|keeper| {
                keeper.removed.as_ref().is_none_or(|removed| removed.contents.contains(object))
            })),
            Signer::Writer(id) if roster.writer(id).is_some_and(|writer| writer.revoked.is_none()) => {
                Ok(true)
            }
            Signer::Writer(_) => {
                if self.of_removed_writers.is_none() {
                    self.of_removed_writers = Some(self.committed_by_removed().await?);
                }
                Ok(self.of_removed_writers.as_ref().is_some_and(|committed| committed.contains(object)))
            }
        }
    }

    async fn committed_by_removed(&self) -> Result<HashSet<Sha256Digest>, VaultError> {
        let mut committed = HashSet::new();
        for writer in self.repository.roster.writers.iter().filter(|writer| writer.group == self.group.id) {
            let Some(last) = writer.revoked.and_then(|revocation| revocation.last) else { continue };
            for entry in self.repository.store.list(&layout::snapshots_of(writer.id)).await? {
                let Some(sequence) = layout::sequence_of(&entry.key).filter(|n| *n <= last.sequence) else {
                    continue;
                };
                match self.repository.manifest(writer, sequence).await {
                    Ok(manifest) => committed.extend(manifest.predicate.contents),
                    Err(error @ VaultError::Store(_)) => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(committed)
    }
}
