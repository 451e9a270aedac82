//! `doctor`: sees that this host can back up, and brings back containers that a killed run left at rest.

use lifeboat_core::clock::SystemClock;
use lifeboat_docker::Engine;
use lifeboat_report::backup::{DoctorCheck, DoctorReport, DoctorState};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, Ui, ViewerFlags};

use crate::quiesce;

/// Check this host, and bring back containers that a killed run left stopped
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lifeboat-backup doctor -r /srv/backups --writer-key /etc/lifeboat/writer.key"
)]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: ViewerFlags,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let mut checks = Vec::new();
    let mut check = |name: &str, state, detail: String| {
        checks.push(DoctorCheck { name: name.to_owned(), state, detail });
    };
    match Engine::connect(lifeboat_shell::engine_address().as_deref()).await {
        Ok(engine) => {
            check("engine", DoctorState::Ok, format!("Docker answers at {}", engine.address()));
            let settled = engine.settle(&quiesce::journal_folder(), &SystemClock).await?;
            let (state, detail) = match (&settled.problems[..], &settled.brought_back[..]) {
                ([], []) => (DoctorState::Ok, "no container was left at rest".to_owned()),
                ([], back) => (DoctorState::Mended, format!("brought back {}", back.join(", "))),
                (problems, _) => (DoctorState::Wrong, problems.join("; ")),
            };
            check("containers", state, detail);
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
    let wrong = checks.iter().any(|check| check.state == DoctorState::Wrong);
    ui.report(&DoctorReport { checks });
    Ok(if wrong { Outcome::Negative } else { Outcome::Done })
}
