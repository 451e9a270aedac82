//! Works out, for one group, what is needed, where it stays, and what is unneeded.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use lifeboat_core::Sha256Digest;
use lifeboat_core::progress::Progress;
use lifeboat_store::Entry;
use roaring::RoaringBitmap;

use super::evidence::{disproved, hear_trailers};
use super::homes::{Claims, Fate, Homes, Known, Rank, is_underused};
use super::runs::{RunState, Runs, is_old};
use super::{Listing, Round, RunsUnderWay, below};
use crate::error::{ObjectError, VaultError};
use crate::format::authority::{Standing, Word};
use crate::format::frame_set::FrameSet;
use crate::format::index::{
    Contents, FramePlace, LOCATIONS_FRAMES, Locations, PackLocations, StoredPack, split_locations,
};
use crate::format::layout;
use crate::format::pack::{MAX_HEADER, PACK_BYTES, read_header};
use crate::format::signed::SignedObjectError;
use crate::ids::{FrameName, RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::repository::batch::batches;
use crate::repository::locate::OF_ANOTHER_RUN;
use crate::repository::objects::hash_of;
use crate::repository::open::Repository;
use crate::repository::repack::Moves;
use crate::snapshots::history::History;

/// Packs below this size are merged once there are [`SMALL_PACKS`] of them.
const SMALL_PACK: u64 = PACK_BYTES as u64 / 4;
const SMALL_PACKS: usize = 8;

/// What happens to a group's objects.
#[derive(Default)]
pub(super) struct GroupPlan {
    /// Frames that are needed by a snapshot, or by a run that has stored its part.
    pub(super) live: FrameSet,
    /// The names of objects that are not needed.
    pub(super) dead: BTreeSet<String>,
    /// Those of them that are not deleted yet, because they show that runs are over.
    pub(super) evidence: BTreeSet<String>,
    /// Unneeded frames in packs that will be deleted.
    pub(super) dead_frames: FrameSet,
    /// Frames to copy into new packs.
    pub(super) moves: Moves,
    /// Contents objects that replace those among the dead.
    pub(super) new_contents: Vec<Contents>,
    /// Bytes of unneeded frames in packs that are kept.
    pub(super) unreclaimed_bytes: u64,
    /// Bytes of packs that stay because runs under way have frames in them.
    pub(super) under_way_bytes: u64,
    /// The runs under way, by who registered them.
    pub(super) under_way: Vec<RunsUnderWay>,
    pub(super) warnings: Vec<String>,
    /// The final place of each needed frame.
    pub(super) homes: Homes,
    /// Runs whose locations are rewritten. Their old locations objects are deleted.
    pub(super) relocated: BTreeSet<RunId>,
    /// Frames of other runs that were moved: their places are written beside the old ones, which stay.
    pub(super) added: FrameSet,
}

/// A locations object in the repository.
pub(super) struct FoundLocations {
    pub(super) key: String,
    pub(super) run: RunId,
    /// The existing packs that it names, by their numbers.
    pub(super) packs: RoaringBitmap,
    pub(super) is_condemned: bool,
}

/// The locations objects of a group.
#[derive(Default)]
struct ReadLocations {
    claims: Claims,
    found: Vec<FoundLocations>,
    /// The names of objects that are whole but make no sense, with a warning for each.
    malformed: Vec<(String, String)>,
}

/// The existing packs of the group.
pub(super) struct ListedPacks {
    pub(super) sizes: HashMap<Sha256Digest, u64>,
    numbers: HashMap<Sha256Digest, u32>,
}

impl ListedPacks {
    fn below(folder: &str, listing: &Listing) -> Self {
        let mut packs = Self { sizes: HashMap::new(), numbers: HashMap::new() };
        for (key, entry) in below(listing, folder) {
            let Some(pack) = hash_of(key) else { continue };
            packs.sizes.insert(pack, entry.size);
            packs.numbers.insert(pack, u32::try_from(packs.numbers.len()).unwrap_or(u32::MAX));
        }
        packs
    }

    /// The number of an existing pack.
    pub(super) fn number(&self, pack: &Sha256Digest) -> Option<u32> {
        self.numbers.get(pack).copied()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Sha256Digest> {
        self.sizes.keys()
    }
}

/// Reads the input of the plan.
pub(super) struct Planner<'a> {
    pub(super) repository: &'a Repository,
    pub(super) group: &'a GroupView,
    pub(super) listing: &'a Listing,
    /// The signer of this prune.
    pub(super) signer: Signer,
    pub(super) now: Timestamp,
    /// How long condemned objects stay.
    pub(super) grace: SignedDuration,
    /// Objects that are already condemned.
    pub(super) condemned: HashSet<&'a str>,
    pub(super) plan: GroupPlan,
}

impl GroupPlan {
    /// Works out what a round does, given the names of the objects that are `condemned` already.
    pub(super) async fn work_out(
        round: &Round<'_>,
        history: &History,
        condemned: HashSet<&str>,
    ) -> Result<Self, VaultError> {
        let Round { repository, group, listing, now, .. } = *round;
        let (signer, grace) = (round.pen.signer, round.options.grace);
        let progress = &*round.context.progress;
        let plan = Self::default();
        let mut planner = Planner { repository, group, listing, signer, now, grace, condemned, plan };
        let (needs, mut runs) = planner.read_needs(history).await?;
        planner.plan.live = needs.live;
        planner.plan.dead = needs.dead;
        planner.plan.evidence = needs.evidence;
        let packs = ListedPacks::below(&layout::packs(group.id), listing);
        let ReadLocations { mut claims, found, malformed } = planner.read_locations(&runs, &packs).await?;
        for (key, warning) in malformed {
            planner.plan.warnings.push(warning);
            planner.plan.dead.insert(key);
        }
        planner.hear_unlocated(&mut runs, &needs.made_snapshots, &mut claims, &packs).await?;
        planner.choose_homes(&mut claims, &mut runs, &packs, progress).await?;
        planner.settle_packs(&claims);
        planner.settle_locations(&runs, &claims, &packs, found);
        planner.settle_contents(&runs).await?;
        planner.settle_the_rest(&runs).await?;
        planner.plan.under_way = runs.found_under_way.into_values().collect();
        Ok(planner.plan)
    }

    /// Notes the new places of frames that were moved to a new pack. If everything in a pack was moved, and nothing
    /// else, the new pack equals the old one, byte for byte and by name: it must not be deleted as the old one.
    pub(super) fn rehome(&mut self, group: &GroupView, pack: &StoredPack) {
        self.homes.places.extend(pack.places());
        self.dead.remove(&layout::pack(group.id, &pack.hash));
    }

    /// The locations objects of the runs whose old ones are deleted, and of moved frames of others.
    pub(super) fn new_locations(&self) -> Vec<Locations> {
        let mut runs: BTreeMap<RunId, BTreeMap<Sha256Digest, PackLocations>> = BTreeMap::new();
        let is_written = |name: &FrameName| self.relocated.contains(&name.run) || self.added.contains(*name);
        for (name, place) in self.homes.places.iter().filter(|(name, _)| is_written(name)) {
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
    pub(super) fn below(&self, folder: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> + use<'a> {
        below(self.listing, folder)
    }

    /// Reads the locations objects in the order in which they were stored: their claims, and the packs that each names.
    async fn read_locations(&self, runs: &Runs, packs: &ListedPacks) -> Result<ReadLocations, VaultError> {
        let mut entries: Vec<_> = self.below(&layout::locations_of(self.group.id)).collect();
        entries.sort_by_key(|(key, entry)| (entry.modified, *key));
        let known = Known { packs: &packs.sizes, live: &self.plan.live, under_way: &runs.under_way };
        let mut all = ReadLocations::default();
        for batch in batches(entries, |(_, entry)| entry.size) {
            let (repository, group) = (self.repository, self.group);
            let read = batch.iter().map(|(key, _)| async move {
                let run = key.split('/').nth(2).and_then(|run| run.parse::<RunId>().ok())?;
                let read = repository.read_stated::<Locations>(key, group, Word::Places).await;
                let in_place = |(signer, body): (Signer, Locations)| {
                    if body.run == run {
                        return Ok((signer, body));
                    }
                    Err(SignedObjectError::Unsound(signer, OF_ANOTHER_RUN.to_owned()))
                };
                Some(read.map(|read| read.map(|stated| stated.and_then(in_place))))
            });
            for (read, (key, entry)) in join_all(read).await.into_iter().zip(&batch) {
                // If it is damaged, frames that only it located may be in any pack.
                let Some(stated) = read.transpose()? else { continue };
                let (signer, body) = match stated.map_err(|error| not_whole(&error))? {
                    Ok(read) => read,
                    Err(unsound) => {
                        // It is whole, so its signer signed it like this; no honest signer misses anything without it.
                        all.malformed.push(((*key).clone(), format!("`{key}`: {unsound}")));
                        continue;
                    }
                };
                let rank = match self.repository.roster.standing(signer, self.group.id) {
                    Standing::Keeper | Standing::Root => Rank::Pruner,
                    _ => Rank::Stated(entry.modified),
                };
                let is_condemned = self.condemned.contains(key.as_str());
                all.claims.add(&body, (signer, rank), !is_condemned, &known);
                let named = body.packs.iter().filter_map(|located| packs.number(&located.pack)).collect();
                let key = (*key).clone();
                all.found.push(FoundLocations { key, run: body.run, packs: named, is_condemned });
            }
        }
        Ok(all)
    }

    /// Chooses a home for every needed frame. If a frame has several places, trailers decide which of them are true,
    /// and the home is read and hashed. The same goes for every needed frame in the trailer of a pack that will be
    /// deleted.
    async fn choose_homes(
        &mut self,
        claims: &mut Claims,
        runs: &mut Runs,
        packs: &ListedPacks,
        progress: &dyn Progress,
    ) -> Result<(), VaultError> {
        let contested = claims.contested_packs().into_iter().collect();
        self.hear(claims, packs, runs, contested).await?;
        let mut proved: HashSet<(FrameName, FramePlace)> = HashSet::new();
        let homes = loop {
            let mut registrants = HashMap::new();
            for run in claims.contested_runs() {
                let facts = runs.facts(self.repository, self.group, self.listing, run).await?;
                registrants.extend(facts.registrant.map(|signer| (run, signer)));
            }
            claims.name_registrants(&registrants);
            let homes = self.prove_homes(claims, &mut proved, progress).await?;
            let unheard = claims.unheard(&homes, |needed, unneeded| {
                is_underused(needed, unneeded) || needed + unneeded < SMALL_PACK
            });
            if unheard.is_empty() {
                break homes;
            }
            if self.hear(claims, packs, runs, unheard).await? {
                // New claims may contradict trailers that were not read for them before.
                let contested = claims.contested_packs().into_iter().collect();
                self.hear(claims, packs, runs, contested).await?;
            }
        };
        let strangers = homes.strangers.len();
        if strangers > 0 {
            self.plan.warnings.push(format!(
                "{strangers} frames lie in packs that others than their own hosts stored as well: all of their places \
                 are kept"
            ));
        }
        let disputed = homes.disputed.len();
        if disputed > 0 {
            let warning = format!(
                "{disputed} frames are kept wherever they are said to lie, since locations objects contradict each \
                 other: `check` names who signed them"
            );
            self.plan.warnings.push(warning);
        }
        self.plan.homes = homes;
        self.ensure_all_are_somewhere(claims).await
    }

    /// Reads the trailers of packs. Returns whether one lists a needed frame that no other claim places there.
    async fn hear(
        &mut self,
        claims: &mut Claims,
        packs: &ListedPacks,
        runs: &Runs,
        wanted: Vec<Sha256Digest>,
    ) -> Result<bool, VaultError> {
        let size_of = |pack| packs.sizes.get(&pack).map(|size| (pack, *size));
        let (listed, gone): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|pack| size_of(*pack).is_some());
        for pack in &gone {
            claims.leave_open(pack);
        }
        let wanted = listed.into_iter().filter_map(size_of).collect();
        let known = Known { packs: &packs.sizes, live: &self.plan.live, under_way: &runs.under_way };
        let (is_news, unread) = hear_trailers(self.repository, self.group, claims, &known, wanted).await?;
        for error in unread {
            let warning = format!("{error}; the pack is left as it is: see `check`");
            if !self.plan.warnings.contains(&warning) {
                self.plan.warnings.push(warning);
            }
        }
        Ok(is_news)
    }

    /// Reads and hashes the homes for which other places may be deleted, until none of them is false.
    async fn prove_homes(
        &mut self,
        claims: &mut Claims,
        proved: &mut HashSet<(FrameName, FramePlace)>,
        progress: &dyn Progress,
    ) -> Result<Homes, VaultError> {
        let group = self.group.id;
        loop {
            let mut homes = claims.settle(|pack| self.condemned.contains(layout::pack(group, pack).as_str()));
            homes.unproved.retain(|unproved| !proved.contains(unproved));
            if homes.unproved.is_empty() {
                return Ok(homes);
            }
            let unlike = disproved(self.repository, self.group, &homes.unproved, progress).await?;
            proved.extend(homes.unproved.iter().filter(|checked| !unlike.contains(checked)).copied());
            for (name, place) in &unlike {
                claims.disprove(*name, place);
                let at = layout::pack(group, &place.pack);
                let said = format!("frame {} of run {} does not lie in `{at}`", name.ordinal, name.run);
                self.plan.warnings.push(format!("{said}, where a locations object puts it"));
            }
        }
    }

    /// A needed frame without a place may be in any pack, unless a repair has looked for it in vain.
    async fn ensure_all_are_somewhere(&mut self, claims: &Claims) -> Result<(), VaultError> {
        let homeless: FrameSet = self.plan.live.iter().filter(|name| !claims.place(*name)).collect();
        if homeless.is_empty() {
            return Ok(());
        }
        let (marked, _) = self.repository.losses(self.group, Word::LostToPrune).await?;
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

    /// Finds the packs to delete: those in which no needed frame stays, and those whose needed frames are worth moving.
    fn settle_packs(&mut self, claims: &Claims) {
        let mut of_pack: HashMap<Sha256Digest, Vec<(FrameName, FramePlace)>> = HashMap::new();
        for (name, place) in &self.plan.homes.places {
            of_pack.entry(place.pack).or_default().push((*name, *place));
        }
        let (mut going, mut underused, mut small) = (Vec::new(), Vec::new(), Vec::new());
        for (pack, fate) in claims.fates(&self.plan.homes) {
            match fate {
                Fate::Goes => going.push(pack),
                Fate::Stays { unneeded } => match claims.kept_for_runs_under_way(&pack, &self.plan.homes) {
                    0 => self.plan.unreclaimed_bytes += unneeded,
                    kept => self.plan.under_way_bytes += kept,
                },
                Fate::MayMove { needed, unneeded } if is_underused(needed, unneeded) => underused.push(pack),
                Fate::MayMove { needed, unneeded } => {
                    self.plan.unreclaimed_bytes += unneeded;
                    if needed + unneeded < SMALL_PACK {
                        small.push(pack);
                    }
                }
            }
        }
        if underused.len() + small.len() < SMALL_PACKS {
            small.clear();
        }
        let mut movable = Vec::new();
        for (pack, is_small) in
            underused.into_iter().map(|pack| (pack, false)).chain(small.into_iter().map(|pack| (pack, true)))
        {
            let mut frames = of_pack.remove(&pack).unwrap_or_default();
            frames.sort_unstable_by_key(|(_, place)| place.frame.offset);
            if let Some(unneeded) = self.trailer_allows_moving(claims, &pack, &frames, is_small) {
                movable.push((pack, is_small, unneeded, frames));
            }
        }
        let are_worth_it = movable.len() >= SMALL_PACKS;
        for (pack, is_small, unneeded, frames) in movable {
            if is_small && !are_worth_it {
                continue;
            }
            tracing::debug!("pack {pack} is repacked: {unneeded} bytes of it are unneeded");
            self.plan.moves.insert(pack, frames);
            going.push(pack);
        }
        for pack in &going {
            self.plan.dead.insert(layout::pack(self.group.id, pack));
            if let Some(unneeded) = claims.unneeded_in(pack) {
                self.plan.dead_frames.extend(unneeded);
            }
        }
    }

    /// Whether the pack's own trailer allows moving it: the trailer must list all frames that stay in it and, unless it
    /// is moved because it is small, enough unneeded ones. Returns the number of unneeded bytes. By the claims of
    /// locations objects alone, a host could have every pack moved in every prune.
    fn trailer_allows_moving(
        &mut self,
        claims: &Claims,
        pack: &Sha256Digest,
        frames: &[(FrameName, FramePlace)],
        is_small: bool,
    ) -> Option<u64> {
        let heard = claims.heard(pack)?;
        if !heard.lists_all {
            let key = layout::pack(self.group.id, pack);
            self.plan.warnings.push(format!(
                "`{key}` is left as it is: its trailer does not list all frames that are said to lie in it"
            ));
            return None;
        }
        let needed: u64 = frames.iter().map(|(_, place)| u64::from(place.frame.length)).sum();
        let unneeded = heard.bytes.saturating_sub(needed);
        (is_small || is_underused(needed, unneeded)).then_some(unneeded)
    }

    /// Packs that nothing locates belong to runs that have not written their index yet or were killed before that. If a
    /// pack's locations objects are gone, its trailer lists needed frames; a pack that lists none is deleted.
    async fn hear_unlocated(
        &mut self,
        runs: &mut Runs,
        made_snapshots: &HashMap<RunId, HashSet<WriterId>>,
        claims: &mut Claims,
        packs: &ListedPacks,
    ) -> Result<(), VaultError> {
        let mut over = Vec::new();
        for (key, entry) in self.below(&layout::packs(self.group.id)) {
            let Some(pack) = hash_of(key).filter(|pack| !claims.names(pack)) else { continue };
            if is_old(entry.modified, self.now)
                || self.are_runs_over(runs, made_snapshots, key, &pack, entry.size).await?
            {
                over.push((pack, entry.size));
            }
        }
        let known = Known { packs: &packs.sizes, live: &self.plan.live, under_way: &runs.under_way };
        let (_, unread) = hear_trailers(self.repository, self.group, claims, &known, over).await?;
        self.plan.warnings.extend(unread.iter().map(|error| format!("{error}; the pack is left as it is")));
        Ok(())
    }

    /// Whether all runs whose keys a pack contains are over.
    async fn are_runs_over(
        &mut self,
        runs: &mut Runs,
        made_snapshots: &HashMap<RunId, HashSet<WriterId>>,
        key: &str,
        pack: &Sha256Digest,
        size: u64,
    ) -> Result<bool, VaultError> {
        let range = 0..size.min(MAX_HEADER);
        let beginning = self.repository.pack_range(self.group.id, pack, range).await?;
        let Ok(beginning) = beginning else { return Ok(false) };
        match read_header(&beginning, &self.repository.id, self.group.id) {
            Ok((_, keys)) => {
                for key in keys {
                    let facts = runs.facts(self.repository, self.group, self.listing, key.run).await?;
                    if facts.state(made_snapshots.get(&key.run), self.now) != RunState::Over {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Err(reason) => {
                self.plan.warnings.push(format!("`{key}`: {reason}"));
                Ok(false)
            }
        }
    }
}

/// Damage leaves a gap in what is known of a group.
pub(super) fn not_whole(error: &ObjectError) -> VaultError {
    VaultError::NotWhole { first: error.to_string(), others: 0 }
}
