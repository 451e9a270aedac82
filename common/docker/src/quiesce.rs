//! Bringing containers to rest around a snapshot, and surely back.
//!
//! Before any container is touched, a journal of what is about to happen is on disk ([`journal`]). Containers stop in the
//! reverse of their starting order, each with its own timeout, and come back in starting order. When this process
//! dies at any point, the next run or `doctor` replays the journal ([`Engine::settle`](crate::Engine::settle)): it
//! starts what we stopped and unpauses what we paused, and leaves alone whatever someone else has started since.

pub mod journal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::{StartContainerOptions, StopContainerOptions};
use lifeboat_core::clock::Clock;
use lifeboat_core::random::Entropy;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use self::journal::{Action, Entry, Found, Journal, Remedy, Step, shelf};
use crate::EngineError;
use crate::document::list;
use crate::engine::{Engine, filtered};
use crate::held::refuse_loss;
use crate::order::starting_order;
use crate::selection::{Activity, Container, Selection, Service};

/// How often a container that does not start is tried again.
const START_ATTEMPTS: u32 = 3;

/// How long between looks at a container that the engine may still be stopping.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

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

/// Where and how a run brings containers to rest.
#[derive(Clone, Copy)]
pub struct QuiesceOptions<'a> {
    /// What is done.
    pub mode: Mode,
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

/// What settling left-over journals did.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Journals that were replayed and are gone.
    pub journals: Vec<PathBuf>,
    /// Containers that were started or unpaused, by name.
    pub brought_back: Vec<String>,
    /// What could not be settled, with the reason.
    pub problems: Vec<String>,
}

impl Engine {
    /// Brings to rest every running container of `selection` that may write to one of its volumes.
    ///
    /// # Errors
    /// When a container cannot be stopped without harm, when another run holds it, or when the engine refuses: what had
    /// been stopped until then is running again, or the error says what is not.
    pub async fn quiesce(
        &self,
        selection: &Selection,
        options: &QuiesceOptions<'_>,
        cancel: &CancellationToken,
    ) -> Result<Quiesced, EngineError> {
        let action = match options.mode {
            Mode::None => return Ok(Quiesced { engine: self.clone(), journal: None }),
            Mode::Pause => Action::Pause,
            Mode::Stop => Action::Stop,
        };
        let ourselves = own_container_id();
        let writers: Vec<&Container> = selection
            .containers
            .iter()
            .filter(|c| selection.volumes.iter().any(|volume| c.writes_to(&volume.name)))
            .filter(|c| ourselves.as_deref() != Some(c.id.as_str()))
            .collect();
        if writers.is_empty() {
            return Ok(Quiesced { engine: self.clone(), journal: None });
        }
        for container in &writers {
            refuse_harm(container, action)?;
        }
        if action == Action::Stop {
            refuse_loss(selection, &writers)?;
        }
        for (path, busy) in shelf(options.journal_folder)?.busy {
            if writers.iter().any(|c| c.id == busy.id) {
                return Err(EngineError::CannotQuiesce {
                    container: busy.name,
                    reason: format!("another run holds it at rest ({})", path.display()),
                    advice: "wait until that run is done".to_owned(),
                });
            }
        }
        let writers: Vec<Container> = writers.into_iter().cloned().collect();
        let mut order = starting_order(&writers);
        order.reverse();
        let entries = order.into_iter().map(|place| Entry::new(&writers[place], action)).collect();
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
                quiesced.release(options.clock).await?;
                Err(error)
            }
        }
    }

    /// Replays the journals that dead processes left in `folder`. Doing it twice does nothing the second time.
    pub async fn settle(&self, folder: &Path, clock: &dyn Clock) -> Result<Settled, EngineError> {
        let found = shelf(folder)?;
        let mut settled = Settled::default();
        for (path, reason) in found.unreadable {
            settled.problems.push(format!("{} cannot be read: {reason}", path.display()));
        }
        for journal in found.left_over {
            let path = journal.path().to_owned();
            if journal.engine() != self.facts().id {
                settled.problems.push(format!("{} speaks of another engine", path.display()));
                continue;
            }
            let outcome = self.bring_back(&journal, clock).await;
            settled.brought_back.extend(outcome.back);
            if outcome.failed.is_empty() {
                journal.finish()?;
                settled.journals.push(path);
            } else {
                settled.problems.extend(outcome.failed);
            }
        }
        Ok(settled)
    }

    async fn bring_back(&self, journal: &Journal, clock: &dyn Clock) -> BroughtBack {
        let mut outcome = BroughtBack::default();
        // What stopped last starts first.
        for entry in journal.entries().iter().rev() {
            match self.remedy(entry, clock).await {
                Ok(true) => outcome.back.push(entry.name.clone()),
                Ok(false) => {}
                Err(error) => outcome.failed.push(format!("{}: {error}", entry.name)),
            }
        }
        outcome
    }

    /// Puts one container back; says whether anything had to be done.
    async fn remedy(&self, entry: &Entry, clock: &dyn Clock) -> Result<bool, EngineError> {
        loop {
            let container = match self.container(&entry.id).await {
                Ok(container) => container,
                Err(error) if error.is_absent() => return self.start_successor(entry).await,
                Err(error) => return Err(error),
            };
            let found = Found { activity: container.activity, started_at: &container.started_at };
            match entry.remedy(&found, clock.now()) {
                Remedy::Leave => return Ok(false),
                Remedy::Await(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Remedy::Start => {
                    self.start_surely(&entry.id).await?;
                    return Ok(true);
                }
                Remedy::Unpause => {
                    self.client()
                        .unpause_container(&entry.id)
                        .await
                        .map_err(EngineError::call(format!("unpause container `{}`", entry.name)))?;
                    return Ok(true);
                }
            }
        }
    }

    /// The container is gone. If compose made another one in its place, that one runs; if it does not, it is started.
    async fn start_successor(&self, entry: &Entry) -> Result<bool, EngineError> {
        let Some(service) = entry.service.as_ref().filter(|_| entry.step != Step::Planned) else {
            return Ok(false);
        };
        let Some(successor) = self.instance(service).await? else { return Ok(false) };
        if successor.activity != Activity::Stopped {
            return Ok(false);
        }
        self.start_surely(&successor.id).await?;
        Ok(true)
    }

    async fn instance(&self, service: &Service) -> Result<Option<Container>, EngineError> {
        let project = format!("com.docker.compose.project={}", service.project);
        let name = format!("com.docker.compose.service={}", service.service);
        let number = format!("com.docker.compose.container-number={}", service.number);
        let filters = [("label", project.as_str()), ("label", name.as_str()), ("label", number.as_str())];
        let found =
            self.get(&filtered("/containers/json?all=true", &filters), "list a service's containers").await?;
        match list(&found).first().and_then(|c| c["Id"].as_str()) {
            Some(id) => Ok(Some(self.container(id).await?)),
            None => Ok(None),
        }
    }

    async fn start_surely(&self, id: &str) -> Result<(), EngineError> {
        let mut attempt = 1;
        loop {
            let started = self
                .client()
                .start_container(id, None::<StartContainerOptions>)
                .await
                .map_err(EngineError::call(format!("start container `{id}`")));
            match started {
                Err(error) if attempt < START_ATTEMPTS => {
                    tracing::warn!("{error}; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

#[derive(Default)]
struct BroughtBack {
    back: Vec<String>,
    failed: Vec<String>,
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

    /// Brings the containers back, in starting order, and removes the journal. Gives the names of those that were
    /// brought back.
    ///
    /// # Errors
    /// [`EngineError::NotReleased`] names those that did not come back; the journal stays for the next run.
    pub async fn release(mut self, clock: &dyn Clock) -> Result<Vec<String>, EngineError> {
        let Some(journal) = self.journal.take() else { return Ok(Vec::new()) };
        let outcome = self.engine.bring_back(&journal, clock).await;
        if outcome.failed.is_empty() {
            journal.finish()?;
            Ok(outcome.back)
        } else {
            Err(EngineError::NotReleased { containers: outcome.failed, journal: journal.path().to_owned() })
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

fn refuse_harm(container: &Container, action: Action) -> Result<(), EngineError> {
    let refuse = |reason: &str, advice: &str| {
        Err(EngineError::CannotQuiesce {
            container: container.name.clone(),
            reason: reason.to_owned(),
            advice: advice.to_owned(),
        })
    };
    match action {
        Action::Stop if container.removed_on_stop => refuse(
            "the engine removes it as soon as it stops (`--rm`), so it could not be started again",
            "use --mode pause, or run the container without --rm",
        ),
        Action::Stop if container.orchestrated => refuse(
            "an orchestrator would start another one in its place at once",
            "scale the service down around the backup, or use --mode pause",
        ),
        _ => Ok(()),
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

    #[test]
    fn a_container_that_would_vanish_is_not_stopped_but_may_be_paused() {
        let mut container = Container::from_document(
            &serde_json::json!({
            "Id": "x", "Name": "/job", "HostConfig": {"AutoRemove": true}, "State": {"Running": true}}),
            None,
        );
        assert!(refuse_harm(&container, Action::Stop).is_err());
        assert!(refuse_harm(&container, Action::Pause).is_ok());
        container.removed_on_stop = false;
        assert!(refuse_harm(&container, Action::Stop).is_ok());
    }
}
