//! What a prune condemns, and which condemned objects it deletes.

use std::collections::{BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::format::condemnation::{Condemnation, GRACE, MOST_OBJECTS};
use crate::format::frame_set::FrameSet;
use crate::repository::condemnations::FoundCondemnation;

/// What to condemn: these objects, which nothing needs, and these frames in packs among them, as far as the
/// condemnations that were `found` do not name them yet. Objects stay condemned until they are gone, even if something
/// needs them again: another prune may be deleting them.
pub(super) fn to_condemn(
    objects: &BTreeSet<String>,
    frames: &FrameSet,
    found: &[FoundCondemnation],
) -> Vec<Condemnation> {
    let condemned: HashSet<&String> = found.iter().flat_map(|found| &found.body.objects).collect();
    let mut condemned_frames = FrameSet::default();
    for found in found {
        condemned_frames.add_records(&found.body.frames);
    }
    let objects: Vec<String> = objects.iter().filter(|key| !condemned.contains(key)).cloned().collect();
    // Runs do not refer to what is only in condemned packs, so a frame that is left out here is safe as well.
    let frames = frames.minus(&condemned_frames).in_proportion();
    let mut new: Vec<Condemnation> = objects
        .chunks(MOST_OBJECTS)
        .map(|objects| Condemnation { frames: Vec::new(), objects: objects.to_vec() })
        .collect();
    if !frames.is_empty() {
        if new.is_empty() {
            new.push(Condemnation::default());
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
    let due = standing.iter().filter(|found| is_due(found.stored, now, grace));
    let named: HashSet<&String> = due.flat_map(|found| &found.body.objects).collect();
    let mut objects: Vec<&String> = unneeded.filter(|key| named.contains(key)).collect();
    objects.sort_by_key(|key| (order_of(key), *key));
    objects
}

/// The condemnations that have become useless. One is useful while an object that it names is `left`, and until no run
/// that began before it can still commit, whatever the prune's own grace is.
pub(super) fn to_lift(
    standing: &[FoundCondemnation],
    is_left: impl Fn(&String) -> bool,
    now: Timestamp,
    grace: SignedDuration,
) -> impl Iterator<Item = &FoundCondemnation> {
    standing.iter().filter(move |found| {
        is_due(found.stored, now, grace.max(GRACE)) && !found.body.objects.iter().any(&is_left)
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
            },
        }
    }

    fn names(objects: &[&str]) -> BTreeSet<String> {
        objects.iter().map(ToString::to_string).collect()
    }

    /// What was condemned with which frames, what is unneeded today with which frames, and what is new of these.
    type Row = (
        &'static [&'static str],
        &'static [u32],
        &'static [&'static str],
        &'static [u32],
        &'static [&'static str],
        &'static [u32],
    );

    #[test]
    fn what_is_unneeded_is_condemned_once() {
        let rows: &[Row] = &[
            (&[], &[], &[], &[], &[], &[]),
            (&[], &[], &["packs/a", "packs/b"], &[1], &["packs/a", "packs/b"], &[1]),
            (&["packs/a"], &[], &["packs/a"], &[], &[], &[]),
            (&["packs/a"], &[], &["packs/a", "packs/b"], &[], &["packs/b"], &[]),
            (&["packs/a", "packs/b"], &[], &["packs/a"], &[], &[], &[]),
            (&["packs/a"], &[], &[], &[], &[], &[]),
            (&["packs/a"], &[1], &["packs/a"], &[1], &[], &[]),
            (&["packs/a"], &[1], &["packs/a"], &[1, 2], &[], &[2]),
            (&["packs/a"], &[1], &["packs/b"], &[1], &["packs/b"], &[]),
        ];
        for (condemned, of, objects, unneeded, new, new_frames) in rows {
            let found = [found(3, condemned, of)];
            let decided = to_condemn(&names(objects), &frames(unneeded), &found);
            let named: Vec<&str> =
                decided.iter().flat_map(|body| &body.objects).map(String::as_str).collect();
            assert_eq!(named, *new, "{condemned:?} {objects:?}");
            let mut named = FrameSet::default();
            for body in &decided {
                named.add_records(&body.frames);
            }
            assert_eq!(named.iter().collect::<Vec<_>>(), frames(new_frames).iter().collect::<Vec<_>>());
            let names_any = |body: &Condemnation| !body.objects.is_empty() || !body.frames.is_empty();
            assert!(decided.iter().all(names_any), "one that names nothing");
        }
    }

    #[test]
    fn condemnations_are_split_where_one_would_name_too_many_objects() {
        let objects: BTreeSet<String> = (0..=MOST_OBJECTS).map(|number| format!("packs/{number}")).collect();
        let new = to_condemn(&objects, &frames(&[1]), &[]);
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
