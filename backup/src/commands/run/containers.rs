//! The part of a run that deals with containers: which volumes to read, how to stop writers, and starting them again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_docker::definitions::{Definitions, MountKind};
use lifeboat_docker::disturbed::Watch;
use lifeboat_docker::held::Held;
use lifeboat_docker::quiesce::{self as rest, QuiesceOptions, RestPlan, Rested};
use lifeboat_docker::selection::{Activity, Selection, Wanted};
use lifeboat_docker::{Engine, EngineError};
use lifeboat_shell::{Failure, Ui, one_name};
use lifeboat_vault::{Consistency, Excludes, Stream, StreamKind};

use super::at_rest::AtRest;
use super::volume_source::{VolumeSource, is_loss};
use super::{Args, Captured, Mode};
use crate::quiesce;

/// What the run captures from an engine.
pub(super) struct Containers {
    engine: Engine,
    selection: Selection,
    /// For each volume, the folder that holds it, held open before anything stops.
    folders: Vec<Arc<Held>>,
    definitions: Definitions,
}

/// A folder of the host that a container mounts and that is not in a volume.
struct HostFolder {
    path: String,
    said: String,
}

impl HostFolder {
    fn advice(&self) -> String {
        format!("--path {} takes it", self.path)
    }
}

/// The folders of the host that containers mount, except those that are captured as folders and those that the system
/// generates.
fn host_folders(definitions: &Definitions, captured: &[PathBuf]) -> Result<Vec<HostFolder>, EngineError> {
    let captured: Vec<PathBuf> = captured.iter().map(|path| one_name(path)).collect();
    let mut found: Vec<HostFolder> = Vec::new();
    for container in definitions.container_parts()? {
        for mount in &container.mounts {
            let MountKind::Bind(path) = &mount.kind else { continue };
            let of_the_system = ["/proc", "/sys", "/dev", "/run", "/var/run"];
            let is_captured = captured.iter().any(|captured| Path::new(path).starts_with(captured));
            let is_known = found.iter().any(|folder| folder.path == *path);
            if is_captured
                || is_known
                || of_the_system.iter().any(|system| Path::new(path).starts_with(system))
            {
                continue;
            }
            let said = format!("`{}` has the host's `{path}` at {}", container.name, mount.destination);
            found.push(HostFolder { path: path.clone(), said });
        }
    }
    Ok(found)
}

/// Starts the containers that killed runs left stopped.
async fn settle(engine: &Engine, journals: &Path, at_rest: &mut AtRest, ui: &Ui) -> Result<(), EngineError> {
    let settled = engine.settle(journals, &SystemClock, ui.cancellation()).await?;
    for container in &settled.brought_back {
        ui.warn(&format!(
            "an earlier run was killed and left `{container}` at rest; it has been brought back"
        ));
    }
    at_rest.trouble(settled.problems, ui);
    Ok(())
}

/// The same for a run that needs no engine. It contacts the engine only if there is something to start.
async fn bring_back_leftovers(journals: &Path, at_rest: &mut AtRest, ui: &Ui) {
    let is_needed =
        rest::journal::journal_folder(journals).map(|journal_folder| !journal_folder.left_over.is_empty());
    let done = match is_needed {
        Ok(false) => return,
        Ok(true) => match Engine::connect(lifeboat_shell::engine_address().as_deref()).await {
            Ok(engine) => settle(&engine, journals, at_rest, ui).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        let said = format!("containers that an earlier run left at rest are not brought back: {error}");
        at_rest.trouble([said], ui);
    }
}

impl From<Mode> for rest::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::None => Self::None,
            Mode::Pause => Self::Pause,
            Mode::Stop => Self::Stop,
        }
    }
}

impl Containers {
    /// Resolves everything that was asked for before anything is stopped. `None` if no engine is needed.
    pub(super) async fn find(args: &Args, at_rest: &mut AtRest, ui: &Ui) -> Result<Option<Self>, Failure> {
        let what = &args.what;
        let wanted = Wanted {
            volumes: what.volume.clone(),
            containers: what.container.clone(),
            projects: what.project.clone(),
            all: what.all,
        };
        let journals = quiesce::journal_folder();
        let asks = wanted.all
            || [&wanted.volumes, &wanted.containers, &wanted.projects].iter().any(|w| !w.is_empty());
        if !asks {
            bring_back_leftovers(&journals, at_rest, ui).await;
            return Ok(None);
        }
        let engine = Engine::connect(lifeboat_shell::engine_address().as_deref()).await?;
        // First of all, start what a killed run left stopped.
        settle(&engine, &journals, at_rest, ui).await?;
        let mut selection = engine.select(&wanted).await?;
        // The definitions while the containers run, not after they were stopped.
        let definitions = engine.capture(&selection, SystemClock.now()).await?;
        let asks_for_containers = wanted.all || !(wanted.containers.is_empty() && wanted.projects.is_empty());
        let folders_of_host =
            if asks_for_containers { host_folders(&definitions, &what.path)? } else { Vec::new() };
        if selection.volumes.is_empty() {
            let (reason, advice) = match folders_of_host.first() {
                Some(folder) => (format!("there is no volume to back up; {}", folder.said), folder.advice()),
                None => (
                    "there is no volume to back up".to_owned(),
                    "name one with --volume; see `docker volume ls`".to_owned(),
                ),
            };
            return Err(Failure::usage(reason, advice));
        }
        for folder in &folders_of_host {
            ui.warn(&format!("{}, and it is not in the snapshot: {}", folder.said, folder.advice()));
        }
        // If a volume cannot be read at rest as requested, refuse before starting anything.
        engine.plan_rest(&selection, args.mode.into()).await?;
        let mut folders = Vec::new();
        let mut within_reach = Vec::new();
        for volume in selection.volumes {
            match engine.hold_volume(&volume).await {
                Ok(held) => {
                    folders.push(Arc::new(held));
                    within_reach.push(volume);
                }
                Err(error) if what.volume.contains(&volume.name) => return Err(error.into()),
                Err(error) => match engine.volume(&volume.name).await {
                    Err(gone) if gone.is_absent() => {
                        ui.warn(&format!("the volume `{}` was removed before it was read", volume.name));
                    }
                    _ => at_rest.trouble([format!("{error}: THE SNAPSHOT LACKS IT")], ui),
                },
            }
        }
        selection.volumes = within_reach;
        Ok(Some(Self { engine, selection, folders, definitions }))
    }

    /// Stops writers, reads the volumes, and starts the writers again, no matter what happened in between.
    pub(super) async fn capture(
        mut self,
        captured: Captured,
        args: &Args,
        at_rest: &mut AtRest,
        excludes: &Arc<Excludes>,
        ui: &Ui,
    ) -> Result<Captured, Failure> {
        // The present state: containers may have come and gone while the repository was opened.
        if let Ok(now) = self.users().await {
            self.selection.containers = now.containers;
            self.selection.above = now.above;
        }
        self.tell_who_reaches_above(ui);
        let plan = self.engine.plan_rest(&self.selection, args.mode.into()).await?;
        at_rest.tell_left_running(plan.left_running(), ui);
        if args.dry_run {
            at_rest.containers = plan.to_rest().iter().map(|container| container.name.clone()).collect();
            return self.read_volumes(captured, Mode::None, &plan, excludes, ui).await;
        }
        let journal_folder = quiesce::journal_folder();
        let options =
            QuiesceOptions { journal_folder: &journal_folder, clock: &SystemClock, entropy: &OsEntropy };
        let started = Instant::now();
        let undone = "containers may be left at rest: the next run, or `lifeboat-backup doctor`, starts them";
        lifeboat_shell::left_undone_if_ended_at_once(Some(undone.to_owned()));
        let quiesced = self.engine.quiesce(&plan, &options, ui.cancellation()).await;
        let quiesced = quiesced.inspect_err(|_| lifeboat_shell::left_undone_if_ended_at_once(None))?;
        let watch = self.engine.watch(&SystemClock);
        let rested = quiesced.rested();
        let still: Vec<Rested> = rested.iter().chain(quiesced.found_at_rest()).cloned().collect();
        // Containers that were started while others were being stopped are running now, or are noticed from here on.
        let at_first = self.users().await;
        let mut read = self.read_volumes(captured, args.mode, &plan, excludes, ui).await;
        if let Ok(captured) = &mut read {
            self.notice_writers(captured, (watch, at_first), &still, quiesced.kept_running(), ui).await;
        }
        let (released, all_back) = quiesced.release(&SystemClock, ui.cancellation()).await;
        lifeboat_shell::left_undone_if_ended_at_once(None);
        at_rest.seconds = (!rested.is_empty()).then(|| started.elapsed().as_secs_f64());
        at_rest.containers = rested.into_iter().map(|r| r.container).collect();
        at_rest.note_released(self.engine, released, ui);
        at_rest.unreleased = all_back.err().map(Failure::from);
        // Store what was read even if the containers could not be started.
        Ok(read?.document(Definitions::DOCUMENT, self.definitions.to_bytes()).await?)
    }

    /// Which containers use the volumes now.
    async fn users(&self) -> Result<Selection, EngineError> {
        let volumes = self.selection.volumes.iter().map(|volume| volume.name.clone()).collect();
        self.engine.select(&Wanted { volumes, ..Wanted::default() }).await
    }

    /// Names the containers that mount a folder of the host which contains a volume.
    fn tell_who_reaches_above(&self, ui: &Ui) {
        for (container, volumes) in &self.selection.above {
            let volumes: Vec<String> = volumes.iter().map(|volume| format!("`{volume}`")).collect();
            ui.note(&format!(
                "`{container}` has a folder of the host in which {} lies, and could write there: it is taken for one of the \
                 host's own programs, and keeps running",
                volumes.join(", ")
            ));
        }
    }

    /// Reports the volumes that something else wrote to while they were read, and weakens what the snapshot promises.
    async fn notice_writers(
        &self,
        captured: &mut Captured,
        (watch, at_first): (Watch, Result<Selection, EngineError>),
        still: &[Rested],
        kept_running: &[Rested],
        ui: &Ui,
    ) {
        let heard = self.engine.overheard(watch, &self.selection, still, &SystemClock).await;
        let disturbed = match (at_first, heard, self.users().await) {
            (Ok(at_first), Ok(heard), Ok(now)) => {
                let seen = [at_first, now].map(|found| self.selection.disturbed(&found, still));
                heard.into_iter().chain(seen.into_iter().flatten())
            }
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                ui.warn(&format!(
                    "it cannot be told whether something wrote while the volumes were read: {error}"
                ));
                for volume in &self.selection.volumes {
                    captured.weaken(&volume.name);
                }
                return;
            }
        };
        for (volume, container) in disturbed.chain(self.selection.volumes_of(kept_running)) {
            if captured.weaken(&volume) {
                ui.warn(&format!(
                    "`{container}` could write to the volume `{volume}` while it was read: its files may not fit together"
                ));
            }
        }
    }

    async fn read_volumes(
        &self,
        mut captured: Captured,
        mode: Mode,
        plan: &RestPlan,
        excludes: &Arc<Excludes>,
        ui: &Ui,
    ) -> Result<Captured, Failure> {
        for (volume, held) in self.selection.volumes.iter().zip(&self.folders) {
            let users = || self.selection.containers.iter().filter(|user| user.may_write_to(volume));
            let is_live = plan.left_running().iter().any(|left| left.volumes.contains(&volume.name));
            let consistency = match mode {
                _ if is_live => Consistency::None,
                _ if users().all(|user| user.activity == Activity::Stopped) => Consistency::Idle,
                // Somebody else has paused them all.
                _ if !users().any(|user| user.writes_to(volume)) => Consistency::Paused,
                Mode::None => Consistency::None,
                Mode::Pause => Consistency::Paused,
                // A container that was paused before leaves its data as after a crash.
                Mode::Stop if users().any(|user| user.activity == Activity::Paused) => Consistency::Paused,
                Mode::Stop => Consistency::Stopped,
            };
            let stream = Stream {
                kind: StreamKind::Volume,
                name: volume.name.clone(),
                consistency,
                cache_key: format!("volume {}", volume.name),
                source: Box::new(VolumeSource::open(Arc::clone(held), Arc::clone(excludes))?),
            };
            captured = captured.add(stream, ui).await?;
            if captured.streams.last().is_some_and(|stream| stream.outcome.unreadable.iter().any(is_loss)) {
                ui.warn(&format!(
                    "the volume `{}` held data when the run began and none when it was read: THE SNAPSHOT LACKS IT",
                    volume.name
                ));
            }
        }
        Ok(captured)
    }
}
