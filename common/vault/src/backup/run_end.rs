//! Ends a run that leaves no snapshot: writes the index of what was stored, and a signed mark that the run is over, so
//! that the next prune need not wait for its lease.
//!
//! A run that cannot store its mark, or is killed, leaves a note on this host: a file that the process locks while the
//! run lives. The next run of the same writer on this host finds the lock free, and stores the mark.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lifeboat_core::private_folder;
use lifeboat_store::StoreError;
use rustix::fs::{FlockOperation, flock};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::error::VaultError;
use crate::format::run_end::RunEnd;
use crate::ids::RunId;
use crate::keys::GroupView;
use crate::keys::key_file::WriterKey;
use crate::repository::open::Repository;

/// How long a run that ends may take to write its index and to store its mark.
const PATIENCE: Duration = Duration::from_secs(10);

/// A run that is not over, and how it ends if it leaves no snapshot.
pub struct OpenRun {
    /// `None` for a dry run, which leaves nothing.
    repository: Option<Repository>,
    writer: Arc<WriterKey>,
    run: RunId,
    /// Tells the uploading threads to stop.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the uploading threads have written the index.
    pub(crate) settled: CancellationToken,
    /// Whether the manifest may already be in transit: then the run must not be marked as having none.
    may_have_manifest: AtomicBool,
    note: Mutex<Option<Note>>,
}

impl OpenRun {
    /// Begins a run that was just registered. The note is stored below `cache`; without a cache there is no note.
    pub(crate) fn begin(
        repository: &Repository,
        writer: &Arc<WriterKey>,
        run: RunId,
        cache: Option<&Path>,
    ) -> Self {
        let folder = cache.map(|cache| Note::folder(cache, writer));
        let note = folder.and_then(|folder| {
            Note::leave(&folder, run)
                .inspect_err(|error| tracing::debug!("{}: {error}", folder.display()))
                .ok()
        });
        Self { repository: Some(repository.clone()), note: Mutex::new(note), ..Self::dry(writer, run) }
    }

    /// A run that stores nothing.
    pub(crate) fn dry(writer: &Arc<WriterKey>, run: RunId) -> Self {
        Self {
            repository: None,
            writer: Arc::clone(writer),
            run,
            stop: CancellationToken::new(),
            settled: CancellationToken::new(),
            may_have_manifest: AtomicBool::new(false),
            note: Mutex::new(None),
        }
    }

    /// Notes that a manifest is about to be stored.
    pub(crate) fn note_manifest(&self) {
        self.may_have_manifest.store(true, Ordering::SeqCst);
    }

    /// The run's snapshot is stored, so no mark is needed.
    pub(crate) fn is_committed(&self) {
        if let Some(note) = self.note.lock().unwrap_or_else(PoisonError::into_inner).take() {
            note.remove();
        }
    }

    /// Stops the uploads, if the run is not over.
    pub fn stop_storing(&self) {
        self.stop.cancel();
    }

    /// Ends the run without a snapshot: stops the uploads, waits until the index of what was stored is written, and
    /// stores the mark. It takes at most ten seconds. If anything could not be stored, the next run of this writer on
    /// this host stores it.
    pub async fn end(&self) {
        self.stop.cancel();
        let Some(repository) = &self.repository else { return };
        let end = async {
            self.settled.cancelled().await;
            if self.may_have_manifest.load(Ordering::SeqCst) {
                return Ok(false);
            }
            store_mark(repository, &self.writer, self.run).await.map(|()| true)
        };
        match timeout(PATIENCE, end).await {
            Ok(Ok(true)) => self.is_committed(),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::debug!("the end of run {} is not marked: {error}", self.run),
            Err(_) => tracing::debug!("the end of run {} is not marked within {PATIENCE:?}", self.run),
        }
    }
}

async fn store_mark(repository: &Repository, writer: &WriterKey, run: RunId) -> Result<(), VaultError> {
    let group = GroupView::from(&writer.group);
    match repository.store_signed(&group, writer.pen(), &RunEnd { run }).await {
        // There is already a mark for this run, which has the same effect.
        Ok(_) | Err(VaultError::Store(StoreError::AlreadyExists { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Stores the marks of this writer's dead runs on this host that could not store their own.
pub(crate) async fn mark_the_dead(repository: &Repository, writer: &WriterKey, cache: &Path) {
    let folder = Note::folder(cache, writer);
    for note in Note::of_the_dead(&folder) {
        match store_mark(repository, writer, note.run).await {
            Ok(()) => note.remove(),
            Err(error) => {
                tracing::debug!("the end of run {} is not marked: {error}", note.run);
                return;
            }
        }
    }
}

/// A file on this host that represents a run, locked while the run lives. The system frees the lock when the process
/// dies.
struct Note {
    run: RunId,
    path: PathBuf,
    _lock: File,
}

impl Note {
    fn folder(cache: &Path, writer: &WriterKey) -> PathBuf {
        cache.join(writer.repository.to_string()).join(writer.writer.to_string()).join("runs")
    }

    /// Creates the note for `run`. It gets its name after it is locked: nobody finds it unlocked before.
    fn leave(folder: &Path, run: RunId) -> io::Result<Self> {
        private_folder::make(folder)?;
        let (path, fresh) = (folder.join(run.to_string()), folder.join(format!("{run}.new")));
        let lock = File::options().write(true).create_new(true).open(&fresh)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(&fresh, &path)?;
        Ok(Self { run, path, _lock: lock })
    }

    /// The notes in `folder` whose runs are dead.
    fn of_the_dead(folder: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let dead = |entry: fs::DirEntry| {
            let run = entry.file_name().to_str()?.parse().ok()?;
            let lock = File::options().write(true).open(entry.path()).ok()?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
            Some(Self { run, path: entry.path(), _lock: lock })
        };
        entries.flatten().filter_map(dead).collect()
    }

    fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!("{}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_of_the_dead_when_nobody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (RunId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
        let dead = || Note::of_the_dead(folder.path()).iter().map(|note| note.run).collect::<Vec<_>>();
        let living = Note::leave(folder.path(), one).unwrap();
        let dying = Note::leave(folder.path(), two).unwrap();
        assert!(dead().is_empty());
        drop(dying);
        assert_eq!(dead(), [two]);
        Note::of_the_dead(folder.path()).into_iter().for_each(Note::remove);
        assert!(dead().is_empty());
        living.remove();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
