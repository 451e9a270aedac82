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
#[command(name = "lifeboat-backup", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Start here:
  lifeboat-backup init -r /srv/backups --recovery-key safe-1.key --recovery-key safe-2.key --writer-key writer.key
  lifeboat-backup run --project shop -r /srv/backups --writer-key writer.key
  lifeboat-backup check --read-data -r /srv/backups --writer-key writer.key

Exit codes: 0 done, 1 failed or damaged, 2 usage or configuration, 3 incomplete or out of reach, 4 internal error, 130
interrupted";

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
