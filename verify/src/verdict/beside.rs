//! The folder next to a verdict: files named by their digests, accessed through a handle of the folder. Links that
//! somebody may have put there are not followed.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_capped;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// The folder; `None` if it does not exist.
pub(super) struct Beside(Option<OwnedFd>);

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBeside {
    /// Something else has its name.
    #[error("{} is not a folder", path.display())]
    Occupied { path: PathBuf },
    /// The verdict goes to a pipe or a device, which cannot have a folder next to it.
    #[error("{} is not a file, but more than 1 MiB of evidence belongs beside it", path.display())]
    NoFile { path: PathBuf },
    /// It cannot be made or opened.
    #[error("the folder {} cannot be made", path.display())]
    Failed { path: PathBuf, source: io::Error },
}

fn folder_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".d");
    name.into()
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

impl Beside {
    /// The folder of the verdict at `path`, created if necessary.
    pub(super) fn make(path: &Path) -> Result<Self, NotBeside> {
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(NotBeside::NoFile { path: path.to_owned() });
        }
        let folder = folder_of(path);
        let failed = |error: Errno| match error {
            Errno::NOTDIR | Errno::LOOP => NotBeside::Occupied { path: folder.clone() },
            error => NotBeside::Failed { path: folder.clone(), source: error.into() },
        };
        match mkdirat(CWD, &folder, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        open_folder(&folder).map(|folder| Self(Some(folder))).map_err(failed)
    }

    /// The same if it exists.
    pub(super) fn open(path: &Path) -> Self {
        Self(open_folder(&folder_of(path)).ok())
    }

    /// Writes a file atomically, replacing one of that name.
    pub(super) fn write(&self, digest: Sha256Digest, content: &[u8]) -> io::Result<()> {
        let Some(folder) = &self.0 else { return Err(io::ErrorKind::NotFound.into()) };
        let (name, temporary) = (digest.to_string(), format!(".{digest}.part"));
        // Remove what another run left under this name, without following a link.
        match unlinkat(folder, &temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(content)?;
        file.sync_all()?;
        renameat(folder, &temporary, folder, &name)?;
        Ok(())
    }

    /// Reads a file of at most `most` bytes.
    pub(super) fn read(&self, digest: Sha256Digest, most: u64) -> io::Result<Vec<u8>> {
        let Some(folder) = &self.0 else { return Err(io::ErrorKind::NotFound.into()) };
        // Without NONBLOCK, opening a pipe would block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(folder, digest.to_string(), flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        read_capped(file, most)
    }
}
