//! The command line of `lifeboat-restore`: clap types only.

use clap::{Parser, Subcommand};
use lifeboat_shell::{GlobalFlags, Program, pages};

use crate::commands::{diff, dump, find, gc, list, ls, path, rehearse, volume, watchdog};

/// Brings snapshots back, and rehearses restores in scratch containers
///
/// This takes a recovery key: the file that `lifeboat-backup init` wrote.
#[derive(Debug, Parser)]
#[command(name = "lifeboat-restore", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Start here:
  lifeboat-restore list -r /srv/backups --identity safe-1.key
  lifeboat-restore path latest:etc --to /srv/restored -r /srv/backups --identity safe-1.key
  lifeboat-restore rehearse latest --plan drill.toml -r /srv/backups --identity safe-1.key

Exit codes: 0 done or verified, 1 damaged, differing or failed, 2 usage or configuration, 3 incomplete or could not be
determined, 4 internal error, 130 interrupted";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    List(list::Args),
    Find(find::Args),
    Ls(ls::Args),
    Dump(dump::Args),
    Path(path::Args),
    Volume(volume::Args),
    Diff(diff::Args),
    Rehearse(rehearse::Args),
    Gc(gc::Args),
    #[command(hide = true)]
    Watchdog(watchdog::Args),
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
