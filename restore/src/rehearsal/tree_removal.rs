//! Removes a tree of any depth, even one that a hostile snapshot made: with two open folders, without recursion, and
//! without following links.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Removes the folder at `path` and everything below it. A missing folder is fine.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match open_folder(CWD, path) {
        Ok(root) => empty(root.as_fd())?,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    Ok(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

/// Empties `root`. Before a folder of `root` is removed, the folders in it are moved up into `root`, so the removal is
/// never deeper than two levels; each folder moves once.
fn empty(root: BorrowedFd<'_>) -> io::Result<()> {
    let mut number = 0_u64;
    loop {
        let names = list(root)?;
        if names.is_empty() {
            return Ok(());
        }
        for (name, is_folder) in names {
            if is_folder {
                let folder = open_folder(root, name.as_c_str())?;
                for (child, is_folder) in list(folder.as_fd())? {
                    if is_folder {
                        move_up(folder.as_fd(), &child, root, &mut number)?;
                    } else {
                        rustix::fs::unlinkat(&folder, &child, AtFlags::empty())?;
                    }
                }
                drop(folder);
                rustix::fs::unlinkat(root, &name, AtFlags::REMOVEDIR)?;
            } else {
                rustix::fs::unlinkat(root, &name, AtFlags::empty())?;
            }
        }
    }
}

/// Moves the folder `name` into `root`, under a name that is free there.
fn move_up(folder: BorrowedFd<'_>, name: &CStr, root: BorrowedFd<'_>, number: &mut u64) -> io::Result<()> {
    let mut opened = false;
    loop {
        *number += 1;
        match rustix::fs::renameat(folder, name, root, format!(".moved-{number}")) {
            Ok(()) => return Ok(()),
            // The snapshot may have used the name.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            // Moving a folder writes into it, and its owner may have removed that right.
            Err(Errno::ACCESS | Errno::PERM) if !opened => {
                rustix::fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
                opened = true;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn open_folder<P: rustix::path::Arg + Copy>(at: BorrowedFd<'_>, path: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(at, path, flags, Mode::empty());
    let folder = match open() {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(at, path, Mode::RWXU, AtFlags::empty())?;
            open()?
        }
        other => other?,
    };
    // A folder that is not writable cannot be emptied.
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        rustix::fs::fchmod(&folder, Mode::RWXU)?;
    }
    Ok(folder)
}

/// The names in a folder, and which of them are folders.
fn list(folder: BorrowedFd<'_>) -> io::Result<Vec<(CString, bool)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if [&b"."[..], b".."].contains(&name.to_bytes()) {
            continue;
        }
        let is_folder = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            kind => kind == FileType::Directory,
        };
        names.push((name.to_owned(), is_folder));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_goes_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let tree = place.path().join("tree");
        fs::create_dir(&tree).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        // Names that the removal itself would use.
        fs::create_dir_all(tree.join(".moved-1/full")).unwrap();
        fs::write(tree.join(".moved-2"), "x").unwrap();
        fs::create_dir_all(tree.join("closed/below")).unwrap();
        fs::set_permissions(tree.join("closed/below"), fs::Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
        let mut at = open_folder(CWD, tree.as_path()).unwrap();
        // Far more levels than open files are allowed, and a longer path than is possible.
        for _ in 0..5000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open_folder(at.as_fd(), "d").unwrap();
        }
        drop(at);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
        remove_tree(&tree).unwrap();
        symlink(&outside, &tree).unwrap();
        assert!(remove_tree(&tree).is_err(), "a link in place of the folder");
        assert!(outside.join("kept").exists());
    }
}
