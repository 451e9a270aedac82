//! Moves sealed frames from pack to pack unchanged. A keeper repacks what is still needed of packs that are mostly
//! garbage, and a writer rescues frames that were condemned while it referred to them; neither opens a frame.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::{ObjectError, Read, VaultError};
use crate::format::frame::PackKind;
use crate::format::index::{FramePlace, Locations, StoredPack};
use crate::format::layout;
use crate::format::pack::{
    Fill, MAX_HEADER, PACK_BYTES, PackBuilder, TAIL, TrailerFrame, WrappedRunKey, open_trailer, read_header,
    trailer_length,
};
use crate::format::signed::Pen;
use crate::ids::{FrameName, RunId};
use crate::keys::GroupView;
use crate::repository::open::Repository;

/// Frames to move, by the pack that contains them.
pub(crate) type Moves = BTreeMap<Sha256Digest, Vec<(FrameName, FramePlace)>>;

/// A pack's description of itself: its kind, the run keys in its header, and the frames in its trailer.
pub(crate) struct PackFacts {
    pub(crate) kind: PackKind,
    pub(crate) run_keys: Vec<WrappedRunKey>,
    pub(crate) frames: Vec<TrailerFrame>,
}

impl Repository {
    /// Reads a pack's header and trailer, not its frames.
    pub(crate) async fn pack_facts(
        &self,
        group: &GroupView,
        pack: &Sha256Digest,
        size: u64,
    ) -> Read<PackFacts> {
        let frames = match self.pack_trailer(group, pack, size).await? {
            Ok(frames) => frames,
            Err(error) => return Ok(Err(error)),
        };
        let beginning = self.pack_range(group.id, pack, 0..size.min(MAX_HEADER)).await?;
        Ok(beginning.and_then(|beginning| {
            let (kind, run_keys) = read_header(&beginning, &self.id, group.id)
                .map_err(|reason| ObjectError::damaged(layout::pack(group.id, pack), reason))?;
            Ok(PackFacts { kind, run_keys, frames })
        }))
    }

    /// Reads a pack's trailer: the frames that it lists.
    pub(crate) async fn pack_trailer(
        &self,
        group: &GroupView,
        pack: &Sha256Digest,
        size: u64,
    ) -> Read<Vec<TrailerFrame>> {
        let key = layout::pack(group.id, pack);
        let damaged = |reason: &str| ObjectError::damaged(&key, reason);
        let Some(tail_start) = size.checked_sub(TAIL as u64) else {
            return Ok(Err(damaged("it is too short")));
        };
        let tail = self.pack_range(group.id, pack, tail_start..size).await?;
        let start = tail.and_then(|tail| {
            let tail = tail.last_chunk::<TAIL>().ok_or_else(|| damaged("it is too short"))?;
            let length = trailer_length(*tail).ok_or_else(|| damaged("it does not end like a pack"))?;
            let start = tail_start.checked_sub(length.into());
            start.ok_or_else(|| damaged("its trailer is longer than the pack"))
        });
        let start = match start {
            Ok(start) => start,
            Err(error) => return Ok(Err(error)),
        };
        let sealed = self.pack_range(group.id, pack, start..tail_start).await?;
        Ok(sealed.and_then(|sealed| {
            open_trailer(&sealed, start, &group.index_key, &self.id, group.id).map_err(damaged)
        }))
    }

    /// Copies frames into new packs. The caller must write their new locations. A run that copies what is condemned
    /// gives its own key, which goes into their headers: without it, all frames of a condemned pack would make that
    /// same pack again, by content and by name.
    pub(crate) async fn move_frames(
        &self,
        group: &GroupView,
        moves: &Moves,
        own_key: Option<&WrappedRunKey>,
    ) -> Read<Vec<StoredPack>> {
        let mut open: [Option<NewPack>; 2] = [None, None];
        let mut stored = Vec::new();
        for (pack, frames) in moves {
            let Some((_, first)) = frames.first() else { continue };
            let facts = match self.pack_facts(group, pack, first.size).await? {
                Ok(facts) => facts,
                Err(error) => return Ok(Err(error)),
            };
            let listed: BTreeMap<(FrameName, u64), &TrailerFrame> =
                facts.frames.iter().map(|frame| ((frame.name(), frame.offset), frame)).collect();
            for (name, place) in frames {
                let damaged = |reason: String| ObjectError::damaged(layout::pack(group.id, pack), reason);
                let Some(listed) = listed.get(&(*name, place.frame.offset)) else {
                    let (ordinal, offset) = (name.ordinal, place.frame.offset);
                    return Ok(Err(damaged(format!(
                        "its trailer does not list frame {ordinal} at byte {offset}"
                    ))));
                };
                let sealed = match self.frame_at(group.id, place).await? {
                    Ok(sealed) => sealed,
                    Err(error) => return Ok(Err(error)),
                };
                if listed.hash != place.frame.hash || listed.length != place.frame.length {
                    let reason = "its trailer and its locations contradict each other";
                    return Ok(Err(damaged(reason.to_owned())));
                }
                let new = open[facts.kind as usize].get_or_insert_with(|| NewPack::new(facts.kind, own_key));
                new.push(name.run, &facts.run_keys, listed, sealed.to_vec());
                if new.fill.is_full()
                    && let Some(full) = open[facts.kind as usize].take()
                {
                    stored.push(self.store_moved(group, full).await?);
                }
            }
        }
        for new in open.into_iter().flatten() {
            stored.push(self.store_moved(group, new).await?);
        }
        Ok(Ok(stored))
    }

    async fn store_moved(&self, group: &GroupView, new: NewPack) -> Result<StoredPack, StoreError> {
        let mut builder = PackBuilder::new(&self.id, group.id, new.kind, new.run_keys, PACK_BYTES);
        for (frame, sealed) in &new.frames {
            builder.push_sealed(frame, sealed);
        }
        let pack = builder.finish(&group.index_key, &self.id, group.id);
        let size = pack.bytes.len() as u64;
        self.store.create(&layout::pack(group.id, &pack.hash), pack.bytes.into()).await?;
        Ok(StoredPack { hash: pack.hash, size, frames: pack.frames })
    }

    /// Writes the locations of frames, one object for each run.
    pub(crate) async fn write_locations(
        &self,
        group: &GroupView,
        pen: Pen<'_>,
        locations: &[Locations],
    ) -> Result<(), VaultError> {
        for locations in locations {
            self.store_signed(group, pen, locations).await?;
        }
        Ok(())
    }
}

/// How many different keys of one run a new header keeps.
const MOST_RUN_KEYS: usize = 8;

/// A pack that is being filled with frames of others. Its header comes first and names the runs, so the frames wait.
struct NewPack {
    kind: PackKind,
    run_keys: Vec<WrappedRunKey>,
    frames: Vec<(TrailerFrame, Vec<u8>)>,
    fill: Fill,
}

impl NewPack {
    fn new(kind: PackKind, own_key: Option<&WrappedRunKey>) -> Self {
        let run_keys = own_key.cloned().into_iter().collect();
        Self { kind, run_keys, frames: Vec::new(), fill: Fill::up_to(PACK_BYTES) }
    }

    fn push(&mut self, run: RunId, run_keys: &[WrappedRunKey], frame: &TrailerFrame, sealed: Vec<u8>) {
        // A false header of a hostile member must not displace the true key of another's.
        for key in run_keys.iter().filter(|key| key.run == run) {
            let of_run = self.run_keys.iter().filter(|known| known.run == run);
            let is_known = of_run.clone().any(|known| known.wrapped == key.wrapped);
            if !is_known && of_run.count() < MOST_RUN_KEYS {
                self.fill.add_run_key(key);
                self.run_keys.push(key.clone());
            }
        }
        self.fill.add_frame(sealed.len(), frame.chunks.len());
        self.frames.push((frame.clone(), sealed));
    }
}
