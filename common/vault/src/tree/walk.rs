//! Walking a folder: every name below it, in stream order, through open folders and never through a path.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::metadata::{item_of, read_xattrs};
use crate::VaultError;
use crate::item::{Device, ItemKind, Segment};
use crate::source::{Body, Fingerprint, Found, Layout, Source, Unreadable};

/// A folder of this machine as a source.
pub struct FolderSource {
    root: PathBuf,
    /// Folders that are open, outermost first, with the names in them that are still to come.
    open: Vec<OpenFolder>,
    /// The first path of every file that has several names.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    /// Found while listing a folder; told before anything else.
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
        let failed = |source: io::Error| VaultError::Source { path: root.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let absolute = std::path::absolute(root).map_err(failed)?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| failed(e.into()))?;
        let xattrs = read_xattrs(fd.as_fd(), b"").map_err(failed)?;
        let mut item = item_of(Vec::new(), ItemKind::Folder, &stat, xattrs);
        item.origin = Some(absolute.clone().into_os_string().into_vec().into());
        let mut source =
            Self { root: absolute, open: Vec::new(), first_names: HashMap::new(), pending: None };
        source.enter(fd, Vec::new()).map_err(failed)?;
        source.pending = Some(Ok(Found { item, fingerprint: None, body: None }));
        Ok(source)
    }

    fn enter(&mut self, fd: OwnedFd, path: Vec<u8>) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.open.push(OpenFolder { fd: Arc::new(fd), path, names });
        Ok(())
    }

    fn unreadable(&self, path: &[u8], error: io::Error) -> Unreadable {
        Unreadable { path: self.root.join(std::ffi::OsStr::from_bytes(path)), error }
    }

    /// Looks at one name. `None` when it vanished since its folder was listed: that is no fault.
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
            FileType::Unknown => return Err(io::Error::other("it is of a kind that is not known")),
        };
        let mut item = item_of(path.to_vec(), kind, &stat, xattrs);
        if kind != ItemKind::Folder && stat.st_nlink > 1 {
            match self.first_names.get(&(stat.st_dev, stat.st_ino)) {
                Some(first) => {
                    item.kind = ItemKind::HardLink;
                    item.target = Some(first.clone().into());
                    return Ok(Some(Found { item, fingerprint: None, body: None }));
                }
                None => {
                    self.first_names.insert((stat.st_dev, stat.st_ino), path.to_vec());
                }
            }
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

fn file(found: &mut Found, folder: &Arc<OwnedFd>, name: &[u8], stat: &Stat) {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let fingerprint = fingerprint(stat);
    found.item.size = Some(size);
    found.fingerprint = Some(fingerprint);
    if size > 0 {
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
            let mut path = folder.path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let fd = Arc::clone(&folder.fd);
            match self.look(&fd, &name, &path) {
                Ok(Some(found)) => return Some(Ok(found)),
                Ok(None) => {}
                Err(error) => return Some(Err(self.unreadable(&path, error))),
            }
        }
    }
}

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
        // Reading leaves the access time alone where the system lets us: only for a file's owner and for root.
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
            Layout::Dense { limit: size }
        };
        self.file = Some(fd.into());
        Ok(layout)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file()?.read_at(buffer, offset)
    }

    fn has_changed(&mut self) -> bool {
        let stat = self.file.as_ref().and_then(|file| rustix::fs::fstat(file).ok());
        stat.is_none_or(|stat| fingerprint(&stat) != self.fingerprint)
    }
}

/// Asks the file system where data lies (lseek(2), `SEEK_DATA` and `SEEK_HOLE`).
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
