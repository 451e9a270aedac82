//! Which snapshots rules keep: the newest of each hour, day, week, month and year, for so many of them.
//!
//! Time is what a writer claims, within what the storage saw: no snapshot counts as later than it was stored, or as
//! earlier than the one before it of the same writer. So a host cannot make its own old snapshots displace good ones
//! by dating new ones back or ahead.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::ids::WriterId;
use crate::view::Snapshot;

/// How many of each to keep. All are counted within one writer's snapshots of the same things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest ones.
    pub last: u32,
    /// The newest one of each hour.
    pub hourly: u32,
    /// The newest one of each day.
    pub daily: u32,
    /// The newest one of each ISO week.
    pub weekly: u32,
    /// The newest one of each month.
    pub monthly: u32,
    /// The newest one of each year.
    pub yearly: u32,
    /// All that are at most this much older than the newest one.
    pub within: Option<SignedDuration>,
    /// All with one of these tags.
    pub tags: Vec<String>,
}

impl Rules {
    /// Whether there is any rule; without one nothing would be kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a snapshot is kept; nothing for one that is to be forgotten.
pub type Reasons = Vec<&'static str>;

/// Applies the rules. Gives for every snapshot, in the order they came, why it is kept.
pub fn apply(rules: &Rules, snapshots: &[Snapshot]) -> Vec<Reasons> {
    let times = effective_times(snapshots);
    let mut groups: BTreeMap<(WriterId, Vec<String>), Vec<usize>> = BTreeMap::new();
    for (number, snapshot) in snapshots.iter().enumerate() {
        groups.entry((snapshot.line().0, what(snapshot))).or_default().push(number);
    }
    let mut reasons = vec![Reasons::new(); snapshots.len()];
    for mut members in groups.into_values() {
        members.sort_by_key(|number| std::cmp::Reverse((times[*number], snapshots[*number].line().1)));
        apply_to_group(rules, snapshots, &times, &members, &mut reasons);
    }
    reasons
}

/// What a snapshot is of: snapshots of different things never displace each other.
fn what(snapshot: &Snapshot) -> Vec<String> {
    let mut what: Vec<_> = snapshot.part.streams.iter().map(|s| format!("{} {}", s.kind, s.name)).collect();
    what.extend(snapshot.part.streams.iter().map(|s| hex::encode(s.source)));
    what.extend(snapshot.application().map(|application| format!("application {application}")));
    what.sort_unstable();
    what
}

fn effective_times(snapshots: &[Snapshot]) -> Vec<Timestamp> {
    let mut order: Vec<usize> = (0..snapshots.len()).collect();
    order.sort_by_key(|number| snapshots[*number].line());
    let mut times = vec![Timestamp::UNIX_EPOCH; snapshots.len()];
    let mut before: Option<(WriterId, Timestamp)> = None;
    for number in order {
        let snapshot = &snapshots[number];
        let mut time = snapshot.time().min(snapshot.stored());
        if let Some((writer, earlier)) = before
            && writer == snapshot.line().0
        {
            time = time.max(earlier);
        }
        times[number] = time;
        before = Some((snapshot.line().0, time));
    }
    times
}

/// Tells the span of time that a snapshot belongs to from every other.
type Bucket = fn(Timestamp) -> (i16, i16, i8);

/// `members` come newest first.
fn apply_to_group(
    rules: &Rules,
    snapshots: &[Snapshot],
    times: &[Timestamp],
    members: &[usize],
    reasons: &mut [Reasons],
) {
    let Some(newest) = members.first().map(|number| times[*number]) else { return };
    // An incomplete snapshot is all there is of its time until a complete one follows, and displaces none.
    for number in members.iter().take_while(|number| snapshots[**number].is_incomplete()) {
        reasons[*number].push("newest, incomplete");
    }
    for number in members {
        if rules.tags.iter().any(|tag| snapshots[*number].tags().contains(tag)) {
            reasons[*number].push("tag");
        }
    }
    let complete: Vec<usize> =
        members.iter().copied().filter(|number| !snapshots[*number].is_incomplete()).collect();
    for number in complete.iter().take(rules.last as usize) {
        reasons[*number].push("last");
    }
    if let Some(within) = rules.within {
        for number in complete.iter().filter(|number| newest.duration_since(times[**number]) <= within) {
            reasons[*number].push("within");
        }
    }
    let buckets: [(&'static str, u32, Bucket); 5] = [
        ("hourly", rules.hourly, |time| {
            let at = TimeZone::UTC.to_datetime(time);
            (at.year(), at.date().day_of_year(), at.hour())
        }),
        ("daily", rules.daily, |time| {
            let day = TimeZone::UTC.to_datetime(time).date();
            (day.year(), day.day_of_year(), 0)
        }),
        ("weekly", rules.weekly, |time| {
            let week = TimeZone::UTC.to_datetime(time).date().iso_week_date();
            (week.year(), i16::from(week.week()), 0)
        }),
        ("monthly", rules.monthly, |time| {
            let day = TimeZone::UTC.to_datetime(time).date();
            (day.year(), i16::from(day.month()), 0)
        }),
        ("yearly", rules.yearly, |time| (TimeZone::UTC.to_datetime(time).year(), 0, 0)),
    ];
    for (name, count, bucket) in buckets {
        let mut seen = BTreeSet::new();
        for number in &complete {
            if seen.len() == count as usize {
                break;
            }
            if seen.insert(bucket(times[*number])) {
                reasons[*number].push(name);
            }
        }
    }
}
