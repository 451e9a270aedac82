//! Walks a folder: every file below a prefix, each folder from the handle of its parent.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use jiff::Timestamp;
use object_store::ObjectMeta;
use object_store::path::Path;
use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::reach::{OPEN, join, kind, object_only, step};
use super::staging::is_staging;
use super::{Folder, Wrong};
use crate::listing::{Listing, PassedOver};
use crate::{Entry, name};

/// File systems create it in their root, and only root can read it.
const LOST_AND_FOUND: &str = "lost+found";

/// What a walk finds.
pub(super) enum Found<'a> {
    Object {
        key: String,
        stat: Stat,
    },
    /// A staging file, and the folder that contains it.
    Staged {
        folder: BorrowedFd<'a>,
        name: &'a str,
        key: String,
        stat: Stat,
    },
    PassedOver(PassedOver),
}

type Visit<'v> = &'v mut dyn FnMut(Found<'_>) -> Result<(), Wrong>;

impl Folder {
    /// The objects below `prefix`, and what else is there.
    pub(crate) fn list(&self, prefix: &str) -> Result<Listing, Wrong> {
        let mut listing = Listing::default();
        self.walk(prefix, &mut |found| {
            match found {
                Found::Object { key, stat } => {
                    listing.entries.push(entry(key, &stat));
                }
                Found::Staged { .. } => {}
                Found::PassedOver(passed) => listing.passed_over.push(passed),
            }
            Ok(())
        })?;
        Ok(listing)
    }

    pub(super) fn walk(&self, prefix: &str, visit: Visit<'_>) -> Result<(), Wrong> {
        match self.enter(prefix, OPEN) {
            Ok(folder) => self.walk_below(&folder, prefix, visit),
            Err(wrong) => self.pass_over(wrong, visit),
        }
    }

    /// Goes no deeper than names have parts, and keeps one folder open per level.
    fn walk_below(&self, folder: &OwnedFd, above: &str, visit: Visit<'_>) -> Result<(), Wrong> {
        let names = match names(folder) {
            Ok(names) => names,
            Err(error) => return self.pass_over(Wrong::at("list", above, error), visit),
        };
        for (name, kind) in names {
            let Ok(name) = name.to_str() else {
                let place = join(above, &name.to_string_lossy());
                visit(Found::PassedOver(PassedOver::unnamed(&place)))?;
                continue;
            };
            let key = join(above, name);
            let is_staging = is_staging(&key);
            if is_staging || name::check(&key).is_ok() {
                self.walk_one(folder, name, key, (kind, is_staging), visit)?;
            } else if name != LOST_AND_FOUND {
                visit(Found::PassedOver(PassedOver::unnamed(&key)))?;
            }
        }
        Ok(())
    }

    fn walk_one(
        &self,
        folder: &OwnedFd,
        name: &str,
        key: String,
        (mut told, is_staging): (FileType, bool),
        visit: Visit<'_>,
    ) -> Result<(), Wrong> {
        let mut stat = None;
        if !told.is_dir() {
            match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => told = kind(stat.insert(found)),
                Err(error) => return self.pass_over(Wrong::at("look at", &key, error), visit),
            }
        }
        match stat {
            _ if is_staging && !told.is_file() => visit(Found::PassedOver(PassedOver::unnamed(&key))),
            Some(stat) if is_staging => visit(Found::Staged { folder: folder.as_fd(), name, key, stat }),
            Some(stat) if !told.is_dir() => match object_only(&stat, &key) {
                Ok(()) => visit(Found::Object { key, stat }),
                Err(wrong) => self.pass_over(wrong, visit),
            },
            _ => match step(folder, name, &key, OPEN) {
                Ok(below) => self.walk_below(&below, &key, visit),
                Err(wrong) => self.pass_over(wrong, visit),
            },
        }
    }

    /// Continues if only one file or folder is at fault.
    fn pass_over(&self, wrong: Wrong, visit: Visit<'_>) -> Result<(), Wrong> {
        match self.of_one(wrong) {
            // It was removed after its folder was listed.
            Wrong::Missing => Ok(()),
            Wrong::InTheWay(found) => visit(Found::PassedOver(found.into())),
            wrong => Err(wrong),
        }
    }
}

/// The names in a folder, read completely, so that no second handle stays open while they are visited.
fn names(folder: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

pub(super) fn entry(key: String, stat: &Stat) -> Entry {
    let micros = stat.st_mtime.saturating_mul(1_000_000);
    let micros = micros.saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1000);
    Entry::new(key, size(stat), micros)
}

pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// A file's metadata in the form of object storage clients. Its time may be anything: file systems keep whatever a
/// file's owner sets.
pub(super) fn meta(stat: &Stat, location: Path) -> ObjectMeta {
    let bound = if stat.st_mtime < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let modified = SystemTime::try_from(Timestamp::new(stat.st_mtime, nanos).unwrap_or(bound));
    let last_modified = modified.unwrap_or(SystemTime::UNIX_EPOCH).into();
    ObjectMeta { location, last_modified, size: size(stat), e_tag: None, version: None }
}
