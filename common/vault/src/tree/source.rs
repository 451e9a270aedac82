//! The source of a snapshot: a tree that is walked in the order of item streams.

use std::io;
use std::path::PathBuf;

use crate::format::item::{Item, ItemKind, Segment};

/// A tree, or one file of bytes, that can be captured.
pub trait Source: Send {
    /// The next item in stream order (see [`crate::format::item`]), or one that could not be read, or the end.
    fn next(&mut self) -> Option<Result<Found, Unreadable>>;

    /// Called when the last item could not be captured. A source that has another name for the same file may then
    /// return the file itself under that name, in place of a dangling hard link.
    fn not_captured(&mut self, _path: &[u8]) {}

    /// How many items are known to be missing that [`Source::next`] does not report: a copy lacks what its original
    /// lacks.
    fn missing(&self) -> u64 {
        0
    }
}

/// An item of a source.
pub struct Found {
    /// The record; a file's `content` is still open.
    pub item: Item,
    /// Identifies a file that was not touched since the last run, if the source supports it.
    pub fingerprint: Option<Fingerprint>,
    /// Reads a file's bytes; `Some` for files that are not empty.
    pub body: Option<Box<dyn Body>>,
}

/// A file's stat fields that change when its content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// The length in bytes.
    pub size: u64,
    /// The modification time in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// The status-change time in nanoseconds since 1970.
    pub ctime_ns: i128,
    /// The device of the file.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

/// A file that can be read once.
pub trait Body: Send {
    /// Opens the file and returns where its data is.
    fn open(&mut self) -> io::Result<Layout>;
    /// Reads into `buffer` at `offset`; 0 at the end. Offsets only grow.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Whether the file changed since it was found.
    fn has_changed(&mut self) -> bool;
}

/// Where the data of an open file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Everywhere up to the end, which comes at the latest after `limit` bytes.
    Dense {
        /// The most that is read.
        limit: u64,
    },
    /// In these segments; everything else up to `size` is holes.
    Sparse {
        /// The file's length in bytes.
        size: u64,
        /// The segments with data, in order and without overlap.
        segments: Vec<Segment>,
    },
}

/// Bytes that can be read once, such as standard input, captured as a single file.
pub struct BytesSource<R> {
    item: Option<Item>,
    reader: Option<R>,
}

impl<R: io::Read + Send + 'static> BytesSource<R> {
    /// A file called `name` with the bytes from `reader`; dated `mtime`, seconds since 1970.
    pub fn new(name: &str, reader: R, mtime: i64) -> Self {
        let item = Item {
            path: name.as_bytes().to_vec().into(),
            kind: ItemKind::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime,
            mtime_ns: 0,
            xattrs: None,
            size: Some(0),
            content: None,
            segments: None,
            target: None,
            device: None,
            origin: None,
        };
        Self { item: Some(item), reader: Some(reader) }
    }
}

impl<R: io::Read + Send + 'static> Source for BytesSource<R> {
    fn next(&mut self) -> Option<Result<Found, Unreadable>> {
        let (item, reader) = (self.item.take()?, self.reader.take()?);
        Some(Ok(Found { item, fingerprint: None, body: Some(Box::new(BytesBody(reader))) }))
    }
}

struct BytesBody<R>(R);

impl<R: io::Read + Send> Body for BytesBody<R> {
    fn open(&mut self) -> io::Result<Layout> {
        Ok(Layout::Dense { limit: u64::MAX })
    }

    fn read_at(&mut self, _offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn has_changed(&mut self) -> bool {
        false
    }
}

/// An item that could not be captured.
#[derive(Debug)]
pub struct Unreadable {
    /// Its path.
    pub path: PathBuf,
    /// The system's error.
    pub error: io::Error,
}
