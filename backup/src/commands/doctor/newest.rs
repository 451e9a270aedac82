//! Whether the newest snapshot is new enough.

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::text::printable;
use lifeboat_report::backup::DoctorState;
use lifeboat_shell::{Failure, WhichFlags};
use lifeboat_vault::{Listing, Members, RecoverySession, Session, WriterId};

use super::span;

/// The newest snapshot of one writer.
struct Newest<'l> {
    host: &'l str,
    time: Timestamp,
}

/// The snapshots that count, and the flags that narrow them.
pub(super) struct Narrowed {
    listing: Listing,
    /// The narrowing flags as they were given; empty if there are none.
    meant: String,
}

/// Drops the snapshots that the flags exclude.
pub(super) async fn narrow(
    listing: Listing,
    which: &WhichFlags,
    restorer: Option<&RecoverySession>,
) -> Result<Narrowed, Failure> {
    let listing = which.narrow(listing, restorer, None).await?;
    let listing = listing.holding(|snapshot| snapshot.is_of(which.host.as_deref(), &[]));
    Ok(Narrowed { listing, meant: which.to_string() })
}

/// Judges the newest snapshot of this host's writer or, for another kind of key, of every writer that was not removed.
/// With narrowing flags, some of these writers must have such a snapshot, but not all.
pub(super) fn judge(
    session: &Session,
    narrowed: &Narrowed,
    now: Timestamp,
    max_age: SignedDuration,
) -> (DoctorState, String) {
    let writers: Vec<WriterId> = if let Some(writer) = session.writer() {
        vec![writer]
    } else {
        let writers = Members::of(session.repository().roster()).writers.into_iter();
        writers.filter(|writer| writer.removed.is_none()).map(|writer| writer.id).collect()
    };
    let mut newest: Vec<Option<Newest<'_>>> =
        writers.iter().map(|writer| newest_of(&narrowed.listing, *writer)).collect();
    if !narrowed.meant.is_empty() {
        newest.retain(Option::is_some);
        if newest.is_empty() {
            newest.push(None);
        }
    }
    let since_enrolled = now.duration_since(session.repository().roster().time());
    weigh(&newest, &narrowed.meant, now, since_enrolled, max_age)
}

fn newest_of(listing: &Listing, writer: WriterId) -> Option<Newest<'_>> {
    let of_writer = listing.snapshots.iter().filter(|snapshot| snapshot.writer() == writer);
    let newest = of_writer.max_by_key(|snapshot| snapshot.sequence())?;
    Some(Newest { host: newest.host(), time: newest.time() })
}

fn weigh(
    newest: &[Option<Newest<'_>>],
    meant: &str,
    now: Timestamp,
    since_enrolled: SignedDuration,
    max_age: SignedDuration,
) -> (DoctorState, String) {
    let with = if meant.is_empty() { String::new() } else { format!(" with {meant}") };
    let mut stale = Vec::new();
    for found in newest.iter().flatten() {
        let age = now.duration_since(found.time);
        if age > max_age {
            let host = printable(found.host);
            stale.push(format!("the newest snapshot of {host}{with} is {} old", span(age)));
        }
    }
    let without = newest.iter().filter(|found| found.is_none()).count();
    if without > 0 && since_enrolled > max_age {
        stale.push(match newest.len() {
            _ if !meant.is_empty() => format!("there is no snapshot{with}"),
            1 => "this host is enrolled and has no snapshot".to_owned(),
            _ => format!("{without} enrolled hosts have no snapshot"),
        });
    }
    if !stale.is_empty() {
        return (DoctorState::Wrong, format!("{}; --max-age is {}", stale.join("; "), span(max_age)));
    }
    let oldest = newest.iter().flatten().map(|found| now.duration_since(found.time)).max();
    let detail = match oldest {
        Some(age) if newest.len() == 1 => format!("the newest snapshot{with} is {} old", span(age)),
        Some(age) => format!("no host's newest snapshot{with} is older than {}", span(age)),
        None => format!("no snapshot{with} was due yet"),
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
        let all = "";
        for (newest, meant, enrolled, state, says) in [
            (vec![taken(47)], all, 999, Ok, "the newest snapshot is 47 hours old"),
            (vec![taken(49)], all, 1, Wrong, "of vm is 2 days old"),
            (vec![taken(-1)], all, 999, Ok, "old"),
            (vec![None], all, 1, Ok, "due yet"),
            (vec![None], all, 49, Wrong, "has no snapshot"),
            (vec![taken(3), taken(30)], all, 999, Ok, "older than 30 hours"),
            (vec![taken(3), taken(300)], all, 999, Wrong, "12 days old"),
            (vec![taken(3), None], all, 999, Wrong, "1 enrolled hosts"),
            (vec![taken(49)], "--tag a", 999, Wrong, "of vm with --tag a is 2 days old"),
            (vec![taken(1)], "--tag a", 999, Ok, "snapshot with --tag a is"),
            (vec![None], "--tag a", 49, Wrong, "there is no snapshot with --tag a"),
            (vec![None], "--tag a", 1, Ok, "no snapshot with --tag a was due yet"),
        ] {
            let (found, detail) = weigh(&newest, meant, now, hours(enrolled), hours(48));
            assert!(found == state && detail.contains(says), "{found:?} {detail}, not {says}");
        }
    }
}
