//! Keeps sealed packs on this host's disk until the store accepts them, so that reading does not wait for a slow store:
//! a container that was stopped for a backup starts when its last byte has been read.
//!
//! The files have no names: however the run ends, none of them remains.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_core::private_folder;
use lifeboat_core::progress::Progress;

use crate::error::VaultError;
use crate::format::index::StoredPack;

/// How many bytes of the disk always stay free.
const LEFT_FREE: u64 = 1 << 30;

/// The folder of the files, in the folder of host memory.
const FOLDER: &str = "spool";

/// A pack that is waiting to be stored.
pub(crate) type Pending = (StoredPack, Bytes);

/// Packs on disk, the oldest first.
pub(crate) struct Spool {
    /// The folder of the files. `None` if nothing may wait.
    folder: Option<PathBuf>,
    /// How many bytes may wait.
    most: u64,
    held: u64,
    waiting: VecDeque<(StoredPack, File)>,
    progress: Arc<dyn Progress>,
    was_told: bool,
}

impl Spool {
    /// A spool of at most `most` bytes in the cache folder. Without a cache folder nothing waits.
    pub(crate) fn new(cache: Option<&Path>, most: u64, progress: &Arc<dyn Progress>) -> Self {
        let folder = cache.filter(|_| most > 0).map(|cache| cache.join(FOLDER));
        Self {
            folder: folder.filter(|folder| private_folder::make(folder).is_ok()),
            most,
            held: 0,
            waiting: VecDeque::new(),
            progress: Arc::clone(progress),
            was_told: false,
        }
    }

    /// Whether anything may wait.
    pub(crate) fn is_used(&self) -> bool {
        self.folder.is_some()
    }

    /// Takes a pack, or returns it if there is no room: the caller then stops reading until a pack is stored.
    pub(crate) fn put(&mut self, pack: Pending) -> Result<(), Pending> {
        let (stored, bytes) = pack;
        let size = stored.size;
        let written = match &self.folder {
            Some(folder) if self.held.saturating_add(size) <= self.most && has_room(folder, size) => {
                write(folder, &bytes).inspect_err(|error| tracing::debug!("{}: {error}", folder.display()))
            }
            _ => Err(io::ErrorKind::StorageFull.into()),
        };
        if let Ok(file) = written {
            self.held += size;
            self.waiting.push_back((stored, file));
            return Ok(());
        }
        self.tell();
        Err((stored, bytes))
    }

    /// The next waiting pack.
    pub(crate) fn next(&mut self) -> Result<Option<Pending>, VaultError> {
        let Some((stored, mut file)) = self.waiting.pop_front() else { return Ok(None) };
        self.held -= stored.size;
        let mut bytes = Vec::new();
        let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
        let unread = |source| VaultError::Local {
            path: self.folder.clone().unwrap_or_default(),
            action: "read",
            source,
        };
        read.map_err(unread)?;
        // Its name is the hash of what was sealed, which detects a disk that returns something else.
        if lifeboat_core::Sha256Digest::of(&bytes) != stored.hash {
            let source = io::Error::new(io::ErrorKind::InvalidData, "a pack that waited there has changed");
            return Err(unread(source));
        }
        Ok(Some((stored, bytes.into())))
    }

    fn tell(&mut self) {
        if self.folder.is_some() && !self.was_told {
            self.was_told = true;
            self.progress.warn(&format!(
                "{} MiB wait on this host's disk for the storage, the limit: reading waits for it from now on",
                self.held >> 20
            ));
        }
    }
}

fn has_room(folder: &Path, size: u64) -> bool {
    rustix::fs::statvfs(folder)
        .is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= size.saturating_add(LEFT_FREE))
}

fn write(folder: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use lifeboat_core::Sha256Digest;
    use lifeboat_testkit::silent;

    use super::*;

    fn pack(content: &[u8]) -> Pending {
        let stored =
            StoredPack { hash: Sha256Digest::of(content), size: content.len() as u64, frames: Vec::new() };
        (stored, Bytes::copy_from_slice(content))
    }

    #[test]
    fn packs_wait_in_order_up_to_a_limit_and_leave_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(Some(folder.path()), 10, &silent());
        for content in [&b"first"[..], b"other"] {
            spool.put(pack(content)).unwrap();
        }
        let (_, back) = spool.put(pack(b"x")).unwrap_err();
        assert_eq!(back, b"x"[..]);
        assert_eq!(std::fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 0, "they have no names");
        let (stored, bytes) = spool.next().unwrap().unwrap();
        assert_eq!((stored.hash, bytes), (Sha256Digest::of(b"first"), Bytes::from_static(b"first")));
        spool.put(pack(b"third")).unwrap();
        assert_eq!(spool.next().unwrap().unwrap().1, b"other"[..]);
        assert_eq!(spool.next().unwrap().unwrap().1, b"third"[..]);
        assert!(spool.next().unwrap().is_none());
    }

    #[test]
    fn without_room_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        for (cache, most) in [(None, 100), (Some(folder.path()), 0)] {
            Spool::new(cache, most, &silent()).put(pack(b"x")).unwrap_err();
        }
        let mut spool = Spool::new(Some(Path::new("/proc/none")), 100, &silent());
        spool.put(pack(b"x")).unwrap_err();
        assert!(spool.next().unwrap().is_none());
    }

    #[test]
    fn a_disk_that_returns_other_bytes_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(Some(folder.path()), 100, &silent());
        let (stored, _) = pack(b"sealed");
        spool.put((stored, Bytes::from_static(b"SEALED"))).unwrap();
        let error = spool.next().unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("has changed"), "{error}");
    }
}
