//! Lost frames that are replaced: every chunk of such a frame is also in another frame that is whole.

use std::collections::{HashMap, HashSet};

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::format::authority::Standing;
use crate::format::frame_set::FrameSet;
use crate::format::index::RunContents;
use crate::format::pack::TrailerFrame;
use crate::ids::{ChunkId, FrameName, Signer};
use crate::maintenance::check::survey::{GroupSurvey, digest_of};
use crate::repository::open::Repository;

/// Those of `lost` whose chunks are all in other frames that are `whole`, according to the contents index. Another
/// writer of the group could forge frames, so the contents object must be signed by the lost run's own writer, a keeper
/// or the root, or the frame must have been opened and be `proved`. The contents are read twice, one object at a time:
/// only the chunks of lost frames are kept in memory.
pub(crate) async fn replaced(
    repository: &Repository,
    survey: &GroupSurvey,
    whole: &FrameSet,
    proved: Option<&FrameSet>,
    lost: &FrameSet,
) -> Result<FrameSet, StoreError> {
    if lost.is_empty() {
        return Ok(FrameSet::default());
    }
    let contents = repository.listed_contents(&survey.view).await?;
    let is_pruner = |signer| {
        matches!(repository.roster.standing(signer, survey.view.id), Standing::Keeper | Standing::Root)
    };
    let mut chunks: HashMap<FrameName, Vec<ChunkId>> = HashMap::new();
    let told = |signer, run: RunContents| {
        if survey.writer_of(run.run) != Some(signer) && !is_pruner(signer) {
            return;
        }
        for frame in run.frames {
            let name = run.run.frame(frame.ordinal);
            if lost.contains(name) {
                chunks.insert(name, frame.chunks);
            }
        }
    };
    contents.each_run(told).await?;
    // The wanted chunks, and whose signature is accepted for each.
    let mut wanted: HashSet<(Option<Signer>, ChunkId)> = HashSet::new();
    for (name, ids) in &chunks {
        wanted.extend(ids.iter().map(|id| (survey.writer_of(name.run), *id)));
    }
    let writers: HashSet<Option<Signer>> = wanted.iter().map(|(writer, _)| *writer).collect();
    let told = |signer, run: RunContents| {
        for frame in run.frames {
            let name = run.run.frame(frame.ordinal);
            if !whole.contains(name) || survey.marked.contains(name) {
                continue;
            }
            let is_proved = proved.is_some_and(|proved| proved.contains(name))
                && survey.listed.get(&name) == Some(&digest_of(&frame.chunks));
            let is_believed =
                |writer: &&Option<Signer>| is_proved || is_pruner(signer) || **writer == Some(signer);
            for writer in writers.iter().filter(is_believed) {
                for id in &frame.chunks {
                    wanted.remove(&(*writer, *id));
                }
            }
        }
    };
    contents.each_run(told).await?;
    let is_healed = |(name, ids): &(FrameName, Vec<ChunkId>)| {
        ids.iter().all(|id| !wanted.contains(&(survey.writer_of(name.run), *id)))
    };
    Ok(chunks.into_iter().filter(is_healed).map(|(name, _)| name).collect())
}

/// How far frames are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// Until each is found.
    Once,
    /// In all packs: any member of the group can store one whose trailer lists frames falsely.
    Everywhere,
}

/// Looks for frames in the trailers of packs, first of those that no index object names. Returns the packs that contain
/// some, and the frames found.
pub(crate) async fn find_in_trailers(
    repository: &Repository,
    survey: &GroupSurvey,
    frames: &FrameSet,
    search: Search,
) -> Result<(Vec<Sha256Digest>, FrameSet), StoreError> {
    let (mut packs, mut found) = (Vec::new(), FrameSet::default());
    let (named, unnamed): (Vec<_>, Vec<_>) =
        survey.packs.iter().partition(|(pack, _)| survey.located.contains_key(*pack));
    for (pack, size) in unnamed.into_iter().chain(named) {
        if search == Search::Once && frames.minus(&found).is_empty() {
            break;
        }
        let Ok(facts) = repository.pack_facts(&survey.view, pack, *size).await? else { continue };
        let held = facts.frames.iter().map(TrailerFrame::name);
        let held: FrameSet = held.filter(|name| frames.contains(*name)).collect();
        if !held.is_empty() {
            found.extend(&held);
            packs.push(*pack);
        }
    }
    Ok((packs, found))
}
