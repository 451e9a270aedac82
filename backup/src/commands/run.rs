//! `run`: takes a snapshot.

mod at_rest;
mod containers;
mod left_out;
mod piped;
mod volume_source;

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeboat_core::progress::Unit;
use lifeboat_report::backup::{RunReport, StreamLine};
use lifeboat_report::problem::StreamPath;
use lifeboat_shell::{
    CacheFlags, Failure, Outcome, RepositoryFlags, Ui, describe, one_name, open_repository,
};
use lifeboat_vault::{
    Committed, Consistency, Excludes, FolderSource, PackSizes, SnapshotOptions, SnapshotWriter, Stream,
    StreamKind, StreamOutcome, VaultError, WriterKey, check_name, check_text,
};

use self::at_rest::AtRest;
use self::containers::Containers;
use self::left_out::LeaveOut;
use self::piped::Empty;

/// Take a snapshot of volumes, folders or standard input
///
/// Containers that write to a volume are stopped while it is read, and started again as soon as it has been read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-backup run --volume shop_db -r s3://bucket/backups
  lifeboat-backup run --project shop --tag nightly
  lifeboat-backup run --path /etc --path /srv/files --mode none
  lifeboat-backup run --path /home --exclude '*.tmp' --exclude-caches
  pg_dump shop | lifeboat-backup run --stdin shop.sql
  lifeboat-backup run --stdin-from-command shop.sql -- pg_dump shop")]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    /// This host's writer key
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
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    leave_out: LeaveOut,
    /// Label the snapshot
    #[arg(long, value_name = "T", value_parser = lifeboat_shell::tag)]
    tag: Vec<String>,
    /// What to do with containers that write to a volume while it is read
    #[arg(long, value_enum, default_value_t = Mode::Stop)]
    mode: Mode,
    /// The name that the snapshot carries for this host [default: the host's own]
    #[arg(long, value_name = "H")]
    host: Option<String>,
    /// How many MiB of sealed data may wait on this host's disk for a slow storage, while reading goes on
    ///
    /// They lie in the cache folder. Containers that were stopped start when their last byte has been read.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(..=1 << 30))]
    spool: u64,
    /// Read and count everything, store nothing, stop nothing
    #[arg(long)]
    dry_run: bool,
    /// Store standard input, or what a command prints, although it is empty
    #[arg(long)]
    allow_empty: bool,
    /// The command whose output is stored, with its arguments
    #[arg(last = true, value_name = "CMD", requires = "stdin_from_command")]
    command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "What")]
struct What {
    /// A Docker volume
    #[arg(long, value_name = "V")]
    volume: Vec<String>,
    /// Every volume of a container
    #[arg(long, value_name = "C")]
    container: Vec<String>,
    /// Every volume of a Compose project
    #[arg(long, value_name = "P")]
    project: Vec<String>,
    /// Every volume of the engine
    #[arg(long)]
    all: bool,
    /// A folder of this host
    #[arg(long, value_name = "DIR")]
    path: Vec<PathBuf>,
    /// Standard input, as a file of this name
    #[arg(long, value_name = "NAME")]
    stdin: Option<String>,
    /// What a command prints, as a file of this name; the command follows after `--`, and nothing is stored if it fails
    #[arg(long, value_name = "NAME", requires = "command", conflicts_with = "stdin")]
    stdin_from_command: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Leave them running: files may not fit together
    None,
    /// Freeze them: as after a power cut
    Pause,
    /// Stop them: as after a clean shutdown
    Stop,
}

/// How long a cancelled capture may take to notice. If it waits for a silent pipe, or for a disk that does not answer,
/// it ends with the process.
const NOTICE: Duration = Duration::from_millis(300);

/// What has been captured so far.
struct Captured {
    writer: SnapshotWriter,
    streams: Vec<CapturedStream>,
    /// Whether something wrote to a volume while it was read.
    disturbed: bool,
}

/// One stream that was captured.
struct CapturedStream {
    outcome: StreamOutcome,
    consistency: Consistency,
    /// The captured folder, if it is one of this host's.
    source: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let started = Instant::now();
    check(&args)?;
    let excludes = args.leave_out.read()?;
    let key = Arc::new(WriterKey::read(&args.writer_key)?);
    if let Some(name) = &args.what.stdin {
        piped::wait_for_input(name, args.empty(), ui).await?;
    }
    let mut at_rest = AtRest::default();
    let containers = Containers::find(&args, &mut at_rest, ui).await?;
    let folders = open_folders(&args.what.path, &excludes)?;
    let repository = open_repository(&args.repository, &key.repository).await?;
    let location = repository.location().to_owned();
    if let Some(Ok(folder)) = repository.local_folder().map(std::fs::metadata) {
        excludes.leave_out_repository(folder.dev(), folder.ino());
    }
    let options = SnapshotOptions {
        host: args.host.clone().unwrap_or_else(host_name),
        tags: args.tag.clone(),
        application: args.what.project.first().cloned(),
        compression_level: 3,
        pack_sizes: PackSizes { spool_bytes: args.spool << 20, ..PackSizes::default() },
        threads: std::thread::available_parallelism().map_or(2, usize::from),
        cache: args.cache.folder(),
        dry_run: args.dry_run,
    };
    let writer = SnapshotWriter::begin(repository, key, options, &ui.context()).await?;
    let open = writer.open_run();
    let (told, asked) = (Arc::clone(&open), ui.cancellation().clone());
    let watch = tokio::spawn(async move {
        asked.cancelled().await;
        told.stop_storing();
    });
    let taken = Box::pin(take(&args, (containers, folders), writer, &mut at_rest, &excludes, ui)).await;
    watch.abort();
    let Taken { committed, streams, disturbed } = match taken {
        Ok(taken) => taken,
        Err(failure) => {
            // The containers have been asked to start by now. The next run reuses what was uploaded.
            open.end().await;
            at_rest.tell_of_failure(ui).await;
            return Err(failure);
        }
    };
    at_rest.look_after(ui).await;
    let unreleased = at_rest.unreleased.take();
    let troubled = disturbed || at_rest.is_troubled();
    let mut report = report(location, &committed, &streams, at_rest, started);
    report.left_out = args.leave_out.tell(&excludes, ui);
    ui.report(&report);
    if let Some(failure) = unreleased {
        ui.warn("the snapshot is stored; what failed is starting the containers again");
        return Err(failure);
    }
    Ok(if report.incomplete || troubled { Outcome::Incomplete } else { Outcome::Done })
}

/// A snapshot that was taken.
struct Taken {
    committed: Committed,
    streams: Vec<CapturedStream>,
    /// Whether something wrote to a volume while it was read.
    disturbed: bool,
}

/// Captures everything and commits the snapshot.
async fn take(
    args: &Args,
    (containers, folders): (Option<Containers>, Vec<(PathBuf, FolderSource)>),
    writer: SnapshotWriter,
    at_rest: &mut AtRest,
    excludes: &Arc<Excludes>,
    ui: &Ui,
) -> Result<Taken, Failure> {
    let progress = ui.progress();
    let empty = args.empty();
    let mut captured = Captured { writer, streams: Vec::new(), disturbed: false };
    progress.phase("reading", Unit::Bytes, None);
    if let Some(containers) = containers {
        captured = Box::pin(containers.capture(captured, args, at_rest, excludes, ui)).await?;
    }
    for (number, (path, source)) in folders.into_iter().enumerate() {
        let name = if number == 0 { "path".to_owned() } else { format!("path-{}", number + 1) };
        let stream = Stream {
            kind: StreamKind::Path,
            name,
            consistency: Consistency::None,
            cache_key: format!("path {}", path.display()),
            source: Box::new(source),
        };
        captured = captured.add(stream, ui).await?;
        if let Some(stream) = captured.streams.last_mut() {
            stream.source = Some(path);
        }
    }
    if let Some(name) = &args.what.stdin {
        captured = piped::input(captured, name, empty, ui).await?;
    }
    if let Some(name) = &args.what.stdin_from_command {
        captured = piped::output(captured, name, &args.command, empty, ui).await?;
    }
    progress.phase("storing", Unit::Items, None);
    let Captured { writer, streams, disturbed } = captured;
    // A lot may still be waiting for a slow storage. Whenever this run ends, the next one reuses what was uploaded.
    let committed = tokio::select! {
        committed = writer.commit() => committed?,
        () = ui.cancellation().cancelled() => return Err(VaultError::Interrupted.into()),
    };
    Ok(Taken { committed, streams, disturbed })
}

impl Args {
    /// How to treat an empty stream.
    fn empty(&self) -> Empty {
        if self.allow_empty { Empty::Stored } else { Empty::Refused }
    }
}

/// Refuses what readers would refuse, before anything is stored or stopped.
fn check(args: &Args) -> Result<(), Failure> {
    for name in args.what.stdin.iter().chain(&args.what.stdin_from_command) {
        check_name(name).map_err(|reason| {
            Failure::usage(
                format!("`{name}` cannot be a file's name: {reason}"),
                "give it a plain name of one part, without control characters, such as `shop.sql`",
            )
        })?;
    }
    let texts = args.tag.iter().map(|tag| ("--tag", tag));
    let texts = texts.chain(args.host.iter().map(|host| ("--host", host)));
    let texts = texts.chain(args.what.project.iter().map(|project| ("--project", project)));
    for (option, text) in texts {
        check_text(text).map_err(|reason| {
            Failure::usage(format!("{option} cannot be stored: {reason}"), "give a shorter text")
        })?;
    }
    Ok(())
}

/// Opens every folder first, so that a typo fails before anything is stored or stopped.
fn open_folders(
    paths: &[PathBuf],
    excludes: &Arc<Excludes>,
) -> Result<Vec<(PathBuf, FolderSource)>, VaultError> {
    let open = |path: &PathBuf| FolderSource::open_excluding(path, Arc::clone(excludes));
    let mut folders: Vec<(PathBuf, FolderSource)> = Vec::new();
    for path in paths {
        let (known, source) = (one_name(path), open(path)?);
        if folders.iter().all(|(other, _)| *other != known) {
            folders.push((known, source));
        }
    }
    Ok(folders)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Captured {
    /// Captures one more stream.
    async fn add(mut self, stream: Stream, ui: &Ui) -> Result<Self, VaultError> {
        let consistency = stream.consistency;
        let impatient = async {
            ui.cancellation().cancelled().await;
            tokio::time::sleep(NOTICE).await;
        };
        let (writer, outcome) = tokio::select! {
            captured = self.writer.capture(stream) => captured?,
            () = impatient => return Err(VaultError::Interrupted),
        };
        self.streams.push(CapturedStream { outcome, consistency, source: None });
        Ok(Self { writer, ..self })
    }

    /// Records that writers were not kept off a volume while it was read. Returns whether more was promised.
    fn weaken(&mut self, volume: &str) -> bool {
        let is_it = |stream: &&mut CapturedStream| {
            stream.outcome.kind == StreamKind::Volume && stream.outcome.name == volume
        };
        let promised = self
            .streams
            .iter_mut()
            .filter(is_it)
            .map(|stream| std::mem::replace(&mut stream.consistency, Consistency::None))
            .any(|before| before != Consistency::None);
        self.writer.weaken(StreamKind::Volume, volume, Consistency::None);
        self.disturbed |= promised;
        promised
    }

    /// Stores a document with the streams.
    async fn document(self, name: &str, bytes: Vec<u8>) -> Result<Self, VaultError> {
        Ok(Self { writer: self.writer.document(name.to_owned(), bytes).await?, ..self })
    }
}

fn report(
    location: String,
    committed: &Committed,
    streams: &[CapturedStream],
    at_rest: AtRest,
    started: Instant,
) -> RunReport {
    let outcomes = || streams.iter().map(|stream| &stream.outcome);
    let unreadable =
        outcomes().flat_map(|s| s.unreadable.iter().map(|lost| describe::unreadable(s.name.clone(), lost)));
    let changed = outcomes().flat_map(|s| {
        s.changed.iter().map(|path| {
            let (path, path_hex) = describe::bytes(path);
            StreamPath { stream: s.name.clone(), path, path_hex }
        })
    });
    RunReport {
        location,
        snapshot: committed.id.map(|id| id.to_string()),
        sequence: committed.sequence,
        time: committed.time,
        streams: streams
            .iter()
            .map(|CapturedStream { outcome, consistency, source }| StreamLine {
                kind: outcome.kind.to_string(),
                name: outcome.name.clone(),
                source: source.as_deref().map(describe::path),
                consistency: consistency.to_string(),
                items: outcome.items,
                data_bytes: outcome.data_bytes,
            })
            .collect(),
        new_bytes: committed.new_bytes,
        stored_bytes: committed.stored_bytes,
        elapsed_seconds: started.elapsed().as_secs_f64(),
        rested: at_rest.containers,
        rest_seconds: at_rest.seconds,
        left_running: at_rest.left_running,
        troubles: at_rest.troubles,
        left_out: None,
        incomplete: committed.incomplete,
        unreadable: unreadable.collect(),
        changed: changed.collect(),
    }
}
