//! Checks a whole pack: its bytes against its name, its frames against the index and, with the keys at hand, against
//! the chunks that they contain.

use std::collections::{HashMap, HashSet};

use lifeboat_core::Sha256Digest;
use zeroize::Zeroizing;

use crate::format::chunk::chunk_id;
use crate::format::frame::OpenedFrame;
use crate::format::frame_set::FrameSet;
use crate::format::index::ListedPlaces;
use crate::format::pack::{TrailerFrame, read_header, read_trailer};
use crate::format::seal::SealKey;
use crate::ids::{FrameName, GroupId, RepositoryId, RunId};
use crate::keys::GroupView;
use crate::maintenance::check::survey::{ChunkListDigest, Located, digest_of};

/// What a pack is checked against.
pub(crate) struct PackJob {
    pub(crate) repository: RepositoryId,
    pub(crate) group: GroupId,
    pub(crate) hash: Sha256Digest,
    /// The group's index key, if it is at hand.
    pub(crate) view: Option<GroupView>,
    pub(crate) located: Vec<Located>,
    pub(crate) listed: HashMap<FrameName, ChunkListDigest>,
    /// With a recovery key: the chunk-id key, and the keys of runs.
    pub(crate) opening: Option<Opening>,
}

/// The keys to open frames and to compute their chunk ids.
pub(crate) struct Opening {
    pub(crate) chunk_id_key: Zeroizing<[u8; 32]>,
    pub(crate) run_keys: HashMap<RunId, Vec<SealKey>>,
}

/// A frame that differs from the index.
pub(crate) struct FaultyFrame {
    pub(crate) name: FrameName,
    /// Its expected offset in the pack.
    pub(crate) offset: u64,
    pub(crate) reason: String,
}

/// The results of reading a pack.
#[derive(Default)]
pub(crate) struct PackReading {
    /// Why the pack is not the one that was stored.
    pub(crate) altered: Option<String>,
    /// Frames that the index places here but that are not here whole.
    pub(crate) bad: Vec<FaultyFrame>,
    /// Frames that are here but contain other chunks than the index states.
    pub(crate) false_frames: Vec<FaultyFrame>,
    /// Statements of the index about this pack that the pack contradicts.
    pub(crate) index_faults: Vec<FaultyFrame>,
    pub(crate) opened: u64,
    /// The frames that were opened and contain the chunks that the trailer lists.
    pub(crate) proved: FrameSet,
}

impl PackReading {
    /// All frames that differ from the index.
    pub(crate) fn faulty(&self) -> impl Iterator<Item = &FaultyFrame> {
        self.bad.iter().chain(&self.false_frames).chain(&self.index_faults)
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.altered.is_none() && self.faulty().next().is_none()
    }
}

/// Checks the bytes of a pack. Blocks while it hashes and opens frames.
pub(crate) fn examine(job: &PackJob, bytes: &[u8]) -> PackReading {
    let mut reading = PackReading::default();
    let found = Sha256Digest::of(bytes);
    if found != job.hash {
        reading.altered = Some(format!("its SHA-256 is {found}, not {}", job.hash));
    }
    for located in &job.located {
        let sealed = frame_bytes(bytes, located.place.offset, located.place.length);
        if sealed.is_none_or(|sealed| Sha256Digest::of(sealed) != located.place.hash) {
            let offset = located.place.offset;
            let reason = format!("the bytes at offset {offset} are not the frame");
            reading.bad.push(FaultyFrame { name: located.name, offset, reason });
        }
    }
    if let Err(reason) = read_header(bytes, &job.repository, job.group) {
        reading.altered.get_or_insert_with(|| reason.to_owned());
    }
    let Some(view) = &job.view else { return reading };
    match read_trailer(bytes, &view.index_key, &job.repository, job.group) {
        Ok(trailer) => {
            compare_with_index(job, bytes, &trailer, &mut reading);
            if let Some(opening) = &job.opening {
                open_frames(job, opening, bytes, &trailer, &mut reading);
            }
        }
        Err(reason) => {
            reading.altered.get_or_insert_with(|| reason.to_owned());
        }
    }
    reading
}

fn frame_bytes(pack: &[u8], offset: u64, length: u32) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    pack.get(start..start.checked_add(length as usize)?)
}

fn compare_with_index(job: &PackJob, bytes: &[u8], trailer: &[TrailerFrame], reading: &mut PackReading) {
    let mut bad: HashSet<FrameName> = reading.bad.iter().map(|bad| bad.name).collect();
    let there = ListedPlaces::new(trailer);
    for frame in trailer {
        let name = frame.name();
        let sealed = frame_bytes(bytes, frame.offset, frame.length);
        let is_whole = sealed.is_some_and(|sealed| Sha256Digest::of(sealed) == frame.hash);
        let offset = frame.offset;
        if !is_whole && bad.insert(name) {
            let reason = "it does not have the hash that the pack's trailer gives".to_owned();
            reading.bad.push(FaultyFrame { name, offset, reason });
        }
        if job.listed.get(&name).is_some_and(|listed| *listed != digest_of(&frame.chunks)) {
            let reason = "the contents index lists other chunks for it than its pack does".to_owned();
            reading.false_frames.push(FaultyFrame { name, offset, reason });
        }
    }
    for Located { name, place, .. } in &job.located {
        if !there.has(*name, place) {
            let (name, offset) = (*name, place.offset);
            let reason = format!("the index places it at byte {offset}, and the pack's trailer does not");
            reading.index_faults.push(FaultyFrame { name, offset, reason });
        }
    }
}

/// Opens every frame whose run's key is at hand. Only this detects a writer that lists other chunks than it stores.
fn open_frames(
    job: &PackJob,
    opening: &Opening,
    bytes: &[u8],
    trailer: &[TrailerFrame],
    reading: &mut PackReading,
) {
    let mut bad: HashSet<FrameName> = reading.bad.iter().map(|bad| bad.name).collect();
    for frame in trailer {
        let name = frame.name();
        let offset = frame.offset;
        let keys = opening.run_keys.get(&frame.run).map_or(&[][..], Vec::as_slice);
        let Some(sealed) = frame_bytes(bytes, frame.offset, frame.length) else { continue };
        if keys.is_empty() || bad.contains(&name) {
            continue;
        }
        let opened = keys.iter().find_map(|key| OpenedFrame::open(sealed, key, &job.repository, name).ok());
        let Some(opened) = opened else {
            bad.insert(name);
            let reason = "it does not open with its run's key".to_owned();
            reading.bad.push(FaultyFrame { name, offset, reason });
            continue;
        };
        reading.opened += 1;
        let wrong = frame.chunks.iter().enumerate().find(|(slot, id)| {
            opened.chunk(*slot).is_none_or(|chunk| chunk_id(&opening.chunk_id_key, chunk) != **id)
        });
        if let Some((slot, _)) = wrong {
            let reason = format!("its chunk {slot} differs from the one in the index");
            reading.false_frames.push(FaultyFrame { name, offset, reason });
        } else {
            reading.proved.insert(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;
    use crate::format::compression::compress;
    use crate::format::index::FrameLocation;
    use crate::format::pack::{Trailer, seal_trailer};
    use crate::ids::ChunkId;

    /// The most that a trailer may name. Comparing each with each would take very long.
    const MANY: u32 = 200_000;

    #[test]
    fn a_pack_of_more_frames_than_bytes_is_refused_in_a_moment() {
        let (run, group) = (RunId::from_bytes([1; 16]), GroupId::from_bytes([2; 16]));
        let (repository, hash) = (Sha256Digest::of(b"r"), Sha256Digest::of(b""));
        let index_key = SealKey::random(&OsEntropy);
        let frames = (0..MANY).map(|ordinal| TrailerFrame {
            run,
            ordinal,
            offset: 0,
            length: 0,
            hash,
            // What compresses better than any honest trailer is refused before it is parsed.
            chunks: vec![ChunkId(*blake3::hash(&ordinal.to_le_bytes()).as_bytes())],
            chunk_bytes: 0,
        });
        let mut pack = Vec::new();
        let trailer = Trailer { frames: frames.collect() };
        let compressed = compress(&crate::ids::to_cbor(&trailer));
        seal_trailer(&mut pack, &compressed, &index_key, &repository, group);
        let located = (0..MANY).map(|ordinal| {
            let name = run.frame(ordinal + MANY / 2);
            let place = FrameLocation { ordinal: name.ordinal, offset: 0, length: 0, hash, chunk_bytes: 0 };
            Located { name, size: 0, place }
        });
        let refused = read_trailer(&pack, &index_key, &repository, group).err();
        assert_eq!(refused, Some("its trailer names bytes outside, or impossible frames"));
        let job = PackJob {
            repository,
            group,
            hash: Sha256Digest::of(&pack),
            view: Some(GroupView { id: group, index_key }),
            located: located.collect(),
            listed: HashMap::new(),
            opening: None,
        };
        let reading = examine(&job, &pack);
        assert!(reading.index_faults.is_empty() && reading.bad.is_empty() && reading.false_frames.is_empty());
    }
}
