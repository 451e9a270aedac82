//! Owners, modes, times and extended attributes of anything in a folder. They are read without following links, and set
//! through an open handle, so that no name is resolved twice.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::format::item::{Item, ItemKind, Xattr};

/// The largest value of an attribute on Linux, in bytes.
const MAX_XATTR: usize = 64 << 10;

/// A path to `name` in the open folder that resolves nothing above it.
pub(super) fn proc_path(folder: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(if name.is_empty() { b"." } else { name });
    path
}

/// Reads all extended attributes of a name, sorted; empty if the file system has none.
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
                // Removed since it was listed, or visible to everyone but readable by few.
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

/// The kernel's names for the ACLs of a file or folder.
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];
/// The kernel's name for a program's capabilities.
const CAPABILITIES: &[u8] = b"security.capability";
/// The bits that let a program run as the owner or group of its file.
const SET_IDS: u32 = 0o6000;

/// Removes the ACLs of an open folder, which it inherits if the folder above has a default one.
pub(super) fn remove_acls(folder: BorrowedFd<'_>) -> io::Result<()> {
    for acl in ACLS {
        match rustix::fs::fgetxattr(folder, acl, &mut [0_u8; 0][..]) {
            Ok(_) => rustix::fs::fremovexattr(folder, acl)?,
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A path to the open file itself, even one that was opened with `O_PATH`, that leads through no name which somebody
/// could exchange.
fn handle_path(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

/// The owner of an item once its metadata is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owned {
    /// The captured owner.
    AsCaptured,
    /// This user: owners were not wanted, or only root may set them.
    ByThisUser {
        /// Whether set-user-ID, set-group-ID or a program's capabilities were omitted.
        rights_left_out: bool,
    },
}

/// What only root may set, besides owners: attributes of these names.
const OF_ROOT: [&[u8]; 2] = [b"trusted.", b"security."];

/// Sets owner, attributes, mode and times of the file behind `handle`, in an order in which none undoes another: a new
/// owner clears set-user-ID and file capabilities, and everything before the times changes the times.
///
/// If the owner is not set, a program must not run with the rights of its actual owner: set-user-ID, set-group-ID and
/// capabilities are omitted.
pub(super) fn apply(handle: BorrowedFd<'_>, item: &Item, with_owner: bool) -> io::Result<Owned> {
    if !with_owner {
        return apply_to_owned(handle, item, None, false);
    }
    let (uid, gid) = (Uid::from_raw(item.uid), Gid::from_raw(item.gid));
    let owned = rustix::fs::chownat(handle, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH);
    apply_to_owned(handle, item, Some(owned), rustix::process::geteuid().is_root())
}

/// `owned` is the result of setting the owner, if that was wanted.
fn apply_to_owned(
    handle: BorrowedFd<'_>,
    item: &Item,
    owned: Option<Result<(), Errno>>,
    is_root: bool,
) -> io::Result<Owned> {
    let is_owned = owned == Some(Ok(()));
    let mut failed: Vec<String> = Vec::new();
    let mut kind = None;
    let mut note = |what: String, error: Errno| {
        let error = io::Error::from(error);
        failed.push(format!("its {what} cannot be set: {error}"));
        kind.get_or_insert(error.kind());
    };
    let has_capabilities = item.xattrs.iter().flatten().any(|xattr| &xattr.name[..] == CAPABILITIES);
    let has_rights = item.mode & SET_IDS != 0 || has_capabilities;
    let rights_left_out = !is_owned && has_rights && item.kind != ItemKind::Symlink;
    match owned {
        // It is well known that only root can change owners. A program that lost its rights is a different matter.
        Some(Err(Errno::PERM)) if !is_root && !rights_left_out => {}
        Some(Err(error)) => note("owner".to_owned(), error),
        Some(Ok(())) | None => {}
    }
    let path = handle_path(handle);
    let is_of_root = |name: &[u8]| OF_ROOT.iter().any(|beginning| name.starts_with(beginning));
    for xattr in item.xattrs.iter().flatten().filter(|x| is_owned || &x.name[..] != CAPABILITIES) {
        match rustix::fs::setxattr(&path, &xattr.name[..], &xattr.value, XattrFlags::empty()) {
            Err(Errno::PERM) if !is_root && is_of_root(&xattr.name) && &xattr.name[..] != CAPABILITIES => {}
            Err(error) => {
                note(format!("attribute {}", String::from_utf8_lossy(&xattr.name)), error);
            }
            Ok(()) => {}
        }
    }
    if item.kind != ItemKind::Symlink {
        let mode = mode_to_set(item.mode, is_owned);
        if let Err(error) = rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(mode), AtFlags::empty()) {
            note("mode".to_owned(), error);
        }
    }
    if let Err(error) = rustix::fs::utimensat(CWD, &path, &times(item), AtFlags::empty()) {
        note("times".to_owned(), error);
    }
    match kind {
        None if is_owned => Ok(Owned::AsCaptured),
        None => Ok(Owned::ByThisUser { rights_left_out }),
        Some(kind) => {
            if rights_left_out {
                failed.push("set-user-ID, set-group-ID and capabilities were left out".to_owned());
            }
            Err(io::Error::new(kind, failed.join("; ")))
        }
    }
}

/// Adapts `item` to what a restore without owners produces, compared with the existing item `there`: with its owner,
/// and without what [`apply`] omits then.
pub(crate) fn leave_out_owner(item: &mut Item, there: &Item) {
    (item.uid, item.gid) = (there.uid, there.gid);
    if there.mode == mode_to_set(item.mode, false) {
        item.mode = there.mode;
    }
    let is_of_root = |name: &[u8]| OF_ROOT.iter().any(|beginning| name.starts_with(beginning));
    let is_there = |name: &[u8]| there.xattrs.iter().flatten().any(|xattr| &xattr.name[..] == name);
    if let Some(xattrs) = &mut item.xattrs {
        xattrs.retain(|xattr| !is_of_root(&xattr.name) || is_there(&xattr.name));
    }
    item.xattrs.take_if(|xattrs| xattrs.is_empty());
}

fn mode_to_set(mode: u32, is_owned: bool) -> u32 {
    if is_owned { mode } else { mode & !SET_IDS }
}

fn times(item: &Item) -> Timestamps {
    let mtime = Timespec { tv_sec: item.mtime, tv_nsec: item.mtime_ns.into() };
    Timestamps { last_access: mtime, last_modification: mtime }
}

/// The fields of an item that every kind has.
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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::format::item::tests::file;

    #[test]
    fn a_program_whose_owner_cannot_be_set_does_not_run_as_another() {
        for (mode, is_owned, expected) in [
            (0o6755, true, 0o6755),
            (0o6755, false, 0o755),
            (0o4711, false, 0o711),
            (0o2755, false, 0o755),
            (0o1777, false, 0o1777),
            (0o644, false, 0o644),
        ] {
            assert_eq!(mode_to_set(mode, is_owned), expected, "{mode:o}, owned: {is_owned}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let program = File::create(&path).unwrap();
        let item = Item { mode: 0o6755, xattrs: None, ..file(b"program") };
        let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
        let refused = Some(Err(Errno::PERM));
        for is_root in [true, false] {
            let error = apply_to_owned(program.as_fd(), &item, refused, is_root).unwrap_err();
            assert_eq!((mode(), error.kind()), (0o755, io::ErrorKind::PermissionDenied));
            let said = error.to_string();
            assert!(
                said.starts_with("its owner cannot be set: ") && said.ends_with("were left out"),
                "{said}"
            );
        }
        // A user who wants no owners knows it; and a user other than root cannot expect them.
        let cleared = Owned::ByThisUser { rights_left_out: true };
        assert_eq!(apply(program.as_fd(), &item, false).unwrap(), cleared);
        assert_eq!(mode(), 0o755);
        let plain = Item { mode: 0o644, ..item };
        let left = Owned::ByThisUser { rights_left_out: false };
        assert_eq!(apply_to_owned(program.as_fd(), &plain, refused, false).unwrap(), left);
        assert!(apply_to_owned(program.as_fd(), &plain, refused, true).is_err());
    }
}
