//! One module a verb.

use lifeboat_core::{Fault, Kind};
use lifeboat_shell::{Failure, Outcome, Ui};

use crate::cli::{Cli, Verb};

pub(crate) mod attest;
pub(crate) mod blob;
pub(crate) mod image;
pub(crate) mod keygen;
pub(crate) mod snapshot;

/// The user asked the process to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before the signature was made or found")]
struct Interrupted;

impl Fault for Interrupted {
    fn kind(&self) -> Kind {
        Kind::Interrupted
    }
}

pub(crate) async fn run(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    let command = async {
        match cli.verb {
            Verb::Keygen(args) => keygen::run(&args, ui),
            Verb::Image(args) => image::run(&args, ui).await,
            Verb::Attest(args) => attest::run(&args, ui).await,
            Verb::Blob(args) => blob::run(&args, ui),
            Verb::Snapshot(args) => snapshot::run(&args, ui).await,
        }
    };
    tokio::select! {
        outcome = command => outcome,
        () = ui.cancellation().cancelled() => Err(Interrupted.into()),
    }
}
