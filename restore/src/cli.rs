//! The command line of `lifeboat-restore`: clap types only.

use clap::{Parser, Subcommand};
use lifeboat_shell::{GlobalFlags, Program, pages};

use crate::commands::{diff, dump, find, gc, list, ls, path, rehearse, volume, watchdog};

/// Brings snapshots back, and rehearses restores in scratch containers
///
/// This takes a recovery key: the file that `lifeboat-backup init` wrote.
#[derive(Debug, Parser)]
#[command(name = "lifeboat-restore", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

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
