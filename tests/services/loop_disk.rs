//! A separate disk, in a file.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A block device with an empty file system, removed with this value.
pub(crate) struct LoopDisk {
    device: String,
    _folder: TempDir,
}

fn call(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl LoopDisk {
    /// One of `bytes`.
    pub(crate) fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        File::create(&file).unwrap().set_len(bytes).unwrap();
        let file = file.display().to_string();
        call("/usr/sbin/mkfs.ext4", &["-q", "-F", &file]);
        Self { device: call("/usr/sbin/losetup", &["--find", "--show", &file]), _folder: folder }
    }

    /// Its name below `/dev`.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Mounts it.
    pub(crate) fn mount(&self, at: &Path) {
        call("mount", &[&self.device, &at.display().to_string()]);
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["--lazy", &self.device])
            .stderr(std::process::Stdio::null())
            .status();
        let _ = Command::new("/usr/sbin/losetup").args(["--detach", &self.device]).status();
    }
}
