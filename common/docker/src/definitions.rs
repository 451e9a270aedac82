//! What an application consists of besides its data: the engine's descriptions of its containers, images, networks and
//! volumes, kept verbatim, and the parts of them that a rehearsal needs.
//!
//! These documents contain secrets (environment variables, labels). They are stored encrypted, and `Debug` shows names
//! only.

mod secrets;

pub use self::secrets::{as_typed, secrets_within};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::EngineError;
use crate::document::{keys, list, pairs, some_text, some_texts, text, texts};
use crate::engine::{Engine, EngineFacts};
use crate::order::Depends;
use crate::own_labels::own;
use crate::selection::{Dependency, Selection, Service};

/// The version of the stored document that this code writes and reads.
const VERSION: u32 = 1;

/// The minimum length of redacted values, in bytes. A shorter one would also be found in the middle of words.
pub(crate) const SHORTEST_SECRET: usize = 4;

/// The largest stored document that is read, in bytes.
pub const DEFINITIONS_BYTES: usize = 64 << 20;

/// Everything about an application that is not in its volumes, as it was at one moment.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Definitions {
    /// The document's version.
    version: u32,
    /// When it was captured.
    pub captured_at: Timestamp,
    /// The engine that it was captured from.
    pub engine: EngineFacts,
    /// `GET /containers/{id}/json` of each container.
    pub containers: Vec<Value>,
    /// `GET /images/{id}/json` of each image that a container uses.
    pub images: Vec<Value>,
    /// `GET /networks/{id}` of each network that a container is in.
    pub networks: Vec<Value>,
    /// `GET /volumes/{name}` of each volume.
    pub volumes: Vec<Value>,
}

/// The parts of a container that define it, without what belonged to one run of it.
#[derive(Clone, Default, PartialEq)]
pub struct ContainerParts {
    /// Its id at capture.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// Whether it was running at capture.
    pub running: bool,
    /// Its place in a compose project.
    pub service: Option<Service>,
    /// What must be up before it.
    pub depends_on: Vec<Dependency>,
    /// The name under which its image was used; the tag may point to another image by now.
    pub image_reference: String,
    /// The id of its image at capture.
    pub image_id: String,
    /// Its environment, both the image's and the user's, as `NAME=value`.
    pub env: Vec<String>,
    /// Its command, if it has one.
    pub cmd: Option<Vec<String>>,
    /// Its entry point, if it has one.
    pub entrypoint: Option<Vec<String>>,
    /// The user that it runs as; empty for the image's.
    pub user: String,
    /// Its working directory; empty for the image's.
    pub working_dir: String,
    /// The host name that the user gave it; `None` if the engine chose one.
    pub hostname: Option<String>,
    /// Its domain name.
    pub domain_name: String,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input stays open.
    pub open_stdin: bool,
    /// Its health check, in the engine's form.
    pub healthcheck: Option<Value>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// How long it has to stop.
    pub stop_timeout: Option<Duration>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What is mounted into it.
    pub mounts: Vec<MountPart>,
    /// Folders in memory, with their options.
    pub tmpfs: BTreeMap<String, String>,
    /// The networks that it is in, by name.
    pub networks: BTreeMap<String, NetworkPart>,
    /// The engine's network mode: a network's name, `host`, `none`, or `container:<id>`.
    pub network_mode: String,
    /// The engine's host settings, verbatim.
    pub host: Value,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPart {
    /// Its kind.
    pub kind: MountKind,
    /// Its path in the container.
    pub destination: String,
    /// Whether the container may write to it.
    pub read_write: bool,
}

/// The kinds of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A volume, by name.
    Volume(String),
    /// A path of the host.
    Bind(String),
    /// A folder in memory.
    Memory,
    /// Something else, by the engine's name for it.
    Other(String),
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPart {
    /// Its names there, without the engine's own.
    pub aliases: Vec<String>,
    /// Its fixed addresses.
    pub fixed_addresses: Vec<String>,
}

/// The parts of an image that a rehearsal needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageParts {
    /// Its id.
    pub id: String,
    /// The names with digests that registries have for it; empty for an image that was never pushed or pulled.
    pub digests: Vec<String>,
    /// The paths that the image declares as volumes.
    pub volumes: Vec<String>,
    /// The image's own environment.
    pub env: Vec<String>,
    /// Operating system and architecture.
    pub platform: String,
    /// The labels that its containers inherit.
    pub labels: BTreeMap<String, String>,
}

impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.containers.iter().map(|c| text(&c["Name"])).collect();
        f.debug_struct("Definitions")
            .field("captured_at", &self.captured_at)
            .field("containers", &names)
            .field("images", &self.images.len())
            .field("networks", &self.networks.len())
            .field("volumes", &self.volumes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ContainerParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerParts")
            .field("name", &self.name)
            .field("image_reference", &self.image_reference)
            .field("image_id", &self.image_id)
            .finish_non_exhaustive()
    }
}

impl Definitions {
    /// The name of the document in a snapshot.
    pub const DOCUMENT: &'static str = "definitions";

    /// The stored form.
    ///
    /// # Panics
    /// Never: JSON values and texts always serialise.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("JSON values always serialise")
    }

    /// Parses the stored form.
    ///
    /// # Errors
    ///
    /// [`EngineError::Definitions`] if it is too large, malformed, or of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        if bytes.len() > DEFINITIONS_BYTES {
            return Err(EngineError::Definitions { reason: format!("they are {} bytes long", bytes.len()) });
        }
        let read: Self = serde_json::from_slice(bytes)
            .map_err(|error| EngineError::Definitions { reason: error.to_string() })?;
        if read.version != VERSION {
            return Err(EngineError::Definitions {
                reason: format!(
                    "they are of version {}, and this program reads version {VERSION}",
                    read.version
                ),
            });
        }
        Ok(read)
    }

    /// The containers' parts, in the order of capture.
    pub fn container_parts(&self) -> Result<Vec<ContainerParts>, EngineError> {
        let parts = |document: &Value| {
            let image = self.image_parts(&text(&document["Image"]));
            ContainerParts::from_document(document, image.as_ref())
        };
        self.containers.iter().map(parts).collect()
    }

    /// The Compose projects of the containers, which people use as the application's name.
    pub fn application(&self) -> Option<String> {
        let parts = self.container_parts().unwrap_or_default();
        let projects = parts.into_iter().filter_map(|parts| Some(parts.service?.project));
        let projects: Vec<String> = projects.collect::<BTreeSet<_>>().into_iter().collect();
        (!projects.is_empty()).then(|| projects.join(", "))
    }

    /// The parts of the image with this id, if it was captured.
    pub fn image_parts(&self, id: &str) -> Option<ImageParts> {
        self.images.iter().find(|image| image["Id"] == id).map(ImageParts::from_document)
    }
}

impl ContainerParts {
    /// Parses the engine's description of a container; `image` is its image, if that is known.
    ///
    /// # Errors
    ///
    /// [`EngineError::Definitions`] if it has no id or no image.
    pub fn from_document(document: &Value, image: Option<&ImageParts>) -> Result<Self, EngineError> {
        let (config, host) = (&document["Config"], &document["HostConfig"]);
        let missing = |what: &str| EngineError::Definitions { reason: format!("a container has no {what}") };
        let id = some_text(&document["Id"]).ok_or_else(|| missing("id"))?;
        let name = text(&document["Name"]).trim_start_matches('/').to_owned();
        let labels = own(pairs(&config["Labels"]), image.map(|image| &image.labels));
        // If the user gave no host name, the engine uses the first twelve digits of the id.
        let hostname = some_text(&config["Hostname"]).filter(|name| !id.starts_with(name.as_str()));
        Ok(Self {
            running: document["State"]["Running"].as_bool().unwrap_or(false),
            service: Service::from_labels(&labels),
            depends_on: Dependency::from_labels(&labels),
            image_reference: text(&config["Image"]),
            image_id: some_text(&document["Image"]).ok_or_else(|| missing("image"))?,
            env: texts(&config["Env"]),
            cmd: some_texts(&config["Cmd"]),
            entrypoint: some_texts(&config["Entrypoint"]),
            user: text(&config["User"]),
            working_dir: text(&config["WorkingDir"]),
            hostname,
            domain_name: text(&config["Domainname"]),
            tty: config["Tty"].as_bool().unwrap_or(false),
            open_stdin: config["OpenStdin"].as_bool().unwrap_or(false),
            healthcheck: Some(config["Healthcheck"].clone()).filter(|h| !h.is_null()),
            stop_signal: some_text(&config["StopSignal"]),
            stop_timeout: config["StopTimeout"].as_u64().map(Duration::from_secs),
            mounts: list(&document["Mounts"]).iter().map(MountPart::from_document).collect(),
            tmpfs: pairs(&host["Tmpfs"]),
            networks: networks(&document["NetworkSettings"]["Networks"], &id),
            network_mode: text(&host["NetworkMode"]),
            host: host.clone(),
            labels,
            name,
            id,
        })
    }

    /// Its name in plans and reports: the compose service, or else the container's name.
    pub fn service_name(&self) -> &str {
        self.service.as_ref().map_or(self.name.as_str(), |s| s.service.as_str())
    }

    /// The container whose network it shares, by id or name.
    pub fn shares_network_of(&self) -> Option<&str> {
        self.network_mode.strip_prefix("container:")
    }

    /// Values that may be secret: those of environment variables that were set by the user and not the image, except
    /// plain paths and words; and whatever is in the place of a password in a command or a health check.
    pub fn secret_values(&self, image: Option<&ImageParts>) -> Vec<String> {
        let public: BTreeSet<&String> = image.map(|image| image.env.iter().collect()).unwrap_or_default();
        let set: Vec<&str> = self
            .env
            .iter()
            .filter(|pair| !public.contains(pair))
            .filter_map(|pair| pair.split_once('='))
            .flat_map(|(name, value)| secrets::of_a_variable(name, value))
            .collect();
        let command = [&self.entrypoint, &self.cmd].into_iter().flatten().flatten();
        let command: Vec<String> = command.cloned().collect();
        let health = self.healthcheck.as_ref().map(|health| secrets::as_typed(&texts(&health["Test"])));
        let command = secrets::as_typed(&command);
        let texts = std::iter::once(&command).chain(&health).map(String::as_str).chain(set.iter().copied());
        let within: Vec<String> = texts.flat_map(secrets_within).map(str::to_owned).collect();
        let mut values: Vec<String> = set.into_iter().map(str::to_owned).chain(within).collect();
        values.retain(|value| value.len() >= SHORTEST_SECRET);
        values
    }
}

impl Depends for ContainerParts {
    fn names(&self) -> Vec<String> {
        let mut names = vec![format!("container {}", self.id), format!("container {}", self.name)];
        names.extend(self.service.iter().map(|s| format!("service {}/{}", s.project, s.service)));
        names
    }

    fn needs(&self) -> Vec<String> {
        let mut needs: Vec<String> =
            self.shares_network_of().map(|other| format!("container {other}")).into_iter().collect();
        if let Some(service) = &self.service {
            needs
                .extend(self.depends_on.iter().map(|d| format!("service {}/{}", service.project, d.service)));
        }
        // Links and shared volumes name a container, before a colon.
        for key in ["Links", "VolumesFrom"] {
            for entry in texts(&self.host[key]) {
                let other = entry.split(':').next().unwrap_or_default().trim_start_matches('/').to_owned();
                needs.push(format!("container {other}"));
            }
        }
        needs
    }
}

impl MountPart {
    fn from_document(document: &Value) -> Self {
        let kind = match text(&document["Type"]).as_str() {
            "volume" => MountKind::Volume(text(&document["Name"])),
            "bind" => MountKind::Bind(text(&document["Source"])),
            "tmpfs" => MountKind::Memory,
            other => MountKind::Other(other.to_owned()),
        };
        Self {
            kind,
            destination: text(&document["Destination"]),
            read_write: document["RW"].as_bool().unwrap_or(true),
        }
    }
}

impl ImageParts {
    /// Parses the engine's description of an image.
    pub fn from_document(document: &Value) -> Self {
        Self {
            id: text(&document["Id"]),
            digests: texts(&document["RepoDigests"]),
            volumes: keys(&document["Config"]["Volumes"]),
            env: texts(&document["Config"]["Env"]),
            platform: format!("{}/{}", text(&document["Os"]), text(&document["Architecture"])),
            labels: pairs(&document["Config"]["Labels"]),
        }
    }
}

fn networks(document: &Value, id: &str) -> BTreeMap<String, NetworkPart> {
    let Some(map) = document.as_object() else { return BTreeMap::new() };
    map.iter()
        .map(|(name, endpoint)| {
            // The engine adds the short id as an alias, which belongs to one run.
            let aliases =
                texts(&endpoint["Aliases"]).into_iter().filter(|a| !id.starts_with(a.as_str())).collect();
            let fixed = &endpoint["IPAMConfig"];
            let fixed_addresses =
                ["IPv4Address", "IPv6Address"].iter().filter_map(|key| some_text(&fixed[*key]));
            (name.clone(), NetworkPart { aliases, fixed_addresses: fixed_addresses.collect() })
        })
        .collect()
}

impl Engine {
    /// Captures the definitions of `selection`: its containers, their images and networks, and its volumes.
    pub async fn capture(&self, selection: &Selection, now: Timestamp) -> Result<Definitions, EngineError> {
        let mut definitions = Definitions {
            version: VERSION,
            captured_at: now,
            engine: self.facts().clone(),
            containers: Vec::new(),
            images: Vec::new(),
            networks: Vec::new(),
            volumes: selection.volumes.iter().map(|volume| volume.document.clone()).collect(),
        };
        let mut images = BTreeSet::new();
        let mut networks = BTreeSet::new();
        for container in &selection.containers {
            let document = match self.container_document(&container.id).await {
                Ok(document) => document,
                // It ended and was removed after it was selected.
                Err(error) if error.is_absent() => continue,
                Err(error) => return Err(error),
            };
            images.insert(text(&document["Image"]));
            if let Some(map) = document["NetworkSettings"]["Networks"].as_object() {
                networks.extend(map.values().filter_map(|endpoint| some_text(&endpoint["NetworkID"])));
            }
            definitions.containers.push(document);
        }
        for id in images {
            match self.get(&format!("/images/{id}/json"), "describe an image").await {
                Ok(document) => definitions.images.push(document),
                // A container outlives the removal of its image; the container's own document has the image's id.
                Err(error) if error.is_absent() => tracing::warn!("image {id} is not on this host any more"),
                Err(error) => return Err(error),
            }
        }
        for id in networks {
            match self.get(&format!("/networks/{id}"), "describe a network").await {
                Ok(document) => definitions.networks.push(document),
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(definitions)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Definitions {
        Definitions {
            version: VERSION,
            captured_at: Timestamp::UNIX_EPOCH,
            engine: EngineFacts {
                id: "E".into(),
                version: "20.10.24".into(),
                api_version: "1.41".into(),
                kernel: "6".into(),
                platform: "linux/x86_64".into(),
                root: "/var/lib/docker".into(),
                memory_bytes: 1,
                processors: 1,
                shifted_ids: false,
            },
            containers: vec![json!({
                "Id": "abcdef123456".repeat(5), "Name": "/db", "Image": "sha256:1", "State": {"Running": true},
                "Config": {"Image": "postgres:15", "Hostname": "abcdef123456", "Env": ["PGDATA=/d", "PASSWORD=hunter22"]},
                "HostConfig": {"NetworkMode": "app", "Links": ["/cache:/db/cache"]},
                "NetworkSettings": {"Networks": {"app": {"Aliases": ["db", "abcdef123456"]}}},
                "Mounts": [{"Type": "volume", "Name": "pg", "Destination": "/d", "RW": true}],
            })],
            images: vec![json!({"Id": "sha256:1", "Config": {"Env": ["PGDATA=/d"], "Volumes": {"/d": {}}}})],
            networks: vec![],
            volumes: vec![],
        }
    }

    #[test]
    fn the_stored_form_comes_back_and_keeps_unknown_fields() {
        let mut definitions = example();
        definitions.containers[0]["FieldOfTheFuture"] = json!({"a": 1});
        assert_eq!(Definitions::from_bytes(&definitions.to_bytes()).unwrap(), definitions);
    }

    #[test]
    fn a_newer_version_and_nonsense_are_refused() {
        let mut definitions = example();
        definitions.version = 2;
        let error = Definitions::from_bytes(&definitions.to_bytes()).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        assert!(Definitions::from_bytes(b"{}").is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let definitions = example();
        let parts = definitions.container_parts().unwrap();
        assert!(!format!("{definitions:?} {parts:?}").contains("hunter22"));
    }

    #[test]
    fn an_application_is_called_by_its_compose_projects() {
        let mut definitions = example();
        assert_eq!(definitions.application(), None);
        definitions.containers[0]["Config"]["Labels"] =
            json!({"com.docker.compose.project": "shop", "com.docker.compose.service": "db"});
        definitions.containers.push(definitions.containers[0].clone());
        assert_eq!(definitions.application().as_deref(), Some("shop"));
    }

    #[test]
    fn what_belonged_to_one_run_is_left_out() {
        let parts = &example().container_parts().unwrap()[0];
        assert_eq!(parts.hostname, None);
        assert_eq!(parts.networks["app"].aliases, ["db"]);
        assert_eq!(parts.needs(), ["container cache"]);
    }

    #[test]
    fn only_values_that_the_user_set_are_secret() {
        let definitions = example();
        let parts = &definitions.container_parts().unwrap()[0];
        let image = definitions.image_parts("sha256:1");
        assert_eq!(parts.secret_values(image.as_ref()), ["hunter22"]);
    }
}
