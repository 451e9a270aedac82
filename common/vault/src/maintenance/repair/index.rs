//! Rebuilds the index from packs: contents and locations from trailers, the keys of runs from headers.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::VaultError;
use crate::format::frame::OpenedFrame;
use crate::format::frame_set::FrameSet;
use crate::format::index::{
    self, CONTENTS_CHUNKS, FrameContents, FrameLocation, FramePlace, Locations, RunContents, StoredPack,
};
use crate::format::pack::TrailerFrame;
use crate::format::registration::Registration;
use crate::format::seal::SealKey;
use crate::format::{FORMAT_VERSION, layout};
use crate::ids::{FrameName, RunId};
use crate::maintenance::check::replaced::{Search, find_in_trailers};
use crate::maintenance::check::survey::{GroupSurvey, Located, Survey};
use crate::maintenance::check::{Findings, Maintenance};
use crate::maintenance::repair::{Repairer, damaged_packs, decisions};

/// How many packs one round of index objects covers.
const PACKS_A_ROUND: usize = 64;

/// The frames that have several places.
#[derive(Default)]
struct Doubts {
    frames: FrameSet,
    /// The packs that list frames of each run.
    packs: HashMap<RunId, Vec<(Sha256Digest, u64)>>,
    /// The keys of their runs, as far as they were looked for and opened.
    keys: HashMap<RunId, Option<SealKey>>,
}

/// Writes a locations object, unless readers would refuse it, and adds it to the survey. Returns whether it was
/// written.
async fn write_places(
    survey: &mut GroupSurvey,
    locations: &Locations,
    repairer: &mut Repairer<'_>,
) -> Result<bool, VaultError> {
    let frames: usize = locations.packs.iter().map(|pack| pack.frames.len()).sum();
    let what = format!("restores the places of {frames} frames");
    let is_written = repairer.write_signed(&survey.view, locations, what).await?;
    if is_written {
        survey.add_locations(locations, false);
    }
    Ok(is_written)
}

impl Maintenance {
    /// Writes contents and locations for frames that are in packs but not in the index, and adds them to the survey.
    pub(crate) async fn rebuild_index(
        &self,
        survey: &mut GroupSurvey,
        findings: &Findings,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        let packs = self.packs_to_index(survey, findings).await?;
        let mut doubts = match &self.restorer {
            Some(_) if !packs.is_empty() => self.doubts(survey, &packs).await?,
            _ => Doubts::default(),
        };
        for round in packs.into_iter().collect::<Vec<_>>().chunks(PACKS_A_ROUND) {
            self.stop_if_asked()?;
            let mut stored = Vec::new();
            for hash in round {
                let Some(size) = survey.packs.get(hash).copied() else { continue };
                match self.session.repository().pack_facts(&survey.view, hash, size).await? {
                    Ok(facts) => stored.push(StoredPack { hash: *hash, size, frames: facts.frames }),
                    Err(error) => tracing::info!("{error}"),
                }
            }
            self.write_locations_of(survey, &stored, &mut doubts, repairer).await?;
            self.write_contents_of(survey, &stored, repairer).await?;
        }
        Ok(())
    }

    /// The packs that the index may not cover completely.
    async fn packs_to_index(
        &self,
        survey: &GroupSurvey,
        findings: &Findings,
    ) -> Result<BTreeSet<Sha256Digest>, StoreError> {
        let mut packs = BTreeSet::new();
        let placed: FrameSet = survey.located.values().flatten().map(|located| located.name).collect();
        let unplaced = survey.needed.minus(&survey.whole()).minus(&placed);
        if !unplaced.is_empty() {
            let (holding, _) =
                find_in_trailers(self.session.repository(), survey, &unplaced, Search::Everywhere).await?;
            packs.extend(holding);
        }
        // The entries of a damaged object about runs that nobody needs yet, such as a run under way, must not be lost
        // with it.
        let is_damaged = |folder: &str| survey.damaged.iter().any(|key| key.starts_with(folder));
        let (places_damaged, contents_damaged) = (is_damaged("locations/"), is_damaged("contents/"));
        if places_damaged {
            packs.extend(survey.packs.keys().filter(|pack| !survey.located.contains_key(*pack)));
        }
        for (pack, frames) in &survey.located {
            let is_unlisted = |located: &Located| {
                !survey.listed.contains_key(&located.name)
                    && (contents_damaged || survey.needed.contains(located.name))
            };
            if frames.iter().any(is_unlisted) {
                packs.insert(*pack);
            }
        }
        let damaged = damaged_packs(survey, findings);
        packs.retain(|pack| survey.packs.contains_key(pack) && !damaged.contains(pack));
        Ok(packs)
    }

    /// The frames that have several places by the index and the trailers of these packs.
    async fn doubts(
        &self,
        survey: &GroupSurvey,
        packs: &BTreeSet<Sha256Digest>,
    ) -> Result<Doubts, StoreError> {
        let (mut once, mut doubts) = (FrameSet::default(), Doubts::default());
        for (pack, size) in &survey.packs {
            let names: BTreeSet<FrameName> = if packs.contains(pack) {
                let trailer = self.session.repository().pack_trailer(&survey.view, pack, *size).await?;
                trailer.into_iter().flatten().map(|frame| frame.name()).collect()
            } else {
                survey.located.get(pack).into_iter().flatten().map(|located| located.name).collect()
            };
            for run in names.iter().map(|name| name.run).collect::<BTreeSet<_>>() {
                doubts.packs.entry(run).or_default().push((*pack, *size));
            }
            doubts.frames.extend(&names.into_iter().filter(|name| !once.insert(*name)).collect());
        }
        Ok(doubts)
    }

    /// Whether a pack may contain the frame that its trailer lists. Any member of the group can store a pack with a
    /// false trailer. If that makes several places of a frame, the run's key tells which are true, if the one that the
    /// run's writer commits to can be opened.
    async fn may_be_true(
        &self,
        survey: &GroupSurvey,
        pack: &StoredPack,
        frame: &TrailerFrame,
        doubts: &mut Doubts,
    ) -> Result<bool, VaultError> {
        let (Some(restorer), true) = (&self.restorer, doubts.frames.contains(frame.name())) else {
            return Ok(true);
        };
        let repository = self.session.repository();
        if let Entry::Vacant(unopened) = doubts.keys.entry(frame.run) {
            let packs = doubts.packs.get(&frame.run).map_or(&[][..], Vec::as_slice);
            let key = match survey.own_commitment(frame.run) {
                Some(own) => restorer.run_key_from(&survey.view, frame.run, &own, packs).await?.ok(),
                None => None,
            };
            unopened.insert(key);
        }
        let Some(key) = &doubts.keys[&frame.run] else { return Ok(true) };
        let place = FramePlace { pack: pack.hash, size: pack.size, frame: frame.into() };
        let Ok(sealed) = repository.frame_at(survey.view.id, &place).await? else { return Ok(false) };
        Ok(OpenedFrame::open(&sealed, key, &repository.id, frame.name()).is_ok())
    }

    async fn write_locations_of(
        &self,
        survey: &mut GroupSurvey,
        stored: &[StoredPack],
        doubts: &mut Doubts,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        let mut unplaced = Vec::new();
        for pack in stored {
            let known = survey.located.get(&pack.hash).into_iter().flatten();
            let known: HashSet<_> = known.map(|located| (located.name, located.place)).collect();
            let is_new =
                |frame: &&TrailerFrame| !known.contains(&(frame.name(), FrameLocation::from(*frame)));
            let mut frames = Vec::new();
            for frame in pack.frames.iter().filter(is_new) {
                if self.may_be_true(survey, pack, frame, doubts).await? {
                    frames.push(frame.clone());
                }
            }
            if !frames.is_empty() {
                unplaced.push(StoredPack { frames, ..*pack });
            }
        }
        for locations in index::locations_of(&unplaced) {
            if write_places(survey, &locations, repairer).await? || locations.packs.len() == 1 {
                continue;
            }
            // Readers would refuse it for what one pack lists: each pack in an object of its own.
            let run = locations.run;
            for pack in locations.packs {
                write_places(survey, &Locations { run, packs: vec![pack] }, repairer).await?;
            }
        }
        Ok(())
    }

    /// Lists the frames of packs that no contents object lists.
    pub(crate) async fn write_contents_of(
        &self,
        survey: &mut GroupSurvey,
        stored: &[StoredPack],
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        let mut runs: BTreeMap<RunId, Vec<FrameContents>> = BTreeMap::new();
        for frame in stored.iter().flat_map(|pack| &pack.frames) {
            let name = frame.name();
            // The chunks of a frame that was moved out of a damaged pack may be unknown.
            if !survey.listed.contains_key(&name) && !frame.chunks.is_empty() {
                let contents = FrameContents { ordinal: frame.ordinal, chunks: frame.chunks.clone() };
                runs.entry(frame.run).or_default().push(contents);
            }
        }
        let with_commitment = runs.into_iter().filter_map(|(run, frames)| {
            let may_list = decisions::may_list_chunks(repairer.pen.signer, survey.writer_of(run));
            let commitment = survey.own_commitment(run).filter(|_| may_list)?;
            Some(RunContents { run, frames, commitment })
        });
        for contents in index::split_contents(with_commitment.collect::<Vec<_>>(), CONTENTS_CHUNKS) {
            let frames: usize = contents.runs.iter().map(|run| run.frames.len()).sum();
            let what = format!("restores the chunk lists of {frames} frames");
            if repairer.write_signed(&survey.view, &contents, what).await? {
                let located = survey.located_frames();
                survey.add_contents(repairer.pen.signer, contents, &located);
            }
        }
        Ok(())
    }

    /// Registers runs again whose registration is missing or, if this key may delete, damaged.
    pub(crate) async fn register_runs(
        &self,
        survey: &Survey,
        group: &GroupSurvey,
        findings: &Findings,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        let runs: Vec<RunId> =
            group.needed.runs().filter(|run| !group.registered.contains_key(run)).collect();
        for run in runs {
            self.stop_if_asked()?;
            let key = layout::run(group.view.id, run);
            let is_there = survey.has(&key);
            if is_there
                && !(repairer.may_remove
                    && findings.damage.of(&key).is_some()
                    && self.is_still_altered(&key).await?)
            {
                continue;
            }
            let Some(wrapped) = self.wrapped_key_of(group, run).await? else { continue };
            let Some(writer) = self.writer_of_run(survey, group, run).await? else { continue };
            let (wrapped_key, epoch) = wrapped;
            let repository = self.session.repository();
            let registration = Registration {
                format: FORMAT_VERSION,
                repository: repository.id,
                group: group.view.id,
                writer,
                run,
                epoch,
                wrapped_key: wrapped_key.into(),
            };
            let object = repository.sign(&group.view, repairer.pen, &registration)?;
            if is_there {
                repairer.remove(&key, "it is damaged, and the run's key is in a pack's header").await?;
            }
            let what = "registers the run again with the key in a pack's header".to_owned();
            repairer.write(object.name, object.bytes, what).await?;
        }
        Ok(())
    }

    /// A run's wrapped key from the header of a pack, and the epoch that it is wrapped to. With a recovery key only the
    /// true one is accepted; otherwise the reader's commitment distinguishes it from others.
    async fn wrapped_key_of(
        &self,
        group: &GroupSurvey,
        run: RunId,
    ) -> Result<Option<(Vec<u8>, u32)>, StoreError> {
        let repository = self.session.repository();
        let current = repository.roster.epoch().map_or(0, |epoch| epoch.epoch);
        let holding = group.located.iter().filter(|(_, frames)| frames.iter().any(|l| l.name.run == run));
        for (pack, _) in holding {
            let Some(size) = group.packs.get(pack) else { continue };
            let Ok(facts) = repository.pack_facts(&group.view, pack, *size).await? else { continue };
            for key in facts.run_keys.iter().filter(|key| key.run == run) {
                let Some(restorer) = &self.restorer else {
                    return Ok(Some((key.wrapped.to_vec(), current)));
                };
                let commitments = group.commitments(run);
                let Some((epoch, secret)) = restorer.unwrap(&key.wrapped) else { continue };
                let opened = secret[..].try_into().ok().map(SealKey::from_bytes);
                if opened.is_some_and(|opened| commitments.contains(&opened.commitment())) {
                    return Ok(Some((key.wrapped.to_vec(), epoch)));
                }
            }
        }
        Ok(None)
    }
}
