//! The command line of `lifeboat-backup`: clap types only.

use clap::{Parser, Subcommand};
use lifeboat_shell::{GlobalFlags, Program, pages};

use crate::commands::{
    check, copy, diff, doctor, find, forget, init, key, list, prune, repair, run, show, stats,
};

/// Snapshots container volumes into an encrypted, deduplicated repository
///
/// The host that runs this can add snapshots and cannot read them back: that takes a recovery key, which stays
/// elsewhere.
#[derive(Debug, Parser)]
#[command(name = "lifeboat-backup", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Init(init::Args),
    Run(run::Args),
    List(list::Args),
    Show(show::Args),
    Diff(diff::Args),
    Find(find::Args),
    Stats(stats::Args),
    Copy(copy::Args),
    Forget(forget::Args),
    Prune(prune::Args),
    Key(key::Args),
    Check(check::Args),
    Repair(repair::Args),
    Doctor(doctor::Args),
    Completions(pages::CompletionsArgs),
    Man(pages::ManArgs),
}

impl Program for Cli {
    fn flags(&self) -> &GlobalFlags {
        &self.flags
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
