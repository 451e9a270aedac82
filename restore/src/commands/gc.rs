//! `gc`: removes what interrupted rehearsals left.

use std::collections::BTreeSet;

use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_docker::Engine;
use lifeboat_report::restore::GcReport;
use lifeboat_shell::{Failure, Outcome, Ui};

use crate::rehearsal::Grounds;

/// Remove containers, volumes, networks and folders that interrupted rehearsals left
///
/// Only what this machine's rehearsals made is touched, as a mark under a key of this machine proves, and only when it has
/// expired or its rehearsal has died. What has a rehearsal's label but not that mark is named and left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lifeboat-restore gc")]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let grounds = Grounds::open(&lifeboat_shell::machine_folder(), None, &OsEntropy)?;
    let engine = Engine::connect(lifeboat_shell::engine_address().as_deref()).await;
    // Folders are removed even if no engine answers.
    let swept = grounds.sweep(engine.as_ref().ok(), SystemClock.now(), &BTreeSet::new()).await?;
    engine?;
    let report =
        GcReport { removed: swept.removed, leftovers: swept.leftovers, left_alone: swept.left_alone };
    ui.report(&report);
    Ok(if report.leftovers.is_empty() { Outcome::Done } else { Outcome::Incomplete })
}
