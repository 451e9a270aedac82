//! The command line of `lifeboat-sign`: clap types only.

use clap::{Parser, Subcommand};
use lifeboat_shell::{GlobalFlags, Program, pages};

use crate::commands::{attest, blob, image, keygen, snapshot};

/// Signs images, SBOMs, files and snapshots so that lifeboat-verify, cosign and other Sigstore tools can verify them
#[derive(Debug, Parser)]
#[command(name = "lifeboat-sign", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Start here:
  lifeboat-sign keygen release
  lifeboat-sign image registry.example/app:1.0 --key release.key
  lifeboat-verify image registry.example/app:1.0 --key release.pub

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 registry unreachable, 4 internal error, 130 interrupted";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Keygen(keygen::Args),
    Image(image::Args),
    Attest(attest::Args),
    Blob(blob::Args),
    Snapshot(snapshot::Args),
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
