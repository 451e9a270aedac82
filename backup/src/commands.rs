//! One module a verb.

pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod find;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod stats;

use lifeboat_shell::{Failure, Outcome, Ui, pages};

use crate::cli::{Cli, Verb};

pub(crate) async fn run(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    match cli.verb {
        Verb::Init(args) => init::run(args, ui).await,
        Verb::Run(args) => run::run(args, ui).await,
        Verb::List(args) => list::run(args, ui).await,
        Verb::Show(args) => show::run(args, ui).await,
        Verb::Diff(args) => diff::run(args, ui).await,
        Verb::Find(args) => find::run(args, ui).await,
        Verb::Stats(args) => stats::run(args, ui).await,
        Verb::Copy(args) => copy::run(args, ui).await,
        Verb::Doctor(args) => doctor::run(args, ui).await,
        Verb::Completions(args) => pages::completions::<Cli>(&args, ui),
        Verb::Man(args) => pages::man::<Cli>(&args, ui),
    }
}
