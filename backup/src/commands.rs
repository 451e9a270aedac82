//! One module a verb.

use lifeboat_shell::{Failure, Outcome, Ui};

use crate::cli::Cli;

pub(crate) async fn run(cli: Cli, _ui: &Ui) -> Result<Outcome, Failure> {
    match cli.verb {}
}
