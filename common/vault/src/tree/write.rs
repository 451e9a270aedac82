//! Writes a tree: every step goes through open folders, name by name and without following links, so that nothing in a
//! snapshot can be written outside the target. What was made is remembered by its inode, and every later step compares
//! it: what somebody has replaced is left alone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::identity::{Identity, exchanged};
use super::metadata::{Owned, apply};
use super::target::{OPEN_FOLDER, TargetFolder};
use crate::error::VaultError;
use crate::format::item::{Item, ItemKind};

/// The folders that were made, by their paths.
type MadeFolders = Arc<RwLock<HashMap<Vec<u8>, Identity>>>;

/// Opens folders below a root by their paths, and keeps the last chain of folders open: neighbours are found at once,
/// and a path may be longer than the system's limit.
pub(crate) struct Folders {
    root: Arc<OwnedFd>,
    made: MadeFolders,
    way: Vec<(Vec<u8>, OwnedFd)>,
}

impl Folders {
    fn new(root: Arc<OwnedFd>, made: MadeFolders) -> Self {
        Self { root, made, way: Vec::new() }
    }

    /// The open folder at `path` below the root.
    pub(crate) fn open(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        let names: Vec<&[u8]> =
            if path.is_empty() { Vec::new() } else { path.split(|b| *b == b'/').collect() };
        let same = self.way.iter().zip(&names).take_while(|((open, _), name)| open == *name).count();
        self.way.truncate(same);
        let mut length = names[..same].iter().map(|name| name.len() + 1).sum::<usize>();
        for name in &names[same..] {
            length += name.len() + 1;
            let above = self.way.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
            let fd = rustix::fs::openat(above, *name, OPEN_FOLDER, Mode::empty())?;
            let made =
                self.made.read().unwrap_or_else(PoisonError::into_inner).get(&path[..length - 1]).copied();
            made.ok_or_else(exchanged)?.check(&fd)?;
            self.way.push((name.to_vec(), fd));
        }
        Ok(self.way.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    /// Opens the file at `path`, which was made as `identity`, for writing.
    pub(crate) fn open_file(&mut self, path: &[u8], identity: Identity) -> io::Result<File> {
        let (parent, name) = split(path);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.open(parent)?, name, flags, Mode::empty())?;
        identity.check(&file)?;
        Ok(file.into())
    }
}

/// Makes the files, folders and links that items describe.
pub(crate) struct TreeWriter {
    target: TargetFolder,
    folders: Folders,
    /// Whether the captured folder itself was among the items, so that its metadata becomes the target's.
    has_root: bool,
}

impl TreeWriter {
    /// Makes items below the target.
    pub(crate) fn new(target: TargetFolder) -> Self {
        let folders = Folders::new(Arc::clone(target.folder()), MadeFolders::default());
        Self { target, folders, has_root: false }
    }

    /// A second handle on the same tree, for another thread.
    pub(crate) fn folders(&self) -> Folders {
        Folders::new(Arc::clone(&self.folders.root), Arc::clone(&self.folders.made))
    }

    /// The path of the tree, for people.
    pub(crate) fn path(&self) -> &Path {
        self.target.path()
    }

    /// The path of `item`, for people.
    pub(crate) fn path_of(&self, item: &Item) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.target.path().join(std::ffi::OsStr::from_bytes(&item.path))
    }

    /// Makes the item: a folder or file still empty and closed to others, anything else complete except for its
    /// metadata. `first` is the identity of a hard link's file.
    pub(crate) fn make(&mut self, item: &Item, first: Option<Identity>) -> io::Result<Identity> {
        let (parent, name) = split(&item.path);
        if name.is_empty() {
            self.has_root = true;
            return Identity::of(&*self.folders.root);
        }
        if item.kind == ItemKind::HardLink {
            return self.link(item, first.ok_or(io::ErrorKind::InvalidData)?);
        }
        let folder = self.folders.open(parent)?;
        let private = Mode::RUSR | Mode::WUSR;
        let expected = match item.kind {
            ItemKind::Folder => {
                rustix::fs::mkdirat(folder, name, Mode::RWXU)?;
                FileType::Directory
            }
            ItemKind::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(folder, name, flags, private)?;
                if let Some(size) = item.size.filter(|size| *size > 0)
                    && let Err(error) = rustix::fs::ftruncate(&file, size)
                {
                    rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
                    return Err(error.into());
                }
                return Identity::of(&file);
            }
            ItemKind::Symlink => {
                let target = item.target.as_deref().ok_or(io::ErrorKind::InvalidData)?;
                rustix::fs::symlinkat(&target[..], folder, name)?;
                FileType::Symlink
            }
            ItemKind::BlockDevice | ItemKind::CharacterDevice => {
                let device = item.device.ok_or(io::ErrorKind::InvalidData)?;
                let kind = match item.kind {
                    ItemKind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::CharacterDevice,
                };
                let number = rustix::fs::makedev(device.major, device.minor);
                rustix::fs::mknodat(folder, name, kind, private, number)?;
                kind
            }
            ItemKind::Fifo => {
                rustix::fs::mknodat(folder, name, FileType::Fifo, private, 0)?;
                FileType::Fifo
            }
            ItemKind::Socket => {
                rustix::fs::mknodat(folder, name, FileType::Socket, private, 0)?;
                FileType::Socket
            }
            ItemKind::HardLink => return Err(io::ErrorKind::InvalidData.into()),
        };
        let identity = Identity::at(folder, name)?;
        if !identity.is(expected) {
            return Err(exchanged());
        }
        if item.kind == ItemKind::Folder {
            let mut made = self.folders.made.write().unwrap_or_else(PoisonError::into_inner);
            made.insert(item.path.to_vec(), identity);
        }
        Ok(identity)
    }

    fn link(&mut self, item: &Item, first: Identity) -> io::Result<Identity> {
        let target = item.target.as_deref().ok_or(io::ErrorKind::InvalidData)?;
        let (target_parent, target_name) = split(target);
        let target_folder = self.folders.open(target_parent)?.try_clone_to_owned()?;
        let (parent, name) = split(&item.path);
        let folder = self.folders.open(parent)?;
        rustix::fs::linkat(target_folder, target_name, folder, name, AtFlags::empty())?;
        if Identity::at(folder, name)? == first {
            return Ok(first);
        }
        rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
        Err(exchanged())
    }

    /// Sets owner, attributes, mode and times of the item, which was made as `identity`. Folders come last, the
    /// innermost first.
    pub(crate) fn finish(&mut self, item: &Item, identity: Identity) -> io::Result<Owned> {
        let (parent, name) = split(&item.path);
        if name.is_empty() {
            return apply(self.folders.root.as_fd(), item, self.target.gets_owners());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(self.folders.open(parent)?, name, flags, Mode::empty())?;
        identity.check(&handle)?;
        apply(handle.as_fd(), item, self.target.gets_owners())
    }

    /// Empties a file, so that none of its names leads to wrong bytes even if one remains.
    pub(crate) fn empty(&mut self, item: &Item, identity: Identity) -> io::Result<()> {
        self.folders.open_file(&item.path, identity)?.set_len(0)
    }

    /// Deletes a name of the file that was made as `identity`.
    pub(crate) fn remove(&mut self, item: &Item, identity: Identity) -> io::Result<()> {
        let (parent, name) = split(&item.path);
        let folder = self.folders.open(parent)?;
        if Identity::at(folder, name)? != identity {
            return Err(exchanged());
        }
        Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?)
    }

    /// Ends the work on the target: if its own metadata was not restored, it gets its previous owner and mode back.
    pub(crate) fn close(&self) -> Result<(), VaultError> {
        if self.has_root { Ok(()) } else { self.target.give_back() }
    }

    /// Waits until the tree's file system has everything on disk.
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
