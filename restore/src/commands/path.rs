//! `path`: captured folders back into a folder.

use std::path::PathBuf;
use std::time::Instant;

use lifeboat_report::restore::RestoreReport;
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_vault::StreamKind;

use crate::open::SnapshotFlags;
use crate::{bring, open};

/// Restore captured folders, or standard input, into a folder
///
/// Volumes of the snapshot are left out and named: `volume` restores them.
/// The folder must be empty or absent. A single captured folder's content comes directly into it, with the captured
/// folder's owner and mode; several come each under their own name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lifeboat-restore path latest --to /srv/restored -r s3://bucket/backups --identity safe-1.key")]
pub(crate) struct Args {
    #[command(flatten)]
    snapshot: SnapshotFlags,
    /// The folder to restore into
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Leave everything to this user: no owner is set, and programs lose set-user-ID
    ///
    /// Only root may set owners, so this is what anyone else gets in any case.
    #[arg(long)]
    no_owner: bool,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let snapshot = open::snapshot(&args.snapshot).await?;
    let mut streams = open::streams(&snapshot).await?;
    let left_out = bring::left_out(&streams, |stream| stream.kind != StreamKind::Volume);
    streams.retain(|stream| stream.kind != StreamKind::Volume);
    let mut targets = Vec::new();
    match &streams[..] {
        [] => {
            return Err(Failure::usage(
                "the snapshot holds volumes, and no folder",
                "use `lifeboat-restore volume SNAP VOLUME --to-dir DIR`",
            ));
        }
        [only] => {
            let to = bring::target(&args.to, args.no_owner)?;
            targets.push(bring::into_folder(&snapshot, only, to, ui).await?);
        }
        several => {
            let above = bring::target(&args.to, args.no_owner)?;
            for stream in several {
                let to = above.make_below(&stream.name)?;
                let path = to.path().to_owned();
                let target = bring::into_folder(&snapshot, stream, to, ui).await;
                targets.push(target.or_else(|error| bring::none_of(stream, &path, error))?);
            }
            above.give_back()?;
        }
    }
    let snapshot = snapshot.snapshot().id().to_string();
    let report =
        RestoreReport { snapshot, targets, left_out, elapsed_seconds: started.elapsed().as_secs_f64() };
    ui.report(&report);
    Ok(bring::outcome(&report))
}
