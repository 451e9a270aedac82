//! The command line of `lifeboat-restore`: clap types only.

use clap::{Parser, Subcommand};
use lifeboat_shell::{GlobalFlags, Program};

/// Brings snapshots back, and rehearses restores in scratch containers
#[derive(Debug, Parser)]
#[command(name = "lifeboat-restore", version, max_term_width = 100)]
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
