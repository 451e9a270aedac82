//! Moves the whole frames of damaged packs, as they are, to new packs, and removes the damaged ones.

use std::collections::{HashMap, HashSet};

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::VaultError;
use crate::format::authority::Word;
use crate::format::frame::PackKind;
use crate::format::frame_set::FrameSet;
use crate::format::index::{self, RunContents, StoredPack};
use crate::format::layout;
use crate::format::pack::{
    FinishedPack, MAX_PACK, PackBuilder, TrailerFrame, WrappedRunKey, read_header, read_trailer,
};
use crate::ids::{ChunkId, FrameName};
use crate::maintenance::check::survey::{GroupSurvey, Located};
use crate::maintenance::check::{Findings, Maintenance};
use crate::maintenance::repair::{Repairer, damaged_packs, decisions};

impl Maintenance {
    /// Replaces the damaged packs of a group. Requires a key that may delete.
    pub(crate) async fn salvage(
        &self,
        survey: &mut GroupSurvey,
        findings: &Findings,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        if !repairer.may_remove {
            return Ok(());
        }
        for pack in damaged_packs(survey, findings) {
            self.stop_if_asked()?;
            let key = layout::pack(survey.view.id, &pack);
            // Of a pack that is longer than the maximum nothing is read, and nothing is removed.
            let Ok(bytes) = self.session.repository().read(&key, MAX_PACK).await? else { continue };
            // If the second read is correct, the transport or the memory is faulty.
            if Sha256Digest::of(&bytes) == pack {
                continue;
            }
            let located = survey.located.get(&pack).map_or(&[][..], Vec::as_slice);
            let is_false = |l: &Located| survey.bad.contains(&(pack, l.name, l.place.offset));
            let trailer = self.trailer_in(survey, &pack, &bytes);
            let whole = whole_frames(&said_to_lie(located, trailer.as_deref()), is_false, &bytes);
            let moved: FrameSet = whole.iter().map(TrailerFrame::name).collect();
            if !whole.is_empty()
                && !self.move_whole(survey, &pack, &bytes, whole, trailer.as_deref(), repairer).await?
            {
                continue;
            }
            let listed = trailer.map(|trailer| trailer.len() as u64);
            match decisions::damaged_pack(listed, moved.len(), survey.homeless().len()) {
                Ok(why) => repairer.remove(&key, &why).await?,
                Err(why) => tracing::warn!("`{key}` is {why}"),
            }
        }
        Ok(())
    }

    /// The trailer in the bytes of a damaged pack, if it can be opened. If the pack has grown, the trailer is at the
    /// end that the index states.
    fn trailer_in(
        &self,
        survey: &GroupSurvey,
        pack: &Sha256Digest,
        bytes: &[u8],
    ) -> Option<Vec<TrailerFrame>> {
        let located = survey.located.get(pack).and_then(|located| located.first());
        let end = located.map_or(bytes.len(), |l| usize::try_from(l.size).unwrap_or(usize::MAX));
        let repository = self.session.repository().id;
        [bytes, &bytes[..end.min(bytes.len())]]
            .into_iter()
            .find_map(|pack| read_trailer(pack, &survey.view.index_key, &repository, survey.view.id).ok())
    }

    /// Moves whole frames to a new pack. Returns whether it did: if the pack's own trailer makes that impossible, the
    /// pack stays.
    async fn move_whole(
        &self,
        survey: &mut GroupSurvey,
        pack: &Sha256Digest,
        bytes: &[u8],
        mut frames: Vec<TrailerFrame>,
        trailer: Option<&[TrailerFrame]>,
        repairer: &mut Repairer<'_>,
    ) -> Result<bool, VaultError> {
        let mut chunks: HashMap<FrameName, Vec<ChunkId>> =
            trailer.unwrap_or_default().iter().map(|f| (f.name(), f.chunks.clone())).collect();
        let unknown: FrameSet =
            frames.iter().map(TrailerFrame::name).filter(|name| !chunks.contains_key(name)).collect();
        if !unknown.is_empty() {
            chunks.extend(self.chunks_in_contents(survey, &unknown).await?);
        }
        for frame in &mut frames {
            // A frame that is not listed any more is found by its place alone, as in a restore.
            frame.chunks = chunks.remove(&frame.name()).unwrap_or_default();
        }
        let (kind, mut run_keys) = self.header_for(survey, bytes, &frames).await?;
        let mut new = self.build(survey, bytes, kind, &run_keys, &frames)?;
        if new.hash == *pack || survey.packs.contains_key(&new.hash) {
            // All of it was whole, so its replacement would have the same name, or that of a pack that it was exchanged
            // with. A header may name a run twice: the new pack then has another name and exists beside the damaged one
            // until that is removed.
            run_keys.extend(run_keys.first().cloned());
            new = self.build(survey, bytes, kind, &run_keys, &frames)?;
        }
        let stored = StoredPack { hash: new.hash, size: new.bytes.len() as u64, frames: new.frames };
        let what = format!("contains the {} whole frames of a damaged pack", stored.frames.len());
        let stored = [stored];
        let mut objects = Vec::new();
        for locations in index::locations_of(&stored) {
            let Some(object) = repairer.sign(&survey.view, &locations)? else { return Ok(false) };
            objects.push(object);
        }
        repairer.write_and_read_back(layout::pack(survey.view.id, &new.hash), new.bytes, what).await?;
        for object in objects {
            let what = "gives the places of the moved frames".to_owned();
            repairer.write(object.name, object.bytes, what).await?;
        }
        self.write_contents_of(survey, &stored, repairer).await?;
        Ok(true)
    }

    /// Builds a pack of sealed frames that are in `bytes`.
    fn build(
        &self,
        survey: &GroupSurvey,
        bytes: &[u8],
        kind: PackKind,
        run_keys: &[WrappedRunKey],
        frames: &[TrailerFrame],
    ) -> Result<FinishedPack, VaultError> {
        let repository = self.session.repository();
        let mut builder =
            PackBuilder::new(&repository.id, survey.view.id, kind, run_keys.to_vec(), bytes.len());
        for frame in frames {
            let start = usize::try_from(frame.offset).unwrap_or(usize::MAX);
            let sealed = bytes.get(start..start.saturating_add(frame.length as usize));
            let sealed = sealed.ok_or(VaultError::Internal("a whole frame is within its pack"))?;
            builder.push_sealed(frame, sealed);
        }
        Ok(builder.finish(&survey.view.index_key, &repository.id, survey.view.id))
    }

    /// The chunk ids of frames, according to the contents index.
    async fn chunks_in_contents(
        &self,
        survey: &GroupSurvey,
        frames: &FrameSet,
    ) -> Result<HashMap<FrameName, Vec<ChunkId>>, StoreError> {
        let repository = self.session.repository();
        let mut chunks = HashMap::new();
        let tell = |_, run: RunContents| {
            for frame in run.frames {
                let name = run.run.frame(frame.ordinal);
                if frames.contains(name) {
                    chunks.entry(name).or_insert(frame.chunks);
                }
            }
        };
        repository.listed_contents(&survey.view).await?.each_run(tell).await?;
        Ok(chunks)
    }

    /// A header for the new pack: the keys of its runs from the registrations and from the damaged pack. A pack's kind
    /// only matters to those who move frames again.
    async fn header_for(
        &self,
        survey: &GroupSurvey,
        bytes: &[u8],
        frames: &[TrailerFrame],
    ) -> Result<(PackKind, Vec<WrappedRunKey>), StoreError> {
        let repository = self.session.repository();
        let (kind, old) = read_header(bytes, &repository.id, survey.view.id)
            .unwrap_or_else(|_| (PackKind::Data, Vec::new()));
        let runs: FrameSet = frames.iter().map(TrailerFrame::name).collect();
        let mut keys: Vec<WrappedRunKey> = Vec::new();
        for run in runs.runs() {
            // Even if the run is registered: a repair may have registered it with a false key from another's pack.
            let of_run = old.iter().filter(|key| key.run == run).cloned();
            let registered = repository.registration(&survey.view, run, Word::RunKey).await?;
            let registered =
                registered.ok().map(|(_, found)| WrappedRunKey { run, wrapped: found.wrapped_key });
            let first = keys.len();
            for key in registered.into_iter().chain(of_run) {
                if keys[first..].iter().all(|known| known.wrapped != key.wrapped) {
                    keys.push(key);
                }
            }
        }
        Ok((kind, keys))
    }
}

/// The frames in a pack according to its own trailer, which lists all of them, or else according to locations objects.
fn said_to_lie(located: &[Located], trailer: Option<&[TrailerFrame]>) -> Vec<Located> {
    let Some(trailer) = trailer else { return located.to_vec() };
    trailer.iter().map(|frame| Located { name: frame.name(), size: 0, place: frame.into() }).collect()
}

/// The frames, of those that are expected in a pack, that are there whole, without their chunks and without those known
/// to be false.
pub(crate) fn whole_frames(
    located: &[Located],
    is_false: impl Fn(&Located) -> bool,
    bytes: &[u8],
) -> Vec<TrailerFrame> {
    let (mut frames, mut names) = (Vec::new(), HashSet::new());
    for located in located {
        let start = usize::try_from(located.place.offset).unwrap_or(usize::MAX);
        let sealed = bytes.get(start..start.saturating_add(located.place.length as usize));
        let is_whole = sealed.is_some_and(|sealed| Sha256Digest::of(sealed) == located.place.hash);
        if is_whole && !is_false(located) && names.insert((located.name, located.place.hash)) {
            frames.push(TrailerFrame {
                run: located.name.run,
                ordinal: located.name.ordinal,
                offset: located.place.offset,
                length: located.place.length,
                hash: located.place.hash,
                chunks: Vec::new(),
                chunk_bytes: located.place.chunk_bytes,
            });
        }
    }
    frames
}
