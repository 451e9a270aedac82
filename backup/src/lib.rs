//! Snapshots container volumes into an encrypted, deduplicated repository.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code.

mod cli;
mod commands;
mod duration;
mod floor;
mod quiesce;

use lifeboat_shell::{Failure, Outcome, Ui, pages};

use crate::cli::{Cli, Verb};
use crate::commands::{
    check, copy, diff, doctor, find, forget, init, key, list, prune, repair, run, show, stats,
};

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(dispatch)
}

/// Runs one verb.
async fn dispatch(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    match cli.verb {
        Verb::Init(args) => init::run(args, ui).await,
        Verb::Run(args) => run::run(args, ui).await,
        Verb::List(args) => list::run(args, ui).await,
        Verb::Show(args) => show::run(args, ui).await,
        Verb::Diff(args) => Box::pin(diff::run(args, ui)).await,
        Verb::Find(args) => find::run(args, ui).await,
        Verb::Stats(args) => stats::run(args, ui).await,
        Verb::Copy(args) => Box::pin(copy::run(args, ui)).await,
        Verb::Forget(args) => forget::run(args, ui).await,
        Verb::Prune(args) => prune::run(args, ui).await,
        Verb::Key(args) => key::run(args, ui).await,
        Verb::Check(args) => check::run(args, ui).await,
        Verb::Repair(args) => repair::run(args, ui).await,
        Verb::Doctor(args) => doctor::run(args, ui).await,
        Verb::Completions(args) => pages::completions::<Cli>(&args, ui),
        Verb::Man(args) => pages::man::<Cli>(&args, ui),
    }
}
