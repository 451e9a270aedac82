//! Whether the newest snapshot is new enough.

use jiff::{SignedDuration, Timestamp};
use lifeboat_report::backup::DoctorState;
use lifeboat_vault::{Listing, Members, Viewer, WriterId};

use super::span;

/// The newest snapshot of one writer.
struct Newest<'l> {
    host: &'l str,
    time: Timestamp,
}

/// Looks at the newest snapshot of this host's writer, or of every writer that was not removed where the key is not a
/// writer's.
pub(super) fn judge(
    viewer: &Viewer,
    listing: &Listing,
    now: Timestamp,
    max_age: SignedDuration,
) -> (DoctorState, String) {
    let writers: Vec<WriterId> = if let Some(writer) = viewer.writer() {
        vec![writer]
    } else {
        let writers = Members::of(viewer.repository().roster()).writers.into_iter();
        writers.filter(|writer| writer.removed.is_none()).map(|writer| writer.id).collect()
    };
    let newest: Vec<Option<Newest<'_>>> = writers.iter().map(|writer| newest_of(listing, *writer)).collect();
    let since_enrolled = now.duration_since(viewer.repository().roster().time());
    weigh(&newest, now, since_enrolled, max_age)
}

fn newest_of(listing: &Listing, writer: WriterId) -> Option<Newest<'_>> {
    let of_writer = listing.snapshots.iter().filter(|snapshot| snapshot.writer() == writer);
    let newest = of_writer.max_by_key(|snapshot| snapshot.sequence())?;
    Some(Newest { host: newest.host(), time: newest.time() })
}

fn weigh(
    newest: &[Option<Newest<'_>>],
    now: Timestamp,
    since_enrolled: SignedDuration,
    max_age: SignedDuration,
) -> (DoctorState, String) {
    let mut stale = Vec::new();
    for found in newest.iter().flatten() {
        let age = now.duration_since(found.time);
        if age > max_age {
            stale.push(format!("the newest snapshot of {} is {} old", found.host, span(age)));
        }
    }
    let without = newest.iter().filter(|found| found.is_none()).count();
    if without > 0 && since_enrolled > max_age {
        stale.push(match newest.len() {
            1 => "this host is enrolled and has no snapshot".to_owned(),
            _ => format!("{without} enrolled hosts have no snapshot"),
        });
    }
    if !stale.is_empty() {
        return (DoctorState::Wrong, format!("{}; --max-age is {}", stale.join("; "), span(max_age)));
    }
    let oldest = newest.iter().flatten().map(|found| now.duration_since(found.time)).max();
    let detail = match oldest {
        Some(age) if newest.len() == 1 => format!("the newest snapshot is {} old", span(age)),
        Some(age) => format!("no host's newest snapshot is older than {}", span(age)),
        None => "no snapshot was due yet".to_owned(),
    };
    (DoctorState::Ok, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_snapshot_of_every_host_must_be_new_enough() {
        use DoctorState::{Ok, Wrong};
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let hours = SignedDuration::from_hours;
        let taken = |ago: i64| Some(Newest { host: "vm", time: now - hours(ago) });
        for (newest, enrolled, state, says) in [
            (vec![taken(47)], 999, Ok, "47 hours old"),
            (vec![taken(49)], 1, Wrong, "of vm is 2 days old"),
            (vec![taken(-1)], 999, Ok, "old"),
            (vec![None], 1, Ok, "due yet"),
            (vec![None], 49, Wrong, "has no snapshot"),
            (vec![taken(3), taken(30)], 999, Ok, "older than 30 hours"),
            (vec![taken(3), taken(300)], 999, Wrong, "12 days old"),
            (vec![taken(3), None], 999, Wrong, "1 enrolled hosts"),
        ] {
            let (found, detail) = weigh(&newest, now, hours(enrolled), hours(48));
            assert!(found == state && detail.contains(says), "{found:?} {detail}, not {says}");
        }
    }
}
