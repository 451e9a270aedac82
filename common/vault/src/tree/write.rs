//! Writing a tree back: every step goes through open folders, name by name and without following links, so nothing
//! that a snapshot names can land outside the target.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

use super::metadata::{apply, apply_to_folder};
use crate::VaultError;
use crate::item::{Item, ItemKind};

const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens folders below a root by their paths, keeping the last way down open: neighbours are found at once, and a
/// path may be longer than the system's limit.
pub(crate) struct Folders {
    root: Arc<OwnedFd>,
    way: Vec<(Vec<u8>, OwnedFd)>,
}

impl Folders {
    fn new(root: Arc<OwnedFd>) -> Self {
        Self { root, way: Vec::new() }
    }

    /// The open folder at `path` below the root.
    pub(crate) fn open(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        let names: Vec<&[u8]> =
            if path.is_empty() { Vec::new() } else { path.split(|b| *b == b'/').collect() };
        let same = self.way.iter().zip(&names).take_while(|((open, _), name)| open == *name).count();
        self.way.truncate(same);
        for name in &names[same..] {
            let above = self.way.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
            let fd = rustix::fs::openat(above, *name, OPEN_FOLDER, Mode::empty())?;
            self.way.push((name.to_vec(), fd));
        }
        Ok(self.way.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    /// Opens the file at `path` for writing.
    pub(crate) fn open_file(&mut self, path: &[u8]) -> io::Result<File> {
        let (parent, name) = split(path);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.open(parent)?, name, flags, Mode::empty())?.into())
    }
}

/// Makes what items describe.
pub(crate) struct TreeWriter {
    path: PathBuf,
    folders: Folders,
}

impl TreeWriter {
    /// Takes the folder at `path`, which must be empty; makes it where it is missing.
    pub(crate) fn create(path: &Path) -> Result<Self, VaultError> {
        let failed = |source: io::Error| VaultError::Target { path: path.to_owned(), source };
        match std::fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        for entry in Dir::read_from(&root).map_err(|e| failed(e.into()))? {
            let entry = entry.map_err(|e| failed(e.into()))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Err(VaultError::TargetNotEmpty { path: path.to_owned() });
            }
        }
        Ok(Self { path: path.to_owned(), folders: Folders::new(Arc::new(root)) })
    }

    /// Another way into the same tree, for a thread of its own.
    pub(crate) fn folders(&self) -> Folders {
        Folders::new(Arc::clone(&self.folders.root))
    }

    /// Where `item` lies, for people.
    pub(crate) fn path_of(&self, item: &Item) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.path.join(std::ffi::OsStr::from_bytes(&item.path))
    }

    /// Makes the item: a folder or file still empty and closed to others, anything else whole but for its metadata.
    pub(crate) fn make(&mut self, item: &Item) -> io::Result<()> {
        let (parent, name) = split(&item.path);
        if name.is_empty() {
            return Ok(());
        }
        if item.kind == ItemKind::HardLink {
            return self.link(item);
        }
        let folder = self.folders.open(parent)?;
        let private = Mode::RUSR | Mode::WUSR;
        match item.kind {
            ItemKind::Folder => rustix::fs::mkdirat(folder, name, Mode::RWXU)?,
            ItemKind::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(folder, name, flags, private)?;
                if let Some(size) = item.size.filter(|size| *size > 0) {
                    rustix::fs::ftruncate(&file, size)?;
                }
            }
            ItemKind::Symlink => {
                let target = item.target.as_deref().ok_or(io::ErrorKind::InvalidData)?;
                rustix::fs::symlinkat(&target[..], folder, name)?;
            }
            ItemKind::BlockDevice | ItemKind::CharacterDevice => {
                let device = item.device.ok_or(io::ErrorKind::InvalidData)?;
                let kind = match item.kind {
                    ItemKind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::CharacterDevice,
                };
                let number = rustix::fs::makedev(device.major, device.minor);
                rustix::fs::mknodat(folder, name, kind, private, number)?;
            }
            ItemKind::Fifo => rustix::fs::mknodat(folder, name, FileType::Fifo, private, 0)?,
            ItemKind::Socket => rustix::fs::mknodat(folder, name, FileType::Socket, private, 0)?,
            ItemKind::HardLink => {}
        }
        Ok(())
    }

    fn link(&mut self, item: &Item) -> io::Result<()> {
        let target = item.target.as_deref().ok_or(io::ErrorKind::InvalidData)?;
        let (target_parent, target_name) = split(target);
        let target_folder = self.folders.open(target_parent)?.try_clone_to_owned()?;
        let (parent, name) = split(&item.path);
        let folder = self.folders.open(parent)?;
        Ok(rustix::fs::linkat(target_folder, target_name, folder, name, AtFlags::empty())?)
    }

    /// Gives the item its owner, attributes, mode and times. Folders come last, the innermost first.
    pub(crate) fn finish(&mut self, item: &Item) -> io::Result<()> {
        let (parent, name) = split(&item.path);
        if item.kind == ItemKind::Folder {
            return apply_to_folder(self.folders.open(&item.path)?, item);
        }
        apply(self.folders.open(parent)?, name, item)
    }

    /// Takes away a file whose content could not be brought back whole.
    pub(crate) fn remove(&mut self, item: &Item) -> io::Result<()> {
        let (parent, name) = split(&item.path);
        Ok(rustix::fs::unlinkat(self.folders.open(parent)?, name, AtFlags::empty())?)
    }

    /// Waits until the file system that holds the tree has everything on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&*self.folders.root)?)
    }
}

/// The folder's path and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}
