//! Frames, the units of compression and sealing: about 1 MiB of consecutive chunks, compressed together.
//!
//! The plaintext of a sealed frame is `method ‖ length ‖ body`: one byte for the body's compression, the body's
//! decompressed length, and the body. The body is the slot table (the number of chunks, and each one's length, as
//! LEB128 varints) and the chunks.

use std::ops::Range;

use lifeboat_core::Sha256Digest;
use minicbor::{Decode, Encode};

use crate::format::chunk::MAX_CHUNK;
use crate::format::compression::{FRAME_WINDOW, decompress};
use crate::format::seal::{Binding, Purpose, SealKey};
use crate::ids::{ChunkId, FrameName, RepositoryId};

/// A frame is closed once it contains this many bytes of chunks.
pub(crate) const FRAME_BYTES: usize = 1 << 20;
/// A frame contains at most this many chunks.
pub(crate) const FRAME_SLOTS: usize = 4096;
/// The largest decompressed body: a full frame, one more chunk, and the slot table.
pub(crate) const MAX_BODY: usize = FRAME_BYTES + MAX_CHUNK as usize + 5 * (FRAME_SLOTS + 1);
/// The largest sealed frame that is read.
pub(crate) const MAX_SEALED_FRAME: u64 = MAX_BODY as u64 + 4096;

/// The smallest sealed frame: the overhead of sealing, the method and the body's length.
pub(crate) const MIN_SEALED_FRAME: u32 = 48 + 5;

const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// The kinds of frames and packs. File contents and metadata never share a frame or a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum PackKind {
    /// Chunks of files.
    #[n(0)]
    Data,
    /// Chunks of item streams and definitions.
    #[n(1)]
    Metadata,
}

/// Chunks to be put into a frame.
pub(crate) struct RawFrame {
    pub(crate) ordinal: u32,
    /// The number of this frame among those that are passed on, from 0: they are sealed in parallel, and packed in
    /// order.
    pub(crate) turn: u64,
    pub(crate) kind: PackKind,
    pub(crate) ids: Vec<ChunkId>,
    lengths: Vec<u32>,
    data: Vec<u8>,
}

/// A frame that is ready for its pack.
pub(crate) struct SealedFrame {
    pub(crate) ordinal: u32,
    pub(crate) turn: u64,
    pub(crate) kind: PackKind,
    pub(crate) ids: Vec<ChunkId>,
    /// The sum of its chunks' lengths.
    pub(crate) chunk_bytes: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: Sha256Digest,
}

/// A frame that was opened: its chunks by slot.
pub(crate) struct OpenedFrame {
    body: Vec<u8>,
    /// The range of each chunk; a frame that was assembled from others may lack some.
    slots: Vec<Option<Range<usize>>>,
}

/// Why a frame's bytes violate the format, although they opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(transparent)]
    Unsealable(#[from] crate::format::seal::Unsealable),
    #[error("the frame is malformed ({0})")]
    Malformed(&'static str),
}

impl RawFrame {
    pub(crate) fn new(ordinal: u32, kind: PackKind) -> Self {
        Self {
            ordinal,
            turn: 0,
            kind,
            ids: Vec::new(),
            lengths: Vec::new(),
            data: Vec::with_capacity(FRAME_BYTES * 9 / 8),
        }
    }

    /// Adds a chunk and returns its slot.
    pub(crate) fn push(&mut self, id: ChunkId, chunk: &[u8]) -> u32 {
        let slot = self.ids.len();
        self.ids.push(id);
        self.lengths.push(u32::try_from(chunk.len()).expect("a chunk is at most a few MiB"));
        self.data.extend_from_slice(chunk);
        u32::try_from(slot).expect("a frame has a few thousand slots")
    }

    pub(crate) fn is_full(&self) -> bool {
        self.data.len() >= FRAME_BYTES || self.ids.len() >= FRAME_SLOTS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Compresses and seals. Compressed data is decompressed and compared before it may replace its source.
    pub(crate) fn seal(
        self,
        key: &SealKey,
        repository: &RepositoryId,
        run: crate::ids::RunId,
        compressor: &mut zstd::bulk::Compressor<'_>,
    ) -> SealedFrame {
        let mut body = Vec::with_capacity(self.data.len() + 3 * self.ids.len() + 3);
        put_varint(&mut body, self.lengths.len());
        for length in &self.lengths {
            put_varint(&mut body, *length as usize);
        }
        body.extend_from_slice(&self.data);
        let compressed = compressor.compress(&body).ok().filter(|compressed| {
            compressed.len() + compressed.len() / 32 < body.len()
                && decompress(compressed, body.len(), FRAME_WINDOW).is_some_and(|again| again == body)
        });
        let (method, stored) = match &compressed {
            Some(compressed) => (ZSTD, compressed),
            None => (STORED, &body),
        };
        let mut plaintext = Vec::with_capacity(5 + stored.len());
        plaintext.push(method);
        plaintext.extend_from_slice(&u32::try_from(body.len()).expect("below MAX_BODY").to_le_bytes());
        plaintext.extend_from_slice(stored);
        let name = run.frame(self.ordinal);
        let mut bytes = Vec::new();
        key.seal(&binding(repository, &context(name)), &plaintext, &mut bytes);
        SealedFrame {
            ordinal: self.ordinal,
            turn: self.turn,
            kind: self.kind,
            ids: self.ids,
            chunk_bytes: u32::try_from(self.data.len()).expect("below MAX_BODY"),
            hash: Sha256Digest::of(&bytes),
            bytes,
        }
    }
}

impl OpenedFrame {
    pub(crate) fn open(
        sealed: &[u8],
        key: &SealKey,
        repository: &RepositoryId,
        name: FrameName,
    ) -> Result<Self, FrameError> {
        let plaintext = key.open(&binding(repository, &context(name)), sealed)?;
        let (header, stored) =
            plaintext.split_first_chunk::<5>().ok_or(FrameError::Malformed("it is too short"))?;
        let [method, length @ ..] = *header;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_BODY {
            return Err(FrameError::Malformed("its body is too long"));
        }
        let body = match method {
            STORED => stored.to_vec(),
            ZSTD => decompress(stored, length, FRAME_WINDOW)
                .ok_or(FrameError::Malformed("its body does not decompress"))?,
            _ => return Err(FrameError::Malformed("its compression is unknown")),
        };
        if body.len() != length {
            return Err(FrameError::Malformed("its body has another length than stated"));
        }
        let slots = slots(&body)?.into_iter().map(Some).collect();
        Ok(Self { body, slots })
    }

    /// A stand-in for a lost frame, from the chunks that were found elsewhere.
    pub(crate) fn assembled(chunks: &[Option<Vec<u8>>]) -> Self {
        let mut body = Vec::new();
        let slots = chunks.iter().map(|chunk| {
            let start = body.len();
            body.extend_from_slice(chunk.as_deref()?);
            Some(start..body.len())
        });
        let slots = slots.collect();
        Self { body, slots }
    }

    /// The chunk in `slot`, if the frame has that many.
    pub(crate) fn chunk(&self, slot: usize) -> Option<&[u8]> {
        self.slots.get(slot)?.clone().map(|range| &self.body[range])
    }

    /// How many bytes the frame keeps in memory.
    pub(crate) fn weight(&self) -> usize {
        self.body.len() + self.slots.len() * size_of::<Option<Range<usize>>>()
    }
}

/// Reads the slot table. There is at least one chunk, none is empty, and the ranges fill the body to its end.
fn slots(body: &[u8]) -> Result<Vec<Range<usize>>, FrameError> {
    const BAD: FrameError = FrameError::Malformed("its slot table does not fit its body");
    let mut at = 0;
    let count = get_varint(body, &mut at).ok_or(BAD)?;
    if !(1..=FRAME_SLOTS).contains(&count) {
        return Err(BAD);
    }
    let lengths: Vec<usize> =
        (0..count).map(|_| get_varint(body, &mut at)).collect::<Option<_>>().ok_or(BAD)?;
    let mut slots = Vec::with_capacity(count);
    for length in lengths {
        if !(1..=MAX_CHUNK as usize).contains(&length) {
            return Err(BAD);
        }
        let end = at.checked_add(length).filter(|end| *end <= body.len()).ok_or(BAD)?;
        slots.push(at..end);
        at = end;
    }
    if at == body.len() { Ok(slots) } else { Err(BAD) }
}

pub(crate) fn binding<'a>(repository: &'a RepositoryId, context: &'a [u8]) -> Binding<'a> {
    Binding { purpose: Purpose::Frame, repository, context }
}

pub(crate) fn context(name: FrameName) -> [u8; 20] {
    let mut context = [0; 20];
    context[..16].copy_from_slice(name.run.as_bytes());
    context[16..].copy_from_slice(&name.ordinal.to_le_bytes());
    context
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits fit");
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads a number in its shortest form, below 2^32.
fn get_varint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let is_shortest = byte > 0 || shift == 0;
            return u32::try_from(value).ok().filter(|_| is_shortest).map(|value| value as usize);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::{Entropy, OsEntropy};
    use proptest::prelude::*;

    use super::*;
    use crate::ids::RunId;

    fn round_trip(chunks: &[Vec<u8>]) {
        let (key, repository) = (SealKey::random(&OsEntropy), Sha256Digest::of(b"repository"));
        let run = RunId::random(&OsEntropy);
        let mut frame = RawFrame::new(3, PackKind::Data);
        for chunk in chunks {
            frame.push(ChunkId([0; 32]), chunk);
        }
        let sealed = frame.seal(&key, &repository, run, &mut zstd::bulk::Compressor::new(3).unwrap());
        let name = run.frame(3);
        let opened = OpenedFrame::open(&sealed.bytes, &key, &repository, name).unwrap();
        for (slot, chunk) in chunks.iter().enumerate() {
            assert_eq!(opened.chunk(slot).unwrap(), chunk);
        }
        assert!(opened.chunk(chunks.len()).is_none());
        let elsewhere = run.frame(4);
        assert!(OpenedFrame::open(&sealed.bytes, &key, &repository, elsewhere).is_err());
    }

    proptest! {
        #[test]
        fn every_set_of_chunks_round_trips(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..40)) {
            round_trip(&chunks);
        }

        #[test]
        fn no_body_makes_the_slot_table_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(slots) = slots(&body) {
                prop_assert!(slots.iter().all(|slot| slot.end <= body.len()));
            }
        }
    }

    #[test]
    fn a_slot_table_has_one_form() {
        let largest = MAX_CHUNK as usize;
        let of =
            |table: &[u8], chunks: usize| slots(&[table, &vec![7; chunks]].concat()).map(|slots| slots.len());
        let rows: [(&[u8], usize, Option<usize>); 13] = [
            (&[1, 3], 3, Some(1)),
            (&[2, 3, 1], 4, Some(2)),
            (&[1, 0x80, 0x01], 128, Some(1)),
            (&[1, 0x80, 0x80, 0x80, 0x02], largest, Some(1)),
            (&[1, 0x81, 0x80, 0x80, 0x02], largest + 1, None),
            // No chunk, an empty one, and a chunk less or more than is there.
            (&[0], 0, None),
            (&[2, 3, 0], 3, None),
            (&[1, 3], 2, None),
            (&[1, 3], 4, None),
            // Numbers that are not in their shortest form, or too large, or cut.
            (&[1, 0x83, 0x00], 3, None),
            (&[0x81, 0x80, 0x00, 3], 3, None),
            (&[1, 0x83, 0x80, 0x80, 0x80, 0x10], 3, None),
            (&[1, 0x83], 0, None),
        ];
        for (table, chunks, expected) in rows {
            assert_eq!(of(table, chunks).ok(), expected, "{table:x?} and {chunks} bytes");
        }
        let ones = |count: usize| {
            let mut table = Vec::new();
            put_varint(&mut table, count);
            table.resize(table.len() + count, 1);
            of(&table, count).ok()
        };
        assert_eq!((ones(FRAME_SLOTS), ones(FRAME_SLOTS + 1)), (Some(FRAME_SLOTS), None));
    }

    #[test]
    fn chunks_that_do_not_compress_are_stored_and_round_trip() {
        let mut noise = vec![0; 900_000];
        Entropy::fill(&OsEntropy, &mut noise);
        round_trip(&[noise, vec![0; 500_000]]);
    }
}
