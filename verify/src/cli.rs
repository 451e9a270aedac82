//! The command line of `lifeboat-verify`: clap types only.

use clap::{Parser, Subcommand};
use lifeboat_shell::{GlobalFlags, Program, pages};

use crate::commands::{attestation, blob, image, replay, snapshot, tree, trusted_root};

/// Verifies images, SBOMs, files and snapshots that lifeboat-sign, cosign or another Sigstore tool signed
#[derive(Debug, Parser)]
#[command(name = "lifeboat-verify", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Start here:
  lifeboat-verify image registry.example/app:1.0 --key release.pub
  lifeboat-verify attestation registry.example/app:1.0 --type spdxjson --key release.pub --output sbom.json

Exit codes: 0 verified, 1 not verified, 2 usage or configuration, 3 could not be determined (a registry cannot be
reached), 4 internal error, 130 interrupted";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Image(image::Args),
    Attestation(Box<attestation::Args>),
    Blob(blob::Args),
    Snapshot(snapshot::Args),
    Tree(tree::Args),
    TrustedRoot(trusted_root::Args),
    Replay(replay::Args),
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
