//! Folders that only their owner may look into: for state, caches and what is being restored.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes the folder at `path` and the missing ones above it, each with mode 0700. A folder that exists stays as it is.
pub fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
