//! `watchdog`: the process that a drill starts alongside itself. See `rehearsal::watchdog`.

use lifeboat_core::clock::SystemClock;
use lifeboat_core::random::OsEntropy;
use lifeboat_shell::{Failure, Outcome};

use crate::rehearsal::{Grounds, watchdog};

/// Wait for a drill to end, and clear away after it if it has died
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args) -> Result<Outcome, Failure> {
    // The terminal may close together with the drill. This fails for a process that leads a session already, which is
    // fine.
    let _ = rustix::process::setsid();
    let ended = tokio::task::spawn_blocking(|| watchdog::wait_for_end(std::io::stdin().lock())).await;
    if ended.is_ok_and(|has_cleared_away| has_cleared_away) {
        return Ok(Outcome::Done);
    }
    let grounds = Grounds::open(&lifeboat_shell::machine_folder(), None, &OsEntropy)?;
    watchdog::clear_away(&grounds, lifeboat_shell::engine_address().as_deref(), &SystemClock).await?;
    Ok(Outcome::Done)
}
