//! Scratch copies of an application, for rehearsals: isolated from every network of this host, created without anything
//! that reaches out of a container, labelled, limited in size and time, and removed completely.
//!
//! A [`Sandbox`] belongs to one rehearsal: a network of its own, named volumes, containers that [`sanitise`] has made
//! harmless. Two barriers separate its network from this host, either of which is enough against a container without
//! special rights: settings of the bridge (`bridge`) and rules of the packet filter (`filter`). Before the first
//! container starts, [`Sandbox::prove_isolation`] proves from inside the network that this host cannot be reached, and
//! [`Sandbox::prove_again`] proves it later from every container's own. Every object carries the marks of
//! [`ownership`](crate::ownership), so that the next run finds and removes what a killed process leaves
//! ([`Engine::gc`]).

mod attack;
mod boot;
mod bridge;
mod cgroup;
mod clear;
pub mod disk;
mod exec;
mod filter;
mod frames;
mod host_program;
mod image;
mod isolation;
mod links;
mod namespace;
mod network;
mod permitted;
mod probe;
pub mod sanitise;
mod seccomp;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::models::{Ipam, NetworkCreateRequest};
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};

pub use self::boot::{NotReady, Ready};
use self::bridge::Bridge;
use self::cgroup::Cgroup;
pub use self::cgroup::Together;
pub use self::clear::{Cleared, Collected};
use self::disk::Disk;
pub use self::exec::{ExecCommand, ExecOutput};
use self::filter::Filter;
pub use self::image::ResolvedImage;
pub use self::isolation::Isolation;
use self::sanitise::{Sanitised, Walls};
use crate::EngineError;
use crate::engine::Engine;
use crate::ownership::{Ownership, ScratchKind};
use crate::selection::Volume;

/// A resolver that nobody can reach (RFC 5737), so that no outside name is ever looked up.
pub const NO_RESOLVER: &str = "192.0.2.1";

/// One rehearsal's network, volumes and containers.
#[derive(Debug)]
#[must_use = "a sandbox must be torn down"]
pub struct Sandbox {
    engine: Engine,
    owner: Ownership,
    network: String,
    bridge: Bridge,
    filter: Filter,
    cgroup: Cgroup,
    together: Together,
    gateways: Vec<String>,
    disk: Option<Disk>,
    probe: Option<String>,
    isolation: Option<Isolation>,
    /// Whether a container of the application has been started.
    has_started: AtomicBool,
    torn_down: bool,
}

/// A scratch volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScratchVolume {
    /// Its name.
    pub name: String,
    /// The original volume.
    pub stands_for: String,
    /// The folder on this host that holds its bytes.
    pub directory: PathBuf,
}

impl Engine {
    /// Creates the network of a new sandbox: internal, without an address of this host on it, without IPv6, and behind
    /// two barriers. Everything in it uses at most `together`.
    ///
    /// # Errors
    ///
    /// [`EngineError::WallMissing`] if a barrier cannot be set up; nothing is left then.
    pub async fn sandbox(&self, owner: Ownership, together: Together) -> Result<Sandbox, EngineError> {
        Filter::available().await?;
        let wanting = |wall, reason: &str, advice: &str| EngineError::WallMissing {
            wall,
            reason: reason.to_owned(),
            advice: advice.to_owned(),
        };
        if !self.means().filters_calls {
            return Err(wanting(
                "system call filter",
                "the engine has no seccomp",
                "run the drill where kernel and engine have it; nothing was restored",
            ));
        }
        let cgroups = self.means().cgroups.ok_or_else(|| {
            wanting(
                "control group",
                "the engine makes no control groups",
                "run the drill where nothing limits the engine to a part of them; nothing was restored",
            )
        })?;
        let bridge = owner.bridge_name();
        let name = owner.network_name();
        let option =
            |name: &str, value: &str| (format!("com.docker.network.bridge.{name}"), value.to_owned());
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            attachable: Some(false),
            enable_ipv6: Some(false),
            ipam: Some(Ipam { driver: Some("default".to_owned()), ..Default::default() }),
            // "Internal" alone lets containers reach this host at the bridge's own address. Without an address there,
            // nothing on this host can be reached through it over IPv4.
            options: Some(HashMap::from([option("inhibit_ipv4", "true"), option("name", &bridge)])),
            labels: Some(owner.labels(ScratchKind::Network, &name, "network").into_iter().collect()),
            ..Default::default()
        };
        let network = self.create_small_network(request, &owner, together.containers).await?;
        let mut sandbox = Sandbox {
            engine: self.clone(),
            bridge: Bridge::new(&bridge),
            filter: Filter::new(&owner),
            cgroup: Cgroup::new(&owner.id, cgroups),
            together,
            owner,
            network,
            gateways: Vec::new(),
            disk: None,
            probe: None,
            isolation: None,
            has_started: AtomicBool::new(false),
            torn_down: false,
        };
        match sandbox.raise_walls().await {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                match sandbox.tear_down().await {
                    Ok(cleared) if cleared.leftovers.is_empty() => {}
                    Ok(cleared) => tracing::error!("left behind: {}", cleared.leftovers.join(", ")),
                    Err(error) => tracing::error!("the scratch network may be left behind: {error}"),
                }
                Err(error)
            }
        }
    }
}

impl Sandbox {
    async fn raise_walls(&mut self) -> Result<(), EngineError> {
        self.bridge.raise()?;
        self.filter.raise().await?;
        self.cgroup.raise(self.together).await?;
        let document = self.engine.get(&format!("/networks/{}", self.network), "describe a network").await?;
        self.gateways = crate::document::list(&document["IPAM"]["Config"])
            .iter()
            .filter_map(|config| crate::document::some_text(&config["Gateway"]))
            .collect();
        Ok(())
    }

    /// What is missing from the two barriers.
    async fn faults(&self) -> Result<Vec<String>, EngineError> {
        let mut faults = self.bridge.faults();
        faults.extend(self.cgroup.faults(self.together));
        match self.filter.faults().await {
            Ok(found) => faults.extend(found),
            Err(error) => return Err(EngineError::IsolationUnproven { reason: error.to_string() }),
        }
        Ok(faults)
    }

    /// The resources of which its containers wanted more than they may have, each or together: `memory`, `processes`.
    pub fn limits_reached(&self) -> Vec<&'static str> {
        self.cgroup.reached()
    }

    /// Its owner.
    pub fn owner(&self) -> &Ownership {
        &self.owner
    }

    /// The restrictions of every container in this sandbox, started with the engine's own runtime or with `runtime`.
    pub fn walls(&self, runtime: Option<&str>) -> Walls {
        let (cgroup, calls) = (self.cgroup.parent(), seccomp::profile());
        Walls { cgroup, calls, runtime: runtime.map(str::to_owned) }
    }

    /// The network's id.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Gives the volumes that are created from now on a common file system of `bytes`, in `folder`, which nobody else
    /// can access. Returns where it is mounted.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoDisk`] if it cannot be created, or if the engine does not see it.
    pub async fn limit_volumes(&mut self, folder: &Path, bytes: u64) -> Result<PathBuf, EngineError> {
        let disk = Disk::make(&self.engine, folder, bytes).await?;
        Ok(self.disk.insert(disk).mounted().to_owned())
    }

    /// Creates an empty volume for the volume `original`.
    pub async fn volume(&self, original: &str) -> Result<ScratchVolume, EngineError> {
        let name = self.owner.volume_name(original);
        let (volume, folder) = self.make_volume(&name, original).await?;
        let directory = match folder {
            Some(folder) => folder,
            None => self.engine.volume_directory(&volume).await?,
        };
        Ok(ScratchVolume { name, stands_for: original.to_owned(), directory })
    }

    /// Creates the scratch volume `name`, and returns its folder, if that is not one of the engine's own. If it exists,
    /// returns the existing one: two containers may share it.
    async fn make_volume(
        &self,
        name: &str,
        stands_for: &str,
    ) -> Result<(Volume, Option<PathBuf>), EngineError> {
        let folder = self.disk.as_ref().map(|disk| disk.folder_of(name)).transpose()?;
        let labels = self.owner.labels(ScratchKind::Volume, name, stands_for);
        Ok((self.engine.create_volume(name, &labels, folder.as_deref()).await?, folder))
    }

    /// Creates a container without starting it, and the empty volumes that it needs. Returns its id.
    ///
    /// # Errors
    ///
    /// [`EngineError::IsolationUnproven`] before [`Sandbox::prove_isolation`] has succeeded: nothing of an application
    /// is created in a network that may leak. The same once one has been started: the engine fills volumes and resolves
    /// paths from this host, and a running program could change where they lead.
    pub async fn create_container(&self, container: Sanitised) -> Result<String, EngineError> {
        if self.isolation.is_none() {
            return Err(EngineError::IsolationUnproven { reason: "it was not tried".to_owned() });
        }
        if self.has_started.load(Ordering::SeqCst) {
            let reason =
                "containers run already, and what is made beside them could be led astray".to_owned();
            return Err(EngineError::IsolationUnproven { reason });
        }
        for empty in &container.empty_volumes {
            self.make_volume(&empty.name, &empty.stands_for).await?;
        }
        let options = CreateContainerOptions { name: Some(container.name.clone()), ..Default::default() };
        let created = self
            .engine
            .client()
            .create_container(Some(options), *container.body)
            .await
            .map_err(EngineError::call(format!("create container `{}`", container.name)))?;
        let paths = container.paths.iter().map(String::as_str);
        if let Some(links::LeadsOut { path, to }) = self.engine.leads_out(&created.id, paths).await? {
            return Err(EngineError::Definitions {
                reason: format!(
                    "the image of `{}` leads {path} to {to}, which belongs to the system",
                    container.name
                ),
            });
        }
        Ok(created.id)
    }

    /// Starts a container.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        self.has_started.store(true, Ordering::SeqCst);
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
        if document["HostConfig"]["NetworkMode"] == "none" {
            return knock(
                namespace::NetworkNamespace::open(&document)?,
                (Ipv4Addr::LOCALHOST, port).into(),
                timeout,
            )
            .await;
        }
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
        knock(namespace::NetworkNamespace::open(&probe)?, SocketAddr::new(address, port), timeout).await
    }

    /// Removes everything of this sandbox, and returns what could not be removed.
    pub async fn tear_down(mut self) -> Result<Cleared, EngineError> {
        self.torn_down = true;
        let mut cleared = self.engine.clear(&self.owner).await?;
        if let Some(disk) = &self.disk
            && let Err(reason) = disk.unmount().await
        {
            cleared.leftovers.push(format!("{}: {reason}", disk.mounted().display()));
        }
        Ok(cleared)
    }
}

/// Whether `target` accepts a connection from inside the namespace.
async fn knock(
    door: namespace::NetworkNamespace,
    target: SocketAddr,
    timeout: Duration,
) -> Result<bool, EngineError> {
    let reached = tokio::task::spawn_blocking(move || door.reaches(&[target], timeout))
        .await
        .map_err(|error| EngineError::IsolationUnproven { reason: error.to_string() })??;
    Ok(!reached.is_empty())
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
