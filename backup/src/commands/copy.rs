//! `copy`: snapshots into another repository.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use lifeboat_report::copy::{CopyLine, CopyReport, CopyState};
use lifeboat_shell::{
    CacheFlags, Failure, Outcome, RecoveryFlags, RepositoryFlags, Ui, describe, open_repository,
};
use lifeboat_vault::{
    Copied, Copier, CopyOptions, Listing, OpenSnapshot, RecoverySession, Repository, Snapshot, VaultError,
    WriterKey,
};

/// Copy snapshots into another repository
///
/// What the recovery key opens here is sealed again there, under the other repository's keys, and stored once. A copy
/// keeps the time, host, tags and all that was captured; one that is there already is not made again. Nothing is
/// decrypted to disk. The oldest snapshot comes first, and each one stands as soon as it is whole.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lifeboat-backup copy s3://elsewhere/backups -r /srv/backups \\
      --identity safe-1.key --writer-key elsewhere-writer.key")]
pub(crate) struct Args {
    /// The repository to copy into
    #[arg(value_name = "DST")]
    destination: String,
    /// Which snapshots: ids, the first digits of one, `latest` or `latest:VOLUME` [default: all]
    #[arg(value_name = "SNAP")]
    snapshots: Vec<String>,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: RecoveryFlags,
    /// A writer key of the repository to copy into
    #[arg(
        long,
        value_name = "FILE",
        env = "LIFEBOAT_WRITER_KEY",
        hide_env_values = true,
        help_heading = "Keys"
    )]
    writer_key: PathBuf,
    #[command(flatten)]
    cache: CacheFlags,
    /// Only snapshots of this host
    #[arg(long, value_name = "H")]
    host: Option<String>,
    /// Only snapshots with this tag; give it more than once to ask for all of them
    #[arg(long, value_name = "T", value_parser = lifeboat_shell::tag)]
    tag: Vec<String>,
    /// Copy a damaged snapshot without the files that are lost, marked as incomplete, instead of not at all
    #[arg(long)]
    keep_damaged: bool,
    /// Tell what would be copied, copy nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let key = Arc::new(WriterKey::read(&args.writer_key)?);
    let restorer = args.keys.open(&args.repository).await?;
    let from = restorer.session().repository();
    let into = open_destination(&args, from, &key).await?;
    let listing = Listing::read(restorer.session()).await?;
    let mut listing = listing.select(args.host.as_deref(), &args.tag, &args.snapshots)?;
    listing.snapshots.sort_by_key(Snapshot::time);
    let mut report = CopyReport {
        from: from.location().to_owned(),
        to: into.location().to_owned(),
        snapshots: Vec::new(),
        unreadable: listing.unreadable.iter().map(ToString::to_string).collect(),
        elapsed_seconds: 0.0,
    };
    let options = CopyOptions {
        compression_level: 3,
        threads: std::thread::available_parallelism().map_or(2, usize::from),
        cache: args.cache.folder(),
        keeps_damaged: args.keep_damaged,
    };
    let mut copier = Copier::new(into, key, options).await?;
    report.unreadable.extend(copier.unreadable().iter().map(ToString::to_string));
    for snapshot in listing.snapshots {
        let mut line = line(&snapshot);
        if !copier.holds(&snapshot) {
            line.what = CopyState::ToCopy;
            if !args.dry_run {
                take(&mut line, copy(&restorer, snapshot, &mut copier, ui).await)?;
            }
        }
        report.snapshots.push(line);
    }
    report.elapsed_seconds = started.elapsed().as_secs_f64();
    ui.report(&report);
    let is_whole = report.unreadable.is_empty()
        && report.snapshots.iter().all(|line| line.lost.is_empty() && line.reason.is_none());
    Ok(if is_whole { Outcome::Done } else { Outcome::Negative })
}

async fn open_destination(args: &Args, from: &Repository, key: &WriterKey) -> Result<Repository, Failure> {
    let flags = RepositoryFlags {
        repository: Some(args.destination.clone()),
        allow_http: args.repository.allow_http,
    };
    let store = flags.open().await?;
    let id = Repository::probe(&store).await?;
    if id == *from.id() {
        return Err(Failure::usage(
            format!("{} and {} are one repository, {id}", from.location(), store.name()),
            "copy into another repository, made with `lifeboat-backup init`; for a copy byte for byte use the storage's \
             own tools",
        ));
    }
    open_repository(&flags, &key.repository).await
}

async fn copy(
    restorer: &RecoverySession,
    snapshot: Snapshot,
    copier: &mut Copier,
    ui: &Ui,
) -> Result<Copied, VaultError> {
    let open = OpenSnapshot::open(restorer, snapshot).await?;
    copier.copy(&open, &ui.context()).await
}

/// Damage affects only one snapshot; any other error ends the command.
fn take(line: &mut CopyLine, copied: Result<Copied, VaultError>) -> Result<(), VaultError> {
    match copied {
        Ok(copied) => {
            line.what = CopyState::Copied;
            line.copy = copied.committed.id.map(|id| id.to_string());
            line.new_bytes = copied.committed.new_bytes;
            line.stored_bytes = copied.committed.stored_bytes;
            let lost = copied.lost.into_iter();
            line.lost = lost.map(|(stream, lost)| describe::unreadable(stream, &lost)).collect();
            Ok(())
        }
        Err(VaultError::Object(error)) => {
            line.what = CopyState::Failed;
            line.reason = Some(error.to_string());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn line(snapshot: &Snapshot) -> CopyLine {
    CopyLine {
        snapshot: snapshot.id().to_string(),
        time: snapshot.time(),
        host: snapshot.host().to_owned(),
        what: CopyState::There,
        copy: None,
        new_bytes: 0,
        stored_bytes: 0,
        lost: Vec::new(),
        reason: None,
    }
}
