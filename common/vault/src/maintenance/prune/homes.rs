//! Where each needed frame is to stay, decided from what locations objects claim and from what packs prove.
//!
//! A claim is a statement that a frame lies in a place. Anyone of the group can make one, so a claim makes no other
//! place unneeded by itself: where a frame has several places, the one that is to stay is read and hashed first
//! ([`Homes::unproved`]), and where two claims give a frame two hashes, neither place goes ([`Homes::pinned`]). Nor does a
//! place go for one that only a stranger to the run names, true or not: who stores a copy can take it away again.
//!
//! A claim that is the only one may be false as well, and hide where the frame really lies. So no pack goes before its
//! own trailer was heard ([`Claims::unheard`]): what a trailer lists is one more claim.
//!
//! Nothing here reads anything. What was read comes in through [`Claims::hear`], [`Claims::leave_open`],
//! [`Claims::name_registrant`] and [`Claims::disprove`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use crate::format::frame_set::FrameSet;
use crate::format::index::{ListedPlaces, Locations};
use crate::format::pack::TrailerFrame;
use crate::ids::{FrameName, RunId, Signer};
use crate::repository::locate::FramePlace;

/// A pack is repacked when at least this share of it is unneeded, in percent.
const REPACK_PERCENT: u64 = 25;
/// How many claims of one signer about one frame are weighed. The packs of further ones are kept.
const MOST_CLAIMS: usize = 4;

/// How much a claim's signer counts when one of several places is chosen: the lesser, the sooner it is chosen. A
/// writer's later claim never comes before an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A keeper in force or the root, who moves frames.
    Pruner,
    /// Who registered the run, at this time by the storage's clock.
    Registrant(Timestamp),
    /// A pack's own trailer.
    Trailer,
    /// Anyone else, at this time by the storage's clock.
    Stated(Timestamp),
}

/// A statement about where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) place: FramePlace,
    /// Who made it; nobody, where a pack's trailer alone says it.
    pub(super) signer: Option<Signer>,
    pub(super) rank: Rank,
    /// An object makes it that is not condemned.
    pub(super) is_standing: bool,
}

/// A pack that is in the store, and what is claimed of it.
#[derive(Debug, Default)]
pub(super) struct ClaimedPack {
    size: u64,
    /// The needed frames that are claimed to lie in it.
    claimed: Vec<FrameName>,
    /// The sum of their lengths, every claim counted.
    needed_bytes: u64,
    /// Frames that nothing needs.
    unneeded: FrameSet,
    unneeded_bytes: u64,
    /// Its trailer lists frames of a run under way: it is neither moved nor condemned. A locations object that says so
    /// keeps nothing.
    is_under_way: bool,
    /// More is claimed of it than it can hold, or claims were left out. It is not condemned before its trailer was heard.
    is_overclaimed: bool,
    /// Its trailer cannot be read, so claims about it are neither confirmed nor refuted.
    is_open: bool,
    /// What its trailer says, once it was heard.
    heard: Option<Heard>,
}

/// What the trailer of a pack says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    /// How many bytes the frames have that it lists.
    pub(super) bytes: u64,
    /// Whether it lists all needed frames that are claimed to lie in the pack.
    pub(super) lists_all: bool,
}

/// Everything that is claimed of the packs that are there.
#[derive(Debug, Default)]
pub(super) struct Claims {
    frames: HashMap<FrameName, Vec<Claim>>,
    packs: BTreeMap<Sha256Digest, ClaimedPack>,
}

/// What a prune goes by when it takes in claims.
pub(super) struct Known<'a> {
    /// The packs that are there, and their sizes.
    pub(super) packs: &'a HashMap<Sha256Digest, u64>,
    /// The frames that are needed.
    pub(super) live: &'a FrameSet,
    /// The runs that may still store frames and refer to them.
    pub(super) under_way: &'a HashSet<RunId>,
}

/// Whether claims put a frame into more than one place.
fn is_contested(claims: &[Claim]) -> bool {
    claims.iter().any(|claim| claim.place != claims[0].place)
}

/// The places that claims name, each once.
fn distinct_places(claims: &[Claim]) -> impl Iterator<Item = FramePlace> {
    let is_first =
        |(at, claim): &(usize, &Claim)| claims[..*at].iter().all(|other| other.place != claim.place);
    claims.iter().enumerate().filter(is_first).map(|(_, claim)| claim.place)
}

impl Claims {
    /// Takes in one locations object. Claims about packs that are not there, or are of another size, count for nothing.
    /// What others claimed before leaves no claim about a needed frame out.
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
                let name = FrameName { run: locations.run, ordinal: frame.ordinal };
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

    /// Whether any claim puts the pack's frames somewhere.
    pub(super) fn names(&self, pack: &Sha256Digest) -> bool {
        self.packs.contains_key(pack)
    }

    /// Whether a frame is claimed to lie anywhere.
    pub(super) fn place(&self, name: FrameName) -> bool {
        self.frames.get(&name).is_some_and(|claims| !claims.is_empty())
    }

    /// Whether an object that is not condemned says that a frame lies in this place.
    pub(super) fn is_told(&self, name: FrameName, place: &FramePlace) -> bool {
        let claims = self.frames.get(&name).map_or(&[][..], Vec::as_slice);
        claims.iter().any(|claim| claim.place == *place && claim.is_standing)
    }

    /// The packs whose trailers must be read: those in which a frame lies that lies elsewhere too, and those of which
    /// more is claimed than they can hold.
    pub(super) fn contested_packs(&self) -> BTreeSet<Sha256Digest> {
        let contested = self.frames.values().filter(|claims| is_contested(claims));
        let overclaimed = self.packs.iter().filter(|(_, pack)| pack.is_overclaimed).map(|(hash, _)| *hash);
        contested.flatten().map(|claim| claim.place.pack).chain(overclaimed).collect()
    }

    /// The runs of frames that lie in several places, of which nobody chose one who prunes: who registered such a run
    /// decides.
    pub(super) fn contested_runs(&self) -> BTreeSet<RunId> {
        let is_open = |claim: &Claim| self.packs.get(&claim.place.pack).is_some_and(|pack| pack.is_open);
        let is_chosen = |claim: &Claim| claim.rank == Rank::Pruner && !is_open(claim);
        let is_undecided = |claims: &[Claim]| is_contested(claims) && !claims.iter().any(is_chosen);
        self.frames.iter().filter(|(_, claims)| is_undecided(claims)).map(|(name, _)| name.run).collect()
    }

    /// Notes who registered runs: in their frames these come before any other writer.
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

    /// The packs that are to go, or to be moved, and whose trailers were not heard yet.
    pub(super) fn unheard(&self, homes: &Homes, is_moved: impl Fn(u64, u64) -> bool) -> Vec<Sha256Digest> {
        let goes = |fate: &Fate| match fate {
            Fate::Goes => true,
            Fate::MayMove { needed, unneeded } => is_moved(*needed, *unneeded),
            Fate::Stays { .. } => false,
        };
        let going = self.fates(homes).into_iter().filter(|(_, fate)| goes(fate)).map(|(pack, _)| pack);
        going.filter(|pack| self.heard(pack).is_none()).collect()
    }

    /// How many bytes of a pack stay only since a run under way has frames in it.
    pub(super) fn kept_for_runs_under_way(&self, pack: &Sha256Digest, homes: &Homes) -> u64 {
        let Some(claimed) = self.packs.get(pack).filter(|claimed| claimed.is_under_way) else { return 0 };
        let is_at_home = |name: &&FrameName| homes.places.get(name).is_some_and(|home| home.pack == *pack);
        let needed = claimed.claimed.iter().filter(is_at_home).map(|name| homes.places[name].frame.length);
        claimed.size.saturating_sub(needed.map(u64::from).sum())
    }

    /// What the trailer of a pack says, where it was heard.
    pub(super) fn heard(&self, pack: &Sha256Digest) -> Option<Heard> {
        self.packs.get(pack)?.heard
    }

    /// Takes in what a pack's trailer says. The needed frames that it lists lie there, by one more claim; claims about the
    /// pack that it denies are dropped, unless one is the only claim about its frame. Of a pack of which more was claimed
    /// than it can hold, the trailer says which frames in it nothing needs. Says whether a claim is new.
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
        // A needed frame that is left out keeps the pack.
        claimed.is_overclaimed = is_left_out;
        is_news
    }

    /// Notes that a pack's trailer cannot be read. No other place goes because of a claim about this pack, and this
    /// pack does not go: any frame may lie in it.
    pub(super) fn leave_open(&mut self, pack: &Sha256Digest) {
        self.packs.entry(*pack).or_default().is_open = true;
    }

    /// Drops a place whose bytes are not the frame.
    pub(super) fn disprove(&mut self, name: FrameName, place: &FramePlace) {
        if let Some(claims) = self.frames.get_mut(&name) {
            claims.retain(|claim| claim.place != *place);
        }
    }

    /// Chooses for every needed frame the place that it stays in.
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
            // Another's pack may be taken away again at any time, however true its copy is.
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

    /// What is to become of each pack that is claimed to hold frames.
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

    /// The frames that are claimed to lie in a pack and that nothing needs.
    pub(super) fn unneeded_in(&self, pack: &Sha256Digest) -> Option<&FrameSet> {
        self.packs.get(pack).map(|pack| &pack.unneeded)
    }
}

/// Where the needed frames stay.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// The place of each frame.
    pub(super) places: HashMap<FrameName, FramePlace>,
    /// Frames that have other places too.
    pub(super) contested: FrameSet,
    /// Frames whose claims contradict each other: all of what is claimed is left as it is.
    pub(super) disputed: FrameSet,
    /// Frames of which a stranger to their run names the place that would stay: all places are left as they are.
    pub(super) strangers: FrameSet,
    /// Places that must be read and hashed before any other place of the frame may go, in the order in which they lie.
    pub(super) unproved: Vec<(FrameName, FramePlace)>,
    /// Packs that do not go and are not moved.
    pub(super) pinned: BTreeSet<Sha256Digest>,
}

/// What is to become of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No needed frame stays in it.
    Goes,
    /// What is needed of it may be worth moving: so many bytes stay in it and so many are unneeded.
    MayMove { needed: u64, unneeded: u64 },
    /// It stays, with so many unneeded bytes.
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
