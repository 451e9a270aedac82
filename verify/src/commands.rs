//! One module a verb.

use lifeboat_core::{Fault, Kind};
use lifeboat_shell::{Failure, Outcome, Ui};

use crate::cli::{Cli, Verb};

pub(crate) mod attestation;
pub(crate) mod blob;
pub(crate) mod image;
pub(crate) mod snapshot;
pub(crate) mod tree;

/// The user asked the process to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before anything was decided")]
struct Interrupted;

impl Fault for Interrupted {
    fn kind(&self) -> Kind {
        Kind::Interrupted
    }
}

pub(crate) async fn run(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    let command = async {
        match cli.verb {
            Verb::Image(args) => image::run(&args, ui).await,
            Verb::Attestation(args) => attestation::run(&args, ui).await,
            Verb::Blob(args) => blob::run(&args, ui),
            Verb::Snapshot(args) => snapshot::run(&args, ui).await,
            Verb::Tree(args) => tree::run(&args, ui).await,
        }
    };
    tokio::select! {
        outcome = command => outcome,
        () = ui.cancellation().cancelled() => Err(Interrupted.into()),
    }
}
