//! Decides which containers a run stops, which it leaves running because stopping would do harm, and when it should
//! refuse.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::journal::Action;
use crate::EngineError;
use crate::disturbed::NEVER_STARTED;
use crate::held::lost_volumes;
use crate::order::starting_order;
use crate::selection::{Activity, Container, Selection};

/// The containers that a run brings to rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestPlan {
    action: Option<Action>,
    to_rest: Vec<Container>,
    left_running: Vec<LeftRunning>,
    /// When each container that lived in another one had been started, by id, at the time of this decision.
    known: BTreeMap<String, String>,
}

/// A container that writes to a volume while it is read, because it cannot be stopped without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftRunning {
    /// Its name.
    pub container: String,
    /// Why it cannot be stopped.
    pub reason: String,
    /// What to do about it.
    pub advice: String,
    /// The volumes of the selection that it may write to.
    pub volumes: Vec<String>,
}

/// Why a container is not stopped, and what to do about it.
pub(super) type Harm = (String, &'static str);

/// The running containers that may write to a volume of `selection`.
pub(super) fn writers(selection: &Selection) -> impl Iterator<Item = &Container> {
    selection.containers.iter().filter(|container| !volumes_of(container, selection).is_empty())
}

/// The volumes of `selection` that `container` may write to now.
fn volumes_of(container: &Container, selection: &Selection) -> Vec<String> {
    let written = selection.volumes.iter().filter(|volume| container.writes_to(volume));
    written.map(|volume| volume.name.clone()).collect()
}

/// Why a container that keeps restarting cannot be paused.
const RESTARTS: &str = "it has ended, and the engine is about to start it again, so it could not be frozen";

/// Why a container cannot be stopped, regardless of the others.
pub(super) fn own_harm(container: &Container) -> Option<Harm> {
    if container.activity == Activity::Paused {
        return Some((
            "it is frozen, so it could not be stopped".to_owned(),
            "unpause it, or use --mode pause",
        ));
    }
    if container.removed_on_stop {
        return Some((
            "the engine removes it as soon as it stops (`--rm`), so it could not be started again".to_owned(),
            "use --mode pause, or run the container without --rm",
        ));
    }
    container.orchestrated.then(|| {
        (
            "an orchestrator would start another one in its place at once".to_owned(),
            "scale the service down around the backup, or use --mode pause",
        )
    })
}

impl RestPlan {
    /// Decides for the writers of `selection`; `beside` are the other containers. The container `ourselves` is never
    /// touched.
    pub(super) fn new(
        selection: &Selection,
        beside: &[Container],
        action: Action,
        ourselves: Option<&str>,
    ) -> Result<Self, EngineError> {
        let others = |container: &&Container| Some(container.id.as_str()) != ourselves;
        let writers: Vec<&Container> = writers(selection).filter(others).collect();
        let everyone: Vec<&Container> = selection
            .containers
            .iter()
            .chain(beside)
            .filter(|container| container.activity != Activity::Stopped)
            .filter(others)
            .collect();
        let mut harms: BTreeMap<&str, Harm> = BTreeMap::new();
        let to_rest = match action {
            Action::Pause => {
                for writer in writers.iter().filter(|writer| writer.activity == Activity::Restarting) {
                    harms.insert(&writer.id, (RESTARTS.to_owned(), "see why it ends, or use --mode stop"));
                }
                writers.iter().filter(|writer| !harms.contains_key(writer.id.as_str())).copied().collect()
            }
            // Each round leaves one more container running, so there are at most as many rounds as containers.
            Action::Stop => loop {
                let stopped = with_sharers(&writers, &everyone, &harms);
                match harm(selection, &stopped, &harms) {
                    Some((container, why)) => _ = harms.insert(container, why),
                    None => break stopped,
                }
            },
        };
        let left_running: Vec<LeftRunning> = writers
            .iter()
            .filter_map(|writer| {
                let (reason, advice) = harms.remove(writer.id.as_str())?;
                Some(LeftRunning {
                    container: writer.name.clone(),
                    reason,
                    advice: advice.to_owned(),
                    volumes: volumes_of(writer, selection),
                })
            })
            .collect();
        if let Some(first) = left_running.first() {
            let is_live = |name: &String| left_running.iter().any(|left| left.volumes.contains(name));
            if selection.volumes.iter().all(|volume| is_live(&volume.name)) {
                return Err(EngineError::CannotQuiesce {
                    container: first.container.clone(),
                    reason: first.reason.clone(),
                    advice: first.advice.clone(),
                });
            }
        }
        let to_rest: Vec<Container> = to_rest.into_iter().cloned().collect();
        let order = starting_order(&to_rest);
        let to_rest = order.into_iter().rev().map(|place| to_rest[place].clone()).collect();
        let there =
            selection.containers.iter().chain(beside).filter(|container| container.lives_in_another());
        let known = there.map(|container| (container.id.clone(), container.started_at.clone())).collect();
        Ok(Self { action: Some(action), to_rest, left_running, known })
    }

    /// When each container that lived in another one had been started, by id, at the time of this decision.
    pub(super) fn known(&self) -> &BTreeMap<String, String> {
        &self.known
    }

    /// The action on them; `None` if there is nothing to do.
    pub fn action(&self) -> Option<Action> {
        self.action
    }

    /// The containers that are brought to rest, in order: what starts first stops last.
    pub fn to_rest(&self) -> &[Container] {
        &self.to_rest
    }

    /// The containers that keep running although they should have been stopped.
    pub fn left_running(&self) -> &[LeftRunning] {
        &self.left_running
    }
}

/// A container that was stopped, or failed, and will be started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stopped {
    pub(super) id: String,
    pub(super) name: String,
    /// When its run ended.
    pub(super) finished_at: String,
}

/// How far apart the ends of two containers may be that end together: the engine records each when it learns of it.
const TOGETHER: SignedDuration = SignedDuration::from_secs(1);

/// The containers that began to live in one of `stopped` after the plan was made; `known` has the start times of those
/// that lived in others then. Such a container has lost what it lived in, whether it is still running or failed at the
/// same moment. `now` are the present containers.
pub(super) fn late_sharers<'a>(
    known: &BTreeMap<String, String>,
    stopped: &[Stopped],
    now: &'a [Container],
) -> Vec<&'a Container> {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let fell_with = |container: &Container, other: &Stopped| {
        let ends = time(&container.finished_at).zip(time(&other.finished_at));
        container.exit_code != 0 && ends.is_some_and(|(a, b)| a.duration_since(b).abs() <= TOGETHER)
    };
    let has_lost = |container: &Container, other: &Stopped| {
        container.lives_in(&other.id, &other.name)
            && (container.activity != Activity::Stopped || fell_with(container, other))
    };
    let is_new = |container: &Container| {
        // A container that the engine refused to start has lost nothing.
        container.started_at.as_str() > NEVER_STARTED
            && stopped.iter().all(|entry| entry.id != container.id)
            && known.get(&container.id).is_none_or(|before| *before != container.started_at)
    };
    let mut late: Vec<&Container> = Vec::new();
    loop {
        let lives_in_late = |container: &Container| {
            let runs = container.activity != Activity::Stopped;
            runs && late.iter().any(|other| container.shares_what_is_of(other))
        };
        let is_known = |container: &Container| late.iter().any(|known| known.id == container.id);
        let is_one = |container: &&Container| {
            let is_lost = stopped.iter().any(|other| has_lost(container, other)) || lives_in_late(container);
            is_new(container) && !is_known(container) && is_lost
        };
        match now.iter().find(is_one) {
            Some(found) => late.push(found),
            None => return late,
        }
    }
}

/// The writers that may be stopped, and all containers that live in the network, processes or memory of one of them,
/// which they would lose.
fn with_sharers<'a>(
    writers: &[&'a Container],
    everyone: &[&'a Container],
    harms: &BTreeMap<&str, Harm>,
) -> Vec<&'a Container> {
    let mut stopped: Vec<&Container> =
        writers.iter().filter(|writer| !harms.contains_key(writer.id.as_str())).copied().collect();
    let mut next = 0;
    while let Some(&provider) = stopped.get(next) {
        for sharer in everyone.iter().filter(|container| container.shares_what_is_of(provider)) {
            if stopped.iter().all(|container| container.id != sharer.id) {
                stopped.push(sharer);
            }
        }
        next += 1;
    }
    stopped
}

/// One more container that must not be stopped with the others, by id, and why.
fn harm<'a>(
    selection: &'a Selection,
    stopped: &[&'a Container],
    known: &BTreeMap<&str, Harm>,
) -> Option<(&'a str, Harm)> {
    let is_new = |container: &&&Container| !known.contains_key(container.id.as_str());
    for container in stopped {
        let Some((reason, advice)) =
            known.get(container.id.as_str()).cloned().or_else(|| own_harm(container))
        else {
            continue;
        };
        // It would lose what it lives in.
        let mut providers = stopped.iter().filter(|provider| container.shares_what_is_of(provider));
        if let Some(provider) = providers.find(is_new) {
            return Some((&provider.id, (format!("`{}` lives in it, and {reason}", container.name), advice)));
        }
        if is_new(&container) {
            return Some((&container.id, (reason, advice)));
        }
    }
    let lost = lost_volumes(selection, stopped).next()?;
    let mut users = stopped.iter().filter(|c| c.mounts.iter().any(|mount| mount.volume == lost.name));
    let user = users.find(is_new)?;
    let reason = format!(
        "the volume `{}` lies in memory, and its content is gone when its last user stops",
        lost.name
    );
    let advice = "use --mode pause, or let a container that only reads the volume run meanwhile";
    Some((&user.id, (reason, advice)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::Volume;

    /// A running container: its name, which is its id as well, the volumes that it writes to, the container that it
    /// lives in, and whether the engine removes it when it stops.
    fn container(name: &str, volumes: &[&str], lives_in: &str, removed_on_stop: bool) -> Container {
        let mounts: Vec<_> = volumes
            .iter()
            .map(|volume| serde_json::json!({"Type": "volume", "Name": volume, "Destination": "/d", "RW": true}))
            .collect();
        let document = serde_json::json!({
            "Id": name, "Name": format!("/{name}"), "State": {"Running": true}, "Mounts": mounts,
            "HostConfig": {"AutoRemove": removed_on_stop, "NetworkMode": format!("container:{lives_in}")},
        });
        Container::from_document(&document, None)
    }

    fn plan(
        volumes: &[&str],
        containers: Vec<Container>,
        beside: &[Container],
        action: Action,
    ) -> Result<(Vec<String>, Vec<String>), EngineError> {
        let volumes = volumes
            .iter()
            .map(|name| {
                let options = if name.starts_with("memory") { r#"{"type": "tmpfs"}"# } else { "{}" };
                let options: serde_json::Value = serde_json::from_str(options).unwrap();
                Volume::from_document(serde_json::json!({"Name": name, "Options": options}))
            })
            .collect();
        let plan = RestPlan::new(
            &Selection { volumes, containers, ..Selection::default() },
            beside,
            action,
            Some("ourselves"),
        )?;
        let names = |containers: &[Container]| containers.iter().map(|c| c.name.clone()).collect();
        Ok((names(plan.to_rest()), plan.left_running().iter().map(|left| left.container.clone()).collect()))
    }

    /// Volumes, containers that mount them, other running ones, then which are stopped in which order and which are
    /// left running; `None` for a refusal.
    type Case = (
        &'static str,
        &'static [&'static str],
        Vec<Container>,
        Vec<Container>,
        Option<(&'static [&'static str], &'static [&'static str])>,
    );

    #[test]
    fn who_stops_and_who_is_left_running() {
        let app = || container("app", &["a"], "", false);
        let job = || container("job", &["b"], "", true);
        let sharer = |name: &str, of: &str| container(name, &[], of, false);
        let cases: Vec<Case> = vec![
            ("a writer", &["a"], vec![app()], vec![], Some((&["app"], &[]))),
            ("nobody", &["a"], vec![], vec![sharer("x", "y")], Some((&[], &[]))),
            (
                "the run itself",
                &["a"],
                vec![container("ourselves", &["a"], "", true)],
                vec![],
                Some((&[], &[])),
            ),
            ("one of two is removed", &["a", "b"], vec![app(), job()], vec![], Some((&["app"], &["job"]))),
            ("the only one is removed", &["b"], vec![job()], vec![], None),
            ("all are removed", &["b", "a"], vec![job(), container("x", &["a"], "", true)], vec![], None),
            ("both write to all", &["b"], vec![job(), container("x", &["b"], "", false)], vec![], None),
            ("an idle volume beside it", &["b", "idle"], vec![job()], vec![], Some((&[], &["job"]))),
            (
                "who lives in it stops first, at any depth",
                &["a"],
                vec![app()],
                vec![sharer("far", "near"), sharer("near", "app"), sharer("other", "elsewhere")],
                Some((&["far", "near", "app"], &[])),
            ),
            (
                "who lives in it cannot be stopped",
                &["a", "c"],
                vec![app(), container("db", &["c"], "", false)],
                vec![sharer("near", "app"), container("far", &[], "near", true)],
                Some((&["db"], &["app"])),
            ),
            (
                "a circle",
                &["a"],
                vec![container("app", &["a"], "other", false)],
                vec![sharer("other", "app")],
                Some((&["app", "other"], &[])),
            ),
            (
                "memory goes with its last user",
                &["a", "memory"],
                vec![app(), container("cache", &["memory"], "", false)],
                vec![],
                Some((&["app"], &["cache"])),
            ),
            (
                "memory that one user keeps",
                &["a", "memory"],
                vec![container("one", &["a", "memory"], "", false), container("two", &["memory"], "", true)],
                vec![],
                Some((&["one"], &["two"])),
            ),
            ("memory alone", &["memory"], vec![container("cache", &["memory"], "", false)], vec![], None),
        ];
        for (name, volumes, containers, beside, expected) in cases {
            let found = plan(volumes, containers, &beside, Action::Stop);
            let found = found.as_ref().ok().map(|(stopped, left)| (stopped.clone(), left.clone()));
            let expected = expected.map(|(stopped, left)| {
                let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
                (texts(stopped), texts(left))
            });
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn who_came_to_live_in_one_that_has_stopped_is_found() {
        const END: &str = "2026-01-01T00:00:10Z";
        let sharer = |name: &str, of: &str, status: &str, exit_code: i64, started: u8, ended: &str| {
            let started =
                if started == 0 { NEVER_STARTED.to_owned() } else { format!("2026-01-01T00:00:0{started}Z") };
            let document = serde_json::json!({
                "Id": name, "Name": format!("/{name}"),
                "State": {"Running": status != "stopped", "ExitCode": exit_code, "StartedAt": started, "FinishedAt": ended},
                "HostConfig": {"PidMode": format!("container:{of}")},
            });
            Container::from_document(&document, None)
        };
        let runs = |name: &str, of: &str| sharer(name, of, "running", 0, 2, "");
        let stopped = [Stopped { id: "db".to_owned(), name: "db".to_owned(), finished_at: END.to_owned() }];
        let known = BTreeMap::from([("knew".to_owned(), "2026-01-01T00:00:01Z".to_owned())]);
        for (name, now, expected) in [
            ("nobody", vec![], &[][..]),
            ("it failed before", vec![sharer("knew", "db", "stopped", 1, 1, END)], &[]),
            ("it failed again", vec![sharer("knew", "db", "stopped", 137, 2, END)], &["knew"]),
            ("it is new", vec![runs("new", "db")], &["new"]),
            ("it fell", vec![sharer("new", "db", "stopped", 137, 2, "2026-01-01T00:00:09.9Z")], &["new"]),
            ("it failed by itself", vec![sharer("new", "db", "stopped", 1, 2, "2026-01-01T00:00:05Z")], &[]),
            ("it is done", vec![sharer("new", "db", "stopped", 0, 2, END)], &[]),
            ("it was refused", vec![sharer("new", "db", "stopped", 128, 0, END)], &[]),
            ("it lives elsewhere", vec![runs("new", "other")], &[]),
            ("one lives in another", vec![runs("far", "near"), runs("near", "db")], &["near", "far"]),
            ("itself", vec![container("db", &["a"], "db", false)], &[]),
        ] {
            let found = late_sharers(&known, &stopped, &now);
            let found: Vec<&str> = found.iter().map(|container| container.name.as_str()).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn whatever_vanishes_when_it_stops_may_be_frozen() {
        let beside = [container("near", &[], "job", false)];
        let frozen = plan(&["b"], vec![container("job", &["b"], "", true)], &beside, Action::Pause).unwrap();
        assert_eq!(frozen, (vec!["job".to_owned()], vec![]));
    }
}
