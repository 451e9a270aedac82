//! Brings snapshots back, and rehearses restores in scratch containers.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code. The drill is [`rehearsal`]; it knows
//! a snapshot only as a [`rehearsal::RecoveryPoint`], and `recovery_point` is the vault's.

mod address;
mod bring;
mod cli;
mod commands;
mod differences;
mod open;
mod recovery_point;
pub mod rehearsal;

use lifeboat_shell::{Failure, Outcome, Ui, pages};

use crate::cli::{Cli, Verb};
use crate::commands::{diff, dump, find, gc, list, ls, path, rehearse, volume, watchdog};

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(dispatch)
}

/// Runs one verb.
async fn dispatch(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    match cli.verb {
        Verb::List(args) => list::run(args, ui).await,
        Verb::Find(args) => find::run(args, ui).await,
        Verb::Ls(args) => ls::run(args, ui).await,
        Verb::Dump(args) => dump::run(args, ui).await,
        Verb::Path(args) => path::run(args, ui).await,
        Verb::Volume(args) => volume::run(args, ui).await,
        Verb::Diff(args) => diff::run(args, ui).await,
        Verb::Rehearse(args) => Box::pin(rehearse::run(args, ui)).await,
        Verb::Gc(args) => gc::run(args, ui).await,
        Verb::Watchdog(args) => watchdog::run(args).await,
        Verb::Completions(args) => pages::completions::<Cli>(&args, ui),
        Verb::Man(args) => pages::man::<Cli>(&args, ui),
    }
}
