//! From a captured container to one that can do no harm: the same image, command, environment and data, and nothing that
//! reaches out of it. A pure function, so that what it lets through can be read and tested.
//!
//! Kept: command, entry point, environment, user, working directory, host name, health check, stop signal, memory folders,
//! shared memory size, dropped capabilities, read-only root; of capabilities, kernel settings and limits of the process
//! those that `permitted` names. Everything else is left out; what would have made a difference to the application is
//! named in [`Sanitised::removed`].

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

/// The most that one scratch container may use of this host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processor time, in billionths of a processor.
    pub nano_cpus: u64,
    /// Processes and threads.
    pub processes: u64,
}

/// What a scratch container is made with.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Whose it is.
    pub owner: &'a Ownership,
    /// The sandbox's network, by id.
    pub network: &'a str,
    /// The volumes that were restored: original name to scratch name.
    pub restored: &'a BTreeMap<String, String>,
    /// The containers of the application: original id and original name to scratch name.
    pub containers: &'a BTreeMap<String, String>,
    /// The most that it may use.
    pub limits: Limits,
    /// Environment variables that the plan changes.
    pub env: &'a BTreeMap<String, String>,
}

/// A container that can be made in a sandbox.
#[derive(Clone, PartialEq)]
pub struct Sanitised {
    /// Its scratch name.
    pub name: String,
    /// What the engine is asked for. It holds the environment.
    pub(super) body: Box<ContainerCreateBody>,
    /// Volumes that the snapshot does not hold: they start empty.
    pub empty_volumes: Vec<EmptyVolume>,
    /// What was left out and could make a difference, in words.
    pub removed: Vec<String>,
}

/// A volume that starts empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EmptyVolume {
    /// Its scratch name.
    pub name: String,
    /// The volume, or the path of the image, that it stands for.
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
    let mut host = host_config(container, setting.limits, &mut removed);
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
        Place::Nowhere => host.network_mode = Some("none".to_owned()),
    }
    let name = setting.owner.container_name(&container.name);
    let labels = setting.owner.labels(ScratchKind::Container, &name, container.service_name());
    let body = ContainerCreateBody {
        image: Some(image.parts.id.clone()),
        // A container in another one's network cannot have a host name of its own.
        hostname: container.hostname.clone().filter(|_| !shares_network),
        domainname: Some(container.domain_name.clone()).filter(|name| !name.is_empty() && !shares_network),
        user: some(&container.user),
        working_dir: working_folder(container, &mut removed),
        tty: Some(container.tty),
        open_stdin: Some(container.open_stdin),
        env: Some(environment(&container.env, setting.env)),
        cmd: container.cmd.clone(),
        entrypoint: container.entrypoint.clone(),
        healthcheck: container
            .healthcheck
            .clone()
            .and_then(|h| serde_json::from_value::<HealthConfig>(h).ok()),
        stop_signal: container.stop_signal.clone(),
        // Labels steer other programs (proxies, updaters, schedulers): none is carried over.
        labels: Some(labels.into_iter().collect()),
        host_config: Some(host),
        networking_config: networking,
        ..Default::default()
    };
    Sanitised { name, body: Box::new(body), empty_volumes, removed }
}

/// The folder in which the command begins. One of the system's could lead out of the container by what the runtime has
/// open at that moment.
fn working_folder(container: &ContainerParts, removed: &mut Vec<String>) -> Option<String> {
    if is_of_the_system(&container.working_dir) {
        removed.push(format!("the working folder {}", container.working_dir));
        // With none, the engine takes the image's.
        return Some("/".to_owned());
    }
    some(&container.working_dir)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Where a scratch container stands.
enum Place {
    /// In the sandbox's network, under these names.
    Sandbox(Vec<String>),
    /// In the network of another scratch container.
    With(String),
    /// Without any network.
    Nowhere,
}

fn network(container: &ContainerParts, setting: &Setting<'_>) -> Place {
    if container.network_mode == "none" {
        return Place::Nowhere;
    }
    if let Some(other) = container.shares_network_of().and_then(|id| setting.containers.get(id)) {
        return Place::With(other.clone());
    }
    // One network stands for all: whoever could find it before can find it now, under every name that it had.
    let mut aliases: BTreeSet<String> =
        container.networks.values().flat_map(|n| n.aliases.iter().cloned()).collect();
    aliases.insert(container.name.clone());
    aliases.extend(container.service.iter().map(|s| s.service.clone()));
    Place::Sandbox(aliases.into_iter().collect())
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
    // A path that the image calls a volume would get a nameless one, which carries no labels and would be left behind.
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

/// A restored volume stays as it was restored, even if that is empty; a new one is filled from the image, as at a first
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

fn host_config(container: &ContainerParts, limits: Limits, removed: &mut Vec<String>) -> HostConfig {
    let host = &container.host;
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
        nano_cpus: at_most("NanoCpus", limits.nano_cpus),
        pids_limit: at_most("PidsLimit", limits.processes),
        privileged: Some(false),
        publish_all_ports: Some(false),
        auto_remove: Some(false),
        cap_add: Some(permitted::added_capabilities(host, removed)),
        cap_drop: Some(permitted::dropped_capabilities(host)),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        group_add: Some(texts(&host["GroupAdd"])),
        readonly_rootfs: host["ReadonlyRootfs"].as_bool(),
        init: host["Init"].as_bool(),
        shm_size: host["ShmSize"].as_i64().filter(|&size| size > 0),
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
    kept.into_iter().map(|(target, options)| (target.clone(), options.clone())).collect()
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
    for (port, bindings) in host["PortBindings"].as_object().into_iter().flatten() {
        if !list(bindings).is_empty() {
            removed.push(format!("the published port {port}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lifeboat_core::random::OsEntropy;
    use serde_json::json;

    use super::*;
    use crate::definitions::ImageParts;
    use crate::ownership::{EXPIRES_LABEL, MARK_LABEL, MachineKey, REHEARSAL_LABEL, RehearsalId};

    fn hostile() -> Value {
        json!({
            "Id": "c".repeat(64), "Name": "/shop-db-1", "Image": "sha256:aa",
            "Config": {
                "Image": "postgres:15", "Hostname": "pg-primary", "User": "postgres",
                "Env": ["A=1", "B=2"], "Cmd": ["postgres"],
                "ExposedPorts": {"5432/tcp": {}},
                "Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "db", "traefik.enable": "true"},
                "Healthcheck": {"Test": ["CMD", "pg_isready"], "Interval": 1_000_000_000, "Retries": 3},
            },
            "HostConfig": {
                "NetworkMode": "host", "Privileged": true, "PidMode": "host", "IpcMode": "host", "UTSMode": "host",
                "CapAdd": ["SYS_ADMIN", "CAP_IPC_LOCK", "NET_ADMIN"], "CapDrop": ["CHOWN"],
                "Devices": [{"PathOnHost": "/dev/sda"}], "ExtraHosts": ["db:10.0.0.1"],
                "PortBindings": {"5432/tcp": [{"HostPort": "5432"}]},
                "RestartPolicy": {"Name": "always"}, "AutoRemove": true, "Memory": 104_857_600, "PidsLimit": -1,
                "SecurityOpt": ["seccomp=unconfined", "no-new-privileges:true"], "Runtime": "nvidia",
                "Binds": ["/var/run/docker.sock:/var/run/docker.sock"], "VolumesFrom": ["other"],
                "ShmSize": 134_217_728, "Tmpfs": {"/run": "size=1m"},
            },
            "NetworkSettings": {"Networks": {"shop_default": {"Aliases": ["db", "database", "cccccccccccc"]}}},
            "Mounts": [
                {"Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/var/run/docker.sock", "RW": true},
                {"Type": "volume", "Name": "shop_pg", "Destination": "/var/lib/postgresql/data", "RW": true},
                {"Type": "volume", "Name": "d".repeat(64), "Destination": "/cache", "RW": false},
            ],
        })
    }

    fn image() -> ResolvedImage {
        ResolvedImage {
            reference: "postgres:15".into(),
            parts: ImageParts {
                id: "sha256:aa".into(),
                digests: vec![],
                volumes: vec!["/var/lib/postgresql/data".into(), "/extra".into()],
                env: vec![],
                platform: "linux/amd64".into(),
            },
            digest: None,
        }
    }

    fn made(document: &Value, env: &BTreeMap<String, String>) -> (Sanitised, Ownership) {
        let key = MachineKey::random(&OsEntropy);
        let owner = Ownership::new(RehearsalId::random(&OsEntropy), Timestamp::UNIX_EPOCH, key);
        let parts = ContainerParts::from_document(document).unwrap();
        let restored = BTreeMap::from([("shop_pg".to_owned(), "scratch_pg".to_owned())]);
        let containers = BTreeMap::from([("e".repeat(64), "scratch-app".to_owned())]);
        let setting = Setting {
            owner: &owner,
            network: "net-id",
            restored: &restored,
            containers: &containers,
            limits: Limits { memory_bytes: 1 << 30, nano_cpus: 2_000_000_000, processes: 512 },
            env,
        };
        (sanitise(&parts, &image(), &setting), owner)
    }

    #[test]
    fn nothing_that_reaches_out_is_let_through() {
        let (container, _) = made(&hostile(), &BTreeMap::new());
        let asked = serde_json::to_string(&container.body).unwrap();
        for trace in [
            "docker.sock",
            "SYS_ADMIN",
            "NET_ADMIN",
            "/dev/sda",
            "10.0.0.1",
            "HostPort",
            "unconfined",
            "nvidia",
            "traefik",
            "com.docker.compose",
            "\"host\"",
            "always",
            "postgres:15",
            "VolumesFrom",
            "Binds",
        ] {
            assert!(!asked.contains(trace), "{trace} in {asked}");
        }
        let host = container.body.host_config.as_ref().unwrap();
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.network_mode.as_deref(), Some("net-id"));
        assert_eq!(host.dns.as_deref(), Some(&[NO_RESOLVER.to_owned()][..]));
        assert_eq!((host.memory, host.pids_limit), (Some(104_857_600), Some(512)));
        assert_eq!(host.cap_add.as_deref(), Some(&["CAP_IPC_LOCK".to_owned()][..]));
        for word in [
            "docker.sock",
            "privileged",
            "SYS_ADMIN",
            "/dev/sda",
            "process namespace",
            "published port",
            "nvidia",
        ] {
            assert!(
                container.removed.iter().any(|line| line.contains(word)),
                "{word} in {:?}",
                container.removed
            );
        }
    }

    #[test]
    fn what_makes_the_application_is_kept() {
        let env = BTreeMap::from([("B".to_owned(), "changed".to_owned()), ("C".to_owned(), "3".to_owned())]);
        let (container, owner) = made(&hostile(), &env);
        let body = &container.body;
        assert_eq!(body.image.as_deref(), Some("sha256:aa"));
        assert_eq!(body.env.as_deref().unwrap(), ["A=1", "B=changed", "C=3"]);
        assert_eq!(body.hostname.as_deref(), Some("pg-primary"));
        assert_eq!(body.healthcheck.as_ref().unwrap().retries, Some(3));
        let host = body.host_config.as_ref().unwrap();
        assert_eq!(host.shm_size, Some(134_217_728));
        assert_eq!(host.tmpfs.as_ref().unwrap()["/run"], "size=1m");
        let endpoints = body.networking_config.as_ref().unwrap().endpoints_config.as_ref().unwrap();
        assert_eq!(endpoints["net-id"].aliases.as_deref().unwrap(), ["database", "db", "shop-db-1"]);
        let labels = body.labels.as_ref().unwrap();
        assert_eq!(labels[REHEARSAL_LABEL], owner.id.to_string());
        assert!(labels.contains_key(EXPIRES_LABEL));
        assert_eq!(labels[MARK_LABEL], owner.mark(ScratchKind::Container, &container.name));
    }

    #[test]
    fn every_volume_is_named_and_what_the_snapshot_lacks_starts_empty() {
        let (container, owner) = made(&hostile(), &BTreeMap::new());
        let mounts = container.body.host_config.as_ref().unwrap().mounts.as_ref().unwrap();
        let by_target: BTreeMap<&str, &Mount> =
            mounts.iter().map(|m| (m.target.as_deref().unwrap(), m)).collect();
        assert_eq!(by_target.len(), 3);
        let restored = by_target["/var/lib/postgresql/data"];
        assert_eq!(restored.source.as_deref(), Some("scratch_pg"));
        assert_eq!(restored.volume_options.as_ref().unwrap().no_copy, Some(true));
        assert_eq!(by_target["/cache"].read_only, Some(true));
        assert_eq!(
            by_target["/cache"].source.as_deref(),
            Some(format!("lifeboat-{}-dddddddddddd", owner.id).as_str())
        );
        assert!(mounts.iter().all(|m| m.source.is_some()), "a nameless volume would be left behind");
        let stand_ins: Vec<&str> = container.empty_volumes.iter().map(|v| v.stands_for.as_str()).collect();
        assert!(stand_ins.contains(&"/extra of db"), "{stand_ins:?}");
        assert_eq!(stand_ins.len(), 2);
    }

    #[test]
    fn a_container_in_anothers_network_follows_it() {
        let mut document = hostile();
        document["HostConfig"]["NetworkMode"] = json!(format!("container:{}", "e".repeat(64)));
        let (container, _) = made(&document, &BTreeMap::new());
        assert_eq!(
            container.body.host_config.as_ref().unwrap().network_mode.as_deref(),
            Some("container:scratch-app")
        );
        assert_eq!(container.body.hostname, None);
        assert!(container.body.networking_config.is_none());
    }

    #[test]
    fn nothing_is_put_into_folders_of_the_system_and_no_right_can_be_won() {
        let mut document = hostile();
        document["Config"]["WorkingDir"] = json!("/app/../proc/self/fd/7");
        document["HostConfig"]["Tmpfs"] = json!({"/dev/shm": "", "/run": "size=1m"});
        document["HostConfig"]["SecurityOpt"] = json!(["no-new-privileges:false"]);
        document["Mounts"] =
            json!([{"Type": "volume", "Name": "shop_pg", "Destination": "/proc/sys", "RW": true}]);
        let (container, _) = made(&document, &BTreeMap::new());
        assert_eq!(container.body.working_dir.as_deref(), Some("/"));
        let host = container.body.host_config.as_ref().unwrap();
        assert_eq!(host.security_opt.as_deref(), Some(&["no-new-privileges:true".to_owned()][..]));
        assert_eq!(host.tmpfs.as_ref().unwrap().len(), 1);
        assert!(host.cap_drop.as_ref().unwrap().contains(&"NET_RAW".to_owned()));
        assert!(host.mounts.as_ref().unwrap().iter().all(|m| m.target.as_deref() != Some("/proc/sys")));
        for said in [
            "the working folder /app/../proc/self/fd/7",
            "the memory folder /dev/shm",
            "what was mounted at /proc/sys",
        ] {
            assert!(container.removed.iter().any(|line| line == said), "{said} in {:?}", container.removed);
        }
    }
}
