//! Decides which snapshots the rules keep: the newest of each hour, day, week, month and year, for a number of them.
//!
//! The rules are a pure function of a few facts about each snapshot ([`Facts`]). They count within one *line*: the
//! snapshots that one writer stored of the same things, with copies separate from originals, and the copies of one
//! original writer separate from those of another. So no snapshot displaces one of another line.
//!
//! Within a line the facts decide which snapshot may displace which:
//!
//! * An incomplete snapshot displaces no complete one. The incomplete ones after the last complete one that is not
//!   dated back follow the same rules among themselves. Those before it are forgotten.
//! * A snapshot that is dated back displaces none that is not. It is dated back if it claims an earlier time than one
//!   of the same line that came before it. Those that are dated back follow the same rules among themselves.
//! * A snapshot that is dated ahead counts as of the time at which it was stored.
//! * An original that was stored in a later hour (day, week …) than it claims does not displace one that was stored in
//!   the hour that it claims: both are kept. So a new snapshot cannot take the place of an old one by claiming its day.
//!
//! A copy claims its original's time and keeps its original's order. The time of copying is ignored.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use lifeboat_core::Sha256Digest;

use crate::ids::WriterId;
use crate::snapshots::snapshot::Snapshot;

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
    /// Whether there are no rules; then nothing would be kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a snapshot is kept; empty for one to forget.
pub type Reasons = Vec<&'static str>;

/// Applies the rules. Returns why each snapshot is kept, in the order of the input.
pub fn apply(rules: &Rules, snapshots: &[Snapshot]) -> Vec<Reasons> {
    let facts: Vec<Facts> = snapshots.iter().map(Facts::of).collect();
    decide(rules, &facts)
}

/// The input of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    line: Line,
    /// Its place in the line: the sequence of the original, then its own.
    place: (u64, u64),
    /// When it was taken, as its writer claims.
    claimed: Timestamp,
    /// When it was stored, by the storage's clock.
    stored: Timestamp,
    is_complete: bool,
    /// Its tags; `None` if they are unknown.
    tags: Option<Vec<String>>,
}

/// Snapshots that may displace each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    /// The writer that stored them.
    writer: WriterId,
    /// The writer that took the originals, if they are copies.
    copied_from: Option<WriterId>,
    /// Their content: snapshots of different things never displace each other.
    what: Sha256Digest,
}

impl Facts {
    fn of(snapshot: &Snapshot) -> Self {
        let original = snapshot.original();
        Self {
            line: Line {
                writer: snapshot.writer(),
                copied_from: snapshot.is_copy().then_some(original.writer),
                what: snapshot.summary.what,
            },
            place: (original.sequence, snapshot.sequence()),
            claimed: snapshot.time(),
            stored: snapshot.stored(),
            is_complete: !snapshot.is_incomplete(),
            tags: (!snapshot.summary.is_cut).then(|| snapshot.tags().to_vec()),
        }
    }

    /// Its most plausible time: nothing is taken after it is stored, and a copy is stored later still.
    fn time(&self) -> Timestamp {
        self.claimed.min(self.stored)
    }

    fn is_copy(&self) -> bool {
        self.line.copied_from.is_some()
    }
}

fn decide(rules: &Rules, facts: &[Facts]) -> Vec<Reasons> {
    let mut lines: BTreeMap<&Line, Vec<usize>> = BTreeMap::new();
    for (number, fact) in facts.iter().enumerate() {
        lines.entry(&fact.line).or_default().push(number);
    }
    let mut reasons = vec![Reasons::new(); facts.len()];
    for mut members in lines.into_values() {
        members.sort_by_key(|number| facts[*number].place);
        let last_complete = last_complete(facts, &members);
        let of_kind = |from: usize, is_complete: bool| -> Vec<usize> {
            members[from..]
                .iter()
                .copied()
                .filter(|number| facts[*number].is_complete == is_complete)
                .collect()
        };
        let (complete, incomplete) = (of_kind(0, true), of_kind(last_complete.unwrap_or(0), false));
        for number in &members {
            let bears = |tag| facts[*number].tags.as_ref().is_none_or(|tags| tags.contains(tag));
            if rules.tags.iter().any(bears) {
                reasons[*number].push("tag");
            }
        }
        for (members, label) in [(complete, None), (incomplete, Some("incomplete"))] {
            let (in_order, dated_back) = by_credit(facts, &members);
            apply_among(rules, &in_order, label, &mut reasons);
            apply_among(rules, &dated_back, label.or(Some("dated back")), &mut reasons);
        }
    }
    reasons
}

/// The position among `members` of the last complete one that is not dated back.
fn last_complete(facts: &[Facts], members: &[usize]) -> Option<usize> {
    let (in_order, _) = by_credit(facts, members);
    let last = in_order.iter().rev().find(|member| facts[member.number].is_complete)?;
    members.iter().position(|number| *number == last.number)
}

/// For each line of which the rules keep nothing, the newest snapshot.
pub fn left_without(snapshots: &[Snapshot], reasons: &[Reasons]) -> Vec<usize> {
    let lines: Vec<Line> = snapshots.iter().map(|snapshot| Facts::of(snapshot).line).collect();
    without_any(&lines, reasons)
}

fn without_any(lines: &[Line], reasons: &[Reasons]) -> Vec<usize> {
    let mut newest: BTreeMap<&Line, (usize, bool)> = BTreeMap::new();
    for (number, (line, reasons)) in lines.iter().zip(reasons).enumerate() {
        let entry = newest.entry(line).or_insert((number, false));
        *entry = (number, entry.1 || !reasons.is_empty());
    }
    let mut found: Vec<usize> =
        newest.into_values().filter(|(_, keeps)| !keeps).map(|(number, _)| number).collect();
    found.sort_unstable();
    found
}

/// A snapshot that the rules apply to.
struct Member {
    number: usize,
    /// The time that it counts as of.
    time: Timestamp,
    /// When it was stored, if that indicates when it was taken.
    stored: Option<Timestamp>,
}

/// Separates those whose times rise with their places from those that are dated back. `members` come in the order of
/// their places, and so do both results.
fn by_credit(facts: &[Facts], members: &[usize]) -> (Vec<Member>, Vec<Member>) {
    let (mut in_order, mut dated_back): (Vec<Member>, Vec<Member>) = (Vec::new(), Vec::new());
    for number in members.iter().copied() {
        let fact = &facts[number];
        let time = fact.time();
        let stored = (!fact.is_copy()).then_some(fact.stored);
        if in_order.last().is_none_or(|before| before.time <= time) {
            in_order.push(Member { number, time, stored });
        } else {
            // Its claim is wrong. The storage's time is the next best, but means nothing for a copy.
            let time = stored.unwrap_or(time);
            let time = dated_back.last().map_or(time, |before| before.time.max(time));
            dated_back.push(Member { number, time, stored: None });
        }
    }
    (in_order, dated_back)
}

/// Distinguishes the span of time that a snapshot belongs to from all others.
type Bucket = fn(Timestamp) -> (i16, i16, i8);

/// The rules that count spans of time.
fn spans(rules: &Rules) -> [(&'static str, u32, Bucket); 5] {
    [
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
    ]
}

/// Applies the rules to snapshots that may displace each other, in the order from oldest to newest. `label` is added to
/// the reasons of those that are kept.
fn apply_among(rules: &Rules, members: &[Member], label: Option<&'static str>, reasons: &mut [Reasons]) {
    let Some(newest) = members.last().map(|member| member.time) else { return };
    let mut kept: BTreeMap<usize, Reasons> = BTreeMap::new();
    let mut keep = |member: &Member, reason| kept.entry(member.number).or_default().push(reason);
    for member in members.iter().rev().take(rules.last as usize) {
        keep(member, "last");
    }
    if let Some(within) = rules.within {
        for member in members.iter().filter(|member| newest.duration_since(member.time) <= within) {
            keep(member, "within");
        }
    }
    for (name, count, bucket) in spans(rules) {
        let mut seen = BTreeSet::new();
        // Spans whose newest snapshot was stored in a later one.
        let mut open = BTreeSet::new();
        for member in members.iter().rev() {
            let span = bucket(member.time);
            let is_on_time = member.stored.is_none_or(|stored| bucket(stored) == span);
            if seen.contains(&span) {
                if is_on_time && open.remove(&span) {
                    keep(member, name);
                }
            } else if seen.len() < count as usize {
                seen.insert(span);
                if !is_on_time {
                    open.insert(span);
                }
                keep(member, name);
            }
        }
    }
    for (number, mut why) in kept {
        why.extend(label);
        reasons[number].append(&mut why);
    }
}
