//! `lifeboat-verify trusted-root`

use std::path::PathBuf;

use clap::Subcommand;
use lifeboat_core::Sha256Digest;
use lifeboat_core::clock::{Clock as _, SystemClock};
use lifeboat_core::limits::read_file_capped;
use lifeboat_report::trusted_root::{RootFinding, TrustedRootCheck};
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_trust::trusted_root::{Finding, Level, lint};

use crate::signers::MAX_ROOT_BYTES;

/// Look at a trusted root: whom a verifier believes about certificates, logs and times
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Example:
  lifeboat-verify trusted-root check trusted_root.json"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(Check),
}

/// Say what is wrong with a trusted root, before signatures are verified with it
///
/// Errors are certificates among the certificate authorities that may not issue any, chains in which one certificate did
/// not issue the one before it, and members that the format does not know. Nothing is fetched.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify trusted-root check trusted_root.json

Exit codes: 0 no errors; 1 errors; 2 the file cannot be read")]
struct Check {
    /// The `trusted_root.json` of a Sigstore instance
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let Verb::Check(Check { file }) = &args.verb;
    let json = read_file_capped(file, MAX_ROOT_BYTES).map_err(|error| {
        let file = file.display();
        Failure::usage(
            format!("the trusted root {file} cannot be read: {error}"),
            "check its name and permissions",
        )
    })?;
    let findings = lint(&json, SystemClock.now());
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let errors = count(Level::Error);
    ui.report(&TrustedRootCheck {
        file: file.display().to_string(),
        digest: Sha256Digest::of(&json).to_oci(),
        errors,
        warnings: count(Level::Warning),
        findings: findings.into_iter().map(shown).collect(),
        advice: (errors > 0).then(|| "do not verify with it; ask its maker for a correct one".to_owned()),
    });
    Ok(if errors == 0 { Outcome::Done } else { Outcome::Negative })
}

fn shown(finding: Finding) -> RootFinding {
    let level = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Information => "information",
    };
    RootFinding { level, place: finding.place, text: finding.text }
}
