//! Healing: what is lost in one frame may lie in another. The contents index says which chunks a lost frame held and
//! which other frames hold the same ones; a backup that ran after the loss has stored them anew.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tokio::sync::OnceCell;

use crate::VaultError;
use crate::authority::Word;
use crate::chunk::chunk_id;
use crate::frame::OpenedFrame;
use crate::ids::{ChunkId, FrameName, RunId};
use crate::index::{ChunkPlace, Contents, RunContents};
use crate::keys::{GroupKeys, GroupView};
use crate::layout;
use crate::locate::FramePlaces;
use crate::restorer::Restorer;
use crate::seal::SealKey;

/// How many frames are tried for one chunk before it counts as lost.
const TRIES: usize = 8;

/// Finds the chunks of lost frames elsewhere. It reads the contents index when it is first needed, and never for a
/// whole repository.
pub(crate) struct Healer {
    restorer: Restorer,
    group: GroupKeys,
    contents: OnceCell<AllContents>,
}

/// Everything that the contents index says, several places for a chunk included.
struct AllContents {
    commitments: HashMap<RunId, [u8; 32]>,
    frames: HashMap<FrameName, Vec<ChunkId>>,
    places: HashMap<ChunkId, Vec<ChunkPlace>>,
}

impl Healer {
    pub(crate) fn new(restorer: Restorer, group: &GroupKeys) -> Self {
        Self { restorer, group: group.clone(), contents: OnceCell::new() }
    }

    /// A stand-in for the frame `lost`, with the chunks of it that were found elsewhere; `None` if there are none.
    pub(crate) async fn assemble(&self, lost: FrameName) -> Result<Option<OpenedFrame>, VaultError> {
        let contents = self.contents.get_or_try_init(|| self.read_contents()).await?;
        let Some(ids) = contents.frames.get(&lost) else { return Ok(None) };
        let mut opened: HashMap<FrameName, Option<OpenedFrame>> = HashMap::new();
        let mut chunks = Vec::with_capacity(ids.len());
        for id in ids {
            let mut found = None;
            let places = contents.places.get(id).map_or(&[][..], Vec::as_slice);
            // What lies in the lost frame's own place comes last: it may be false, and it may be there again.
            let others = places.iter().filter(|place| place.frame != lost).take(TRIES);
            for place in others.chain(places.iter().find(|place| place.frame == lost)) {
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
        let is_any = chunks.iter().any(Option::is_some);
        Ok(is_any.then(|| OpenedFrame::assembled(&chunks)))
    }

    /// Opens another frame, if it lies anywhere whole.
    async fn open(&self, contents: &AllContents, name: FrameName) -> Result<Option<OpenedFrame>, VaultError> {
        let view = GroupView::from(&self.group);
        let repository = self.restorer.repository();
        let places: FramePlaces = repository.places(&view, name.run).await?;
        let Some(commitment) = contents.commitments.get(&name.run) else { return Ok(None) };
        let key: SealKey = match self.restorer.run_key(&view, name.run, commitment, &places).await {
            Ok(key) => key,
            Err(error @ VaultError::Store(_)) => return Err(error),
            Err(_) => return Ok(None),
        };
        for place in places.get(&name).into_iter().flatten() {
            let sealed = match repository.frame_at(view.id, place).await {
                Ok(sealed) => sealed,
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(_) => continue,
            };
            if let Ok(opened) = OpenedFrame::open(&sealed, &key, repository.id(), name) {
                return Ok(Some(opened));
            }
        }
        Ok(None)
    }

    async fn read_contents(&self) -> Result<AllContents, VaultError> {
        let repository = self.restorer.repository();
        let view = GroupView::from(&self.group);
        let mut all =
            AllContents { commitments: HashMap::new(), frames: HashMap::new(), places: HashMap::new() };
        for entry in repository.store.list(&layout::contents(view.id)).await? {
            let read = repository.read_signed::<Contents>(&entry.key, &view, Word::ChunksToRecover).await;
            match read {
                Ok((_, contents)) if contents.is_sane() => {
                    contents.runs.into_iter().for_each(|run| all.add(run));
                }
                Err(error @ VaultError::Store(_)) => return Err(error),
                Ok(_) | Err(_) => tracing::info!("{} is passed over", entry.key),
            }
        }
        Ok(all)
    }
}

impl AllContents {
    fn add(&mut self, run: RunContents) {
        self.commitments.entry(run.run).or_insert(run.commitment);
        for contents in run.frames {
            let frame = FrameName { run: run.run, ordinal: contents.ordinal };
            for (id, slot) in contents.chunks.iter().zip(0..) {
                self.places.entry(*id).or_default().push(ChunkPlace { frame, slot });
            }
            self.frames.insert(frame, contents.chunks);
        }
    }
}
