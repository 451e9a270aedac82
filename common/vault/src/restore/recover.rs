//! Replaces lost frames: a chunk that is lost in one frame may be in another. The contents index lists which chunks a
//! lost frame contained and which other frames contain the same ones; a backup that ran after the loss has stored them
//! again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lifeboat_store::StoreError;
use tokio::sync::OnceCell;

use crate::format::chunk::chunk_id;
use crate::format::frame::OpenedFrame;
use crate::format::frame_set::FrameSet;
use crate::format::index::{ChunkPlace, RunContents};
use crate::format::seal::SealKey;
use crate::ids::{ChunkId, FrameName, RunId, Signer};
use crate::keys::{GroupKeys, GroupView};
use crate::repository::locate::FramePlaces;
use crate::repository::recovery_session::RecoverySession;

/// How many frames of one signer are tried for one chunk before it counts as lost. However many frames a member makes
/// up, those of others are tried as well.
const TRIES: usize = 4;

/// Finds the chunks of lost frames elsewhere. Reads the contents index when it is first needed.
pub(crate) struct Healer {
    restorer: RecoverySession,
    group: GroupKeys,
    /// The frames that the snapshot needs: their contents, and the other places of these, are remembered.
    needed: FrameSet,
    contents: OnceCell<AllContents>,
}

/// The contents index of the needed frames and of the places of their chunks, by signer.
#[derive(Default)]
struct AllContents {
    commitments: HashMap<RunId, Vec<(Signer, [u8; 32])>>,
    frames: HashMap<FrameName, Vec<(Signer, Vec<ChunkId>)>>,
    places: HashMap<ChunkId, Vec<(Signer, ChunkPlace)>>,
}

impl Healer {
    pub(crate) fn new(restorer: RecoverySession, group: &GroupKeys, needed: FrameSet) -> Self {
        Self { restorer, group: group.clone(), needed, contents: OnceCell::new() }
    }

    /// A stand-in for the frame `lost`, with those of its chunks that were found elsewhere; `None` if none were.
    pub(crate) async fn assemble(&self, lost: FrameName) -> Result<Option<OpenedFrame>, StoreError> {
        let contents = self.contents.get_or_try_init(|| self.read_contents()).await?;
        let mut best: Option<(usize, OpenedFrame)> = None;
        for (_, ids) in contents.frames.get(&lost).into_iter().flatten() {
            let chunks = self.chunks(contents, lost, ids).await?;
            let found = chunks.iter().flatten().count();
            if found > best.as_ref().map_or(0, |(most, _)| *most) {
                best = Some((found, OpenedFrame::assembled(&chunks)));
            }
            if found == ids.len() {
                break;
            }
        }
        Ok(best.map(|(_, frame)| frame))
    }

    /// The given chunks of the frame `lost`, as far as they are found.
    async fn chunks(
        &self,
        contents: &AllContents,
        lost: FrameName,
        ids: &[ChunkId],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut opened: HashMap<FrameName, Option<OpenedFrame>> = HashMap::new();
        let mut chunks = Vec::with_capacity(ids.len());
        for id in ids {
            let mut found = None;
            let places = contents.places.get(id).map_or(&[][..], Vec::as_slice);
            // The lost frame's own place comes last: the frame there may be false, or it may exist again.
            let others = places.iter().map(|(_, place)| place).filter(|place| place.frame != lost);
            let own = places.iter().map(|(_, place)| place).find(|place| place.frame == lost);
            for place in others.chain(own) {
                if let Entry::Vacant(unopened) = opened.entry(place.frame) {
                    unopened.insert(self.open(contents, place.frame).await?);
                }
                let frame = opened.get(&place.frame).and_then(Option::as_ref);
                let chunk = frame.and_then(|frame| frame.chunk(place.slot as usize));
                if let Some(chunk) = chunk.filter(|chunk| chunk_id(&self.group.chunk_id_key, chunk) == *id) {
                    found = Some(chunk.to_vec());
                    break;
                }
            }
            chunks.push(found);
        }
        Ok(chunks)
    }

    /// Opens another frame, if it is stored whole anywhere.
    async fn open(&self, contents: &AllContents, name: FrameName) -> Result<Option<OpenedFrame>, StoreError> {
        let view = GroupView::from(&self.group);
        let repository = self.restorer.repository();
        let is_wanted = |ordinal| ordinal == name.ordinal;
        let places: FramePlaces = repository.places(&view, name.run, is_wanted).await?;
        let mut key: Option<SealKey> = None;
        for (_, commitment) in contents.commitments.get(&name.run).into_iter().flatten() {
            if let Ok(opened) = self.restorer.run_key(&view, name.run, commitment, &places).await? {
                key = Some(opened);
                break;
            }
        }
        let Some(key) = key else { return Ok(None) };
        for place in places.get(&name).into_iter().flatten() {
            let Ok(sealed) = repository.frame_at(view.id, place).await? else { continue };
            if let Ok(opened) = OpenedFrame::open(&sealed, &key, repository.id(), name) {
                return Ok(Some(opened));
            }
        }
        Ok(None)
    }

    /// Reads the index twice, one object at a time: first the contents of the needed frames, then their other places.
    async fn read_contents(&self) -> Result<AllContents, StoreError> {
        let repository = self.restorer.repository();
        let view = GroupView::from(&self.group);
        let contents = repository.listed_contents(&view).await?;
        let mut all = AllContents::default();
        contents.each_run(|signer, run| all.add_frames(signer, run, &self.needed)).await?;
        contents.each_run(|signer, run| all.add_places(signer, &run)).await?;
        Ok(all)
    }
}

impl AllContents {
    fn add_frames(&mut self, signer: Signer, run: RunContents, needed: &FrameSet) {
        for contents in run.frames {
            let frame = run.run.frame(contents.ordinal);
            if !needed.contains(frame) {
                continue;
            }
            for id in &contents.chunks {
                self.places.entry(*id).or_default();
            }
            let lists = self.frames.entry(frame).or_default();
            if lists.iter().all(|(by, _)| *by != signer) {
                lists.push((signer, contents.chunks));
            }
        }
    }

    fn add_places(&mut self, signer: Signer, run: &RunContents) {
        let mut is_any = false;
        for contents in &run.frames {
            let frame = run.run.frame(contents.ordinal);
            for (id, slot) in contents.chunks.iter().zip(0..) {
                let Some(places) = self.places.get_mut(id) else { continue };
                let of_signer = || places.iter().filter(|(by, _)| *by == signer);
                // However often an object lists a frame, one place in it is enough.
                let is_known = of_signer().any(|(_, place)| place.frame == frame);
                if !is_known && of_signer().count() < TRIES {
                    places.push((signer, ChunkPlace { frame, slot }));
                    is_any = true;
                }
            }
        }
        let commitments = self.commitments.entry(run.run).or_default();
        if is_any && commitments.iter().all(|(by, _)| *by != signer) {
            commitments.push((signer, run.commitment));
        }
    }
}
