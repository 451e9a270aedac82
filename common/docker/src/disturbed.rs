//! What wrote to a volume while it was read, although nothing should have: told from what was there before and after.

use crate::selection::{Activity, Selection};

/// What the engine says of a container that was never started (Go's zero time), and all that sorts before it.
const NEVER_STARTED: &str = "0001-01-01T00:00:00Z";

impl Selection {
    /// Which containers could write to which volume while it was read, given what is there now: those that write now
    /// though they did not when the selection was made or were at rest since, and those that were started meanwhile.
    /// Volume and container, each by name.
    pub fn disturbed(&self, now: &Self, rested: &[String]) -> Vec<(String, String)> {
        let was = |id: &str| self.containers.iter().find(|container| container.id == id);
        let mut found = Vec::new();
        for container in &now.containers {
            let before = was(&container.id);
            let was_started = before.is_none_or(|before| before.started_at != container.started_at);
            let woke = container.activity == Activity::Running
                && (rested.contains(&container.name)
                    || before.is_none_or(|before| before.activity != Activity::Running));
            let ran_meanwhile = was_started && container.started_at.as_str() > NEVER_STARTED;
            for mount in container.mounts.iter().filter(|mount| mount.read_write && (woke || ran_meanwhile)) {
                if self.volumes.iter().any(|volume| volume.name == mount.volume) {
                    found.push((mount.volume.clone(), container.name.clone()));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::{Container, Volume};

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
        };
        let app = |state, started| container("app", state, started, true);
        // Before, what was at rest, afterwards, and whether it was disturbed.
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
            ("a reader", None, false, Some(container("app", "running", "2", false)), false),
        ] {
            let rested: Vec<String> = rested.then(|| "app".to_owned()).into_iter().collect();
            let (before, after) =
                (selection(before.into_iter().collect()), selection(after.into_iter().collect()));
            let found = before.disturbed(&after, &rested);
            assert_eq!(!found.is_empty(), disturbed, "{name}: {found:?}");
        }
    }
}
