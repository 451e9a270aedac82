//! Scratch copies of an application, for rehearsals: cut off from every network of this host, made without anything that
//! reaches out of a container, labelled, limited in size and in time, and removed to the last object.
//!
//! A [`Sandbox`] is one rehearsal's: a network of its own, named volumes, containers that [`sanitise`] has made harmless.
//! Before the first of them starts, [`Sandbox::prove_isolation`] shows from inside the network that this host cannot be
//! reached. Every object carries [`REHEARSAL_LABEL`](crate::ownership::REHEARSAL_LABEL) and
//! [`EXPIRES_LABEL`](crate::ownership::EXPIRES_LABEL), so that whatever a killed process leaves
//! is found and removed by the next run ([`Engine::gc`]).

mod boot;
mod clear;
mod exec;
mod isolation;
mod namespace;
mod probe;
pub mod sanitise;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{Ipam, NetworkCreateRequest};
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};

pub use self::boot::{NotReady, Ready, redacted};
pub use self::clear::{Cleared, Collected};
pub use self::exec::{ExecCommand, ExecOutput};
pub use self::isolation::Isolation;
use self::sanitise::Sanitised;
use crate::EngineError;
use crate::definitions::{ContainerParts, ImageParts};
use crate::engine::Engine;
use crate::ownership::Ownership;

/// A resolver that nobody can reach (RFC 5737), so that no name of the outside is ever asked for.
pub const NO_RESOLVER: &str = "192.0.2.1";

/// One rehearsal's network, volumes and containers.
#[derive(Debug)]
#[must_use = "a sandbox must be torn down"]
pub struct Sandbox {
    engine: Engine,
    owner: Ownership,
    network: String,
    gateways: Vec<String>,
    probe: Option<String>,
    isolation: Option<Isolation>,
    torn_down: bool,
}

/// A scratch volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScratchVolume {
    /// Its name.
    pub name: String,
    /// The volume that it stands for.
    pub stands_for: String,
    /// The folder on this host that holds its bytes.
    pub directory: PathBuf,
}

/// An image that a rehearsal may use: named by id, never by tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The name under which the application used it.
    pub reference: String,
    /// What the engine says of it now.
    pub parts: ImageParts,
    /// The digest by which a registry knows it, if it was ever in one.
    pub digest: Option<String>,
}

impl Engine {
    /// Makes the network of a new sandbox: internal, without an address of this host on it, and without IPv6.
    pub async fn sandbox(&self, owner: Ownership) -> Result<Sandbox, EngineError> {
        let request = NetworkCreateRequest {
            name: owner.network_name(),
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            attachable: Some(false),
            enable_ipv6: Some(false),
            ipam: Some(Ipam { driver: Some("default".to_owned()), ..Default::default() }),
            // Internal alone lets containers reach this host at the bridge's own address. Without an address there,
            // nothing on this host can be reached through it.
            options: Some(HashMap::from([(
                "com.docker.network.bridge.inhibit_ipv4".to_owned(),
                "true".to_owned(),
            )])),
            labels: Some(owner.labels("network").into_iter().collect()),
            ..Default::default()
        };
        let network = self
            .client()
            .create_network(request)
            .await
            .map_err(EngineError::call("create a scratch network"))?
            .id;
        let document = self.get(&format!("/networks/{network}"), "describe a network").await?;
        let gateways = crate::document::list(&document["IPAM"]["Config"])
            .iter()
            .filter_map(|config| crate::document::some_text(&config["Gateway"]))
            .collect();
        Ok(Sandbox {
            engine: self.clone(),
            owner,
            network,
            gateways,
            probe: None,
            isolation: None,
            torn_down: false,
        })
    }

    /// The image of a captured container: the one with the same id, or else one with a digest under which it was known.
    /// A tag is never followed.
    ///
    /// # Errors
    /// [`EngineError::ImageMissing`] when this host has neither.
    pub async fn resolve_image(
        &self,
        container: &ContainerParts,
        captured: Option<&ImageParts>,
    ) -> Result<ResolvedImage, EngineError> {
        let digests = captured.map(|image| image.digests.clone()).unwrap_or_default();
        let candidates = std::iter::once(container.image_id.clone()).chain(digests.iter().cloned());
        for candidate in candidates {
            match self.get(&format!("/images/{candidate}/json"), "describe an image").await {
                Ok(document) => {
                    let parts = ImageParts::from_document(&document);
                    let digest = digests.first().or(parts.digests.first()).cloned();
                    return Ok(ResolvedImage { reference: container.image_reference.clone(), parts, digest });
                }
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::ImageMissing {
            reference: container.image_reference.clone(),
            id: container.image_id.clone(),
        })
    }
}

impl Sandbox {
    /// Whose it is.
    pub fn owner(&self) -> &Ownership {
        &self.owner
    }

    /// The network's id.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Makes an empty volume that stands for the volume `original`.
    pub async fn volume(&self, original: &str) -> Result<ScratchVolume, EngineError> {
        let name = self.owner.volume_name(original);
        let volume = self.engine.create_volume(&name, &self.owner.labels(original)).await?;
        let directory = self.engine.volume_directory(&volume).await?;
        Ok(ScratchVolume { name, stands_for: original.to_owned(), directory })
    }

    /// Makes a container, not started, and the empty volumes that it needs. Gives its id.
    ///
    /// # Errors
    /// [`EngineError::IsolationUnproven`] before [`Sandbox::prove_isolation`] has succeeded: nothing of an application
    /// is made in a network that may leak.
    pub async fn create_container(&self, container: Sanitised) -> Result<String, EngineError> {
        if self.isolation.is_none() {
            return Err(EngineError::IsolationUnproven { reason: "it was not tried".to_owned() });
        }
        for empty in &container.empty_volumes {
            // Making one that exists gives the one that exists: two containers may share it.
            self.engine.create_volume(&empty.name, &self.owner.labels(&empty.stands_for)).await?;
        }
        let options = CreateContainerOptions { name: Some(container.name.clone()), ..Default::default() };
        let created = self
            .engine
            .client()
            .create_container(Some(options), *container.body)
            .await
            .map_err(EngineError::call(format!("create container `{}`", container.name)))?;
        Ok(created.id)
    }

    /// Starts a container.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        self.engine
            .client()
            .start_container(id, None::<StartContainerOptions>)
            .await
            .map_err(EngineError::call(format!("start container `{id}`")))
    }

    /// Whether `port` of the container `id` accepts a connection from inside the sandbox's network.
    ///
    /// # Errors
    /// [`EngineError::IsolationUnproven`] before the probe runs.
    pub async fn accepts_tcp(&self, id: &str, port: u16, timeout: Duration) -> Result<bool, EngineError> {
        let probe = self
            .probe
            .as_deref()
            .ok_or_else(|| EngineError::IsolationUnproven { reason: "no probe runs".to_owned() })?;
        let document = self.engine.container_document(id).await?;
        let own = &document["NetworkSettings"]["Networks"];
        let address = own
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::values)
            .filter_map(|endpoint| endpoint["IPAddress"].as_str())
            .find_map(|address| address.parse().ok());
        let Some(address) = address else {
            return Ok(false);
        };
        let probe = self.engine.container_document(probe).await?;
        let door = namespace::Door::open(&probe)?;
        let target = std::net::SocketAddr::new(address, port);
        let reached = tokio::task::spawn_blocking(move || door.reaches(&[target], timeout))
            .await
            .map_err(|error| EngineError::IsolationUnproven { reason: error.to_string() })??;
        Ok(!reached.is_empty())
    }

    /// Removes everything of this sandbox, and says what could not be removed.
    pub async fn tear_down(mut self) -> Result<Cleared, EngineError> {
        self.torn_down = true;
        self.engine.clear(&self.owner.id).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.torn_down {
            tracing::error!(
                "rehearsal {} was not cleared away; `lifeboat-restore gc` removes it after {}",
                self.owner.id,
                self.owner.expires
            );
        }
    }
}
