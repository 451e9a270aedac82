//! A cache of stored index objects on this machine. An object is kept in its stored form, sealed and signed, under its
//! own hash, which is compared at each read: a damaged cache only costs a download.

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

use crate::error::Read;
use crate::format::layout::cap;
use crate::ids::GroupId;
use crate::repository::objects::hash_in;
use crate::repository::open::Repository;

/// The cached objects of one kind and group.
pub(crate) struct ObjectCache {
    folder: Option<PathBuf>,
    progress: Arc<dyn Progress>,
}

impl ObjectCache {
    /// A cache below `cache`, or none. `kind` is the folder of such objects in the repository.
    pub(crate) fn new(
        cache: Option<&Path>,
        repository: &Repository,
        kind: &str,
        group: GroupId,
        progress: &Arc<dyn Progress>,
    ) -> Self {
        let folder = |cache: &Path| cache.join(repository.id.to_string()).join(kind).join(group.to_string());
        Self { folder: cache.map(folder), progress: Arc::clone(progress) }
    }

    /// Reads an object that is named by its hash, from the cache if possible.
    pub(crate) async fn read(&self, repository: &Repository, key: &str) -> Read<Bytes> {
        let hash = match hash_in(key) {
            Ok(hash) => hash,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(bytes) = self.cached(&hash) {
            return Ok(Ok(bytes));
        }
        let read = repository.read_hashed(key, &hash, cap::INDEX).await?;
        Ok(read.inspect(|bytes| self.keep(&hash, bytes)))
    }

    fn cached(&self, hash: &Sha256Digest) -> Option<Bytes> {
        let path = self.folder.as_ref()?.join(hash.to_string());
        let bytes = read_file_capped(&path, cap::INDEX).ok()?;
        if Sha256Digest::of(&bytes) == *hash {
            return Some(bytes.into());
        }
        self.progress.warn(&format!(
            "the cached index {} is damaged; it is set aside and fetched again",
            path.display()
        ));
        let _ = fs::rename(&path, path.with_extension("damaged"));
        None
    }

    /// Keeps an object for the next run; if that fails, the next run fetches it again.
    fn keep(&self, hash: &Sha256Digest, bytes: &[u8]) {
        let Some(folder) = &self.folder else { return };
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

    /// Removes cached objects that do not exist any more.
    pub(crate) fn drop_all_but(&self, still_there: &HashSet<Sha256Digest>) {
        let Some(entries) = self.folder.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let hash = name.to_str().and_then(|name| name.parse::<Sha256Digest>().ok());
            if hash.is_some_and(|hash| !still_there.contains(&hash)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
