//! The part of a run that concerns containers: which volumes, at rest how, and brought back as soon as they are read.

use std::sync::Arc;
use std::time::Instant;

use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_docker::Engine;
use lifeboat_docker::definitions::Definitions;
use lifeboat_docker::held::Held;
use lifeboat_docker::quiesce::{self as rest, QuiesceOptions};
use lifeboat_docker::selection::{Selection, Wanted};
use lifeboat_shell::{Failure, Ui};
use lifeboat_vault::{Consistency, Excludes, Stream, StreamKind};

use super::volume_source::{VolumeSource, is_loss};
use super::{Args, Captured, Mode};
use crate::quiesce;

/// What the run captures of an engine.
pub(super) struct Containers {
    engine: Engine,
    selection: Selection,
    /// For each volume, the folder that holds it, held open before anything stops.
    folders: Vec<Arc<Held>>,
    definitions: Definitions,
}

/// Who was at rest, and how long.
#[derive(Default)]
pub(super) struct AtRest {
    pub(super) containers: Vec<String>,
    pub(super) seconds: Option<f64>,
    /// Why some of them are not back.
    pub(super) unreleased: Option<Failure>,
}

impl Containers {
    /// Finds everything that was asked for before anything is stopped. `None` when nothing of an engine was.
    pub(super) async fn find(args: &Args, ui: &Ui) -> Result<Option<Self>, Failure> {
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
            return Ok(None);
        }
        let engine = Engine::connect(lifeboat_shell::engine_address().as_deref()).await?;
        // What a killed run left stopped comes back before anything else.
        let settled = engine.settle(&journals, &SystemClock).await?;
        for container in &settled.brought_back {
            ui.warn(&format!(
                "an earlier run was killed and left `{container}` at rest; it has been brought back"
            ));
        }
        for problem in &settled.problems {
            ui.warn(problem);
        }
        let selection = engine.select(&wanted).await?;
        if selection.volumes.is_empty() {
            return Err(Failure::usage(
                "there is no volume to back up",
                "name one with --volume; see `docker volume ls`",
            ));
        }
        let mut folders = Vec::new();
        for volume in &selection.volumes {
            folders.push(Arc::new(engine.hold_volume(volume).await?));
        }
        // As they run, not as they are once they have been stopped.
        let definitions = engine.capture(&selection, SystemClock.now()).await?;
        Ok(Some(Self { engine, selection, folders, definitions }))
    }

    /// Brings writers to rest, reads the volumes, and brings the writers back, whatever happened between.
    pub(super) async fn capture(
        self,
        captured: Captured,
        args: &Args,
        excludes: &Arc<Excludes>,
        ui: &Ui,
    ) -> Result<(Captured, AtRest), Failure> {
        let journal_folder = quiesce::journal_folder();
        let mode = if args.dry_run { Mode::None } else { args.mode };
        let options = QuiesceOptions {
            mode: match mode {
                Mode::None => rest::Mode::None,
                Mode::Pause => rest::Mode::Pause,
                Mode::Stop => rest::Mode::Stop,
            },
            journal_folder: &journal_folder,
            clock: &SystemClock,
            entropy: &OsEntropy,
        };
        let started = Instant::now();
        let quiesced = self.engine.quiesce(&self.selection, &options, ui.cancellation()).await?;
        let rested = quiesced.rested();
        let read = self.read_volumes(captured, mode, excludes, ui).await;
        let released = quiesced.release(&SystemClock).await;
        let seconds = (!rested.is_empty()).then(|| started.elapsed().as_secs_f64());
        let (read, unreleased) = match (read, released) {
            // What was read is stored, whatever became of the containers.
            (Ok(read), released) => (read, released.err().map(Failure::from)),
            // That containers are still down matters more than what could not be read.
            (Err(_), Err(unreleased)) => return Err(unreleased.into()),
            (Err(failure), Ok(_)) => return Err(failure),
        };
        let captured = read.document(Definitions::DOCUMENT, self.definitions.to_bytes()).await?;
        let containers = rested.into_iter().map(|r| r.container).collect();
        Ok((captured, AtRest { containers, seconds, unreleased }))
    }

    async fn read_volumes(
        &self,
        mut captured: Captured,
        mode: Mode,
        excludes: &Arc<Excludes>,
        ui: &Ui,
    ) -> Result<Captured, Failure> {
        for (volume, held) in self.selection.volumes.iter().zip(&self.folders) {
            let written_to = self.selection.containers.iter().any(|c| c.writes_to(&volume.name));
            let stream = Stream {
                kind: StreamKind::Volume,
                name: volume.name.clone(),
                consistency: match mode {
                    _ if !written_to => Consistency::Idle,
                    Mode::None => Consistency::None,
                    Mode::Pause => Consistency::Paused,
                    Mode::Stop => Consistency::Stopped,
                },
                memory_key: format!("volume {}", volume.name),
                source: Box::new(VolumeSource::open(Arc::clone(held), Arc::clone(excludes))?),
            };
            captured = captured.add(stream, ui).await?;
            if captured.streams.last().is_some_and(|stream| stream.unreadable.iter().any(is_loss)) {
                ui.warn(&format!(
                    "the volume `{}` held data when the run began and none when it was read: THE SNAPSHOT LACKS IT",
                    volume.name
                ));
            }
        }
        Ok(captured)
    }
}
