//! `doctor`: checks that this host can back up and does so, and starts containers that a killed run left stopped.

mod damage;
mod newest;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::Kind;
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::private_folder;
use lifeboat_docker::{DEFAULT_SOCKET, Engine};
use lifeboat_report::backup::{DoctorCheck, DoctorReport, DoctorState};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, SessionFlags, Ui, WhichFlags};
use lifeboat_vault::{Listing, RecoverySession, Session, Snapshot};

use crate::quiesce;

/// Check this host and its backups, and bring back containers that a killed run left stopped
///
/// It looks at the engine, the repository, what earlier repairs found lost in it, this host's clock and the age of the newest
/// snapshot: with a writer key of this host's, with another key of every host's that was not removed. A host that is enrolled
/// and has no snapshot yet is given --max-age for its first one, counted from the last change of the roster.
///
/// Where several jobs run on a host, the newest snapshot of one hides that another one fails. The flags that say which
/// snapshot is meant let each job have a line of its own. `check` looks for damage that nobody knows of yet.
#[derive(Debug, clap::Args)]
#[command(mut_arg("before", |before| before.hide(true)))]
#[command(after_help = "Examples:
  lifeboat-backup doctor -r /srv/backups --writer-key /etc/lifeboat/writer.key --max-age 26h
  lifeboat-backup doctor --volume shop_db --max-age 26h
  lifeboat-backup doctor --tag weekly --max-age 8d

Exit codes: 0 all is well, 1 something is wrong, 3 something could not be looked at")]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
    #[command(flatten)]
    which: WhichFlags,
    /// How old the newest snapshot may be, such as 26h or 8d
    #[arg(long, value_name = "D", value_parser = crate::duration::duration, default_value = "48h")]
    max_age: SignedDuration,
}

/// A smaller clock difference counts as agreement: storages refuse requests from 15 minutes on.
const MOST_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// If one check finds a problem, the answer is negative. If one cannot be made, the answer is incomplete.
fn outcome(states: impl Iterator<Item = DoctorState>) -> Outcome {
    states.fold(Outcome::Done, |outcome, state| match (outcome, state) {
        (Outcome::Negative, _) | (_, DoctorState::Wrong) => Outcome::Negative,
        (_, DoctorState::Unknown) => Outcome::Incomplete,
        (outcome, _) => outcome,
    })
}

fn check(name: &str, (state, detail): (DoctorState, String)) -> DoctorCheck {
    DoctorCheck { name: name.to_owned(), state, detail }
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    if args.which.before.is_some() {
        return Err(Failure::usage(
            "`--before` leaves the newest snapshots out, and doctor looks at these",
            "leave it out; `lifeboat-backup list --before TIME` shows older ones",
        ));
    }
    let mut checks = engine(ui).await?;
    checks.push(check("state", state(&lifeboat_shell::machine_folder())));
    match args.keys.open_to_read(&args.repository).await {
        Ok((session, restorer)) => {
            let opens = format!("{} opens", session.repository().location());
            checks.push(check("repository", (DoctorState::Ok, opens)));
            checks.extend(session.repository().store().free_bytes().map(|free| check("room", room(free))));
            checks.extend(snapshots(&session, restorer.as_ref(), &args).await?);
            checks.push(check("damage", damage::look(&session, ui).await));
        }
        Err(failure) => checks.push(check("repository", failed(&failure))),
    }
    let outcome = outcome(checks.iter().map(|check| check.state));
    ui.report(&DoctorReport { checks });
    Ok(outcome)
}

async fn engine(ui: &Ui) -> Result<Vec<DoctorCheck>, Failure> {
    let engine = match Engine::connect(lifeboat_shell::engine_address().as_deref()).await {
        Ok(engine) => engine,
        Err(_) if lifeboat_shell::engine_address().is_none() && !Path::new(DEFAULT_SOCKET).exists() => {
            return Ok(vec![check("engine", (DoctorState::Ok, "there is none on this host".to_owned()))]);
        }
        Err(error) => return Ok(vec![check("engine", (DoctorState::Unknown, error.to_string()))]),
    };
    let answers = format!("Docker answers at {}", engine.address());
    let journals = quiesce::journal_folder();
    let settled = engine.settle(&journals, &SystemClock, ui.cancellation()).await?;
    let at_rest = match (&settled.problems[..], &settled.brought_back[..]) {
        ([], []) => {
            (DoctorState::Ok, format!("no container was left at rest, by what {} says", journals.display()))
        }
        ([], back) => (DoctorState::Mended, format!("brought back {}", back.join(", "))),
        (problems, _) => (DoctorState::Wrong, problems.join("; ")),
    };
    Ok(vec![check("engine", (DoctorState::Ok, answers)), check("containers", at_rest)])
}

/// Checks the snapshots. Flags that this key cannot answer end the command.
async fn snapshots(
    session: &Session,
    restorer: Option<&RecoverySession>,
    args: &Args,
) -> Result<Vec<DoctorCheck>, Failure> {
    let listing = match Listing::read(session).await {
        Ok(listing) => listing,
        Err(error) => return Ok(vec![check("snapshots", failed(&error.into()))]),
    };
    let there = session.repository().store().server_time();
    let now = SystemClock.now();
    let mut checks = vec![
        check("snapshots", readable(&listing)),
        check("clock", clock(now, there, listing.snapshots.iter().map(Snapshot::stored).max())),
    ];
    let freshness = match newest::narrow(listing, &args.which, restorer).await {
        Ok(narrowed) => newest::judge(session, &narrowed, there.unwrap_or(now), args.max_age),
        Err(failure) if failure.kind() == Kind::Usage => return Err(failure),
        Err(failure) => failed(&failure),
    };
    checks.push(check("freshness", freshness));
    Ok(checks)
}

fn readable(listing: &Listing) -> (DoctorState, String) {
    match (listing.unreadable.first(), listing.snapshots.last()) {
        (Some(error), _) => (DoctorState::Wrong, error.to_string()),
        (None, Some(newest)) => {
            let count = listing.snapshots.len();
            (DoctorState::Ok, format!("{count} verify, the newest of {:.0}", newest.time()))
        }
        (None, None) => (DoctorState::Ok, "there are none yet".to_owned()),
    }
}

/// The least free space that a repository's disk should have: the next run needs some.
const LEAST_FREE: u64 = 256 << 20;

/// Whether a folder repository has enough space left.
fn room(free: u64) -> (DoctorState, String) {
    let free_mib = free >> 20;
    if free < LEAST_FREE {
        let detail = format!("only {free_mib} MiB are free where the repository lies: make room, or prune");
        return (DoctorState::Wrong, detail);
    }
    (DoctorState::Ok, format!("{free_mib} MiB are free where the repository lies"))
}

/// Whether this host can record which containers it stops; if not, a run stops none.
fn state(folder: &Path) -> (DoctorState, String) {
    let try_it = || {
        private_folder::own(folder)?;
        let probe = folder.join(format!(".doctor-{}", std::process::id()));
        std::fs::write(&probe, b"x")?;
        std::fs::remove_file(probe)
    };
    match try_it() {
        Ok(()) => (DoctorState::Ok, format!("{} can be written", folder.display())),
        Err(error) => {
            let detail = format!(
                "{} cannot be written ({error}): no container is stopped for a backup; see --state-dir",
                folder.display()
            );
            (DoctorState::Wrong, detail)
        }
    }
}

/// Something out of reach is unknown, not wrong.
fn failed(failure: &Failure) -> (DoctorState, String) {
    let state = match failure.kind() {
        Kind::Undetermined => DoctorState::Unknown,
        _ => DoctorState::Wrong,
    };
    let advice = failure.advice().map(|advice| format!("; {advice}"));
    (state, failure.message() + &advice.unwrap_or_default())
}

/// Compares this host's clock with the storage's or, if the storage has none, with the newest snapshot, which cannot
/// have been stored in the future.
fn clock(now: Timestamp, there: Option<Timestamp>, newest: Option<Timestamp>) -> (DoctorState, String) {
    let Some(there) = there else {
        return match newest.map(|newest| newest.duration_since(now)) {
            Some(ahead) if ahead > MOST_SKEW => (
                DoctorState::Wrong,
                format!(
                    "the newest snapshot was stored {} from now: this host's clock is behind",
                    span(ahead)
                ),
            ),
            _ => (
                DoctorState::Ok,
                "no snapshot was stored later than now; the storage has no clock".to_owned(),
            ),
        };
    };
    let ahead = now.duration_since(there);
    let word = if ahead.is_negative() { "behind" } else { "ahead of" };
    if ahead.abs() > MOST_SKEW {
        let detail = format!("this host's clock is {} {word} the storage's; set it", span(ahead.abs()));
        return (DoctorState::Wrong, detail);
    }
    (DoctorState::Ok, "this host's clock and the storage's agree".to_owned())
}

/// Formats a duration for people, in the largest unit of which there are at least two.
fn span(duration: SignedDuration) -> String {
    let minutes = duration.as_mins();
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / (24 * 60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at_is_not_well() {
        use DoctorState::{Mended, Ok, Unknown, Wrong};
        for (states, expected) in [
            (&[Ok, Mended][..], Outcome::Done),
            (&[Unknown, Ok], Outcome::Incomplete),
            (&[Unknown, Wrong, Ok], Outcome::Negative),
            (&[], Outcome::Done),
        ] {
            assert_eq!(outcome(states.iter().copied()), expected, "{states:?}");
        }
    }

    #[test]
    fn little_room_and_a_state_that_cannot_be_written_are_wrong() {
        for (free, expected) in
            [(0, DoctorState::Wrong), (LEAST_FREE - 1, DoctorState::Wrong), (LEAST_FREE, DoctorState::Ok)]
        {
            assert_eq!(room(free).0, expected, "{free}");
        }
        // Not even root can create a folder there.
        assert_eq!(state(Path::new("/proc/self/no-such-folder")).0, DoctorState::Wrong);
    }

    #[test]
    fn a_clock_is_wrong_from_five_minutes_on() {
        use DoctorState::{Ok, Wrong};
        let at = |minutes: i64| Timestamp::from_second(1_000_000_000 + 60 * minutes).unwrap();
        for (there, newest, state, says) in [
            (Some(0), None, Ok, "agree"),
            (Some(4), Some(99), Ok, "agree"),
            (Some(-6), None, Wrong, "6 minutes ahead of the storage's"),
            (Some(180), None, Wrong, "3 hours behind the storage's"),
            (None, None, Ok, "has no clock"),
            (None, Some(-10), Ok, "has no clock"),
            (None, Some(6 * 24 * 60), Wrong, "6 days from now"),
        ] {
            let (found, detail) = clock(at(0), there.map(at), newest.map(at));
            assert!(found == state && detail.contains(says), "{there:?} {newest:?}: {found:?} {detail}");
        }
    }
}
