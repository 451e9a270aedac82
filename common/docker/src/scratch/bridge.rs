//! The first barrier: settings of a sandbox's bridge on this host. With them, the host has no address on the bridge,
//! answers nobody there, believes no sender there and forwards nothing from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::frames::Mac;
use crate::EngineError;

/// Settings below `/proc/sys/net`; `{}` is the bridge.
const SETTINGS: &[(&str, &str)] = &[
    // By default the kernel gives every interface a link-local address.
    ("ipv6/conf/{}/disable_ipv6", "1"),
    // Answer no ARP requests, for any address of this host.
    ("ipv4/conf/{}/arp_ignore", "8"),
    // Accept a packet only if its sender is reached through the interface that it came from; no sender is.
    ("ipv4/conf/{}/rp_filter", "1"),
    ("ipv4/conf/{}/accept_local", "0"),
    ("ipv4/conf/{}/accept_source_route", "0"),
    ("ipv4/conf/{}/forwarding", "0"),
    ("ipv4/conf/{}/bc_forwarding", "0"),
    ("ipv4/conf/{}/route_localnet", "0"),
    ("ipv4/conf/{}/proxy_arp", "0"),
];

/// One sandbox's bridge on this host.
#[derive(Debug, Clone)]
pub(super) struct Bridge {
    name: String,
    settings: PathBuf,
    interfaces: PathBuf,
}

fn cannot(reason: String, advice: &str) -> EngineError {
    EngineError::WallMissing { wall: "bridge", reason, advice: advice.to_owned() }
}

impl Bridge {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), settings: "/proc/sys/net".into(), interfaces: "/sys/class/net".into() }
    }

    fn paths(&self) -> impl Iterator<Item = (PathBuf, &'static str)> {
        // A kernel without IPv6 has no such settings, and nothing to disable.
        let six = self.settings.join("ipv6").exists();
        SETTINGS
            .iter()
            .filter(move |(path, _)| six || !path.starts_with("ipv6/"))
            .map(|(path, value)| (self.settings.join(path.replace("{}", &self.name)), *value))
            // Newer kernels have settings that older ones lack.
            .filter(|(path, _)| path.exists() || !path.ends_with("bc_forwarding"))
    }

    /// Sets everything and verifies it.
    pub(super) fn raise(&self) -> Result<(), EngineError> {
        if !self.interfaces.join(&self.name).join("bridge").exists() {
            return Err(cannot(
                format!("the scratch network's bridge {} is not on this host", self.name),
                "run the drill as root on the host where the engine runs; nothing was restored",
            ));
        }
        for (path, value) in self.paths() {
            fs::write(&path, value).map_err(|error| {
                let advice = match error.kind() {
                    io::ErrorKind::PermissionDenied => "run the drill as root; nothing was restored",
                    _ => "make /proc/sys/net writable (a container needs --privileged); nothing was restored",
                };
                cannot(format!("{} cannot be set to {value}: {error}", path.display()), advice)
            })?;
        }
        match self.faults() {
            faults if faults.is_empty() => Ok(()),
            faults => Err(cannot(
                faults.join(", "),
                "look for a program that changes network settings (sysctl, a network manager); nothing was restored",
            )),
        }
    }

    /// The settings that have changed, and addresses that this host has on the bridge.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self
            .paths()
            .filter_map(|(path, value)| match fs::read_to_string(&path) {
                Ok(found) if found.trim() == value => None,
                Ok(found) => Some(format!("{} is {} in place of {value}", path.display(), found.trim())),
                Err(error) => Some(format!("{} cannot be read: {error}", path.display())),
            })
            .collect();
        let six = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        faults.extend(
            addresses_on(&six, &self.name).map(|address| format!("this host has {address} on {}", self.name)),
        );
        faults
    }

    /// The bridge's own hardware address.
    pub(super) fn mac(&self) -> Result<Mac, EngineError> {
        let path = self.interfaces.join(&self.name).join("address");
        let text = fs::read_to_string(&path).map_err(|error| unproven(&path, &error.to_string()))?;
        parse_mac(text.trim()).ok_or_else(|| unproven(&path, "it holds no hardware address"))
    }

    /// How many packets this host has received from the bridge.
    pub(super) fn packets_received(&self) -> Result<u64, EngineError> {
        let path = self.interfaces.join(&self.name).join("statistics/rx_packets");
        let text = fs::read_to_string(&path).map_err(|error| unproven(&path, &error.to_string()))?;
        text.trim().parse().map_err(|_| unproven(&path, "it holds no number"))
    }
}

fn unproven(path: &Path, reason: &str) -> EngineError {
    EngineError::IsolationUnproven { reason: format!("{}: {reason}", path.display()) }
}

fn parse_mac(text: &str) -> Option<Mac> {
    let bytes = hex::decode(text.replace(':', "")).ok()?;
    bytes.try_into().ok()
}

/// The addresses that `/proc/net/if_inet6` shows on `interface`.
fn addresses_on<'a>(table: &'a str, interface: &'a str) -> impl Iterator<Item = &'a str> {
    table.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.next()?;
        (fields.last()? == interface).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(folder: &Path, six: bool) -> Bridge {
        let (settings, interfaces) = (folder.join("net"), folder.join("class"));
        fs::create_dir_all(interfaces.join("lb-x/bridge")).unwrap();
        let families: &[&str] = if six { &["ipv4", "ipv6"] } else { &["ipv4"] };
        for family in families {
            fs::create_dir_all(settings.join(family).join("conf/lb-x")).unwrap();
        }
        Bridge { name: "lb-x".to_owned(), settings, interfaces }
    }

    #[test]
    fn every_setting_is_written_and_one_that_changes_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let bridge = host(folder.path(), true);
        bridge.raise().unwrap();
        assert_eq!(bridge.faults(), [""; 0]);
        fs::write(folder.path().join("net/ipv6/conf/lb-x/disable_ipv6"), "0\n").unwrap();
        assert!(bridge.faults()[0].contains("disable_ipv6 is 0 in place of 1"), "{:?}", bridge.faults());
    }

    #[test]
    fn a_kernel_without_ipv6_and_a_host_without_the_bridge() {
        let folder = tempfile::tempdir().unwrap();
        let mut bridge = host(folder.path(), false);
        bridge.raise().unwrap();
        bridge.name = "lb-elsewhere".to_owned();
        let error = bridge.raise().unwrap_err().to_string();
        assert!(error.contains("is not on this host"), "{error}");
    }

    #[test]
    fn tables_are_read() {
        let six = "fe800000000000000042acfffe110002 05 40 20 80 eth0\nfe80000000000000ac 06 40 20 80 lb-x\n";
        assert_eq!(addresses_on(six, "lb-x").collect::<Vec<_>>(), ["fe80000000000000ac"]);
        assert_eq!(parse_mac("02:42:ac:16:00:0f"), Some([2, 0x42, 0xac, 0x16, 0, 15]));
        assert_eq!(parse_mac("02:42"), None);
    }
}
