//! `find`: items by their paths, in all snapshots.

use lifeboat_shell::{Failure, FindArgs, Outcome, Ui};

/// Find files in snapshots by their names or paths
///
/// This takes a recovery key: paths are not for the hosts that back up. Every line tells the snapshot's time, what was
/// found, its size, and where: `SNAP:NAME/PATH`, as `lifeboat-restore ls` and `lifeboat-restore dump` take it. Finding
/// nothing is fine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore find '*.sql' -r s3://bucket/backups --identity safe-1.key
  lifeboat-restore find /etc/nginx/nginx.conf --host web-1 -r /srv/backups --identity safe-1.key")]
pub(crate) struct Args {
    #[command(flatten)]
    search: FindArgs,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    lifeboat_shell::find(args.search, ui).await
}
