//! The abilities that an engine states for scratch containers. They may change, and are not stored in snapshots.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::document::{keys, list, text, texts};

/// An engine's capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineMeans {
    /// How it makes control groups; `None` if it makes none.
    pub cgroups: Option<Cgroups>,
    /// The runtimes that it can start containers with.
    pub runtimes: BTreeSet<String>,
    /// The version of runc, if it says so.
    pub runc: Option<String>,
    /// Whether it filters the system calls of containers.
    pub filters_calls: bool,
    /// Whether root in a container is another user outside.
    pub maps_users: bool,
}

/// How an engine makes control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cgroups {
    /// Who makes them.
    pub driver: CgroupDriver,
    /// The version of the kernel's control groups: 1 or 2.
    pub version: u8,
}

/// Who makes control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// The runtime, as folders.
    Cgroupfs,
    /// systemd, as slices and scopes.
    Systemd,
}

/// Releases of runc with a container escape, each with the first fixed release of its line.
const HOLES: &[(&str, &[[u32; 3]])] = &[
    ("by its working folder (CVE-2024-21626)", &[[1, 1, 12]]),
    (
        "by what it mounts over /dev and /proc (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881)",
        &[[1, 2, 8], [1, 3, 3]],
    ),
];

impl EngineMeans {
    /// Parses the answers to `/version` and `/info`.
    pub(crate) fn from_documents(version: &Value, info: &Value) -> Self {
        let driver = match text(&info["CgroupDriver"]).as_str() {
            "cgroupfs" => Some(CgroupDriver::Cgroupfs),
            "systemd" => Some(CgroupDriver::Systemd),
            _ => None,
        };
        // Engines that support only one version do not name it.
        let cgroups = driver
            .map(|driver| Cgroups { driver, version: if info["CgroupVersion"] == "2" { 2 } else { 1 } });
        let components = list(&version["Components"]);
        let runc = components.iter().find(|component| component["Name"] == "runc");
        let has = |name: &str| {
            let named = format!("name={name}");
            texts(&info["SecurityOptions"]).iter().any(|option| option.split(',').any(|part| part == named))
        };
        Self {
            cgroups,
            runtimes: keys(&info["Runtimes"]).into_iter().collect(),
            runc: runc.map(|runc| text(&runc["Version"])),
            filters_calls: has("seccomp"),
            maps_users: has("userns") || has("rootless"),
        }
    }

    /// Known container escapes in this release of runc, in words. Distributions patch releases without changing their
    /// numbers, so this is a question and not a verdict.
    pub fn known_holes(&self) -> Vec<&'static str> {
        let Some(version) = self.runc.as_deref().and_then(release) else { return Vec::new() };
        let is_closed = |closed: &[[u32; 3]]| {
            // A line is fixed from its own release on, and so is every line after the last one that is listed.
            closed.iter().any(|first| first[..2] == version[..2] && version >= *first)
                || closed.last().is_some_and(|last| version[..2] > last[..2])
        };
        HOLES.iter().filter(|(_, closed)| !is_closed(closed)).map(|(way, _)| *way).collect()
    }
}

/// The numbers of a release such as `1.1.5+ds1`.
fn release(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_engine_says_is_read() {
        let version = json!({"Components": [{"Name": "containerd", "Version": "1.6"}, {"Name": "runc", "Version": "1.1.5+ds1"}]});
        let info = json!({
            "CgroupDriver": "cgroupfs", "CgroupVersion": "1", "Runtimes": {"runc": {}, "runsc": {}},
            "SecurityOptions": ["name=seccomp,profile=default", "name=cgroupns"],
        });
        let means = EngineMeans::from_documents(&version, &info);
        assert_eq!(means.cgroups, Some(Cgroups { driver: CgroupDriver::Cgroupfs, version: 1 }));
        assert!(means.runtimes.contains("runsc") && means.filters_calls && !means.maps_users);
        let info =
            json!({"CgroupDriver": "systemd", "CgroupVersion": "2", "SecurityOptions": ["name=rootless"]});
        let means = EngineMeans::from_documents(&json!({}), &info);
        assert_eq!(means.cgroups, Some(Cgroups { driver: CgroupDriver::Systemd, version: 2 }));
        assert!(means.maps_users && !means.filters_calls && means.known_holes().is_empty());
        let means = EngineMeans::from_documents(&json!({}), &json!({"CgroupDriver": "none"}));
        assert_eq!(means.cgroups, None);
    }

    #[test]
    fn holes_of_runc_are_known_by_release() {
        let holes = |runc: &str| {
            let version = json!({"Components": [{"Name": "runc", "Version": runc}]});
            EngineMeans::from_documents(&version, &json!({})).known_holes().len()
        };
        for (release, expected) in [
            ("1.0.3", 2),
            ("1.1.5+ds1", 2),
            ("1.1.12", 1),
            ("1.1.15", 1),
            ("1.2.0", 1),
            ("1.2.7", 1),
            ("1.2.8", 0),
            ("1.3.2", 1),
            ("1.3.3", 0),
            ("1.4.0", 0),
            ("2.0.0", 0),
            ("unknown", 0),
        ] {
            assert_eq!(holes(release), expected, "{release}");
        }
    }
}
