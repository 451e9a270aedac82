//! Owners, modes, times and extended attributes, read and set on anything a folder can hold without following links.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::item::{Item, ItemKind, Xattr};

/// The largest value of an attribute on Linux, in bytes.
const MAX_XATTR: usize = 64 << 10;

/// A path that names `name` in the open folder without resolving anything above it.
pub(super) fn proc_path(folder: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(if name.is_empty() { b"." } else { name });
    path
}

/// Reads all extended attributes of a name, sorted. A file system that has none has none.
pub(super) fn read_xattrs(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Vec<Xattr>>> {
    let path = proc_path(folder, name);
    let mut names = vec![0; 1 << 10];
    let length = loop {
        match rustix::fs::llistxattr(&path[..], &mut names[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) if names.len() < MAX_XATTR => names.resize(MAX_XATTR, 0),
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    let mut xattrs = Vec::new();
    for xattr in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; 256];
        let length = loop {
            match rustix::fs::lgetxattr(&path[..], xattr, &mut value[..]) {
                Ok(length) => break Some(length),
                Err(Errno::RANGE) if value.len() < MAX_XATTR => value.resize(MAX_XATTR, 0),
                // Removed since it was listed, or listed to everyone and readable by few.
                Err(Errno::NODATA | Errno::PERM) => break None,
                Err(error) => return Err(error.into()),
            }
        };
        if let Some(length) = length {
            value.truncate(length);
            xattrs.push(Xattr { name: xattr.to_vec().into(), value: value.into() });
        }
    }
    xattrs.sort_unstable();
    Ok((!xattrs.is_empty()).then_some(xattrs))
}

/// Sets owner, attributes, mode and times, in the order in which none undoes another: a new owner clears setuid and
/// file capabilities, and everything before the times changes the times.
pub(super) fn apply(folder: BorrowedFd<'_>, name: &[u8], item: &Item) -> io::Result<()> {
    let at = if name.is_empty() { b"." } else { name };
    let (uid, gid) = (Uid::from_raw(item.uid), Gid::from_raw(item.gid));
    let mut first_error =
        rustix::fs::chownat(folder, at, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).err();
    let mut note = |result: Result<(), Errno>| {
        if let Err(error) = result {
            first_error.get_or_insert(error);
        }
    };
    let path = proc_path(folder, name);
    for xattr in item.xattrs.iter().flatten() {
        note(rustix::fs::lsetxattr(&path[..], &xattr.name[..], &xattr.value, XattrFlags::empty()));
    }
    if item.kind != ItemKind::Symlink {
        note(rustix::fs::chmodat(folder, at, Mode::from_raw_mode(item.mode), AtFlags::empty()));
    }
    note(rustix::fs::utimensat(folder, at, &times(item), AtFlags::SYMLINK_NOFOLLOW));
    first_error.map_or(Ok(()), |error| Err(error.into()))
}

fn times(item: &Item) -> Timestamps {
    let mtime = Timespec { tv_sec: item.mtime, tv_nsec: item.mtime_ns.into() };
    Timestamps { last_access: mtime, last_modification: mtime }
}

/// The part of an item that every kind has.
pub(super) fn item_of(path: Vec<u8>, kind: ItemKind, stat: &Stat, xattrs: Option<Vec<Xattr>>) -> Item {
    Item {
        path: path.into(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        mtime_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        xattrs,
        size: None,
        content: None,
        segments: None,
        target: None,
        device: None,
        origin: None,
    }
}

/// A folder's own metadata is reached through the folder itself.
pub(super) fn apply_to_folder(folder: impl AsFd, item: &Item) -> io::Result<()> {
    apply(folder.as_fd(), b"", item)
}
