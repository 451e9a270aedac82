//! Stops or pauses containers around a snapshot, and reliably starts them again.
//!
//! Before any container is touched, a journal of what is about to happen is on disk ([`journal`]). Containers stop in
//! the reverse of their starting order, each with its own timeout, and are started again in starting order
//! (`bring_back`). If this process dies at any point, the next run or `doctor` replays the journal
//! ([`Engine::settle`](crate::Engine::settle)): it starts what we stopped and unpauses what we paused, and leaves alone
//! whatever someone else has started since. `plan` decides beforehand which containers to stop.

mod bring_back;
pub mod journal;
mod plan;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::StopContainerOptions;
use futures::StreamExt as _;
use jiff::Timestamp;
use lifeboat_core::clock::Clock;
use lifeboat_core::random::Entropy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::bring_back::{BroughtBack, Released, Settled};
use self::journal::{Action, Entry, Journal, Step, journal_folder};
use self::plan::Stopped;
pub use self::plan::{LeftRunning, RestPlan};
use crate::EngineError;
use crate::document::{list, text};
use crate::engine::{Engine, events};
use crate::selection::{Activity, Container, Selection};

/// What happens to the containers that write to the volumes while these are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing: what is read may mix several moments.
    None,
    /// They are paused: what is read is what a crash would have left.
    Pause,
    /// They are stopped: what is read is what a clean shutdown left.
    #[default]
    Stop,
}

/// Where a run records the containers that it stops.
#[derive(Clone, Copy)]
pub struct QuiesceOptions<'a> {
    /// The folder of the journals, created if necessary; it must survive the process.
    pub journal_folder: &'a Path,
    /// The source of time.
    pub clock: &'a dyn Clock,
    /// The source of the journal's random name.
    pub entropy: &'a dyn Entropy,
}

/// A container that is stopped or paused while volumes are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rested {
    /// Its id.
    pub id: String,
    /// Its name.
    pub container: String,
    /// When the interrupted run of the container began, according to the engine.
    pub started_at: String,
    /// What was done; `None` if it was at rest already when its turn came.
    pub action: Option<Action>,
}

/// Stopped or paused containers. [`Quiesced::release`] starts them again; if it is never called, the journal stays and
/// the next run does it.
#[derive(Debug)]
#[must_use = "the containers stay at rest until `release` is called"]
pub struct Quiesced {
    engine: Engine,
    journal: Option<Journal>,
    /// Containers that were at rest when their turn came: paused by somebody else, or ended.
    found_at_rest: Vec<Rested>,
    /// Containers that could not be paused, because they keep restarting.
    kept_running: Vec<Rested>,
}

/// The signals that end a container, as named in the engine's events. Others have other purposes, such as reloading
/// settings.
const ENDING: [&str; 8] = ["2", "3", "9", "15", "SIGINT", "SIGQUIT", "SIGKILL", "SIGTERM"];

/// How many containers are inspected concurrently.
const LOOKS_AT_ONCE: usize = 8;

impl Engine {
    /// Decides which containers `mode` brings to rest so that nothing writes to the volumes of `selection`: every
    /// running container that may and, when stopping, those that live in its network, processes or memory.
    ///
    /// # Errors
    ///
    /// If none of the volumes could be read at rest, because of containers that cannot be stopped without harm.
    pub async fn plan_rest(&self, selection: &Selection, mode: Mode) -> Result<RestPlan, EngineError> {
        let action = match mode {
            Mode::None => return Ok(RestPlan::default()),
            Mode::Pause => Action::Pause,
            Mode::Stop => Action::Stop,
        };
        let beside = if action == Action::Stop && plan::writers(selection).next().is_some() {
            let is_selected = |id: &str| selection.containers.iter().any(|container| container.id == id);
            self.containers_beside(is_selected).await?
        } else {
            Vec::new()
        };
        RestPlan::new(selection, &beside, action, own_container_id().as_deref())
    }

    /// Every container of the engine, except those with known ids.
    async fn containers_beside(
        &self,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Vec<Container>, EngineError> {
        let all = self.get("/containers/json?all=true", "list its containers").await?;
        let of = |summary: &Value| (text(&summary["Id"]), summary["State"] == "running");
        let ids = list(&all).iter().map(of).filter(|(id, _)| !is_known(id));
        let looks = futures::stream::iter(ids.map(async |(id, runs)| (self.container(&id).await, runs)));
        let found: Vec<_> = looks.buffered(LOOKS_AT_ONCE).collect().await;
        let of_interest = found.into_iter().filter_map(|(found, runs)| match found {
            Err(error) if error.is_absent() => None,
            // A container that is not running and that the engine cannot describe does not matter.
            Err(_) if !runs => None,
            found => Some(found),
        });
        of_interest.collect()
    }

    /// Brings the containers of `plan` to rest.
    ///
    /// # Errors
    ///
    /// If another run holds one of them, or if the engine refuses. In that case what had been stopped is running again,
    /// or the error names what is not.
    pub async fn quiesce(
        &self,
        plan: &RestPlan,
        options: &QuiesceOptions<'_>,
        cancel: &CancellationToken,
    ) -> Result<Quiesced, EngineError> {
        let Some(action) = plan.action().filter(|_| !plan.to_rest().is_empty()) else {
            return Ok(Quiesced::new(self.clone(), None));
        };
        for (path, busy) in journal_folder(options.journal_folder)?.busy {
            let held = plan.to_rest().iter().find(|container| container.id == busy.id);
            let shares = |container: &Container, other: &Container| {
                container.shares_what_is_of(other) || other.shares_what_is_of(container)
            };
            let relative = match (held, self.container(&busy.id).await) {
                (None, Ok(other)) => plan.to_rest().iter().find(|container| shares(container, &other)),
                _ => None,
            };
            let (container, what) = match (held, relative) {
                (Some(held), _) => (held, "it".to_owned()),
                (None, Some(relative)) => (
                    relative,
                    format!("`{}`, with which it shares a network, processes or memory,", busy.name),
                ),
                (None, None) => continue,
            };
            return Err(EngineError::CannotQuiesce {
                container: container.name.clone(),
                reason: format!("another run holds {what} at rest ({})", path.display()),
                advice: "wait until that run is done".to_owned(),
            });
        }
        let entries = plan.to_rest().iter().map(|container| Entry::new(container, action)).collect();
        let journal = Journal::create(
            options.journal_folder,
            &self.facts().id,
            entries,
            plan.known().clone(),
            options.clock.now(),
            options.entropy,
        )?;
        let mut quiesced = Quiesced::new(self.clone(), Some(journal));
        match quiesced.rest(options.clock, cancel).await {
            Ok(()) => {
                quiesced.rest_late_sharers(options.clock).await;
                Ok(quiesced)
            }
            Err(error) => {
                let (released, all_back) = quiesced.release(options.clock, cancel).await;
                let fallen = self.fallen(&released.back, cancel).await;
                for trouble in released.lost.iter().chain(&released.unmet).chain(&fallen) {
                    tracing::warn!("{trouble}");
                }
                // If they cannot be started again, that is the more important error.
                all_back.and(Err(error))
            }
        }
    }
}

impl Quiesced {
    fn new(engine: Engine, journal: Option<Journal>) -> Self {
        Self { engine, journal, found_at_rest: Vec::new(), kept_running: Vec::new() }
    }

    /// The containers that were brought to rest, in that order.
    pub fn rested(&self) -> Vec<Rested> {
        self.journal
            .iter()
            .flat_map(Journal::entries)
            .filter(|entry| entry.step == Step::Held)
            .map(|entry| entry.rested(Some(entry.action)))
            .collect()
    }

    /// The containers that keep running although the plan was to stop them.
    pub fn kept_running(&self) -> &[Rested] {
        &self.kept_running
    }

    /// The containers that were at rest when their turn came, and that are therefore not started again.
    pub fn found_at_rest(&self) -> &[Rested] {
        &self.found_at_rest
    }

    async fn rest(&mut self, clock: &dyn Clock, cancel: &CancellationToken) -> Result<(), EngineError> {
        for place in 0..self.journal.as_ref().map_or(0, |journal| journal.entries().len()) {
            if cancel.is_cancelled() {
                return Err(EngineError::Interrupted);
            }
            let Some(journal) = &mut self.journal else { return Ok(()) };
            match self.engine.rest_at(journal, place, clock).await? {
                AtItsTurn::Rests | AtItsTurn::IsGone => {}
                AtItsTurn::IsAtRest(one) => self.found_at_rest.push(one),
                AtItsTurn::KeepsRunning(one) => self.kept_running.push(one),
            }
        }
        Ok(())
    }

    /// Stops containers that began to share a stopped one's namespaces after the plan was made; they are started again
    /// with it.
    async fn rest_late_sharers(&mut self, clock: &dyn Clock) {
        let Some(journal) = &mut self.journal else { return };
        // Those that cannot be stopped, or are not found now, are looked for again when all are started.
        if let Err(error) = self.engine.rest_late_sharers(journal, clock).await {
            tracing::info!("who came to live in a container that was stopped is not known yet: {error}");
        }
    }

    /// Starts the containers again, in starting order, and removes the journal. A container that depends on another's
    /// health is started when that one is healthy; once `hurry` is cancelled, at once. Returns those that are back, and
    /// whether all are: [`EngineError::NotReleased`] names the others, and the journal stays for the next run.
    pub async fn release(
        mut self,
        clock: &dyn Clock,
        hurry: &CancellationToken,
    ) -> (Released, Result<(), EngineError>) {
        let Some(mut journal) = self.journal.take() else { return (Released::default(), Ok(())) };
        let (released, failed) = self.engine.bring_back(&mut journal, clock, hurry).await;
        let all_back = if failed.is_empty() {
            journal.finish()
        } else {
            Err(EngineError::NotReleased { containers: failed, journal: journal.path().to_owned() })
        };
        (released, all_back)
    }
}

/// What to do with a container when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Rest,
    /// It failed after it was selected, and will be started again.
    Fell,
    /// Somebody has paused it, or it has ended by itself.
    IsAtRest,
}

/// Decides by its state `now`; `others_stopped` says whether others were stopped before it.
fn at_its_turn(now: &Container, entry: &Entry, others_stopped: bool) -> Turn {
    match now.activity {
        Activity::Running | Activity::Restarting => Turn::Rest,
        Activity::Stopped
            if entry.action == Action::Stop
                && others_stopped
                && now.exit_code != 0
                && now.started_at == entry.started_at =>
        {
            Turn::Fell
        }
        Activity::Stopped | Activity::Paused => Turn::IsAtRest,
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

/// The outcome for a container when its turn came.
enum AtItsTurn {
    /// It is at rest, or failed because of others, and will be started again with them.
    Rests,
    /// It was at rest already.
    IsAtRest(Rested),
    /// It keeps restarting, and could not be paused.
    KeepsRunning(Rested),
    /// It ended and was removed.
    IsGone,
}

impl Engine {
    /// Brings the container at `place` in the journal to rest, if necessary.
    async fn rest_at(
        &self,
        journal: &mut Journal,
        place: usize,
        clock: &dyn Clock,
    ) -> Result<AtItsTurn, EngineError> {
        let mut entry = journal.entries()[place].clone();
        let now = match self.container(&entry.id).await {
            Ok(container) => container,
            // It ended and was removed after it was selected: there is nothing to stop.
            Err(error) if error.is_absent() => return Ok(AtItsTurn::IsGone),
            Err(error) => return Err(error),
        };
        let is_stopped = |other: &Entry| other.id != entry.id && other.step != Step::Planned;
        let others_stopped = journal.entries().iter().any(is_stopped);
        match at_its_turn(&now, &entry, others_stopped) {
            Turn::Rest => {
                // It may have restarted since it was selected, possibly because of those that have stopped.
                entry.started_at = now.started_at;
                journal.renew(place, entry.clone());
                journal.record(place, Step::Asked { since: clock.now() })?;
                match self.rest_one(&entry).await {
                    Ok(()) => journal.record(place, Step::Held)?,
                    Err(_) if self.is_restarting(&entry).await => {
                        journal.record(place, Step::Planned)?;
                        return Ok(AtItsTurn::KeepsRunning(entry.rested(None)));
                    }
                    Err(error) => return Err(error),
                }
                Ok(AtItsTurn::Rests)
            }
            // Containers that were stopped before may have taken it down, so it is started again.
            Turn::Fell if !self.was_killed(&entry.id, journal.made_at(), clock).await => {
                journal.record(place, Step::Held)?;
                Ok(AtItsTurn::Rests)
            }
            turn => {
                if turn == Turn::Fell {
                    tracing::warn!("`{}` was stopped by somebody else meanwhile, and stays so", entry.name);
                }
                entry.started_at = now.started_at;
                Ok(AtItsTurn::IsAtRest(entry.rested(None)))
            }
        }
    }

    /// Whether somebody has stopped or killed the container since then, as far as the engine remembers. It was not us,
    /// because this is called before its turn.
    async fn was_killed(&self, id: &str, since: Timestamp, clock: &dyn Clock) -> bool {
        let filters: [(&str, &[&str]); 3] =
            [("type", &["container"]), ("event", &["kill"]), ("container", &[id])];
        let options = events(since, Some(clock.now()), &filters);
        let mut said = std::pin::pin!(self.client().events(Some(options)));
        while let Some(Ok(event)) = said.next().await {
            let about = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
            if about.get("signal").is_none_or(|signal| ENDING.contains(&signal.as_str())) {
                return true;
            }
        }
        false
    }

    /// Stops containers that began to share the namespaces of a stopped one after the plan was made, and adds them to
    /// the journal: they are started after it. Returns those that cannot be stopped, each with the reason.
    async fn rest_late_sharers(
        &self,
        journal: &mut Journal,
        clock: &dyn Clock,
    ) -> Result<Vec<String>, EngineError> {
        let Some(known) = journal.known().cloned() else { return Ok(Vec::new()) };
        let ourselves = own_container_id();
        let mut lost: BTreeMap<String, String> = BTreeMap::new();
        let mut stopped = Vec::new();
        for entry in journal.entries() {
            stopped.extend(self.stopped(entry).await);
        }
        // Others may begin to share the namespaces of one of these while it is being stopped.
        while !stopped.is_empty() {
            let is_known = |id: &str| {
                Some(id) == ourselves.as_deref()
                    || lost.contains_key(id)
                    || journal.entries().iter().any(|entry| entry.id == id)
            };
            let now = self.containers_beside(is_known).await?;
            let late = plan::late_sharers(&known, &stopped, &now);
            if late.is_empty() {
                break;
            }
            for container in late {
                if let Some((reason, _)) = plan::own_harm(container) {
                    lost.insert(
                        container.id.clone(),
                        format!(
                            "`{}` was started while a container was stopped in whose network, processes or memory it \
                             lives, and has lost them: {reason}; start it again",
                            container.name
                        ),
                    );
                    continue;
                }
                // If the container that it lives in is lost, starting it again does not help.
                if !stopped.iter().any(|other| container.lives_in(&other.id, &other.name)) {
                    continue;
                }
                journal.put_first(Entry::new(container, Action::Stop));
                self.rest_at(journal, 0, clock).await?;
                stopped.extend(self.stopped(&journal.entries()[0]).await);
            }
        }
        Ok(lost.into_values().collect())
    }

    /// The container of `entry`, if it is stopped and will be started again. `None` if somebody else has started it
    /// again: then nothing that lives in it is lost.
    async fn stopped(&self, entry: &Entry) -> Option<Stopped> {
        let is_asked = entry.action == Action::Stop && entry.step != Step::Planned;
        let now = if is_asked { self.container(&entry.id).await.ok()? } else { return None };
        let is_still = now.activity == Activity::Stopped && now.started_at == entry.started_at;
        is_still.then_some(Stopped { id: now.id, name: now.name, finished_at: now.finished_at })
    }

    /// Whether the engine is about to restart a container that it could not pause.
    async fn is_restarting(&self, entry: &Entry) -> bool {
        let now = self.container(&entry.id).await;
        entry.action == Action::Pause
            && now.is_ok_and(|now| now.activity == Activity::Restarting || now.started_at != entry.started_at)
    }

    async fn rest_one(&self, entry: &Entry) -> Result<(), EngineError> {
        match entry.action {
            Action::Pause => self
                .client()
                .pause_container(&entry.id)
                .await
                .map_err(EngineError::call(format!("pause container `{}`", entry.name))),
            Action::Stop => {
                // Pass the container's own timeout explicitly: without one, the engine would use its default.
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

/// The id of the container that this process runs in, if any: it must never stop itself.
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
    fn who_fell_because_others_stopped_comes_back_with_them() {
        let container = |status: &str, exit_code: i64, started_at: &str| {
            let state = serde_json::json!({
                "Running": status == "running", "Paused": status == "paused", "Restarting": status == "restarting",
                "ExitCode": exit_code, "StartedAt": started_at,
            });
            Container::from_document(&serde_json::json!({"Id": "x", "Name": "/x", "State": state}), None)
        };
        let selected = container("running", 0, "1");
        for (name, now, action, others_stopped, expected) in [
            ("it runs", container("running", 0, "1"), Action::Stop, false, Turn::Rest),
            ("it was started again", container("running", 0, "2"), Action::Stop, true, Turn::Rest),
            (
                "it is started again and again",
                container("restarting", 1, "2"),
                Action::Stop,
                true,
                Turn::Rest,
            ),
            ("it failed with another", container("stopped", 3, "1"), Action::Stop, true, Turn::Fell),
            ("it failed before any", container("stopped", 3, "1"), Action::Stop, false, Turn::IsAtRest),
            ("it is done", container("stopped", 0, "1"), Action::Stop, true, Turn::IsAtRest),
            ("another run of it failed", container("stopped", 3, "2"), Action::Stop, true, Turn::IsAtRest),
            (
                "it failed while others froze",
                container("stopped", 3, "1"),
                Action::Pause,
                true,
                Turn::IsAtRest,
            ),
            ("somebody froze it", container("paused", 0, "1"), Action::Stop, true, Turn::IsAtRest),
        ] {
            assert_eq!(at_its_turn(&now, &Entry::new(&selected, action), others_stopped), expected, "{name}");
        }
    }

    #[test]
    fn the_own_container_is_found_in_the_mounts() {
        let inside =
            "702 685 8:1 /var/lib/docker/containers/abc123/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n";
        assert_eq!(own_id_in(inside).as_deref(), Some("abc123"));
        assert_eq!(own_id_in("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), None);
    }
}
