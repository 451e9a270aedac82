//! Starts containers again: in starting order, each one when its dependencies are ready, and checks that they stay up.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::StartContainerOptions;
use lifeboat_core::clock::Clock;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::journal::{Entry, Found, Journal, Remedy, Step, journal_folder};
use crate::EngineError;
use crate::document::list;
use crate::engine::{Engine, filtered};
use crate::order::Depends as _;
use crate::selection::{Activity, Condition, Container, Health, Service};

/// How often starting a container is attempted.
const START_ATTEMPTS: u32 = 3;

/// The polling interval for a container that changes its state.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long all containers together wait for their dependencies before they are started anyway.
const CONDITION_PATIENCE: Duration = Duration::from_mins(5);

/// How long a container must have been up to count as back.
const STAYS_UP: Duration = Duration::from_secs(3);

/// A container that was started or unpaused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtBack {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When this happened.
    since: Instant,
    /// When its new run began, according to the engine; `None` if the engine could not be asked.
    started_at: Option<String>,
}

impl BroughtBack {
    /// What happened to it, if it is not up any more.
    fn fall(&self, now: &Container) -> Option<String> {
        match &self.started_at {
            _ if now.activity == Activity::Stopped => Some(format!("ended with exit code {}", now.exit_code)),
            Some(before) if *before != now.started_at => {
                Some("ends, and the engine starts it again and again".to_owned())
            }
            _ => None,
        }
    }
}

/// A container that was started again and is not up.
struct Fallen {
    /// Whether it ended with an error, so that another start may help.
    has_failed: bool,
    /// What happened to it.
    how: String,
}

/// Containers that were started again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Released {
    /// Those that were started or unpaused, in that order.
    pub back: Vec<BroughtBack>,
    /// Containers that were started although a dependency is not ready, with the reason.
    pub unmet: Vec<String>,
    /// Containers that have lost the one they live in and could not be stopped to be restarted, with the reason.
    pub lost: Vec<String>,
}

/// The result of settling left-over journals.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Journals that were replayed and removed.
    pub journals: Vec<PathBuf>,
    /// Containers that were started or unpaused, by name.
    pub brought_back: Vec<String>,
    /// What could not be settled, or does not stay up, with the reason.
    pub problems: Vec<String>,
}

/// The state of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Met,
    Waiting,
    /// It will not become ready by itself; what happened to it.
    Failed(&'static str),
}

/// The state of `other`, on which something depends under `condition`.
fn progress(condition: Condition, other: &Container) -> Progress {
    let is_up = other.activity == Activity::Running;
    match (condition, other.health) {
        (Condition::Healthy, _) if !is_up => Progress::Failed("is not running"),
        (Condition::Started, _) | (Condition::Healthy, Health::Unchecked | Health::Healthy) => Progress::Met,
        (Condition::Healthy, Health::Starting) => Progress::Waiting,
        (Condition::Healthy, Health::Unhealthy) => Progress::Failed("is unhealthy"),
        (Condition::CompletedSuccessfully, _) if is_up => Progress::Waiting,
        (Condition::CompletedSuccessfully, _) if other.exit_code == 0 => Progress::Met,
        (Condition::CompletedSuccessfully, _) => Progress::Failed("failed"),
    }
}

/// Those of `entries` that `container` depends on, with the required state of each.
fn needed<'e>(container: &Container, entries: &'e [Entry]) -> Vec<(&'e Entry, Condition)> {
    let Some(Service { project, .. }) = &container.service else { return Vec::new() };
    let mut needed = Vec::new();
    for dependency in &container.depends_on {
        let is_instance = |entry: &&Entry| {
            let service = entry.service.as_ref();
            entry.id != container.id
                && service.is_some_and(|s| s.project == *project && s.service == dependency.service)
        };
        needed.extend(entries.iter().filter(is_instance).map(|entry| (entry, dependency.condition)));
    }
    needed
}

/// What must be done to restore a container's state before the run.
enum Due {
    Nothing,
    Start(Box<Container>),
    /// Start the container that Compose created in its place.
    StartAnother(String),
    Unpause,
}

impl Engine {
    /// Replays the journals that dead processes left in `folder`. Doing it twice does nothing the second time.
    pub async fn settle(
        &self,
        folder: &Path,
        clock: &dyn Clock,
        hurry: &CancellationToken,
    ) -> Result<Settled, EngineError> {
        let found = journal_folder(folder)?;
        let mut settled = Settled::default();
        for (path, reason) in found.unreadable {
            settled.problems.push(format!("{} cannot be read: {reason}", path.display()));
        }
        let mut all = Vec::new();
        let mut left = Vec::new();
        for journal in found.left_over {
            if journal.engine() == self.facts().id {
                left.push((journal, Vec::new()));
            } else {
                settled.problems.push(format!(
                    "{} speaks of another engine; remove it if that one is gone",
                    journal.path().display()
                ));
            }
        }
        // The containers of one journal may depend on those of another.
        loop {
            let (count, mut still_left) = (left.len(), Vec::new());
            for (mut journal, _) in left {
                let (released, failed) = self.bring_back(&mut journal, clock, hurry).await;
                settled.brought_back.extend(released.back.iter().map(|back| back.name.clone()));
                settled.problems.extend(released.unmet.into_iter().chain(released.lost));
                all.extend(released.back);
                if failed.is_empty() {
                    settled.journals.push(journal.path().to_owned());
                    journal.finish()?;
                } else {
                    still_left.push((journal, failed));
                }
            }
            left = still_left;
            if left.is_empty() || left.len() == count {
                break;
            }
        }
        settled.problems.extend(left.into_iter().flat_map(|(_, failed)| failed));
        settled.problems.extend(self.fallen(&all, hurry).await);
        Ok(settled)
    }

    /// Which of the containers that were started again are not up some seconds later, and what happened to each. One
    /// that ended is started once more: it may have needed another one that came after it. Once `hurry` is cancelled,
    /// uses their state at that moment.
    pub async fn fallen(&self, back: &[BroughtBack], hurry: &CancellationToken) -> Vec<String> {
        let mut again = Vec::new();
        let mut fallen = Vec::new();
        for one in back {
            match self.look_after(one, hurry).await {
                Some(Fallen { has_failed: true, .. }) if !hurry.is_cancelled() => {
                    tracing::info!("`{}` ended, and is started once more", one.name);
                    match self.start_surely(&one.id).await {
                        Ok(()) => again.push(self.note_back(&one.name, &one.id).await),
                        Err(error) => fallen.push(format!("`{}` does not stay up: {error}", one.name)),
                    }
                }
                found => fallen.extend(found.map(|found| found.how)),
            }
        }
        for one in &again {
            fallen.extend(self.look_after(one, hurry).await.map(|found| found.how));
        }
        fallen
    }

    /// Checks a container that was started again when it should have been up for a while. Returns its state if it is
    /// not up, or if that is unknown.
    async fn look_after(&self, one: &BroughtBack, hurry: &CancellationToken) -> Option<Fallen> {
        tokio::select! {
            () = tokio::time::sleep_until(one.since + STAYS_UP) => {}
            () = hurry.cancelled() => {}
        }
        match self.container(&one.id).await {
            Ok(now) => one.fall(&now).map(|how| Fallen {
                // One that ended well is done, and running it twice may do harm.
                has_failed: now.activity == Activity::Stopped && now.exit_code != 0,
                how: format!(
                    "`{0}` was started again and does not stay up: it {how}; see `docker logs {0}`",
                    one.name
                ),
            }),
            // Somebody removed it on purpose.
            Err(error) if error.is_absent() => None,
            Err(error) => {
                let how = format!("it is not known whether `{}` stays up: {error}", one.name);
                Some(Fallen { has_failed: false, how })
            }
        }
    }

    /// Starts the containers of `journal` again. The second part of the result are those that are not back, each with
    /// the reason.
    pub(super) async fn bring_back(
        &self,
        journal: &mut Journal,
        clock: &dyn Clock,
        hurry: &CancellationToken,
    ) -> (Released, Vec<String>) {
        let mut released = Released::default();
        let mut failed = Vec::new();
        // Wait for what is still being stopped for a dead run: containers that live in it are not found before.
        for entry in journal.entries().iter().filter(|entry| matches!(entry.step, Step::Asked { .. })) {
            let _ = self.remedy(entry, clock).await;
        }
        match self.rest_late_sharers(journal, clock).await {
            Ok(lost) => released.lost = lost,
            Err(error) => released.lost.push(format!(
                "it is not known whether others live in containers that were stopped, and have lost that: {error}"
            )),
        }
        let journal = &*journal;
        // What stopped last starts first. Containers that must wait for another one let the others go first.
        let in_order: Vec<&Entry> = journal.entries().iter().rev().collect();
        let mut deferred: Vec<&Entry> = Vec::new();
        let mut awaited: BTreeSet<String> = BTreeSet::new();
        for entry in in_order {
            match self.remedy(entry, clock).await {
                Ok(Due::Nothing) => {}
                Ok(Due::Start(container)) => {
                    let waits = self.has_to_wait(&container, journal.entries()).await;
                    if waits || container.needs().iter().any(|need| awaited.contains(need)) {
                        awaited.extend(container.names());
                        deferred.push(entry);
                        continue;
                    }
                    self.start(entry, &container.id, &mut released, &mut failed).await;
                }
                Ok(Due::StartAnother(id)) => self.start(entry, &id, &mut released, &mut failed).await,
                Ok(Due::Unpause) => match self.client().unpause_container(&entry.id).await {
                    Ok(()) => released.back.push(self.note_back(&entry.name, &entry.id).await),
                    Err(error) => failed.push(format!(
                        "{}: {}",
                        entry.name,
                        EngineError::call(format!("unpause container `{}`", entry.name))(error)
                    )),
                },
                Err(error) => failed.push(format!("{}: {error}", entry.name)),
            }
        }
        let deadline = Instant::now() + CONDITION_PATIENCE;
        for entry in deferred {
            match self.container(&entry.id).await {
                Ok(container) if container.activity == Activity::Stopped => {
                    let unmet = self.await_needs(&container, journal.entries(), deadline, hurry).await;
                    released.unmet.extend(unmet);
                    self.start(entry, &entry.id, &mut released, &mut failed).await;
                }
                // Somebody else has started or removed it in the meantime.
                Ok(_) => {}
                Err(error) if error.is_absent() => {}
                Err(error) => failed.push(format!("{}: {error}", entry.name)),
            }
        }
        (released, failed)
    }

    async fn note_back(&self, name: &str, id: &str) -> BroughtBack {
        let since = Instant::now();
        let started_at = self.container(id).await.ok().map(|container| container.started_at);
        BroughtBack { id: id.to_owned(), name: name.to_owned(), since, started_at }
    }

    async fn start(&self, entry: &Entry, id: &str, released: &mut Released, failed: &mut Vec<String>) {
        match self.start_surely(id).await {
            Ok(()) => released.back.push(self.note_back(&entry.name, id).await),
            Err(error) => failed.push(format!("{}: {error}", entry.name)),
        }
    }

    /// What must be done to restore a container's state before the run.
    async fn remedy(&self, entry: &Entry, clock: &dyn Clock) -> Result<Due, EngineError> {
        loop {
            let container = match self.container(&entry.id).await {
                Ok(container) => container,
                Err(error) if error.is_absent() => return self.successor(entry).await,
                Err(error) => return Err(error),
            };
            let found = Found { activity: container.activity, started_at: &container.started_at };
            match entry.remedy(&found, clock.now()) {
                Remedy::Leave => return Ok(Due::Nothing),
                Remedy::Await(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Remedy::Start => return Ok(Due::Start(Box::new(container))),
                Remedy::Unpause => return Ok(Due::Unpause),
            }
        }
    }

    /// Whether a dependency of `container` is not ready yet.
    async fn has_to_wait(&self, container: &Container, entries: &[Entry]) -> bool {
        for (instance, condition) in needed(container, entries) {
            let other = self.container(&instance.id).await;
            // A dependency that must still be started counts as well.
            if other.is_ok_and(|other| progress(condition, &other) != Progress::Met) {
                return true;
            }
        }
        false
    }

    /// Waits, at most until `deadline`, for those of `entries` that `container` depends on. Returns those that are not
    /// ready, with the reasons.
    async fn await_needs(
        &self,
        container: &Container,
        entries: &[Entry],
        deadline: Instant,
        hurry: &CancellationToken,
    ) -> Vec<String> {
        let mut unmet = Vec::new();
        for (instance, condition) in needed(container, entries) {
            if let Some(why) = self.await_one(instance, condition, deadline, hurry).await {
                unmet.push(format!(
                    "`{}` was started although `{}`, on which it depends, {why}",
                    container.name, instance.name
                ));
            }
        }
        unmet
    }

    /// Waits for one dependency. Returns what is wrong with it, if anything.
    async fn await_one(
        &self,
        instance: &Entry,
        condition: Condition,
        deadline: Instant,
        hurry: &CancellationToken,
    ) -> Option<String> {
        loop {
            match self.container(&instance.id).await.map(|other| progress(condition, &other)) {
                Ok(Progress::Met) => return None,
                Ok(Progress::Failed(why)) => return Some(why.to_owned()),
                Ok(Progress::Waiting) if hurry.is_cancelled() => {
                    return Some("was not ready when the run was interrupted".to_owned());
                }
                Ok(Progress::Waiting) if Instant::now() >= deadline => {
                    return Some(format!("was not ready within {} s", CONDITION_PATIENCE.as_secs()));
                }
                Ok(Progress::Waiting) => tokio::select! {
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = hurry.cancelled() => {}
                },
                // Another container has taken its place.
                Err(error) if error.is_absent() => return None,
                Err(error) => return Some(format!("cannot be looked at: {error}")),
            }
        }
    }

    /// The container is gone. If Compose created another one in its place, that one should run; if it does not, it must
    /// be started.
    async fn successor(&self, entry: &Entry) -> Result<Due, EngineError> {
        let Some(service) = entry.service.as_ref().filter(|_| entry.step != Step::Planned) else {
            return Ok(Due::Nothing);
        };
        let successor = self.instance(service).await?;
        let successor = successor.filter(|successor| successor.activity == Activity::Stopped);
        Ok(successor.map_or(Due::Nothing, |successor| Due::StartAnother(successor.id)))
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

#[cfg(test)]
mod tests {
    use Condition::{CompletedSuccessfully, Healthy, Started};

    use super::*;

    #[test]
    fn what_something_depends_on_is_as_far_as_it_must_be() {
        let container = |running: bool, health: &str, exit_code: i64| {
            let state =
                serde_json::json!({"Running": running, "ExitCode": exit_code, "Health": {"Status": health}});
            Container::from_document(&serde_json::json!({"Id": "x", "Name": "/x", "State": state}), None)
        };
        for (condition, other, expected) in [
            (Started, container(true, "starting", 0), Progress::Met),
            (Started, container(false, "", 1), Progress::Met),
            (Healthy, container(true, "", 0), Progress::Met),
            (Healthy, container(true, "none", 0), Progress::Met),
            (Healthy, container(true, "healthy", 0), Progress::Met),
            (Healthy, container(true, "starting", 0), Progress::Waiting),
            (Healthy, container(true, "unhealthy", 0), Progress::Failed("is unhealthy")),
            (Healthy, container(false, "starting", 1), Progress::Failed("is not running")),
            (CompletedSuccessfully, container(true, "", 0), Progress::Waiting),
            (CompletedSuccessfully, container(false, "", 0), Progress::Met),
            (CompletedSuccessfully, container(false, "", 2), Progress::Failed("failed")),
        ] {
            assert_eq!(progress(condition, &other), expected, "{condition:?} {other:?}");
        }
    }

    #[test]
    fn what_ended_or_was_started_once_more_does_not_stay_up() {
        let now = |running: bool, started_at: &str| {
            let state = serde_json::json!({"Running": running, "ExitCode": 7, "StartedAt": started_at});
            Container::from_document(&serde_json::json!({"Id": "x", "Name": "/x", "State": state}), None)
        };
        let (since, known) = (Instant::now(), Some("1".to_owned()));
        let back = |started_at| BroughtBack { id: "x".into(), name: "x".into(), since, started_at };
        assert_eq!(back(known.clone()).fall(&now(true, "1")), None);
        assert_eq!(back(None).fall(&now(true, "2")), None);
        assert!(back(None).fall(&now(false, "1")).unwrap().contains("exit code 7"));
        assert!(back(known).fall(&now(true, "2")).unwrap().contains("again and again"));
    }
}
