//! Every field of the engine's description of a container, with its worst value in a snapshot: the real engine's
//! description of the scratch container is compared, field by field, with that of a harmless one.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Trial;
use lifeboat_docker::EngineError;
use lifeboat_docker::definitions::{ContainerParts, ImageParts};
use lifeboat_tests::gate::trials_with;
use serde_json::{Value, json};

use crate::docker::{Docker, docker};
use crate::limits::{created, in_sandbox};
use crate::sandbox::TOGETHER;

pub(crate) fn trials() -> Vec<Trial> {
    let test = trials_with(Docker::find());
    vec![
        test("fields::each_at_its_worst_changes_what_it_may_and_nothing_else", each),
        test("fields::every_one_that_the_engine_knows_has_a_row", complete),
    ]
}

/// The expected effect of a field.
enum Then {
    /// None: the scratch container is as if the field were missing.
    Nothing,
    /// These fields of the scratch container have these values; all others are unchanged.
    Becomes(Vec<(&'static str, Value)>),
    /// The engine refuses to create such a container.
    Refused,
}

use Then::{Becomes, Nothing, Refused};

struct Row {
    /// The place of the field in the engine's document (RFC 6901).
    at: &'static str,
    worst: Value,
    then: Then,
}

fn row(at: &'static str, worst: Value, then: Then) -> Row {
    Row { at, worst, then }
}

/// A field whose value is kept, because it is the application's own.
fn kept(at: &'static str, value: Value) -> Row {
    row(at, value.clone(), Becomes(vec![(at, value)]))
}

/// More than any host has.
const HUGE: i64 = 1 << 50;

/// Fields about which container it is, and what it sees of the host.
fn identity() -> Vec<Row> {
    vec![
        row("/Name", json!("/../../etc/x\u{1b}[2J y"), Refused),
        row("/Path", json!("/bin/evil"), Nothing),
        row("/Args", json!(["evil"]), Nothing),
        row("/State", json!({"Running": true, "Pid": 1}), Nothing),
        row("/Created", json!("2999-01-01T00:00:00Z"), Nothing),
        row("/ResolvConfPath", json!("/etc/shadow"), Nothing),
        row("/HostnamePath", json!("/etc/shadow"), Nothing),
        row("/HostsPath", json!("/etc/shadow"), Nothing),
        row("/LogPath", json!("/etc/cron.d/evil"), Nothing),
        row("/RestartCount", json!(HUGE), Nothing),
        row("/Driver", json!("evil"), Nothing),
        row("/Platform", json!("windows"), Nothing),
        row("/MountLabel", json!("system_u:object_r:etc_t:s0"), Nothing),
        row("/ProcessLabel", json!("system_u:system_r:unconfined_t:s0"), Nothing),
        row("/AppArmorProfile", json!("unconfined"), Nothing),
        row("/ExecIDs", json!(["x"]), Nothing),
        row("/GraphDriver", json!({"Name": "overlay2", "Data": {"UpperDir": "/etc"}}), Nothing),
        row("/NetworkSettings/Ports", json!({"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "22"}]}), Nothing),
        row(
            "/NetworkSettings/Networks",
            json!({"host": {
                "IPAMConfig": {"IPv4Address": "172.17.0.1"}, "Links": ["prod:db"], "MacAddress": "02:42:ac:11:00:02",
                "DriverOpts": {"com.docker.network.bridge.host_binding_ipv4": "0.0.0.0"}, "GwPriority": 1,
                "NetworkID": "host", "EndpointID": "x", "Aliases": [],
            }}),
            Nothing,
        ),
        row(
            "/Mounts",
            json!([
                {"Type": "bind", "Source": "/", "Destination": "/host", "RW": true, "Propagation": "shared"},
                {"Type": "npipe", "Source": "/var/run/docker.sock", "Destination": "/pipe"},
                {"Type": "cluster", "Source": "x", "Destination": "/cluster"},
                {"Type": "volume", "Name": "data", "Destination": "/data", "RW": true, "Driver": "evil", "Mode": "z",
                 "Source": "/etc", "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind", "device": "/"}}}},
                {"Type": "volume", "Name": "data", "Destination": "/x/../proc/sys"},
                {"Type": "tmpfs", "Destination": "/dev/shm/../../sys/fs"},
            ]),
            Nothing,
        ),
    ]
}

fn config() -> Vec<Row> {
    vec![
        kept("/Config/Hostname", json!("pg-primary")),
        kept("/Config/Domainname", json!("example.org")),
        kept("/Config/User", json!("0:0")),
        row("/Config/AttachStdin", json!(true), Nothing),
        row("/Config/AttachStdout", json!(true), Nothing),
        row("/Config/AttachStderr", json!(true), Nothing),
        kept("/Config/Tty", json!(true)),
        kept("/Config/OpenStdin", json!(true)),
        row("/Config/StdinOnce", json!(true), Nothing),
        kept("/Config/Env", json!(["LD_PRELOAD=/data/evil.so", "PATH=/data"])),
        kept("/Config/Cmd", json!(["sh", "-c", "evil"])),
        kept("/Config/Entrypoint", json!(["/data/evil"])),
        row("/Config/Image", json!("alpine:latest"), Nothing),
        row("/Config/Volumes", json!({"/var/run/docker.sock": {}}), Nothing),
        row(
            "/Config/WorkingDir",
            json!("/data/../proc/self/fd/7"),
            Becomes(vec![("/Config/WorkingDir", json!("/"))]),
        ),
        row("/Config/OnBuild", json!(["RUN evil"]), Nothing),
        row("/Config/Labels", json!({"traefik.enable": "true", "io.lifeboat.rehearsal": "x"}), Nothing),
        kept("/Config/StopSignal", json!("SIGKILL")),
        row("/Config/StopTimeout", json!(HUGE), Nothing),
        row("/Config/NetworkDisabled", json!(false), Nothing),
        row("/Config/MacAddress", json!("02:42:ac:11:00:02"), Nothing),
        row("/Config/ExposedPorts", json!({"22/tcp": {}}), Nothing),
        row("/Config/Shell", json!(["evil"]), Nothing),
        row("/Config/ArgsEscaped", json!(true), Nothing),
        row(
            "/Config/Healthcheck",
            json!({"Test": ["CMD", "evil"], "Interval": 1_000_000, "StartInterval": 1_000_000}),
            Becomes(vec![(
                "/Config/Healthcheck",
                json!({"Test": ["CMD", "evil"], "Interval": 1_000_000_000}),
            )]),
        ),
    ]
}

/// Fields about which resources of the host it may use.
fn resources() -> Vec<Row> {
    let device = json!([{"Path": "/dev/sda", "Weight": 1000, "Rate": HUGE}]);
    vec![
        row("/HostConfig/CpuShares", json!(262_144), Nothing),
        row("/HostConfig/Memory", json!(HUGE), Nothing),
        row("/HostConfig/NanoCpus", json!(HUGE), Nothing),
        row("/HostConfig/CgroupParent", json!("/"), Nothing),
        row("/HostConfig/BlkioWeight", json!(1000), Nothing),
        row("/HostConfig/BlkioWeightDevice", device.clone(), Nothing),
        row("/HostConfig/BlkioDeviceReadBps", device.clone(), Nothing),
        row("/HostConfig/BlkioDeviceWriteBps", device.clone(), Nothing),
        row("/HostConfig/BlkioDeviceReadIOps", device.clone(), Nothing),
        row("/HostConfig/BlkioDeviceWriteIOps", device, Nothing),
        row("/HostConfig/CpuPeriod", json!(1000), Nothing),
        row("/HostConfig/CpuQuota", json!(-1), Nothing),
        row("/HostConfig/CpuRealtimePeriod", json!(1_000_000), Nothing),
        row("/HostConfig/CpuRealtimeRuntime", json!(950_000), Nothing),
        row("/HostConfig/CpusetCpus", json!("0"), Nothing),
        row("/HostConfig/CpusetMems", json!("0"), Nothing),
        row("/HostConfig/CpuCount", json!(64), Nothing),
        row("/HostConfig/CpuPercent", json!(100), Nothing),
        row("/HostConfig/IOMaximumIOps", json!(HUGE), Nothing),
        row("/HostConfig/IOMaximumBandwidth", json!(HUGE), Nothing),
        row("/HostConfig/KernelMemory", json!(HUGE), Nothing),
        row("/HostConfig/KernelMemoryTCP", json!(HUGE), Nothing),
        row("/HostConfig/MemoryReservation", json!(HUGE), Nothing),
        row("/HostConfig/MemorySwap", json!(-1), Nothing),
        row("/HostConfig/MemorySwappiness", json!(100), Nothing),
        row("/HostConfig/OomKillDisable", json!(true), Nothing),
        row("/HostConfig/OomScoreAdj", json!(-1000), Nothing),
        row("/HostConfig/PidsLimit", json!(-1), Nothing),
        row("/HostConfig/ShmSize", json!(HUGE), Becomes(vec![("/HostConfig/ShmSize", json!(1_i64 << 30))])),
        row("/HostConfig/StorageOpt", json!({"size": "1T"}), Nothing),
        row(
            "/HostConfig/Ulimits",
            json!([
                {"Name": "core", "Soft": -1, "Hard": -1}, {"Name": "nice", "Soft": 40, "Hard": 40},
                {"Name": "memlock", "Soft": -1, "Hard": -1}, {"Name": "rtprio", "Soft": 99, "Hard": 99},
                {"Name": "msgqueue", "Soft": -1, "Hard": -1}, {"Name": "sigpending", "Soft": HUGE, "Hard": HUGE},
            ]),
            Nothing,
        ),
    ]
}

/// Fields that would let it out, or the host in.
fn host() -> Vec<Row> {
    vec![
        row("/HostConfig/Binds", json!(["/:/host", "/var/run/docker.sock:/d"]), Nothing),
        row("/HostConfig/ContainerIDFile", json!("/etc/cron.d/evil"), Nothing),
        row(
            "/HostConfig/LogConfig",
            json!({"Type": "syslog", "Config": {"syslog-address": "udp://192.0.2.9:514"}}),
            Nothing,
        ),
        row("/HostConfig/NetworkMode", json!("host"), Nothing),
        row("/HostConfig/PortBindings", json!({"22/tcp": [{"HostPort": "22"}]}), Nothing),
        row("/HostConfig/PublishAllPorts", json!(true), Nothing),
        row("/HostConfig/RestartPolicy", json!({"Name": "always"}), Nothing),
        row("/HostConfig/AutoRemove", json!(true), Nothing),
        row("/HostConfig/VolumeDriver", json!("evil"), Nothing),
        row("/HostConfig/VolumesFrom", json!(["prod"]), Nothing),
        row("/HostConfig/Mounts", json!([{"Type": "bind", "Source": "/", "Target": "/host"}]), Nothing),
        row("/HostConfig/ConsoleSize", json!([9, 9]), Nothing),
        row("/HostConfig/CapAdd", json!(["ALL", "CAP_SYS_ADMIN", "NET_RAW", "sys_admin"]), Nothing),
        row("/HostConfig/CapDrop", json!([]), Nothing),
        row("/HostConfig/CgroupnsMode", json!("host"), Nothing),
        row("/HostConfig/Cgroup", json!("container:prod"), Nothing),
        row("/HostConfig/Dns", json!(["192.0.2.9"]), Nothing),
        row("/HostConfig/DnsOptions", json!(["attempts:9"]), Nothing),
        row("/HostConfig/DnsSearch", json!(["evil.example"]), Nothing),
        row("/HostConfig/ExtraHosts", json!(["db:192.0.2.9", "host.docker.internal:host-gateway"]), Nothing),
        // Groups count inside, where nothing of the host's is.
        kept("/HostConfig/GroupAdd", json!(["0"])),
        row("/HostConfig/IpcMode", json!("host"), Nothing),
        row("/HostConfig/PidMode", json!("host"), Nothing),
        row("/HostConfig/UTSMode", json!("host"), Nothing),
        row("/HostConfig/UsernsMode", json!("host"), Nothing),
        row("/HostConfig/Links", json!(["prod:db"]), Nothing),
        row("/HostConfig/Privileged", json!(true), Nothing),
        kept("/HostConfig/ReadonlyRootfs", json!(true)),
        kept("/HostConfig/Init", json!(true)),
        row(
            "/HostConfig/SecurityOpt",
            json!([
                "seccomp=unconfined",
                "apparmor=unconfined",
                "label=disable",
                "no-new-privileges:false",
                "systempaths=unconfined",
                "writable-cgroups=true"
            ]),
            Nothing,
        ),
        row(
            "/HostConfig/Tmpfs",
            json!({"/proc/x": "", "/x/../sys/y": "", "/dev": "dev,suid", "/run": "size=1048576"}),
            Becomes(vec![("/HostConfig/Tmpfs", json!({"/run": "size=1048576"}))]),
        ),
        row(
            "/HostConfig/Tmpfs",
            json!({"/run": "no such option,device=/dev/sda,bind,shared,uid=5"}),
            Becomes(vec![("/HostConfig/Tmpfs", json!({"/run": "uid=5"}))]),
        ),
        row(
            "/HostConfig/Sysctls",
            json!({"kernel.core_pattern": "|/data/evil", "net.ipv6.conf.all.disable_ipv6": "0",
                "net.ipv4.ip_forward": "1", "net.ipv4.tcp_rmem": "4096 4096 999999999", "kernel.shmmax": "65536",
                "kernel.shm_rmid_forced ": "1"}),
            Becomes(vec![("/HostConfig/Sysctls", json!({"kernel.shmmax": "65536"}))]),
        ),
        row("/HostConfig/Runtime", json!("evil"), Nothing),
        row("/HostConfig/Isolation", json!("hyperv"), Nothing),
        row("/HostConfig/MaskedPaths", json!([]), Nothing),
        row("/HostConfig/ReadonlyPaths", json!([]), Nothing),
        row("/HostConfig/Devices", json!([{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/x"}]), Nothing),
        row("/HostConfig/DeviceCgroupRules", json!(["a *:* rwm"]), Nothing),
        row(
            "/HostConfig/DeviceRequests",
            json!([{"Driver": "cdi", "DeviceIDs": ["vendor.com/x=all"]}]),
            Nothing,
        ),
        row("/HostConfig/Annotations", json!({"run.oci.handler": "krun"}), Nothing),
    ]
}

fn rows() -> Vec<Row> {
    [identity(), config(), resources(), host()].into_iter().flatten().collect()
}

/// A container that waits, with a volume.
fn harmless(image: &str) -> Value {
    json!({
        "Id": "d".repeat(64), "Name": "/waiting", "Image": image,
        "Config": {"Image": "app:1", "Cmd": ["sleep", "600"]},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [{"Type": "volume", "Name": "data", "Destination": "/data", "RW": true}],
    })
}

/// The document with `value` at `at`.
fn with(mut document: Value, at: &str, value: Value) -> Value {
    let (parent, name) = at.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[name] = value;
    document
}

/// Each value of the document that is not an object, by its place, without what distinguishes containers.
fn leaves(document: &Value) -> BTreeMap<String, Value> {
    // `Path` and `Args` repeat entry point and command.
    const OWN: [&str; 11] = [
        "/Id",
        "/Created",
        "/Name",
        "/Path",
        "/Args",
        "/State",
        "/ResolvConfPath",
        "/HostnamePath",
        "/HostsPath",
        "/LogPath",
        "/GraphDriver",
    ];
    fn walk(value: &Value, at: &str, found: &mut BTreeMap<String, Value>) {
        match value.as_object() {
            Some(map) if !map.is_empty() => {
                for (name, value) in map {
                    walk(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
                }
            }
            _ => drop(found.insert(at.to_owned(), value.clone())),
        }
    }
    let mut found = BTreeMap::new();
    walk(document, "", &mut found);
    // By default the engine names a container after the start of its id.
    let id = document["Id"].as_str().unwrap_or_default().get(..12).unwrap_or_default().to_owned();
    found.retain(|at, value| {
        if *value == json!(id) {
            *value = json!("ID");
        }
        !OWN.iter().any(|own| at == own || at.starts_with(&format!("{own}/")))
    });
    // The name in these values is the container's own; one list of names may contain the other's id.
    for (at, value) in &mut found {
        if at.ends_with("/Aliases") {
            let names = value.as_array().into_iter().flatten();
            *value = names.map(|name| if *name == json!(id) { json!("ID") } else { name.clone() }).collect();
        }
    }
    found
}

fn inspected(id: &str) -> Value {
    let listed: Value = serde_json::from_str(&docker(&["inspect", "--type", "container", id])).unwrap();
    listed[0].clone()
}

fn each(found: &Docker) {
    let image = docker(&["inspect", "--format", "{{.Id}}", &found.busybox]);
    in_sandbox(found, TOGETHER, async |engine, sandbox| {
        let made = async |document: &Value| -> Result<Value, EngineError> {
            let parts = ContainerParts::from_document(document, None)?;
            let parts = (parts, ImageParts { id: image.clone(), ..Default::default() });
            let id = created(engine, sandbox, &parts, false).await?;
            let found = inspected(&id);
            docker(&["rm", "--force", &id]);
            Ok(found)
        };
        let base = leaves(&made(&harmless(&image)).await.unwrap());
        assert!(base.len() > 80, "{base:?}");
        let mut faults = Vec::new();
        for Row { at, worst, then } in rows() {
            let document = with(harmless(&image), at, worst.clone());
            let (wanted, document) = match (then, made(&document).await) {
                (Refused, Err(error)) => {
                    assert!(error.to_string().len() < 2000, "{at}: {error}");
                    continue;
                }
                (Refused, Ok(_)) => {
                    faults.push(format!("{at}: the engine makes such a container"));
                    continue;
                }
                (_, Err(error)) => {
                    faults.push(format!("{at}: {error}"));
                    continue;
                }
                (Nothing, Ok(document)) => (vec![], document),
                (Becomes(wanted), Ok(document)) => (wanted, document),
            };
            let mut expected = base.clone();
            for (place, value) in wanted {
                expected.retain(|at, _| at != place && !at.starts_with(&format!("{place}/")));
                expected.extend(
                    leaves(&json!({"x": value}))
                        .into_iter()
                        .map(|(below, value)| (format!("{place}{}", &below["/x".len()..]), value)),
                );
            }
            let got = leaves(&document);
            let differs: BTreeSet<&String> =
                got.keys().chain(expected.keys()).filter(|at| got.get(*at) != expected.get(*at)).collect();
            let shown: Vec<_> = differs.iter().map(|at| (at, expected.get(*at), got.get(*at))).collect();
            if !differs.is_empty() {
                faults.push(format!("{at}: {shown:?}"));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
        // All at once, as an attacker would send them.
        let mut all = harmless(&image);
        for Row { at, worst, .. } in rows().into_iter().filter(|row| !matches!(row.then, Refused)) {
            all = with(all, at, worst);
        }
        let document = made(&all).await.unwrap();
        for (at, value) in [
            ("/HostConfig/Privileged", json!(false)),
            ("/HostConfig/Binds", Value::Null),
            ("/HostConfig/PidMode", json!("")),
            ("/HostConfig/Runtime", json!("runc")),
        ] {
            assert_eq!(document.pointer(at), Some(&value), "{at}");
        }
        for Row { at, .. } in rows() {
            for value in [
                json!([]),
                json!({}),
                json!("x\0y"),
                json!(-1),
                json!(1e300),
                json!([[{"a": null}]]),
                Value::Null,
            ] {
                // Any value is either accepted or refused, without a panic.
                _ = ContainerParts::from_document(&with(harmless(&image), at, value), None);
            }
        }
    });
}

/// This is the first place to notice a field of a newer engine.
fn complete(found: &Docker) {
    let image = docker(&["inspect", "--format", "{{.Id}}", &found.busybox]);
    let id = docker(&["create", &image, "true"]);
    let document = inspected(&id);
    docker(&["rm", &id]);
    // Fields about the container's identity and names.
    let others = ["/Id", "/Image", "/HostConfig", "/Config", "/NetworkSettings"];
    let rows: BTreeSet<&str> = rows().iter().map(|row| row.at).chain(others).collect();
    for at in ["", "/Config", "/HostConfig"] {
        for name in document.pointer(at).unwrap().as_object().unwrap().keys() {
            let place = format!("{at}/{name}");
            assert!(rows.contains(place.as_str()), "{place} has no row");
        }
    }
}
