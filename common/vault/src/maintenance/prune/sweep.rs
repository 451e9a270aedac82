//! What a prune condemns, and which condemned objects it deletes.

use std::collections::{BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::format::condemnation::{Condemnation, GRACE, MOST_OBJECTS};
use crate::format::frame_set::FrameSet;
use crate::repository::condemnations::FoundCondemnation;

/// The result of a plan.
pub(super) struct Unneeded<'a> {
    /// The names of objects that nothing needs.
    pub(super) objects: &'a BTreeSet<String>,
    /// Frames in packs among these that nothing needs.
    pub(super) frames: &'a FrameSet,
    /// The frames that something needs.
    pub(super) needed: &'a FrameSet,
}

/// What happens to condemnations.
pub(super) struct Condemning {
    /// Those that stay as they are.
    pub(super) standing: Vec<FoundCondemnation>,
    /// Those that name something needed, which are deleted once their replacements are stored.
    pub(super) replaced: Vec<FoundCondemnation>,
    /// Those to sign.
    pub(super) new: Vec<Condemnation>,
}

impl Unneeded<'_> {
    /// Decides what happens to the condemnations that were `found`, with the names of objects that are there. One that
    /// names something needed is replaced by one without it, and one by which that is only avoided: another prune may be
    /// deleting it by the one that is replaced, so no run refers to it for a grace more.
    pub(super) fn condemn(&self, found: Vec<FoundCondemnation>) -> Condemning {
        let (standing, replaced): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| {
            let is_unneeded = |key: &String| self.objects.contains(key);
            let names_needed = !found.body.objects.iter().all(is_unneeded)
                || frames_of([found].into_iter()).meets(self.needed);
            !(found.body.deletes() && names_needed)
        });
        let deleting = || standing.iter().filter(|found| found.body.deletes());
        let condemned: HashSet<&String> = deleting().flat_map(|found| &found.body.objects).collect();
        let objects = self.objects.iter().filter(|key| !condemned.contains(key));
        let objects: Vec<String> = objects.cloned().collect();
        let frames = self.frames.minus(&frames_of(deleting()));
        let mut new = condemnations(&objects, &frames, None);
        let needed = replaced.iter().flat_map(|found| &found.body.objects);
        let needed: BTreeSet<&String> = needed.filter(|key| !self.objects.contains(*key)).collect();
        let needed: Vec<String> = needed.into_iter().cloned().collect();
        let frames = frames_of(replaced.iter()).and(self.needed);
        new.extend(condemnations(&needed, &frames, Some(true)));
        Condemning { standing, replaced, new }
    }
}

fn frames_of<'f>(found: impl Iterator<Item = &'f FoundCondemnation>) -> FrameSet {
    let mut frames = FrameSet::default();
    for found in found {
        frames.add_records(&found.body.frames);
    }
    frames
}

/// Condemnations that name these objects and frames; none if there are none.
fn condemnations(objects: &[String], frames: &FrameSet, avoid_only: Option<bool>) -> Vec<Condemnation> {
    // Runs do not refer to what is only in condemned packs, so a frame that is left out here is safe as well.
    let frames = frames.in_proportion();
    let of = |objects: &[String]| Condemnation { frames: Vec::new(), objects: objects.to_vec(), avoid_only };
    let mut new: Vec<Condemnation> = objects.chunks(MOST_OBJECTS).map(of).collect();
    if !frames.is_empty() {
        if new.is_empty() {
            new.push(of(&[]));
        }
        // A run that refers to frames reads all condemnations, so it does not matter which one names them.
        new[0].frames = frames.to_records();
    }
    new
}

/// Whether a condemnation was stored long enough ago for what it names to be deleted. A condemnation that this very
/// prune stored may be dated later than `now`: its age counts as zero.
pub(super) fn is_due(stored: Timestamp, now: Timestamp, grace: SignedDuration) -> bool {
    now.duration_since(stored).max(SignedDuration::ZERO) >= grace
}

/// The objects to delete, in this order: the `unneeded` ones that were condemned long enough ago. Manifests come first,
/// so that none is left without what it names; then the index, so that nobody finds what is about to be deleted; packs
/// and registrations last.
pub(super) fn to_delete<'u>(
    standing: &[FoundCondemnation],
    unneeded: impl Iterator<Item = &'u String>,
    now: Timestamp,
    grace: SignedDuration,
) -> Vec<&'u String> {
    let due = standing.iter().filter(|found| found.body.deletes() && is_due(found.stored, now, grace));
    let named: HashSet<&String> = due.flat_map(|found| &found.body.objects).collect();
    let mut objects: Vec<&String> = unneeded.filter(|key| named.contains(key)).collect();
    objects.sort_by_key(|key| (order_of(key), *key));
    objects
}

/// The condemnations that have become useless. One is useful until no run that began before it can still commit, whatever
/// the prune's own grace is, and while an object is `left` that may be deleted by it.
pub(super) fn to_lift(
    standing: &[FoundCondemnation],
    is_left: impl Fn(&String) -> bool,
    now: Timestamp,
    grace: SignedDuration,
) -> impl Iterator<Item = &FoundCondemnation> {
    standing.iter().filter(move |found| {
        let is_waiting = found.body.deletes() && found.body.objects.iter().any(&is_left);
        is_due(found.stored, now, grace.max(GRACE)) && !is_waiting
    })
}

/// Whether the condemnation of a removed keeper, stored at this time, has become useless. A prune that the keeper began
/// before its removal may go on for a while, and runs heed what it condemned. `removed` is when the roster in force was
/// stored.
pub(super) fn is_useless_of_removed(stored: Timestamp, removed: Timestamp, now: Timestamp) -> bool {
    is_due(stored.max(removed), now, GRACE)
}

/// In which order kinds of objects are deleted.
fn order_of(key: &str) -> u8 {
    match key.split('/').next() {
        Some("snapshots") => 0,
        Some("parts") => 1,
        Some("contents") => 2,
        Some("locations") => 3,
        Some("packs") => 5,
        Some("runs") => 6,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunId;

    const NOW: i64 = 1_000 * 24 * 60 * 60;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn days(days: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * days)
    }

    fn frames(ordinals: &[u32]) -> FrameSet {
        ordinals.iter().map(|ordinal| RunId::from_bytes([1; 16]).frame(*ordinal)).collect()
    }

    fn found(age_days: i64, objects: &[&str], of: &[u32]) -> FoundCondemnation {
        FoundCondemnation {
            key: format!("condemned/{age_days}"),
            stored: now() - days(age_days),
            body: Condemnation {
                frames: frames(of).to_records(),
                objects: objects.iter().map(ToString::to_string).collect(),
                avoid_only: None,
            },
        }
    }

    fn names(objects: &[&str]) -> BTreeSet<String> {
        objects.iter().map(ToString::to_string).collect()
    }

    /// What was condemned with which frames; what is unneeded today with which frames; then whether the condemnation
    /// stands, what is condemned, and what is only avoided.
    type Row = (
        (&'static [&'static str], &'static [u32]),
        (&'static [&'static str], &'static [u32]),
        bool,
        (&'static [&'static str], &'static [u32]),
        (&'static [&'static str], &'static [u32]),
    );

    const NONE: (&[&str], &[u32]) = (&[], &[]);

    fn named<'c>(bodies: impl Iterator<Item = &'c Condemnation>) -> (Vec<&'c str>, Vec<u32>) {
        let (mut objects, mut frames) = (Vec::new(), FrameSet::default());
        for body in bodies {
            assert!(!body.objects.is_empty() || !body.frames.is_empty(), "one that names nothing");
            objects.extend(body.objects.iter().map(String::as_str));
            frames.add_records(&body.frames);
        }
        (objects, frames.iter().map(|frame| frame.ordinal).collect())
    }

    /// Frame 9 is needed.
    #[test]
    fn what_is_unneeded_is_condemned_once_and_what_is_needed_again_is_only_avoided() {
        let rows: &[Row] = &[
            (NONE, NONE, true, NONE, NONE),
            (NONE, (&["packs/a", "packs/b"], &[1]), true, (&["packs/a", "packs/b"], &[1]), NONE),
            ((&["packs/a"], &[]), (&["packs/a"], &[]), true, NONE, NONE),
            ((&["packs/a"], &[]), (&["packs/a", "packs/b"], &[]), true, (&["packs/b"], &[]), NONE),
            (
                (&["packs/a", "packs/b"], &[]),
                (&["packs/a"], &[]),
                false,
                (&["packs/a"], &[]),
                (&["packs/b"], &[]),
            ),
            ((&["packs/a"], &[]), NONE, false, NONE, (&["packs/a"], &[])),
            ((&["packs/a"], &[1]), (&["packs/a"], &[1]), true, NONE, NONE),
            ((&["packs/a"], &[1]), (&["packs/a"], &[1, 2]), true, (&[], &[2]), NONE),
            ((&["packs/a"], &[1, 9]), (&["packs/a"], &[1]), false, (&["packs/a"], &[1]), (&[], &[9])),
            ((&["packs/a"], &[1]), (&["packs/b"], &[]), false, (&["packs/b"], &[]), (&["packs/a"], &[])),
        ];
        for ((condemned, of), (objects, unneeded), stands, new, avoided) in rows {
            let (objects, unneeded, needed) = (names(objects), frames(unneeded), frames(&[9]));
            let plan = Unneeded { objects: &objects, frames: &unneeded, needed: &needed };
            let decided = plan.condemn(vec![found(3, condemned, of)]);
            let found = (decided.standing.len(), decided.replaced.len());
            assert_eq!(found, (usize::from(*stands), usize::from(!*stands)), "{condemned:?} {of:?}");
            let deleting = decided.new.iter().filter(|body| body.deletes());
            assert_eq!(named(deleting), (new.0.to_vec(), new.1.to_vec()), "{condemned:?} {of:?}");
            let avoiding = decided.new.iter().filter(|body| !body.deletes());
            assert_eq!(named(avoiding), (avoided.0.to_vec(), avoided.1.to_vec()), "{condemned:?} {of:?}");
        }
    }

    fn avoided(age_days: i64, objects: &[&str], of: &[u32]) -> FoundCondemnation {
        let mut found = found(age_days, objects, of);
        found.body.avoid_only = Some(true);
        found
    }

    #[test]
    fn nothing_is_deleted_by_what_only_says_what_to_avoid_and_it_ends_by_itself() {
        let (objects, none) = (names(&["packs/a"]), FrameSet::default());
        let plan = Unneeded { objects: &objects, frames: &none, needed: &frames(&[9]) };
        // It stands though something that it names is needed, and what is unneeded by now is condemned beside it.
        let decided = plan.condemn(vec![avoided(9, &["packs/a", "packs/b"], &[9])]);
        assert_eq!((decided.standing.len(), decided.replaced.len()), (1, 0));
        assert_eq!(named(decided.new.iter()), (vec!["packs/a"], Vec::new()));
        let deleted = to_delete(&decided.standing, objects.iter(), now(), GRACE);
        assert!(deleted.is_empty(), "{deleted:?}");
        for (age, lifted) in [(7, 0), (8, 1)] {
            assert_eq!(to_lift(&[avoided(age, &["packs/a"], &[])], |_| true, now(), GRACE).count(), lifted);
        }
    }

    #[test]
    fn condemnations_are_split_where_one_would_name_too_many_objects() {
        let objects: BTreeSet<String> = (0..=MOST_OBJECTS).map(|number| format!("packs/{number}")).collect();
        let plan = Unneeded { objects: &objects, frames: &frames(&[1]), needed: &FrameSet::default() };
        let new = plan.condemn(Vec::new()).new;
        let sizes: Vec<usize> = new.iter().map(|body| body.objects.len()).collect();
        assert_eq!(sizes, [MOST_OBJECTS, 1]);
        assert_eq!(new.iter().flat_map(|body| body.objects.clone()).collect::<BTreeSet<_>>(), objects);
    }

    #[test]
    fn only_what_is_due_unneeded_and_there_is_deleted_manifests_first_and_registrations_last() {
        let kinds =
            ["runs/a", "packs/a", "tips/a", "clock/a", "locations/a", "contents/a", "parts/a", "snapshots/a"];
        let in_order =
            ["snapshots/a", "parts/a", "contents/a", "locations/a", "clock/a", "tips/a", "packs/a", "runs/a"];
        let all = [found(8, &kinds, &[]), found(9, &["packs/a"], &[])];
        let deleted = |standing: &[FoundCondemnation], unneeded: &[&str], grace| -> Vec<String> {
            let unneeded = names(unneeded);
            to_delete(standing, unneeded.iter(), now(), grace).into_iter().cloned().collect()
        };
        assert_eq!(deleted(&all, &kinds, days(8)), in_order);
        assert_eq!(deleted(&all, &kinds, days(9)), ["packs/a"], "the older one names it");
        assert_eq!(
            deleted(&all, &["packs/a", "packs/b"], days(8)),
            ["packs/a"],
            "what is needed again stays"
        );
        assert_eq!(deleted(&[found(8, &["packs/gone"], &[])], &[], days(8)), [""; 0], "it is gone already");
        assert_eq!(
            deleted(&[found(-1, &["packs/a"], &[])], &["packs/a"], days(0)),
            ["packs/a"],
            "of this very prune"
        );
        assert_eq!(deleted(&[found(-1, &["packs/a"], &[])], &["packs/a"], days(1)), [""; 0]);
    }

    #[test]
    fn a_condemnation_stays_for_the_full_grace_though_what_it_names_was_deleted_sooner() {
        let standing = [found(7, &[], &[]), found(8, &["packs/gone"], &[]), found(12, &[], &[])];
        let lifted = |grace| to_lift(&standing, |_| false, now(), grace).count();
        assert_eq!((lifted(days(0)), lifted(GRACE), lifted(days(9)), lifted(days(13))), (2, 2, 1, 0));
    }

    #[test]
    fn a_condemnation_stays_while_something_that_it_names_is_left() {
        let standing = [found(8, &["packs/a"], &[]), found(12, &["packs/b", "packs/c"], &[])];
        let rows: &[(&[&str], &[&str])] = &[
            (&[], &["condemned/8", "condemned/12"]),
            (&["packs/a"], &["condemned/12"]),
            (&["packs/c", "packs/d"], &["condemned/8"]),
            (&["packs/a", "packs/b"], &[]),
        ];
        for (left, lifted) in rows {
            let is_left = |key: &String| left.contains(&key.as_str());
            let decided: Vec<&str> =
                to_lift(&standing, is_left, now(), GRACE).map(|found| found.key.as_str()).collect();
            assert_eq!(decided, *lifted, "{left:?}");
        }
    }

    #[test]
    fn a_condemnation_of_a_removed_keeper_stays_until_a_grace_after_the_removal() {
        let lifted = |age| {
            let is_useless =
                |days_old| is_useless_of_removed(now() - days(days_old), now() - days(age), now());
            [7, 8, 12].into_iter().filter(|age| is_useless(*age)).count()
        };
        assert_eq!((lifted(20), lifted(8), lifted(7), lifted(-1)), (2, 2, 0, 0));
    }
}
