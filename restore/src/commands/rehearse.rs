//! `rehearse`: restores a snapshot into scratch containers and proves that it works.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::limits::{SMALL_FILE_BYTES, read_file_capped};
use lifeboat_core::random::{Entropy, OsEntropy};
use lifeboat_docker::Engine;
use lifeboat_report::Report;
use lifeboat_report::drill::{DrillReport, Verdict};
use lifeboat_shell::{Failure, Outcome, RecoveryFlags, RepositoryFlags, Ui, WhichFlags, replace_file};
use lifeboat_vault::{Listing, OpenSnapshot, Snapshot};

use crate::recovery_point::VaultPoint;
use crate::rehearsal::watchdog::Watchdog;
use crate::rehearsal::{DrillOptions, Grounds, Plan, rehearse};

/// Rehearse a restore in scratch containers, and prove that it works
///
/// The snapshot is restored into scratch volumes, compared with what was captured, started in an isolated network, and
/// asked the questions of the plan. Nothing outside the scratch objects is touched, and they are removed at the end.
/// Exit code 0 means verified, 1 failed, 3 that not enough could be tested to say so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore rehearse latest --plan drill.toml --report reports/ -r s3://bucket/backups
  lifeboat-restore rehearse random -r /srv/backups --identity safe-1.key

A plan:
  version = 1
  targets = { rto = \"15m\", rpo = \"24h\" }

  [[check]]
  name = \"every order is there\"
  service = \"db\"
  kind = \"sql\"
  engine = \"postgres\"
  user = \"postgres\"
  database = \"shop\"
  query = \"select count(*) from orders\"
  expect = 100000")]
pub(crate) struct Args {
    /// An id, the first digits of one, `latest`, `latest:VOLUME`, or `random`
    #[arg(value_name = "SNAP")]
    snapshot: String,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: RecoveryFlags,
    #[command(flatten)]
    which: WhichFlags,
    /// What to do and to expect [default: start everything and wait until it is healthy]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write the report here, as JSON and as an HTML page
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Where folders are restored to, below a folder that others cannot look into [default: the state folder]
    #[arg(long, value_name = "DIR")]
    scratch_dir: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let plan = match &args.plan {
        Some(path) => read_plan(path)?,
        None => Plan::default(),
    };
    if let Some(folder) = &args.report {
        std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    let grounds = Grounds::open(&lifeboat_shell::machine_folder(), args.scratch_dir.as_deref(), &OsEntropy)?;
    let engine = Engine::connect(lifeboat_shell::engine_address().as_deref()).await;
    clean_up(&grounds, engine.as_ref().ok(), ui).await?;
    let snapshot = find(&args).await?;
    let streams = snapshot.named_streams().await?;
    let no_engine = engine.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let context = ui.context();
    let point = VaultPoint::new(snapshot, streams, context.clone());
    let options = DrillOptions {
        plan: &plan,
        engine: engine.as_ref().map_err(|_| no_engine.as_str()),
        grounds: &grounds,
        context: &context,
    };
    // If the watchdog cannot be started, the next command cleans up after a drill that died.
    let watchdog = engine
        .is_ok()
        .then(|| Watchdog::start(lifeboat_shell::machine_variables()))
        .transpose()
        .unwrap_or_else(|error| {
            ui.warn(&format!("no watchdog stops what is left if this drill is killed: {error}"));
            None
        });
    let report = rehearse(Arc::new(point), &options).await?;
    if let Some(watchdog) = watchdog.filter(|_| report.leftovers.is_empty()) {
        watchdog.dismiss();
    }
    ui.report(&report);
    if let Some(folder) = &args.report {
        let page = write(folder, &report)?;
        ui.note(&format!("report: {}", page.display()));
    }
    Ok(match report.verdict {
        Verdict::Verified => Outcome::Done,
        Verdict::Failed => Outcome::Negative,
        Verdict::CouldNotVerify => Outcome::Incomplete,
    })
}

/// Removes what dead drills left: their containers may still be running.
async fn clean_up(grounds: &Grounds, engine: Option<&Engine>, ui: &Ui) -> Result<(), Failure> {
    let swept = grounds.sweep(engine, SystemClock.now(), &BTreeSet::new()).await?;
    if swept.removed > 0 {
        ui.warn(&format!(
            "an earlier drill did not clear away; {} of its objects were removed",
            swept.removed
        ));
    }
    for left in &swept.leftovers {
        ui.warn(&format!("an earlier drill left {left}, which cannot be removed"));
    }
    Ok(())
}

fn read_plan(path: &Path) -> Result<Plan, Failure> {
    let bad = |reason: String| {
        Failure::usage(
            format!("the plan {} cannot be used ({reason})", path.display()),
            "fix it, or give another",
        )
    };
    let bytes = read_file_capped(path, SMALL_FILE_BYTES).map_err(|error| bad(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| bad("it is not text".to_owned()))?;
    Ok(Plan::parse(&text)?)
}

async fn find(args: &Args) -> Result<OpenSnapshot, Failure> {
    let restorer = args.keys.open_to_read(&args.repository).await?;
    let listing = Listing::read(restorer.session()).await?;
    let snapshot = match args.snapshot.as_str() {
        "random" => {
            let listing = args.which.narrow(listing, Some(&restorer), None).await?;
            random(listing, args.which.host.as_deref())?
        }
        name => args.which.find(listing, Some(&restorer), name).await?,
    };
    Ok(OpenSnapshot::open(&restorer, snapshot).await?)
}

/// Picks any snapshot with equal probability, so that old ones are rehearsed too.
fn random(listing: Listing, host: Option<&str>) -> Result<Snapshot, Failure> {
    let mut snapshots = listing.snapshots;
    snapshots.retain(|snapshot| host.is_none_or(|host| snapshot.host() == host));
    if snapshots.is_empty() {
        return Err(Failure::usage("no snapshot to rehearse", "see `lifeboat-restore list`"));
    }
    let entropy: &dyn Entropy = &OsEntropy;
    // 64 random bits make the remainder's bias too small to measure.
    let number = u64::from_le_bytes(entropy.array()) % snapshots.len() as u64;
    Ok(snapshots.swap_remove(usize::try_from(number).unwrap_or(0)))
}

/// Writes the report in both forms and returns the path of the page.
fn write(folder: &Path, report: &DrillReport) -> Result<PathBuf, Failure> {
    let id = &report.snapshot[..12.min(report.snapshot.len())];
    let base = folder.join(format!("drill-{}-{id}", report.started_at.strftime("%Y%m%dT%H%M%SZ")));
    let json = report.json().expect("report types always serialise");
    let (json_path, page_path) = (base.with_extension("json"), base.with_extension("html"));
    // Only this user may read what the snapshot's programs said, and existing files and links of this name are not
    // written to.
    let write = |path: &Path, bytes: &[u8]| {
        replace_file(path, bytes, 0o600).map_err(|error| cannot_write(path, &error))
    };
    write(&json_path, (json + "\n").as_bytes())?;
    write(&page_path, report.html().as_bytes())?;
    Ok(page_path)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(
        format!("{} cannot be written ({error})", path.display()),
        "give another folder with --report",
    )
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn the_plan_that_the_help_shows_is_one() {
        let command = Args::augment_args(clap::Command::new("rehearse"));
        let help = command.get_after_help().unwrap().to_string();
        let (_, plan) = help.split_once("A plan:\n").unwrap();
        assert_eq!(Plan::parse(plan).unwrap().checks.len(), 1);
    }
}
