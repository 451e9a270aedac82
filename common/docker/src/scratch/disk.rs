//! A file system of fixed size for the volumes of one drill, so that filling them takes no more of this host's disk: a
//! sparse file in the drill's folder, mounted there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;

use super::host_program;
use crate::EngineError;
use crate::engine::Engine;
use crate::volume::is_mountpoint;

/// The mount point, in the drill's folder.
pub const VOLUMES: &str = "volumes";

/// The image file, in the drill's folder.
const IMAGE: &str = "volumes.ext4";

/// A mounted file system of fixed size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    mounted: PathBuf,
}

fn cannot(reason: String) -> EngineError {
    EngineError::NoDisk { reason }
}

impl Disk {
    /// Creates one of `bytes` in `folder`, which nobody else can access, for volumes of `engine`.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoDisk`] if it cannot be created or mounted, or if the engine does not see it.
    pub(super) async fn make(engine: &Engine, folder: &Path, bytes: u64) -> Result<Self, EngineError> {
        if folder.to_str().is_none() {
            let reason = format!("the engine takes no path that is not UTF-8, such as {}", folder.display());
            return Err(cannot(reason));
        }
        let (image, mounted) = (folder.join(IMAGE), folder.join(VOLUMES));
        let prepare = || -> io::Result<()> {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&image)?.set_len(bytes)?;
            DirBuilder::new().mode(0o700).create(&mounted)
        };
        prepare().map_err(|error| cannot(format!("{}: {error}", image.display())))?;
        let (at, to) = (image.display().to_string(), mounted.display().to_string());
        // Reserve nothing for root, and write nothing that is not needed. Blocks and inodes have the sizes of a large
        // disk: smaller ones would hold less of a file's extended attributes.
        let sizes = ["-b", "4096", "-I", "256", "-i", "16384"];
        let options = [&["-q", "-F", "-m", "0", "-O", "^has_journal"], &sizes[..], &[&at]].concat();
        host_program::call("mkfs.ext4", &options, "-q").await.map_err(cannot)?;
        // No program in a volume gains rights, and no device there can be opened.
        let options = ["-t", "ext4", "-o", "loop,nosuid,nodev", &at, &to];
        host_program::call("mount", &options, "-o loop").await.map_err(cannot)?;
        let disk = Self { mounted };
        if engine.socket().and_then(|socket| is_seen(socket, &disk.mounted)) == Some(false) {
            disk.unmount().await.map_err(cannot)?;
            let reason = "the engine runs in a mount namespace of its own, and mounts of this process do not get there";
            return Err(cannot(reason.to_owned()));
        }
        Ok(disk)
    }

    /// The mount point.
    pub(super) fn mounted(&self) -> &Path {
        &self.mounted
    }

    /// The folder of the scratch volume `name` on it, created at the first call.
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

/// Whether the process that listens at `socket` sees the file system at `mounted`; `None` if that cannot be determined.
fn is_seen(socket: &Path, mounted: &Path) -> Option<bool> {
    let listener = socket_peercred(UnixStream::connect(socket).ok()?).ok()?.pid.as_raw_nonzero();
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let (ours, theirs) = (of("self")?, of(&listener.to_string())?);
    if ours == theirs {
        return Some(true);
    }
    let mounts = fs::read_to_string(format!("/proc/{listener}/mountinfo")).ok()?;
    Some(is_mountpoint(&mounts, mounted))
}
