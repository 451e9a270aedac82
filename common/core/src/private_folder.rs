//! Folders that only their owner may look into: for state, caches and what is being restored.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes the folder at `path` and the missing ones above it, each with mode 0700. A folder that exists stays as it is.
pub fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes it as [`make`] does, or takes one that exists: it must be this user's own and no link, and it is closed to others.
/// What lies in it, nobody else has put there.
///
/// # Errors
/// It is a link or another user's, or it cannot be made.
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
