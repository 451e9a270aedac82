//! `prune`: deletes what snapshots no longer need, without locks and without reading any content.

use jiff::SignedDuration;
use lifeboat_report::pruning::{PruneReport, UnderWayLine};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, SessionFlags, Ui};
use lifeboat_vault::{PruneOptions, RunsUnderWay, prune};

/// Delete what no snapshot needs any more
///
/// Backups may run meanwhile. What is unneeded is condemned first, and deleted by a prune 8 days later if it is still
/// unneeded: by then no backup that is running can depend on it. It takes a keeper key, or a recovery key. Of hosts whose index is
/// damaged nothing is deleted, and the exit code is 1: `repair` comes first.
#[derive(Debug, clap::Args)]
#[command(mut_arg("writer_key", |argument| argument.hide(true)))]
#[command(after_help = "Examples:
  lifeboat-backup prune --keeper-key keeper.key --dry-run
  lifeboat-backup prune --keeper-key keeper.key")]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
    /// Delete what was condemned this long ago, such as 8d or 0s
    ///
    /// Less than the default is for a repository that no backup writes to meanwhile: a run under way that needs
    /// what is deleted fails and has to run again.
    #[arg(long, value_name = "D", value_parser = crate::duration::duration, default_value = "8d")]
    grace: SignedDuration,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let session = args.keys.open(&args.repository).await?;
    if args.grace < PruneOptions::default().grace && !args.dry_run {
        ui.warn("with a grace below 8 days a backup that runs now may fail and have to run again");
    }
    let options = PruneOptions { grace: args.grace, dry_run: args.dry_run };
    let pruned = prune(&session, &options, &ui.context()).await?;
    let outcome = if pruned.held_back.is_empty() { Outcome::Done } else { Outcome::Negative };
    ui.report(&PruneReport {
        dry_run: args.dry_run,
        forgotten_snapshots: pruned.forgotten,
        refused_snapshots: pruned.refused,
        condemned_objects: pruned.condemned_objects,
        condemned_bytes: pruned.condemned_bytes,
        deleted_objects: pruned.deleted_objects,
        deleted_bytes: pruned.deleted_bytes,
        repacked_bytes: pruned.repacked_bytes,
        unreclaimed_bytes: pruned.unreclaimed_bytes,
        under_way_bytes: pruned.under_way_bytes,
        under_way: pruned.under_way.into_iter().map(under_way_line).collect(),
        due_at: pruned.due,
        held_back: pruned.held_back,
        warnings: pruned.warnings,
    });
    Ok(outcome)
}

fn under_way_line(RunsUnderWay { signer, runs, since }: RunsUnderWay) -> UnderWayLine {
    UnderWayLine { signer: signer.map(|signer| signer.to_string()), runs, began_at: since }
}
