//! Trees with everything that a folder can hold, and inspecting one without the code under test.

#![expect(clippy::unwrap_used, reason = "a test whose surroundings cannot be made has failed")]

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

/// Whether the tests may create devices and give files away.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Creates a folder at `root` with one of everything: file types, hard and symbolic links, odd names and modes, deep
/// folders, sparse files, times before 1970, attributes and, for root, owners, devices, ACLs and capabilities.
///
/// # Panics
/// When the file system refuses.
pub fn build(root: &Path) {
    fs::create_dir(root).unwrap();
    let at = |name: &str| root.join(name);
    let write = |name: &str, bytes: &[u8]| fs::write(at(name), bytes).unwrap();
    write("plain", b"a plain file\n");
    write("empty", b"");
    write("closed", b"nobody may read this");
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"no-utf8-\xff\xfe")), b"odd name").unwrap();
    write(&"n".repeat(255), b"long name");
    write("new\nline \t\"quoted\"", b"control characters");
    std::os::unix::fs::symlink("plain", at("link")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", at("dangling")).unwrap();
    fs::create_dir(at("one")).unwrap();
    fs::create_dir(at("two")).unwrap();
    write("one/linked", b"one file, two names");
    fs::hard_link(at("one/linked"), at("two/linked")).unwrap();
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    make_node(&at("fifo"), FileType::Fifo, 0);

    let mut deep = at("deep");
    fs::create_dir(&deep).unwrap();
    for level in 0..60 {
        deep.push(format!("level-{level:02}"));
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("bottom"), b"sixty folders down").unwrap();

    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(5 << 30).unwrap();
    sparse.write_all_at(&b"in the middle".repeat(1000), 3 << 30).unwrap();
    File::create(at("hole")).unwrap().set_len(1 << 20).unwrap();
    let noise: Vec<u8> =
        (0_u32..1_000_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    write("large", &[noise, vec![b'A'; 3_000_000]].concat());

    set_xattr(&at("plain"), "user.comment", b"\0\xff");
    set_xattr(&at("one"), "user.folder", b"attribute");
    if is_root() {
        give(&at("plain"), 1234, 5678);
        give(&at("link"), 3_000_000_000, 7);
        give(&at("two"), 42, 43);
        make_node(&at("block"), FileType::BlockDevice, rustix::fs::makedev(7, 200));
        make_node(&at("character"), FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        // A version 2 capability set with CAP_NET_BIND_SERVICE, permitted and effective (linux/capability.h).
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        set_xattr(&at("one/linked"), "security.capability", &capability);
        // rw for user 1234 (linux/posix_acl_xattr.h): version 2, then tag, permissions and id of each entry.
        let entries: [(u16, u16, u32); 5] =
            [(1, 6, u32::MAX), (2, 6, 1234), (4, 4, u32::MAX), (0x10, 6, u32::MAX), (0x20, 4, u32::MAX)];
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            acl.extend(
                tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()),
            );
        }
        set_xattr(&at("plain"), "system.posix_acl_access", &acl);
        set_xattr(&at("one"), "system.posix_acl_default", &acl);
    }
    set_mode(&at("closed"), if is_root() { 0o000 } else { 0o400 });
    write("program", b"#!/bin/true\n");
    set_mode(&at("program"), 0o6755);
    set_mode(&at("two"), 0o1777);
    set_times(&at("plain"), 1_234_567_890, 123_456_789);
    set_times(&at("link"), 987_654_321, 1);
    set_times(&at("empty"), -5, 999_999_999);
    set_times(&at("one"), 1_111_111_111, 111_111_111);
    set_mode(root, 0o751);
    set_times(root, 999_999_999, 999_999_999);
}

/// The metadata at one path, according to the system.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    kind: String,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    size: u64,
    target: Option<PathBuf>,
    device: u64,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path that shares this path's inode.
    shared_with: Option<PathBuf>,
    content: Option<blake3::Hash>,
    /// Whether the file uses much less space than it has bytes.
    sparse: bool,
}

/// Inspects everything below `root`, and `root` itself under the empty path.
///
/// # Panics
///
/// When something cannot be inspected.
pub fn look(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut inodes = HashMap::new();
    look_below(root, Path::new(""), &mut inodes, &mut found);
    found
}

fn look_below(
    root: &Path,
    below: &Path,
    inodes: &mut HashMap<(u64, u64), PathBuf>,
    found: &mut BTreeMap<PathBuf, Facts>,
) {
    let path = root.join(below);
    let meta = fs::symlink_metadata(&path).unwrap();
    let kind = meta.file_type();
    let is_file = kind.is_file();
    let shared_with = (!kind.is_dir() && meta.nlink() > 1)
        .then(|| inodes.entry((meta.dev(), meta.ino())).or_insert_with(|| below.to_owned()).clone());
    let facts = Facts {
        kind: format!(
            "{}{}{}{}",
            if is_file {
                "file"
            } else if kind.is_dir() {
                "folder"
            } else if kind.is_symlink() {
                "link"
            } else {
                ""
            },
            if kind.is_fifo() { "fifo" } else { "" },
            if kind.is_socket() { "socket" } else { "" },
            if kind.is_block_device() {
                "block"
            } else if kind.is_char_device() {
                "character"
            } else {
                ""
            },
        ),
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        modified: (meta.mtime(), meta.mtime_nsec()),
        size: if is_file { meta.size() } else { 0 },
        target: kind.is_symlink().then(|| fs::read_link(&path).unwrap()),
        device: meta.rdev(),
        xattrs: xattrs(&path),
        shared_with,
        content: is_file.then(|| content(&path)),
        sparse: is_file && meta.blocks() * 512 < meta.size() / 2,
    };
    found.insert(below.to_owned(), facts);
    if kind.is_dir() {
        let mut names: Vec<_> =
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            look_below(root, &below.join(name), inodes, found);
        }
    }
}

/// The content's hash; for a sparse file, of its data and their positions, so that five empty GiB take no time.
fn content(path: &Path) -> blake3::Hash {
    let mut file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < size {
        let Ok(start) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) else { break };
        let end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(start)).unwrap();
        file.seek(SeekFrom::Start(start)).unwrap();
        hasher.write_all(&start.to_le_bytes()).unwrap();
        hasher.update_reader(std::io::Read::take(&file, end - start)).unwrap();
        at = end;
    }
    hasher.finalize()
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let get = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()).map(|n| (n.to_vec(), get(n))).collect()
}

/// The folder that is `depth` times `name` below `root`, reached step by step, and created on the way if requested.
///
/// # Panics
/// When a step fails.
pub fn go_down(root: &Path, name: &str, depth: usize, make: bool) -> OwnedFd {
    let mut folder: OwnedFd = File::open(root).unwrap().into();
    for _ in 0..depth {
        if make {
            rustix::fs::mkdirat(&folder, name, Mode::RWXU).unwrap();
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        folder = rustix::fs::openat(&folder, name, flags, Mode::empty()).unwrap();
    }
    folder
}

/// Writes a file in an open folder.
///
/// # Panics
/// When it cannot be written.
pub fn write_in(folder: &OwnedFd, name: &str, bytes: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(folder, name, flags, Mode::RUSR).unwrap());
    file.write_all(bytes).unwrap();
}

/// Reads a file in an open folder.
///
/// # Panics
/// When it cannot be read.
pub fn read_in(folder: &OwnedFd, name: &str) -> Vec<u8> {
    let mut file = File::from(rustix::fs::openat(folder, name, OFlags::RDONLY, Mode::empty()).unwrap());
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn make_node(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn give(path: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_times(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Incompressible bytes, different for each `seed`.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
