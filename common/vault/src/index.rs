//! The two halves of the index: *contents* say which frame holds a chunk, *locations* where a frame lies.
//!
//! A restore needs locations only. Writers read the contents of their group to find what need not be stored again.

use std::collections::HashMap;

use lifeboat_core::Sha256Digest;
use minicbor::{Decode, Encode};

use crate::ids::{ChunkId, FrameName, RunId, digest_in_cbor};
use crate::pack::TrailerFrame;

/// The body of a contents object.
#[derive(Debug, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Contents {
    #[n(0)]
    pub(crate) runs: Vec<RunContents>,
}

/// The frames of one run and the chunks in them.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RunContents {
    #[n(0)]
    pub(crate) run: RunId,
    #[n(1)]
    pub(crate) frames: Vec<FrameContents>,
    /// By which a reader of a later snapshot that leans on this run knows the run's true key.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) commitment: [u8; 32],
}

/// One frame's chunks by slot.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct FrameContents {
    #[n(0)]
    pub(crate) ordinal: u32,
    #[n(1)]
    pub(crate) chunks: Vec<ChunkId>,
}

/// The body of a locations object: where frames of one run lie.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Locations {
    #[n(0)]
    pub(crate) run: RunId,
    #[n(1)]
    pub(crate) packs: Vec<PackLocations>,
}

/// The frames of the run that lie in one pack.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct PackLocations {
    #[n(0)]
    #[cbor(with = "digest_in_cbor")]
    pub(crate) pack: Sha256Digest,
    #[n(1)]
    pub(crate) frames: Vec<FrameLocation>,
}

/// Where in its pack a frame lies.
#[derive(Debug, Clone, Copy, Encode, Decode)]
#[cbor(array)]
pub(crate) struct FrameLocation {
    #[n(0)]
    pub(crate) ordinal: u32,
    #[n(1)]
    pub(crate) offset: u64,
    #[n(2)]
    pub(crate) length: u32,
    /// SHA-256 of the sealed frame.
    #[n(3)]
    #[cbor(with = "digest_in_cbor")]
    pub(crate) hash: Sha256Digest,
    /// The sum of its chunks' lengths, by which compression is measured.
    #[n(4)]
    pub(crate) chunk_bytes: u32,
}

/// A pack that is in the store, and what it holds.
pub(crate) struct StoredPack {
    pub(crate) hash: Sha256Digest,
    pub(crate) frames: Vec<TrailerFrame>,
}

/// The index objects of packs that one run has stored.
pub(crate) fn of_packs(run: RunId, commitment: [u8; 32], packs: &[StoredPack]) -> (Contents, Locations) {
    let frames = packs.iter().flat_map(|pack| &pack.frames);
    let contents =
        frames.map(|f| FrameContents { ordinal: f.ordinal, chunks: f.chunks.clone() }).collect::<Vec<_>>();
    let locate = |f: &TrailerFrame| FrameLocation {
        ordinal: f.ordinal,
        offset: f.offset,
        length: f.length,
        hash: f.hash,
        chunk_bytes: f.chunk_bytes,
    };
    let packs = packs
        .iter()
        .map(|pack| PackLocations { pack: pack.hash, frames: pack.frames.iter().map(locate).collect() })
        .collect();
    (Contents { runs: vec![RunContents { run, frames: contents, commitment }] }, Locations { run, packs })
}

/// Where a chunk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkPlace {
    pub(crate) frame: FrameName,
    pub(crate) slot: u32,
}

/// What a group's contents objects say, sorted for look-ups; one array, no pointers.
#[derive(Default)]
pub(crate) struct ContentsIndex {
    runs: Vec<(RunId, [u8; 32])>,
    chunks: Vec<IndexedChunk>,
}

#[derive(Clone, Copy)]
struct IndexedChunk {
    id: ChunkId,
    run: u32,
    ordinal: u32,
    slot: u32,
}

impl ContentsIndex {
    /// Takes in the objects in any order. Where two frames hold a chunk, the first one read counts.
    pub(crate) fn new(objects: impl IntoIterator<Item = Contents>) -> Self {
        let mut index = Self::default();
        let mut numbers = HashMap::new();
        for contents in objects {
            for run in contents.runs {
                let number = *numbers.entry(run.run).or_insert_with(|| {
                    index.runs.push((run.run, run.commitment));
                    u32::try_from(index.runs.len() - 1).expect("far fewer runs than chunks")
                });
                for frame in run.frames {
                    index.chunks.extend(frame.chunks.into_iter().zip(0..).map(|(id, slot)| IndexedChunk {
                        id,
                        run: number,
                        ordinal: frame.ordinal,
                        slot,
                    }));
                }
            }
        }
        index.chunks.sort_by_key(|chunk| chunk.id);
        index.chunks.dedup_by_key(|chunk| chunk.id);
        index
    }

    pub(crate) fn find(&self, id: &ChunkId) -> Option<ChunkPlace> {
        let at = self.chunks.binary_search_by(|chunk| chunk.id.cmp(id)).ok()?;
        let chunk = self.chunks[at];
        let (run, _) = self.runs[chunk.run as usize];
        Some(ChunkPlace { frame: FrameName { run, ordinal: chunk.ordinal }, slot: chunk.slot })
    }

    /// The commitment to the key of a run that the index knows.
    pub(crate) fn commitment(&self, run: RunId) -> Option<[u8; 32]> {
        self.runs.iter().find(|(known, _)| *known == run).map(|(_, commitment)| *commitment)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_found_where_the_contents_say() {
        let (one, two) = (RunId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
        let id = |n: u8| ChunkId([n; 32]);
        let frame = |ordinal, chunks| FrameContents { ordinal, chunks };
        let of = |run, frame| RunContents { run, frames: vec![frame], commitment: [0; 32] };
        let first = Contents { runs: vec![of(one, frame(4, vec![id(9), id(1)]))] };
        let second = Contents { runs: vec![of(two, frame(0, vec![id(5)]))] };
        let index = ContentsIndex::new([first, second]);
        let at = |run, ordinal, slot| Some(ChunkPlace { frame: FrameName { run, ordinal }, slot });
        assert_eq!(index.len(), 3);
        assert_eq!(index.find(&id(1)), at(one, 4, 1));
        assert_eq!(index.find(&id(9)), at(one, 4, 0));
        assert_eq!(index.find(&id(5)), at(two, 0, 0));
        assert_eq!(index.find(&id(6)), None);
    }
}
