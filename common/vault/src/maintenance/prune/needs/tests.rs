//! What is needed and what goes, case by case, and what holds of all cases.

use proptest::prelude::*;

use super::*;
use crate::format::condemnation::{GRACE, LEASE};

const NOW: i64 = 1_000 * 24 * 60 * 60;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// A lease ago to the second, or a second less.
fn stored(is_old: bool) -> Timestamp {
    let second = jiff::SignedDuration::from_secs(1);
    if is_old { now() - LEASE } else { now() - LEASE + second }
}

fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

fn frames(of: &[(u8, u32)]) -> FrameSet {
    of.iter().map(|(number, ordinal)| run(*number).frame(*ordinal)).collect()
}

const WRITER: WriterId = WriterId::from_bytes([9; 16]);

/// A snapshot of a run called by its number, with a manifest `m`, one countersignature `s` and a part `p`.
fn left(number: u8) -> LeftSnapshot {
    LeftSnapshot {
        writer: WRITER,
        objects: vec![format!("m{number}"), format!("s{number}")],
        part: Some((format!("p{number}"), run(number))),
    }
}

fn dead(needs: &Needs) -> Vec<&str> {
    needs.dead.iter().map(String::as_str).collect()
}

#[test]
fn a_forgotten_snapshot_goes_and_is_deleted_once_its_run_cannot_look_under_way() {
    #[derive(Debug, PartialEq)]
    enum Fate {
        Stays,
        IsCondemned,
        IsDeleted,
    }
    use Fate::{IsCondemned, IsDeleted, Stays};
    let short = SignedDuration::ZERO;
    // The second snapshot needs a frame of the first one's run, or none; the registration is listed, young or old.
    for (needs_first, registered, grace, fate) in [
        (false, Some(stored(false)), short, IsDeleted),
        (false, Some(stored(false)), GRACE, IsDeleted),
        (true, Some(stored(false)), short, Stays),
        (true, Some(stored(false)), GRACE, IsCondemned),
        (true, Some(now()), LEASE, IsCondemned),
        (true, Some(now()), LEASE - SignedDuration::from_secs(1), Stays),
        (true, Some(stored(true)), short, IsDeleted),
        (true, None, short, IsDeleted),
    ] {
        let mut needs = Needs::default();
        let of_first: &[(u8, u32)] = if needs_first { &[(1, 0)] } else { &[] };
        needs.keep(WRITER, "p2".to_owned(), run(2), &frames(&[of_first, &[(2, 0)]].concat()));
        needs.leave(left(1));
        needs.settle(|of| registered.filter(|_| of == run(1)), now(), grace);
        let found = match (dead(&needs)[..].is_empty(), needs.evidence == needs.dead) {
            (true, _) => Stays,
            (false, true) => IsCondemned,
            (false, false) => IsDeleted,
        };
        assert_eq!(found, fate, "{needs_first} {registered:?} {grace:?}");
        assert!(fate == Stays || dead(&needs) == ["m1", "p1", "s1"]);
        assert!(fate != IsDeleted || needs.evidence.is_empty());
        assert!(needs.made_snapshots[&run(1)].contains(&WRITER), "it says in any case that its run is over");
    }
}

#[test]
fn a_part_stays_while_a_manifest_names_it_that_stays() {
    let mut needs = Needs::default();
    needs.keep(WRITER, "p1".to_owned(), run(1), &frames(&[(1, 0)]));
    needs.leave(LeftSnapshot { objects: vec!["m2".to_owned()], ..left(1) });
    needs.settle(|_| None, now(), GRACE);
    assert_eq!(dead(&needs), ["m2"], "both snapshots name part p1");
    assert!(needs.evidence.is_empty());
}

#[test]
fn a_snapshot_whose_part_cannot_be_read_goes_without_it_and_ends_no_run() {
    let mut needs = Needs::default();
    needs.leave(LeftSnapshot { part: None, ..left(1) });
    needs.settle(|_| Some(stored(false)), now(), SignedDuration::ZERO);
    assert_eq!(dead(&needs), ["m1", "s1"]);
    assert!(needs.made_snapshots.is_empty());
}

#[test]
fn a_part_is_named_by_the_manifests_that_were_added_and_by_no_other() {
    let mut needs = Needs::default();
    needs.keep(WRITER, "p1".to_owned(), run(1), &frames(&[]));
    needs.leave(left(2));
    needs.leave(LeftSnapshot { part: None, ..left(3) });
    assert_eq!(["p1", "p2", "p3"].map(|part| needs.names_part(part)), [true, true, false]);
}

#[test]
fn a_part_without_a_manifest_keeps_its_frames_for_a_lease() {
    for (is_old, has_end, stays) in
        [(false, false, true), (true, false, false), (false, true, false), (true, true, false)]
    {
        let mut needs = Needs::default();
        needs.add_unnamed(
            UnnamedPart { key: "p", stored: stored(is_old), has_end },
            &frames(&[(1, 0)]),
            now(),
        );
        assert_eq!(needs.live.contains(run(1).frame(0)), stays, "{is_old} {has_end}");
        assert_eq!(needs.dead.contains("p"), !stays, "{is_old} {has_end}");
    }
}

/// A snapshot: whether it counts, and which of a few frames it needs.
type Taken = (bool, Vec<(u8, u32)>);

/// None, or the usual.
fn any_grace() -> impl Strategy<Value = SignedDuration> {
    prop_oneof![Just(SignedDuration::ZERO), Just(GRACE)]
}

fn any_snapshots() -> impl Strategy<Value = Vec<Taken>> {
    let frame = (0..4_u8, 0..3_u32);
    prop::collection::vec((any::<bool>(), prop::collection::vec(frame, 0..5)), 1..6)
}

/// What they come to, in the order given. A run's number is its snapshot's place.
fn work_out(snapshots: &[(usize, &Taken)], young: [bool; 6], grace: SignedDuration) -> Needs {
    let mut needs = Needs::default();
    for (at, (counts, of)) in snapshots {
        let number = u8::try_from(*at).unwrap();
        if *counts {
            needs.keep(WRITER, format!("p{number}"), run(number), &frames(of));
        } else {
            needs.leave(left(number));
        }
    }
    let registered = |of: RunId| (0..6_u8).find(|n| run(*n) == of).map(|n| stored(!young[usize::from(n)]));
    needs.settle(registered, now(), grace);
    needs
}

proptest! {
    #[test]
    fn what_a_snapshot_that_counts_needs_never_goes(
        snapshots in any_snapshots(),
        young in any::<[bool; 6]>(),
        grace in any_grace(),
    ) {
        let numbered: Vec<_> = snapshots.iter().enumerate().collect();
        let needs = work_out(&numbered, young, grace);
        prop_assert!(needs.evidence.is_subset(&needs.dead));
        for (at, (_, of)) in numbered.iter().filter(|(_, (counts, _))| *counts) {
            prop_assert!(frames(of).minus(&needs.live).is_empty());
            for object in ["m", "s", "p"] {
                let name = format!("{object}{at}");
                prop_assert!(!needs.dead.contains(&name), "{}", name);
            }
        }
    }

    #[test]
    fn the_order_in_which_snapshots_come_is_nothing(
        snapshots in any_snapshots(),
        young in any::<[bool; 6]>(),
        grace in any_grace(),
    ) {
        let mut numbered: Vec<_> = snapshots.iter().enumerate().collect();
        let needs = work_out(&numbered, young, grace);
        numbered.reverse();
        let reversed = work_out(&numbered, young, grace);
        prop_assert_eq!(&needs.dead, &reversed.dead);
        prop_assert_eq!(&needs.evidence, &reversed.evidence);
        prop_assert_eq!(needs.live.iter().collect::<Vec<_>>(), reversed.live.iter().collect::<Vec<_>>());
    }

    #[test]
    fn forgetting_more_never_keeps_more(
        snapshots in any_snapshots(),
        which in any::<prop::sample::Index>(),
        young in any::<[bool; 6]>(),
        grace in any_grace(),
    ) {
        let numbered: Vec<_> = snapshots.iter().enumerate().collect();
        let before = work_out(&numbered, young, grace);
        let mut fewer = snapshots.clone();
        fewer[which.index(snapshots.len())].0 = false;
        let after = work_out(&fewer.iter().enumerate().collect::<Vec<_>>(), young, grace);
        prop_assert!(after.live.minus(&before.live).is_empty());
        prop_assert!(before.dead.is_subset(&after.dead), "{:?} {:?}", before.dead, after.dead);
    }
}
