//! `show`: one snapshot.

use lifeboat_report::snapshots::SnapshotReport;
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, SessionFlags, Ui, WhichFlags, describe};
use lifeboat_vault::{Listing, OpenSnapshot};

/// Show one snapshot
///
/// A recovery key also shows the names of captured folders and their paths on the host.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lifeboat-backup show latest -r /srv/backups --writer-key writer.key")]
pub(crate) struct Args {
    /// An id, the first digits of one, or `latest`
    #[arg(value_name = "SNAP")]
    snapshot: String,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
    #[command(flatten)]
    which: WhichFlags,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let (session, restorer) = args.keys.open_to_read(&args.repository).await?;
    let listing = Listing::read(&session).await?;
    let snapshot = args.which.find(listing, restorer.as_ref(), &args.snapshot).await?;
    let snapshot = match restorer {
        Some(restorer) => {
            let open = OpenSnapshot::open(&restorer, snapshot).await?;
            describe::named_snapshot_line(open.snapshot(), &open.named_streams().await?)
        }
        None => describe::snapshot_line(&snapshot.whole(&session).await?),
    };
    ui.report(&SnapshotReport { snapshot });
    Ok(Outcome::Done)
}
