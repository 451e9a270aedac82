//! Where each needed frame is to stay, decided from what locations objects claim and from what packs prove.
//!
//! A claim is a statement that a frame lies in a place. Anyone of the group can make one, so a claim makes no other
//! place unneeded by itself: where a frame has several places, the one that is to stay is read and hashed first
//! ([`Homes::unproved`]), and where two claims give a frame two hashes, neither place goes ([`Homes::pinned`]).
//!
//! Nothing here reads anything. What was read comes in through [`Claims::hear`], [`Claims::leave_open`] and
//! [`Claims::disprove`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use crate::frame_set::FrameSet;
use crate::ids::{FrameName, RunId, Signer};
use crate::index::{ListedPlaces, Locations};
use crate::locate::FramePlace;
use crate::pack::TrailerFrame;

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
    /// Anyone else, at this time by the storage's clock.
    Stated(Timestamp),
}

/// A statement about where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) place: FramePlace,
    pub(super) signer: Signer,
    pub(super) rank: Rank,
    /// An object makes it that is not condemned.
    pub(super) is_standing: bool,
}

/// A pack that is in the store, and what is claimed of it.
#[derive(Debug, Default)]
pub(super) struct ClaimedPack {
    size: u64,
    /// The sum of the lengths of the needed frames that are claimed to lie in it, every claim counted.
    needed_bytes: u64,
    /// Frames that nothing needs.
    unneeded: FrameSet,
    unneeded_bytes: u64,
    /// A run under way has stored frames in it: it is neither moved nor condemned.
    is_under_way: bool,
    /// More is claimed of it than it can hold, or claims were left out. It is not condemned before its trailer was heard.
    is_overclaimed: bool,
    /// Its trailer cannot be read, so claims about it are neither confirmed nor refuted.
    is_open: bool,
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
            pack.is_under_way |= is_under_way;
            for frame in &located.frames {
                let name = FrameName { run: locations.run, ordinal: frame.ordinal };
                let place = FramePlace { pack: located.pack, size: located.size, frame: *frame };
                let length = u64::from(frame.length);
                if known.live.contains(name) {
                    let claims = self.frames.entry(name).or_default();
                    if let Some(same) = claims.iter_mut().find(|claim| claim.place == place) {
                        same.rank = same.rank.min(rank);
                        same.is_standing |= is_standing;
                    } else if claims.iter().filter(|claim| claim.signer == signer).count() < MOST_CLAIMS {
                        claims.push(Claim { place, signer, rank, is_standing });
                        pack.needed_bytes = pack.needed_bytes.saturating_add(length);
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
        let contested = self.frames.values().filter(|claims| claims.len() > 1);
        let overclaimed = self.packs.iter().filter(|(_, pack)| pack.is_overclaimed).map(|(hash, _)| *hash);
        contested.flatten().map(|claim| claim.place.pack).chain(overclaimed).collect()
    }

    /// Drops the claims about a pack that its trailer denies. Of a pack of which more was claimed than it can hold, the
    /// trailer says which frames in it nothing needs.
    pub(super) fn hear(&mut self, pack: &Sha256Digest, trailer: &[TrailerFrame], live: &FrameSet) {
        let listed = ListedPlaces::new(trailer);
        for (name, claims) in self.frames.iter_mut().filter(|(_, claims)| claims.len() > 1) {
            claims.retain(|claim| claim.place.pack != *pack || listed.has(*name, &claim.place.frame));
        }
        let Some(claimed) = self.packs.get_mut(pack).filter(|claimed| claimed.is_overclaimed) else { return };
        let unneeded = || trailer.iter().filter(|frame| !live.contains(frame.name()));
        claimed.unneeded = unneeded().map(TrailerFrame::name).collect();
        claimed.unneeded_bytes = unneeded().map(|frame| u64::from(frame.length)).sum();
        // A needed frame that nothing but the trailer puts here keeps the pack.
        let is_claimed = |frame: &TrailerFrame| {
            let claims = self.frames.get(&frame.name()).map_or(&[][..], Vec::as_slice);
            claims.iter().any(|claim| claim.place.pack == *pack && claim.place.frame.offset == frame.offset)
        };
        claimed.is_overclaimed =
            trailer.iter().any(|frame| live.contains(frame.name()) && !is_claimed(frame));
    }

    /// Notes that a pack's trailer cannot be read. No other place goes because of a claim about this pack, and this
    /// pack does not go while a frame with several places may lie in it.
    pub(super) fn leave_open(&mut self, pack: &Sha256Digest) {
        if let Some(pack) = self.packs.get_mut(pack) {
            pack.is_open = true;
        }
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
        for claim in self.frames.values().flatten() {
            *live_bytes.entry(claim.place.pack).or_default() += u64::from(claim.place.frame.length);
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
            let mut others = claims.iter().filter(|claim| claim.place != home.place).peekable();
            if others.peek().is_none() {
                continue;
            }
            homes.contested.insert(*name);
            let is_same = |claim: &Claim| {
                let (one, other) = (&claim.place.frame, &home.place.frame);
                one.hash == other.hash && one.length == other.length
            };
            let is_disputed = claims.iter().any(|claim| !is_open(claim) && !is_same(claim));
            if is_disputed || is_open(home) {
                homes.disputed.insert(*name);
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
            let elsewhere = |claim: &&Claim| homes.places.get(name) != Some(&claim.place);
            for claim in claims.iter().filter(elsewhere) {
                *away.entry(claim.place.pack).or_default() += u64::from(claim.place.frame.length);
            }
        }
        let fate = |(hash, pack): (&Sha256Digest, &ClaimedPack)| {
            let needed = at_home.get(hash).copied().unwrap_or_default();
            let unneeded = pack.unneeded_bytes + away.get(hash).copied().unwrap_or_default();
            let is_kept = pack.is_under_way || pack.is_overclaimed || homes.pinned.contains(hash);
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
mod tests {
    use super::*;
    use crate::ids::WriterId;
    use crate::index::{FrameLocation, PackLocations};

    const RUN: RunId = RunId::from_bytes([1; 16]);
    const WRITER: Signer = Signer::Writer(WriterId::from_bytes([3; 16]));
    const OLD: &str = "old pack";
    const NEW: &str = "new pack";

    fn hash(of: &str) -> Sha256Digest {
        Sha256Digest::of(of.as_bytes())
    }

    fn at(second: i64) -> Rank {
        Rank::Stated(Timestamp::from_second(second).unwrap())
    }

    fn frame(ordinal: u32) -> FrameName {
        FrameName { run: RUN, ordinal }
    }

    /// One object that puts frames, given as (ordinal, offset, length, content), into a pack of 1000 bytes.
    fn object(run: RunId, pack: &str, frames: &[(u32, u64, u32, &str)]) -> Locations {
        let location = |(ordinal, offset, length, content): &(u32, u64, u32, &str)| FrameLocation {
            ordinal: *ordinal,
            offset: *offset,
            length: *length,
            hash: hash(content),
            chunk_bytes: *length,
        };
        let frames = frames.iter().map(location).collect();
        Locations { run, packs: vec![PackLocations { pack: hash(pack), frames, size: 1000 }] }
    }

    /// The trailer of a pack with such frames of the run.
    fn trailer(frames: &[(u32, u64, u32, &str)]) -> Vec<TrailerFrame> {
        let listed = |(ordinal, offset, length, content): &(u32, u64, u32, &str)| TrailerFrame {
            run: RUN,
            ordinal: *ordinal,
            offset: *offset,
            length: *length,
            hash: hash(content),
            chunks: Vec::new(),
            chunk_bytes: *length,
        };
        frames.iter().map(listed).collect()
    }

    fn claims(objects: &[(Locations, Rank)], live: &[u32], under_way: &[RunId]) -> Claims {
        let packs = HashMap::from([(hash(OLD), 1000), (hash(NEW), 1000)]);
        let live = live.iter().map(|ordinal| frame(*ordinal)).collect();
        let under_way = under_way.iter().copied().collect();
        let known = Known { packs: &packs, live: &live, under_way: &under_way };
        let mut claims = Claims::default();
        for (object, rank) in objects {
            let signer = if *rank == Rank::Pruner { Signer::Root } else { WRITER };
            claims.add(object, (signer, *rank), true, &known);
        }
        claims
    }

    fn fate(claims: &Claims, pack: &str) -> Fate {
        claims.fates(&claims.settle(|_| false))[&hash(pack)]
    }

    const WHOLE: (u32, u64, u32, &str) = (0, 10, 900, "frame");

    /// The first column says what is claimed, the next where the frame stays, and what becomes of the two packs.
    #[test]
    fn a_place_goes_only_for_one_that_is_proved() {
        struct Row {
            what: &'static str,
            objects: Vec<(Locations, Rank)>,
            home: &'static str,
            is_proved_first: bool,
            old: Fate,
            new: Fate,
        }
        let moves = Fate::MayMove { needed: 900, unneeded: 0 };
        let stays = Fate::Stays { unneeded: 0 };
        let rows = [
            Row {
                what: "a keeper moved it",
                objects: vec![
                    (object(RUN, OLD, &[WHOLE]), at(1)),
                    (object(RUN, NEW, &[WHOLE]), Rank::Pruner),
                ],
                home: NEW,
                is_proved_first: true,
                old: Fate::Goes,
                new: moves,
            },
            Row {
                what: "a writer's later word does not make the older place unneeded",
                objects: vec![(object(RUN, OLD, &[WHOLE]), at(1)), (object(RUN, NEW, &[WHOLE]), at(2))],
                home: OLD,
                is_proved_first: true,
                old: moves,
                new: Fate::Goes,
            },
            Row {
                what: "two hashes: neither goes, whoever says it",
                objects: vec![
                    (object(RUN, OLD, &[WHOLE]), at(1)),
                    (object(RUN, NEW, &[(0, 10, 900, "noise")]), Rank::Pruner),
                ],
                home: NEW,
                is_proved_first: false,
                old: Fate::Stays { unneeded: 900 },
                new: stays,
            },
            Row {
                what: "two lengths: neither goes",
                objects: vec![
                    (object(RUN, OLD, &[WHOLE]), at(1)),
                    (object(RUN, NEW, &[(0, 10, 60, "frame")]), at(2)),
                ],
                home: OLD,
                is_proved_first: false,
                old: stays,
                new: Fate::Stays { unneeded: 60 },
            },
        ];
        for Row { what, objects, home, is_proved_first, old, new } in rows {
            let claims = claims(&objects, &[0], &[]);
            let homes = claims.settle(|_| false);
            assert_eq!(homes.places[&frame(0)].pack, hash(home), "{what}");
            assert_eq!(!homes.unproved.is_empty(), is_proved_first, "{what}");
            assert_eq!((fate(&claims, OLD), fate(&claims, NEW)), (old, new), "{what}");
        }
    }

    #[test]
    fn what_a_trailer_denies_or_bytes_disprove_is_no_place() {
        let both = [(object(RUN, OLD, &[WHOLE]), at(1)), (object(RUN, NEW, &[WHOLE]), Rank::Pruner)];
        let mut refuted = claims(&both, &[0], &[]);
        assert_eq!(refuted.contested_packs(), BTreeSet::from([hash(OLD), hash(NEW)]));
        let live = [frame(0)].into_iter().collect();
        refuted.hear(&hash(NEW), &[], &live);
        refuted.hear(&hash(OLD), &trailer(&[WHOLE]), &live);
        assert_eq!(fate(&refuted, NEW), Fate::Goes);
        assert!(refuted.settle(|_| false).unproved.is_empty(), "one place is left, and nothing goes for it");

        let mut disproved = claims(&both, &[0], &[]);
        let (name, place) = disproved.settle(|_| false).unproved[0];
        assert_eq!(place.pack, hash(NEW));
        disproved.disprove(name, &place);
        assert_eq!(fate(&disproved, NEW), Fate::Goes);
        assert_eq!(fate(&disproved, OLD), Fate::MayMove { needed: 900, unneeded: 0 });
        let (name, place) = (frame(0), disproved.settle(|_| false).places[&frame(0)]);
        disproved.disprove(name, &place);
        assert!(!disproved.place(frame(0)));
    }

    #[test]
    fn a_sole_claim_is_never_refuted_by_a_trailer() {
        let mut sole = claims(&[(object(RUN, OLD, &[WHOLE]), at(1))], &[0], &[]);
        assert!(sole.contested_packs().is_empty());
        sole.hear(&hash(OLD), &[], &[frame(0)].into_iter().collect());
        assert!(sole.place(frame(0)));
    }

    #[test]
    fn a_pack_whose_trailer_cannot_be_read_makes_nothing_unneeded_and_stays() {
        let both = [(object(RUN, OLD, &[WHOLE]), at(1)), (object(RUN, NEW, &[WHOLE]), Rank::Pruner)];
        let mut open = claims(&both, &[0], &[]);
        open.leave_open(&hash(NEW));
        let homes = open.settle(|_| false);
        assert_eq!(homes.places[&frame(0)].pack, hash(OLD));
        assert!(homes.unproved.is_empty());
        assert_eq!(fate(&open, OLD), Fate::MayMove { needed: 900, unneeded: 0 });
        assert_eq!(fate(&open, NEW), Fate::Stays { unneeded: 900 });
        open.leave_open(&hash(OLD));
        assert!(matches!(fate(&open, OLD), Fate::Stays { .. }));
        assert!(matches!(fate(&open, NEW), Fate::Stays { .. }));
    }

    #[test]
    fn claims_about_more_bytes_than_a_pack_has_leave_no_needed_frame_out() {
        // Someone fills a pack with claims about frames of its own before the pack's writer says what lies in it.
        let filled = (object(RUN, OLD, &[(7, 0, 500, "x"), (8, 500, 500, "y")]), at(1));
        let honest = (object(RUN, OLD, &[(0, 10, 500, "a"), (1, 510, 480, "b")]), at(2));
        let objects = [filled, honest];
        let live: FrameSet = [frame(0), frame(1)].into_iter().collect();
        let mut over = claims(&objects, &[0, 1], &[]);
        assert!(over.place(frame(0)) && over.place(frame(1)));
        assert!(matches!(fate(&over, OLD), Fate::Stays { .. }), "before its trailer is heard");
        assert_eq!(over.contested_packs(), BTreeSet::from([hash(OLD)]));
        over.hear(&hash(OLD), &trailer(&[(0, 10, 500, "a"), (1, 510, 480, "b")]), &live);
        assert_eq!(fate(&over, OLD), Fate::MayMove { needed: 980, unneeded: 0 });
        // Nothing of it is needed any more: by the trailer it goes, whatever else is claimed.
        let mut garbage = claims(&objects, &[], &[]);
        garbage.hear(&hash(OLD), &trailer(&[(0, 10, 500, "a"), (1, 510, 480, "b")]), &FrameSet::default());
        assert_eq!(fate(&garbage, OLD), Fate::Goes);
    }

    #[test]
    fn packs_of_runs_under_way_stay_and_those_that_are_not_there_count_for_nothing() {
        let other = RunId::from_bytes([2; 16]);
        let under_way = claims(&[(object(other, OLD, &[WHOLE]), at(1))], &[], &[other]);
        assert!(matches!(fate(&under_way, OLD), Fate::Stays { .. }));
        let finished = claims(&[(object(other, OLD, &[WHOLE]), at(1))], &[], &[]);
        assert_eq!(fate(&finished, OLD), Fate::Goes);
        let gone = claims(&[(object(RUN, "another pack", &[WHOLE]), at(1))], &[0], &[]);
        assert!(!gone.place(frame(0)) && !gone.names(&hash("another pack")));
    }

    #[test]
    fn a_quarter_is_worth_copying() {
        assert!(is_underused(75, 25));
        assert!(!is_underused(76, 24));
        assert!(!is_underused(u64::MAX, 1));
    }
}
