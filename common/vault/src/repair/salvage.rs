//! Out of damaged packs: frames that are still whole go, as they are, to a new pack, and the damaged one goes away.

use std::collections::{HashMap, HashSet};

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::VaultError;
use crate::check::survey::{GroupSurvey, Located};
use crate::check::{Checker, Findings};
use crate::frame::PackKind;
use crate::frame_set::FrameSet;
use crate::ids::{ChunkId, FrameName};
use crate::index::{self, StoredPack};
use crate::layout;
use crate::pack::{
    FinishedPack, MAX_PACK, PackBuilder, TrailerFrame, WrappedRunKey, read_header, read_trailer,
};
use crate::repair::{Mender, damaged_packs};
use crate::seal::Purpose;
use crate::signed::{self, Place};

impl Checker {
    /// Replaces the damaged packs of a group. Takes someone who may remove.
    pub(crate) async fn salvage(
        &self,
        survey: &mut GroupSurvey,
        findings: &Findings,
        mender: &mut Mender<'_>,
    ) -> Result<(), VaultError> {
        if !mender.may_remove {
            return Ok(());
        }
        for pack in damaged_packs(survey, findings) {
            self.stop_if_asked()?;
            let key = layout::pack(survey.view.id, &pack);
            let bytes = match self.viewer.repository().store.read(&key, MAX_PACK).await {
                Ok(bytes) => bytes,
                // Of one that is longer than any pack nothing is read, and nothing is taken away.
                Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            // Read right the second time, it is the line that is damaged, or the memory.
            if Sha256Digest::of(&bytes) == pack {
                continue;
            }
            let located = survey.located.get(&pack).map_or(&[][..], Vec::as_slice);
            let is_false = |l: &Located| survey.bad.contains(&(pack, l.name, l.place.offset));
            let whole = whole_frames(located, is_false, &bytes);
            if !whole.is_empty() {
                self.move_whole(survey, &pack, &bytes, whole, mender).await?;
            }
            mender.remove(&key, "it is damaged, and the frames in it that were whole lie elsewhere").await?;
        }
        Ok(())
    }

    /// Moves whole frames to a new pack.
    async fn move_whole(
        &self,
        survey: &mut GroupSurvey,
        pack: &Sha256Digest,
        bytes: &[u8],
        mut frames: Vec<TrailerFrame>,
        mender: &mut Mender<'_>,
    ) -> Result<(), VaultError> {
        let repository = self.viewer.repository();
        // Of a pack that grew, the trailer stands where the index says that the pack ended.
        let located = survey.located.get(pack).and_then(|located| located.first());
        let end = located.map_or(bytes.len(), |l| usize::try_from(l.size).unwrap_or(usize::MAX));
        let trailer = [bytes, &bytes[..end.min(bytes.len())]]
            .into_iter()
            .find_map(|pack| read_trailer(pack, &survey.view.index_key, &repository.id, survey.view.id).ok());
        let mut chunks: HashMap<FrameName, Vec<ChunkId>> = match trailer {
            Some(trailer) => trailer.into_iter().map(|f| (name_of(&f), f.chunks)).collect(),
            None => HashMap::new(),
        };
        let unknown: FrameSet =
            frames.iter().map(name_of).filter(|name| !chunks.contains_key(name)).collect();
        if !unknown.is_empty() {
            chunks.extend(self.chunks_in_contents(survey, &unknown).await?);
        }
        for frame in &mut frames {
            // A frame that nothing lists any more is found by its place alone, as a restore finds it.
            frame.chunks = chunks.remove(&name_of(frame)).unwrap_or_default();
        }
        let (kind, mut run_keys) = self.header_for(survey, bytes, &frames).await?;
        let mut new = self.build(survey, bytes, kind, &run_keys, &frames)?;
        if new.hash == *pack {
            // All of it was whole, so what replaces it would have its name. A header may name a run twice: with the
            // same bytes otherwise, the new pack lies beside the damaged one until that is gone.
            run_keys.extend(run_keys.first().cloned());
            new = self.build(survey, bytes, kind, &run_keys, &frames)?;
        }
        let stored = StoredPack { hash: new.hash, size: new.bytes.len() as u64, frames: new.frames };
        let what = format!("holds the {} whole frames of a damaged pack", stored.frames.len());
        mender.write(layout::pack(survey.view.id, &new.hash), new.bytes, what).await?;
        let place = Place { purpose: Purpose::Locations, repository: &repository.id, group: survey.view.id };
        let stored = [stored];
        for locations in index::locations_of(&stored) {
            let bytes = signed::write(place, self.viewer.pen()?, &survey.view.index_key, &locations);
            let key = layout::locations_object(survey.view.id, locations.run, &Sha256Digest::of(&bytes));
            mender.write(key, bytes, "says where the moved frames lie".to_owned()).await?;
        }
        self.write_contents_of(survey, &stored, mender).await
    }

    /// A pack of sealed frames that lie in `bytes`.
    fn build(
        &self,
        survey: &GroupSurvey,
        bytes: &[u8],
        kind: PackKind,
        run_keys: &[WrappedRunKey],
        frames: &[TrailerFrame],
    ) -> Result<FinishedPack, VaultError> {
        let repository = self.viewer.repository();
        let mut builder =
            PackBuilder::new(&repository.id, survey.view.id, kind, run_keys.to_vec(), bytes.len());
        for frame in frames {
            let start = usize::try_from(frame.offset).unwrap_or(usize::MAX);
            let sealed = bytes.get(start..start.saturating_add(frame.length as usize));
            let sealed = sealed.ok_or(VaultError::Internal("a whole frame lies within its pack"))?;
            builder.push_sealed(frame, sealed);
        }
        Ok(builder.finish(&survey.view.index_key, &repository.id, survey.view.id))
    }

    /// The chunk ids of frames, as the contents index has them.
    async fn chunks_in_contents(
        &self,
        survey: &GroupSurvey,
        frames: &FrameSet,
    ) -> Result<HashMap<FrameName, Vec<ChunkId>>, VaultError> {
        let repository = self.viewer.repository();
        let mut chunks = HashMap::new();
        for name in repository.contents_names(&survey.view).await? {
            let Some(contents) = repository.whole_contents(&survey.view, &name).await? else { continue };
            for run in contents.runs {
                for frame in run.frames {
                    let name = FrameName { run: run.run, ordinal: frame.ordinal };
                    if frames.contains(name) {
                        chunks.entry(name).or_insert(frame.chunks);
                    }
                }
            }
        }
        Ok(chunks)
    }

    /// A header for the new pack: the keys of its runs as they are registered, and, of those that are not, as the
    /// damaged pack has them. What a pack says of its kind only matters to whoever moves frames again.
    async fn header_for(
        &self,
        survey: &GroupSurvey,
        bytes: &[u8],
        frames: &[TrailerFrame],
    ) -> Result<(PackKind, Vec<WrappedRunKey>), VaultError> {
        let repository = self.viewer.repository();
        let (kind, old) = read_header(bytes, &repository.id, survey.view.id)
            .unwrap_or_else(|_| (PackKind::Data, Vec::new()));
        let runs: FrameSet = frames.iter().map(name_of).collect();
        let mut keys = Vec::new();
        for run in runs.runs() {
            match repository.registration(&survey.view, run).await {
                Ok(registration) => keys.push(WrappedRunKey { run, wrapped: registration.wrapped_key }),
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(_) => keys.extend(old.iter().filter(|key| key.run == run).cloned()),
            }
        }
        Ok((kind, keys))
    }
}

/// The frames that the index puts into a pack and that are there whole, without their chunks and without those that
/// are known to be false.
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
        if is_whole && !is_false(located) && names.insert(located.name) {
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

fn name_of(frame: &TrailerFrame) -> FrameName {
    FrameName { run: frame.run, ordinal: frame.ordinal }
}
