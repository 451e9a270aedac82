//! Space on the disks that a drill writes to: how much there is, and how much must stay free.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::grounds::FolderError;
use super::stop::{Stop, open};

/// Free space that is required beyond the snapshot's size, in bytes.
const SPARE_BYTES: u64 = 256 << 20;

/// How much always stays free on the disks that a drill writes to.
pub(super) const FLOOR: Room = Room { bytes: 192 << 20, files: 1000 };

/// A disk of fixed size counts as full when less than one in this many bytes is free, or fewer than `DISK_FILES` files.
const DISK_PART: u64 = 50;
const DISK_FILES: u64 = 16;

/// The free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes.
    pub(super) bytes: u64,
    /// Files, if the file system counts them.
    pub(super) files: u64,
}

impl Room {
    /// The free space of the file system that holds `folder`.
    pub(super) fn below(folder: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(folder)?;
        // A file system that allocates inodes on demand reports zero.
        let files = if found.f_files == 0 { u64::MAX } else { found.f_favail };
        Ok(Self { bytes: found.f_bavail.saturating_mul(found.f_frsize), files })
    }

    /// The free space of a disk of `bytes` at which it counts as full.
    pub(super) fn when_full(bytes: u64) -> Self {
        Self { bytes: bytes / DISK_PART, files: DISK_FILES }
    }

    /// Describes what is lacking below `folder` if `floor` must stay free.
    pub(super) fn want(self, floor: Self, folder: &Path) -> Option<String> {
        let folder = folder.display();
        if self.bytes < floor.bytes {
            let (left, floor) = (self.bytes >> 20, floor.bytes >> 20);
            return Some(format!(
                "The drill took so much of the disk below {folder} that {left} MiB were left, and {floor} MiB must stay free."
            ));
        }
        (self.files < floor.files).then(|| {
            format!(
                "The drill made so many files below {folder} that it has room for only {} more.",
                self.files
            )
        })
    }
}

fn below(folder: &Path) -> Result<Room, Stop> {
    let failed = |source| FolderError { operation: "look at", path: folder.to_owned(), source };
    Room::below(folder).map_err(|source| Stop::NoReport(failed(source).into()))
}

/// Checks that the disk that the plan asks for holds what is restored, and a little more.
pub(super) fn disk_holds(mounted: &Path, size: u64, bytes: u64) -> Result<(), Stop> {
    let free = below(mounted)?.bytes;
    if free.saturating_sub(size / 20) >= bytes {
        return Ok(());
    }
    Err(open(format!(
        "The plan gives the volumes {} MiB together (`volumes_mib`), of which a twentieth and what the file system needs are \
         not theirs, and the snapshot has {} MiB for them.",
        size >> 20,
        bytes.div_ceil(1 << 20)
    )))
}

/// Checks that each folder has room for the given number of bytes, and some more. Folders of one file system share its
/// space.
pub(super) fn enough_space(folders: &[(&Path, u64)]) -> Result<(), Stop> {
    for (folder, _) in folders {
        let device = device(folder)?;
        let mut together = 0_u64;
        for (other, bytes) in folders {
            if self::device(other)? == device {
                together = together.saturating_add(*bytes);
            }
        }
        room_for(folder, together)?;
    }
    Ok(())
}

fn device(folder: &Path) -> Result<u64, Stop> {
    let failed = |source| FolderError { operation: "look at", path: folder.to_owned(), source };
    let found = std::fs::metadata(folder).map_err(|source| Stop::NoReport(failed(source).into()))?;
    Ok(found.dev())
}

/// Checks that there is room for `bytes` below `folder`, and some more.
fn room_for(folder: &Path, bytes: u64) -> Result<(), Stop> {
    let free = below(folder)?.bytes;
    let needed = bytes.saturating_add(bytes / 10).saturating_add(SPARE_BYTES);
    if free >= needed {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(open(format!(
        "There is not enough space below {}: {} MiB are free, and {} MiB are needed.",
        folder.display(),
        mib(free),
        mib(needed)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_bytes_or_files_are_want() {
        let want =
            |bytes: u64, files: u64| Room { bytes, files }.want(FLOOR, Path::new("/x")).unwrap_or_default();
        assert_eq!(want(FLOOR.bytes, FLOOR.files), "");
        assert!(want(FLOOR.bytes - 1, u64::MAX).contains("191 MiB were left"));
        assert!(want(u64::MAX, 7).contains("room for only 7 more"));
    }

    #[test]
    fn folders_of_one_disk_share_its_room() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path(), Path::new("/proc"));
        let free = Room::below(one).unwrap().bytes;
        let half = free / 10 * 6;
        assert!(enough_space(&[(one, half)]).is_ok());
        assert!(enough_space(&[(one, half), (one, half)]).is_err());
        assert!(enough_space(&[(one, 0), (one, half)]).is_ok());
        let Err(Stop::Stopped(_)) = enough_space(&[(one, half), (two, half)]) else {
            panic!("a file system without room takes nothing");
        };
    }
}
