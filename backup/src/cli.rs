//! The command line of `lifeboat-backup`: clap types only.

use clap::{Parser, Subcommand};
use lifeboat_shell::{GlobalFlags, Program};

/// Snapshots container volumes into an encrypted, deduplicated repository
#[derive(Debug, Parser)]
#[command(name = "lifeboat-backup", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {}

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
