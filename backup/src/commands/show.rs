//! `show`: one snapshot.

use lifeboat_report::snapshots::SnapshotReport;
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, Ui, ViewerFlags, WhichFlags, describe};

/// Show one snapshot
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lifeboat-backup show latest -r /srv/backups --writer-key writer.key")]
pub(crate) struct Args {
    /// An id, the first digits of one, or `latest`
    #[arg(value_name = "SNAP")]
    snapshot: String,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: ViewerFlags,
    #[command(flatten)]
    which: WhichFlags,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let viewer = args.keys.open(&args.repository).await?;
    let snapshot = args.which.find(viewer.snapshots().await?, &args.snapshot)?;
    let snapshot = viewer.whole(snapshot).await?;
    ui.report(&SnapshotReport { snapshot: describe::snapshot_line(&snapshot) });
    Ok(Outcome::Done)
}
