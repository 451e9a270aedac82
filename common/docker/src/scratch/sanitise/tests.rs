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
            "Links": ["/shop-cache-1:/shop-db-1/cache"],
            "ShmSize": 134_217_728, "Tmpfs": {"/run": "size=1m"},
        },
        "NetworkSettings": {"Networks": {"shop_default": {
            "Aliases": ["db", "database", "cccccccccccc"],
            "IPAMConfig": {"IPv4Address": "172.20.0.7", "IPv6Address": "fd00::7"}}}},
        "Mounts": [
            {"Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/var/run/docker.sock", "RW": true},
            {"Type": "volume", "Name": "shop_pg", "Destination": "/var/lib/postgresql/data", "RW": true},
            {"Type": "volume", "Name": "d".repeat(64), "Destination": "/cache", "RW": false},
        ],
    })
}

fn walls() -> Walls {
    Walls { cgroup: "/lifeboat-x".into(), calls: "{}".into(), runtime: None }
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
            labels: BTreeMap::from([("watchtower.enable".to_owned(), "true".to_owned())]),
        },
        digest: None,
    }
}

fn made(document: &Value, env: &BTreeMap<String, String>) -> (Sanitised, Ownership) {
    let key = MachineKey::random(&OsEntropy);
    let owner = Ownership::new(RehearsalId::random(&OsEntropy), Timestamp::UNIX_EPOCH, key);
    let parts = ContainerParts::from_document(document, None).unwrap();
    let restored = BTreeMap::from([("shop_pg".to_owned(), "scratch_pg".to_owned())]);
    let containers = BTreeMap::from([("e".repeat(64), "scratch-app".to_owned())]);
    let setting = Setting {
        owner: &owner,
        network: "net-id",
        restored: &restored,
        containers: &containers,
        limits: Limits { memory_bytes: 1 << 30, nano_cpus: 2_000_000_000, processes: 512 },
        walls: &walls(),
        is_alone: false,
        may_win_rights: false,
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
        "fixed address 172.20.0.7",
        "fixed address fd00::7",
        "called another container shop-db-1/cache",
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
fn what_stands_around_all_containers_stands_around_each() {
    let mut document = hostile();
    document["Config"]["Healthcheck"]["Interval"] = json!(1_000_000);
    document["HostConfig"]["ShmSize"] = json!(1_u64 << 40);
    let (container, owner) = made(&document, &BTreeMap::new());
    let host = container.body.host_config.as_ref().unwrap();
    assert_eq!(host.memory_swap, host.memory);
    assert_eq!((host.oom_score_adj, host.cgroup_parent.as_deref()), (Some(1000), Some("/lifeboat-x")));
    assert_eq!(host.shm_size, Some(1 << 30), "no more than the memory");
    assert_eq!(container.body.healthcheck.as_ref().unwrap().interval, Some(SHORTEST_INTERVAL));
    // The image's labels are overridden, and the drill's own are there.
    let labels = container.body.labels.as_ref().unwrap();
    assert_eq!(labels["watchtower.enable"], "");
    assert_eq!(labels[REHEARSAL_LABEL], owner.id.to_string());
}

#[test]
fn the_only_container_of_a_drill_has_no_network() {
    let key = MachineKey::random(&OsEntropy);
    let owner = Ownership::new(RehearsalId::random(&OsEntropy), Timestamp::UNIX_EPOCH, key);
    let parts = ContainerParts::from_document(&hostile(), None).unwrap();
    let walls = Walls { runtime: Some("runsc".to_owned()), ..walls() };
    let setting = Setting {
        owner: &owner,
        network: "net-id",
        restored: &BTreeMap::new(),
        containers: &BTreeMap::new(),
        limits: Limits { memory_bytes: 1 << 30, nano_cpus: 1, processes: 5 },
        walls: &walls,
        is_alone: true,
        may_win_rights: true,
        env: &BTreeMap::new(),
    };
    let container = sanitise(&parts, &image(), &setting);
    let host = container.body.host_config.as_ref().unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    assert!(container.body.networking_config.is_none());
    let names = host.extra_hosts.as_ref().unwrap();
    for name in ["db", "shop-db-1", "pg-primary"] {
        assert!(names.contains(&format!("{name}:127.0.0.1")), "{name} in {names:?}");
    }
    assert_eq!(
        (host.runtime.as_deref(), host.dns.as_deref()),
        (Some("runsc"), Some(&[NO_RESOLVER.to_owned()][..]))
    );
    assert!(host.security_opt.as_ref().unwrap().contains(&"no-new-privileges:false".to_owned()));
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
    let options = ["no-new-privileges:true", "seccomp={}"].map(str::to_owned);
    assert_eq!(host.security_opt.as_deref(), Some(&options[..]));
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
