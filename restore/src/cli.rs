//! The command line of `lifeboat-restore`: clap types only.

use clap::{Args, Parser, Subcommand};
use lifeboat_shell::{GlobalFlags, Program, RecoveryFlags, RepositoryFlags, pages};

use crate::commands::{diff, dump, gc, list, ls, path, rehearse, volume};

/// Brings snapshots back, and rehearses restores in scratch containers
///
/// This takes a recovery key: the file that `lifeboat-backup init` wrote.
#[derive(Debug, Parser)]
#[command(name = "lifeboat-restore", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    List(list::Args),
    Ls(ls::Args),
    Dump(dump::Args),
    Path(path::Args),
    Volume(volume::Args),
    Diff(diff::Args),
    Rehearse(rehearse::Args),
    Gc(gc::Args),
    Completions(pages::CompletionsArgs),
    Man(pages::ManArgs),
}

/// Which snapshot, and how to read it.
#[derive(Debug, Args)]
pub(crate) struct SnapshotFlags {
    /// An id, the first digits of one, `latest`, or `latest:VOLUME`
    #[arg(value_name = "SNAP")]
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) repository: RepositoryFlags,
    #[command(flatten)]
    pub(crate) keys: RecoveryFlags,
    /// Whose latest snapshot is meant
    #[arg(long, value_name = "H")]
    pub(crate) host: Option<String>,
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
