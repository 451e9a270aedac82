//! Packs, the units of storage: a header with the run keys that the frames need, sealed frames, padding, and a
//! trailer sealed under the index key from which a lost index can be rebuilt.

use lifeboat_core::Sha256Digest;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::format::compression::{OBJECT_WINDOW, compress, decompress};
use crate::format::frame::{FRAME_SLOTS, MAX_SEALED_FRAME, MIN_SEALED_FRAME, PackKind, SealedFrame};
use crate::format::frame_set::MAX_FRAMES;
use crate::format::seal::{Binding, Purpose, SealKey};
use crate::ids::{ChunkId, FrameName, GroupId, RepositoryId, RunId, digest_in_cbor, from_cbor, to_cbor};

const MAGIC: &[u8; 4] = b"LBPK";
const END_MAGIC: &[u8; 4] = b"LBPE";
/// A pack is closed once it contains this many bytes, unless a run is configured otherwise.
pub(crate) const PACK_BYTES: usize = 16 << 20;
/// The largest pack that is read whole, in bytes.
pub(crate) const MAX_PACK: u64 = 64 << 20;
/// The largest index object or trailer, both sealed and decompressed, in bytes. Decoding this many bytes takes at most
/// some 200 MiB, including the bytes themselves.
pub(crate) const MAX_PLAIN: usize = 24 << 20;
/// The decompressed size that any compressed object may have, in bytes.
const PLAIN_BASE: usize = 256 << 10;
/// How many times its compressed size an object may decompress to beyond that.
const PLAIN_RATIO: usize = 8;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Header {
    #[n(0)]
    #[cbor(with = "digest_in_cbor")]
    repository: RepositoryId,
    #[n(1)]
    group: GroupId,
    #[n(2)]
    kind: PackKind,
    #[n(3)]
    runs: Vec<WrappedRunKey>,
}

/// A run key, wrapped to the data recipient.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct WrappedRunKey {
    #[n(0)]
    pub(crate) run: RunId,
    /// An age file of the 32 key bytes.
    #[n(1)]
    pub(crate) wrapped: ByteVec,
}

/// One frame in a trailer.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(array)]
pub(crate) struct TrailerFrame {
    #[n(0)]
    pub(crate) run: RunId,
    #[n(1)]
    pub(crate) ordinal: u32,
    #[n(2)]
    pub(crate) offset: u64,
    #[n(3)]
    pub(crate) length: u32,
    #[n(4)]
    #[cbor(with = "digest_in_cbor")]
    pub(crate) hash: Sha256Digest,
    #[n(5)]
    pub(crate) chunks: Vec<ChunkId>,
    /// The sum of the chunks' lengths.
    #[n(6)]
    pub(crate) chunk_bytes: u32,
}

impl TrailerFrame {
    /// The frame's name.
    pub(crate) fn name(&self) -> FrameName {
        self.run.frame(self.ordinal)
    }
}

/// The body of a trailer.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct Trailer {
    #[n(0)]
    pub(crate) frames: Vec<TrailerFrame>,
}

/// A pack that is being filled.
pub(crate) struct PackBuilder {
    kind: PackKind,
    fill: Fill,
    bytes: Vec<u8>,
    frames: Vec<TrailerFrame>,
}

/// How full a pack is: its bytes compared with a target, its header and its trailer compared with the limits of
/// readers. Many small chunks fill a trailer long before they fill a pack.
#[derive(Debug)]
pub(crate) struct Fill {
    target: usize,
    sealed: usize,
    header: usize,
    trailer: usize,
}

impl Fill {
    /// An empty pack for `target` bytes of sealed frames.
    pub(crate) fn up_to(target: usize) -> Self {
        Self { target, sealed: 0, header: 0, trailer: 0 }
    }

    /// Counts a frame with this many sealed bytes and chunks.
    pub(crate) fn add_frame(&mut self, sealed: usize, chunks: usize) {
        self.sealed += sealed;
        self.trailer += 80 + 34 * chunks;
    }

    /// Counts a run key in the header.
    pub(crate) fn add_run_key(&mut self, key: &WrappedRunKey) {
        self.header += 40 + key.wrapped.len();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.sealed >= self.target || self.trailer >= MAX_PLAIN / 2 || self.header as u64 >= MAX_HEADER / 2
    }
}

/// A pack that is ready to be stored under its hash.
pub(crate) struct FinishedPack {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: Sha256Digest,
    pub(crate) frames: Vec<TrailerFrame>,
}

impl PackBuilder {
    pub(crate) fn new(
        repository: &RepositoryId,
        group: GroupId,
        kind: PackKind,
        run_keys: Vec<WrappedRunKey>,
        target: usize,
    ) -> Self {
        let header = to_cbor(&Header { repository: *repository, group, kind, runs: run_keys });
        let mut bytes = Vec::with_capacity(target + target / 8);
        bytes.extend_from_slice(MAGIC);
        bytes.push(crate::format::FORMAT_VERSION);
        bytes.extend_from_slice(&u32::try_from(header.len()).expect("a header is small").to_le_bytes());
        bytes.extend_from_slice(&header);
        Self { kind, fill: Fill::up_to(target), bytes, frames: Vec::new() }
    }

    pub(crate) fn push(&mut self, run: RunId, frame: SealedFrame) {
        debug_assert!(frame.kind == self.kind, "frames go to the pack of their kind");
        self.fill.add_frame(frame.bytes.len(), frame.ids.len());
        self.frames.push(TrailerFrame {
            run,
            ordinal: frame.ordinal,
            offset: self.bytes.len() as u64,
            length: u32::try_from(frame.bytes.len()).expect("a frame is a few MiB"),
            hash: frame.hash,
            chunks: frame.ids,
            chunk_bytes: frame.chunk_bytes,
        });
        self.bytes.extend_from_slice(&frame.bytes);
    }

    /// Adds a sealed frame of any run unchanged, from another pack whose trailer lists it as `frame`.
    pub(crate) fn push_sealed(&mut self, frame: &TrailerFrame, sealed: &[u8]) {
        let (offset, length) = (self.bytes.len() as u64, frame.length);
        debug_assert!(sealed.len() == length as usize, "the caller has checked the frame's hash");
        self.fill.add_frame(sealed.len(), frame.chunks.len());
        self.frames.push(TrailerFrame { offset, length, ..frame.clone() });
        self.bytes.extend_from_slice(sealed);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.fill.is_full()
    }

    pub(crate) fn finish(
        mut self,
        index_key: &SealKey,
        repository: &RepositoryId,
        group: GroupId,
    ) -> FinishedPack {
        let trailer = Trailer { frames: self.frames };
        seal_trailer(&mut self.bytes, &compress(&to_cbor(&trailer)), index_key, repository, group);
        FinishedPack { hash: Sha256Digest::of(&self.bytes), bytes: self.bytes, frames: trailer.frames }
    }
}

/// Ends a pack: pads it, and appends the trailer, which is encoded and compressed.
pub(crate) fn seal_trailer(
    pack: &mut Vec<u8>,
    compressed: &[u8],
    index_key: &SealKey,
    repository: &RepositoryId,
    group: GroupId,
) {
    let mut sealed = Vec::new();
    let binding = Binding { purpose: Purpose::Trailer, repository, context: group.as_bytes() };
    index_key.seal(&binding, compressed, &mut sealed);
    let end = pack.len() + sealed.len() + TAIL;
    pack.resize(pack.len() + (padded(end) - end), 0);
    pack.extend_from_slice(&sealed);
    pack.extend_from_slice(&u32::try_from(sealed.len()).expect("a trailer is small").to_le_bytes());
    pack.extend_from_slice(END_MAGIC);
}

/// The Padmé length (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs",
/// 2019): at most 12 % more, and reveals only the logarithm of the length's logarithm.
fn padded(length: usize) -> usize {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1_usize << (exponent - kept.min(exponent))) - 1;
    (length + mask) & !mask
}

/// The largest decompressed size: a base for every object, plus a multiple of its compressed size. Without this, a few
/// kilobytes would cost their readers as much memory as the largest possible object.
pub(crate) fn plain_cap(compressed: usize) -> usize {
    PLAIN_BASE.saturating_add(compressed.saturating_mul(PLAIN_RATIO)).min(MAX_PLAIN)
}

/// How many bytes at the end of a pack contain the length of its trailer.
pub(crate) const TAIL: usize = 8;

/// The length of the sealed trailer, from the last [`TAIL`] bytes of a pack; `None` if it is longer than any trailer
/// can be.
pub(crate) fn trailer_length(tail: [u8; TAIL]) -> Option<u32> {
    let length = u32::from_le_bytes(tail.strip_suffix(END_MAGIC)?.try_into().ok()?);
    (length as usize <= MAX_PLAIN).then_some(length)
}

/// Whether frames overlap. Frames are stored one after the other; overlapping ones would make a check hash the pack
/// many times over.
fn overlap(frames: &[TrailerFrame]) -> bool {
    frames.windows(2).any(|pair| pair[0].offset + u64::from(pair[0].length) > pair[1].offset)
}

/// Opens a sealed trailer, which begins at byte `start` of its pack.
pub(crate) fn open_trailer(
    sealed: &[u8],
    start: u64,
    index_key: &SealKey,
    repository: &RepositoryId,
    group: GroupId,
) -> Result<Vec<TrailerFrame>, &'static str> {
    let binding = Binding { purpose: Purpose::Trailer, repository, context: group.as_bytes() };
    let plain = index_key.open(&binding, sealed).map_err(|_| "its trailer does not open")?;
    let plain = decompress(&plain, plain_cap(plain.len()), OBJECT_WINDOW)
        .ok_or("its trailer does not decompress, or to more than is allowed")?;
    let trailer: Trailer = from_cbor(&plain).map_err(|_| "its trailer is malformed")?;
    let fits = |f: &TrailerFrame| {
        f.offset.checked_add(u64::from(f.length)).is_some_and(|end| end <= start)
            && f.length >= MIN_SEALED_FRAME
            && u64::from(f.length) <= MAX_SEALED_FRAME
            && f.ordinal < MAX_FRAMES
            && f.chunks.len() <= FRAME_SLOTS
    };
    if !trailer.frames.iter().all(fits) {
        return Err("its trailer names bytes outside, or impossible frames");
    }
    if overlap(&trailer.frames) {
        return Err("its trailer names bytes twice");
    }
    Ok(trailer.frames)
}

/// Reads the trailer of a whole pack.
pub(crate) fn read_trailer(
    pack: &[u8],
    index_key: &SealKey,
    repository: &RepositoryId,
    group: GroupId,
) -> Result<Vec<TrailerFrame>, &'static str> {
    let (rest, tail) = pack.split_last_chunk::<TAIL>().ok_or("it is too short")?;
    let length = trailer_length(*tail).ok_or("it does not end like a pack")? as usize;
    let start = rest.len().checked_sub(length).ok_or("its trailer is longer than the pack")?;
    open_trailer(&rest[start..], start as u64, index_key, repository, group)
}

/// The maximum length of a pack's beginning that contains its header.
pub(crate) const MAX_HEADER: u64 = 1 << 20;

/// Reads a pack's header from its first bytes: its kind, and the run keys that its frames need.
pub(crate) fn read_header(
    beginning: &[u8],
    repository: &RepositoryId,
    group: GroupId,
) -> Result<(PackKind, Vec<WrappedRunKey>), &'static str> {
    let rest = beginning.strip_prefix(MAGIC).ok_or("it does not begin like a pack")?;
    let rest = rest.strip_prefix(&[crate::format::FORMAT_VERSION]).ok_or("its format version is unknown")?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or("it is too short")?;
    let header = rest.get(..u32::from_le_bytes(*length) as usize).ok_or("its header is cut")?;
    let header: Header = from_cbor(header).map_err(|_| "its header is malformed")?;
    if header.repository != *repository || header.group != group {
        return Err("its header names another repository or group");
    }
    Ok((header.kind, header.runs))
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;
    use crate::format::frame::RawFrame;

    #[test]
    fn a_pack_is_full_by_its_bytes_its_header_or_its_trailer() {
        let full_after = |sealed, chunks, wrapped: usize| {
            let mut fill = Fill::up_to(PACK_BYTES);
            let key = WrappedRunKey { run: RunId::from_bytes([0; 16]), wrapped: vec![0; wrapped].into() };
            let mut count = 0;
            while !fill.is_full() {
                fill.add_frame(sealed, chunks);
                fill.add_run_key(&key);
                count += 1;
            }
            count
        };
        assert_eq!(full_after(1 << 20, 16, 0), 16, "frames of a MiB");
        assert_eq!(full_after(100, FRAME_SLOTS, 0), 91, "frames of the smallest chunks");
        assert_eq!(full_after(100, 1, 2000), 258, "a frame of each of many runs");
    }

    #[test]
    fn a_pack_has_a_padme_length_and_a_trailer_that_lists_its_frames() {
        let (run_key, index_key) = (SealKey::random(&OsEntropy), SealKey::random(&OsEntropy));
        let (repository, group) = (Sha256Digest::of(b"r"), GroupId::random(&OsEntropy));
        let run = RunId::random(&OsEntropy);
        let wrapped = WrappedRunKey { run, wrapped: vec![1, 2, 3].into() };
        let mut pack = PackBuilder::new(&repository, group, PackKind::Data, vec![wrapped], PACK_BYTES);
        for ordinal in 0..3 {
            let mut frame = RawFrame::new(ordinal, PackKind::Data);
            frame.push(ChunkId([1; 32]), b"some bytes");
            let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
            pack.push(run, frame.seal(&run_key, &repository, run, &mut compressor));
        }
        let pack = pack.finish(&index_key, &repository, group);
        assert_eq!(padded(pack.bytes.len()), pack.bytes.len());
        let frames = read_trailer(&pack.bytes, &index_key, &repository, group).unwrap();
        let (kind, run_keys) = read_header(&pack.bytes, &repository, group).unwrap();
        assert_eq!((kind, run_keys.len(), run_keys[0].run), (PackKind::Data, 1, run));
        assert_eq!(frames.len(), 3);
        for frame in &frames {
            let start = usize::try_from(frame.offset).unwrap();
            assert_eq!(Sha256Digest::of(&pack.bytes[start..start + frame.length as usize]), frame.hash);
        }
        read_trailer(&pack.bytes, &run_key, &repository, group).unwrap_err();
        for cut in 0..pack.bytes.len() {
            read_trailer(&pack.bytes[..cut], &index_key, &repository, group).unwrap_err();
        }
    }

    #[test]
    fn padme_lengths_are_the_published_ones() {
        for (length, expected) in [(9, 10), (100, 104), (1000, 1024), (1_000_000, 1_015_808)] {
            assert_eq!(padded(length), expected);
            assert_eq!(padded(expected), expected);
        }
    }

    #[test]
    fn a_trailer_that_names_bytes_twice_or_is_too_long_is_refused() {
        let index_key = SealKey::random(&OsEntropy);
        let (repository, group) = (Sha256Digest::of(b"r"), GroupId::random(&OsEntropy));
        let run = RunId::random(&OsEntropy);
        let read = |places: &[(u64, u32)]| {
            let frame = |(ordinal, (offset, length)): (u32, &(u64, u32))| TrailerFrame {
                run,
                ordinal,
                offset: *offset,
                length: *length,
                hash: Sha256Digest::of(b"frame"),
                chunks: Vec::new(),
                chunk_bytes: 0,
            };
            let trailer = Trailer { frames: (0..).zip(places).map(frame).collect() };
            let mut pack = vec![0; 1000];
            seal_trailer(&mut pack, &compress(&to_cbor(&trailer)), &index_key, &repository, group);
            read_trailer(&pack, &index_key, &repository, group)
        };
        assert_eq!(read(&[(0, 100), (100, 100)]).unwrap().len(), 2);
        read(&[(0, 100), (99, 100)]).unwrap_err();
        read(&[(100, 100), (0, 100)]).unwrap_err();
        read(&[(0, u32::MAX)]).unwrap_err();
        let tail = |length: usize| [&u32::try_from(length).unwrap().to_le_bytes()[..], END_MAGIC].concat();
        assert!(trailer_length(tail(MAX_PLAIN).try_into().unwrap()).is_some());
        assert!(trailer_length(tail(MAX_PLAIN + 1).try_into().unwrap()).is_none());
    }
}
