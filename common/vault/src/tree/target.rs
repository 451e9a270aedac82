//! The folder that a restore fills: opened once, private while it is filled, and never reached by its path again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::metadata::remove_acls;
use crate::error::VaultError;
use crate::format::name::check_name;

/// The flags for opening folders: only folders, and never through a link.
pub(super) const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An empty folder that nobody else can look into or change.
///
/// A folder that existed before may belong to another user, who could change what is restored during the restore. Root
/// takes such a folder over first; other users are refused.
#[derive(Debug)]
pub struct TargetFolder {
    path: PathBuf,
    folder: Arc<OwnedFd>,
    /// The folder's previous state; `None` if it was made for the restore.
    before: Option<Before>,
    /// Whether restored items get their owners back.
    gets_owners: bool,
}

/// The owner and mode of a folder that existed before.
#[derive(Debug, Clone, Copy)]
struct Before {
    owner: Uid,
    group: Gid,
    mode: Mode,
}

/// What to do about the owner of an existing folder.
#[derive(Debug, PartialEq, Eq)]
enum Ownership {
    /// Only its user and root can change it once it is closed.
    Trusted,
    /// It must be taken over first.
    TakeOver,
    /// Its owner can change it, and this user cannot take it over.
    Refuse,
}

fn ownership(owner: u32, user: u32) -> Ownership {
    match (owner, user) {
        (owner, user) if owner == user || owner == 0 => Ownership::Trusted,
        (_, 0) => Ownership::TakeOver,
        _ => Ownership::Refuse,
    }
}

impl TargetFolder {
    /// Lets everything that is restored belong to this user; programs therefore lose set-user-ID.
    #[must_use]
    pub fn without_owners(self) -> Self {
        Self { gets_owners: false, ..self }
    }

    pub(crate) fn gets_owners(&self) -> bool {
        self.gets_owners
    }

    /// Takes the folder at `path`, which must be empty; makes it, and its parents, if it does not exist. The caller is
    /// responsible for the path: links in `path` are followed if the folder already exists.
    pub fn take(path: &Path) -> Result<Self, VaultError> {
        let failed = |error: Errno| VaultError::Target { path: path.to_owned(), source: error.into() };
        let is_new = match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(Errno::NOENT) => {
                let above = path.parent().unwrap_or(path);
                let failed = |source| VaultError::Target { path: above.to_owned(), source };
                std::fs::create_dir_all(above).map_err(failed)?;
                return Self::take(path);
            }
            Err(error) => return Err(failed(error)),
        };
        let flags = if is_new { OPEN_FOLDER } else { OPEN_FOLDER.difference(OFlags::NOFOLLOW) };
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        Self::close_to_others(path.to_owned(), folder, is_new)
    }

    /// Makes the folder `name` below this one and takes it, without using any path.
    pub fn make_below(&self, name: &str) -> Result<Self, VaultError> {
        check_name(name).map_err(|reason| VaultError::BadName {
            what: "folder",
            name: name.to_owned(),
            reason,
        })?;
        let path = self.path.join(name);
        let failed = |error: Errno| VaultError::Target { path: path.clone(), source: error.into() };
        rustix::fs::mkdirat(&*self.folder, name, Mode::RWXU).map_err(failed)?;
        let folder = rustix::fs::openat(&*self.folder, name, OPEN_FOLDER, Mode::empty()).map_err(failed)?;
        Ok(Self { gets_owners: self.gets_owners, ..Self::close_to_others(path, folder, true)? })
    }

    /// Makes an open folder private: the owner first, then the mode, then the ACLs that it may have inherited. It must
    /// be empty before, so that nothing is taken from anyone, and after, when nobody else can put anything into it.
    fn close_to_others(path: PathBuf, folder: OwnedFd, is_new: bool) -> Result<Self, VaultError> {
        let failed = |error: Errno| VaultError::Target { path: path.clone(), source: error.into() };
        let not_empty = || VaultError::TargetNotEmpty { path: path.clone() };
        if !is_empty(folder.as_fd()).map_err(failed)? {
            return Err(not_empty());
        }
        let stat = rustix::fs::fstat(&folder).map_err(failed)?;
        let before = Before::of(&stat);
        let user = rustix::process::geteuid();
        match ownership(before.owner.as_raw(), user.as_raw()) {
            Ownership::Trusted => {}
            Ownership::TakeOver => {
                rustix::fs::fchown(&folder, Some(user), None).map_err(failed)?;
            }
            Ownership::Refuse => {
                return Err(VaultError::TargetOfAnother { path, owner: before.owner.as_raw() });
            }
        }
        match rustix::fs::fchmod(&folder, Mode::RWXU) {
            Ok(()) => {}
            // Root's folder, which this user may write to but not close: what is made in it belongs to this user.
            Err(Errno::PERM) if before.owner.is_root() && !user.is_root() => {}
            Err(error) => return Err(failed(error)),
        }
        remove_acls(folder.as_fd()).map_err(|source| VaultError::Target { path: path.clone(), source })?;
        if !is_empty(folder.as_fd()).map_err(failed)? {
            before.give_back(folder.as_fd()).map_err(failed)?;
            return Err(not_empty());
        }
        Ok(Self { path, folder: Arc::new(folder), before: (!is_new).then_some(before), gets_owners: true })
    }

    /// Its path, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn folder(&self) -> &Arc<OwnedFd> {
        &self.folder
    }

    /// Restores the owner and mode of a folder that existed before, if its own metadata is in no snapshot. A folder
    /// that was made for the restore stays private.
    pub fn give_back(&self) -> Result<(), VaultError> {
        let failed = |error: Errno| VaultError::Target { path: self.path.clone(), source: error.into() };
        self.before.map_or(Ok(()), |before| before.give_back(self.folder.as_fd())).map_err(failed)
    }
}

impl Before {
    fn of(stat: &Stat) -> Self {
        Self {
            owner: Uid::from_raw(stat.st_uid),
            group: Gid::from_raw(stat.st_gid),
            mode: Mode::from_raw_mode(stat.st_mode & 0o7777),
        }
    }

    fn give_back(self, folder: BorrowedFd<'_>) -> Result<(), Errno> {
        match rustix::fs::fchmod(folder, self.mode) {
            Err(Errno::PERM) if !rustix::process::geteuid().is_root() => return Ok(()),
            other => other?,
        }
        if self.owner == rustix::process::geteuid() {
            return Ok(());
        }
        rustix::fs::chownat(folder, "", Some(self.owner), Some(self.group), AtFlags::EMPTY_PATH)?;
        // A new owner clears set-user-ID and set-group-ID.
        rustix::fs::fchmod(folder, self.mode)
    }
}

fn is_empty(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;
    use crate::format::name::tests::bad_names;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_folder_of_another_user_is_taken_over_by_root_and_refused_to_others() {
        for (owner, user, expected) in [
            (0, 0, Ownership::Trusted),
            (1000, 1000, Ownership::Trusted),
            (0, 1000, Ownership::Trusted),
            (1000, 0, Ownership::TakeOver),
            (1001, 1000, Ownership::Refuse),
        ] {
            assert_eq!(ownership(owner, user), expected, "folder of {owner}, user {user}");
        }
    }

    #[test]
    fn a_target_is_private_while_it_is_filled_and_gets_its_mode_again() {
        let home = tempfile::tempdir().unwrap();
        let (new, old) = (home.path().join("new"), home.path().join("old"));
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o2777)).unwrap();
        let (made, taken) = (TargetFolder::take(&new).unwrap(), TargetFolder::take(&old).unwrap());
        assert_eq!((mode(&new), mode(&old)), (0o700, 0o700));
        let below = made.make_below("below").unwrap();
        assert_eq!(mode(&new.join("below")), 0o700);
        for target in [made, taken, below] {
            target.give_back().unwrap();
        }
        assert_eq!((mode(&new), mode(&old)), (0o700, 0o2777));
    }

    #[test]
    fn what_is_made_below_a_target_is_below_it() {
        let home = tempfile::tempdir().unwrap();
        let target = TargetFolder::take(&home.path().join("target")).unwrap();
        for (name, _) in bad_names() {
            let error = target.make_below(&name).unwrap_err();
            assert!(matches!(error, VaultError::BadName { .. }), "{name:?}: {error:?}");
        }
        let elsewhere = home.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, home.path().join("target/link")).unwrap();
        target.make_below("link").unwrap_err();
        // The target is the folder that was opened, wherever its path leads later.
        fs::rename(home.path().join("target"), home.path().join("moved")).unwrap();
        symlink(&elsewhere, home.path().join("target")).unwrap();
        target.make_below("below").unwrap();
        assert!(home.path().join("moved/below").is_dir());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_target_that_is_not_empty_is_left_unchanged() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "here first").unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = TargetFolder::take(home.path()).unwrap_err();
        assert!(matches!(error, VaultError::TargetNotEmpty { .. }), "{error:?}");
        assert_eq!(mode(home.path()), 0o755);
    }
}
