//! What a walk excludes, and how often.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{FileType, Mode, OFlags};

use super::patterns::{Patterns, Verdict};

/// The file that marks a folder as reproducible, and its beginning (Cache Directory Tagging Specification,
/// <https://bford.info/cachedir/>).
pub(super) const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What walks exclude. One value is shared by all walks of a run, and counts for all of them.
#[derive(Debug, Default)]
pub struct Excludes {
    patterns: Patterns,
    options: ExcludeOptions,
    /// How often each pattern was the deciding one.
    uses: Vec<AtomicU64>,
    items: AtomicU64,
    cache_folders: AtomicU64,
    mount_points: AtomicU64,
    /// Device and inode of the repository's folder.
    repository: OnceLock<(u64, u64)>,
    repositories: AtomicU64,
    guarded: Mutex<Vec<PathBuf>>,
}

/// How many of the immutable or append-only files are named.
const GUARDED_NAMED: usize = 100;

/// What is excluded besides matches of patterns.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExcludeOptions {
    /// The contents of a folder with a valid `CACHEDIR.TAG`, except the tag.
    pub caches: bool,
    /// Everything on other file systems than the captured folder's.
    pub other_file_systems: bool,
}

/// What was excluded so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Files, folders and other items that patterns match. The contents of an excluded folder are not counted.
    pub items: u64,
    /// Folders whose contents were excluded, except their `CACHEDIR.TAG`.
    pub cache_folders: u64,
    /// Folders whose contents were excluded because another file system begins there.
    pub mount_points: u64,
    /// How often the repository's own folder was found, and its contents excluded.
    pub repositories: u64,
}

impl Excludes {
    /// Excludes what the patterns match and the options name.
    pub fn new(patterns: Patterns, options: ExcludeOptions) -> Self {
        let uses = patterns.texts().iter().map(|_| AtomicU64::new(0)).collect();
        Self { patterns, options, uses, ..Self::default() }
    }

    /// What was excluded so far.
    pub fn left_out(&self) -> LeftOut {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LeftOut {
            items: read(&self.items),
            cache_folders: read(&self.cache_folders),
            mount_points: read(&self.mount_points),
            repositories: read(&self.repositories),
        }
    }

    /// From now on excludes the contents of the folder with this device and inode: the repository's, which would grow
    /// by itself.
    pub fn leave_out_repository(&self, device: u64, inode: u64) {
        // It is the same for all of a run.
        let _ = self.repository.set((device, inode));
    }

    /// Whether the folder is the repository's own; counts it if so.
    pub(super) fn is_repository(&self, device: u64, inode: u64) -> bool {
        let is_it = self.repository.get() == Some(&(device, inode));
        if is_it {
            count(&self.repositories);
        }
        is_it
    }

    /// Notes that the item at `path` is immutable or append-only (chattr(1)), which snapshots do not record.
    pub(super) fn note_guarded(&self, path: PathBuf) {
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        if guarded.len() < GUARDED_NAMED {
            guarded.push(path);
        }
    }

    /// The first hundred files and folders that are immutable or append-only (chattr(1)), which snapshots do not
    /// record.
    pub fn guarded(&self) -> Vec<PathBuf> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The patterns that have made no difference so far.
    pub fn unused_patterns(&self) -> impl Iterator<Item = &str> {
        let counted = self.patterns.texts().iter().zip(&self.uses);
        counted.filter(|(_, uses)| uses.load(Ordering::Relaxed) == 0).map(|(text, _)| text.as_str())
    }

    /// Whether the item at `path` is excluded; counts it if so. `is_folder` is called only if a pattern needs it.
    pub(super) fn leaves_out(&self, path: &[u8], is_folder: impl FnOnce() -> bool) -> bool {
        if self.uses.is_empty() {
            return false;
        }
        match self.patterns.verdict(path, is_folder()) {
            Verdict::Silent => false,
            Verdict::TakenBack(number) => {
                count(&self.uses[number]);
                false
            }
            Verdict::Matched(number) => {
                count(&self.uses[number]);
                count(&self.items);
                true
            }
        }
    }

    /// Whether the open folder is a cache whose contents are excluded; counts it if so.
    pub(super) fn leaves_out_content(&self, folder: BorrowedFd<'_>) -> bool {
        let is_left_out = self.options.caches && has_cache_tag(folder);
        if is_left_out {
            count(&self.cache_folders);
        }
        is_left_out
    }

    /// Whether the folder on `device` belongs to another file system than the one at `root_device`, and is excluded for
    /// that; counts it if so.
    pub(super) fn leaves_out_device(&self, device: u64, root_device: u64) -> bool {
        let is_left_out = self.options.other_file_systems && device != root_device;
        if is_left_out {
            count(&self.mount_points);
        }
        is_left_out
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// An unreadable tag marks nothing: what is not known to be a cache is captured.
fn has_cache_tag(folder: BorrowedFd<'_>) -> bool {
    let read = || -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(folder, CACHE_TAG, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let mut start = [0; CACHE_SIGNATURE.len()];
        File::from(fd).read_exact(&mut start)?;
        Ok(start == *CACHE_SIGNATURE)
    };
    read().unwrap_or(false)
}
