//! Walks a folder: every name below it, in stream order, through open folders and never through a path.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::exclude::{CACHE_TAG, Excludes};
use super::metadata::{item_of, read_xattrs};
use crate::error::VaultError;
use crate::format::item::{Device, ItemKind, Segment};
use crate::tree::source::{Body, Fingerprint, Found, Layout, Source, Unreadable};

/// A folder of this machine as a source.
pub struct FolderSource {
    root: PathBuf,
    /// The device of the captured folder.
    device: u64,
    excludes: Arc<Excludes>,
    /// Open folders, outermost first, with the remaining names in them.
    open: Vec<OpenFolder>,
    /// The first path of every file that has several names.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    /// The file whose first name was found last.
    newest_first: Option<(u64, u64)>,
    /// Found while listing a folder; returned before anything else.
    pending: Option<Result<Found, Unreadable>>,
}

struct OpenFolder {
    fd: Arc<OwnedFd>,
    path: Vec<u8>,
    /// Sorted backwards, so that the next name is the last one.
    names: Vec<Vec<u8>>,
}

impl FolderSource {
    /// Opens the folder at `root`, following links to it. Its own metadata becomes the first item.
    pub fn open(root: &Path) -> Result<Self, VaultError> {
        Self::open_excluding(root, Arc::default())
    }

    /// Opens the folder at `root` like [`FolderSource::open`], without what is excluded.
    pub fn open_excluding(root: &Path, excludes: Arc<Excludes>) -> Result<Self, VaultError> {
        let failed = |source: io::Error| VaultError::Source { path: root.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let absolute = std::path::absolute(root).map_err(failed)?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| failed(e.into()))?;
        let xattrs = read_xattrs(fd.as_fd(), b"").map_err(failed)?;
        let mut item = item_of(Vec::new(), ItemKind::Folder, &stat, xattrs);
        item.origin = Some(absolute.clone().into_os_string().into_vec().into());
        let mut source = Self {
            root: absolute,
            device: stat.st_dev,
            excludes,
            open: Vec::new(),
            first_names: HashMap::new(),
            newest_first: None,
            pending: None,
        };
        source.note_guarded(fd.as_fd(), b"", b"");
        source.enter(fd, Vec::new()).map_err(failed)?;
        source.pending = Some(Ok(Found { item, fingerprint: None, body: None }));
        Ok(source)
    }

    /// Opens the folder at `root` as if it contained only `name`, and was not itself an item.
    pub(crate) fn open_only(root: &Path, name: &[u8]) -> Result<Self, VaultError> {
        let mut source = Self::open(root)?;
        source.pending = None;
        source.open.iter_mut().for_each(|folder| folder.names.retain(|other| other == name));
        Ok(source)
    }

    /// Lists a folder. Excluded names are removed before they are inspected: whether they could be read does not
    /// matter, and a file with several names is found at the first name that is kept.
    fn enter(&mut self, fd: OwnedFd, path: Vec<u8>) -> io::Result<()> {
        let is_cache = self.excludes.leaves_out_content(fd.as_fd());
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (is_cache && name != CACHE_TAG) {
                continue;
            }
            let is_folder = || is_folder(fd.as_fd(), name, entry.file_type());
            if !self.excludes.leaves_out(&join(&path, name), is_folder) {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.open.push(OpenFolder { fd: Arc::new(fd), path, names });
        Ok(())
    }

    fn unreadable(&self, path: &[u8], error: io::Error) -> Unreadable {
        Unreadable { path: self.path_of(path), error }
    }

    fn path_of(&self, path: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path))
    }

    /// Notes an immutable or append-only file or folder. Does nothing if that cannot be determined.
    fn note_guarded(&self, folder: BorrowedFd<'_>, name: &[u8], path: &[u8]) {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let guards = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
        if let Ok(stat) = rustix::fs::statx(folder, name, flags, StatxFlags::empty())
            && stat.stx_attributes.intersects(guards)
        {
            self.excludes.note_guarded(self.path_of(path));
        }
    }

    /// Inspects one name. `None` if it vanished since its folder was listed, which is not an error.
    fn look(&mut self, folder: &Arc<OwnedFd>, name: &[u8], path: &[u8]) -> io::Result<Option<Found>> {
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let xattrs = read_xattrs(folder.as_fd(), name)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => ItemKind::File,
            FileType::Directory => ItemKind::Folder,
            FileType::Symlink => ItemKind::Symlink,
            FileType::BlockDevice => ItemKind::BlockDevice,
            FileType::CharacterDevice => ItemKind::CharacterDevice,
            FileType::Fifo => ItemKind::Fifo,
            FileType::Socket => ItemKind::Socket,
            FileType::Unknown => return Err(io::Error::other("it is of an unknown kind")),
        };
        let mut item = item_of(path.to_vec(), kind, &stat, xattrs);
        if kind != ItemKind::Folder && stat.st_nlink > 1 {
            let file = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.first_names.get(&file) {
                item.kind = ItemKind::HardLink;
                item.target = Some(first.clone().into());
                return Ok(Some(Found { item, fingerprint: None, body: None }));
            }
            self.first_names.insert(file, path.to_vec());
            self.newest_first = Some(file);
        }
        if matches!(kind, ItemKind::File | ItemKind::Folder) {
            self.note_guarded(folder.as_fd(), name, path);
        }
        let mut found = Found { item, fingerprint: None, body: None };
        match kind {
            ItemKind::Symlink => {
                let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
                found.item.target = Some(target.into_bytes().into());
            }
            ItemKind::BlockDevice | ItemKind::CharacterDevice => {
                let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                found.item.device = Some(Device { major, minor });
            }
            ItemKind::File => file(&mut found, folder, name, &stat),
            ItemKind::Folder
                if self.excludes.leaves_out_device(stat.st_dev, self.device)
                    || self.excludes.is_repository(stat.st_dev, stat.st_ino) => {}
            ItemKind::Folder => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(folder, name, flags, Mode::empty())?;
                self.enter(fd, path.to_vec())?;
            }
            ItemKind::HardLink | ItemKind::Fifo | ItemKind::Socket => {}
        }
        Ok(Some(found))
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Whether a listed name is a folder's. Some file systems do not include that in the listing.
fn is_folder(folder: BorrowedFd<'_>, name: &[u8], listed: FileType) -> bool {
    let kind = match listed {
        FileType::Unknown => rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
        kind => kind,
    };
    kind == FileType::Directory
}

fn file(found: &mut Found, folder: &Arc<OwnedFd>, name: &[u8], stat: &Stat) {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let fingerprint = fingerprint(stat);
    found.item.size = Some(size);
    // Files that the kernel generates when they are read (proc, sysfs and the like) often report no size.
    let may_hide_some = size == 0 && rustix::fs::major(stat.st_dev) == 0;
    // And their times do not show whether they changed.
    found.fingerprint = (!may_hide_some).then_some(fingerprint);
    if size > 0 || may_hide_some {
        // Fewer blocks than bytes: the file has holes.
        let sparse = u64::try_from(stat.st_blocks).unwrap_or(u64::MAX).saturating_mul(512) < size;
        found.body = Some(Box::new(FileBody {
            folder: Arc::clone(folder),
            name: name.to_vec(),
            fingerprint,
            sparse,
            file: None,
        }));
    }
}

fn fingerprint(stat: &Stat) -> Fingerprint {
    let nanoseconds = |seconds: i64, nanos: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Fingerprint {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        device: stat.st_dev,
        inode: stat.st_ino,
    }
}

impl Source for FolderSource {
    fn next(&mut self) -> Option<Result<Found, Unreadable>> {
        if let Some(pending) = self.pending.take() {
            return Some(pending);
        }
        loop {
            let folder = self.open.last_mut()?;
            let Some(name) = folder.names.pop() else {
                self.open.pop();
                continue;
            };
            let path = join(&folder.path, &name);
            let fd = Arc::clone(&folder.fd);
            match self.look(&fd, &name, &path) {
                Ok(Some(found)) => return Some(Ok(found)),
                Ok(None) => {}
                Err(error) => {
                    self.not_captured(&path);
                    return Some(Err(self.unreadable(&path, error)));
                }
            }
        }
    }

    /// The next name of a file whose first one could not be captured becomes its first name.
    fn not_captured(&mut self, path: &[u8]) {
        if let Some(file) = self.newest_first
            && self.first_names.get(&file).is_some_and(|first| first == path)
        {
            self.first_names.remove(&file);
        }
    }
}

/// How much is read of a file that reports no size, in bytes.
const MOST_UNSTATED: u64 = 64 << 20;

struct FileBody {
    folder: Arc<OwnedFd>,
    name: Vec<u8>,
    fingerprint: Fingerprint,
    sparse: bool,
    file: Option<File>,
}

impl FileBody {
    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("the file is not open"))
    }
}

impl Body for FileBody {
    fn open(&mut self) -> io::Result<Layout> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // Reading leaves the access time unchanged if the system allows it: only for a file's owner and for root.
        let opened =
            rustix::fs::openat(&*self.folder, &self.name[..], flags | OFlags::NOATIME, Mode::empty());
        let fd = match opened {
            Err(Errno::PERM) => rustix::fs::openat(&*self.folder, &self.name[..], flags, Mode::empty())?,
            other => other?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        if stat.st_ino != self.fingerprint.inode || stat.st_dev != self.fingerprint.device {
            return Err(io::Error::other("another file took its name while it was being captured"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let layout = if self.sparse {
            Layout::Sparse { size, segments: data_segments(fd.as_fd(), size)? }
        } else {
            Layout::Dense { limit: if size == 0 { MOST_UNSTATED } else { size } }
        };
        self.file = Some(fd.into());
        Ok(layout)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file()?.read_at(buffer, offset)?;
        if self.fingerprint.size == 0 && offset.saturating_add(count as u64) >= MOST_UNSTATED {
            return Err(io::Error::other("it reports no size, and it does not end"));
        }
        Ok(count)
    }

    fn has_changed(&mut self) -> bool {
        let stat = self.file.as_ref().and_then(|file| rustix::fs::fstat(file).ok());
        stat.is_none_or(|stat| fingerprint(&stat) != self.fingerprint)
    }
}

/// Asks the file system where data is (lseek(2), `SEEK_DATA` and `SEEK_HOLE`).
fn data_segments(fd: BorrowedFd<'_>, size: u64) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(fd, SeekFrom::Hole(start))?.min(size);
        if start >= end {
            break;
        }
        segments.push(Segment { offset: start, length: end - start });
        at = end;
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::super::exclude::{ExcludeOptions, LeftOut};
    use super::super::patterns::Patterns;
    use super::*;

    fn excludes(patterns: &[&str], options: ExcludeOptions) -> Arc<Excludes> {
        Arc::new(Excludes::new(Patterns::parse(patterns, false).unwrap(), options))
    }

    /// The kinds of the items of a walk, by path; nothing may be unreadable.
    fn walk(root: &Path, excludes: &Arc<Excludes>) -> BTreeMap<String, ItemKind> {
        let mut source = FolderSource::open_excluding(root, Arc::clone(excludes)).unwrap();
        std::iter::from_fn(|| source.next())
            .map(|found| found.expect("everything that is kept can be read").item)
            .map(|item| (String::from_utf8_lossy(&item.path).into_owned(), item.kind))
            .collect()
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        root
    }

    #[test]
    fn what_patterns_name_is_left_out_with_everything_below_and_counted_once() {
        let root = tree(&["a.tmp", "keep", "cache/one", "cache/two", "deep/cache", "deep/b.tmp"]);
        let excludes = excludes(&["*.tmp", "cache/", "!deep/b.tmp", "nowhere"], ExcludeOptions::default());
        let found = walk(root.path(), &excludes);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["", "deep", "deep/b.tmp", "deep/cache", "keep"]);
        assert_eq!(excludes.left_out(), LeftOut { items: 2, ..LeftOut::default() });
        assert_eq!(excludes.unused_patterns().collect::<Vec<_>>(), ["nowhere"]);
    }

    #[test]
    fn the_captured_folder_itself_is_never_left_out() {
        let root = tree(&["a"]);
        let found = walk(root.path(), &excludes(&["*", "**"], ExcludeOptions::default()));
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn a_file_whose_first_name_is_left_out_is_a_file_under_its_second_and_a_link_under_its_third() {
        let root = tree(&["a/first"]);
        for name in ["second", "third"] {
            fs::hard_link(root.path().join("a/first"), root.path().join(name)).unwrap();
        }
        let found = walk(root.path(), &excludes(&["/a/first"], ExcludeOptions::default()));
        assert_eq!((found["second"], found["third"]), (ItemKind::File, ItemKind::HardLink));
        assert!(!found.contains_key("a/first"));
    }

    #[test]
    fn what_cannot_be_read_and_is_left_out_causes_no_error() {
        let root = tree(&["closed/file", "open"]);
        let closed = root.path().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let found = walk(root.path(), &excludes(&["closed"], ExcludeOptions::default()));
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["", "open"]);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn a_cache_keeps_its_folder_and_its_tag_and_a_false_tag_marks_nothing() {
        let root = tree(&["cache/a", "cache/below/b", "false/a", "short/a", "folder/CACHEDIR.TAG/a"]);
        let tag = |folder: &str, text: &str| {
            fs::write(root.path().join(folder).join("CACHEDIR.TAG"), text).unwrap();
        };
        tag("cache", "Signature: 8a477f597d28d172789f06886806bc55\n# made by a test");
        tag("false", "Signature: 0a477f597d28d172789f06886806bc55");
        tag("short", "Signature: 8a477f597d28");
        std::os::unix::fs::symlink("../cache/CACHEDIR.TAG", root.path().join("linked")).unwrap();
        let excludes = excludes(&[], ExcludeOptions { caches: true, ..ExcludeOptions::default() });
        let found = walk(root.path(), &excludes);
        let below = |folder: &str| found.keys().filter(|path| path.starts_with(folder)).count();
        assert_eq!(below("cache"), 2, "{found:?}");
        assert_eq!(found["cache/CACHEDIR.TAG"], ItemKind::File);
        assert_eq!((below("false"), below("short"), below("folder")), (3, 3, 3));
        assert_eq!(excludes.left_out(), LeftOut { cache_folders: 1, ..LeftOut::default() });
    }

    #[test]
    fn another_file_system_is_an_empty_folder() {
        // Every Linux has separate file systems below /dev: pts, shm.
        let root = Path::new("/dev");
        let device = fs::metadata(root).unwrap().dev();
        let mounts: Vec<String> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.dev() != device))
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        assert!(!mounts.is_empty(), "nothing is mounted below /dev");
        let excludes =
            excludes(&[], ExcludeOptions { other_file_systems: true, ..ExcludeOptions::default() });
        let found = walk(root, &excludes);
        for mount in &mounts {
            assert_eq!(found[mount], ItemKind::Folder);
            assert!(!found.keys().any(|path| path.starts_with(&format!("{mount}/"))), "{mount}");
        }
        assert!(excludes.left_out().mount_points >= mounts.len() as u64);
    }
}
