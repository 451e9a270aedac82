//! Looks around inside a container's network: this process's own code on a thread that has entered it.
//!
//! No program of ours runs in the container, and nothing is written into it; the thread ends afterwards.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::EngineError;
use crate::document::text;

/// A handle of one container's network namespace.
#[derive(Debug)]
pub(crate) struct NetworkNamespace {
    namespace: File,
}

/// What a thread inside sees of its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkView {
    /// The addresses that accepted a connection.
    pub(crate) reached: Vec<SocketAddr>,
    /// Gateways of default routes that somebody answers for. An engine sets a default route even if nobody has the
    /// gateway's address; such a route leads nowhere.
    pub(crate) gateways: Vec<Ipv4Addr>,
    /// IPv6 addresses other than the loopback's.
    pub(crate) ipv6: Vec<String>,
}

fn unproven(reason: impl Into<String>) -> EngineError {
    EngineError::IsolationUnproven { reason: reason.into() }
}

impl NetworkNamespace {
    /// Opens the namespace of a running container, from the engine's description of it.
    pub(crate) fn open(container: &Value) -> Result<Self, EngineError> {
        let id = text(&container["Id"]);
        let pid = container["State"]["Pid"].as_u64().filter(|&pid| pid > 0);
        let pid = pid.ok_or_else(|| unproven("the container does not run"))?;
        let namespace = File::open(format!("/proc/{pid}/ns/net"))
            .map_err(|error| unproven(format!("the container's network cannot be entered: {error}")))?;
        // The pid comes from the engine. Only if the process with that number here is the container's are we on the
        // engine's host; if the namespace were our own, we would test ourselves.
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if id.is_empty() || !groups.contains(&id) {
            return Err(unproven(format!("process {pid} on this host does not belong to the container")));
        }
        let inode = |path: &str| fs::metadata(path).map(|found| found.ino()).ok();
        let theirs = namespace.metadata().map(|found| found.ino()).ok();
        if theirs.is_none() || theirs == inode("/proc/self/ns/net") {
            return Err(unproven("the container has no network of its own"));
        }
        Ok(Self { namespace })
    }

    /// Those of `addresses` that accept a TCP connection from inside.
    pub(crate) fn reaches(
        &self,
        addresses: &[SocketAddr],
        timeout: Duration,
    ) -> Result<Vec<SocketAddr>, EngineError> {
        Ok(self.look(addresses, timeout)?.reached)
    }

    /// The network's identity: two containers that share one have the same.
    pub(super) fn network(&self) -> Option<u64> {
        self.namespace.metadata().map(|found| found.ino()).ok()
    }

    /// Runs `work` on a thread that has entered the network.
    pub(super) fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        // A thread of its own: it stays in the namespace, so it must not go back to a pool. Threads that it starts are
        // in the same namespace.
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(
                    |errno| unproven(format!("the container's network cannot be entered: {errno}")),
                )?;
                work()
            });
            inside.join().unwrap_or_else(|_| Err(unproven("the look from inside ended in a panic")))
        })
    }

    /// Tries `addresses` and the network's own gateways from inside, all at once, and reads its tables.
    pub(crate) fn look(
        &self,
        addresses: &[SocketAddr],
        timeout: Duration,
    ) -> Result<NetworkView, EngineError> {
        self.enter(|| look_around(addresses, timeout))
    }
}

/// The same on a thread that is already inside.
pub(super) fn look_around(addresses: &[SocketAddr], timeout: Duration) -> Result<NetworkView, EngineError> {
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/thread-self/net/{name}"))
            .map_err(|error| unproven(format!("the container's network cannot be read: {error}")))
    };
    let ways: Vec<Ipv4Addr> = default_gateways(&read("route")?);
    let port = addresses.first().map_or(9, SocketAddr::port);
    let knocks = ways.iter().map(|&way| SocketAddr::new(way.into(), port));
    let mut reached = reachable(addresses.iter().copied().chain(knocks), timeout);
    reached.dedup();
    let neighbours = neighbours(&read("arp")?);
    let gateways = ways.into_iter().filter(|way| neighbours.contains(way)).collect();
    // The file is missing if the kernel has no IPv6.
    let ipv6 = foreign_ipv6(&read("if_inet6").unwrap_or_default());
    Ok(NetworkView { reached, gateways, ipv6 })
}

/// Those of `addresses` that accept a connection, each tried on a thread of its own, sorted.
fn reachable(addresses: impl Iterator<Item = SocketAddr>, timeout: Duration) -> Vec<SocketAddr> {
    thread::scope(|scope| {
        let attempts: Vec<_> = addresses
            .map(|address| {
                scope.spawn(move || TcpStream::connect_timeout(&address, timeout).is_ok().then_some(address))
            })
            .collect();
        let mut reached: Vec<SocketAddr> =
            attempts.into_iter().filter_map(|attempt| attempt.join().ok().flatten()).collect();
        reached.sort_unstable();
        reached
    })
}

/// Parses `/proc/net/route`: interface, destination, gateway, the latter two in hexadecimal in the machine's byte
/// order; all zeros is the destination of a default route. One without a gateway sends directly to the link.
fn default_gateways(table: &str) -> Vec<Ipv4Addr> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            (fields.next()? == "00000000").then_some(())?;
            let gateway = u32::from_str_radix(fields.next()?, 16).ok()?;
            Some(Ipv4Addr::from(gateway.to_ne_bytes()))
        })
        .collect()
}

/// Parses `/proc/net/arp`: the addresses for which a machine has answered (flag 0x2, complete).
fn neighbours(table: &str) -> Vec<Ipv4Addr> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let address = fields.next()?.parse().ok()?;
            let flags = u32::from_str_radix(fields.nth(1)?.trim_start_matches("0x"), 16).ok()?;
            (flags & 2 != 0).then_some(address)
        })
        .collect()
}

/// Parses `/proc/net/if_inet6`: first the address, and last the interface.
fn foreign_ipv6(table: &str) -> Vec<String> {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let address = fields.next()?;
            (fields.last()? != "lo").then(|| address.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_understood() {
        let inside = "Iface\tDestination\tGateway\tFlags\neth0\t000016AC\t00000000\t0001\neth0\t00000000\t010016AC\t0003\n";
        let little_endian = Ipv4Addr::new(172, 22, 0, 1);
        if cfg!(target_endian = "little") {
            assert_eq!(default_gateways(inside), [little_endian]);
        }
        let arp = "IP address       HW type     Flags       HW address            Mask     Device\n\
                   172.22.0.1       0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                   172.22.0.3       0x1         0x2         02:42:ac:16:00:03     *        eth0\n";
        assert_eq!(neighbours(arp), [Ipv4Addr::new(172, 22, 0, 3)]);
        let six = "00000000000000000000000000000001 01 80 10 80 lo\nfe800000000000000042acfffe110002 05 40 20 80 eth0\n";
        assert_eq!(foreign_ipv6(six), ["fe800000000000000042acfffe110002"]);
    }

    #[test]
    fn a_process_that_is_not_the_containers_is_no_door() {
        let own = serde_json::json!({"Id": "f".repeat(64), "State": {"Pid": std::process::id()}});
        assert!(NetworkNamespace::open(&own).is_err());
        assert!(NetworkNamespace::open(&serde_json::json!({"Id": "f", "State": {"Pid": 0}})).is_err());
    }
}
