//! A stream of an open snapshot as a source, so that it can be captured again elsewhere. Contents pass through memory,
//! one extent at a time, and never touch a disk.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::error::{ObjectError, VaultError};
use crate::format::item::{Content, Item};
use crate::ids::FrameName;
use crate::restore::open::OpenSnapshot;
use crate::restore::reader::{ContentStream, FRAMES_AHEAD, ItemStream};
use crate::tree::source::{Body, Fingerprint, Found, Layout, Source, Unreadable};

/// How many items are read ahead, so that the frames of small files are fetched together.
const ITEMS_AHEAD: usize = 128;
/// Items are no longer read ahead once the waiting ones have this many extents: few large files fill memory too.
const EXTENTS_AHEAD: usize = 4096;

/// The items of one stream, read on the runtime that was current when it was made. Its methods block.
pub(crate) struct SnapshotSource {
    items: ItemStream,
    upcoming: VecDeque<Item>,
    extents_ahead: usize,
    at_end: bool,
    missing: u64,
    reading: Reading,
}

/// The state that a source shares with its file bodies. One of them is in use at a time.
#[derive(Clone)]
struct Reading {
    contents: Arc<Mutex<ContentStream>>,
    failure: FirstFailure,
    keeps_damaged: bool,
    cancel: CancellationToken,
    runtime: Handle,
}

/// Why a source ended early. The caller of the capture must check it, because the trait can only report single items.
#[derive(Clone, Default)]
pub(crate) struct FirstFailure(Arc<Mutex<Option<VaultError>>>);

impl FirstFailure {
    fn set(&self, error: VaultError) {
        lock(&self.0).get_or_insert(error);
    }

    fn is_set(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// The failure, if there was one.
    pub(crate) fn take(&self) -> Option<VaultError> {
        lock(&self.0).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SnapshotSource {
    /// The stream at `index`. With `keeps_damaged`, a file with damaged content is reported as unreadable; without it,
    /// the source ends there. Any other failure ends the source in both cases.
    pub(crate) fn new(
        snapshot: &OpenSnapshot,
        index: usize,
        keeps_damaged: bool,
        cancel: &CancellationToken,
    ) -> Result<(Self, FirstFailure), VaultError> {
        let record = snapshot.record(index)?;
        let failure = FirstFailure::default();
        let contents = ContentStream::new(snapshot.reader().clone(), record.items.clone());
        let source = Self {
            items: snapshot.items(index)?,
            upcoming: VecDeque::new(),
            extents_ahead: 0,
            at_end: false,
            missing: record.unreadable,
            reading: Reading {
                contents: Arc::new(Mutex::new(contents)),
                failure: failure.clone(),
                keeps_damaged,
                cancel: cancel.clone(),
                runtime: Handle::current(),
            },
        };
        Ok((source, failure))
    }

    fn read_ahead(&mut self) -> Result<(), VaultError> {
        while !self.at_end && self.upcoming.len() < ITEMS_AHEAD && self.extents_ahead < EXTENTS_AHEAD {
            match self.reading.runtime.block_on(self.items.next())? {
                Some(item) => {
                    self.extents_ahead += extents(&item);
                    self.upcoming.push_back(item);
                }
                None => self.at_end = true,
            }
        }
        Ok(())
    }

    /// The frames that the items after this one need, in order.
    fn frames_ahead(&self) -> Vec<FrameName> {
        let mut frames = Vec::new();
        for content in self.upcoming.iter().filter_map(|item| item.content.as_ref()) {
            for extent in &content.extents {
                let frame = content.frame(extent);
                if frames.last() != Some(&frame) {
                    frames.push(frame);
                }
                if frames.len() == FRAMES_AHEAD {
                    return frames;
                }
            }
        }
        frames
    }
}

fn extents(item: &Item) -> usize {
    item.content.as_ref().map_or(0, |content| content.extents.len())
}

impl Source for SnapshotSource {
    fn next(&mut self) -> Option<Result<Found, Unreadable>> {
        if self.reading.failure.is_set() {
            return None;
        }
        if let Err(error) = self.read_ahead() {
            self.reading.failure.set(error);
            return None;
        }
        let mut item = self.upcoming.pop_front()?;
        self.extents_ahead -= extents(&item);
        let Some(content) = item.content.take() else {
            return Some(Ok(Found { item, fingerprint: None, body: None }));
        };
        let size = item.size.unwrap_or(0);
        let layout = match item.segments.take() {
            Some(segments) => Layout::Sparse { size, segments },
            None => Layout::Dense { limit: size },
        };
        let fingerprint = Some(fingerprint(&content));
        let body = ContentBody {
            left: content.bytes(),
            content: Some((content, self.frames_ahead())),
            layout,
            bytes: Vec::new(),
            start: 0,
            reading: self.reading.clone(),
        };
        Some(Ok(Found { item, fingerprint, body: Some(Box::new(body)) }))
    }

    fn missing(&self) -> u64 {
        self.missing
    }
}

/// Half of the content's hash takes the place of a local file's device and inode: a file with the same content as in
/// the snapshot copied before need not be read again.
fn fingerprint(content: &Content) -> Fingerprint {
    let [device, inode, ..] = content.hash.as_chunks::<8>().0 else {
        unreachable!("a hash has four parts of eight bytes")
    };
    Fingerprint {
        size: content.bytes(),
        mtime_ns: 0,
        ctime_ns: 0,
        device: u64::from_le_bytes(*device),
        inode: u64::from_le_bytes(*inode),
    }
}

/// A file's content. Its data is read in order, so offsets are ignored.
struct ContentBody {
    content: Option<(Content, Vec<FrameName>)>,
    layout: Layout,
    left: u64,
    bytes: Vec<u8>,
    start: usize,
    reading: Reading,
}

impl ContentBody {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, VaultError> {
        if self.reading.cancel.is_cancelled() {
            return Err(VaultError::Interrupted);
        }
        let mut contents = lock(&self.reading.contents);
        if self.start == self.bytes.len() {
            let next = self.reading.runtime.block_on(contents.next())?;
            self.bytes = next.ok_or_else(|| ObjectError::damaged("a stream", "a content is too short"))?;
            self.start = 0;
        }
        let count = buffer.len().min(self.bytes.len() - self.start);
        buffer[..count].copy_from_slice(&self.bytes[self.start..self.start + count]);
        self.start += count;
        self.left = self.left.saturating_sub(count as u64);
        // The last bytes are returned only after the hash of all was checked.
        if self.left == 0 && self.reading.runtime.block_on(contents.next())?.is_some() {
            return Err(ObjectError::damaged("a stream", "a content is too long").into());
        }
        Ok(count)
    }
}

impl Body for ContentBody {
    fn open(&mut self) -> io::Result<Layout> {
        let (content, ahead) =
            self.content.take().ok_or_else(|| io::Error::other("the content was opened before"))?;
        lock(&self.reading.contents).turn_to(content, ahead);
        Ok(self.layout.clone())
    }

    fn read_at(&mut self, _offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        self.read(buffer).map_err(|error| {
            let told = io::Error::other(error.to_string());
            if !(self.reading.keeps_damaged && matches!(error, VaultError::Object(_))) {
                self.reading.failure.set(error);
            }
            told
        })
    }

    fn has_changed(&mut self) -> bool {
        false
    }
}
