//! The parts of a captured container that a scratch container may have: allow-lists, so that anything unforeseen is
//! left out.

use std::collections::BTreeMap;

use bollard::models::ResourcesUlimits;
use serde_json::Value;

use crate::document::{list, pairs, some_text, texts};

/// Capabilities whose effect stays inside the container: the engine's default set, without those of [`TAKEN`], and one
/// that databases need.
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Capabilities that no scratch container has: raw and packet sockets, device nodes, the host's audit log, capabilities
/// on files, the host's scheduler.
pub const TAKEN: &[&str] = &["NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP", "SYS_NICE"];

/// Kernel settings of the container's own namespaces that affect how an application works, but not what it can reach.
/// An entry that ends in `.` or `_` or `shm` is a prefix.
const SYSCTLS: &[&str] = &[
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_",
    "kernel.shm",
    "kernel.msg",
    "kernel.sem",
    "fs.mqueue.",
];

/// Exceptions that are left out: how much kernel memory each connection uses.
const OF_THE_KERNELS_MEMORY: [&str; 3] = ["net.ipv4.tcp_mem", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"];

/// Limits that only restrict the process itself. Those that let it take more of the host (`memlock`, `nice`, `rtprio`,
/// …) are left out.
const ULIMITS: &[&str] = &["cpu", "data", "fsize", "nofile", "nproc", "stack"];

/// Options of a folder in memory (tmpfs(5)): those with a value, and those without. Options that would make it another
/// kind of mount (`bind`, `shared`, …) and device nodes are left out.
const MEMORY_VALUES: &[&str] = &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
const MEMORY_FLAGS: &[&str] = &["ro", "rw", "exec", "noexec", "suid", "nosuid", "nodev"];

/// System folders, where an application's data does not belong.
const SYSTEM: [&str; 3] = ["proc", "sys", "dev"];

fn capability(name: &str) -> &str {
    name.strip_prefix("CAP_").unwrap_or(name)
}

/// The captured capabilities that are added.
pub(super) fn added_capabilities(host: &Value, removed: &mut Vec<String>) -> Vec<String> {
    let (kept, gone): (Vec<String>, Vec<String>) =
        texts(&host["CapAdd"]).into_iter().partition(|name| CAPABILITIES.contains(&capability(name)));
    removed.extend(gone.into_iter().map(|name| format!("the capability {name}")));
    kept
}

/// The captured capabilities that are dropped, and always those of [`TAKEN`].
pub(super) fn dropped_capabilities(host: &Value) -> Vec<String> {
    let mut dropped = texts(&host["CapDrop"]);
    for taken in TAKEN {
        if !dropped.iter().any(|name| capability(name) == *taken) {
            dropped.push((*taken).to_owned());
        }
    }
    dropped
}

/// The captured kernel settings that are kept.
pub(super) fn sysctls(host: &Value, removed: &mut Vec<String>) -> BTreeMap<String, String> {
    let permitted = |name: &str| {
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.')
            && !OF_THE_KERNELS_MEMORY.contains(&name)
            && SYSCTLS.iter().any(|known| match known.strip_suffix('.').or(known.strip_suffix('_')) {
                Some(_) => name.starts_with(known),
                None => name == *known || (known.starts_with("kernel.") && name.starts_with(known)),
            })
    };
    let (kept, gone): (BTreeMap<String, String>, BTreeMap<String, String>) =
        pairs(&host["Sysctls"]).into_iter().partition(|(name, _)| permitted(name));
    removed.extend(gone.into_iter().map(|(name, value)| format!("the kernel setting {name}={value}")));
    kept
}

/// The captured limits that are kept. No scratch container may dump core, because a program of the host's may process
/// it.
pub(super) fn ulimits(host: &Value, removed: &mut Vec<String>) -> Vec<ResourcesUlimits> {
    let mut kept = vec![ResourcesUlimits { name: Some("core".to_owned()), soft: Some(0), hard: Some(0) }];
    for limit in list(&host["Ulimits"]) {
        let Some(name) = some_text(&limit["Name"]) else { continue };
        if ULIMITS.contains(&name.as_str()) {
            let (soft, hard) = (limit["Soft"].as_i64(), limit["Hard"].as_i64());
            kept.push(ResourcesUlimits { name: Some(name), soft, hard });
        } else if name != "core" || limit["Hard"] != 0 {
            removed.push(format!("the limit {name}"));
        }
    }
    kept
}

/// The captured options of the folder in memory at `target` that are kept.
pub(super) fn memory_options(target: &str, options: &str, removed: &mut Vec<String>) -> String {
    let permitted = |option: &&str| match option.split_once('=') {
        Some((name, value)) => {
            let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'%');
            MEMORY_VALUES.contains(&name) && plain
        }
        None => MEMORY_FLAGS.contains(option),
    };
    let (kept, gone): (Vec<&str>, Vec<&str>) =
        options.split(',').filter(|option| !option.is_empty()).partition(permitted);
    removed
        .extend(gone.into_iter().map(|option| format!("the option {option} of the memory folder {target}")));
    kept.join(",")
}

/// The parts of a path in a container, with `..` resolved as the engine does. A relative path starts at the root.
pub(super) fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts
}

/// Whether `path` in a container is at or below `/proc`, `/sys` or `/dev`.
pub(crate) fn is_of_the_system(path: &str) -> bool {
    parts(path).first().is_some_and(|first| SYSTEM.contains(first))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kernel_settings_pass_by_name_only() {
        let mut removed = Vec::new();
        let host = json!({"Sysctls": {
            "net.core.somaxconn": "1024", "net.ipv4.tcp_keepalive_time": "60", "kernel.shmmax": "1", "kernel.sem": "1 2 3 4",
            "fs.mqueue.msg_max": "10", "net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "5",
            "net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.eth0.disable_ipv6": "0", "net.ipv4.conf.all.arp_ignore": "0",
            "net.ipv4.ip_forward": "1", "net.core.somaxconnx": "1", "kernel.shm/../core_pattern": "|/x", "net.ipv4.tcp_x ": "1", "net.ipv4.tcp_rmem": "4096 87380 999999999", "kernel.core_pattern": "|/x", "net.ipv4.ping_group_range": "0 1",
        }});
        let kept = sysctls(&host, &mut removed);
        assert_eq!(kept.len(), 7, "{kept:?}");
        assert_eq!(removed.len(), 10, "{removed:?}");
        assert!(removed.contains(&"the kernel setting net.ipv6.conf.eth0.disable_ipv6=0".to_owned()));
    }

    #[test]
    fn folders_in_memory_have_options_of_their_own_only() {
        let mut removed = Vec::new();
        let mut kept = |options: &str| memory_options("/run", options, &mut removed);
        assert_eq!(kept("rw,noexec,nosuid,size=65536k,mode=1777"), "rw,noexec,nosuid,size=65536k,mode=1777");
        assert_eq!(kept(""), "");
        for bad in
            ["bind", "rshared", "dev", "device=/dev/sda", "size=1 2", "mpol=bind:0", "remount", "x=\u{1b}"]
        {
            assert_eq!(kept(&format!("uid=5,,{bad}")), "uid=5", "{bad}");
        }
        assert_eq!(removed.len(), 8);
        assert_eq!(removed[0], "the option bind of the memory folder /run");
    }

    #[test]
    fn paths_are_worked_out_as_the_engine_does() {
        assert_eq!(parts("/a//b/./../c"), ["a", "c"]);
        assert_eq!(parts("relative/x"), ["relative", "x"]);
    }

    #[test]
    fn limits_that_take_of_the_host_are_left_out_and_there_is_no_core() {
        let mut removed = Vec::new();
        let limit = |name: &str, hard: i64| json!({"Name": name, "Soft": 1, "Hard": hard});
        let host = json!({"Ulimits": [limit("nofile", 9), limit("nice", 40), limit("rtprio", 99), limit("memlock", -1),
            limit("core", -1), limit("nproc", 5)]});
        let kept = ulimits(&host, &mut removed);
        let names: Vec<&str> = kept.iter().filter_map(|limit| limit.name.as_deref()).collect();
        assert_eq!(names, ["core", "nofile", "nproc"]);
        assert_eq!((kept[0].soft, kept[0].hard), (Some(0), Some(0)));
        assert_eq!(removed, ["the limit nice", "the limit rtprio", "the limit memlock", "the limit core"]);
    }

    #[test]
    fn raw_sockets_and_their_like_are_always_dropped() {
        let mut removed = Vec::new();
        let host = json!({"CapDrop": ["CHOWN", "CAP_MKNOD"], "CapAdd": ["NET_RAW", "SYS_NICE", "cap_net_raw", "ALL", "IPC_LOCK"]});
        assert_eq!(
            dropped_capabilities(&host),
            ["CHOWN", "CAP_MKNOD", "NET_RAW", "AUDIT_WRITE", "SETFCAP", "SYS_NICE"]
        );
        assert_eq!(added_capabilities(&host, &mut removed), ["IPC_LOCK"]);
        assert_eq!(removed.len(), 4, "{removed:?}");
        assert_eq!(dropped_capabilities(&json!({})), TAKEN);
        assert!(CAPABILITIES.iter().all(|name| !TAKEN.contains(name)));
    }

    #[test]
    fn folders_of_the_system_are_known_however_they_are_written() {
        for bad in [
            "/proc",
            "/proc/self/fd/7",
            "//sys/fs",
            "/app/../dev/fd",
            "proc/1",
            "/./dev/",
            "/../proc",
            "/a/b/../../sys",
        ] {
            assert!(is_of_the_system(bad), "{bad}");
        }
        for good in ["", "/", "/data", "/var/lib/proc", "/process", "/proc/../data", "/dev-data"] {
            assert!(!is_of_the_system(good), "{good}");
        }
    }
}
