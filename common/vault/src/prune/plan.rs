//! Working out, for one group, what is needed, where it is to lie, and what is not needed any more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_store::Entry;

use super::{Listing, places_of};
use crate::VaultError;
use crate::access::Viewer;
use crate::condemn::{LEASE_DAYS, SECONDS_OF_A_DAY};
use crate::frame_set::FrameSet;
use crate::history::History;
use crate::ids::{FrameName, RunId, Signer};
use crate::index::{
    CONTENTS_CHUNKS, Contents, FrameContents, LOCATIONS_FRAMES, Locations, PackLocations, RunContents,
    StoredPack, split_contents, split_locations,
};
use crate::keys::GroupView;
use crate::known_contents::Believable;
use crate::layout;
use crate::locate::{FramePlace, FramePlaces, add_places};
use crate::moving::Moves;
use crate::pack::{MAX_HEADER, PACK_BYTES, read_header};
use crate::repository::{Repository, hash_of};
use crate::seal::Purpose;

/// A pack is repacked when at least this share of its frames' bytes is unneeded, in percent.
const REPACK_PERCENT: u64 = 25;
/// Packs below this size are put together once there are [`SMALL_PACKS`] of them.
const SMALL_PACK: u64 = PACK_BYTES as u64 / 4;
const SMALL_PACKS: usize = 8;
/// More locations objects of a run than this are put together, and contents objects of a group likewise.
const MANY_LOCATIONS: usize = 4;
const MANY_CONTENTS: usize = 64;

/// What is to become of a group's objects.
#[derive(Default)]
pub(super) struct GroupPlan {
    /// Frames that a snapshot needs or a run under way may need.
    pub(super) live: FrameSet,
    /// The names of objects that are not needed.
    pub(super) dead: BTreeSet<String>,
    /// Frames that a contents object lists and nothing needs.
    pub(super) dead_frames: FrameSet,
    /// Frames that are to be copied into new packs.
    pub(super) moves: Moves,
    /// Contents objects that replace those among the dead.
    pub(super) new_contents: Vec<Contents>,
    /// Bytes of unneeded frames in packs that are kept.
    pub(super) unreclaimed_bytes: u64,
    pub(super) warnings: Vec<String>,
    /// Where each live frame lies when all is done.
    homes: HashMap<FrameName, FramePlace>,
    /// Runs whose locations are written anew.
    relocated: BTreeSet<RunId>,
}

/// The runs of a group by what is known of their end.
struct Runs {
    /// Committed, kept or forgotten: nobody works in them any more.
    finished: HashSet<RunId>,
    /// Registered less than a lease ago and not known to be finished.
    under_way: HashSet<RunId>,
}

/// A locations object as it was found.
struct FoundLocations {
    key: String,
    body: Locations,
}

/// Reads what the plan is made of.
struct Planner<'a> {
    repository: &'a Repository,
    group: &'a GroupView,
    listing: &'a Listing,
    now: Timestamp,
    /// Objects that are condemned already.
    condemned: HashSet<String>,
    plan: GroupPlan,
}

impl GroupPlan {
    pub(super) async fn work_out(
        viewer: &Viewer,
        group: &GroupView,
        history: &History,
        listing: &Listing,
        now: Timestamp,
    ) -> Result<Self, VaultError> {
        let repository = viewer.repository();
        let (condemnations, _) = repository.condemnations(group).await?;
        let condemned = condemnations.into_iter().flat_map(|found| found.body.objects).collect();
        let mut planner = Planner { repository, group, listing, now, condemned, plan: Self::default() };
        let runs = planner.read_snapshots(history).await?;
        let locations = planner.read_locations().await?;
        planner.settle_packs(&runs, &locations).await?;
        planner.settle_locations(&runs, locations);
        planner.settle_contents().await?;
        planner.settle_the_rest(&runs).await?;
        Ok(planner.plan)
    }

    /// Notes where frames lie that were moved to a new pack. Where everything in a pack was moved, and nothing else, the
    /// new pack is the old one, byte for byte and by name: it must not be deleted as the old one.
    pub(super) fn rehome(&mut self, group: &GroupView, pack: &StoredPack) {
        self.homes.extend(places_of(pack));
        self.dead.remove(&layout::pack(group.id, &pack.hash));
    }

    /// The locations objects of the runs whose old ones go.
    pub(super) fn new_locations(&self) -> Vec<Locations> {
        let mut runs: BTreeMap<RunId, BTreeMap<Sha256Digest, PackLocations>> = BTreeMap::new();
        for (name, place) in self.homes.iter().filter(|(name, _)| self.relocated.contains(&name.run)) {
            let packs = runs.entry(name.run).or_default();
            let pack = packs.entry(place.pack).or_insert_with(|| PackLocations {
                pack: place.pack,
                frames: Vec::new(),
                size: place.size,
            });
            pack.frames.push(place.frame);
        }
        let objects = runs.into_iter().flat_map(|(run, packs)| {
            let packs = packs.into_values().map(|mut pack| {
                pack.frames.sort_unstable_by_key(|frame| frame.ordinal);
                pack
            });
            split_locations(run, packs, LOCATIONS_FRAMES)
        });
        objects.collect()
    }
}

impl<'a> Planner<'a> {
    /// The objects below a folder.
    fn below(&self, folder: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> + use<'a> {
        let prefix = format!("{folder}/");
        let end = prefix.clone();
        self.listing.range(prefix..).take_while(move |(key, _)| key.starts_with(&end))
    }

    fn is_old(&self, entry: &Entry) -> bool {
        self.now.as_second() - entry.modified.as_second() >= LEASE_DAYS * SECONDS_OF_A_DAY
    }

    /// Reads the parts of the group's snapshots: what they need, and which runs are over.
    async fn read_snapshots(&mut self, history: &History) -> Result<Runs, VaultError> {
        let mut finished = HashSet::new();
        let mut kept_parts = HashSet::new();
        let mut left_parts = Vec::new();
        for recorded in &history.snapshots {
            let key = layout::snapshot(recorded.writer, recorded.sequence);
            if recorded.group != self.group.id {
                continue;
            }
            let Ok(manifest) = &recorded.manifest else {
                // A live one that cannot be read holds the whole group back.
                if !recorded.is_live() {
                    self.plan.dead.extend(self.below(&format!("{key}.sig")).map(|(key, _)| key.clone()));
                    self.plan.dead.insert(key);
                }
                continue;
            };
            let part_key = layout::part(self.group.id, &manifest.part);
            let part = self.repository.part(manifest, self.group).await;
            if recorded.is_live() {
                let part = part.map_err(not_whole)?;
                finished.insert(part.run);
                kept_parts.insert(part_key);
                for record in &part.runs {
                    self.plan.live.insert_all(record.run, record.needed().map(|frame| frame.ordinal));
                }
            } else {
                match part {
                    Ok(part) => {
                        finished.insert(part.run);
                    }
                    Err(error @ VaultError::Store(_)) => return Err(error),
                    Err(_) => {}
                }
                self.plan.dead.extend(self.below(&format!("{key}.sig")).map(|(key, _)| key.clone()));
                self.plan.dead.insert(key);
                left_parts.push(part_key);
            }
        }
        let unneeded = left_parts.into_iter().filter(|key| !kept_parts.contains(key));
        let unneeded: Vec<String> = unneeded.filter(|key| self.listing.contains_key(key)).collect();
        self.plan.dead.extend(unneeded);
        // A part that no manifest names is of a run that was killed just before its end, or is about to end.
        let orphans = self.below(&layout::parts(self.group.id));
        let orphans = orphans.filter(|(key, entry)| !kept_parts.contains(*key) && self.is_old(entry));
        let orphans: Vec<String> = orphans.map(|(key, _)| key.clone()).collect();
        self.plan.dead.extend(orphans);
        let under_way = self.below(&layout::runs(self.group.id)).filter_map(|(key, entry)| {
            let run: RunId = key.rsplit('/').next()?.parse().ok()?;
            (!finished.contains(&run) && !self.is_old(entry)).then_some(run)
        });
        let under_way = under_way.collect();
        Ok(Runs { finished, under_way })
    }

    async fn read_locations(&mut self) -> Result<Vec<FoundLocations>, VaultError> {
        let mut found = Vec::new();
        for (key, _) in self.below(&layout::locations_of(self.group.id)) {
            let run = key.split('/').nth(2).and_then(|run| run.parse::<RunId>().ok());
            let Some(run) = run else { continue };
            match self.repository.locations_object(self.group, run, key).await {
                Ok(body) => found.push(FoundLocations { key: key.clone(), body }),
                // What it alone located may lie in any pack.
                Err(error) => return Err(not_whole(error)),
            }
        }
        Ok(found)
    }

    /// Chooses a home for every live frame, and finds the packs that are no home to any.
    async fn settle_packs(&mut self, runs: &Runs, locations: &[FoundLocations]) -> Result<(), VaultError> {
        let mut places = FramePlaces::new();
        for found in locations {
            add_places(&mut places, &found.body);
        }
        let (listing, group) = (self.listing, self.group.id);
        let pack_key = |pack: &Sha256Digest| layout::pack(group, pack);
        let is_there = |place: &FramePlace| {
            listing.get(&pack_key(&place.pack)).is_some_and(|entry| entry.size == place.size)
        };
        let is_somewhere =
            |name: &FrameName| places.get(name).is_some_and(|places| places.iter().any(is_there));
        self.see_that_all_are_somewhere(is_somewhere).await?;
        // What a run under way has stored may be younger than the listing.
        for name in places.keys().filter(|name| runs.under_way.contains(&name.run)) {
            self.plan.live.insert(*name);
        }
        let mut packs: BTreeMap<Sha256Digest, Vec<(FrameName, FramePlace)>> = BTreeMap::new();
        for (name, places) in &places {
            for place in places.iter().filter(|place| is_there(place)) {
                packs.entry(place.pack).or_default().push((*name, *place));
            }
        }
        let live_bytes = |frames: &[(FrameName, FramePlace)]| {
            let live = frames.iter().filter(|(name, _)| self.plan.live.contains(*name));
            live.map(|(_, place)| u64::from(place.frame.length)).sum::<u64>()
        };
        // A pack that is condemned already stays so where another one holds the same frames.
        let mut order: Vec<_> = packs
            .iter()
            .map(|(pack, frames)| {
                let is_condemned = self.condemned.contains(&pack_key(pack));
                (is_condemned, std::cmp::Reverse(live_bytes(frames)), *pack)
            })
            .collect();
        order.sort_unstable();
        let mut homes: HashMap<FrameName, FramePlace> = HashMap::new();
        for (_, _, pack) in &order {
            for (name, place) in packs[pack].iter().filter(|(name, _)| self.plan.live.contains(*name)) {
                homes.entry(*name).or_insert(*place);
            }
        }
        let (mut dead, mut thin, mut small) = (Vec::new(), Vec::new(), Vec::new());
        for (pack, frames) in &packs {
            let bytes = |is_home: bool| {
                let is_at_home = |(name, _): &&(FrameName, FramePlace)| {
                    homes.get(name).is_some_and(|home| home.pack == *pack) == is_home
                };
                frames.iter().filter(is_at_home).map(|(_, p)| u64::from(p.frame.length)).sum::<u64>()
            };
            let (home, other) = (bytes(true), bytes(false));
            let is_worked_on = frames.iter().any(|(name, _)| runs.under_way.contains(&name.run));
            if home == 0 {
                dead.push(*pack);
            } else if is_worked_on {
                self.plan.unreclaimed_bytes += other;
            } else if other * 100 >= (home + other) * REPACK_PERCENT {
                thin.push(*pack);
            } else {
                self.plan.unreclaimed_bytes += other;
                if home + other < SMALL_PACK {
                    small.push(*pack);
                }
            }
        }
        if small.len() + thin.len() >= SMALL_PACKS {
            thin.append(&mut small);
        }
        for pack in thin {
            let mut frames: Vec<_> = packs[&pack]
                .iter()
                .filter(|(name, _)| homes.get(name).is_some_and(|home| home.pack == pack))
                .copied()
                .collect();
            frames.sort_unstable_by_key(|(_, place)| place.frame.offset);
            self.plan.moves.insert(pack, frames);
            dead.push(pack);
        }
        self.plan.dead.extend(dead.iter().map(pack_key));
        self.plan.homes = homes;
        self.settle_unlocated(runs, &packs).await
    }

    /// A needed frame without a place may lie in any pack, as long as no repair has looked for it in vain.
    async fn see_that_all_are_somewhere(
        &mut self,
        is_somewhere: impl Fn(&FrameName) -> bool,
    ) -> Result<(), VaultError> {
        let homeless: FrameSet = self.plan.live.iter().filter(|name| !is_somewhere(name)).collect();
        if homeless.is_empty() {
            return Ok(());
        }
        let (marked, _) = self.repository.losses(self.group).await?;
        let unexplained = homeless.minus(&marked).len();
        if unexplained > 0 {
            let first = format!("nothing says where {unexplained} frames lie that snapshots need");
            return Err(VaultError::NotWhole { first, others: 0 });
        }
        self.plan
            .warnings
            .push(format!("{} frames that snapshots need are lost: see `check`", homeless.len()));
        Ok(())
    }

    /// Packs that nothing locates are of runs that were killed before they wrote their index, or have not yet.
    async fn settle_unlocated(
        &mut self,
        runs: &Runs,
        located: &BTreeMap<Sha256Digest, Vec<(FrameName, FramePlace)>>,
    ) -> Result<(), VaultError> {
        for (key, entry) in self.below(&layout::packs(self.group.id)) {
            let Some(pack) = hash_of(key).filter(|pack| !located.contains_key(pack)) else { continue };
            if !self.is_old(entry) {
                let range = 0..entry.size.min(MAX_HEADER);
                let beginning = match self.repository.pack_range(self.group.id, &pack, range).await {
                    Ok(beginning) => beginning,
                    Err(error @ VaultError::Store(_)) => return Err(error),
                    Err(_) => continue,
                };
                match read_header(&beginning, &self.repository.id, self.group.id) {
                    Ok((_, keys)) if keys.iter().all(|key| runs.finished.contains(&key.run)) => {}
                    Ok(_) => continue,
                    Err(reason) => {
                        self.plan.warnings.push(format!("`{key}`: {reason}"));
                        continue;
                    }
                }
            }
            self.plan.dead.insert(key.clone());
        }
        Ok(())
    }

    /// Locations that name packs which go are written anew; so are those of a run that has many.
    fn settle_locations(&mut self, runs: &Runs, locations: Vec<FoundLocations>) {
        let mut by_run: BTreeMap<RunId, Vec<FoundLocations>> = BTreeMap::new();
        for found in locations {
            by_run.entry(found.body.run).or_default().push(found);
        }
        for (run, objects) in by_run {
            if runs.under_way.contains(&run) {
                continue;
            }
            let homes: Vec<_> = self.plan.homes.iter().filter(|(name, _)| name.run == run).collect();
            let (condemned, standing): (Vec<_>, Vec<_>) =
                objects.into_iter().partition(|found| self.condemned.contains(&found.key));
            let mut told = FramePlaces::new();
            for found in &standing {
                add_places(&mut told, &found.body);
            }
            let goes = |pack: &Sha256Digest| self.plan.dead.contains(&layout::pack(self.group.id, pack));
            let names_only_what_stays =
                standing.iter().flat_map(|found| &found.body.packs).all(|pack| !goes(&pack.pack));
            let tells_all =
                homes.iter().all(|(name, home)| told.get(name).is_some_and(|places| places.contains(home)));
            let are_few = standing.len() <= MANY_LOCATIONS + homes.len() / LOCATIONS_FRAMES;
            let is_fine = names_only_what_stays && tells_all && are_few;
            self.plan.dead.extend(condemned.into_iter().map(|found| found.key));
            if !is_fine || homes.is_empty() {
                self.plan.dead.extend(standing.into_iter().map(|found| found.key));
                if !homes.is_empty() {
                    self.plan.relocated.insert(run);
                }
            }
        }
    }

    /// Contents objects that list unneeded frames are written anew without them.
    async fn settle_contents(&mut self) -> Result<(), VaultError> {
        let mut believable = Believable::new(self.repository, self.group);
        let mut objects = Vec::new();
        for (key, _) in self.below(&layout::contents(self.group.id)) {
            let key_of = |signer: Signer| self.repository.roster.key_of(signer);
            let read =
                self.repository.read_signed::<Contents>(key, Purpose::Contents, self.group, key_of).await;
            match read {
                Ok((signer, contents)) if contents.is_sane() => {
                    let hash = hash_of(key).ok_or(VaultError::Internal("it was read by its hash"))?;
                    if believable.is(signer, &hash).await? {
                        objects.push((self.condemned.contains(key), key.clone(), contents));
                    } else {
                        self.plan.dead.insert(key.clone());
                    }
                }
                Ok(_) => self.plan.warnings.push(format!("`{key}` lists frames that cannot be")),
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(error) => self.plan.warnings.push(error.to_string()),
            }
        }
        objects.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let are_many = objects.iter().filter(|(is_condemned, ..)| !is_condemned).count() > MANY_CONTENTS;
        let mut covered = FrameSet::default();
        let mut carried: BTreeMap<RunId, RunContents> = BTreeMap::new();
        for (_, key, contents) in objects {
            let frames = contents.runs.iter().flat_map(|run| {
                run.frames.iter().map(|frame| FrameName { run: run.run, ordinal: frame.ordinal })
            });
            let frames: Vec<FrameName> = frames.collect();
            let unneeded = frames.iter().filter(|frame| !self.plan.live.contains(**frame));
            let is_clean = unneeded.clone().next().is_none();
            let adds = frames.iter().any(|f| self.plan.live.contains(*f) && !covered.contains(*f));
            if is_clean && adds && !are_many {
                for frame in frames {
                    covered.insert(frame);
                }
                continue;
            }
            for frame in unneeded {
                self.plan.dead_frames.insert(*frame);
            }
            self.plan.dead.insert(key);
            for run in contents.runs {
                for frame in run.frames {
                    let name = FrameName { run: run.run, ordinal: frame.ordinal };
                    if self.plan.live.contains(name) && covered.insert(name) {
                        carry(&mut carried, run.run, run.commitment, frame);
                    }
                }
            }
        }
        self.plan.new_contents = split_contents(carried.into_values(), CONTENTS_CHUNKS);
        Ok(())
    }

    /// Registrations of runs that left nothing needed, and losses of frames that nothing needs.
    async fn settle_the_rest(&mut self, runs: &Runs) -> Result<(), VaultError> {
        for (key, _) in self.below(&layout::runs(self.group.id)) {
            let run = key.rsplit('/').next().and_then(|run| run.parse::<RunId>().ok());
            if run.is_some_and(|run| !runs.under_way.contains(&run) && !self.plan.live.has_run(run)) {
                self.plan.dead.insert(key.clone());
            }
        }
        for (key, _) in self.below(&layout::losses(self.group.id)) {
            let key_of = |signer| self.repository.roster.key_of(signer);
            let read = self
                .repository
                .read_signed::<crate::condemn::Loss>(key, Purpose::Loss, self.group, key_of)
                .await;
            match read {
                Ok((_, loss)) => {
                    let mut lost = FrameSet::default();
                    lost.add_records(&loss.frames);
                    if !lost.iter().any(|frame| self.plan.live.contains(frame)) {
                        self.plan.dead.insert(key.clone());
                    }
                }
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(error) => self.plan.warnings.push(error.to_string()),
            }
        }
        Ok(())
    }
}

/// What is damaged leaves a hole in what is known of a group; what is only out of reach ends the prune.
fn not_whole(error: VaultError) -> VaultError {
    match error {
        VaultError::Store(_) => error,
        error => VaultError::NotWhole { first: error.to_string(), others: 0 },
    }
}

fn carry(carried: &mut BTreeMap<RunId, RunContents>, run: RunId, commitment: [u8; 32], frame: FrameContents) {
    let contents = carried.entry(run).or_insert_with(|| RunContents { run, frames: Vec::new(), commitment });
    if contents.commitment == commitment {
        contents.frames.push(frame);
    }
}
