//! Tables of what a check says about relations.

use lifeboat_core::Sha256Digest;

use super::*;
use crate::ids::GroupId;
use crate::maintenance::check::packs::FaultyFrame;
use crate::snapshots::history::Evidence;

const RUN: RunId = RunId::from_bytes([7; 16]);
const WRITER: WriterId = WriterId::from_bytes([1; 16]);
const OTHER: WriterId = WriterId::from_bytes([2; 16]);

fn damaged(kind: DamageKind, reason: &str, remedy: Remedy) -> Verdict {
    Verdict::Damaged(kind, reason.to_owned(), remedy)
}

/// What is found faulty in a pack.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// The pack is not what its name says.
    Altered,
    /// A frame is not there.
    Bad,
    /// A frame contains other chunks than the index states.
    False,
    /// The index places a frame where the trailer does not.
    Index,
}

fn reading(faults: &[Fault]) -> PackReading {
    let mut reading = PackReading::default();
    for (ordinal, fault) in (0..).zip(faults) {
        let name = RUN.frame(ordinal);
        let faulty = FaultyFrame { name, offset: 0, reason: format!("fault {ordinal}") };
        match fault {
            Fault::Altered => reading.altered = Some("it is another".to_owned()),
            Fault::Bad => reading.bad.push(faulty),
            Fault::False => reading.false_frames.push(faulty),
            Fault::Index => reading.index_faults.push(faulty),
        }
    }
    reading
}

#[test]
fn a_pack_costs_what_is_needed_or_may_be_referred_to() {
    use Fault::{Altered, Bad, False, Index};
    let unknown = FrameFacts::default();
    let needed = FrameFacts { is_needed: true, ..unknown };
    let listed = FrameFacts { is_listed: true, ..unknown };
    let lost = FrameFacts { is_lost: true, ..needed };
    let marked = |facts| FrameFacts { is_marked: true, ..facts };
    let note = None;
    let is = |kind, remedy| Some((kind, remedy));
    let altered = |remedy| is(DamageKind::Altered, remedy);
    let of_index = |remedy| is(DamageKind::Index, remedy);
    let false_frame = |remedy| is(DamageKind::FalseFrame, remedy);
    let table = [
        // The pack itself is another: whatever its frames are, somebody must look at it.
        (&[Altered][..], unknown, altered(Remedy::RepairByKeeper)),
        (&[Altered, Bad], unknown, altered(Remedy::RepairByKeeper)),
        (&[Altered, Bad], needed, altered(Remedy::RepairByKeeper)),
        (&[Altered, Bad], lost, altered(Remedy::NextBackup)),
        (&[Altered, Index], lost, altered(Remedy::NextBackup)),
        // A frame is not there.
        (&[Bad], unknown, note),
        (&[Bad], needed, altered(Remedy::Repair)),
        (&[Bad], listed, altered(Remedy::Repair)),
        (&[Bad], lost, altered(Remedy::NextBackup)),
        // No backup refers to what is marked, so it matters only while it is lost.
        (&[Bad], marked(needed), note),
        (&[Bad], marked(listed), note),
        (&[Bad], marked(lost), altered(Remedy::NextBackup)),
        // A frame is false.
        (&[False], unknown, note),
        (&[False], needed, false_frame(Remedy::Repair)),
        (&[False], listed, false_frame(Remedy::Repair)),
        (&[False], lost, false_frame(Remedy::NextBackup)),
        (&[False], marked(needed), note),
        (&[Bad, False], needed, false_frame(Remedy::Repair)),
        // The index is wrong: that costs nothing until what it places here is lost.
        (&[Index], unknown, note),
        (&[Index], needed, note),
        (&[Index], listed, note),
        (&[Index], lost, of_index(Remedy::NextBackup)),
        (&[Bad, Index], needed, altered(Remedy::Repair)),
    ];
    for (row, (faults, facts, expected)) in table.into_iter().enumerate() {
        let found = match pack_read(&reading(faults), |_| facts, |_| None) {
            Verdict::Damaged(kind, _, remedy) => Some((kind, remedy)),
            Verdict::Note(_) => None,
            Verdict::Sound => panic!("row {row}: a faulty pack is sound"),
        };
        assert_eq!(found, expected, "row {row}");
    }
}

#[test]
fn of_the_frames_of_a_pack_the_first_faulty_one_is_named_with_who_registered_its_run() {
    use Fault::{Altered, Bad, False};
    let needed = FrameFacts { is_needed: true, ..FrameFacts::default() };
    let run = RUN;
    let by = format!(", which writer {WRITER} registered");
    let table = [
        (&[Altered][..], None, "it is another; all its frames are whole".to_owned()),
        (&[Altered, Bad], None, format!("it is another; frame 1 of run {run}: fault 1")),
        (&[Bad], Some(WRITER), format!("frame 0 of run {run}{by}: fault 0")),
        (&[Bad, False], None, format!("frame 0 of run {run}: fault 0; and 1 more")),
        (&[Bad, False, Bad], None, format!("frame 0 of run {run}: fault 0; and 2 more")),
    ];
    for (faults, registrant, expected) in table {
        let Verdict::Damaged(_, reason, _) = pack_read(&reading(faults), |_| needed, |_| registrant) else {
            panic!("{expected}: the pack is damaged")
        };
        assert_eq!(reason, expected);
    }
    let unneeded = pack_read(&reading(&[Bad]), |_| FrameFacts::default(), |_| None);
    let said = format!("is damaged, and nothing refers to it: frame 0 of run {run}: fault 0");
    assert_eq!(unneeded, Verdict::Note(said));
}

#[test]
fn one_lost_frame_of_a_pack_decides_its_remedy() {
    let facts =
        |name: FrameName| FrameFacts { is_needed: true, is_lost: name.ordinal == 2, ..FrameFacts::default() };
    let found = pack_read(&reading(&[Fault::Bad, Fault::Bad, Fault::Bad]), facts, |_| None);
    assert!(matches!(found, Verdict::Damaged(DamageKind::Altered, _, Remedy::NextBackup)), "{found:?}");
}

#[test]
fn a_pack_that_the_index_names_is_there_with_a_stated_size_or_costs_what_is_lost_with_it() {
    let size = |remedy| damaged(DamageKind::Size, "it has 9 bytes, and the index states 10", remedy);
    let gone = "3 of its frames are needed and stored nowhere else";
    let table = [
        (Some(10), &[10][..], 0, 0, Verdict::Sound),
        (Some(10), &[10], 3, 3, Verdict::Sound),
        // Somebody else states another size.
        (Some(10), &[9, 10], 0, 0, Verdict::Sound),
        (Some(9), &[10], 0, 0, size(Remedy::RepairByKeeper)),
        (Some(9), &[10], 0, 5, size(Remedy::RepairByKeeper)),
        (Some(9), &[10, 11], 1, 1, size(Remedy::NextBackup)),
        (None, &[10], 0, 0, Verdict::Sound),
        (None, &[10], 3, 5, damaged(DamageKind::Missing, gone, Remedy::NextBackup)),
        (None, &[10], 0, 5, Verdict::Note("is gone, and its contents are replaced".to_owned())),
        (Some(9), &[], 0, 0, Verdict::Sound),
        (None, &[], 3, 3, Verdict::Sound),
    ];
    for (size, stated, lost, not_whole, expected) in table {
        assert_eq!(
            located_pack(size, stated, lost, not_whole),
            expected,
            "{size:?}, stated {stated:?}, {lost} lost of {not_whole}"
        );
    }
}

#[test]
fn what_the_index_lacks_is_repaired_from_packs_or_else_stored_again() {
    let said = "no locations object has the places of 4 of the run's frames";
    assert_eq!(
        unplaced_frames(4, true),
        damaged(DamageKind::Index, &format!("{said}, though they exist"), Remedy::Repair)
    );
    assert_eq!(
        unplaced_frames(4, false),
        damaged(DamageKind::Index, &format!("{said}, and not all are in a pack"), Remedy::NextBackup)
    );
}

#[test]
fn a_run_without_its_key_is_registered_again_from_a_header_or_never() {
    let in_header = "the run is not registered; its key is in the headers of its packs";
    let nowhere = "the run is not registered, and no pack's header contains its key";
    assert_eq!(unregistered_run(true), damaged(DamageKind::Missing, in_header, Remedy::Repair));
    assert_eq!(unregistered_run(false), damaged(DamageKind::Missing, nowhere, Remedy::No));
}

#[test]
fn a_run_key_is_altered_if_no_snapshot_commits_to_it_and_disputed_if_some_do() {
    let disputed = "snapshots commit to another key of the run than the one that is registered: a contents index of \
                    the group was false when they were made";
    let altered = |reason| damaged(DamageKind::Altered, reason, Remedy::No);
    let table = [
        (0, &[][..], Verdict::Sound),
        (2, &[], Verdict::Sound),
        (1, &["it does not open"], altered("it does not open")),
        (2, &["the first", "the second"], altered("the first")),
        (2, &["the first"], altered(disputed)),
        (3, &["the first", "the second"], altered(disputed)),
    ];
    for (commitments, unopened, expected) in table {
        assert_eq!(run_key(commitments, unopened), expected, "{unopened:?} of {commitments}");
    }
}

#[test]
fn a_problem_of_the_history_names_the_place_and_ends_by_giving_up_or_with_who_claims_it() {
    use DamageKind::{History, Missing};
    let problem = |error| Problem {
        writer: WRITER,
        group: GroupId::from_bytes([3; 16]),
        evidence: Evidence::Own,
        error,
    };
    let claimed = |last| VaultError::Claimed { claimant: OTHER, writer: WRITER, first: 5, last };
    let digest = Sha256Digest::of(b"a snapshot");
    let contradicted = VaultError::Contradicted {
        claimant: OTHER,
        writer: WRITER,
        sequence: 5,
        claimed: digest,
        found: Sha256Digest::of(b"another"),
    };
    let disproved = VaultError::Disproved { claimant: OTHER, writer: WRITER, claimed: 9, found: 7 };
    let at = layout::snapshot(WRITER, 5);
    let object = |error: ObjectError| VaultError::Object(error);
    let label = |sequence: u64| format!("{WRITER}/{sequence}");
    let one = vec![label(5), label(6)];
    let many = (5..105).map(label).collect();
    let withheld = |last| VaultError::Withheld { writer: WRITER, first: 5, last };
    let table = [
        (withheld(6), at.clone(), Missing, one, Remedy::GiveUp),
        (withheld(u64::MAX), at.clone(), Missing, many, Remedy::GiveUp),
        (object(ObjectError::Missing { key: at.clone() }), at.clone(), History, vec![], Remedy::GiveUp),
        (object(ObjectError::damaged(&at, "torn")), at.clone(), History, vec![], Remedy::GiveUp),
        (claimed(6), at.clone(), History, vec![], Remedy::GiveUp),
        // A claim of very many is probably a lie: only its end ends it.
        (claimed(5 + 15), at.clone(), History, vec![], Remedy::GiveUp),
        (claimed(5 + 16), at.clone(), History, vec![], Remedy::EndOfWord),
        (contradicted, at, History, vec![], Remedy::EndOfWord),
        (disproved, layout::snapshots_of(OTHER), History, vec![], Remedy::EndOfWord),
        (
            VaultError::Internal("something else"),
            layout::SNAPSHOTS.to_owned(),
            History,
            vec![],
            Remedy::GiveUp,
        ),
    ];
    for (error, key, kind, snapshots, remedy) in table {
        let reason = error.to_string();
        let expected = Damage { key, kind, reason, snapshots, remedy };
        assert_eq!(problem_of_history(&problem(error)), expected);
    }
}

#[test]
fn a_manifest_that_cannot_be_read_costs_something_while_its_snapshot_counts() {
    let error = VaultError::Object(ObjectError::Missing { key: "snapshots/1".to_owned() });
    let said = ManifestVerdict::Damaged(error.to_string());
    let table = [
        (Standing::Kept, ManifestVerdict::Sound, said.clone()),
        // The floor keeps it, so it counts.
        (Standing::Refused, ManifestVerdict::Sound, said),
        (Standing::Forgotten, ManifestVerdict::Sound, ManifestVerdict::GivenUp),
        (Standing::Revoked, ManifestVerdict::DoesNotCount, ManifestVerdict::DoesNotCount),
    ];
    for (standing, whole, damaged) in table {
        assert_eq!(manifest(standing, None), whole, "{standing:?}, whole");
        assert_eq!(manifest(standing, Some(&error)), damaged, "{standing:?}, damaged");
    }
}

#[test]
fn what_runs_left_is_counted() {
    let packs = "2 packs of 30 bytes are in no index object: a run that did not finish left them";
    let runs = "4 runs stored nothing: they found nothing new, or did not finish";
    let nothing: [&str; 0] = [];
    assert_eq!(leftovers(&[], 0), nothing);
    assert_eq!(leftovers(&[10, 20], 0), [packs]);
    assert_eq!(leftovers(&[], 4), [runs]);
    assert_eq!(leftovers(&[10, 20], 4), [packs, runs]);
}
