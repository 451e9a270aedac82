//! `diff`: how a folder or volume differs from a snapshot.

use std::path::PathBuf;

use lifeboat_docker::Engine;
use lifeboat_report::restore::{DiffReport, DifferenceLine};
use lifeboat_shell::{Failure, Outcome, Ui, describe};
use lifeboat_vault::{Difference, StreamKind, What};

use crate::open::{self, Place, SnapshotFlags};

/// Compare a folder or a Docker volume with a snapshot
///
/// Contents are compared by their hashes; nothing of them is fetched. Exit code 1 means that there are differences.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore diff latest /srv/files -r /srv/backups --identity safe-1.key
  lifeboat-restore diff latest volume:shop_db -r /srv/backups --identity safe-1.key")]
pub(crate) struct Args {
    #[command(flatten)]
    snapshot: SnapshotFlags,
    /// A folder, or `volume:NAME`
    #[arg(value_name = "TARGET")]
    target: String,
    /// Which captured folder or volume to compare with, where the snapshot holds several
    #[arg(long, value_name = "NAME")]
    with: Option<String>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let Place { snapshot, streams, stream: only, path } = open::place(&args.snapshot).await?;
    if !path.is_empty() {
        return Err(Failure::usage(
            format!("`{}` is a part of what was captured, and only the whole is compared", path.shown()),
            "leave it out",
        ));
    }
    let kinds = [StreamKind::Path, StreamKind::Volume];
    let volume = args.target.strip_prefix("volume:");
    let named = args.with.as_deref().or(only.as_ref().map(|only| only.name.as_str()));
    let wanted = named.or(volume.filter(|v| streams.iter().any(|s| s.name == *v)));
    let stream = match (wanted, &streams[..]) {
        (Some(name), _) => open::named(&streams, &kinds, "volume or folder", name)?,
        (None, [only]) => only,
        (None, _) => {
            let names: Vec<_> = streams.iter().map(|s| s.name.as_str()).collect();
            return Err(Failure::usage(
                format!("the snapshot holds several volumes or folders: {}", names.join(", ")),
                "say which one: SNAP:NAME",
            ));
        }
    };
    let folder = match volume {
        Some(name) => {
            let engine = Engine::connect(lifeboat_shell::engine_address().as_deref()).await?;
            engine.volume_directory(&engine.volume(name).await?).await?
        }
        None => PathBuf::from(&args.target),
    };
    let differences = snapshot.compare(stream.index, &folder, &ui.progress(), ui.cancellation()).await?;
    let report = DiffReport {
        snapshot: snapshot.snapshot().id().to_string(),
        target: args.target,
        differences: differences.into_iter().map(line).collect(),
    };
    ui.report(&report);
    Ok(if report.differences.is_empty() { Outcome::Done } else { Outcome::Negative })
}

fn line(difference: Difference) -> DifferenceLine {
    let (what, aspects) = match difference.what {
        What::Missing => ("missing", Vec::new()),
        What::Extra => ("extra", Vec::new()),
        What::Changed(aspects) => ("changed", aspects.into_iter().map(str::to_owned).collect()),
        What::Unreadable(reason) => ("unreadable", vec![reason]),
    };
    let (path, path_hex) = describe::bytes(&difference.path);
    DifferenceLine { path, path_hex, what: what.to_owned(), aspects }
}
