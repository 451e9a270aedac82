//! Signs images, SBOMs and files.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code. `key` opens the key, `secret` reads
//! and writes key files, and `target` finds the image and attaches the signature to it.

mod cli;
mod commands;
mod key;
mod secret;
mod target;

use lifeboat_shell::{Failure, Outcome, Ui, pages, unless_interrupted};

use crate::cli::{Cli, Verb};
use crate::commands::{attest, blob, image, keygen, snapshot};

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(dispatch)
}

/// Runs one verb.
async fn dispatch(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    let command = async {
        match cli.verb {
            Verb::Keygen(args) => keygen::run(&args, ui),
            Verb::Image(args) => image::run(&args, ui).await,
            Verb::Attest(args) => attest::run(&args, ui).await,
            Verb::Blob(args) => blob::run(&args, ui),
            Verb::Snapshot(args) => snapshot::run(&args, ui).await,
            Verb::Completions(args) => pages::completions::<Cli>(&args, ui),
            Verb::Man(args) => pages::man::<Cli>(&args, ui),
        }
    };
    unless_interrupted(ui, "before the signature was made or found", command).await
}
