//! Objects in a folder: writing one so that it survives a crash, and removing one.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use object_store::PutMode;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::reach::{OPEN, PASS, join, object_only, split, step};
use super::staging::Staged;
use super::{Folder, Wrong};

/// The mode with which other programs create files and folders; the user's umask applies.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);

impl Folder {
    /// Writes an object to a staging file next to its final place, and gives it its name once its bytes are on disk.
    /// With [`PutMode::Create`], the name must not exist yet.
    pub(super) fn write(&self, key: &str, parts: &[Bytes], mode: &PutMode) -> Result<(), Wrong> {
        let (above, name) = split(key);
        let write = || {
            let folder = self.make_folders(above)?;
            let staged = Staged::new(&folder, name, key)?;
            let failed = |error: io::Error| Wrong::at("write", key, error);
            let mut file: &File = staged.file();
            parts.iter().try_for_each(|part| file.write_all(part)).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            let staged = staged.close().map_err(failed)?;
            if matches!(mode, PutMode::Create) {
                link(&folder, &staged, name, key)?;
                flush(&folder, above)
            } else {
                rename(&folder, staged, name, key)?;
                flush(&folder, above)
            }
        };
        write().map_err(Wrong::in_making)
    }

    /// Removes an object. Anything else with that name stays.
    pub(super) fn remove(&self, key: &str) -> Result<(), Wrong> {
        let (above, name) = split(key);
        let look = || {
            let folder = self.enter(above, PASS)?;
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
            object_only(&stat.map_err(|error| Wrong::at("look at", key, error))?, key)?;
            Ok(folder)
        };
        let folder = look().map_err(|wrong| self.of_one(wrong))?;
        rustix::fs::unlinkat(folder, name, AtFlags::empty()).map_err(|error| Wrong::at("delete", key, error))
    }

    /// The folder at `place`, created if necessary. Each folder that gets a new one is flushed to disk.
    fn make_folders(&self, place: &str) -> Result<OwnedFd, Wrong> {
        match self.enter(place, OPEN) {
            Err(Wrong::Missing) => {}
            entered => return entered,
        }
        let (mut folder, mut at) = (self.enter("", PASS)?, String::new());
        let mut changed = Vec::new();
        for part in place.split('/') {
            let below = join(&at, part);
            folder = match step(&folder, part, &below, PASS) {
                Err(Wrong::Missing) => {
                    match rustix::fs::mkdirat(&folder, part, FOLDER_MODE) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(Wrong::at("make the folder", &below, error)),
                    }
                    let made = step(&folder, part, &below, PASS);
                    changed.push((step(&folder, ".", &at, OPEN)?, at));
                    made?
                }
                entered => entered?,
            };
            at = below;
        }
        let last = step(&folder, ".", &at, OPEN)?;
        for (folder, place) in changed.iter().rev() {
            flush(folder, place)?;
        }
        Ok(last)
    }
}

/// The staging file keeps its first name until the final name is durable.
fn link(folder: &OwnedFd, staged: &Staged<'_, ()>, name: &str, key: &str) -> Result<(), Wrong> {
    match rustix::fs::linkat(folder, staged.name(), folder, name, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Err(object_only(&stat, key).err().unwrap_or(Wrong::Exists)),
            Err(_) => Err(Wrong::Exists),
        },
        Err(error) => Err(Wrong::at("give its name to", key, error)),
    }
}

/// For file systems without hard links.
fn rename(folder: &OwnedFd, staged: Staged<'_, ()>, name: &str, key: &str) -> Result<(), Wrong> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => object_only(&stat, key)?,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(Wrong::at("look at", key, error)),
    }
    let renamed = rustix::fs::renameat(folder, staged.name(), folder, name);
    renamed.map_err(|error| Wrong::at("give its name to", key, error))?;
    staged.let_go();
    Ok(())
}

fn flush(folder: impl AsFd, place: &str) -> Result<(), Wrong> {
    rustix::fs::fsync(folder).map_err(|error| Wrong::at("flush the folder", place, error))
}
