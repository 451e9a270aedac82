//! Finds out what wrote to a volume while it was read, by comparing the containers before and after, and from the
//! engine's events.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::models::EventMessage;
use futures::StreamExt as _;
use jiff::Timestamp;
use lifeboat_core::clock::Clock;
use tokio::task::JoinHandle;

use crate::EngineError;
use crate::engine::{Engine, events};
use crate::quiesce::Rested;
use crate::reach::Places;
use crate::selection::{Activity, Container, Selection, Volume};

/// The engine's start time for a container that was never started (Go's zero time), and everything that sorts before
/// it.
pub(crate) const NEVER_STARTED: &str = "0001-01-01T00:00:00Z";

impl Selection {
    /// Which containers could write to which volume while it was read, given the present state: those that write now
    /// although they did not when the selection was made or were stopped since, and those that were started in the
    /// meantime. Volume and container, each by name.
    pub fn disturbed(&self, now: &Self, rested: &[Rested]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for container in &now.containers {
            let runs = matches!(container.activity, Activity::Running | Activity::Restarting);
            let was_started = |before: &str| container.started_at != before;
            let rested = rested.iter().find(|rested| rested.id == container.id);
            let before = self.containers.iter().find(|before| before.id == container.id);
            let wrote = match (rested, before) {
                (Some(rested), _) => runs || was_started(&rested.started_at),
                (None, Some(before)) => {
                    let ran = matches!(before.activity, Activity::Running | Activity::Restarting);
                    (runs && !ran) || was_started(&before.started_at)
                }
                (None, None) => runs || container.started_at.as_str() > NEVER_STARTED,
            };
            for volume in self.volumes.iter().filter(|volume| wrote && container.may_write_to(volume)) {
                found.push((volume.name.clone(), container.name.clone()));
            }
        }
        found
    }
}

/// Listens to the engine's events while volumes are read: which containers mount one of them, are started, or are
/// unpaused.
#[derive(Debug)]
pub struct Watch {
    since: Timestamp,
    heard: Arc<Mutex<Vec<Heard>>>,
    /// Whether the stream of events broke.
    is_deaf: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// An event of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    /// A container that is being started has mounted a volume, with the right to write to it.
    Mounted {
        volume: String,
        container: String,
    },
    /// A container was started. It is inspected at once, because it may soon be gone.
    Started {
        id: String,
        container: Option<Box<Container>>,
    },
    Thawed {
        container: String,
    },
}

impl Heard {
    fn from_event(event: EventMessage) -> Option<Self> {
        let actor = event.actor?;
        let (id, about) = (actor.id?, actor.attributes.unwrap_or_default());
        match event.action.as_deref()? {
            "mount" if about.get("read/write").is_none_or(|may_write| may_write != "false") => {
                let container = about.get("container").cloned().unwrap_or_default();
                Some(Self::Mounted { volume: id, container })
            }
            "start" => Some(Self::Started { id, container: None }),
            "unpause" => Some(Self::Thawed { container: id }),
            _ => None,
        }
    }

    /// Whether it is the same event as `other`, about which more may be known.
    fn is_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Started { id, .. }, Self::Started { id: other, .. }) => id == other,
            _ => self == other,
        }
    }
}

/// The most events that are kept: more add nothing new.
const MOST_HEARD: usize = 10_000;

/// The events to ask for.
const OF_INTEREST: [(&str, &[&str]); 2] =
    [("type", &["volume", "container"]), ("event", &["mount", "start", "unpause"])];

impl Engine {
    /// Listens from now on.
    pub fn watch(&self, clock: &dyn Clock) -> Watch {
        let since = clock.now();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let is_deaf = Arc::new(AtomicBool::new(false));
        let (engine, hears, goes_deaf) = (self.clone(), Arc::clone(&heard), Arc::clone(&is_deaf));
        let task = tokio::spawn(async move {
            let mut said = std::pin::pin!(engine.client().events(Some(events(since, None, &OF_INTEREST))));
            while let Some(Ok(event)) = said.next().await {
                let Some(new) = engine.looked_at(event).await else { continue };
                let mut heard = hears.lock().unwrap_or_else(PoisonError::into_inner);
                if heard.len() < MOST_HEARD {
                    heard.push(new);
                }
            }
            goes_deaf.store(true, Ordering::SeqCst);
        });
        Watch { since, heard, is_deaf, task }
    }

    /// The meaning of an event, with the container as it is now.
    async fn looked_at(&self, event: EventMessage) -> Option<Heard> {
        let heard = Heard::from_event(event)?;
        Some(match heard {
            Heard::Started { id, .. } => {
                let container = self.container(&id).await.ok().map(Box::new);
                Heard::Started { id, container }
            }
            other => other,
        })
    }

    /// Stops listening. Returns the containers that could write to a volume of `selection` in the meantime although
    /// they were stopped or did not exist: volume and container, each by name or id.
    ///
    /// # Errors
    ///
    /// If the stream of events was interrupted.
    pub async fn overheard(
        &self,
        watch: Watch,
        selection: &Selection,
        rested: &[Rested],
        clock: &dyn Clock,
    ) -> Result<Vec<(String, String)>, EngineError> {
        watch.task.abort();
        // The last events may not have arrived yet: the engine remembers some hundred of them.
        let mut last =
            std::pin::pin!(self.client().events(Some(events(watch.since, Some(clock.now()), &OF_INTEREST))));
        let mut heard = watch.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        while let Some(event) = last.next().await {
            let event = event.map_err(EngineError::call("say what happened".to_owned()))?;
            let Some(new) = Heard::from_event(event.clone()) else { continue };
            if !heard.iter().any(|known| known.is_the_same_as(&new)) {
                heard.extend(self.looked_at(event).await);
            }
        }
        if watch.is_deaf.load(Ordering::SeqCst) {
            return Err(EngineError::Lost {
                operation: "say what happens".to_owned(),
                source: "it stopped while the volumes were read".into(),
            });
        }
        let started = heard.iter().filter_map(|said| match said {
            Heard::Started { container, .. } => container.as_ref(),
            _ => None,
        });
        let folders: Vec<PathBuf> = started.flat_map(|container| container.host_folders.clone()).collect();
        let volumes: Vec<&Volume> = selection.volumes.iter().collect();
        let places = Places::of(&volumes, &folders, &self.places).await;
        for said in &mut heard {
            if let Heard::Started { container: Some(container), .. } = said {
                container.find_reach(&places);
            }
        }
        Ok(selection.wrote(&heard, rested))
    }
}

impl Selection {
    /// The volumes that these containers may write to: volume and container, each by name.
    pub fn volumes_of(&self, containers: &[Rested]) -> Vec<(String, String)> {
        let known = |rested: &Rested| self.containers.iter().find(|known| known.id == rested.id);
        let mut found = Vec::new();
        for container in containers.iter().filter_map(known) {
            let volumes = self.volumes.iter().filter(|volume| container.may_write_to(volume));
            found.extend(volumes.map(|volume| (volume.name.clone(), container.name.clone())));
        }
        found
    }

    /// Which containers could write to which of the volumes, according to the events.
    fn wrote(&self, heard: &[Heard], rested: &[Rested]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let short = |id: &str| id.chars().take(12).collect::<String>();
        for said in heard {
            match said {
                Heard::Mounted { volume, container } => {
                    if self.volumes.iter().any(|ours| ours.name == *volume) {
                        let named = self.containers.iter().find(|known| known.id == *container);
                        found.push((
                            volume.clone(),
                            named.map_or_else(|| short(container), |known| known.name.clone()),
                        ));
                    }
                }
                Heard::Started { container: Some(container), .. } => {
                    let volumes = self.volumes.iter().filter(|volume| container.may_write_to(volume));
                    found.extend(volumes.map(|volume| (volume.name.clone(), container.name.clone())));
                }
                // It came and went, and what it mounted is unknown. The mount of a volume by name would have been an
                // event.
                Heard::Started { id, container: None } => {
                    found.extend(self.volumes.iter().map(|volume| (volume.name.clone(), short(id))));
                }
                Heard::Thawed { container } => {
                    let was_at_rest = rested.iter().any(|rested| rested.id == *container);
                    let Some(known) = self.containers.iter().find(|known| known.id == *container) else {
                        continue;
                    };
                    let is_new = was_at_rest || known.activity != Activity::Running;
                    let volumes = self.volumes.iter().filter(|volume| is_new && known.may_write_to(volume));
                    found.extend(volumes.map(|volume| (volume.name.clone(), known.name.clone())));
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wrote_while_a_volume_was_read_is_found_by_what_changed() {
        let container = |id: &str, state: &str, started: &str, read_write: bool| {
            let state = serde_json::json!({
                "Running": state != "stopped", "Paused": state == "paused",
                "StartedAt": if started.is_empty() { NEVER_STARTED.to_owned() } else { format!("2026-01-01T0{started}:00:00Z") },
            });
            let document = serde_json::json!({
                "Id": id, "Name": format!("/{id}"), "State": state,
                "Mounts": [{"Type": "volume", "Name": "data", "Destination": "/d", "RW": read_write}],
            });
            Container::from_document(&document, None)
        };
        let selection = |containers: Vec<Container>| Selection {
            volumes: vec![Volume::from_document(serde_json::json!({"Name": "data"}))],
            containers,
            ..Selection::default()
        };
        let app = |state, started| container("app", state, started, true);
        // Before, stopped containers, afterwards, and whether the volume was disturbed.
        for (name, before, rested, after, disturbed) in [
            ("at rest", Some(app("running", "1")), true, Some(app("stopped", "1")), false),
            ("frozen", Some(app("running", "1")), true, Some(app("paused", "1")), false),
            ("woken", Some(app("running", "1")), true, Some(app("running", "2")), true),
            ("thawed", Some(app("running", "1")), true, Some(app("running", "1")), true),
            ("left to run", Some(app("running", "1")), false, Some(app("running", "1")), false),
            ("idle", Some(app("stopped", "1")), false, Some(app("stopped", "1")), false),
            ("idle, started", Some(app("stopped", "1")), false, Some(app("running", "2")), true),
            ("idle, started and ended", Some(app("stopped", "1")), false, Some(app("stopped", "2")), true),
            ("new", None, false, Some(app("running", "2")), true),
            ("new, never started", None, false, Some(app("stopped", "")), false),
            ("gone", Some(app("running", "1")), true, None, false),
            ("ended", Some(app("running", "1")), false, Some(app("stopped", "1")), false),
            ("restarted", Some(app("running", "1")), false, Some(app("running", "2")), true),
            ("frozen before, thawed", Some(app("paused", "1")), true, Some(app("running", "1")), true),
            ("a reader", None, false, Some(container("app", "running", "2", false)), false),
        ] {
            let rested = before.iter().filter(|_| rested).map(|before| Rested {
                id: before.id.clone(),
                container: before.name.clone(),
                started_at: before.started_at.clone(),
                action: None,
            });
            let rested: Vec<Rested> = rested.collect();
            let (before, after) =
                (selection(before.into_iter().collect()), selection(after.into_iter().collect()));
            let found = before.disturbed(&after, &rested);
            assert_eq!(!found.is_empty(), disturbed, "{name}: {found:?}");
        }
    }

    #[test]
    fn what_came_and_went_is_heard() {
        let container = |id: &str, state: &str| {
            let document = serde_json::json!({
                "Id": id, "Name": format!("/name-{id}"), "State": {"Running": true, "Paused": state == "paused"},
                "Mounts": [{"Type": "volume", "Name": "data", "Destination": "/d", "RW": true}],
            });
            Container::from_document(&document, None)
        };
        let selection = Selection {
            volumes: vec![Volume::from_document(serde_json::json!({"Name": "data"}))],
            containers: vec![container("rested", ""), container("live", ""), container("frozen", "paused")],
            ..Selection::default()
        };
        let rested = [Rested {
            id: "rested".to_owned(),
            container: "name-rested".to_owned(),
            started_at: String::new(),
            action: None,
        }];
        let event = |action: &str, id: &str, about: &[(&str, &str)]| EventMessage {
            action: Some(action.to_owned()),
            actor: Some(bollard::models::EventActor {
                id: Some(id.to_owned()),
                attributes: Some(about.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
            }),
            ..EventMessage::default()
        };
        for (event, expected) in [
            (event("mount", "data", &[("container", "new"), ("read/write", "true")]), Some("new")),
            (event("mount", "data", &[("container", "rested"), ("read/write", "true")]), Some("name-rested")),
            (event("mount", "data", &[("container", "new"), ("read/write", "false")]), None),
            (event("mount", "other", &[("container", "new"), ("read/write", "true")]), None),
            (event("unpause", "rested", &[]), Some("name-rested")),
            (event("unpause", "frozen", &[]), Some("name-frozen")),
            (event("unpause", "live", &[]), None),
            (event("unpause", "stranger", &[]), None),
            (event("die", "rested", &[]), None),
            // It was gone before it could be inspected.
            (event("start", "fleeting", &[]), Some("fleeting")),
        ] {
            let said = format!("{event:?}");
            let heard: Vec<Heard> = Heard::from_event(event).into_iter().collect();
            let found = selection.wrote(&heard, &rested);
            assert_eq!(found.first().map(|(_, container)| container.as_str()), expected, "{said}");
        }
        for (container, expected) in
            [(container("new", ""), 1), (Container { mounts: Vec::new(), ..container("new", "") }, 0)]
        {
            let heard = Heard::Started { id: container.id.clone(), container: Some(Box::new(container)) };
            assert_eq!(selection.wrote(&[heard], &rested).len(), expected);
        }
    }
}
