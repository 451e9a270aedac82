//! Stores in a local folder: opening one, and clearing away what crashed writers left.
//!
//! An object is written to a staging file `NAME#1` beside its place, flushed to the disk and then linked to its name; a
//! listing never shows staging files. One that a crash left behind takes room and nothing else.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::error::Effort;
use crate::{Store, StoreError};

/// What [`Store::sweep_staging`] cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Staging files removed.
    pub files: u64,
    /// The bytes that they had.
    pub swept_bytes: u64,
}

impl Store {
    /// Removes the staging files that have not been written to for `older_than`, by the file system's own clock. Stores
    /// that are no folders have none.
    pub async fn sweep_staging(&self, older_than: Duration) -> Result<Swept, StoreError> {
        let Some(folder) = self.folder() else { return Ok(Swept::default()) };
        let swept = tokio::task::spawn_blocking(move || {
            let mut swept = Swept::default();
            if let Some(before) = clock(&folder)?.checked_sub(older_than) {
                sweep(&folder, before, &mut swept)?;
            }
            Ok::<_, io::Error>(swept)
        });
        let swept = swept.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        swept.map_err(|error| self.failed("sweep", "", Effort::default(), error))
    }
}

/// Opens a folder, made first if `create` says so.
pub(crate) fn open(folder: &Path, name: &str, create: bool) -> Result<Store, StoreError> {
    let bad = |reason: String| StoreError::BadLocation { location: name.to_owned(), reason };
    if create {
        make(folder).map_err(|error| bad(format!("the folder cannot be made: {error}")))?;
    }
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(bad("it is not a folder".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(bad("there is no such folder".to_owned()));
        }
        Err(error) => return Err(bad(format!("the folder cannot be opened: {error}"))),
    }
    let local = LocalFileSystem::new_with_prefix(folder).map_err(|error| bad(error.to_string()))?;
    let backend: Arc<dyn ObjectStore> = Arc::new(local.with_fsync(true).with_automatic_cleanup(false));
    Ok(Store::new(backend, name.to_owned(), Some(folder.to_owned())))
}

/// Makes a folder and those above it, each flushed to the disk: else a power cut could take the whole repository.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

/// The time by the clock of the file system that holds `folder`, which need not be this host's.
fn clock(folder: &Path) -> io::Result<SystemTime> {
    for number in 1.. {
        let path = folder.join(format!("clock#{number}"));
        match File::create_new(&path) {
            Ok(file) => {
                let now = file.metadata()?.modified();
                fs::remove_file(&path)?;
                return now;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the numbers do not end")
}

fn sweep(folder: &Path, before: SystemTime, swept: &mut Swept) -> io::Result<()> {
    for entry in read(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sweep(&entry.path(), before, swept)?;
        } else if kind.is_file() && is_staging(&entry.file_name()) {
            // A writer may be done with it in this moment.
            let Some(found) = unless_gone(entry.metadata())? else { continue };
            if found.modified()? <= before && unless_gone(fs::remove_file(entry.path()))?.is_some() {
                swept.files += 1;
                swept.swept_bytes += found.len();
            }
        }
    }
    Ok(())
}

fn read(folder: &Path) -> io::Result<Vec<io::Result<fs::DirEntry>>> {
    Ok(unless_gone(fs::read_dir(folder))?.into_iter().flatten().collect())
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file is named as `object_store` names those that it stages.
fn is_staging(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.iter().position(|byte| *byte == b'#').is_some_and(|at| {
        let number = &name[at + 1..];
        at > 0 && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_files_are_told_by_their_names() {
        for (name, is) in
            [("a#1", true), ("a.age#12", true), ("a", false), ("a#", false), ("a#1b", false), ("#1", false)]
        {
            assert_eq!(is_staging(OsStr::new(name)), is, "{name}");
        }
    }
}
