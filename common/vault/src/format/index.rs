//! The two halves of the index: *contents* list which frame contains a chunk, *locations* where a frame is stored.
//!
//! A restore needs locations only. Writers read the contents of their group to find what need not be stored again.

use std::collections::{BTreeMap, HashMap, HashSet};

use lifeboat_core::Sha256Digest;
use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};

use crate::format::frame::{FRAME_SLOTS, MAX_SEALED_FRAME, MIN_SEALED_FRAME};
use crate::format::frame_set::MAX_FRAMES;
use crate::format::layout::{self, cap};
use crate::format::pack::TrailerFrame;
use crate::format::seal::Purpose;
use crate::format::signed::Body;
use crate::ids::{ChunkId, FrameName, GroupId, RunId, Signer, at_most, digest_in_cbor};

/// About how many frames one locations object names: some 13 MiB of it.
pub(crate) const LOCATIONS_FRAMES: usize = 1 << 18;
/// About how many chunks one contents object lists: some 9 MiB of it.
pub(crate) const CONTENTS_CHUNKS: usize = 1 << 18;

/// In how many places one locations object may locate a frame. All of them may be tried, one after the other.
const MOST_PLACES: usize = 64;

/// The body of a contents object.
#[derive(Debug, Clone, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Contents {
    #[n(0)]
    pub(crate) runs: Vec<RunContents>,
}

/// The frames of one run and the chunks in them.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RunContents {
    #[n(0)]
    pub(crate) run: RunId,
    #[n(1)]
    pub(crate) frames: Vec<FrameContents>,
    /// Lets a reader of a later snapshot that refers to this run recognise the run's true key.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) commitment: [u8; 32],
}

/// One frame's chunks by slot.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(array)]
pub(crate) struct FrameContents {
    #[n(0)]
    pub(crate) ordinal: u32,
    #[n(1)]
    #[cbor(decode_with = "chunks_of_a_frame")]
    pub(crate) chunks: Vec<ChunkId>,
}

/// Decodes the chunks of a frame. An empty list takes a byte in a stored object and many in memory, so it is refused at
/// once.
fn chunks_of_a_frame<C>(d: &mut Decoder<'_>, context: &mut C) -> Result<Vec<ChunkId>, DecodeError> {
    let chunks = at_most::<FRAME_SLOTS, C, ChunkId>(d, context)?;
    if chunks.is_empty() { Err(DecodeError::message("a frame without chunks")) } else { Ok(chunks) }
}

/// The body of a locations object: the places of one run's frames.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Locations {
    #[n(0)]
    pub(crate) run: RunId,
    #[n(1)]
    pub(crate) packs: Vec<PackLocations>,
}

/// The frames of the run in one pack.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct PackLocations {
    #[n(0)]
    #[cbor(with = "digest_in_cbor")]
    pub(crate) pack: Sha256Digest,
    #[n(1)]
    pub(crate) frames: Vec<FrameLocation>,
    /// The pack's size in bytes, which reveals a truncated one without reading it.
    #[n(2)]
    pub(crate) size: u64,
}

/// The place of a frame in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
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
    /// The sum of its chunks' lengths, to measure compression.
    #[n(4)]
    pub(crate) chunk_bytes: u32,
}

impl From<&TrailerFrame> for FrameLocation {
    fn from(frame: &TrailerFrame) -> Self {
        let TrailerFrame { ordinal, offset, length, hash, chunk_bytes, .. } = *frame;
        Self { ordinal, offset, length, hash, chunk_bytes }
    }
}

/// The place of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FramePlace {
    pub(crate) pack: Sha256Digest,
    /// The pack's size.
    pub(crate) size: u64,
    pub(crate) frame: FrameLocation,
}

impl FramePlace {
    /// Whether `sealed` is the frame that was stored here.
    pub(crate) fn check(&self, sealed: &[u8]) -> Result<(), String> {
        let found = Sha256Digest::of(sealed);
        if found == self.frame.hash {
            return Ok(());
        }
        Err(format!("the frame at byte {} has SHA-256 {found}, not {}", self.frame.offset, self.frame.hash))
    }
}

/// The places that a pack's trailer lists.
pub(crate) struct ListedPlaces(HashSet<(FrameName, u64, u32, Sha256Digest)>);

impl ListedPlaces {
    pub(crate) fn new(trailer: &[TrailerFrame]) -> Self {
        Self(trailer.iter().map(|frame| (frame.name(), frame.offset, frame.length, frame.hash)).collect())
    }

    /// Whether the trailer has the frame in this place, with this length and hash.
    pub(crate) fn has(&self, name: FrameName, place: &FrameLocation) -> bool {
        self.0.contains(&(name, place.offset, place.length, place.hash))
    }
}

/// A pack in the store, and its contents.
#[derive(Debug)]
pub(crate) struct StoredPack {
    pub(crate) hash: Sha256Digest,
    pub(crate) size: u64,
    pub(crate) frames: Vec<TrailerFrame>,
}

impl StoredPack {
    /// The frames in it, and their places.
    pub(crate) fn places(&self) -> impl Iterator<Item = (FrameName, FramePlace)> + '_ {
        let place =
            |frame| FramePlace { pack: self.hash, size: self.size, frame: FrameLocation::from(frame) };
        self.frames.iter().map(move |frame| (frame.name(), place(frame)))
    }
}

impl Contents {
    /// The frames that it lists.
    pub(crate) fn names(&self) -> impl Iterator<Item = FrameName> + '_ {
        self.runs.iter().flat_map(|contents| {
            let run = contents.run;
            contents.frames.iter().map(move |frame| run.frame(frame.ordinal))
        })
    }

    /// Whether its numbers are within what the format allows.
    fn is_sane(&self) -> bool {
        self.runs
            .iter()
            .flat_map(|run| &run.frames)
            .all(|frame| frame.ordinal < MAX_FRAMES && (1..=FRAME_SLOTS).contains(&frame.chunks.len()))
    }
}

impl Locations {
    /// The frames that it locates, and their places.
    pub(crate) fn places(&self) -> impl Iterator<Item = (FrameName, FramePlace)> + '_ {
        let run = self.run;
        self.packs.iter().flat_map(move |PackLocations { pack, frames, size }| {
            let place = |frame: &FrameLocation| FramePlace { pack: *pack, size: *size, frame: *frame };
            frames.iter().map(move |frame| (run.frame(frame.ordinal), place(frame)))
        })
    }

    /// Whether its numbers are within what the format allows, and no frames overlap in a pack.
    fn is_sane(&self) -> bool {
        let frames = self.packs.iter().flat_map(|pack| pack.frames.iter().map(|frame| (pack.size, frame)));
        let mut are_possible = frames.clone().map(|(pack_size, frame)| {
            let end = frame.offset.checked_add(u64::from(frame.length));
            frame.ordinal < MAX_FRAMES
                && frame.length >= MIN_SEALED_FRAME
                && u64::from(frame.length) <= MAX_SEALED_FRAME
                && end.is_some_and(|end| end <= pack_size)
        });
        let mut ordinals: Vec<u32> = frames.map(|(_, frame)| frame.ordinal).collect();
        ordinals.sort_unstable();
        let are_few = ordinals.chunk_by(|a, b| a == b).all(|places| places.len() <= MOST_PLACES);
        are_possible.all(|is_possible| is_possible) && are_few && !self.overlaps()
    }

    /// Whether two frames that it places in one pack overlap.
    fn overlaps(&self) -> bool {
        let mut packs: HashMap<&Sha256Digest, Vec<(u64, u64)>> = HashMap::new();
        for pack in &self.packs {
            let ranges = pack.frames.iter().map(|f| (f.offset, f.offset.saturating_add(f.length.into())));
            packs.entry(&pack.pack).or_default().extend(ranges);
        }
        packs.into_values().any(|mut ranges| {
            ranges.sort_unstable();
            ranges.windows(2).any(|pair| pair[0].1 > pair[1].0)
        })
    }
}

impl Body for Contents {
    const PURPOSE: Purpose = Purpose::Contents;
    const CAP: u64 = cap::INDEX;

    fn name(&self, group: GroupId, _: Signer, hash: &Sha256Digest) -> String {
        layout::contents_object(group, hash)
    }

    fn check_stored(&self, _: usize) -> Result<(), String> {
        if self.is_sane() { Ok(()) } else { Err("it lists impossible frames".to_owned()) }
    }
}

impl Body for Locations {
    const PURPOSE: Purpose = Purpose::Locations;
    const CAP: u64 = cap::INDEX;

    fn name(&self, group: GroupId, _: Signer, hash: &Sha256Digest) -> String {
        layout::locations_object(group, self.run, hash)
    }

    fn check_stored(&self, _: usize) -> Result<(), String> {
        if self.is_sane() {
            return Ok(());
        }
        Err("it has overlapping frames, one in very many places, or impossible ones".to_owned())
    }
}

/// The contents of packs that one run has stored, in as many objects as necessary.
pub(crate) fn contents_of(run: RunId, commitment: [u8; 32], packs: &[StoredPack]) -> Vec<Contents> {
    let frames = packs.iter().flat_map(|pack| &pack.frames);
    let frames = frames.map(|f| FrameContents { ordinal: f.ordinal, chunks: f.chunks.clone() }).collect();
    split_contents([RunContents { run, frames, commitment }], CONTENTS_CHUNKS)
}

/// The locations of the frames of `packs`, run by run.
pub(crate) fn locations_of(packs: &[StoredPack]) -> Vec<Locations> {
    let mut runs: BTreeMap<RunId, Vec<PackLocations>> = BTreeMap::new();
    for pack in packs {
        let mut frames: BTreeMap<RunId, Vec<FrameLocation>> = BTreeMap::new();
        for f in &pack.frames {
            frames.entry(f.run).or_default().push(f.into());
        }
        for (run, frames) in frames {
            let located = PackLocations { pack: pack.hash, frames, size: pack.size };
            runs.entry(run).or_default().push(located);
        }
    }
    runs.into_iter().flat_map(|(run, packs)| split_locations(run, packs, LOCATIONS_FRAMES)).collect()
}

/// The locations of a run in objects of moderate size: one ends after about `most` frames.
pub(crate) fn split_locations(
    run: RunId,
    packs: impl IntoIterator<Item = PackLocations>,
    most: usize,
) -> Vec<Locations> {
    let mut objects = Vec::new();
    let (mut open, mut frames) = (Vec::new(), 0);
    for pack in packs {
        frames += pack.frames.len();
        open.push(pack);
        if frames >= most {
            objects.push(Locations { run, packs: std::mem::take(&mut open) });
            frames = 0;
        }
    }
    if !open.is_empty() {
        objects.push(Locations { run, packs: open });
    }
    objects
}

/// Contents objects of moderate size: one ends after about `most` chunks.
pub(crate) fn split_contents(runs: impl IntoIterator<Item = RunContents>, most: usize) -> Vec<Contents> {
    let mut objects = Vec::new();
    let (mut open, mut chunks) = (Contents::default(), 0);
    for run in runs {
        let RunContents { run, frames, commitment } = run;
        let mut part = RunContents { run, frames: Vec::new(), commitment };
        for frame in frames {
            chunks += frame.chunks.len();
            part.frames.push(frame);
            if chunks >= most {
                let full = std::mem::take(&mut part.frames);
                open.runs.push(RunContents { run, frames: full, commitment });
                objects.push(std::mem::take(&mut open));
                chunks = 0;
            }
        }
        if !part.frames.is_empty() {
            open.runs.push(part);
        }
    }
    if !open.runs.is_empty() {
        objects.push(open);
    }
    objects
}

/// Where a chunk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkPlace {
    pub(crate) frame: FrameName,
    pub(crate) slot: u32,
}

/// A group's contents objects, sorted for look-ups; one array, no pointers.
#[derive(Default)]
pub(crate) struct ContentsIndex {
    runs: Vec<IndexedRun>,
    /// The index of a run among the runs, for each commitment that is claimed for its key.
    numbers: HashMap<RunId, Vec<u32>>,
    chunks: Vec<IndexedChunk>,
}

struct IndexedRun {
    run: RunId,
    commitment: [u8; 32],
    /// How many chunks each known frame has.
    frames: HashMap<u32, u16>,
}

#[derive(Clone, Copy)]
struct IndexedChunk {
    id: ChunkId,
    run: u32,
    ordinal: u32,
    /// How many thousandths of its frame the last snapshot used.
    rank: u16,
    slot: u16,
}

impl ContentsIndex {
    /// Adds the frames of an object that may be used; if several objects list a frame, the first one counts. Returns
    /// the runs and commitments of the added frames.
    pub(crate) fn add(
        &mut self,
        contents: Contents,
        may_be_used: impl Fn(FrameName) -> bool,
        used: &HashMap<FrameName, u16>,
    ) -> Vec<(RunId, [u8; 32])> {
        let mut added = Vec::new();
        for RunContents { run, frames, commitment } in contents.runs {
            let mut frames =
                frames.into_iter().filter(|frame| may_be_used(run.frame(frame.ordinal))).peekable();
            if frames.peek().is_none() {
                continue;
            }
            added.push((run, commitment));
            let number = self.number(run, commitment);
            for frame in frames {
                let known = &mut self.runs[number as usize].frames;
                let count = u16::try_from(frame.chunks.len()).expect("a frame has a few thousand slots");
                if known.contains_key(&frame.ordinal) {
                    continue;
                }
                known.insert(frame.ordinal, count);
                let used = used.get(&run.frame(frame.ordinal));
                let share = used.map_or(0, |used| u64::from(*used) * 1000 / u64::from(count.max(1)));
                let rank = u16::try_from(share).unwrap_or(u16::MAX);
                if self.chunks.capacity() - self.chunks.len() < frame.chunks.len() {
                    // Doubling would take twice the memory of the largest structure of a run.
                    self.chunks.reserve_exact(frame.chunks.len() + self.chunks.len() / 8);
                }
                self.chunks.extend(frame.chunks.into_iter().zip(0..).map(|(id, slot)| IndexedChunk {
                    id,
                    run: number,
                    ordinal: frame.ordinal,
                    rank,
                    slot,
                }));
            }
        }
        added
    }

    fn number(&mut self, run: RunId, commitment: [u8; 32]) -> u32 {
        let numbers = self.numbers.entry(run).or_default();
        let known = numbers.iter().find(|number| self.runs[**number as usize].commitment == commitment);
        known.copied().unwrap_or_else(|| {
            let number = u32::try_from(self.runs.len()).expect("far fewer runs than chunks");
            self.runs.push(IndexedRun { run, commitment, frames: HashMap::new() });
            numbers.push(number);
            number
        })
    }

    /// The runs to which objects give different commitments, and these.
    pub(crate) fn contradicted(&self) -> Vec<(RunId, Vec<[u8; 32]>)> {
        let several = self.numbers.iter().filter(|(_, numbers)| numbers.len() > 1);
        several
            .map(|(run, numbers)| (*run, numbers.iter().map(|n| self.runs[*n as usize].commitment).collect()))
            .collect()
    }

    /// Keeps only the entries of a run under `commitment`; none if that is `None`.
    pub(crate) fn keep_commitment(&mut self, run: RunId, commitment: Option<[u8; 32]>) {
        let Some(numbers) = self.numbers.get_mut(&run) else { return };
        let runs = &mut self.runs;
        numbers.retain(|number| {
            let run = &mut runs[*number as usize];
            let is_kept = commitment == Some(run.commitment);
            if !is_kept {
                run.frames.clear();
            }
            is_kept
        });
    }

    /// Sorts the chunks for look-ups, after everything was added. If several frames contain a chunk, the frame of which
    /// the last snapshot used the largest share counts: a chunk that was stored again to empty an old frame must not be
    /// looked up in that frame again. Among equals the first one that was added counts.
    pub(crate) fn sort(&mut self) {
        let runs = &self.runs;
        self.chunks.retain(|chunk| runs[chunk.run as usize].frames.contains_key(&chunk.ordinal));
        self.chunks.sort_unstable_by_key(|chunk| {
            (chunk.id, std::cmp::Reverse(chunk.rank), chunk.run, chunk.ordinal, chunk.slot)
        });
        self.chunks.dedup_by_key(|chunk| chunk.id);
    }

    pub(crate) fn find(&self, id: &ChunkId) -> Option<ChunkPlace> {
        let at = self.chunks.binary_search_by(|chunk| chunk.id.cmp(id)).ok()?;
        let chunk = self.chunks[at];
        let run = self.runs[chunk.run as usize].run;
        Some(ChunkPlace { frame: run.frame(chunk.ordinal), slot: chunk.slot.into() })
    }

    fn run(&self, run: RunId) -> Option<&IndexedRun> {
        let number = self.numbers.get(&run)?.first()?;
        self.runs.get(*number as usize)
    }

    /// The commitment to the key of a known run.
    pub(crate) fn commitment(&self, run: RunId) -> Option<[u8; 32]> {
        self.run(run).map(|run| run.commitment)
    }

    /// How many chunks a frame has, if the index knows it and new snapshots may refer to it.
    pub(crate) fn chunk_count(&self, frame: FrameName) -> Option<u32> {
        self.run(frame.run)?.frames.get(&frame.ordinal).copied().map(u32::from)
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
        let condemned = two.frame(1);
        let third = Contents { runs: vec![of(two, frame(1, vec![id(6)]))] };
        let mut index = ContentsIndex::default();
        for contents in [first, second, third] {
            index.add(contents, |name| name != condemned, &HashMap::new());
        }
        index.sort();
        let at = |run: RunId, ordinal, slot| Some(ChunkPlace { frame: run.frame(ordinal), slot });
        assert_eq!(index.len(), 3);
        assert_eq!(index.find(&id(1)), at(one, 4, 1));
        assert_eq!(index.find(&id(9)), at(one, 4, 0));
        assert_eq!(index.find(&id(5)), at(two, 0, 0));
        assert_eq!(index.find(&id(6)), None);
        assert_eq!(index.chunk_count(one.frame(4)), Some(2));
        assert_eq!(index.chunk_count(two.frame(1)), None);
    }

    #[test]
    fn of_two_commitments_for_a_run_only_the_one_that_is_kept_is_used() {
        let run = RunId::from_bytes([1; 16]);
        let of = |chunk: u8, commitment: u8| Contents {
            runs: vec![RunContents {
                run,
                frames: vec![FrameContents { ordinal: 0, chunks: vec![ChunkId([chunk; 32])] }],
                commitment: [commitment; 32],
            }],
        };
        for (kept, found) in [(Some([1; 32]), Some(7)), (Some([2; 32]), Some(8)), (None, None)] {
            let mut index = ContentsIndex::default();
            index.add(of(7, 1), |_| true, &HashMap::new());
            index.add(of(8, 2), |_| true, &HashMap::new());
            assert_eq!(index.contradicted(), [(run, vec![[1; 32], [2; 32]])]);
            index.keep_commitment(run, kept);
            index.sort();
            assert_eq!(index.commitment(run), kept);
            for chunk in [7, 8] {
                assert_eq!(index.find(&ChunkId([chunk; 32])).is_some(), Some(chunk) == found, "{kept:?}");
            }
        }
    }

    #[test]
    fn an_object_that_gives_a_frame_too_many_places_is_refused() {
        let place = |number: u32| FrameLocation {
            ordinal: 5,
            offset: u64::from(number) * 100,
            length: 100,
            hash: Sha256Digest::of(b"frame"),
            chunk_bytes: 10,
        };
        let with = |count| Locations {
            run: RunId::from_bytes([1; 16]),
            packs: vec![PackLocations {
                pack: Sha256Digest::of(b"pack"),
                frames: (0..count).map(place).collect(),
                size: 1 << 20,
            }],
        };
        let most = u32::try_from(MOST_PLACES).unwrap();
        with(most).check_stored(0).unwrap();
        with(most + 1).check_stored(0).unwrap_err();
    }

    #[test]
    fn the_locations_of_a_large_run_are_split_into_several_objects() {
        let run = RunId::from_bytes([1; 16]);
        let frame = |ordinal| FrameLocation {
            ordinal,
            offset: 0,
            length: 1,
            hash: Sha256Digest::of(&[]),
            chunk_bytes: 1,
        };
        let pack = |number: u32| PackLocations {
            pack: Sha256Digest::of(&number.to_le_bytes()),
            frames: (0..10).map(|frame_number| frame(number * 10 + frame_number)).collect(),
            size: 100,
        };
        let objects = split_locations(run, (0..10).map(pack), 25);
        let of = |object: &Locations| object.packs.iter().map(|pack| pack.frames.len()).sum::<usize>();
        assert_eq!(objects.iter().map(of).collect::<Vec<_>>(), [30, 30, 30, 10]);
        let ordinals = objects.iter().flat_map(|o| &o.packs).flat_map(|p| &p.frames).map(|f| f.ordinal);
        assert!(ordinals.eq(0..100));
        assert!(split_locations(run, [], 25).is_empty());
    }

    #[test]
    fn the_contents_of_many_frames_are_listed_in_several_objects() {
        let frame = |ordinal| FrameContents { ordinal, chunks: vec![ChunkId([0; 32]); 10] };
        let run = |n: u8, frames: std::ops::Range<u32>| RunContents {
            run: RunId::from_bytes([n; 16]),
            frames: frames.map(frame).collect(),
            commitment: [n; 32],
        };
        let objects = split_contents([run(1, 0..3), run(2, 0..4)], 25);
        let listed: Vec<Vec<(u8, usize)>> = objects
            .iter()
            .map(|object| object.runs.iter().map(|run| (run.commitment[0], run.frames.len())).collect())
            .collect();
        assert_eq!(listed, [vec![(1, 3)], vec![(2, 3)], vec![(2, 1)]]);
    }
}
