use super::*;
use crate::format::index::{FrameLocation, PackLocations};
use crate::ids::WriterId;

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
    RUN.frame(ordinal)
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

/// Has the trailer of a pack heard.
fn hear(
    claims: &mut Claims,
    pack: &str,
    trailer: &[TrailerFrame],
    live: &[u32],
    under_way: &[RunId],
) -> bool {
    let live = live.iter().map(|ordinal| frame(*ordinal)).collect();
    let under_way = under_way.iter().copied().collect();
    let known = Known { packs: &HashMap::new(), live: &live, under_way: &under_way };
    claims.hear((&hash(pack), 1000), trailer, &known)
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
            objects: vec![(object(RUN, OLD, &[WHOLE]), at(1)), (object(RUN, NEW, &[WHOLE]), Rank::Pruner)],
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
    hear(&mut refuted, NEW, &[], &[0], &[]);
    hear(&mut refuted, OLD, &trailer(&[WHOLE]), &[0], &[]);
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

const STRANGER: Signer = Signer::Writer(WriterId::from_bytes([4; 16]));

/// Claims of the run's own writer and of a stranger about one frame, each at a second.
fn of_two(own: (&str, i64), strangers: (&str, i64)) -> Claims {
    let packs = HashMap::from([(hash(OLD), 1000), (hash(NEW), 1000)]);
    let live = [frame(0)].into_iter().collect();
    let known = Known { packs: &packs, live: &live, under_way: &HashSet::new() };
    let mut claims = Claims::default();
    claims.add(&object(RUN, own.0, &[WHOLE]), (WRITER, at(own.1)), true, &known);
    claims.add(&object(RUN, strangers.0, &[WHOLE]), (STRANGER, at(strangers.1)), true, &known);
    claims
}

#[test]
fn a_strangers_copy_makes_no_other_place_unneeded_however_old_it_looks() {
    let mut claims = of_two((OLD, 5), (NEW, 1));
    assert_eq!(claims.contested_runs(), BTreeSet::from([RUN]));
    // As long as nobody knows whose run it is, both stay.
    assert!(matches!(fate(&claims, OLD), Fate::Stays { .. }));
    assert!(matches!(fate(&claims, NEW), Fate::Stays { .. }));
    assert_eq!(claims.settle(|_| false).strangers.len(), 1);
    claims.name_registrants(&HashMap::from([(RUN, WRITER)]));
    let homes = claims.settle(|_| false);
    assert_eq!((homes.places[&frame(0)].pack, homes.strangers.len()), (hash(OLD), 0));
    assert_eq!(homes.unproved.len(), 1, "it is read and hashed first");
    assert_eq!(fate(&claims, NEW), Fate::Goes);
    // Where both name one place, it is the writer's.
    let mut same = of_two((OLD, 5), (OLD, 1));
    assert!(same.contested_runs().is_empty());
    same.name_registrants(&HashMap::from([(RUN, WRITER)]));
    assert_eq!(fate(&same, OLD), Fate::MayMove { needed: 900, unneeded: 0 });
}

#[test]
fn no_pack_goes_before_its_trailer_was_heard_and_what_it_lists_was_proved() {
    let live: FrameSet = [frame(0)].into_iter().collect();
    // The only claim is a stranger's and false, and the pack that holds the frame is said to hold garbage.
    let packs = HashMap::from([(hash(OLD), 1000), (hash(NEW), 1000)]);
    let known = Known { packs: &packs, live: &live, under_way: &HashSet::new() };
    let mut claims = Claims::default();
    claims.add(&object(RUN, NEW, &[WHOLE]), (STRANGER, at(1)), true, &known);
    claims.add(&object(RUN, OLD, &[(7, 10, 900, "garbage")]), (STRANGER, at(1)), true, &known);
    let homes = claims.settle(|_| false);
    assert_eq!(fate(&claims, OLD), Fate::Goes);
    assert_eq!(claims.unheard(&homes, |_, _| false), [hash(OLD)]);
    assert!(hear(&mut claims, OLD, &trailer(&[WHOLE]), &[0], &[]));
    let homes = claims.settle(|_| false);
    assert_eq!(homes.places[&frame(0)].pack, hash(OLD));
    assert_eq!(homes.unproved.len(), 1);
    assert!(matches!(fate(&claims, OLD), Fate::MayMove { needed: 900, .. }));
    let heard = claims.heard(&hash(OLD)).unwrap();
    assert_eq!(heard, Heard { bytes: 900, lists_all: true });
    assert!(!hear(&mut claims, OLD, &trailer(&[WHOLE]), &[0], &[]), "it is no news again");
    // Packs that are to be moved are heard as well.
    let homes = claims.settle(|_| false);
    assert_eq!(claims.unheard(&homes, |_, _| true), [hash(NEW)]);
    // One whose trailer cannot be read stays.
    claims.leave_open(&hash("unread"));
    assert!(matches!(fate(&claims, "unread"), Fate::Stays { .. }));
    assert!(!claims.unheard(&homes, |_, _| true).contains(&hash("unread")));
}

#[test]
fn a_sole_claim_is_never_refuted_by_a_trailer() {
    let mut sole = claims(&[(object(RUN, OLD, &[WHOLE]), at(1))], &[0], &[]);
    assert!(sole.contested_packs().is_empty());
    hear(&mut sole, OLD, &[], &[0], &[]);
    assert!(sole.place(frame(0)));
}

#[test]
fn a_pack_whose_trailer_cannot_be_read_makes_nothing_unneeded_and_stays() {
    let both = [(object(RUN, OLD, &[WHOLE]), at(1)), (object(RUN, NEW, &[WHOLE]), Rank::Pruner)];
    let mut open = claims(&both, &[0], &[]);
    open.leave_open(&hash(NEW));
    assert_eq!(open.contested_runs(), BTreeSet::from([RUN]));
    open.name_registrants(&HashMap::from([(RUN, WRITER)]));
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
    let mut over = claims(&objects, &[0, 1], &[]);
    assert!(over.place(frame(0)) && over.place(frame(1)));
    assert!(matches!(fate(&over, OLD), Fate::Stays { .. }), "before its trailer is heard");
    assert_eq!(over.contested_packs(), BTreeSet::from([hash(OLD)]));
    hear(&mut over, OLD, &trailer(&[(0, 10, 500, "a"), (1, 510, 480, "b")]), &[0, 1], &[]);
    assert_eq!(fate(&over, OLD), Fate::MayMove { needed: 980, unneeded: 0 });
    // Nothing of it is needed any more: by the trailer it goes, whatever else is claimed.
    let mut garbage = claims(&objects, &[], &[]);
    hear(&mut garbage, OLD, &trailer(&[(0, 10, 500, "a"), (1, 510, 480, "b")]), &[], &[]);
    assert_eq!(fate(&garbage, OLD), Fate::Goes);
}

#[test]
fn packs_that_are_not_there_count_for_nothing() {
    let gone = claims(&[(object(RUN, "another pack", &[WHOLE]), at(1))], &[0], &[]);
    assert!(!gone.place(frame(0)) && !gone.names(&hash("another pack")));
}

#[test]
fn a_run_under_way_keeps_the_packs_that_hold_its_frames_and_no_others() {
    let other = RunId::from_bytes([2; 16]);
    let said = [(object(other, OLD, &[WHOLE]), at(1))];
    let mut holding = claims(&said, &[], &[RUN, other]);
    assert_eq!(holding.unheard(&holding.settle(|_| false), |_, _| false), [hash(OLD)], "its trailer decides");
    hear(&mut holding, OLD, &trailer(&[WHOLE]), &[], &[RUN, other]);
    assert!(matches!(fate(&holding, OLD), Fate::Stays { .. }));
    assert_eq!(holding.kept_for_runs_under_way(&hash(OLD), &holding.settle(|_| false)), 1000);
    // A run that is under way for ever names a pack in which nothing of it lies.
    let mut named = claims(&said, &[], &[other]);
    hear(&mut named, OLD, &trailer(&[WHOLE]), &[], &[other]);
    assert_eq!(fate(&named, OLD), Fate::Goes);
    assert_eq!(named.kept_for_runs_under_way(&hash(OLD), &named.settle(|_| false)), 0);
}

#[test]
fn a_quarter_is_worth_copying() {
    assert!(is_underused(75, 25));
    assert!(!is_underused(76, 24));
    assert!(!is_underused(u64::MAX, 1));
}
