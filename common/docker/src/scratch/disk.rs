//! A file system of fixed size for the volumes of one drill, so that what fills them takes no more of this host's disk: a
//! sparse file in the drill's folder, mounted there.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::host_program;
use crate::EngineError;

/// Where it is mounted, in the drill's folder.
pub const VOLUMES: &str = "volumes";

/// The file that it lies in, in the drill's folder.
const IMAGE: &str = "volumes.ext4";

/// A file system of fixed size that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    mounted: PathBuf,
}

fn cannot(reason: String) -> EngineError {
    EngineError::NoDisk { reason }
}

impl Disk {
    /// Makes one of `bytes` in `folder`, which nobody else gets into.
    ///
    /// # Errors
    /// [`EngineError::NoDisk`] when it cannot be made or mounted.
    pub(super) async fn make(folder: &Path, bytes: u64) -> Result<Self, EngineError> {
        let (image, mounted) = (folder.join(IMAGE), folder.join(VOLUMES));
        let prepare = || -> io::Result<()> {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&image)?.set_len(bytes)?;
            DirBuilder::new().mode(0o700).create(&mounted)
        };
        prepare().map_err(|error| cannot(format!("{}: {error}", image.display())))?;
        let (at, to) = (image.display().to_string(), mounted.display().to_string());
        // Nothing is kept back for root, and nothing is written that is not needed.
        // Blocks and inodes as on a disk of any size: small ones would hold less of a file's extended attributes.
        let sizes = ["-b", "4096", "-I", "256", "-i", "16384"];
        let options = [&["-q", "-F", "-m", "0", "-O", "^has_journal"], &sizes[..], &[&at]].concat();
        host_program::call("mkfs.ext4", &options, "-q").await.map_err(cannot)?;
        // No program in a volume wins rights, and no device there can be opened.
        let options = ["-t", "ext4", "-o", "loop,nosuid,nodev", &at, &to];
        host_program::call("mount", &options, "-o loop").await.map_err(cannot)?;
        Ok(Self { mounted })
    }

    /// Where it is mounted.
    pub(super) fn mounted(&self) -> &Path {
        &self.mounted
    }

    /// The folder of the scratch volume `name` on it, made at the first call.
    pub(super) fn folder_of(&self, name: &str) -> Result<PathBuf, EngineError> {
        let folder = self.mounted.join(name);
        match DirBuilder::new().mode(0o755).create(&folder) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(EngineError::Io { operation: "create", path: folder, source })
            }
            _ => Ok(folder),
        }
    }

    /// Unmounts it; its file goes with the drill's folder.
    pub(super) async fn unmount(&self) -> Result<(), String> {
        let at = self.mounted.display().to_string();
        host_program::call("umount", &[&at], &at).await.map(drop)
    }
}
