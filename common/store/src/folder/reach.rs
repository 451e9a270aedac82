//! Ways from the root to a folder or a file: through open handles, and never through a link.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{Folder, Wrong};
use crate::Obstacle;
use crate::obstacle::InTheWay;

/// A folder to pass through.
pub(super) const PASS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder to list, or to flush to disk.
pub(super) const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An object to read. If there is a pipe instead, opening it does not block.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

const NO_LINKS: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// File servers open a file that a client holds for others as soon as they have notified that client.
const HELD_FOR_MOST: u32 = 50;
const HELD_PAUSE: Duration = Duration::from_millis(100);

/// The folder in a name, and the rest.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl Folder {
    /// The folder at `place`; the root if that is empty.
    pub(super) fn enter(&self, place: &str, flags: OFlags) -> Result<OwnedFd, Wrong> {
        let at = if place.is_empty() { "." } else { place };
        match rustix::fs::openat2(&self.root, at, flags, Mode::empty(), NO_LINKS) {
            Ok(folder) => Ok(folder),
            Err(Errno::NOENT) => Err(Wrong::Missing),
            // The same step by step: this shows where and why it fails, and works on kernels and sandboxes without that
            // call.
            Err(_) => self.walk_to(place, flags),
        }
    }

    pub(super) fn walk_to(&self, place: &str, flags: OFlags) -> Result<OwnedFd, Wrong> {
        let mut parts = place.split('/').filter(|part| !part.is_empty()).peekable();
        let first = if parts.peek().is_some() { PASS } else { flags };
        let mut folder = step(&self.root, ".", "", first)?;
        let mut at = String::new();
        while let Some(part) = parts.next() {
            at = join(&at, part);
            folder = step(&folder, part, &at, if parts.peek().is_some() { PASS } else { flags })?;
        }
        Ok(folder)
    }

    /// Opens an object for reading.
    pub(super) fn open_object(&self, key: &str) -> Result<(File, Stat), Wrong> {
        let (above, name) = split(key);
        let open = || {
            let folder = self.enter(above, PASS)?;
            let file = open_unheld(&folder, name).map_err(|error| match error {
                Errno::LOOP | Errno::NXIO | Errno::NODEV => what_stands(&folder, name, key),
                Errno::AGAIN => InTheWay { place: key.to_owned(), obstacle: Obstacle::Held }.into(),
                error => Wrong::at("open", key, error),
            })?;
            let stat = rustix::fs::fstat(&file).map_err(|error| Wrong::at("look at", key, error))?;
            object_only(&stat, key)?;
            Ok((File::from(file), stat))
        };
        open().map_err(|wrong| self.of_one(wrong))
    }

    /// The metadata of an object, which need not be readable.
    pub(super) fn look_at(&self, key: &str) -> Result<Stat, Wrong> {
        let (above, name) = split(key);
        let look = || {
            let folder = self.enter(above, PASS)?;
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
            let stat = stat.map_err(|error| Wrong::at("look at", key, error))?;
            object_only(&stat, key)?;
            Ok(stat)
        };
        look().map_err(|wrong| self.of_one(wrong))
    }

    /// Distinguishes a problem with one object or folder from a problem with the storage. If a regular file or a folder
    /// is in the way, the object does not exist, as in a bucket.
    pub(super) fn of_one(&self, wrong: Wrong) -> Wrong {
        match wrong {
            Wrong::InTheWay(InTheWay { obstacle: Obstacle::File | Obstacle::Folder, .. }) => Wrong::Missing,
            Wrong::System { ref place, .. }
                if wrong.is_denied() && !place.is_empty() && self.can_be_entered() =>
            {
                InTheWay { place: place.clone(), obstacle: Obstacle::Denied }.into()
            }
            wrong => wrong,
        }
    }

    /// Whether this user may access the root at all.
    fn can_be_entered(&self) -> bool {
        rustix::fs::statat(&self.root, ".", AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

/// A folder in a folder.
pub(super) fn step(folder: impl AsFd, name: &str, place: &str, flags: OFlags) -> Result<OwnedFd, Wrong> {
    match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
        Ok(below) => Ok(below),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(what_stands(folder, name, place)),
        Err(error) => Err(Wrong::at("open", place, error)),
    }
}

/// What is there instead of the expected file or folder.
pub(super) fn what_stands(folder: impl AsFd, name: &str, place: &str) -> Wrong {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let obstacle = obstacle(kind(&stat)).unwrap_or(Obstacle::File);
            InTheWay { place: place.to_owned(), obstacle }.into()
        }
        Err(error) => Wrong::at("look at", place, error),
    }
}

/// The obstacle that anything but a regular file is.
pub(super) fn obstacle(kind: FileType) -> Option<Obstacle> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some(Obstacle::Folder),
        FileType::Symlink => Some(Obstacle::Link),
        FileType::Fifo => Some(Obstacle::Pipe),
        FileType::Socket => Some(Obstacle::Socket),
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => Some(Obstacle::Device),
    }
}

pub(super) fn object_only(stat: &Stat, key: &str) -> Result<(), Wrong> {
    match obstacle(kind(stat)) {
        None => Ok(()),
        Some(obstacle) => Err(InTheWay { place: key.to_owned(), obstacle }.into()),
    }
}

fn open_unheld(folder: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    for _ in 0..HELD_FOR_MOST {
        match rustix::fs::openat(folder, name, READ, Mode::empty()) {
            Err(Errno::AGAIN) => std::thread::sleep(HELD_PAUSE),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}
