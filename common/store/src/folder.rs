//! Stores in a local folder.
//!
//! The repository's folder is opened once, following any links that its owner used. Everything below is reached from
//! that handle without following links, and operations on an object use the handle of the folder that contains it. So
//! what is listed is what is read and deleted, no matter what others who may write there exchange in between. An object
//! is a regular file: nothing else is opened for reading, or waited for.

mod client;
mod objects;
mod reach;
mod staging;
mod walk;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::obstacle::InTheWay;
use crate::site::Site;
use crate::{Obstacle, Store, StoreError};

pub use staging::Swept;

/// The open folder of a store. Clones share one handle.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: Arc<OwnedFd>,
}

impl Folder {
    /// Whether its file system has room for that many bytes, as far as this can be determined.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.free_bytes().is_none_or(|free| free >= bytes)
    }

    /// How many bytes are free on its file system, if this can be determined.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let found = rustix::fs::fstatvfs(&*self.root).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// Why an operation in a folder failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("nothing stands there")]
    Missing,
    #[error("an object stands there already")]
    Exists,
    #[error(transparent)]
    InTheWay(#[from] InTheWay),
    /// The system call failed.
    #[error("cannot {doing} `{place}`")]
    System { doing: &'static str, place: String, source: io::Error },
}

impl Wrong {
    fn at(doing: &'static str, place: &str, error: impl Into<io::Error>) -> Self {
        let (place, source) = (place.to_owned(), error.into());
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => Self::Missing,
            Some(Errno::NAMETOOLONG) => InTheWay { place, obstacle: Obstacle::TooLong }.into(),
            _ => Self::System { doing, place, source },
        }
    }

    /// The error for a lack of space.
    pub(crate) fn full(place: &str) -> Self {
        Self::System { doing: "write", place: place.to_owned(), source: io::ErrorKind::StorageFull.into() }
    }

    /// If a folder is missing while an object is being written, that is a failure and not a missing object.
    fn in_making(self) -> Self {
        match self {
            Self::Missing => {
                let said = "a folder was taken away meanwhile";
                let source = io::Error::new(io::ErrorKind::NotFound, said);
                Self::System { doing: "write below", place: String::new(), source }
            }
            wrong => wrong,
        }
    }

    fn is_denied(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// The same as an error of an object storage client.
    pub(crate) fn told(self, key: &str) -> object_store::Error {
        use object_store::Error as E;
        let path = key.to_owned();
        match self {
            Self::Missing => E::NotFound { path, source: self.into() },
            Self::Exists => E::AlreadyExists { path, source: self.into() },
            Self::InTheWay(found) => E::Generic { store: "folder", source: found.into() },
            Self::System { .. } => E::Generic { store: "folder", source: self.into() },
        }
    }
}

/// Opens a folder, creating it first if `create` is set.
pub(crate) fn open(path: &Path, name: &str, create: bool) -> Result<Store, StoreError> {
    let bad = |reason: String| StoreError::BadLocation { location: name.to_owned(), reason };
    if create {
        make(path).map_err(|error| bad(format!("the folder cannot be made: {error}")))?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(root) => {
            let folder = Folder { root: Arc::new(root) };
            Ok(Store::new(Arc::new(folder.clone()), name.to_owned(), Some(folder), Site::default()))
        }
        Err(Errno::NOENT) => Err(bad("the folder does not exist".to_owned())),
        Err(Errno::NOTDIR) => Err(bad("it is not a folder".to_owned())),
        Err(error) => Err(bad(format!("the folder cannot be opened: {}", io::Error::from(error)))),
    }
}

/// Creates a folder and its parents, for this user alone, and flushes each to disk: otherwise a power cut could take
/// the whole repository.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make(above)?;
    }
    // Other users of this machine have no business with the sealed keys.
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

/// Runs blocking file system calls on a thread that may block.
pub(crate) async fn unblocked<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Wrong> + Send + 'static,
) -> Result<T, Wrong> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Wrong::at("work in", "", io::Error::other(error))))
}

#[cfg(test)]
mod tests;
