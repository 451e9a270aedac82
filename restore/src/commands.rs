//! One module a verb.

pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod gc;
pub(crate) mod list;
pub(crate) mod ls;
pub(crate) mod path;
pub(crate) mod rehearse;
pub(crate) mod volume;

use lifeboat_shell::{Failure, Outcome, Ui, pages};

use crate::cli::{Cli, Verb};

pub(crate) async fn run(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    match cli.verb {
        Verb::List(args) => list::run(args, ui).await,
        Verb::Ls(args) => ls::run(args, ui).await,
        Verb::Dump(args) => dump::run(args, ui).await,
        Verb::Path(args) => path::run(args, ui).await,
        Verb::Volume(args) => volume::run(args, ui).await,
        Verb::Diff(args) => diff::run(args, ui).await,
        Verb::Rehearse(args) => rehearse::run(args, ui).await,
        Verb::Gc(args) => gc::run(args, ui).await,
        Verb::Completions(args) => pages::completions::<Cli>(&args, ui),
        Verb::Man(args) => pages::man::<Cli>(&args, ui),
    }
}
