use proptest::prelude::*;

use super::*;
use crate::format::manifest::{Manifest, Original, Predicate};
use crate::ids::{GroupId, RepositoryId};
use crate::snapshots::summary::Summary;

/// One snapshot of a table: written as `3c`, `3.5i` (day 3, 12 o'clock, incomplete), with changes.
#[derive(Debug, Clone)]
struct Row(Facts);

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// A Monday, the first day of a month and of a year.
const MONDAY: i64 = 1_704_067_200;

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(MONDAY + hours * HOUR).unwrap()
}

fn row(sequence: u64, hours: i64) -> Row {
    let line =
        Line { writer: WriterId::from_bytes([1; 16]), copied_from: None, what: Sha256Digest::of(b"path") };
    let (claimed, stored) = (at(hours), at(hours));
    Row(Facts {
        line,
        place: (sequence, sequence),
        claimed,
        stored,
        is_complete: true,
        tags: Some(Vec::new()),
    })
}

impl Row {
    fn incomplete(mut self) -> Self {
        self.0.is_complete = false;
        self
    }

    fn stored(mut self, hours: i64) -> Self {
        self.0.stored = at(hours);
        self
    }

    fn of_unknown_tags(mut self) -> Self {
        self.0.tags = None;
        self
    }

    fn tagged(mut self, tag: &str) -> Self {
        self.0.tags.get_or_insert_default().push(tag.to_owned());
        self
    }

    fn of(mut self, what: &str) -> Self {
        self.0.line.what = Sha256Digest::of(what.as_bytes());
        self
    }

    fn by(mut self, writer: u8) -> Self {
        self.0.line.writer = WriterId::from_bytes([writer; 16]);
        self
    }

    /// A copy, stored as snapshot `own` of its copier at `hours`.
    fn copy(mut self, own: u64, hours: i64) -> Self {
        self.0.line.copied_from = Some(self.0.line.writer);
        self.0.line.writer = WriterId::from_bytes([99; 16]);
        self.0.place.1 = own;
        self.0.stored = at(hours);
        self
    }
}

/// Complete snapshots at these hours, each stored at once.
fn complete(hours: &[i64]) -> Vec<Row> {
    (0..).zip(hours).map(|(sequence, hours)| row(sequence, *hours)).collect()
}

fn none() -> Rules {
    Rules::default()
}

/// The numbers of those that are kept.
fn kept(rules: &Rules, rows: &[Row]) -> Vec<usize> {
    let facts: Vec<Facts> = rows.iter().map(|row| row.0.clone()).collect();
    let reasons = decide(rules, &facts);
    (0..rows.len()).filter(|number| !reasons[*number].is_empty()).collect()
}

fn table(rows: &[(&str, Rules, Vec<Row>, &[usize])]) {
    for (name, rules, snapshots, expected) in rows {
        assert_eq!(kept(rules, snapshots), *expected, "{name}");
    }
}

#[test]
fn every_rule_keeps_the_newest_of_its_span() {
    let week = 7 * 24;
    table(&[
        ("no rule", none(), complete(&[0, 1]), &[]),
        ("last", Rules { last: 2, ..none() }, complete(&[0, 1, 2]), &[1, 2]),
        ("last of more than there are", Rules { last: 9, ..none() }, complete(&[0, 1]), &[0, 1]),
        (
            "hourly",
            Rules { hourly: 2, ..none() },
            {
                let minutes = [0, 20, 60, 80, 179];
                let rows = (0..).zip(minutes).map(|(sequence, minutes)| {
                    let mut row = row(sequence, 0);
                    let time = Timestamp::from_second(MONDAY + minutes * 60).unwrap();
                    (row.0.claimed, row.0.stored) = (time, time);
                    row
                });
                rows.collect()
            },
            &[3, 4],
        ),
        ("daily", Rules { daily: 2, ..none() }, complete(&[1, 23, 24, 47, 48]), &[3, 4]),
        ("daily counts days that have one", Rules { daily: 2, ..none() }, complete(&[0, 240, 480]), &[1, 2]),
        (
            "weekly",
            Rules { weekly: 2, ..none() },
            complete(&[0, week - 1, week, 2 * week - 1, 2 * week]),
            &[3, 4],
        ),
        (
            "monthly",
            Rules { monthly: 2, ..none() },
            complete(&[0, 30 * 24, 31 * 24, 59 * 24, 60 * 24]),
            &[3, 4],
        ),
        (
            "yearly",
            Rules { yearly: 2, ..none() },
            complete(&[0, 365 * 24, 366 * 24, 400 * 24, 800 * 24]),
            &[3, 4],
        ),
        (
            "within",
            Rules { within: Some(SignedDuration::from_hours(24)), ..none() },
            complete(&[0, 1, 25]),
            &[1, 2],
        ),
        (
            "tags",
            Rules { tags: vec!["keep".to_owned()], ..none() },
            vec![row(0, 0).tagged("keep"), row(1, 1).tagged("other"), row(2, 2)],
            &[0],
        ),
        (
            "tags that are not known",
            Rules { last: 1, tags: vec!["keep".to_owned()], ..none() },
            vec![row(0, 0).of_unknown_tags(), row(1, 1), row(2, 2)],
            &[0, 2],
        ),
        ("rules add up", Rules { last: 1, daily: 3, ..none() }, complete(&[0, 1, 24, 25, 26]), &[1, 4]),
        (
            "different things",
            Rules { last: 1, ..none() },
            vec![row(0, 0), row(1, 1).of("volume"), row(2, 2)],
            &[1, 2],
        ),
        ("different writers", Rules { last: 1, ..none() }, vec![row(0, 0), row(0, 1).by(2)], &[0, 1]),
    ]);
}

#[test]
fn an_incomplete_snapshot_displaces_no_complete_one() {
    let within = |days: i64| Rules { within: Some(SignedDuration::from_hours(24 * days)), ..none() };
    let days = |complete: &[i64], incomplete: &[i64]| -> Vec<Row> {
        let mut all: Vec<(i64, bool)> = complete.iter().map(|day| (*day, true)).collect();
        all.extend(incomplete.iter().map(|day| (*day, false)));
        all.sort_unstable();
        let rows = (0..).zip(all).map(|(sequence, (day, is_complete))| {
            let row = row(sequence, day * 24);
            if is_complete { row } else { row.incomplete() }
        });
        rows.collect()
    };
    table(&[
        ("within is measured among equals", within(30), days(&[0, 1], &[20, 40]), &[0, 1, 2, 3]),
        ("within, an incomplete one too old", within(10), days(&[0, 1], &[20, 40]), &[0, 1, 3]),
        ("last", Rules { last: 1, ..none() }, days(&[0], &[1, 2]), &[0, 2]),
        (
            "daily, both of one day",
            Rules { daily: 1, ..none() },
            vec![row(0, 0), row(1, 1).incomplete()],
            &[0, 1],
        ),
        ("always incomplete", Rules { last: 2, ..none() }, days(&[], &[0, 1, 2, 3]), &[2, 3]),
        ("always incomplete, daily", Rules { daily: 1, ..none() }, days(&[], &[0, 1, 2, 3]), &[3]),
        ("alternating", Rules { last: 2, ..none() }, days(&[0, 2, 4], &[1, 3, 5]), &[2, 4, 5]),
        ("alternating, the last one complete", Rules { last: 9, ..none() }, days(&[2, 4], &[1, 3]), &[1, 3]),
        (
            "a complete one that is dated back, after it",
            within(5),
            vec![row(0, -240), row(1, 0).incomplete(), row(2, -216).stored(1)],
            &[0, 1, 2],
        ),
        (
            "an old incomplete one with a tag",
            Rules { last: 1, tags: vec!["keep".to_owned()], ..none() },
            vec![row(0, 0).incomplete().tagged("keep"), row(1, 1)],
            &[0, 1],
        ),
    ]);
}

#[test]
fn times_that_are_not_true_displace_nothing() {
    let last = |count| Rules { last: count, ..none() };
    let daily = |count| Rules { daily: count, ..none() };
    let day = |count: i64| count * 24;
    table(&[
        (
            "dated back, last",
            last(2),
            vec![row(0, day(0)), row(1, day(5)), row(2, day(-9)).stored(day(6))],
            &[0, 1, 2],
        ),
        (
            "dated back, daily",
            daily(2),
            vec![row(0, day(0)), row(1, day(5)), row(2, day(0)).stored(day(6))],
            &[0, 1, 2],
        ),
        (
            "several that are dated back displace each other",
            last(1),
            vec![row(0, day(0)), row(1, day(-9)).stored(day(6)), row(2, day(-8)).stored(day(7))],
            &[0, 2],
        ),
        (
            "dated back into the newest day",
            daily(1),
            vec![row(0, day(5)), row(1, day(5) + 1).stored(day(9))],
            &[0, 1],
        ),
        (
            "a run over midnight and the one before it",
            daily(1),
            vec![row(0, 3), row(1, 22).stored(23), row(2, 23).stored(25)],
            &[1, 2],
        ),
        (
            "dated ahead",
            daily(2),
            vec![row(0, day(0)), row(1, day(900)).stored(day(1)), row(2, day(2))],
            &[1, 2],
        ),
        (
            "dated ahead does not make a true one old",
            last(1),
            vec![row(0, day(900)).stored(day(0)), row(1, day(1))],
            &[1],
        ),
        (
            "copies go by their originals' times",
            daily(2),
            vec![
                row(0, day(0)).copy(0, day(90)),
                row(1, day(1)).copy(1, day(90)),
                row(2, day(2)).copy(2, day(90)),
            ],
            &[1, 2],
        ),
        (
            "copies of one day that were copied on two",
            daily(1),
            vec![row(0, 1).copy(0, day(90)), row(1, 2).copy(1, day(91))],
            &[1],
        ),
        (
            "copies of one day, one of them copied that day",
            daily(1),
            vec![row(0, 1).copy(0, 2), row(1, 2).copy(1, day(1))],
            &[1],
        ),
        (
            "copies in their originals' order, whatever the order of copying",
            last(1),
            vec![row(7, day(7)).copy(0, day(90)), row(3, day(3)).copy(1, day(91))],
            &[0],
        ),
        ("copies and originals", last(1), vec![row(0, day(0)), row(1, day(1)).copy(0, day(2))], &[0, 1]),
        (
            "copies that claim to be another's",
            last(1),
            vec![row(0, day(0)), row(9, day(9)).copy(0, day(9)).by(2)],
            &[0, 1],
        ),
    ]);
}

#[test]
fn only_rules_that_say_nothing_are_empty() {
    assert!(none().is_empty());
    let within = Some(SignedDuration::ZERO);
    for rules in [
        Rules { last: 1, ..none() },
        Rules { hourly: 1, ..none() },
        Rules { daily: 1, ..none() },
        Rules { weekly: 1, ..none() },
        Rules { monthly: 1, ..none() },
        Rules { yearly: 1, ..none() },
        Rules { within, ..none() },
        Rules { tags: vec![String::new()], ..none() },
    ] {
        assert!(!rules.is_empty(), "{rules:?}");
    }
}

/// A snapshot of a listing, claimed at one hour and stored at another.
fn snapshot(sequence: u64, hours: i64, stored: i64) -> Snapshot {
    let id = Sha256Digest::of(&sequence.to_le_bytes());
    let predicate = Predicate {
        format: crate::format::FORMAT_VERSION,
        repository: RepositoryId::from_bytes([3; 32]),
        group: GroupId::from_bytes([4; 16]),
        writer: WriterId::from_bytes([1; 16]),
        sequence,
        previous: None,
        time: at(hours),
        roster: 0,
        part_bytes: 0,
        incomplete: false,
        contents: Vec::new(),
        seen: Vec::new(),
    };
    let summary = Summary {
        host: "host".to_owned(),
        application: None,
        tags: vec!["keep".to_owned()],
        streams: Vec::new(),
        copied_from: None,
        metadata_bytes: 0,
        what: Sha256Digest::of(b"path"),
        is_cut: false,
    };
    Snapshot { manifest: Manifest { predicate, part: id, id }, summary, stored: at(stored) }
}

#[test]
fn the_facts_of_a_snapshot_are_those_of_its_manifest_and_part() {
    let original = row(7, 1).stored(2).tagged("keep");
    assert_eq!(Facts::of(&snapshot(7, 1, 2)), original.0);
    let mut incomplete = snapshot(7, 1, 2);
    incomplete.manifest.predicate.incomplete = true;
    assert_eq!(Facts::of(&incomplete), original.clone().incomplete().0);
    let mut cut = snapshot(7, 1, 2);
    cut.summary.is_cut = true;
    assert_eq!(Facts::of(&cut), row(7, 1).stored(2).of_unknown_tags().0);
    let mut copy = snapshot(8, 1, 2);
    copy.manifest.predicate.writer = WriterId::from_bytes([99; 16]);
    copy.summary.copied_from = Some(Original {
        repository: RepositoryId::from_bytes([5; 32]),
        snapshot: Sha256Digest::of(b"the original"),
        writer: WriterId::from_bytes([1; 16]),
        sequence: 7,
    });
    assert_eq!(Facts::of(&copy), original.copy(8, 2).0);
}

#[test]
fn rules_apply_to_snapshots_in_the_order_of_a_listing() {
    let mut snapshots = vec![snapshot(0, 0, 0), snapshot(1, 1, 1), snapshot(2, 30, 30)];
    let reasons = apply(&Rules { last: 1, daily: 2, ..none() }, &snapshots);
    assert_eq!(reasons, [vec![], vec!["daily"], vec!["last", "daily"]]);
    assert_eq!(left_without(&snapshots, &reasons), [0; 0]);
    // Nothing is kept of another line.
    snapshots[0].summary.what = Sha256Digest::of(b"volume");
    assert_eq!(left_without(&snapshots, &reasons), [0]);
}

#[test]
fn a_line_of_which_nothing_is_kept_is_named_by_its_newest() {
    let lines = |rows: &[Row]| -> Vec<Line> { rows.iter().map(|row| row.0.line.clone()).collect() };
    let rows = [row(0, 0).of("a"), row(1, 1).of("b"), row(2, 2).of("a"), row(3, 3).of("b")];
    let kept = |kept: &[usize]| -> Vec<Reasons> {
        (0..rows.len()).map(|n| if kept.contains(&n) { vec!["tag"] } else { vec![] }).collect()
    };
    assert_eq!(without_any(&lines(&rows), &kept(&[0, 3])), [0; 0]);
    assert_eq!(without_any(&lines(&rows), &kept(&[0])), [3]);
    assert_eq!(without_any(&lines(&rows), &kept(&[])), [2, 3]);
    assert_eq!(without_any(&[], &[]), [0; 0]);
}

fn any_row() -> impl Strategy<Value = Row> {
    let times = (
        0..2_000_i64,
        prop_oneof![3 => 0..2_i64, 1 => 0..200_i64],
        prop_oneof![4 => Just(0), 1 => -900..900_i64],
    );
    (0..40_u64, times, any::<bool>(), any::<bool>(), 0..2_u8, 0..2_u8).prop_map(
        |(sequence, (hours, took, off), is_complete, is_tagged, what, copier)| {
            let mut row = row(sequence, hours + off).stored(hours + took).of(&format!("path {what}"));
            if !is_complete {
                row = row.incomplete();
            }
            if is_tagged {
                row = row.tagged("keep");
            }
            if copier == 1 { row.copy(sequence, hours + took + 5) } else { row }
        },
    )
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(any_row(), 0..40).prop_map(|mut rows| {
        // A writer has one snapshot at a place.
        let mut places = BTreeSet::new();
        rows.retain(|row| places.insert((row.0.line.writer, row.0.place)));
        rows
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let counts = prop::array::uniform6(0..5_u32);
    (counts, prop::option::of(0..600_i64), any::<bool>()).prop_map(|(counts, within, tag)| {
        let [last, hourly, daily, weekly, monthly, yearly] = counts;
        let within = within.map(SignedDuration::from_hours);
        let tags = if tag { vec!["keep".to_owned()] } else { Vec::new() };
        Rules { last, hourly, daily, weekly, monthly, yearly, within, tags }
    })
}

proptest! {
    #[test]
    fn the_order_in_which_snapshots_come_is_ignored(rules in any_rules(), rows in any_rows(), seed in any::<u64>()) {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|number| blake3::hash(&[seed.to_le_bytes(), (*number as u64).to_le_bytes()].concat()).to_string());
        let shuffled: Vec<Row> = order.iter().map(|number| rows[*number].clone()).collect();
        let mut there: Vec<usize> = kept(&rules, &shuffled).into_iter().map(|number| order[number]).collect();
        there.sort_unstable();
        prop_assert_eq!(there, kept(&rules, &rows));
    }

    #[test]
    fn to_keep_more_never_keeps_less(rules in any_rules(), more in any_rules(), rows in any_rows()) {
        let sum = Rules {
            last: rules.last + more.last,
            hourly: rules.hourly + more.hourly,
            daily: rules.daily + more.daily,
            weekly: rules.weekly + more.weekly,
            monthly: rules.monthly + more.monthly,
            yearly: rules.yearly + more.yearly,
            within: rules.within.max(more.within),
            tags: [rules.tags.clone(), more.tags].concat(),
        };
        let (few, many) = (kept(&rules, &rows), kept(&sum, &rows));
        prop_assert!(few.iter().all(|number| many.contains(number)), "{few:?}, then {many:?}");
    }

    #[test]
    fn without_incomplete_ones_the_same_complete_ones_are_kept(rules in any_rules(), rows in any_rows()) {
        let numbers: Vec<usize> = (0..rows.len()).filter(|number| rows[*number].0.is_complete).collect();
        let alone: Vec<Row> = numbers.iter().map(|number| rows[*number].clone()).collect();
        let alone: Vec<usize> = kept(&rules, &alone).into_iter().map(|number| numbers[number]).collect();
        let mut among = kept(&rules, &rows);
        among.retain(|number| rows[*number].0.is_complete);
        prop_assert_eq!(alone, among);
    }

    #[test]
    fn one_that_is_dated_back_displaces_nothing(rules in any_rules(), rows in any_rows(), back in 1..5_000_i64) {
        // Every snapshot is complete and true, and one more at the end claims an earlier time.
        let mut rows: Vec<Row> = rows;
        rows.sort_by_key(|row| row.0.place);
        for (number, row) in (0..).zip(&mut rows) {
            let time = Timestamp::from_second(MONDAY + number * DAY / 3).unwrap();
            (row.0.claimed, row.0.stored, row.0.is_complete) = (time, time, true);
        }
        let before = kept(&rules, &rows);
        let mut last = row(900, 30 * 24).stored(60 * 24).of("path 0");
        last.0.claimed = Timestamp::from_second(last.0.claimed.as_second() - back * HOUR).unwrap();
        rows.push(last);
        let after = kept(&rules, &rows);
        // Unless it claims a true time of its own, after all others, as any new snapshot may.
        let newest = rows[..rows.len() - 1].iter().filter(|row| row.0.line == rows[rows.len() - 1].0.line).map(|row| row.0.claimed).max();
        if newest.is_some_and(|newest| newest > rows[rows.len() - 1].0.claimed) {
            prop_assert!(before.iter().all(|number| after.contains(number)), "{before:?}, then {after:?}");
        }
    }
}
