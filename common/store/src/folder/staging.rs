//! Staging files: an object is first written to a file `NAME#1` next to its final place. Listings never show one; one
//! that a crash left behind only takes space, until it is swept.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use lifeboat_core::random::{Entropy, OsEntropy};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::walk::{Found, size};
use super::{Folder, Wrong};
use crate::{Store, StoreError, name};

/// The mode with which other programs create files; the user's umask applies.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

const STAGE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What [`Store::sweep_staging`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Staging files removed.
    pub files: u64,
    /// Their size.
    pub swept_bytes: u64,
}

impl Store {
    /// Removes the staging files that have not been written to for `older_than`, by the file system's own clock; those
    /// that this user may not remove stay. Only folders have any.
    pub async fn sweep_staging(&self, older_than: Duration) -> Result<Swept, StoreError> {
        let Some(folder) = self.folder().cloned() else { return Ok(Swept::default()) };
        let swept = super::unblocked(move || folder.sweep(older_than).map_err(Wrong::in_making)).await;
        swept.map_err(|wrong| self.told("sweep", "", wrong))
    }
}

impl Folder {
    fn sweep(&self, older_than: Duration) -> Result<Swept, Wrong> {
        let mut swept = Swept::default();
        let older_than = i128::try_from(older_than.as_nanos()).unwrap_or(i128::MAX);
        let before = self.clock()?.saturating_sub(older_than);
        self.walk("", &mut |found| {
            if let Found::Staged { folder, name, key, stat } = found
                && written(&stat) <= before
            {
                match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                    Ok(()) => {
                        swept.files += 1;
                        swept.swept_bytes += size(&stat);
                    }
                    // A writer may have finished with it at this moment, and another user's folder may be closed to
                    // this one.
                    Err(error @ (Errno::NOENT | Errno::ACCESS | Errno::PERM)) => {
                        tracing::debug!("the staging file `{key}` is not removed: {error}");
                    }
                    Err(error) => return Err(Wrong::at("delete", &key, error)),
                }
            }
            Ok(())
        })?;
        Ok(swept)
    }

    /// The time by the file system's clock, which may differ from this host's.
    fn clock(&self) -> Result<i128, Wrong> {
        let entropy: &dyn Entropy = &OsEntropy;
        let name = format!("clock#{}", u64::from_le_bytes(entropy.array::<8>()));
        let failed = |error| Wrong::at("make", &name, error);
        let file = rustix::fs::openat(&self.root, &name, STAGE, FILE_MODE).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed);
        rustix::fs::unlinkat(&self.root, &name, AtFlags::empty()).map_err(failed)?;
        Ok(written(&stat?))
    }
}

/// When a file was last written to, in nanoseconds.
fn written(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

/// A new staging file, removed when this value is dropped. `Open` is the file until it is closed.
pub(super) struct Staged<'a, Open = File> {
    /// First, so that it is dropped first: some network file systems rename a file that is removed while it is open.
    open: Open,
    beside: Beside<'a>,
}

struct Beside<'a> {
    folder: &'a OwnedFd,
    name: String,
    is_gone: bool,
}

impl<'a> Staged<'a> {
    pub(super) fn new(folder: &'a OwnedFd, name: &str, key: &str) -> Result<Self, Wrong> {
        for number in 1_u64.. {
            let name = format!("{name}#{number}");
            match rustix::fs::openat(folder, &name, STAGE, FILE_MODE) {
                Ok(file) => {
                    return Ok(Self { open: file.into(), beside: Beside { folder, name, is_gone: false } });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(Wrong::at("make a file for", key, error)),
            }
        }
        unreachable!("the numbers do not end")
    }

    pub(super) fn file(&self) -> &File {
        &self.open
    }

    /// Closes the file. This may return the first error of a failed write.
    pub(super) fn close(self) -> io::Result<Staged<'a, ()>> {
        let Self { open, beside } = self;
        nix::unistd::close(open)?;
        Ok(Staged { open: (), beside })
    }
}

impl Staged<'_, ()> {
    /// The file has its final name now: a file with the staging name belongs to another writer.
    pub(super) fn let_go(mut self) {
        self.beside.is_gone = true;
    }
}

impl<Open> Staged<'_, Open> {
    pub(super) fn name(&self) -> &str {
        &self.beside.name
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if !self.is_gone {
            // If this fails, a later sweep removes it.
            let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Whether this is a staging file's name.
pub(super) fn is_staging(key: &str) -> bool {
    key.rsplit_once('#').is_some_and(|(object, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && name::check(object).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_files_are_told_by_their_names() {
        for (name, is) in [
            ("a#1", true),
            ("b/a.age#12", true),
            ("a", false),
            ("a#", false),
            ("a#1b", false),
            ("#1", false),
            ("b/#1", false),
            ("notes of mine#1", false),
        ] {
            assert_eq!(is_staging(name), is, "{name}");
        }
    }
}
