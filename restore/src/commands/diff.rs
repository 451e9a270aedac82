//! `diff`: how a folder or volume differs from a snapshot.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lifeboat_docker::Engine;
use lifeboat_report::restore::DiffReport;
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_vault::{Compared, StreamKind, Subtree};

use crate::differences;
use crate::open::{self, Place, SnapshotFlags};

/// Compare a folder or a Docker volume with a snapshot
///
/// Contents are compared by their hashes; nothing of them is fetched. With SNAP:NAME/PATH only what is there is compared: a
/// folder with TARGET, a file with TARGET or with the file of its name in TARGET. Exit code 1 means that there are
/// differences.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore diff latest /srv/files -r /srv/backups --identity safe-1.key
  lifeboat-restore diff latest volume:shop_db -r /srv/backups --identity safe-1.key
  lifeboat-restore diff latest:etc/nginx /etc/nginx -r /srv/backups --identity safe-1.key
  lifeboat-restore diff latest restored --no-owner -r /srv/backups --identity safe-1.key")]
pub(crate) struct Args {
    #[command(flatten)]
    snapshot: SnapshotFlags,
    /// A folder, or `volume:NAME`
    #[arg(value_name = "TARGET")]
    target: String,
    /// Which captured folder or volume to compare with, where the snapshot holds several
    #[arg(long, value_name = "NAME")]
    with: Option<String>,
    /// Do not compare owners, nor what a restore without them leaves out: set-user-ID, set-group-ID and capabilities
    #[arg(long)]
    no_owner: bool,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let place = open::place(&args.snapshot).await?;
    let part = place.part().await?;
    let Place { snapshot, streams, stream: only, .. } = place;
    if let (Some(_), Some(with)) = (&part, &args.with) {
        return Err(Failure::usage(
            format!("SNAP names a part of a folder or volume already, and `--with {with}` another one"),
            "give one of them",
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
    let target = match volume {
        Some(name) => {
            let engine = Engine::connect(lifeboat_shell::engine_address().as_deref()).await?;
            engine.volume_directory(&engine.volume(name).await?).await?
        }
        None => PathBuf::from(&args.target),
    };
    let (part, folder, is_file) = beside(part, target);
    let with = Compared { index: stream.index, part, no_owner: args.no_owner };
    let mut differences = snapshot.compare(with, &folder, &ui.context()).await?;
    if is_file {
        for difference in &mut differences {
            difference.path.clear();
        }
    }
    let report = DiffReport {
        snapshot: snapshot.snapshot().id().to_string(),
        target: args.target,
        differences: differences.into_iter().map(differences::line).collect(),
    };
    ui.report(&report);
    Ok(if report.differences.is_empty() { Outcome::Done } else { Outcome::Negative })
}

/// A file compared with the file `target` is compared as an item of `target`'s folder. Returns whether that is the
/// case.
fn beside(part: Option<Subtree>, target: PathBuf) -> (Option<Subtree>, PathBuf, bool) {
    let is_file = part.as_ref().is_some_and(|part| part.file_name().is_some()) && !target.is_dir();
    match (target.file_name(), target.parent()) {
        (Some(name), Some(folder)) if is_file => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            (part.map(|part| part.named(name.as_bytes())), folder.to_owned(), true)
        }
        _ => (part, target, false),
    }
}
