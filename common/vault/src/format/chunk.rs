//! Chunks, the units of deduplication: content-defined cuts with a gear table of the group's own.
//!
//! The cuts are `FastCDC`'s (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based
//! Storage Systems", 2020), normalised at level 1. The table is derived from the group's secret seed, so that known
//! files do not reveal where the cuts of a repository are.

use std::io;

use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::ids::ChunkId;

/// The limits of the chunk sizes, in bytes; recorded with every stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct ChunkSizes {
    /// No cut before this many bytes, except at the end.
    #[n(0)]
    pub(crate) minimum: u32,
    /// The size that cuts aim at.
    #[n(1)]
    pub(crate) average: u32,
    /// Always a cut after this many bytes.
    #[n(2)]
    pub(crate) maximum: u32,
}

impl ChunkSizes {
    /// For sources whose changes are pages of a few KiB.
    pub(crate) const FINE: Self = Self { minimum: 4 << 10, average: 16 << 10, maximum: 64 << 10 };

    /// Whether the chunker accepts these sizes; a repository of another origin may contain anything.
    pub(crate) fn are_usable(self) -> bool {
        let even = [self.minimum, self.average, self.maximum].iter().all(|size| size.is_multiple_of(2));
        even && self.minimum >= 64
            && self.average.is_power_of_two()
            && self.minimum < self.average
            && self.average < self.maximum
            && self.maximum <= MAX_CHUNK
    }
}

/// The largest chunk of this format, in bytes.
pub(crate) const MAX_CHUNK: u32 = 4 << 20;

/// Finds cuts and names chunks.
#[derive(Clone)]
pub(crate) struct Chunker {
    sizes: ChunkSizes,
    masks: (u64, u64),
    gear: Zeroizing<Vec<u64>>,
    gear_shifted: Zeroizing<Vec<u64>>,
    id_key: Zeroizing<[u8; 32]>,
}

impl Chunker {
    pub(crate) fn new(seed: &[u8; 32], id_key: &[u8; 32], sizes: ChunkSizes) -> Self {
        debug_assert!(sizes.are_usable(), "the caller has checked the sizes");
        let mut table = Zeroizing::new(vec![0; 256 * 8]);
        blake3::Hasher::new_derive_key("lifeboat v0 gear table").update(seed).finalize_xof().fill(&mut table);
        let gear: Vec<u64> =
            table.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let gear_shifted = gear.iter().map(|g| g << 1).collect();
        Self {
            sizes,
            masks: select_masks(sizes.average as usize, Normalization::Level1),
            gear: Zeroizing::new(gear),
            gear_shifted: Zeroizing::new(gear_shifted),
            id_key: Zeroizing::new(*id_key),
        }
    }

    pub(crate) fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// The length of the first chunk of `window`, which has at least the maximum length or reaches to the end.
    pub(crate) fn cut(&self, window: &[u8]) -> usize {
        let (small, large) = self.masks;
        let (_, length) = cut_gear(
            window,
            self.sizes.minimum as usize,
            self.sizes.average as usize,
            self.sizes.maximum as usize,
            small,
            large,
            small << 1,
            large << 1,
            &self.gear,
            &self.gear_shifted,
        );
        length
    }

    pub(crate) fn id(&self, chunk: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.id_key, chunk).as_bytes())
    }
}

/// The chunk id of bytes that are not cut.
pub(crate) fn chunk_id(id_key: &[u8; 32], chunk: &[u8]) -> ChunkId {
    ChunkId(*blake3::keyed_hash(id_key, chunk).as_bytes())
}

/// A buffer that splits a stream of bytes into chunks. Reused from file to file.
pub(crate) struct ChunkBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// How much is read at once.
const BUFFER_BYTES: usize = 1 << 20;

impl ChunkBuffer {
    pub(crate) fn new(sizes: ChunkSizes) -> Self {
        Self { bytes: vec![0; BUFFER_BYTES.max(2 * sizes.maximum as usize)], start: 0, end: 0 }
    }

    /// Cuts everything that `read` returns until it returns nothing, and passes each chunk on. Returns the total bytes.
    pub(crate) fn cut_all<E: From<io::Error>>(
        &mut self,
        chunker: &Chunker,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
        mut emit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        (self.start, self.end) = (0, 0);
        let mut total = 0;
        let mut at_end = false;
        loop {
            if !at_end && self.end - self.start < chunker.sizes.maximum as usize {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
                while !at_end && self.end < self.bytes.len() {
                    match read(&mut self.bytes[self.end..]) {
                        Ok(0) => at_end = true,
                        Ok(count) => self.end += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            if self.start == self.end {
                return Ok(total);
            }
            let length = chunker.cut(&self.bytes[self.start..self.end]);
            emit(&self.bytes[self.start..self.start + length])?;
            self.start += length;
            total += length as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::{Entropy, OsEntropy};

    use super::*;

    fn cuts(chunker: &Chunker, mut data: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let read = |buffer: &mut [u8]| {
            let count = step.min(buffer.len()).min(data.len());
            buffer[..count].copy_from_slice(&data[..count]);
            data = &data[count..];
            Ok(count)
        };
        ChunkBuffer::new(chunker.sizes())
            .cut_all::<io::Error>(chunker, read, |chunk| {
                chunks.push(chunk.to_vec());
                Ok(())
            })
            .unwrap();
        chunks
    }

    #[test]
    fn cuts_do_not_depend_on_how_the_bytes_arrive_and_move_only_near_a_change() {
        let entropy: &dyn Entropy = &OsEntropy;
        let chunker = Chunker::new(&[7; 32], &[8; 32], ChunkSizes::FINE);
        let mut data = vec![0; 3_000_001];
        entropy.fill(&mut data);
        let whole = cuts(&chunker, &data, usize::MAX);
        assert_eq!(whole, cuts(&chunker, &data, 1009));
        assert_eq!(whole.concat(), data);
        assert!(whole.iter().all(|c| c.len() <= ChunkSizes::FINE.maximum as usize));
        let mut inserted = data.clone();
        inserted.insert(1_500_000, 1);
        let after = cuts(&chunker, &inserted, usize::MAX);
        let new = after.iter().filter(|chunk| !whole.contains(chunk)).count();
        assert!(new <= 4, "{new} of {} chunks are new", after.len());
    }

    #[test]
    fn another_seed_cuts_differently_and_another_key_names_differently() {
        let data: Vec<u8> =
            (0_u32..400_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let one = Chunker::new(&[1; 32], &[1; 32], ChunkSizes::FINE);
        let two = Chunker::new(&[2; 32], &[2; 32], ChunkSizes::FINE);
        assert_ne!(cuts(&one, &data, usize::MAX), cuts(&two, &data, usize::MAX));
        assert_ne!(one.id(b"chunk"), two.id(b"chunk"));
    }
}
