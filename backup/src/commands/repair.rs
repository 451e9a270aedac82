//! `repair`: rebuilds what can be rebuilt, and reports exactly what is lost.

use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use lifeboat_report::check::UnreadLine;
use lifeboat_report::repair::{ActionLine, FileLine, HurtLine, RepairReport, StreamName};
use lifeboat_report::search::FoundLine;
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, SessionFlags, Ui, describe};
use lifeboat_vault::StreamKind;
use lifeboat_vault::repair::{AffectedFile, AffectedSnapshot, RepairOptions};

use crate::commands::check::damage_line;

/// Repair a damaged repository
///
/// Reads everything, rebuilds lost index objects from packs, and marks what is lost, so that the next backup stores it
/// again where it still exists: then older snapshots restore whole as well. A writer key fixes its own group and
/// removes nothing; a keeper key removes what was replaced; a recovery key names every damaged file and reseals
/// lost keys.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lifeboat-backup repair --dry-run\n  lifeboat-backup repair -r s3://bucket/backups \
                  --identity recovery.key\n\n\
                  Exit codes: 0 no damage is left, 1 damage is left, 3 something could not be read"
)]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Give up snapshots beyond repair, so that prune can go on; takes a keeper key or a recovery key
    #[arg(long)]
    forget_damaged: bool,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let (maintenance, key) = args.keys.maintenance(&args.repository, ui).await?;
    if args.forget_damaged && key == "writer" {
        return Err(Failure::usage(
            "a writer key cannot give up damaged snapshots",
            "give --keeper-key FILE or --identity FILE",
        ));
    }
    let options = RepairOptions { dry_run: args.dry_run, forget_damaged: args.forget_damaged };
    let repaired = maintenance.repair(options).await?;
    let unread = repaired.unread.into_iter();
    let report = RepairReport {
        location: maintenance.location().to_owned(),
        key: key.to_owned(),
        dry_run: args.dry_run,
        actions: repaired
            .actions
            .into_iter()
            .map(|action| ActionLine { object: action.key, what: action.what })
            .collect(),
        marked_frames: repaired.marked_frames,
        hurt: repaired.affected.into_iter().map(snapshot_line).collect(),
        remaining: repaired.remaining.into_iter().map(damage_line).collect(),
        unread: unread.map(|unread| UnreadLine { object: unread.key, reason: unread.reason }).collect(),
        elapsed_seconds: began.elapsed().as_secs_f64(),
    };
    ui.report(&report);
    Ok(match (report.remaining.is_empty(), report.unread.is_empty()) {
        (_, false) => Outcome::Incomplete,
        (false, true) => Outcome::Negative,
        (true, true) => Outcome::Done,
    })
}

fn snapshot_line(affected: AffectedSnapshot) -> HurtLine {
    let file_line = |file: AffectedFile| {
        let (path, path_hex) = describe::bytes(file.path.as_os_str().as_bytes());
        let address = FoundLine::address(&affected.id, &file.stream, file.path.as_os_str().as_bytes());
        FileLine { address, stream: file.stream, path, path_hex, healed: file.replaced }
    };
    let stream_name = |(kind, name): (StreamKind, String)| StreamName { kind: kind.to_string(), name };
    HurtLine {
        files: affected.files.map(|files| files.into_iter().map(file_line).collect()),
        snapshot: affected.id,
        time: affected.time,
        host: affected.host,
        streams: affected.streams.into_iter().map(stream_name).collect(),
        lost_frames: affected.lost_frames,
        unlisted: affected.unlisted,
    }
}
