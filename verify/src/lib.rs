//! Verifies images, SBOMs, files and snapshots.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code. `signers` turns the flags into the
//! policy of trusted signers, `evidence` collects what is attached to an image and has each `item` judged, `findings`
//! turns the results into the report, and `checkpoint` remembers which snapshots were seen. A `question` answered from
//! a `record` of the evidence is a `verdict`, which can be written to a file and derived again.

mod checkpoint;
mod cli;
mod commands;
mod evidence;
mod findings;
mod item;
mod question;
mod record;
mod signers;
mod verdict;

pub use verdict::{Answer, derive_again};

use lifeboat_shell::{Failure, Outcome, Ui, pages, unless_interrupted};

use crate::cli::{Cli, Verb};
use crate::commands::{attestation, blob, image, replay, snapshot, tree, trusted_root};

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(dispatch)
}

/// Runs one verb.
async fn dispatch(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    let command = async {
        match cli.verb {
            Verb::Image(args) => image::run(&args, ui).await,
            Verb::Attestation(args) => attestation::run(&args, ui).await,
            Verb::Blob(args) => blob::run(&args, ui),
            Verb::Snapshot(args) => snapshot::run(&args, ui).await,
            Verb::Tree(args) => tree::run(&args, ui).await,
            Verb::TrustedRoot(args) => trusted_root::run(&args, ui),
            Verb::Replay(args) => replay::run(&args, ui).await,
            Verb::Completions(args) => pages::completions::<Cli>(&args, ui),
            Verb::Man(args) => pages::man::<Cli>(&args, ui),
        }
    };
    unless_interrupted(ui, "before anything was decided", command).await
}
