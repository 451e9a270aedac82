//! `list`, shared by two of the programs: the snapshots that a key shows.

use crate::{Failure, Outcome, RepositoryFlags, SessionFlags, Ui, WhichFlags, describe};
use lifeboat_vault::Listing;

/// Which snapshots are listed.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
    #[command(flatten)]
    which: WhichFlags,
}

/// Lists them.
pub async fn list(args: ListArgs, ui: &Ui) -> Result<Outcome, Failure> {
    let (session, restorer) = args.keys.open_to_read(&args.repository).await?;
    let listing = args.which.narrow(Listing::read(&session).await?, restorer.as_ref(), None).await?;
    let location = session.repository().location();
    let report = describe::snapshot_list(location, &listing, args.which.host.as_deref());
    ui.report(&report);
    Ok(if report.unreadable.is_empty() { Outcome::Done } else { Outcome::Negative })
}
