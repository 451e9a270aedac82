//! The identity of a file on this machine.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;

/// The identity of a file when it was made. The number of an inode is reused for another file once the first is gone,
/// so the kind and, if the file system supports it, the time of birth are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    kind: FileType,
    born: Option<(i64, u32)>,
}

impl Identity {
    /// The identity of an open file.
    pub(super) fn of(handle: impl AsFd) -> io::Result<Self> {
        Self::at(handle, b"")
    }

    /// The identity of `name` in an open folder, without following a link; without a name, that of `folder`.
    pub(super) fn at(folder: impl AsFd, name: &[u8]) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        match rustix::fs::statx(&folder, name, flags, wanted) {
            Ok(found) => {
                let is_known = found.stx_mask & StatxFlags::BTIME.bits() != 0;
                Ok(Self {
                    device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
                    inode: found.stx_ino,
                    kind: FileType::from_raw_mode(found.stx_mode.into()),
                    born: is_known.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
                })
            }
            // Old sandboxes block statx(2).
            Err(Errno::NOSYS | Errno::PERM) => {
                let found = rustix::fs::statat(&folder, name, flags)?;
                let kind = FileType::from_raw_mode(found.st_mode);
                Ok(Self { device: found.st_dev, inode: found.st_ino, kind, born: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that an open file is the one that was made.
    pub(super) fn check(self, handle: impl AsFd) -> io::Result<()> {
        if Self::of(handle)? == self { Ok(()) } else { Err(exchanged()) }
    }

    /// Whether it is of this kind.
    pub(super) fn is(self, kind: FileType) -> bool {
        self.kind == kind
    }
}

/// The error for an item that something else has replaced.
pub(super) fn exchanged() -> io::Error {
    io::Error::other("something else replaced it while it was restored, and was left unchanged")
}
