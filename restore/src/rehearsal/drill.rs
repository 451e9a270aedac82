//! One drill from its first step to its last: choose, restore, compare, prove isolation, boot, check, clean up.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::progress::Unit;
use lifeboat_core::{Context, Fault as _, Kind};
use lifeboat_docker::definitions::Definitions;
use lifeboat_docker::ownership::{Ownership, RehearsalId};
use lifeboat_docker::scratch::sanitise::Limits;
use lifeboat_docker::scratch::{Isolation, Sandbox, Together};
use lifeboat_docker::{Engine, EngineError};
use lifeboat_report::drill::{
    DrillReport, DrillVersions, DrilledIsolation, DrilledVolume, Objective, Phase, Verdict,
};
use lifeboat_vault::Consistency;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::boot::{Boot, Booted, Containers};
use super::caveats;
use super::checks;
use super::grounds::{Berth, FolderError, Grounds};
use super::guard::Guard;
use super::plan::Plan;
use super::point::{PointError, RecoveryPoint, RestoredVolume, SnapshotVolume, SourceKind};
use super::room::{disk_holds, enough_space};
use super::stop::{DrillError, Stop, open, upper_first};
use super::verdict::{Stopped, decide};

/// How long after its deadline a drill's objects expire: then any clean-up may remove them.
const SPARE_TIME: Duration = Duration::from_hours(1);

/// How many containers are started, and how many volumes are made, at most.
const MOST_CONTAINERS: usize = 64;
const MOST_VOLUMES: usize = 512;

/// The inputs of a drill.
#[derive(Clone, Copy)]
pub struct DrillOptions<'a> {
    /// What to do and to expect.
    pub plan: &'a Plan,
    /// The engine, or why there isn't one: then data is restored and compared, and nothing is started.
    pub engine: Result<&'a Engine, &'a str>,
    /// Where it works on this machine: its entry in the register, and a folder for what is not restored into volumes.
    pub grounds: &'a Grounds,
    /// Its cancellation makes the drill clean up and stop.
    pub context: &'a Context,
}

/// Runs a drill of `point`.
///
/// # Errors
/// [`DrillError`] only if it was interrupted, its folder cannot be used, or the sandbox cannot be isolated. Everything
/// else, an unreachable snapshot included, is a report with its verdict.
pub async fn rehearse(
    point: Arc<dyn RecoveryPoint>,
    options: &DrillOptions<'_>,
) -> Result<DrillReport, DrillError> {
    let mut drill = Drill::new(point, options);
    drill.berth = Some(options.grounds.enter(&drill.owner.id)?);
    let watch = drill.guard.watch(options.plan.deadline);
    let stop = drill.run().await.err();
    drop(watch);
    let stop = match (stop, drill.guard.reason()) {
        (Some(Stop::Interrupted | Stop::Stopped(_)) | None, Some(reason))
            if !options.context.is_cancelled() =>
        {
            Some(Stop::Stopped(Stopped::Limit(reason.to_owned())))
        }
        (stop, _) => stop,
    };
    drill.reached = drill.sandbox.as_ref().map(Sandbox::limits_reached).unwrap_or_default();
    drill.clear_away().await;
    let leftovers = drill.report.leftovers.clone();
    match stop {
        Some(Stop::Interrupted) => Err(DrillError::Interrupted { leftovers }),
        Some(Stop::NoReport(error)) => Err(error),
        Some(Stop::Stopped(stopped)) => Ok(drill.finish(Some(&stopped))),
        None => Ok(drill.finish(None)),
    }
}

struct Drill<'a> {
    options: &'a DrillOptions<'a>,
    point: Arc<dyn RecoveryPoint>,
    owner: Ownership,
    report: DrillReport,
    sandbox: Option<Sandbox>,
    berth: Option<Berth>,
    guard: Guard,
    /// The limits that the scratch containers reached.
    reached: Vec<&'static str>,
    asked: bool,
}

impl<'a> Drill<'a> {
    fn new(point: Arc<dyn RecoveryPoint>, options: &'a DrillOptions<'a>) -> Self {
        let plan = options.plan;
        let started_at = options.context.clock.now();
        let expires = SignedDuration::try_from(plan.deadline.saturating_add(SPARE_TIME))
            .ok()
            .and_then(|lifetime| started_at.checked_add(lifetime).ok());
        let id = RehearsalId::random(&*options.context.entropy);
        let age = started_at.duration_since(point.taken_at()).as_secs_f64().max(0.0);
        let engine = options.engine.ok().map(Engine::facts);
        let report = DrillReport {
            rehearsal: id.to_string(),
            verdict: Verdict::CouldNotVerify,
            reason: String::new(),
            snapshot: point.snapshot_id(),
            application: None,
            host: point.host(),
            taken_at: point.taken_at(),
            consistency: match point.consistency() {
                Some(Consistency::None) => "none",
                Some(Consistency::Paused) => "pause",
                Some(Consistency::Stopped) => "stop",
                Some(Consistency::Idle) => "idle",
                None => "unknown",
            }
            .to_owned(),
            started_at,
            finished_at: started_at,
            rto: Objective::new(None, plan.rto.map(|target| target.as_secs_f64())),
            rpo: Objective::new(Some(age), plan.rpo.map(|target| target.as_secs_f64())),
            phases: Vec::new(),
            booted: false,
            volumes: Vec::new(),
            images: Vec::new(),
            services: Vec::new(),
            checks: Vec::new(),
            isolation: None,
            not_tested: Vec::new(),
            limits: Vec::new(),
            plan_sha256: plan.sha256.map(|hash| hash.to_string()),
            versions: DrillVersions {
                lifeboat: env!("CARGO_PKG_VERSION").to_owned(),
                engine: engine.map(|facts| facts.version.clone()),
                kernel: engine.map(|facts| facts.kernel.clone()),
            },
            leftovers: Vec::new(),
        };
        let key = options.grounds.key().clone();
        let owner = Ownership::new(id, expires.unwrap_or(Timestamp::MAX), key);
        let engines = options.engine.ok().map(|engine| engine.facts().root.clone());
        let folders = engines.into_iter().chain([options.grounds.folders().to_owned()]).collect();
        let guard = Guard::new(&options.context.cancel, folders);
        Self {
            options,
            point,
            owner,
            report,
            sandbox: None,
            berth: None,
            guard,
            reached: Vec::new(),
            asked: false,
        }
    }

    fn phase(&mut self, name: &str, since: Instant, counts: bool) {
        self.report.phases.push(Phase {
            name: name.to_owned(),
            elapsed_seconds: since.elapsed().as_secs_f64(),
            counts,
        });
    }

    /// Runs a blocking call of the snapshot's. Waits for it even when the drill is interrupted, because it may be
    /// writing into folders that are about to be removed; the token makes it end soon.
    async fn ask<T, F>(&self, what: &str, call: F) -> Result<T, Stop>
    where
        T: Send + 'static,
        F: FnOnce(&dyn RecoveryPoint, &CancellationToken) -> Result<T, PointError> + Send + 'static,
    {
        let point = Arc::clone(&self.point);
        let cancel = self.guard.token().clone();
        let answer = tokio::task::spawn_blocking(move || call(&*point, &cancel)).await;
        if self.guard.token().is_cancelled() {
            return Err(Stop::Interrupted);
        }
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.kind() == Kind::Interrupted => Err(Stop::Interrupted),
            // A failure for lack of space is not the snapshot's fault.
            Ok(Err(_)) if self.guard.look() => Err(Stop::Interrupted),
            Ok(Err(error)) => {
                let reason = format!("{what} failed: {error}.");
                Err(Stop::Stopped(match error.kind() {
                    Kind::Refused => Stopped::Wrong(reason),
                    _ => Stopped::Open(reason),
                }))
            }
            Err(panic) => Err(open(format!("{what} ended in a fault of Lifeboat's own: {panic}."))),
        }
    }

    async fn run(&mut self) -> Result<(), Stop> {
        let since = Instant::now();
        let definitions =
            self.ask("Reading the captured definitions", |point, _| point.definitions()).await?;
        self.report.application = definitions.as_ref().and_then(Definitions::application);
        let volumes = self.point.volumes();
        let included = self.prepare(definitions, &volumes).await?;
        self.phase("prepare", since, false);

        let restored = self.restore(&volumes).await?;
        self.compare(&volumes, &restored).await?;
        let Some((engine, containers)) = included else { return Ok(()) };

        let since = Instant::now();
        self.prove_isolation().await?;
        self.phase("isolation", since, false);

        let since = Instant::now();
        let booted = self.boot(engine, &containers, &restored).await;
        self.phase("boot", since, true);
        let (mut booted, shown) = booted?;
        self.report.booted = true;
        self.report.services.clone_from(&booted.services);
        self.note_isolation("after the boot", shown)?;
        if booted.services.iter().any(|service| service.problem.is_some()) {
            return Ok(());
        }
        let since = Instant::now();
        let asked = self.check(&containers, &booted).await;
        self.phase("checks", since, true);
        asked?;
        self.asked = true;
        if let Some(sandbox) = &self.sandbox {
            let secrets = containers.secrets(self.options.plan);
            booted.look_again(sandbox, &secrets, self.guard.token()).await?;
            self.report.services.clone_from(&booted.services);
        }
        self.prove_at_the_end().await
    }

    /// Decides what to start, finds the images, checks the space, and makes the sandbox. `None`: nothing is started.
    async fn prepare(
        &mut self,
        definitions: Option<Definitions>,
        volumes: &[SnapshotVolume],
    ) -> Result<Option<(&'a Engine, Containers)>, Stop> {
        let bytes: u64 = volumes.iter().map(|volume| volume.bytes).sum();
        // The data is restored and compared anyway.
        let not_tested = &mut self.report.not_tested;
        let folders = self.options.grounds.folders();
        let mut start_nothing = |reason: String| {
            not_tested.push(reason);
            enough_space(&[(folders, bytes)]).map(|()| None)
        };
        let definitions = definitions.filter(|definitions| !definitions.containers.is_empty());
        let (engine, definitions) = match (self.options.engine, definitions) {
            (Ok(engine), Some(definitions)) => (engine, definitions),
            (_, None) => {
                return start_nothing("the snapshot holds no containers: nothing was started".to_owned());
            }
            (Err(reason), Some(_)) => return start_nothing(format!("nothing was started: {reason}")),
        };
        let containers = match Containers::select(engine, &definitions).await {
            Ok(containers) => containers,
            Err(error @ EngineError::ImageMissing { .. }) => {
                let advice = error.advice().unwrap_or_default();
                return start_nothing(format!("nothing was started: {error}; {advice}"));
            }
            Err(error) => return Err(error.into()),
        };
        self.report.images = containers.images();
        let unknown = containers.unknown_services(self.options.plan);
        if !unknown.is_empty() {
            let unknown: Vec<&str> = unknown.into_iter().collect();
            let known: Vec<&str> =
                containers.members.iter().map(|member| member.parts.service_name()).collect();
            return Err(Stop::NoReport(DrillError::UnknownService {
                unknown: unknown.join(", "),
                known: known.join(", "),
            }));
        }
        let count = |many: usize, most: usize, what: &str, how: &str| {
            let reason =
                || open(format!("The snapshot has {many} {what}, and a drill {how} at most {most}."));
            if many > most { Err(reason()) } else { Ok(()) }
        };
        count(containers.members.len(), MOST_CONTAINERS, "containers to start", "starts")?;
        count(volumes.len(), MOST_VOLUMES, "volumes", "makes")?;
        if let Some(runtime) =
            self.options.plan.runtime.as_ref().filter(|&own| !engine.means().runtimes.contains(own))
        {
            let known: Vec<&str> = engine.means().runtimes.iter().map(String::as_str).collect();
            return Err(Stop::NoReport(DrillError::NoRuntime {
                runtime: runtime.clone(),
                known: known.join(", "),
            }));
        }
        caveats::note(&mut self.report, self.options.plan, &containers, &definitions, engine);
        // Everything but volumes goes into the drill's folder, and volumes as well if the plan gives them a disk of
        // their own.
        let in_volumes = volumes.iter().filter(|volume| volume.kind == SourceKind::Volume);
        let in_volumes: u64 = in_volumes.map(|volume| volume.bytes).sum();
        let of_engine = if self.options.plan.volumes_bytes.is_some() { 0 } else { in_volumes };
        enough_space(&[
            (&engine.facts().root, of_engine),
            (self.options.grounds.folders(), bytes - of_engine),
        ])?;
        let together = Together {
            memory_bytes: self.memory(engine),
            processes: self.options.plan.processes,
            containers: containers.members.len(),
        };
        let sandbox = self.sandbox.insert(engine.sandbox(self.owner.clone(), together).await?);
        if let (Some(size), Some(berth)) = (self.options.plan.volumes_bytes, &self.berth) {
            let folder = berth.make_folder().map_err(|error| Stop::NoReport(error.into()))?;
            let mounted = sandbox.limit_volumes(folder, size).await?;
            disk_holds(&mounted, size, in_volumes)?;
            self.guard.watch_disk(mounted, size);
        }
        Ok(Some((engine, containers)))
    }

    /// The memory that all scratch containers may have together.
    fn memory(&self, engine: &Engine) -> u64 {
        let half = (engine.facts().memory_bytes / 2).max(256 << 20);
        self.options.plan.memory_bytes.map_or(half, |own| own.max(half))
    }

    /// Restores each volume, and returns where it is.
    async fn restore(&mut self, volumes: &[SnapshotVolume]) -> Result<Vec<Place>, Stop> {
        let total: u64 = volumes.iter().map(|volume| volume.bytes).sum();
        self.options.context.progress.phase("restore", Unit::Bytes, Some(total));
        let since = Instant::now();
        let mut places = Vec::new();
        for (number, volume) in volumes.iter().enumerate() {
            let place = self.place(number, volume).await?;
            let (name, to) = (volume.name.clone(), place.directory.clone());
            let restoring = format!("Restoring {}", volume.name);
            let restored: Result<RestoredVolume, Stop> =
                self.ask(&restoring, move |point, cancel| point.restore_volume(&name, &to, cancel)).await;
            if restored.is_err() {
                self.phase("restore", since, true);
            }
            let restored = restored?;
            self.options.context.progress.advance(volume.bytes);
            self.report.volumes.push(DrilledVolume {
                name: volume.name.clone(),
                restored_files: restored.files,
                restored_bytes: restored.bytes,
                differences: None,
            });
            places.push(place);
        }
        self.phase("restore", since, true);
        Ok(places)
    }

    async fn place(&mut self, number: usize, volume: &SnapshotVolume) -> Result<Place, Stop> {
        if let (Some(sandbox), SourceKind::Volume) = (&self.sandbox, volume.kind) {
            let scratch = sandbox.volume(&volume.name).await?;
            return Ok(Place {
                directory: scratch.directory,
                scratch: Some((volume.name.clone(), scratch.name)),
            });
        }
        let Some(berth) = &self.berth else { return Err(open("The drill is not in the register.")) };
        let folder = berth.make_folder().map_err(|error| Stop::NoReport(error.into()))?;
        let directory = folder.join(number.to_string());
        DirBuilder::new().mode(0o700).create(&directory).map_err(folder_error("create", &directory))?;
        Ok(Place { directory, scratch: None })
    }

    /// Compares every volume with the snapshot. A difference ends the drill, because it would start something other
    /// than what was captured.
    async fn compare(&mut self, volumes: &[SnapshotVolume], places: &[Place]) -> Result<(), Stop> {
        self.options.context.progress.phase("compare", Unit::Items, Some(volumes.len() as u64));
        let since = Instant::now();
        let mut differs = None;
        for (number, (volume, place)) in volumes.iter().zip(places).enumerate() {
            let (name, at) = (volume.name.clone(), place.directory.clone());
            let comparing = format!("Comparing {}", volume.name);
            let differences =
                self.ask(&comparing, move |point, cancel| point.compare_volume(&name, &at, cancel)).await?;
            if !differences.is_empty() {
                differs.get_or_insert_with(|| volume.name.clone());
            }
            self.report.volumes[number].differences = Some(differences);
            self.options.context.progress.advance(1);
        }
        self.phase("compare", since, false);
        match differs {
            Some(name) => Err(Stop::Stopped(Stopped::Wrong(format!(
                "The restored data of {name} differs from the snapshot."
            )))),
            None => Ok(()),
        }
    }

    async fn prove_isolation(&mut self) -> Result<(), Stop> {
        let Some(sandbox) = &mut self.sandbox else { return Ok(()) };
        let shown = sandbox.prove_isolation().await;
        self.note_isolation("before the boot", shown)
    }

    /// Proves the isolation again at the end, from the network of every running container.
    async fn prove_at_the_end(&mut self) -> Result<(), Stop> {
        let Some(sandbox) = &self.sandbox else { return Ok(()) };
        let since = Instant::now();
        let shown = sandbox.prove_again().await;
        self.phase("isolation", since, false);
        self.note_isolation("at the end", shown)
    }

    fn note_isolation(&mut self, when: &str, shown: Result<Isolation, EngineError>) -> Result<(), Stop> {
        let mut noted = self.report.isolation.take().unwrap_or(DrilledIsolation {
            proven: true,
            shown: Vec::new(),
            unreachable_addresses: Vec::new(),
            problem: None,
        });
        let outcome = match shown {
            Ok(isolation) => {
                noted.shown.push(when.to_owned());
                if noted.unreachable_addresses.is_empty() {
                    noted.unreachable_addresses = isolation.unreachable_from_inside;
                }
                Ok(())
            }
            Err(error) => {
                noted.proven = false;
                noted.problem = Some(format!("{} ({when}).", upper_first(&error.to_string())));
                Err(error.into())
            }
        };
        self.report.isolation = Some(noted);
        outcome
    }

    async fn boot(
        &mut self,
        engine: &Engine,
        containers: &Containers,
        places: &[Place],
    ) -> Result<(Booted, Result<Isolation, EngineError>), Stop> {
        let Some(sandbox) = &self.sandbox else { return Err(open("The sandbox is missing.")) };
        let plan = self.options.plan;
        let facts = engine.facts();
        let limits = Limits {
            memory_bytes: plan.memory_bytes.unwrap_or_else(|| self.memory(engine)),
            nano_cpus: facts.processors.max(1).saturating_mul(1_000_000_000),
            processes: plan.processes,
        };
        let restored: BTreeMap<String, String> =
            places.iter().filter_map(|place| place.scratch.clone()).collect();
        let sanitised = containers.sanitised(sandbox, &restored, limits, plan);
        let mut unused = restored;
        for (member, container) in containers.members.iter().zip(&sanitised) {
            let service = member.parts.service_name();
            for what in &container.removed {
                self.report.not_tested.push(format!("{service} ran without {what}"));
            }
            for empty in &container.empty_volumes {
                self.report.not_tested.push(format!(
                    "{} is not in the snapshot: {service} began with an empty one",
                    empty.stands_for
                ));
            }
            for mount in &member.parts.mounts {
                if let lifeboat_docker::definitions::MountKind::Volume(name) = &mount.kind {
                    unused.remove(name);
                }
            }
        }
        for name in unused.keys() {
            self.report
                .not_tested
                .push(format!("{name} was restored and compared, but no started service uses it"));
        }
        let secrets = containers.secrets(plan);
        let boot = Boot {
            sandbox,
            containers,
            plan,
            secrets: &secrets,
            cancel: self.guard.token(),
            progress: &*self.options.context.progress,
        };
        // Once all are running, prove again that they reach nothing.
        Ok(boot.run(sanitised, sandbox.prove_again()).await?)
    }

    async fn check(&mut self, containers: &Containers, booted: &Booted) -> Result<(), Stop> {
        let Some(sandbox) = &self.sandbox else { return Ok(()) };
        let plan = self.options.plan;
        self.options.context.progress.phase("checks", Unit::Items, Some(plan.checks.len() as u64));
        let secrets = containers.secrets(plan);
        for check in &plan.checks {
            let asked = checks::run(sandbox, check, &booted.targets, &secrets, self.guard.token()).await?;
            self.report.checks.push(asked);
            self.options.context.progress.advance(1);
        }
        if plan.checks.is_empty() {
            self.report
                .not_tested
                .push("the data as the application sees it: the plan has no checks".to_owned());
        } else if !plan.checks.iter().any(super::Check::proves_data) {
            self.report
                .not_tested
                .push("the data as the application sees it: no check asks about it".to_owned());
        }
        Ok(())
    }

    /// Removes everything, no matter what happened before, and names what cannot be removed.
    async fn clear_away(&mut self) {
        let since = Instant::now();
        if let Some(sandbox) = self.sandbox.take() {
            match sandbox.tear_down().await {
                Ok(cleared) => self.report.leftovers.extend(cleared.leftovers),
                Err(error) => {
                    self.report
                        .leftovers
                        .push(format!("the objects of rehearsal {}: {error}", self.owner.id));
                }
            }
        }
        if let Some(berth) = self.berth.take() {
            let cleared = self.report.leftovers.is_empty();
            let removed = tokio::task::spawn_blocking(move || {
                let removed = berth.remove_folder();
                // The next drill's clean-up finds what could not be removed by this entry.
                if removed.is_ok() && cleared {
                    berth.leave();
                    return None;
                }
                removed.is_err().then(|| berth.folder.clone())
            })
            .await;
            match removed {
                Ok(None) => {}
                Ok(Some(folder)) => self.report.leftovers.push(format!("folder {}", folder.display())),
                Err(error) => self.report.leftovers.push(format!("the drill's folder: {error}")),
            }
        }
        self.phase("clear away", since, false);
    }

    fn finish(mut self, stopped: Option<&Stopped>) -> DrillReport {
        if self.asked {
            let seconds: f64 = self
                .report
                .phases
                .iter()
                .filter(|phase| phase.counts)
                .map(|phase| phase.elapsed_seconds)
                .sum();
            self.report.rto = Objective::new(Some(seconds), self.report.rto.target_seconds);
        }
        self.report.finished_at = self.options.context.clock.now();
        let (verdict, reason) = decide(&self.report, stopped, &self.reached);
        self.report.verdict = verdict;
        self.report.reason = reason;
        self.report.tidy();
        self.report
    }
}

/// Where a volume was restored.
struct Place {
    directory: PathBuf,
    /// Its name and the name of its scratch volume, if containers can mount it.
    scratch: Option<(String, String)>,
}

fn folder_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Stop {
    let path = path.to_owned();
    move |source| Stop::NoReport(FolderError { operation, path, source }.into())
}
