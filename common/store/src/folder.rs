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

use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::error::Effort;
use crate::{Entry, Store, StoreError};

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
    for (entry, _) in files_below(folder, "")? {
        if is_staging(&entry.file_name()) {
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

/// The objects of a folder store below `prefix`: files with the names that objects can have. Links are not followed, and
/// what else others have put there is not seen: a name that makes no sense stops nobody, and nothing outside of the
/// folder is taken for an object.
pub(crate) fn list(folder: &Path, prefix: &str) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (entry, key) in files_below(folder, prefix)? {
        if is_staging(&entry.file_name()) {
            continue;
        }
        let Some(found) = unless_gone(entry.metadata())? else { continue };
        let modified = Timestamp::try_from(found.modified()?).map_err(io::Error::other)?;
        // Object stores tell microseconds at the most.
        let micros =
            jiff::TimestampRound::new().smallest(jiff::Unit::Microsecond).mode(jiff::RoundMode::Trunc);
        let modified = modified.round(micros).map_err(io::Error::other)?;
        entries.push(Entry { key, size: found.len(), modified });
    }
    Ok(entries)
}

/// How deep files are looked for: more than twice as deep as any object lies.
const MOST_DEPTH: usize = 16;

/// The files below a folder of the store that is reached without following a link, each with its key.
fn files_below(root: &Path, prefix: &str) -> io::Result<Vec<(fs::DirEntry, String)>> {
    let mut start = root.to_owned();
    for part in prefix.split('/').filter(|part| !part.is_empty()) {
        start.push(part);
        match unless_gone(fs::symlink_metadata(&start))? {
            Some(found) if found.is_dir() => {}
            _ => return Ok(Vec::new()),
        }
    }
    let mut files = Vec::new();
    let mut folders = vec![(start, prefix.trim_end_matches('/').to_owned(), 0)];
    while let Some((folder, above, depth)) = folders.pop() {
        for entry in read(&folder)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if name.chars().any(char::is_control) {
                continue;
            }
            let key = if above.is_empty() { name } else { format!("{above}/{name}") };
            let Some(kind) = unless_gone(entry.file_type())? else { continue };
            if kind.is_dir() && depth < MOST_DEPTH {
                folders.push((entry.path(), key, depth + 1));
            } else if kind.is_file() {
                files.push((entry, key));
            }
        }
    }
    Ok(files)
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
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_listing_has_files_with_plain_names_and_follows_no_link() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = folder.path();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("packs/group")).unwrap();
        fs::write(at("packs/group/one"), "12345").unwrap();
        fs::write(at("packs/group/two#7"), "being written").unwrap();
        fs::write(at("packs/group/a\nb"), "a line break in its name").unwrap();
        fs::write(at("packs/group").join(OsStr::from_bytes(b"\xFF")), "not UTF-8").unwrap();
        fs::write(at("notes of mine"), "a stranger").unwrap();
        fs::write(outside.path().join("of another"), "outside").unwrap();
        symlink(outside.path(), at("packs/elsewhere")).unwrap();
        symlink(outside.path().join("of another"), at("packs/group/linked")).unwrap();
        symlink("itself", at("packs/itself")).unwrap();
        symlink(".", at("packs/group/round")).unwrap();
        make_fifo(&at("packs/group/pipe"));
        fs::create_dir_all(at(&"deep/".repeat(40))).unwrap();
        let names = |prefix: &str| {
            let mut keys: Vec<_> = list(root, prefix).unwrap().into_iter().map(|entry| entry.key).collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(names(""), ["notes of mine", "packs/group/one"]);
        assert_eq!(names("packs/group"), ["packs/group/one"]);
        assert_eq!(names("packs/elsewhere"), Vec::<String>::new());
        assert_eq!(names("packs/itself"), Vec::<String>::new());
        assert_eq!(names("nothing/here"), Vec::<String>::new());
        assert_eq!(list(root, "packs/group").unwrap()[0].size, 5);
    }

    fn make_fifo(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }

    #[test]
    fn staging_files_are_told_by_their_names() {
        for (name, is) in
            [("a#1", true), ("a.age#12", true), ("a", false), ("a#", false), ("a#1b", false), ("#1", false)]
        {
            assert_eq!(is_staging(OsStr::new(name)), is, "{name}");
        }
    }
}
