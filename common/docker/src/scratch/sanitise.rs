//! Turns a captured container into a harmless one: the same image, command, environment and data, and nothing that
//! reaches out of it. A pure function, so that what it permits can be read and tested.
//!
//! It keeps the command, entry point, environment, user, working directory, host name, health check, stop signal,
//! memory folders, shared memory size, dropped capabilities and read-only root; and the capabilities, kernel settings
//! and limits that `permitted` names. Everything else is left out; what could make a difference to the application is
//! listed in [`Sanitised::removed`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType,
    MountVolumeOptions, NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use serde_json::Value;

pub use super::permitted::TAKEN;
pub(crate) use super::permitted::is_of_the_system;
use super::{NO_RESOLVER, ResolvedImage, permitted};
use crate::definitions::{ContainerParts, MountKind};
use crate::document::{list, some_text, texts};
use crate::ownership::{Ownership, ScratchKind};

/// Where the engine mounts its own files into every container.
const OF_THE_ENGINE: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// The shortest interval of health checks, in nanoseconds.
const SHORTEST_INTERVAL: i64 = 1_000_000_000;

/// The most that one scratch container may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processor time, in billionths of a processor.
    pub nano_cpus: u64,
    /// Processes and threads.
    pub processes: u64,
}

/// The restrictions of every scratch container besides its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walls {
    /// The control group above those of all.
    pub(super) cgroup: String,
    /// The permitted system calls, in the engine's form.
    pub(super) calls: String,
    /// The runtime that starts them; `None` for the engine's own.
    pub(super) runtime: Option<String>,
}

/// The settings for creating a scratch container.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Its owner.
    pub owner: &'a Ownership,
    /// The sandbox's network, by id.
    pub network: &'a str,
    /// The restored volumes: original name to scratch name.
    pub restored: &'a BTreeMap<String, String>,
    /// The containers of the application: original id and original name to scratch name.
    pub containers: &'a BTreeMap<String, String>,
    /// The most that it may use.
    pub limits: Limits,
    /// The common restrictions of the drill's containers.
    pub walls: &'a Walls,
    /// Whether it is the only one, which needs no network.
    pub is_alone: bool,
    /// Whether its programs may gain rights, as the plan allows it.
    pub may_win_rights: bool,
    /// Environment variables that the plan changes.
    pub env: &'a BTreeMap<String, String>,
}

/// A container that can be created in a sandbox.
#[derive(Clone, PartialEq)]
pub struct Sanitised {
    /// Its scratch name.
    pub name: String,
    /// The request to the engine. It contains the environment.
    pub(super) body: Box<ContainerCreateBody>,
    /// Volumes that the snapshot does not hold: they start empty.
    pub empty_volumes: Vec<EmptyVolume>,
    /// What was left out and could make a difference, in words.
    pub removed: Vec<String>,
    /// The container's mount targets, and its working folder.
    pub(super) paths: Vec<String>,
}

/// A volume that starts empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EmptyVolume {
    /// Its scratch name.
    pub name: String,
    /// The original volume, or the path of the image.
    pub stands_for: String,
}

impl std::fmt::Debug for Sanitised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sanitised")
            .field("name", &self.name)
            .field("empty_volumes", &self.empty_volumes)
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}

/// The scratch form of `container`.
pub fn sanitise(container: &ContainerParts, image: &ResolvedImage, setting: &Setting<'_>) -> Sanitised {
    let mut removed = Vec::new();
    let (mounts, empty_volumes) = mounts(container, image, setting, &mut removed);
    let place = network(container, setting);
    let shares_network = matches!(place, Place::With(_));
    for address in container.networks.values().flat_map(|network| &network.fixed_addresses) {
        removed.push(format!("its fixed address {address}"));
    }
    let mut host = host_config(container, setting, &mut removed);
    let working_dir = working_folder(container, &mut removed);
    let mut paths: Vec<String> = mounts.iter().filter_map(|mount| mount.target.clone()).collect();
    paths.extend(host.tmpfs.iter().flatten().map(|(target, _)| target.clone()));
    paths.extend(working_dir.clone());
    paths.extend(OF_THE_ENGINE.map(str::to_owned));
    host.mounts = Some(mounts);
    let mut networking = None;
    match place {
        Place::Sandbox(aliases) => {
            host.network_mode = Some(setting.network.to_owned());
            host.dns = Some(vec![NO_RESOLVER.to_owned()]);
            let endpoint = EndpointSettings { aliases: Some(aliases), ..Default::default() };
            let endpoints = HashMap::from([(setting.network.to_owned(), endpoint)]);
            networking = Some(NetworkingConfig { endpoints_config: Some(endpoints) });
        }
        Place::With(other) => host.network_mode = Some(format!("container:{other}")),
        Place::Nowhere(names) => {
            host.network_mode = Some("none".to_owned());
            // Without these it would see the names of the host's own resolvers.
            host.dns = Some(vec![NO_RESOLVER.to_owned()]);
            host.dns_search = Some(vec![".".to_owned()]);
            let names = names.iter().chain(&container.hostname);
            host.extra_hosts = Some(names.map(|name| format!("{name}:127.0.0.1")).collect());
        }
    }
    let name = setting.owner.container_name(&container.name);
    // A container inherits the labels of its image, unless it overrides them.
    let mut labels: HashMap<String, String> =
        image.parts.labels.keys().map(|name| (name.clone(), String::new())).collect();
    labels.extend(setting.owner.labels(ScratchKind::Container, &name, container.service_name()));
    let body = ContainerCreateBody {
        image: Some(image.parts.id.clone()),
        // A container in another's network cannot have a host name of its own.
        hostname: container.hostname.clone().filter(|_| !shares_network),
        domainname: Some(container.domain_name.clone()).filter(|name| !name.is_empty() && !shares_network),
        user: some(&container.user),
        working_dir,
        tty: Some(container.tty),
        open_stdin: Some(container.open_stdin),
        env: Some(environment(&container.env, setting.env)),
        cmd: container.cmd.clone(),
        // The engine records the image's entry point in its containers, so a container without one has cleared it.
        // Clearing it takes an empty word: with nothing, the container would get the image's again.
        entrypoint: Some(container.entrypoint.clone().unwrap_or_else(|| vec![String::new()])),
        healthcheck: container.healthcheck.clone().and_then(health),
        stop_signal: container.stop_signal.clone(),
        // Labels control other programs (proxies, updaters, schedulers), so none is kept.
        labels: Some(labels),
        host_config: Some(host),
        networking_config: networking,
        ..Default::default()
    };
    Sanitised { name, body: Box::new(body), empty_volumes, removed, paths }
}

/// The health check, limited so that it does not keep the engine busy.
fn health(captured: Value) -> Option<HealthConfig> {
    let mut health: HealthConfig = serde_json::from_value(captured).ok()?;
    for every in [&mut health.interval, &mut health.start_interval].into_iter().flatten() {
        if (1..SHORTEST_INTERVAL).contains(every) {
            *every = SHORTEST_INTERVAL;
        }
    }
    Some(health)
}

/// The working folder of the command. A system folder could lead out of the container through files that the runtime
/// has open at that moment.
fn working_folder(container: &ContainerParts, removed: &mut Vec<String>) -> Option<String> {
    if is_of_the_system(&container.working_dir) {
        removed.push(format!("the working folder {}", container.working_dir));
        // With none, the engine would use the image's.
        return Some("/".to_owned());
    }
    some(&container.working_dir)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The network of a scratch container.
enum Place {
    /// In the sandbox's network, under these names.
    Sandbox(Vec<String>),
    /// In the network of another scratch container.
    With(String),
    /// Without any network: these names are its own loopback.
    Nowhere(Vec<String>),
}

fn network(container: &ContainerParts, setting: &Setting<'_>) -> Place {
    if container.network_mode == "none" {
        return Place::Nowhere(Vec::new());
    }
    if let Some(other) = container.shares_network_of().and_then(|id| setting.containers.get(id)) {
        return Place::With(other.clone());
    }
    // One network replaces all: every container that could be found before is found now, under every name that it had.
    let mut aliases: BTreeSet<String> =
        container.networks.values().flat_map(|n| n.aliases.iter().cloned()).collect();
    aliases.insert(container.name.clone());
    aliases.extend(container.service.iter().map(|s| s.service.clone()));
    let names = aliases.into_iter().collect();
    if setting.is_alone { Place::Nowhere(names) } else { Place::Sandbox(names) }
}

fn environment(captured: &[String], changes: &BTreeMap<String, String>) -> Vec<String> {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let kept = captured.iter().filter(|pair| !changes.contains_key(&name(pair))).cloned();
    kept.chain(changes.iter().map(|(name, value)| format!("{name}={value}"))).collect()
}

fn mounts(
    container: &ContainerParts,
    image: &ResolvedImage,
    setting: &Setting<'_>,
    removed: &mut Vec<String>,
) -> (Vec<Mount>, Vec<EmptyVolume>) {
    let mut mounts = Vec::new();
    let mut empty = BTreeSet::new();
    let mut covered: BTreeSet<&str> = container.tmpfs.keys().map(String::as_str).collect();
    for part in &container.mounts {
        let target = part.destination.as_str();
        if is_of_the_system(target) {
            removed.push(format!("what was mounted at {target}"));
            continue;
        }
        match &part.kind {
            MountKind::Volume(name) => {
                covered.insert(target);
                if let Some(scratch) = setting.restored.get(name) {
                    mounts.push(volume(scratch, target, part.read_write, true));
                } else {
                    let scratch = setting.owner.volume_name(name);
                    mounts.push(volume(&scratch, target, part.read_write, false));
                    empty.insert(EmptyVolume { name: scratch, stands_for: name.clone() });
                }
            }
            MountKind::Memory if !container.tmpfs.contains_key(target) => {
                covered.insert(target);
                mounts.push(Mount {
                    target: Some(target.to_owned()),
                    typ: Some(MountType::TMPFS),
                    ..Default::default()
                });
            }
            MountKind::Memory => {}
            MountKind::Bind(source) => removed.push(format!("the host's {source}, mounted at {target}")),
            MountKind::Other(kind) => removed.push(format!("the {kind} mount at {target}")),
        }
    }
    // A path that the image declares as a volume would get an anonymous one, which has no labels and would be left
    // behind.
    for (number, path) in image.parts.volumes.iter().enumerate() {
        let path = path.trim_end_matches('/');
        if !covered.contains(path) {
            let name = setting.owner.container_name(&format!("{}-{number}", container.name));
            mounts.push(volume(&name, path, true, false));
            empty.insert(EmptyVolume { name, stands_for: format!("{path} of {}", container.service_name()) });
        }
    }
    (mounts, empty.into_iter().collect())
}

/// A restored volume stays as it was restored, even if it is empty; a new one is filled from the image, as at a first
/// start.
fn volume(name: &str, target: &str, read_write: bool, restored: bool) -> Mount {
    Mount {
        source: Some(name.to_owned()),
        target: Some(target.to_owned()),
        typ: Some(MountType::VOLUME),
        read_only: Some(!read_write),
        volume_options: Some(MountVolumeOptions { no_copy: Some(restored), ..Default::default() }),
        ..Default::default()
    }
}

fn host_config(container: &ContainerParts, setting: &Setting<'_>, removed: &mut Vec<String>) -> HostConfig {
    let (host, limits, walls) = (&container.host, setting.limits, setting.walls);
    name_what_is_removed(host, removed);
    let at_most = |key: &str, limit: u64| {
        let own = host[key].as_u64().filter(|&own| own > 0);
        i64::try_from(own.map_or(limit, |own| own.min(limit))).ok()
    };
    HostConfig {
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        memory: at_most("Memory", limits.memory_bytes),
        // Memory and swap together: nothing is swapped out to the host's disk.
        memory_swap: at_most("Memory", limits.memory_bytes),
        // When this host runs out of memory, scratch containers are killed first.
        oom_score_adj: Some(1000),
        cgroup_parent: Some(walls.cgroup.clone()),
        runtime: walls.runtime.clone(),
        nano_cpus: at_most("NanoCpus", limits.nano_cpus),
        pids_limit: at_most("PidsLimit", limits.processes),
        privileged: Some(false),
        publish_all_ports: Some(false),
        auto_remove: Some(false),
        cap_add: Some(permitted::added_capabilities(host, removed)),
        cap_drop: Some(permitted::dropped_capabilities(host)),
        security_opt: Some(vec![
            format!("no-new-privileges:{}", !setting.may_win_rights),
            format!("seccomp={}", walls.calls),
        ]),
        group_add: Some(texts(&host["GroupAdd"])),
        readonly_rootfs: host["ReadonlyRootfs"].as_bool(),
        init: host["Init"].as_bool(),
        shm_size: i64::try_from(limits.memory_bytes)
            .ok()
            .and_then(|most| host["ShmSize"].as_i64().filter(|&size| size > 0).map(|size| size.min(most))),
        tmpfs: Some(memory_folders(container, removed)),
        ulimits: Some(permitted::ulimits(host, removed)),
        sysctls: Some(permitted::sysctls(host, removed).into_iter().collect()),
        ipc_mode: some_text(&host["IpcMode"])
            .filter(|mode| ["private", "shareable", "none"].contains(&mode.as_str())),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "8m".to_owned()),
                ("max-file".to_owned(), "1".to_owned()),
            ])),
        }),
        ..Default::default()
    }
}

fn memory_folders(container: &ContainerParts, removed: &mut Vec<String>) -> HashMap<String, String> {
    let (of_the_system, kept): (Vec<_>, Vec<_>) =
        container.tmpfs.iter().partition(|(target, _)| is_of_the_system(target));
    removed.extend(of_the_system.into_iter().map(|(target, _)| format!("the memory folder {target}")));
    let options = |(target, options): (&String, &String)| {
        (target.clone(), permitted::memory_options(target, options, removed))
    };
    kept.into_iter().map(options).collect()
}

/// What the application had and a scratch container never gets.
fn name_what_is_removed(host: &Value, removed: &mut Vec<String>) {
    if host["Privileged"] == true {
        removed.push("privileged mode".to_owned());
    }
    for (key, what) in
        [("PidMode", "process"), ("UTSMode", "host name"), ("UsernsMode", "user"), ("IpcMode", "memory")]
    {
        if let Some(mode) =
            some_text(&host[key]).filter(|mode| mode == "host" || mode.starts_with("container:"))
        {
            removed.push(format!("the {what} namespace `{mode}`"));
        }
    }
    if host["NetworkMode"] == "host" {
        removed.push("the host's network".to_owned());
    }
    for device in list(&host["Devices"]) {
        removed.push(format!("the device {}", device["PathOnHost"].as_str().unwrap_or("?")));
    }
    if !list(&host["DeviceRequests"]).is_empty() {
        removed.push("requested devices, such as GPUs".to_owned());
    }
    for entry in texts(&host["ExtraHosts"]) {
        removed.push(format!("the host entry {entry}"));
    }
    if let Some(runtime) = some_text(&host["Runtime"]).filter(|runtime| runtime != "runc") {
        removed.push(format!("the runtime {runtime}"));
    }
    for option in texts(&host["SecurityOpt"]) {
        if !option.starts_with("no-new-privileges") {
            removed.push(format!("the security option {}", option.chars().take(80).collect::<String>()));
        }
    }
    for link in texts(&host["Links"]) {
        let names = link.rsplit_once(':').map_or(link.as_str(), |(_, alias)| alias);
        removed.push(format!("the link that called another container {}", names.trim_start_matches('/')));
    }
    for (port, bindings) in host["PortBindings"].as_object().into_iter().flatten() {
        if !list(bindings).is_empty() {
            removed.push(format!("the published port {port}"));
        }
    }
}

#[cfg(test)]
mod tests;
