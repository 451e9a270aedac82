//! Reads a volume through the mount that is held, so that a volume that was unmounted is not taken for an empty one.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use lifeboat_docker::held::Held;
use lifeboat_vault::source::{Found, Source, Unreadable};
use lifeboat_vault::{Excludes, FolderSource, VaultError};

/// The error for a volume whose content disappeared.
#[derive(Debug, thiserror::Error)]
#[error("it held data when the run began, and there was none when it was read; its mount may have gone")]
struct Emptied;

/// Whether `unreadable` is this error.
pub(super) fn is_loss(unreadable: &Unreadable) -> bool {
    unreadable.error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Emptied>)
}

/// A held volume as a source.
pub(super) struct VolumeSource {
    inner: FolderSource,
    held: Arc<Held>,
    /// How many items were seen below the folder itself.
    items: u64,
    /// Whether the end was checked.
    over: bool,
}

impl VolumeSource {
    pub(super) fn open(held: Arc<Held>, excludes: Arc<Excludes>) -> Result<Self, VaultError> {
        let inner = FolderSource::open_excluding(held.readable(), excludes)?;
        Ok(Self { inner, held, items: 0, over: false })
    }

    /// `path` as users know it: below the volume's mountpoint, not below our own mount.
    fn known(&self, path: &Path) -> std::path::PathBuf {
        path.strip_prefix(self.held.readable())
            .map_or(path.to_owned(), |below| self.held.mountpoint().join(below))
    }
}

impl Source for VolumeSource {
    fn next(&mut self) -> Option<Result<Found, Unreadable>> {
        match self.inner.next() {
            Some(Ok(mut found)) => {
                if !found.item.path.is_empty() {
                    self.items += 1;
                } else if found.item.origin.is_some() {
                    found.item.origin = Some(self.held.mountpoint().as_os_str().as_bytes().to_vec().into());
                }
                Some(Ok(found))
            }
            Some(Err(mut unreadable)) => {
                self.items += 1;
                unreadable.path = self.known(&unreadable.path);
                Some(Err(unreadable))
            }
            None if self.over => None,
            None => {
                self.over = true;
                // With excludes, a stream may be empty although the volume is not, so look at the volume itself.
                let lost = self.items == 0 && self.held.was_emptied();
                lost.then(|| {
                    Err(Unreadable {
                        path: self.held.mountpoint().to_owned(),
                        error: io::Error::other(Emptied),
                    })
                })
            }
        }
    }
}
