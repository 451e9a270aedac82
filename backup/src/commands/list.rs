//! `list`: the snapshots.

use lifeboat_shell::{Failure, Outcome, RepositoryFlags, Ui, ViewerFlags, describe};

/// List snapshots
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lifeboat-backup list -r s3://bucket/backups --writer-key /etc/lifeboat/writer.key"
)]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: ViewerFlags,
    /// Only snapshots of this host
    #[arg(long, value_name = "H")]
    host: Option<String>,
    /// Only snapshots with this tag; give it more than once to ask for all of them
    #[arg(long, value_name = "T", value_parser = lifeboat_shell::tag)]
    tag: Vec<String>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let (viewer, _) = args.keys.open_to_read(&args.repository).await?;
    let listing = viewer.snapshots().await?;
    let location = viewer.repository().location();
    let report = describe::snapshot_list(location, &listing, args.host.as_deref(), &args.tag);
    ui.report(&report);
    Ok(if report.unreadable.is_empty() { Outcome::Done } else { Outcome::Negative })
}
