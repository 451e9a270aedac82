//! `volume`: restores a captured volume into a Docker volume or a folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use lifeboat_core::text::path_text;
use lifeboat_docker::Engine;
use lifeboat_report::restore::RestoreReport;
use lifeboat_shell::{Failure, Kind, Outcome, Ui};
use lifeboat_vault::{StreamKind, TargetFolder};

use crate::open::{Place, SnapshotFlags};
use crate::{bring, open};

/// Restore a volume into a new Docker volume, or into a folder
///
/// What else is in the snapshot is left out and named. A Docker volume of that name must be absent, or empty and unused; nothing is overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore volume latest shop_db --to shop_db_restored -r s3://bucket/backups
  lifeboat-restore volume latest shop_db --to-dir /srv/look -r s3://bucket/backups")]
pub(crate) struct Args {
    #[command(flatten)]
    snapshot: SnapshotFlags,
    /// The volume as it was called when it was captured, where SNAP does not name it
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
    /// The Docker volume to make [default: the captured name]
    #[arg(long, value_name = "NAME", conflicts_with = "to_dir")]
    to: Option<String>,
    /// A folder to restore into instead
    #[arg(long, value_name = "DIR")]
    to_dir: Option<PathBuf>,
    /// Leave everything to this user: no owner is set, and programs lose set-user-ID
    #[arg(long, requires = "to_dir")]
    no_owner: bool,
}

pub(crate) async fn run(mut args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let started = Instant::now();
    // The latest that holds the volume is meant, as with `latest:VOLUME`.
    if let Some(volume) = args.volume.as_ref().filter(|_| args.snapshot.snapshot == "latest") {
        args.snapshot.snapshot = format!("latest:{}", path_text(volume.as_bytes())).into();
        args.snapshot.which.kind = Some(Kind::Volume);
    }
    let place = open::place(&args.snapshot).await?;
    let named = args.volume.or_else(|| place.stream.as_ref().map(|stream| stream.name.clone()));
    let Some(volume_name) = named.filter(|_| place.path.is_empty()) else {
        return Err(Failure::usage(
            format!("`{}` names no volume", args.snapshot.snapshot.display()),
            "write SNAP VOLUME or SNAP:VOLUME",
        ));
    };
    let Place { snapshot, streams, .. } = place;
    let stream = open::named(&streams, &[StreamKind::Volume], "volume", &volume_name)?;
    let target = if let Some(folder) = &args.to_dir {
        bring::into_folder(&snapshot, stream, None, bring::target(folder, args.no_owner)?, ui).await?
    } else {
        let name = args.to.as_deref().unwrap_or(&volume_name);
        let engine = Engine::connect(lifeboat_shell::engine_address().as_deref()).await?;
        let id = snapshot.snapshot().short_id();
        let labels = BTreeMap::from([("io.lifeboat.restored-from".to_owned(), id)]);
        let volume = engine.fresh_volume(name, &labels).await?;
        let restored = match TargetFolder::take(volume.directory()) {
            Ok(to) => bring::into_folder(&snapshot, stream, None, to, ui).await,
            Err(error) => Err(error),
        };
        match restored {
            Ok(mut target) => {
                volume.keep();
                target.to = format!("volume {name}");
                target
            }
            Err(error) => {
                volume.discard().await?;
                return Err(error.into());
            }
        }
    };
    let snapshot = snapshot.snapshot().id().to_string();
    let left_out = bring::left_out(&streams, |other| other.index == stream.index);
    let elapsed_seconds = started.elapsed().as_secs_f64();
    let report = RestoreReport { snapshot, targets: vec![target], left_out, elapsed_seconds };
    ui.report(&report);
    Ok(bring::outcome(&report))
}
