//! `path`: restores captured folders into a folder.

use std::path::PathBuf;
use std::time::Instant;

use lifeboat_report::restore::{RestoreReport, RestoredTarget};
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_vault::StreamKind;

use crate::open::{NamedStream, Place, SnapshotFlags};
use crate::{bring, open};

/// Restore captured folders, or standard input, into a folder
///
/// Volumes of the snapshot are left out and named: `volume` restores them. With SNAP:NAME only that folder or volume is
/// restored; with SNAP:NAME/PATH only what is there.
///
/// The folder must be empty or absent. A single folder's content comes directly into it, with the folder's owner and mode;
/// several come each under their own name, and so does a single file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore path latest:etc --to /srv/restored -r s3://bucket/backups --identity safe-1.key
  lifeboat-restore path latest:etc/nginx --to /srv/restored -r s3://bucket/backups --identity safe-1.key
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
    let place = open::place(&args.snapshot).await?;
    // Resolve this before creating the folder for it.
    let part = place.part().await?;
    let Place { snapshot, mut streams, stream: only, path } = place;
    let is_wanted = |stream: &NamedStream| match &only {
        Some(only) => stream.index == only.index,
        None => stream.kind != StreamKind::Volume,
    };
    let left_out = bring::left_out(&streams, is_wanted);
    streams.retain(is_wanted);
    let mut targets = Vec::new();
    match (&streams[..], part) {
        ([], _) => {
            return Err(Failure::usage(
                "the snapshot holds volumes, and no folder",
                "use `lifeboat-restore volume SNAP VOLUME --to-dir DIR`",
            ));
        }
        ([only], part) => {
            let to = bring::target(&args.to, args.no_owner)?;
            let target = bring::into_folder(&snapshot, only, part, to, ui).await?;
            targets.push(RestoredTarget { part: (!path.is_empty()).then(|| path.shown()), ..target });
        }
        (several, _) => {
            let above = bring::target(&args.to, args.no_owner)?;
            for stream in several {
                let to = above.make_below(&stream.name)?;
                let path = to.path().to_owned();
                let target = bring::into_folder(&snapshot, stream, None, to, ui).await;
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
