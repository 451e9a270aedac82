//! What a host remembers of its last snapshot, so that unchanged files are not read again.
//!
//! It holds keyed hashes of paths and of stat fields, and frame references: nothing that could be read back as a path
//! or as content. It is sealed under a key that only this writer has and bound to the snapshot that it remembers; one
//! that is damaged, or of another snapshot, is set aside, which costs a reread and no upload.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use minicbor::{Decode, Encode};

use crate::VaultError;
use crate::ids::{RepositoryId, from_cbor, to_cbor};
use crate::item::{Content, Item, Segment};
use crate::key_file::WriterKey;
use crate::pack::{compress, decompress};
use crate::seal::{Binding, Purpose, SealKey};
use crate::source::Fingerprint;

/// The largest memory that is read, in bytes.
const MAX_FILE: u64 = 2 << 30;
/// A file that changed so shortly before a run, in nanoseconds, may change again within the same tick of its file
/// system's clock, and is read again by the next run.
const CLOCK_GRAIN_NS: i128 = 2_000_000_000;

/// One stream's memory: what the last run told, and what this run is to tell the next.
pub(crate) struct HostMemory {
    hash_key: [u8; 32],
    known: HashMap<[u8; 16], Remembered>,
    next: Vec<Entry>,
    /// Files that changed later than this are not remembered, in nanoseconds since 1970.
    settled_before_ns: i128,
}

struct Remembered {
    fingerprint: [u8; 16],
    content: Content,
    segments: Option<Vec<Segment>>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Entry {
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

/// Where a stream's memory lies and how it is sealed.
pub(crate) struct MemoryFile {
    path: PathBuf,
    key: SealKey,
    repository: RepositoryId,
}

impl MemoryFile {
    /// The memory of the stream `name` of a writer, below the cache folder.
    pub(crate) fn new(cache: &Path, writer: &WriterKey, stream: &str) -> Self {
        let secret = blake3::derive_key("lifeboat v0 host memory", &writer.signing_key.to_pkcs8_der());
        let name = blake3::keyed_hash(&secret, stream.as_bytes()).to_hex();
        let path =
            cache.join(writer.repository.to_string()).join(writer.writer.to_string()).join(&name[..32]);
        Self { path, key: SealKey::from_bytes(&secret), repository: writer.repository }
    }

    /// Reads what was remembered of the snapshot `head`; anything else is no memory. The reason is given when a
    /// memory was there and could not be used.
    pub(crate) fn load(
        &self,
        head: Option<&Sha256Digest>,
        started: Timestamp,
    ) -> (HostMemory, Option<String>) {
        let empty = |known| HostMemory {
            hash_key: blake3::derive_key("lifeboat v0 host memory names", self.key.as_bytes()),
            known,
            next: Vec::new(),
            settled_before_ns: started.as_nanosecond() - CLOCK_GRAIN_NS,
        };
        let Some(head) = head else { return (empty(HashMap::new()), None) };
        match self.read(head) {
            Ok(known) => (empty(known), None),
            Err(reason) => (empty(HashMap::new()), reason),
        }
    }

    fn read(&self, head: &Sha256Digest) -> Result<HashMap<[u8; 16], Remembered>, Option<String>> {
        let bytes = match read_file_capped(&self.path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(None),
            Err(error) => return Err(Some(error.to_string())),
        };
        let (bound, sealed) = bytes.split_first_chunk::<32>().ok_or_else(|| Some("it is cut".to_owned()))?;
        if bound != head.as_bytes() {
            // Another snapshot came after the one it remembers: no fault.
            return Err(None);
        }
        let plain = self.key.open(&self.binding(head), sealed).map_err(|error| Some(error.to_string()))?;
        let plain =
            decompress(&plain, usize::MAX >> 1).ok_or_else(|| Some("it does not decompress".to_owned()))?;
        let entries: Vec<Entry> = from_cbor(&plain).map_err(|error| Some(error.to_string()))?;
        let remembered = |e: Entry| {
            (e.path, Remembered { fingerprint: e.fingerprint, content: e.content, segments: e.segments })
        };
        Ok(entries.into_iter().map(remembered).collect())
    }

    /// Writes what `memory` is to tell the run after the snapshot `head`.
    pub(crate) fn store(&self, memory: &HostMemory, head: &Sha256Digest) -> Result<(), VaultError> {
        let mut bytes = head.as_bytes().to_vec();
        self.key.seal(&self.binding(head), &compress(&to_cbor(&memory.next)), &mut bytes);
        let write = || -> std::io::Result<()> {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            let new = self.path.with_extension("new");
            let mut file = fs::File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|source| VaultError::Local { path: self.path.clone(), action: "written", source })
    }

    fn binding<'a>(&'a self, head: &'a Sha256Digest) -> Binding<'a> {
        Binding { purpose: Purpose::HostMemory, repository: &self.repository, context: head.as_bytes() }
    }
}

impl HostMemory {
    /// Remembers nothing and tells nothing.
    pub(crate) fn none() -> Self {
        Self { hash_key: [0; 32], known: HashMap::new(), next: Vec::new(), settled_before_ns: i128::MIN }
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

    /// The content of the file at `path`, if it looks as it did in the last run.
    pub(crate) fn recall(
        &self,
        path: &[u8],
        fingerprint: &Fingerprint,
    ) -> Option<(Content, Option<Vec<Segment>>)> {
        let remembered = self.known.get(&self.hash(path))?;
        let same = remembered.fingerprint == self.hash_fingerprint(fingerprint);
        same.then(|| (remembered.content.clone(), remembered.segments.clone()))
    }

    /// Remembers a captured file for the next run.
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
