//! Bringing containers to rest around a snapshot, and surely back.
//!
//! Before any container is touched, a journal of what is about to happen is on disk ([`journal`]). Containers stop in the
//! reverse of their starting order, each with its own timeout, and come back in starting order ([`bring_back`]). When this
//! process dies at any point, the next run or `doctor` replays the journal ([`Engine::settle`](crate::Engine::settle)): it
//! starts what we stopped and unpauses what we paused, and leaves alone whatever someone else has started since. Who is
//! brought to rest is decided beforehand ([`plan`]).

mod bring_back;
pub mod journal;
mod plan;

use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::StopContainerOptions;
use lifeboat_core::clock::Clock;
use lifeboat_core::random::Entropy;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::bring_back::{BroughtBack, Released, Settled};
use self::journal::{Action, Entry, Journal, Step, shelf};
pub use self::plan::{LeftRunning, RestPlan};
use crate::EngineError;
use crate::document::{list, text};
use crate::engine::Engine;
use crate::selection::{Activity, Selection};

/// What is done to the containers that write to the volumes while these are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing: what is read may mix several moments.
    None,
    /// They are frozen: what is read is what a crash would have left.
    Pause,
    /// They are stopped: what is read is what a clean shutdown left.
    #[default]
    Stop,
}

/// Where a run notes whom it brings to rest.
#[derive(Clone, Copy)]
pub struct QuiesceOptions<'a> {
    /// The folder of the journals; it is made if need be, and must survive the process.
    pub journal_folder: &'a Path,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Names the journal.
    pub entropy: &'a dyn Entropy,
}

/// What was done to one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rested {
    /// Its name.
    pub container: String,
    /// What was done.
    pub action: Action,
}

/// Containers at rest. [`Quiesced::release`] brings them back; if it is never called, the journal stays and the next run
/// does it.
#[derive(Debug)]
#[must_use = "the containers stay at rest until `release` is called"]
pub struct Quiesced {
    engine: Engine,
    journal: Option<Journal>,
}

impl Engine {
    /// Whom `mode` brings to rest so that nothing writes to the volumes of `selection`: every running container that may, and
    /// where it is stopped, those that live in its network, processes or memory.
    ///
    /// # Errors
    /// When none of the volumes could be read at rest, because of containers that cannot be stopped without harm.
    pub async fn plan_rest(&self, selection: &Selection, mode: Mode) -> Result<RestPlan, EngineError> {
        let action = match mode {
            Mode::None => return Ok(RestPlan::default()),
            Mode::Pause => Action::Pause,
            Mode::Stop => Action::Stop,
        };
        let mut beside = Vec::new();
        if action == Action::Stop && plan::writers(selection).next().is_some() {
            let running = self.get("/containers/json", "list its containers").await?;
            for summary in list(&running) {
                let id = text(&summary["Id"]);
                if selection.containers.iter().any(|container| container.id == id) {
                    continue;
                }
                match self.container(&id).await {
                    Ok(container) => beside.push(container),
                    Err(error) if error.is_absent() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        RestPlan::new(selection, &beside, action, own_container_id().as_deref())
    }

    /// Brings to rest whom `plan` names.
    ///
    /// # Errors
    /// When another run holds one of them, or when the engine refuses: what had been stopped until then is running again, or
    /// the error says what is not.
    pub async fn quiesce(
        &self,
        plan: &RestPlan,
        options: &QuiesceOptions<'_>,
        cancel: &CancellationToken,
    ) -> Result<Quiesced, EngineError> {
        let Some(action) = plan.action().filter(|_| !plan.to_rest().is_empty()) else {
            return Ok(Quiesced { engine: self.clone(), journal: None });
        };
        for (path, busy) in shelf(options.journal_folder)?.busy {
            if plan.to_rest().iter().any(|container| container.id == busy.id) {
                return Err(EngineError::CannotQuiesce {
                    container: busy.name,
                    reason: format!("another run holds it at rest ({})", path.display()),
                    advice: "wait until that run is done".to_owned(),
                });
            }
        }
        let entries = plan.to_rest().iter().map(|container| Entry::new(container, action)).collect();
        let journal = Journal::create(
            options.journal_folder,
            &self.facts().id,
            entries,
            options.clock.now(),
            options.entropy,
        )?;
        let mut quiesced = Quiesced { engine: self.clone(), journal: Some(journal) };
        match quiesced.rest(options.clock, cancel).await {
            Ok(()) => Ok(quiesced),
            Err(error) => {
                // If they do not come back, that is the worse news.
                quiesced.release(options.clock, cancel).await?;
                Err(error)
            }
        }
    }
}

impl Quiesced {
    /// What was brought to rest, in that order.
    pub fn rested(&self) -> Vec<Rested> {
        self.journal
            .iter()
            .flat_map(Journal::entries)
            .filter(|entry| entry.step == Step::Held)
            .map(|entry| Rested { container: entry.name.clone(), action: entry.action })
            .collect()
    }

    async fn rest(&mut self, clock: &dyn Clock, cancel: &CancellationToken) -> Result<(), EngineError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        for place in 0..journal.entries().len() {
            if cancel.is_cancelled() {
                return Err(EngineError::Interrupted);
            }
            let entry = journal.entries()[place].clone();
            let now = match self.engine.container(&entry.id).await {
                Ok(container) => container,
                // It ended and was removed since it was selected: there is nothing to stop.
                Err(error) if error.is_absent() => continue,
                Err(error) => return Err(error),
            };
            if now.activity != Activity::Running {
                continue;
            }
            if now.started_at != entry.started_at {
                return Err(EngineError::CannotQuiesce {
                    container: entry.name,
                    reason: "it was restarted a moment ago".to_owned(),
                    advice: "run again when the application has settled".to_owned(),
                });
            }
            journal.record(place, Step::Asked { since: clock.now() })?;
            self.engine.rest_one(&entry).await?;
            journal.record(place, Step::Held)?;
        }
        Ok(())
    }

    /// Brings the containers back, in starting order, and removes the journal. What depends on another one's health is started
    /// when that one is healthy; once `hurry` is cancelled, at once.
    ///
    /// # Errors
    /// [`EngineError::NotReleased`] names those that did not come back; the journal stays for the next run.
    pub async fn release(
        mut self,
        clock: &dyn Clock,
        hurry: &CancellationToken,
    ) -> Result<Released, EngineError> {
        let Some(journal) = self.journal.take() else { return Ok(Released::default()) };
        let (released, failed) = self.engine.bring_back(&journal, clock, hurry).await;
        if failed.is_empty() {
            journal.finish()?;
            Ok(released)
        } else {
            Err(EngineError::NotReleased { containers: failed, journal: journal.path().to_owned() })
        }
    }
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        if let Some(journal) = &self.journal {
            tracing::error!(
                "containers are left at rest; the next run or `lifeboat-backup doctor` brings them back ({})",
                journal.path().display()
            );
        }
    }
}

impl Engine {
    async fn rest_one(&self, entry: &Entry) -> Result<(), EngineError> {
        match entry.action {
            Action::Pause => self
                .client()
                .pause_container(&entry.id)
                .await
                .map_err(EngineError::call(format!("pause container `{}`", entry.name))),
            Action::Stop => {
                // The container's own timeout stands in its configuration; asking for none would use the engine's.
                let timeout = Duration::from_secs(entry.stop_timeout_seconds);
                let options = StopContainerOptions {
                    t: Some(i32::try_from(entry.stop_timeout_seconds).unwrap_or(3600)),
                    signal: None,
                };
                self.patient_client(timeout)
                    .stop_container(&entry.id, Some(options))
                    .await
                    .map_err(EngineError::call(format!("stop container `{}`", entry.name)))
            }
        }
    }
}

/// The id of the container that this process runs in, if it does: it must never stop itself.
fn own_container_id() -> Option<String> {
    // The engine mounts /etc/hostname from the container's own folder.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    own_id_in(&mounts)
}

fn own_id_in(mountinfo: &str) -> Option<String> {
    mountinfo.lines().filter(|line| line.split(' ').nth(4) == Some("/etc/hostname")).find_map(|line| {
        line.split(' ').nth(3)?.split("/containers/").nth(1)?.split('/').next().map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_container_is_found_in_the_mounts() {
        let inside =
            "702 685 8:1 /var/lib/docker/containers/abc123/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n";
        assert_eq!(own_id_in(inside).as_deref(), Some("abc123"));
        assert_eq!(own_id_in("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), None);
    }
}
