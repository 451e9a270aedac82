//! `gc`: removes what interrupted rehearsals left.

use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_docker::Engine;
use lifeboat_report::restore::GcReport;
use lifeboat_shell::{Failure, Outcome, Ui};

/// Remove scratch containers, volumes and networks that interrupted rehearsals left
///
/// Only what carries a rehearsal's label and has expired is touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lifeboat-restore gc")]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let engine = Engine::connect(lifeboat_shell::engine_address().as_deref()).await?;
    let collected = engine.gc(SystemClock.now()).await?;
    let report = GcReport { removed: collected.removed_objects, leftovers: collected.leftovers };
    ui.report(&report);
    Ok(if report.leftovers.is_empty() { Outcome::Done } else { Outcome::Incomplete })
}
