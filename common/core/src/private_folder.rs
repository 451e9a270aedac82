//! Folders that only their owner may access: for state, caches and data that is being restored.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Creates the folder at `path` and its missing parents, each with mode 0700. A folder that exists stays as it is.
pub fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates it like [`make`], or takes over one that exists: it must belong to this user and not be a link, and it is
/// closed to others. Nobody else can have put anything into it.
///
/// # Errors
///
/// If it is a link or belongs to another user, or cannot be created.
pub fn own(path: &Path) -> io::Result<()> {
    make(path)?;
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is a link, or it belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}
