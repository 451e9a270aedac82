//! Bringing containers to rest around a snapshot, and surely back.
//!
//! Before any container is touched, a journal of what is about to happen is on disk ([`journal`]). Containers stop in the
//! reverse of their starting order, each with its own timeout, and come back in starting order (`bring_back`). When this
//! process dies at any point, the next run or `doctor` replays the journal ([`Engine::settle`](crate::Engine::settle)): it
//! starts what we stopped and unpauses what we paused, and leaves alone whatever someone else has started since. Who is
//! brought to rest is decided beforehand (`plan`).

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
use self::journal::{Action, Entry, Journal, Step, shelf};
use self::plan::Stopped;
pub use self::plan::{LeftRunning, RestPlan};
use crate::EngineError;
use crate::document::{list, text};
use crate::engine::{Engine, events};
use crate::selection::{Activity, Container, Selection};

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

/// A container that is at rest while volumes are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rested {
    /// Its id.
    pub id: String,
    /// Its name.
    pub container: String,
    /// When its run began that was brought to rest, as the engine says it.
    pub started_at: String,
    /// What was done; none where it was found at rest when its turn came.
    pub action: Option<Action>,
}

/// Containers at rest. [`Quiesced::release`] brings them back; if it is never called, the journal stays and the next run
/// does it.
#[derive(Debug)]
#[must_use = "the containers stay at rest until `release` is called"]
pub struct Quiesced {
    engine: Engine,
    journal: Option<Journal>,
    /// Who was at rest when its turn came: frozen by somebody else, or ended.
    found_at_rest: Vec<Rested>,
    /// Who could not be frozen, because it ends again and again.
    kept_running: Vec<Rested>,
}

/// The signals that end a container, as the engine's events name them. Others ask it to read its settings again and the like.
const ENDING: [&str; 8] = ["2", "3", "9", "15", "SIGINT", "SIGQUIT", "SIGKILL", "SIGTERM"];

/// How many containers the engine is asked about at once.
const LOOKS_AT_ONCE: usize = 8;

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
        let beside = if action == Action::Stop && plan::writers(selection).next().is_some() {
            let is_selected = |id: &str| selection.containers.iter().any(|container| container.id == id);
            self.containers_beside(is_selected).await?
        } else {
            Vec::new()
        };
        RestPlan::new(selection, &beside, action, own_container_id().as_deref())
    }

    /// Every container of the engine, but for those whose ids are known.
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
            // What the engine cannot describe and does not run is of no interest.
            Err(_) if !runs => None,
            found => Some(found),
        });
        of_interest.collect()
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
            return Ok(Quiesced::new(self.clone(), None));
        };
        for (path, busy) in shelf(options.journal_folder)?.busy {
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
                // If they do not come back, that is the worse news.
                all_back.and(Err(error))
            }
        }
    }
}

impl Quiesced {
    fn new(engine: Engine, journal: Option<Journal>) -> Self {
        Self { engine, journal, found_at_rest: Vec::new(), kept_running: Vec::new() }
    }

    /// What was brought to rest, in that order.
    pub fn rested(&self) -> Vec<Rested> {
        self.journal
            .iter()
            .flat_map(Journal::entries)
            .filter(|entry| entry.step == Step::Held)
            .map(|entry| entry.rested(Some(entry.action)))
            .collect()
    }

    /// Who keeps running, although the plan was to bring it to rest.
    pub fn kept_running(&self) -> &[Rested] {
        &self.kept_running
    }

    /// Who was at rest when its turn came, and whom nobody brings back therefore.
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

    /// Stops those that came to live in one that has stopped when it was decided already who stops: they come back with it.
    async fn rest_late_sharers(&mut self, clock: &dyn Clock) {
        let Some(journal) = &mut self.journal else { return };
        // Who cannot be stopped, or is not found now, is looked for again when all are brought back.
        if let Err(error) = self.engine.rest_late_sharers(journal, clock).await {
            tracing::info!("who came to live in a container that was stopped is not known yet: {error}");
        }
    }

    /// Brings the containers back, in starting order, and removes the journal. What depends on another one's health is started
    /// when that one is healthy; once `hurry` is cancelled, at once. Beside those that are back it says whether all are:
    /// [`EngineError::NotReleased`] names the others, and the journal stays for the next run.
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

/// What is done about a container when its turn to be brought to rest comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Rest,
    /// It failed since it was selected, and is brought back.
    Fell,
    /// Somebody has frozen it, or it has ended by itself.
    IsAtRest,
}

/// Decides by what it is like `now`; `others_stopped` says whether others were brought to rest before it.
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

/// What became of a container at its turn.
enum AtItsTurn {
    /// It is at rest, or fell because of others, and comes back with them.
    Rests,
    /// It was at rest.
    IsAtRest(Rested),
    /// It ends again and again, and could not be frozen.
    KeepsRunning(Rested),
    /// It ended and was removed.
    IsGone,
}

impl Engine {
    /// Brings the container at `place` of the journal to rest, as far as it needs to be.
    async fn rest_at(
        &self,
        journal: &mut Journal,
        place: usize,
        clock: &dyn Clock,
    ) -> Result<AtItsTurn, EngineError> {
        let mut entry = journal.entries()[place].clone();
        let now = match self.container(&entry.id).await {
            Ok(container) => container,
            // It ended and was removed since it was selected: there is nothing to stop.
            Err(error) if error.is_absent() => return Ok(AtItsTurn::IsGone),
            Err(error) => return Err(error),
        };
        let is_stopped = |other: &Entry| other.id != entry.id && other.step != Step::Planned;
        let others_stopped = journal.entries().iter().any(is_stopped);
        match at_its_turn(&now, &entry, others_stopped) {
            Turn::Rest => {
                // It may have been started again since it was selected, also because of those that have stopped.
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
            // Those that have stopped before may have taken it down: it comes back with them.
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

    /// Whether somebody has stopped or killed the container since then, as far as the engine remembers. Nothing of ours has: it
    /// is asked before its turn.
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

    /// Stops those that came to live in one of the journal that has stopped, after it was decided who stops, and puts them into the
    /// journal: they come back after it. Gives those that cannot be stopped, each with the reason.
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
        // Others may come to live in one of these while that is being stopped.
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
                // What lives in one that is lost is not helped by another start.
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

    /// What `entry` names, if it is stopped and comes back. One that somebody else
    /// has started again has what it lives in.
    async fn stopped(&self, entry: &Entry) -> Option<Stopped> {
        let is_asked = entry.action == Action::Stop && entry.step != Step::Planned;
        let now = if is_asked { self.container(&entry.id).await.ok()? } else { return None };
        let is_still = now.activity == Activity::Stopped && now.started_at == entry.started_at;
        is_still.then_some(Stopped { id: now.id, name: now.name, finished_at: now.finished_at })
    }

    /// Whether the engine is about to start a container that it would not freeze.
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
            ("it was started anew", container("running", 0, "2"), Action::Stop, true, Turn::Rest),
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
