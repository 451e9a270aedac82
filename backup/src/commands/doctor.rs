//! `doctor`: sees that this host can back up, and brings back containers that a killed run left at rest.

use std::path::Path;

use lifeboat_core::clock::SystemClock;
use lifeboat_docker::{DEFAULT_SOCKET, Engine};
use lifeboat_report::backup::{DoctorCheck, DoctorReport, DoctorState};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, Ui, ViewerFlags};

use crate::quiesce;

/// Check this host, and bring back containers that a killed run left stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lifeboat-backup doctor -r /srv/backups --writer-key /etc/lifeboat/writer.key

Exit codes: 0 all is well, 1 something is wrong, 3 something could not be looked at")]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: ViewerFlags,
}

/// One check that found something wrong makes the answer negative. One that could not be made leaves it incomplete.
fn outcome(states: impl Iterator<Item = DoctorState>) -> Outcome {
    states.fold(Outcome::Done, |outcome, state| match (outcome, state) {
        (Outcome::Negative, _) | (_, DoctorState::Wrong) => Outcome::Negative,
        (_, DoctorState::Unknown) => Outcome::Incomplete,
        (outcome, _) => outcome,
    })
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let mut checks = Vec::new();
    let mut check = |name: &str, state, detail: String| {
        checks.push(DoctorCheck { name: name.to_owned(), state, detail });
    };
    match Engine::connect(lifeboat_shell::engine_address().as_deref()).await {
        Ok(engine) => {
            check("engine", DoctorState::Ok, format!("Docker answers at {}", engine.address()));
            let settled = engine.settle(&quiesce::journal_folder(), &SystemClock, ui.cancellation()).await?;
            let (state, detail) = match (&settled.problems[..], &settled.brought_back[..]) {
                ([], []) => (DoctorState::Ok, "no container was left at rest".to_owned()),
                ([], back) => (DoctorState::Mended, format!("brought back {}", back.join(", "))),
                (problems, _) => (DoctorState::Wrong, problems.join("; ")),
            };
            check("containers", state, detail);
        }
        Err(_) if lifeboat_shell::engine_address().is_none() && !Path::new(DEFAULT_SOCKET).exists() => {
            check("engine", DoctorState::Ok, "there is none on this host".to_owned());
        }
        Err(error) => check("engine", DoctorState::Unknown, error.to_string()),
    }
    match args.keys.open(&args.repository).await {
        Ok(viewer) => {
            check("repository", DoctorState::Ok, format!("{} opens", viewer.repository().location()));
            let listing = viewer.snapshots().await?;
            let (state, detail) = match (listing.unreadable.first(), listing.snapshots.last()) {
                (Some(error), _) => (DoctorState::Wrong, error.to_string()),
                (None, Some(newest)) => {
                    let count = listing.snapshots.len();
                    (DoctorState::Ok, format!("{count} verify, the newest of {:.0}", newest.time()))
                }
                (None, None) => (DoctorState::Ok, "there are none yet".to_owned()),
            };
            check("snapshots", state, detail);
        }
        Err(failure) => check("repository", DoctorState::Wrong, failure.message()),
    }
    let outcome = outcome(checks.iter().map(|check| check.state));
    ui.report(&DoctorReport { checks });
    Ok(outcome)
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
}
