//! Decides where each needed frame stays, from the claims of locations objects and the evidence in packs.
//!
//! A claim is a statement that a frame is stored in a place. Anyone of the group can make one, so a claim alone makes
//! no other place unneeded: if a frame has several places, the one that stays is read and hashed first
//! ([`Homes::unproved`]), and if two claims give a frame two hashes, neither place is deleted ([`Homes::pinned`]). No
//! place is deleted in favour of one that only a stranger to the run names, true or not: the stranger can delete its
//! copy again.
//!
//! A claim that is the only one may be false as well, and hide where the frame really is. So no pack is deleted before
//! its own trailer was read ([`Claims::unheard`]): what a trailer lists is one more claim.
//!
//! This module reads nothing itself. Its input comes through [`Claims::hear`], [`Claims::leave_open`],
//! [`Claims::name_registrants`] and [`Claims::disprove`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use crate::format::frame_set::FrameSet;
use crate::format::index::{FramePlace, ListedPlaces, Locations};
use crate::format::pack::TrailerFrame;
use crate::ids::{FrameName, RunId, Signer};

/// A pack is repacked when at least this share of it is unneeded, in percent.
const REPACK_PERCENT: u64 = 25;
/// How many claims of one signer about one frame are considered. The packs of further ones are kept.
const MOST_CLAIMS: usize = 4;

/// The priority of a claim's signer when one of several places is chosen; the lowest wins. A writer's later claim never
/// comes before an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A keeper in force or the root, who moves frames.
    Pruner,
    /// The signer of the run's registration, at this time by the storage's clock.
    Registrant(Timestamp),
    /// A pack's own trailer.
    Trailer,
    /// Anyone else, at this time by the storage's clock.
    Stated(Timestamp),
}

/// A statement about a frame's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) place: FramePlace,
    /// The signer; `None` if only a pack's trailer makes the claim.
    pub(super) signer: Option<Signer>,
    pub(super) rank: Rank,
    /// Whether it is in an object that is not condemned.
    pub(super) is_standing: bool,
}

/// An existing pack, and the claims about it.
#[derive(Debug, Default)]
pub(super) struct ClaimedPack {
    size: u64,
    /// The needed frames that are claimed to be in it.
    claimed: Vec<FrameName>,
    /// The sum of their lengths over all claims.
    needed_bytes: u64,
    /// Frames that nothing needs.
    unneeded: FrameSet,
    unneeded_bytes: u64,
    /// Whether its trailer lists frames of a run under way: then it is neither moved nor condemned. A locations object
    /// with such a claim keeps nothing.
    is_under_way: bool,
    /// Whether claims exceed what it can contain, or were omitted. It is not condemned before its trailer was read.
    is_overclaimed: bool,
    /// Whether its trailer cannot be read, so that claims about it are neither confirmed nor refuted.
    is_open: bool,
    /// The result of reading its trailer, once that was done.
    heard: Option<Heard>,
}

/// What a pack's trailer lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    /// The total bytes of the frames that it lists.
    pub(super) bytes: u64,
    /// Whether it lists all needed frames that are claimed to be in the pack.
    pub(super) lists_all: bool,
}

/// All claims about existing packs.
#[derive(Debug, Default)]
pub(super) struct Claims {
    frames: HashMap<FrameName, Vec<Claim>>,
    packs: BTreeMap<Sha256Digest, ClaimedPack>,
}

/// The facts that a prune needs to evaluate claims.
pub(super) struct Known<'a> {
    /// The existing packs, and their sizes.
    pub(super) packs: &'a HashMap<Sha256Digest, u64>,
    /// The frames that are needed.
    pub(super) live: &'a FrameSet,
    /// The runs that may still store frames and refer to them.
    pub(super) under_way: &'a HashSet<RunId>,
}

/// Whether claims place a frame in more than one place.
fn is_contested(claims: &[Claim]) -> bool {
    claims.iter().any(|claim| claim.place != claims[0].place)
}

/// The distinct places in claims.
fn distinct_places(claims: &[Claim]) -> impl Iterator<Item = FramePlace> {
    let is_first =
        |(at, claim): &(usize, &Claim)| claims[..*at].iter().all(|other| other.place != claim.place);
    claims.iter().enumerate().filter(is_first).map(|(_, claim)| claim.place)
}

impl Claims {
    /// Adds one locations object. Claims about packs that do not exist, or have another size, do not count. Earlier
    /// claims of others cannot suppress a claim about a needed frame.
    pub(super) fn add(
        &mut self,
        locations: &Locations,
        (signer, rank): (Signer, Rank),
        is_standing: bool,
        known: &Known<'_>,
    ) {
        let is_under_way = known.under_way.contains(&locations.run);
        for located in &locations.packs {
            if known.packs.get(&located.pack) != Some(&located.size) {
                continue;
            }
            let pack = self.packs.entry(located.pack).or_default();
            pack.size = located.size;
            for frame in &located.frames {
                let name = locations.run.frame(frame.ordinal);
                let place = FramePlace { pack: located.pack, size: located.size, frame: *frame };
                let length = u64::from(frame.length);
                if known.live.contains(name) {
                    let claims = self.frames.entry(name).or_default();
                    let signer = Some(signer);
                    let same = claims.iter_mut().find(|claim| (claim.place, claim.signer) == (place, signer));
                    if let Some(same) = same {
                        same.rank = same.rank.min(rank);
                        same.is_standing |= is_standing;
                    } else if claims.iter().filter(|claim| claim.signer == signer).count() < MOST_CLAIMS {
                        if claims.iter().all(|claim| claim.place != place) {
                            pack.claimed.push(name);
                            pack.needed_bytes = pack.needed_bytes.saturating_add(length);
                        }
                        claims.push(Claim { place, signer, rank, is_standing });
                    } else {
                        pack.is_overclaimed = true;
                    }
                } else if !is_under_way && !pack.unneeded.contains(name) {
                    if pack.unneeded_bytes + length <= pack.size {
                        pack.unneeded.insert(name);
                        pack.unneeded_bytes += length;
                    } else {
                        pack.is_overclaimed = true;
                    }
                }
            }
            pack.is_overclaimed |= pack.needed_bytes.saturating_add(pack.unneeded_bytes) > pack.size;
        }
    }

    /// Whether any claim places frames in the pack.
    pub(super) fn names(&self, pack: &Sha256Digest) -> bool {
        self.packs.contains_key(pack)
    }

    /// Whether a frame is claimed to be anywhere.
    pub(super) fn place(&self, name: FrameName) -> bool {
        self.frames.get(&name).is_some_and(|claims| !claims.is_empty())
    }

    /// Whether an object that is not condemned places a frame here.
    pub(super) fn is_told(&self, name: FrameName, place: &FramePlace) -> bool {
        let claims = self.frames.get(&name).map_or(&[][..], Vec::as_slice);
        claims.iter().any(|claim| claim.place == *place && claim.is_standing)
    }

    /// The packs whose trailers must be read: those with a frame that also has another place, and those with claims for
    /// more than they can contain.
    pub(super) fn contested_packs(&self) -> BTreeSet<Sha256Digest> {
        let contested = self.frames.values().filter(|claims| is_contested(claims));
        let overclaimed = self.packs.iter().filter(|(_, pack)| pack.is_overclaimed).map(|(hash, _)| *hash);
        contested.flatten().map(|claim| claim.place.pack).chain(overclaimed).collect()
    }

    /// The runs of frames that have several places, none of which a pruner chose: the signer of such a run's
    /// registration decides.
    pub(super) fn contested_runs(&self) -> BTreeSet<RunId> {
        let is_open = |claim: &Claim| self.packs.get(&claim.place.pack).is_some_and(|pack| pack.is_open);
        let is_chosen = |claim: &Claim| claim.rank == Rank::Pruner && !is_open(claim);
        let is_undecided = |claims: &[Claim]| is_contested(claims) && !claims.iter().any(is_chosen);
        self.frames.iter().filter(|(_, claims)| is_undecided(claims)).map(|(name, _)| name.run).collect()
    }

    /// Notes who registered runs: for the frames of a run, its registrant comes before any other writer.
    pub(super) fn name_registrants(&mut self, registrants: &HashMap<RunId, Signer>) {
        for (name, claims) in &mut self.frames {
            let Some(registrant) = registrants.get(&name.run) else { continue };
            for claim in claims.iter_mut().filter(|claim| claim.signer == Some(*registrant)) {
                if let Rank::Stated(at) = claim.rank {
                    claim.rank = Rank::Registrant(at);
                }
            }
        }
    }

    /// The packs that will be deleted or moved and whose trailers were not read yet.
    pub(super) fn unheard(&self, homes: &Homes, is_moved: impl Fn(u64, u64) -> bool) -> Vec<Sha256Digest> {
        let goes = |fate: &Fate| match fate {
            Fate::Goes => true,
            Fate::MayMove { needed, unneeded } => is_moved(*needed, *unneeded),
            Fate::Stays { .. } => false,
        };
        let going = self.fates(homes).into_iter().filter(|(_, fate)| goes(fate)).map(|(pack, _)| pack);
        going.filter(|pack| self.heard(pack).is_none()).collect()
    }

    /// How many bytes of a pack stay only because a run under way has frames in it.
    pub(super) fn kept_for_runs_under_way(&self, pack: &Sha256Digest, homes: &Homes) -> u64 {
        let Some(claimed) = self.packs.get(pack).filter(|claimed| claimed.is_under_way) else { return 0 };
        let is_at_home = |name: &&FrameName| homes.places.get(name).is_some_and(|home| home.pack == *pack);
        let needed = claimed.claimed.iter().filter(is_at_home).map(|name| homes.places[name].frame.length);
        claimed.size.saturating_sub(needed.map(u64::from).sum())
    }

    /// The result of reading a pack's trailer, if that was done.
    pub(super) fn heard(&self, pack: &Sha256Digest) -> Option<Heard> {
        self.packs.get(pack)?.heard
    }

    /// Adds a pack's trailer. Each needed frame that it lists is one more claim; claims about the pack that it refutes
    /// are dropped, unless one is the only claim about its frame. For a pack with claims for more than it can contain,
    /// the trailer decides which of its frames are unneeded. Returns whether a claim is new.
    pub(super) fn hear(
        &mut self,
        (pack, size): (&Sha256Digest, u64),
        trailer: &[TrailerFrame],
        Known { live, under_way, .. }: &Known<'_>,
    ) -> bool {
        let listed = ListedPlaces::new(trailer);
        let claimed = self.packs.entry(*pack).or_default();
        claimed.size = size;
        claimed.is_under_way = trailer.iter().any(|frame| under_way.contains(&frame.run));
        let (mut is_news, mut is_left_out) = (false, false);
        for frame in trailer.iter().filter(|frame| live.contains(frame.name())) {
            let claims = self.frames.entry(frame.name()).or_default();
            let place = FramePlace { pack: *pack, size, frame: frame.into() };
            if claims.iter().any(|claim| claim.place == place) {
                continue;
            }
            if claims.iter().filter(|claim| claim.signer.is_none()).count() >= MOST_CLAIMS {
                is_left_out = true;
                continue;
            }
            claims.push(Claim { place, signer: None, rank: Rank::Trailer, is_standing: false });
            claimed.claimed.push(frame.name());
            is_news = true;
        }
        let mut lists_all = true;
        for name in &claimed.claimed {
            let Some(claims) = self.frames.get_mut(name) else { continue };
            let is_denied =
                |claim: &Claim| claim.place.pack == *pack && !listed.has(*name, &claim.place.frame);
            if is_contested(claims) {
                claims.retain(|claim| !is_denied(claim));
            }
            lists_all &= !claims.iter().any(is_denied);
        }
        let bytes = trailer.iter().map(|frame| u64::from(frame.length)).sum();
        claimed.heard = Some(Heard { bytes, lists_all });
        if claimed.is_overclaimed {
            let unneeded = || trailer.iter().filter(|frame| !live.contains(frame.name()));
            claimed.unneeded = unneeded().map(TrailerFrame::name).collect();
            claimed.unneeded_bytes = unneeded().map(|frame| u64::from(frame.length)).sum();
        }
        // An omitted needed frame keeps the pack.
        claimed.is_overclaimed = is_left_out;
        is_news
    }

    /// Notes that a pack's trailer cannot be read. No other place is deleted because of a claim about this pack, and
    /// the pack itself is not deleted: any frame may be in it.
    pub(super) fn leave_open(&mut self, pack: &Sha256Digest) {
        self.packs.entry(*pack).or_default().is_open = true;
    }

    /// Drops a place whose bytes are not the frame.
    pub(super) fn disprove(&mut self, name: FrameName, place: &FramePlace) {
        if let Some(claims) = self.frames.get_mut(&name) {
            claims.retain(|claim| claim.place != *place);
        }
    }

    /// Chooses the final place of every needed frame.
    pub(super) fn settle(&self, condemned: impl Fn(&Sha256Digest) -> bool) -> Homes {
        let mut live_bytes: HashMap<Sha256Digest, u64> = HashMap::new();
        for place in self.frames.values().flat_map(|claims| distinct_places(claims)) {
            *live_bytes.entry(place.pack).or_default() += u64::from(place.frame.length);
        }
        let is_open = |claim: &Claim| self.packs.get(&claim.place.pack).is_some_and(|pack| pack.is_open);
        let mut homes = Homes::default();
        for (name, claims) in &self.frames {
            let order = |claim: &&Claim| {
                let pack = claim.place.pack;
                let bytes = Reverse(live_bytes.get(&pack).copied().unwrap_or_default());
                (is_open(claim), claim.rank, condemned(&pack), bytes, pack, claim.place.frame.offset)
            };
            let Some(home) = claims.iter().min_by_key(order) else { continue };
            homes.places.insert(*name, home.place);
            let others = claims.iter().filter(|claim| claim.place != home.place);
            if !is_contested(claims) {
                continue;
            }
            homes.contested.insert(*name);
            // Another host can delete its pack again at any time, however true its copy is.
            let is_strangers = matches!(home.rank, Rank::Stated(_))
                && claims.iter().any(|claim| claim.place != home.place && claim.signer != home.signer);
            let is_same = |claim: &Claim| {
                let (one, other) = (&claim.place.frame, &home.place.frame);
                one.hash == other.hash && one.length == other.length
            };
            let is_disputed = claims.iter().any(|claim| !is_open(claim) && !is_same(claim));
            if is_disputed || is_open(home) {
                homes.disputed.insert(*name);
                homes.pinned.extend(claims.iter().map(|claim| claim.place.pack));
            } else if is_strangers {
                homes.strangers.insert(*name);
                homes.pinned.extend(claims.iter().map(|claim| claim.place.pack));
            } else {
                let mut is_needed = false;
                for other in others {
                    if is_open(other) {
                        homes.pinned.insert(other.place.pack);
                    } else {
                        is_needed = true;
                    }
                }
                if is_needed {
                    homes.unproved.push((*name, home.place));
                }
            }
        }
        homes.unproved.sort_unstable_by_key(|(name, place)| (place.pack, place.frame.offset, *name));
        homes
    }

    /// What happens to each pack that is claimed to contain frames.
    pub(super) fn fates(&self, homes: &Homes) -> BTreeMap<Sha256Digest, Fate> {
        let mut at_home: HashMap<Sha256Digest, u64> = HashMap::new();
        for place in homes.places.values() {
            *at_home.entry(place.pack).or_default() += u64::from(place.frame.length);
        }
        let mut away: HashMap<Sha256Digest, u64> = HashMap::new();
        for (name, claims) in &self.frames {
            let elsewhere = |place: &FramePlace| homes.places.get(name) != Some(place);
            for place in distinct_places(claims).filter(elsewhere) {
                *away.entry(place.pack).or_default() += u64::from(place.frame.length);
            }
        }
        let fate = |(hash, pack): (&Sha256Digest, &ClaimedPack)| {
            let needed = at_home.get(hash).copied().unwrap_or_default();
            let unneeded = pack.unneeded_bytes + away.get(hash).copied().unwrap_or_default();
            let is_pinned = homes.pinned.contains(hash);
            let is_kept = pack.is_under_way || pack.is_overclaimed || pack.is_open || is_pinned;
            (*hash, fate_of(needed, unneeded, is_kept))
        };
        self.packs.iter().map(fate).collect()
    }

    /// The frames that are claimed to be in a pack and that nothing needs.
    pub(super) fn unneeded_in(&self, pack: &Sha256Digest) -> Option<&FrameSet> {
        self.packs.get(pack).map(|pack| &pack.unneeded)
    }
}

/// The final places of the needed frames.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// The place of each frame.
    pub(super) places: HashMap<FrameName, FramePlace>,
    /// Frames that have other places too.
    pub(super) contested: FrameSet,
    /// Frames with contradictory claims: everything that is claimed is left as it is.
    pub(super) disputed: FrameSet,
    /// Frames whose final place would be one that only a stranger to their run names: all places are left as they are.
    pub(super) strangers: FrameSet,
    /// Places that must be read and hashed before any other place of the frame may be deleted, in their order in the
    /// packs.
    pub(super) unproved: Vec<(FrameName, FramePlace)>,
    /// Packs that are neither deleted nor moved.
    pub(super) pinned: BTreeSet<Sha256Digest>,
}

/// What happens to a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Deleted: no needed frame stays in it.
    Goes,
    /// Its needed frames may be worth moving: the bytes that stay in it and those that are unneeded.
    MayMove { needed: u64, unneeded: u64 },
    /// It stays, with this many unneeded bytes.
    Stays { unneeded: u64 },
}

fn fate_of(needed: u64, unneeded: u64, is_kept: bool) -> Fate {
    if is_kept {
        Fate::Stays { unneeded }
    } else if needed == 0 {
        Fate::Goes
    } else {
        Fate::MayMove { needed, unneeded }
    }
}

/// Whether so much of a pack is unneeded that the rest is worth copying.
pub(super) fn is_underused(needed: u64, unneeded: u64) -> bool {
    unneeded.saturating_mul(100) >= needed.saturating_add(unneeded).saturating_mul(REPACK_PERCENT)
}

#[cfg(test)]
mod tests;
