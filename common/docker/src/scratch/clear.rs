//! Removes every object of a rehearsal, and those that dead ones left. Objects that this machine did not create stay,
//! whatever their labels: see [`MachineKey::claim`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::query_parameters::{RemoveContainerOptions, RemoveImageOptions};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{cgroup, filter};
use crate::EngineError;
use crate::document::{list, pairs, text};
use crate::engine::{Engine, filtered};
use crate::ownership::{Claim, MARK_LABEL, MachineKey, Ownership, REHEARSAL_LABEL, RehearsalId, ScratchKind};

/// How many rounds are made: an object can be busy for a moment after its user has gone.
const ROUNDS: u32 = 6;

/// The pause between rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// The result of clearing one rehearsal away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cleared {
    /// How many objects were removed.
    pub removed_objects: u64,
    /// What could not be removed, each with its kind.
    pub leftovers: Vec<String>,
}

/// What [`Engine::gc`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// The rehearsals whose objects had expired, or that had died.
    pub rehearsals: Vec<String>,
    /// How many objects were removed.
    pub removed_objects: u64,
    /// Expired objects that could not be removed.
    pub leftovers: Vec<String>,
    /// Objects with a rehearsal's label that were not provably created by this machine, each with the reason. They
    /// stay.
    pub left_alone: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    kind: ScratchKind,
    id: String,
    name: String,
    claim: Result<Claim, String>,
}

impl Object {
    fn shown(&self) -> String {
        format!("{} {}", self.kind.word(), self.name)
    }
}

/// The objects of a listing that should be removed, and those that are left alone with the reason.
fn sorted(objects: Vec<Object>, goes: impl Fn(&Claim) -> bool) -> (Vec<(Object, RehearsalId)>, Vec<String>) {
    let (mut doomed, mut left_alone) = (Vec::new(), Vec::new());
    for object in objects {
        match &object.claim {
            Ok(claim) if goes(claim) => {
                let id = claim.id.clone();
                doomed.push((object, id));
            }
            Ok(_) => {}
            Err(reason) => left_alone.push(format!("{}: {reason}", object.shown())),
        }
    }
    (doomed, left_alone)
}

impl Engine {
    /// Removes every object of `owner`. What cannot be removed is listed, not an error.
    pub async fn clear(&self, owner: &Ownership) -> Result<Cleared, EngineError> {
        let label = format!("{REHEARSAL_LABEL}={}", owner.id);
        // A process that hangs while starting would keep the engine from removing its container.
        cgroup::kill(|id| *id == owner.id);
        let mut collected = self.remove(&label, owner.key(), |claim| claim.id == owner.id).await?;
        collected.leftovers.extend(remove_groups(|id| *id == owner.id).await);
        Ok(Cleared { removed_objects: collected.removed_objects, leftovers: collected.leftovers })
    }

    /// Removes leftovers of this machine's rehearsals that have expired at `now`, or that `dead` names.
    pub async fn gc(
        &self,
        key: &MachineKey,
        now: Timestamp,
        dead: &BTreeSet<RehearsalId>,
    ) -> Result<Collected, EngineError> {
        cgroup::kill(|id| dead.contains(id));
        let goes = |claim: &Claim| claim.expires < now || dead.contains(&claim.id);
        let mut collected = self.remove(REHEARSAL_LABEL, key, goes).await?;
        let gone: BTreeSet<String> =
            dead.iter().map(ToString::to_string).chain(collected.rehearsals.iter().cloned()).collect();
        collected.leftovers.extend(remove_groups(|id| gone.contains(&id.to_string())).await);
        Ok(collected)
    }

    async fn remove(
        &self,
        label: &str,
        key: &MachineKey,
        goes: impl Fn(&Claim) -> bool,
    ) -> Result<Collected, EngineError> {
        let mut seen = BTreeSet::new();
        let mut rehearsals = BTreeSet::new();
        let (mut left, mut left_alone) = sorted(self.scratch_objects(label, key).await?, &goes);
        for round in 0..ROUNDS {
            if left.is_empty() {
                break;
            }
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let mut guarded = BTreeSet::new();
            for (object, id) in &left {
                rehearsals.insert(id.to_string());
                if object.kind == ScratchKind::Filter {
                    // Keep the barrier until nothing is behind it any more.
                    if guarded.contains(id) {
                        continue;
                    }
                } else {
                    seen.insert((object.kind, object.id.clone()));
                }
                // The next round's listing shows whether it worked.
                if let Err(error) = self.remove_object(object).await {
                    tracing::debug!("{}: {error}", object.shown());
                    if matches!(object.kind, ScratchKind::Container | ScratchKind::Network) {
                        guarded.insert(id.clone());
                    }
                }
            }
            (left, left_alone) = sorted(self.scratch_objects(label, key).await?, &goes);
        }
        let there = left.iter().filter(|(object, _)| object.kind != ScratchKind::Filter).count();
        let leftovers: BTreeSet<String> = left.iter().map(|(object, _)| object.shown()).collect();
        Ok(Collected {
            rehearsals: rehearsals.into_iter().collect(),
            removed_objects: seen.len().saturating_sub(there) as u64,
            leftovers: leftovers.into_iter().collect(),
            left_alone,
        })
    }

    async fn remove_object(&self, object: &Object) -> Result<(), EngineError> {
        let operation = format!("remove {}", object.shown());
        let client = self.client();
        match object.kind {
            ScratchKind::Container => {
                // `v` also removes the anonymous volumes that the engine created for it. Only containers with our mark
                // get here, and they mount only scratch volumes.
                let options = RemoveContainerOptions { force: true, v: true, link: false };
                client.remove_container(&object.id, Some(options)).await.map_err(EngineError::call(operation))
            }
            ScratchKind::Volume => self.remove_volume(&object.id).await,
            ScratchKind::Network => {
                client.remove_network(&object.id).await.map_err(EngineError::call(operation))
            }
            ScratchKind::Image => {
                // By our tag: if the image has another name as well, it stays under that one.
                let options = RemoveImageOptions { force: false, ..Default::default() };
                client
                    .remove_image(&object.name, Some(options), None)
                    .await
                    .map(drop)
                    .map_err(EngineError::call(operation))
            }
            ScratchKind::Filter => filter::remove(&object.id).await,
        }
    }

    /// Every object with `label`, in the order in which they can be removed, each judged with `key`.
    async fn scratch_objects(&self, label: &str, key: &MachineKey) -> Result<Vec<Object>, EngineError> {
        let mut objects = Vec::new();
        let filters = [("label", label)];
        let containers = self
            .get(&filtered("/containers/json?all=true", &filters), "list the containers of rehearsals")
            .await?;
        for document in list(&containers) {
            let name = text(&document["Names"][0]).trim_start_matches('/').to_owned();
            let mut found =
                object(key, ScratchKind::Container, text(&document["Id"]), name, &document["Labels"]);
            if found.claim.is_ok() && self.inherits_its_mark(document).await? {
                found.claim = Err("it has its mark from its image".to_owned());
            }
            objects.push(found);
        }
        let volumes = self.get(&filtered("/volumes", &filters), "list the volumes of rehearsals").await?;
        objects.extend(
            list(&volumes["Volumes"])
                .iter()
                .map(|v| object(key, ScratchKind::Volume, text(&v["Name"]), text(&v["Name"]), &v["Labels"])),
        );
        let networks = self.get(&filtered("/networks", &filters), "list the networks of rehearsals").await?;
        objects.extend(
            list(&networks)
                .iter()
                .map(|n| object(key, ScratchKind::Network, text(&n["Id"]), text(&n["Name"]), &n["Labels"])),
        );
        let images = self.get(&filtered("/images/json", &filters), "list the images of rehearsals").await?;
        objects.extend(list(&images).iter().map(|i| {
            let tag = our_tag(&i["RepoTags"]).unwrap_or_else(|| text(&i["Id"]));
            object(key, ScratchKind::Image, text(&i["Id"]), tag, &i["Labels"])
        }));
        for rule in filter::left().await? {
            // The packet filter cannot be queried by label, so select the rules of the rehearsal in question.
            if label == REHEARSAL_LABEL || label.ends_with(rule.labels[REHEARSAL_LABEL].as_str()) {
                let claim = key.claim(ScratchKind::Filter, &rule.name, &rule.labels);
                objects.push(Object { kind: ScratchKind::Filter, id: rule.line, name: rule.name, claim });
            }
        }
        Ok(objects)
    }

    /// Whether a listed container's mark comes from its image.
    async fn inherits_its_mark(&self, container: &Value) -> Result<bool, EngineError> {
        let image = match self.image_document(&text(&container["ImageID"])).await {
            Ok(image) => image,
            Err(error) if error.is_absent() => return Ok(false),
            Err(error) => return Err(error),
        };
        let mark = &container["Labels"][MARK_LABEL];
        Ok(image["Config"]["Labels"][MARK_LABEL] == *mark)
    }
}

/// Removes the control groups of rehearsals, and returns those that stay. An empty one is useless to anybody, and one
/// with processes cannot be removed.
async fn remove_groups(goes: impl Fn(&RehearsalId) -> bool) -> Vec<String> {
    let mut stay = Vec::new();
    for round in 0..ROUNDS {
        stay.clear();
        for (id, folders) in cgroup::left().into_iter().filter(|(id, _)| goes(id)) {
            for folder in folders {
                if let Err(error) = cgroup::remove(&folder).await {
                    tracing::debug!("{}: {error}", folder.display());
                    stay.push(format!("control group lifeboat-{id}"));
                }
            }
        }
        if stay.is_empty() || round + 1 == ROUNDS {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    stay.dedup();
    stay
}

/// The tag among an image's that a rehearsal would have given it.
fn our_tag(tags: &Value) -> Option<String> {
    list(tags)
        .iter()
        .filter_map(Value::as_str)
        .find(|t| t.starts_with("lifeboat-rehearsal:"))
        .map(str::to_owned)
}

fn object(key: &MachineKey, kind: ScratchKind, id: String, name: String, labels: &Value) -> Object {
    let labels: BTreeMap<String, String> = pairs(labels);
    let claim = key.claim(kind, &name, &labels);
    Object { kind, id, name, claim }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_claimed_stays_and_is_named_with_the_reason() {
        let id = RehearsalId::parse("0123456789abcdef").unwrap();
        let one = |name: &str, claim| Object {
            kind: ScratchKind::Volume,
            id: name.to_owned(),
            name: name.to_owned(),
            claim,
        };
        let dated = |second| Ok(Claim { id: id.clone(), expires: Timestamp::from_second(second).unwrap() });
        let objects = vec![
            one("old", dated(1)),
            one("young", dated(100)),
            one("foreign", Err("it is not ours".into())),
        ];
        let (doomed, left_alone) =
            sorted(objects, |claim| claim.expires < Timestamp::from_second(50).unwrap());
        assert_eq!(doomed.iter().map(|(o, _)| o.name.as_str()).collect::<Vec<_>>(), ["old"]);
        assert_eq!(left_alone, ["volume foreign: it is not ours"]);
    }
}
