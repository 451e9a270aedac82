//! The proof that a sandbox is cut off: a listener of ours on this host, which everyone on this host reaches, must be out
//! of reach from inside.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};

use super::namespace::{Door, View};
use super::{Sandbox, probe};
use crate::EngineError;

/// How long a connection attempt may take. Inside a sandbox most fail at once, because there is no way out.
const ATTEMPT: Duration = Duration::from_secs(1);

/// What was shown about a sandbox's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// Addresses of this host where a listener of ours answered this host itself, and no one inside.
    pub unreachable_from_inside: Vec<String>,
}

impl Sandbox {
    /// Starts the probe and shows from inside the network that this host cannot be reached, that no gateway answers,
    /// and that there is no IPv6.
    ///
    /// # Errors
    /// [`EngineError::NotIsolated`] when something was reached, and [`EngineError::IsolationUnproven`] when it could not
    /// be tried. In both cases no container can be made in this sandbox.
    pub async fn prove_isolation(&mut self) -> Result<Isolation, EngineError> {
        let image = probe::load(&self.engine, &self.owner).await?;
        let body = probe::container(&image, &self.owner, &self.network);
        let name = self.owner.container_name(probe::NAME);
        let client = self.engine.client();
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let id = client
            .create_container(Some(options), body)
            .await
            .map_err(EngineError::call("create the probe"))?
            .id;
        client
            .start_container(&id, None::<StartContainerOptions>)
            .await
            .map_err(EngineError::call("start the probe"))?;
        let document = self.engine.container_document(&id).await?;
        let door = Door::open(&document)?;
        let gateways = self.gateways.clone();
        let isolation = tokio::task::spawn_blocking(move || prove(&door, &gateways))
            .await
            .map_err(|error| EngineError::IsolationUnproven { reason: error.to_string() })??;
        self.probe = Some(id);
        self.isolation = Some(isolation.clone());
        Ok(isolation)
    }
}

fn prove(door: &Door, gateways: &[String]) -> Result<Isolation, EngineError> {
    let unproven = |reason: String| EngineError::IsolationUnproven { reason };
    let listen = |address: IpAddr| TcpListener::bind((address, 0));
    let listener = listen(Ipv4Addr::UNSPECIFIED.into())
        .map_err(|error| unproven(format!("no listener can be opened on this host: {error}")))?;
    let port = listener.local_addr().map_err(|error| unproven(error.to_string()))?.port();
    // A host without IPv6 has nothing to reach there.
    let six = listen(Ipv6Addr::UNSPECIFIED.into()).ok();
    let port_six = six.as_ref().and_then(|six| six.local_addr().ok()).map(|address| address.port());
    let own: Vec<SocketAddr> = host_addresses()
        .into_iter()
        .filter_map(|address| match address {
            IpAddr::V4(_) => Some(SocketAddr::new(address, port)),
            IpAddr::V6(_) => port_six.map(|port| SocketAddr::new(address, port)),
        })
        .collect();
    // The control: the listener answers this host. Without it, silence inside would prove nothing. The system accepts
    // connections into the queue, so nobody needs to take them.
    let answered: Vec<SocketAddr> =
        own.into_iter().filter(|address| TcpStream::connect_timeout(address, ATTEMPT).is_ok()).collect();
    if !answered.iter().any(|address| !address.ip().is_loopback()) {
        return Err(unproven("this host does not reach its own listener, so nothing can be told".to_owned()));
    }
    let mut tried = answered.clone();
    tried.extend(
        gateways
            .iter()
            .filter_map(|gateway| gateway.parse().ok())
            .map(|gateway| SocketAddr::new(gateway, port)),
    );
    judge(&door.look(&tried, ATTEMPT)?, &answered)
}

fn judge(view: &View, answered: &[SocketAddr]) -> Result<Isolation, EngineError> {
    let mut reached: Vec<String> = view.reached.iter().map(|address| address.ip().to_string()).collect();
    reached.extend(view.gateways.iter().map(|gateway| format!("the gateway {gateway} of a default route")));
    reached.extend(view.ipv6.iter().map(|address| format!("an IPv6 network (it has the address {address})")));
    if !reached.is_empty() {
        return Err(EngineError::NotIsolated { reached });
    }
    Ok(Isolation {
        unreachable_from_inside: answered.iter().map(|address| address.ip().to_string()).collect(),
    })
}

/// The addresses of this host, without the link-local ones of IPv6, which need an interface to be reached.
fn host_addresses() -> BTreeSet<IpAddr> {
    let mut addresses = local_ipv4(&fs::read_to_string("/proc/net/fib_trie").unwrap_or_default());
    addresses.extend(global_ipv6(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default()));
    addresses
}

/// `/proc/net/fib_trie`: an address stands in a line of its own, above the line that says what it is.
fn local_ipv4(trie: &str) -> BTreeSet<IpAddr> {
    let mut last = None;
    let mut found = BTreeSet::new();
    for line in trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.ends_with("host LOCAL") {
            found.extend(last.map(IpAddr::V4));
        }
    }
    found
}

fn global_ipv6(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let digits = line.split_ascii_whitespace().next()?;
        let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        (!address.is_unicast_link_local()).then_some(IpAddr::V6(address))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 172.17.0.0\n        /16 link UNICAST\n     |-- 172.17.0.1\n        /32 host LOCAL\n     |-- 172.17.255.255\n        /32 link BROADCAST\n";
        assert_eq!(local_ipv4(trie), BTreeSet::from([IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1))]));
        let six = "00000000000000000000000000000001 01 80 10 80 lo\nfe800000000000000042acfffe110002 05 40 20 80 eth0\n";
        assert_eq!(global_ipv6(six).collect::<Vec<_>>(), [IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        assert!(host_addresses().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn any_way_out_is_a_leak() {
        let answered = ["10.0.0.1:99".parse().unwrap()];
        let closed = View { reached: vec![], gateways: vec![], ipv6: vec![] };
        assert_eq!(judge(&closed, &answered).unwrap().unreachable_from_inside, ["10.0.0.1"]);
        let leaks = [
            View { reached: answered.to_vec(), ..closed.clone() },
            View { gateways: vec![Ipv4Addr::new(10, 0, 0, 1)], ..closed.clone() },
            View { ipv6: vec!["fe80".into()], ..closed },
        ];
        for leak in leaks {
            assert!(matches!(judge(&leak, &answered), Err(EngineError::NotIsolated { .. })), "{leak:?}");
        }
    }
}
