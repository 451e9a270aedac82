//! `list`: the snapshots.

use lifeboat_shell::{Failure, ListArgs, Outcome, Ui};

/// List snapshots
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lifeboat-backup list -r s3://bucket/backups --writer-key /etc/lifeboat/writer.key"
)]
pub(crate) struct Args {
    #[command(flatten)]
    list: ListArgs,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    lifeboat_shell::list(args.list, ui).await
}
