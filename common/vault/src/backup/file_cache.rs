//! A host's cache of its last snapshot, so that unchanged files are not read again.
//!
//! It contains keyed hashes of paths and of stat fields, and frame references: neither paths nor content can be read
//! from it. It is sealed under a key that only this writer has and bound to its snapshot; a cache that is damaged, or
//! of another snapshot, is set aside, which costs a reread but no upload.
//!
//! Beside it is the permanently stored part of a run under way: blocks of the same entries, appended whenever packs and
//! their index objects are stored. After a killed run, the next run uses them and does not read those files again.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use lifeboat_core::private_folder;
use minicbor::{Decode, Encode};
use roaring::RoaringBitmap;

use crate::error::VaultError;
use crate::format::compression::{OBJECT_WINDOW, compress, decompress};
use crate::format::item::{Content, Item, Segment};
use crate::format::seal::{Binding, Purpose, SealKey};
use crate::ids::{RepositoryId, RunId, from_cbor, to_cbor};
use crate::keys::key_file::WriterKey;
use crate::tree::source::Fingerprint;

/// The largest cache that is read, in bytes.
const MAX_FILE: u64 = 2 << 30;
/// The largest decompressed cache or block, in bytes.
const MAX_PLAIN: usize = 16 << 30;
/// A file that changed less than this before a run, in nanoseconds, may change again within the same tick of its file
/// system's clock, so the next run reads it again.
const CLOCK_GRAIN_NS: i128 = 2_000_000_000;

/// One stream's cache: the entries of the last run, and those for the next.
pub(crate) struct FileCache {
    hash_key: [u8; 32],
    known: HashMap<[u8; 16], Remembered>,
    next: Vec<Entry>,
    /// How many of `next` are in the file of the run under way.
    saved: usize,
    /// Files that changed later than this are not cached, in nanoseconds since 1970.
    settled_before_ns: i128,
}

struct Remembered {
    fingerprint: [u8; 16],
    content: Content,
    segments: Option<Vec<Segment>>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
pub(crate) struct Entry {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    path: [u8; 16],
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    fingerprint: [u8; 16],
    #[n(2)]
    content: Content,
    #[n(3)]
    segments: Option<Vec<Segment>>,
}

/// The location of a stream's cache, and how it is sealed.
pub(crate) struct CacheFile {
    path: PathBuf,
    key: SealKey,
    repository: RepositoryId,
}

impl CacheFile {
    /// The cache of a writer's stream `name`, below the cache folder.
    pub(crate) fn new(cache: &Path, writer: &WriterKey, stream: &str) -> Self {
        let secret = blake3::derive_key("lifeboat v0 host memory", &writer.signing_key.to_pkcs8_der());
        let name = blake3::keyed_hash(&secret, stream.as_bytes()).to_hex();
        let path =
            cache.join(writer.repository.to_string()).join(writer.writer.to_string()).join(&name[..32]);
        Self { path, key: SealKey::from_bytes(&secret), repository: writer.repository }
    }

    /// Reads the cache of the snapshot `head` and what a killed run after it had stored; any other cache is ignored.
    /// Returns the reason if a cache existed and could not be used.
    pub(crate) fn load(
        &self,
        head: Option<&Sha256Digest>,
        started: Timestamp,
    ) -> (FileCache, Option<String>) {
        let (mut known, mut reason) = (HashMap::new(), None);
        if let Some(head) = head {
            match self.read(head) {
                Ok(remembered) => known = remembered,
                Err(why) => reason = why,
            }
        }
        for entry in self.read_under_way(head) {
            let (path, remembered) = entry.split();
            known.insert(path, remembered);
        }
        let cache = FileCache {
            hash_key: blake3::derive_key("lifeboat v0 host memory names", self.key.as_bytes()),
            known,
            next: Vec::new(),
            saved: 0,
            settled_before_ns: started.as_nanosecond() - CLOCK_GRAIN_NS,
        };
        (cache, reason)
    }

    fn under_way(&self) -> PathBuf {
        self.path.with_extension("under-way")
    }

    /// The blocks of a run that came after `head` and was not committed. A block that does not open is where the run
    /// was killed, or damage: neither it nor what follows counts.
    fn read_under_way(&self, head: Option<&Sha256Digest>) -> Vec<Entry> {
        let mut entries = Vec::new();
        let Ok(bytes) = read_file_capped(&self.under_way(), MAX_FILE) else { return entries };
        let mut rest = &bytes[..];
        for number in 0_u32.. {
            let Some((length, after)) = rest.split_first_chunk::<4>() else { break };
            let Some(sealed) = after.get(..u32::from_le_bytes(*length) as usize) else { break };
            let context = block_context(head, number);
            let Ok(plain) = self.key.open(&self.binding_of(&context), sealed) else { break };
            let Some(plain) = decompress(&plain, MAX_PLAIN, OBJECT_WINDOW) else { break };
            let Ok(block) = Entry::all_of(&plain) else { break };
            entries.extend(block);
            rest = &after[sealed.len()..];
        }
        entries
    }

    /// Appends a block after those that an earlier run after the same `head` left.
    fn append(&self, head: Option<&Sha256Digest>, entries: &[Entry]) -> std::io::Result<()> {
        let path = self.under_way();
        if let Some(folder) = path.parent() {
            private_folder::make(folder)?;
        }
        let mut file = fs::File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        let (number, end) = self.end_of_blocks(head, &mut file)?;
        file.set_len(end)?;
        let context = block_context(head, number);
        let mut sealed = Vec::new();
        self.key.seal(&self.binding_of(&context), &compress(&to_cbor(&entries)), &mut sealed);
        let mut block = u32::try_from(sealed.len()).map_err(std::io::Error::other)?.to_le_bytes().to_vec();
        block.extend_from_slice(&sealed);
        std::os::unix::fs::FileExt::write_all_at(&file, &block, end)?;
        file.sync_data()
    }

    /// How many whole blocks of this head the file has, and where they end.
    fn end_of_blocks(&self, head: Option<&Sha256Digest>, file: &mut fs::File) -> std::io::Result<(u32, u64)> {
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        let (mut number, mut end) = (0, 0);
        while let Some((length, after)) = bytes[end..].split_first_chunk::<4>() {
            let Some(sealed) = after.get(..u32::from_le_bytes(*length) as usize) else { break };
            if self.key.open(&self.binding_of(&block_context(head, number)), sealed).is_err() {
                break;
            }
            number += 1;
            end += 4 + sealed.len();
        }
        Ok((number, end as u64))
    }

    fn read(&self, head: &Sha256Digest) -> Result<HashMap<[u8; 16], Remembered>, Option<String>> {
        let bytes = match read_file_capped(&self.path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(None),
            Err(error) => return Err(Some(error.to_string())),
        };
        let (bound, sealed) = bytes.split_first_chunk::<32>().ok_or_else(|| Some("it is cut".to_owned()))?;
        if bound != head.as_bytes() {
            // Another snapshot followed the cached one, which is not a fault.
            return Err(None);
        }
        let plain = self.key.open(&self.binding(head), sealed).map_err(|error| Some(error.to_string()))?;
        let plain = decompress(&plain, MAX_PLAIN, OBJECT_WINDOW)
            .ok_or_else(|| Some("it does not decompress".to_owned()))?;
        let entries = Entry::all_of(&plain).map_err(|error| Some(error.to_string()))?;
        Ok(entries.into_iter().map(Entry::split).collect())
    }

    /// Writes `cache` for the run after the snapshot `head`.
    pub(crate) fn store(&self, cache: &FileCache, head: &Sha256Digest) -> Result<(), VaultError> {
        let mut bytes = head.as_bytes().to_vec();
        self.key.seal(&self.binding(head), &compress(&to_cbor(&cache.next)), &mut bytes);
        let write = || -> std::io::Result<()> {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            private_folder::make(folder)?;
            let new = self.path.with_extension("new");
            let mut file = fs::File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            match fs::remove_file(self.under_way()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        };
        write().map_err(|source| VaultError::Local { path: self.path.clone(), action: "written", source })
    }

    fn binding<'a>(&'a self, head: &'a Sha256Digest) -> Binding<'a> {
        self.binding_of(head.as_bytes())
    }

    fn binding_of<'a>(&'a self, context: &'a [u8]) -> Binding<'a> {
        Binding { purpose: Purpose::FileCache, repository: &self.repository, context }
    }
}

/// The context of a block of a run under way: the snapshot before it and its number.
fn block_context(head: Option<&Sha256Digest>, number: u32) -> Vec<u8> {
    let mut context = b"under way".to_vec();
    context.extend_from_slice(head.map_or(&[0; 32], |head| head.as_bytes()));
    context.extend_from_slice(&number.to_le_bytes());
    context
}

impl Entry {
    /// Decodes a cache, or a block of one, and checks what its users rely on.
    pub(crate) fn all_of(cbor: &[u8]) -> Result<Vec<Self>, minicbor::decode::Error> {
        let entries: Vec<Self> = from_cbor(cbor)?;
        match entries.iter().find_map(|entry| entry.content.check().err()) {
            Some(malformed) => Err(minicbor::decode::Error::custom(malformed)),
            None => Ok(entries),
        }
    }

    fn split(self) -> ([u8; 16], Remembered) {
        let Self { path, fingerprint, content, segments } = self;
        (path, Remembered { fingerprint, content, segments })
    }

    /// Whether everything that `run` stored of it has been stored permanently.
    pub(crate) fn has_landed(&self, run: RunId, landed: &RoaringBitmap) -> bool {
        self.content.extents.iter().all(|extent| {
            let frame = self.content.frame(extent);
            frame.run != run || landed.contains(frame.ordinal)
        })
    }
}

/// The caches of a run's streams.
#[derive(Default)]
pub(crate) struct FileCaches {
    head: Option<Sha256Digest>,
    streams: Vec<(Option<CacheFile>, FileCache)>,
}

impl FileCaches {
    /// The caches for a run that comes after the snapshot `head`.
    pub(crate) fn after(head: Option<Sha256Digest>) -> Self {
        Self { head, streams: Vec::new() }
    }

    /// Begins the next stream. Returns the reason if a cache existed that cannot be used.
    pub(crate) fn begin(&mut self, file: Option<CacheFile>, started: Timestamp) -> Option<String> {
        let (cache, reason) = match &file {
            Some(file) => file.load(self.head.as_ref(), started),
            None => (FileCache::none(), None),
        };
        self.streams.push((file, cache));
        reason
    }

    /// The cache of the stream that is being captured.
    pub(crate) fn current(&mut self) -> &mut FileCache {
        if self.streams.is_empty() {
            self.streams.push((None, FileCache::none()));
        }
        let last = self.streams.len() - 1;
        &mut self.streams[last].1
    }

    /// Saves the part of `run` that is stored permanently. If it cannot be saved, that only costs a reread after a
    /// kill.
    pub(crate) fn checkpoint(&mut self, run: RunId, landed: &RoaringBitmap) {
        for (file, cache) in &mut self.streams {
            let Some(file) = file else { continue };
            let open = &cache.next[cache.saved..];
            let count = open.iter().take_while(|entry| entry.has_landed(run, landed)).count();
            if count == 0 {
                continue;
            }
            match file.append(self.head.as_ref(), &open[..count]) {
                Ok(()) => cache.saved += count,
                Err(error) => tracing::warn!("the state of this run cannot be kept: {error}"),
            }
        }
    }

    /// Keeps everything for the run after the snapshot `id`.
    pub(crate) fn commit(&self, id: &Sha256Digest) {
        for (file, cache) in &self.streams {
            // The snapshot is committed; a cache that cannot be kept only costs the next run a reread.
            if let Some(file) = file
                && let Err(error) = file.store(cache, id)
            {
                tracing::warn!("{error}: the next run reads everything again");
            }
        }
    }
}

impl FileCache {
    /// An empty cache that is not saved.
    pub(crate) fn none() -> Self {
        Self {
            hash_key: [0; 32],
            known: HashMap::new(),
            next: Vec::new(),
            saved: 0,
            settled_before_ns: i128::MIN,
        }
    }

    fn hash(&self, what: &[u8]) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.hash_key, what);
        let (short, _) = hash.as_bytes().split_at(16);
        short.try_into().expect("16 of 32 bytes")
    }

    fn hash_fingerprint(&self, f: &Fingerprint) -> [u8; 16] {
        let mut bytes = Vec::with_capacity(56);
        bytes.extend_from_slice(&f.size.to_le_bytes());
        bytes.extend_from_slice(&f.mtime_ns.to_le_bytes());
        bytes.extend_from_slice(&f.ctime_ns.to_le_bytes());
        bytes.extend_from_slice(&f.device.to_le_bytes());
        bytes.extend_from_slice(&f.inode.to_le_bytes());
        self.hash(&bytes)
    }

    /// The content of the file at `path`, if the file is unchanged since the last run.
    pub(crate) fn recall(
        &self,
        path: &[u8],
        fingerprint: &Fingerprint,
    ) -> Option<(Content, Option<Vec<Segment>>)> {
        let remembered = self.known.get(&self.hash(path))?;
        let same = remembered.fingerprint == self.hash_fingerprint(fingerprint);
        same.then(|| (remembered.content.clone(), remembered.segments.clone()))
    }

    /// Caches a captured file for the next run.
    pub(crate) fn keep(&mut self, item: &Item, fingerprint: Option<&Fingerprint>) {
        let (Some(fingerprint), Some(content)) = (fingerprint, &item.content) else { return };
        if fingerprint.ctime_ns.max(fingerprint.mtime_ns) >= self.settled_before_ns {
            return;
        }
        let (path, fingerprint) = (self.hash(&item.path), self.hash_fingerprint(fingerprint));
        self.next.push(Entry {
            path,
            fingerprint,
            content: content.clone(),
            segments: item.segments.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::item::Extent;

    #[test]
    fn a_memory_whose_extents_name_no_run_is_refused() {
        let memory = |run| {
            let extents = vec![Extent { run, ordinal: 0, slot: 0, chunks: 1, bytes: 9 }];
            let content = Content { runs: vec![RunId::from_bytes([7; 16])], extents, hash: [0; 32] };
            to_cbor(&vec![Entry { path: [1; 16], fingerprint: [2; 16], content, segments: None }])
        };
        assert_eq!(Entry::all_of(&memory(0)).unwrap().len(), 1);
        assert!(Entry::all_of(&memory(1)).is_err());
    }
}
