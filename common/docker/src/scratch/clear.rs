//! Removing every object of a rehearsal, and those that dead ones left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::query_parameters::{RemoveContainerOptions, RemoveImageOptions};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::EngineError;
use crate::document::{list, text};
use crate::engine::{Engine, filtered};
use crate::ownership::{EXPIRES_LABEL, REHEARSAL_LABEL, RehearsalId};

/// How often everything is gone over: an object can be busy for a moment after what used it has gone.
const ROUNDS: u32 = 6;

/// How long between rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// What clearing one rehearsal away came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cleared {
    /// How many objects were removed.
    pub removed_objects: u64,
    /// What is still there, each with its kind.
    pub leftovers: Vec<String>,
}

/// What [`Engine::gc`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// The rehearsals whose objects had expired.
    pub rehearsals: Vec<String>,
    /// How many objects were removed.
    pub removed_objects: u64,
    /// What is still there although it has expired.
    pub leftovers: Vec<String>,
    /// Objects with our label but without a time that can be read; they are left alone.
    pub undated: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Container,
    Volume,
    Network,
    Image,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    kind: Kind,
    id: String,
    name: String,
    rehearsal: String,
    expires: Option<Timestamp>,
}

impl Object {
    fn shown(&self) -> String {
        let kind = match self.kind {
            Kind::Container => "container",
            Kind::Volume => "volume",
            Kind::Network => "network",
            Kind::Image => "image",
        };
        format!("{kind} {}", self.name)
    }
}

impl Engine {
    /// Removes every object of the rehearsal `id`. What cannot be removed is named, not an error.
    pub async fn clear(&self, id: &RehearsalId) -> Result<Cleared, EngineError> {
        self.clear_label(&format!("{REHEARSAL_LABEL}={id}")).await
    }

    /// Removes what rehearsals have left whose time is up at `now`.
    pub async fn gc(&self, now: Timestamp) -> Result<Collected, EngineError> {
        let mut collected = Collected::default();
        let mut over: BTreeMap<String, bool> = BTreeMap::new();
        for object in self.scratch_objects(REHEARSAL_LABEL).await? {
            match object.expires {
                // A rehearsal is over only when its last object has expired.
                Some(expires) => *over.entry(object.rehearsal).or_insert(true) &= expires < now,
                None => collected.undated.push(object.shown()),
            }
        }
        for (rehearsal, _) in over.into_iter().filter(|(_, over)| *over) {
            let cleared = self.clear_label(&format!("{REHEARSAL_LABEL}={rehearsal}")).await?;
            collected.removed_objects += cleared.removed_objects;
            collected.leftovers.extend(cleared.leftovers);
            collected.rehearsals.push(rehearsal);
        }
        Ok(collected)
    }

    async fn clear_label(&self, label: &str) -> Result<Cleared, EngineError> {
        let mut seen = BTreeSet::new();
        let mut left = Vec::new();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            left = self.scratch_objects(label).await?;
            if left.is_empty() {
                break;
            }
            for object in &left {
                seen.insert((object.kind, object.id.clone()));
                // The list of the next round tells whether it worked.
                if let Err(error) = self.remove_object(object).await {
                    tracing::debug!("{}: {error}", object.shown());
                }
            }
            left = self.scratch_objects(label).await?;
            if left.is_empty() {
                break;
            }
        }
        let leftovers: Vec<String> = left.iter().map(Object::shown).collect();
        Ok(Cleared { removed_objects: (seen.len() - leftovers.len().min(seen.len())) as u64, leftovers })
    }

    async fn remove_object(&self, object: &Object) -> Result<(), EngineError> {
        let operation = format!("remove {}", object.shown());
        let client = self.client();
        match object.kind {
            Kind::Container => {
                // `v` also takes the nameless volumes that an engine made for it.
                let options = RemoveContainerOptions { force: true, v: true, link: false };
                client.remove_container(&object.id, Some(options)).await.map_err(EngineError::call(operation))
            }
            Kind::Volume => self.remove_volume(&object.id).await,
            Kind::Network => client.remove_network(&object.id).await.map_err(EngineError::call(operation)),
            Kind::Image => {
                let options = RemoveImageOptions { force: true, ..Default::default() };
                client
                    .remove_image(&object.id, Some(options), None)
                    .await
                    .map(drop)
                    .map_err(EngineError::call(operation))
            }
        }
    }

    /// Every object with `label`, in the order in which they can be removed.
    async fn scratch_objects(&self, label: &str) -> Result<Vec<Object>, EngineError> {
        let mut objects = Vec::new();
        let filters = [("label", label)];
        let containers = self
            .get(&filtered("/containers/json?all=true", &filters), "list the containers of rehearsals")
            .await?;
        objects.extend(list(&containers).iter().map(|c| {
            let name = text(&c["Names"][0]).trim_start_matches('/').to_owned();
            object(Kind::Container, text(&c["Id"]), name, &c["Labels"])
        }));
        let volumes = self.get(&filtered("/volumes", &filters), "list the volumes of rehearsals").await?;
        objects.extend(
            list(&volumes["Volumes"])
                .iter()
                .map(|v| object(Kind::Volume, text(&v["Name"]), text(&v["Name"]), &v["Labels"])),
        );
        let networks = self.get(&filtered("/networks", &filters), "list the networks of rehearsals").await?;
        objects.extend(
            list(&networks)
                .iter()
                .map(|n| object(Kind::Network, text(&n["Id"]), text(&n["Name"]), &n["Labels"])),
        );
        let images = self.get(&filtered("/images/json", &filters), "list the images of rehearsals").await?;
        objects.extend(
            list(&images).iter().map(|i| object(Kind::Image, text(&i["Id"]), text(&i["Id"]), &i["Labels"])),
        );
        Ok(objects)
    }
}

fn object(kind: Kind, id: String, name: String, labels: &Value) -> Object {
    Object {
        kind,
        id,
        name,
        rehearsal: text(&labels[REHEARSAL_LABEL]),
        expires: text(&labels[EXPIRES_LABEL]).parse().ok(),
    }
}
