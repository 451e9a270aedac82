//! Proves that a sandbox is isolated: it tries what an attacker inside would try, and our listeners on this host, which
//! everyone on this host can reach, must receive nothing. The proof is made before anything is started, from a probe,
//! and again afterwards from the network of every container.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};

use super::attack::{self, Aim, Heard};
use super::bridge::Bridge;
use super::namespace::{NetworkNamespace, NetworkView, look_around};
use super::{Sandbox, probe};
use crate::EngineError;
use crate::document::{list, text};
use crate::engine::filtered;
use crate::ownership::REHEARSAL_LABEL;

/// How long a connection attempt may take. Inside a sandbox most fail at once, without a route; one that
/// succeeds stays within this host.
const ATTEMPT: Duration = Duration::from_millis(500);

/// The findings about a sandbox's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// Addresses of this host where our listener answered this host itself, and no one inside.
    pub unreachable_from_inside: Vec<String>,
    /// From how many containers' networks this was tried.
    pub networks: usize,
}

/// What a test needs to know about the sandbox.
struct Wire {
    bridge: Bridge,
    gateways: Vec<String>,
    /// The prefix of all our datagrams.
    word: String,
}

impl Sandbox {
    /// Starts the probe and proves from inside the network that this host cannot be reached: by connections, datagrams,
    /// broadcasts, ARP and IPv6, with the rights of root; that no gateway answers, and that both barriers are in place.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotIsolated`] if something was reached, [`EngineError::WallFell`] if a barrier is missing, and
    /// [`EngineError::IsolationUnproven`] if it could not be tried. In all cases no container can be created in this
    /// sandbox.
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
        let door = NetworkNamespace::open(&document)?;
        let isolation = self.look(vec![door], true).await?;
        self.probe = Some(id);
        self.isolation = Some(isolation.clone());
        Ok(isolation)
    }

    /// Proves the same again from the network of every container of the sandbox that is running now. Changes nothing in
    /// these networks.
    ///
    /// # Errors
    ///
    /// Those of [`Sandbox::prove_isolation`].
    pub async fn prove_again(&self) -> Result<Isolation, EngineError> {
        let mut doors: Vec<NetworkNamespace> = Vec::new();
        let label = format!("{REHEARSAL_LABEL}={}", self.owner.id);
        let running = self
            .engine
            .get(&filtered("/containers/json", &[("label", &label)]), "list the containers of a rehearsal")
            .await?;
        for container in list(&running) {
            let document = match self.engine.container_document(&text(&container["Id"])).await {
                Ok(document) => document,
                Err(error) if error.is_absent() => continue,
                Err(error) => return Err(error),
            };
            // A container that has ended is in no network any more.
            if document["State"]["Running"] != true {
                continue;
            }
            let door = NetworkNamespace::open(&document)?;
            if doors.iter().all(|other| other.network() != door.network()) {
                doors.push(door);
            }
        }
        self.look(doors, false).await
    }

    async fn look(&self, doors: Vec<NetworkNamespace>, alone: bool) -> Result<Isolation, EngineError> {
        let wire = Wire {
            bridge: self.bridge.clone(),
            gateways: self.gateways.clone(),
            word: format!("lifeboat-{}", self.owner.id),
        };
        let seen = tokio::task::spawn_blocking(move || try_everything(&wire, &doors, alone))
            .await
            .map_err(|error| unproven(error.to_string()))??;
        let faults = self.faults().await?;
        judge(&seen, &faults)
    }
}

fn unproven(reason: impl Into<String>) -> EngineError {
    EngineError::IsolationUnproven { reason: reason.into() }
}

/// Our listeners on this host.
struct Listeners {
    tcp: TcpListener,
    tcp_six: Option<TcpListener>,
    udp: UdpSocket,
    udp_six: Option<UdpSocket>,
}

impl Listeners {
    fn open() -> std::io::Result<Self> {
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        udp.set_nonblocking(true)?;
        // A host without IPv6 cannot be reached there.
        let udp_six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok();
        if let Some(udp_six) = &udp_six {
            udp_six.set_nonblocking(true)?;
        }
        Ok(Self {
            tcp: TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            tcp_six: TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).ok(),
            udp,
            udp_six,
        })
    }

    /// The received datagrams that start with `word`: the rest of each.
    fn datagrams(&self, word: &str) -> BTreeSet<String> {
        let mut heard = BTreeSet::new();
        for socket in std::iter::once(&self.udp).chain(&self.udp_six) {
            let mut buffer = [0; 512];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                heard.extend(text.strip_prefix(word).map(|way| way.trim().to_owned()));
            }
        }
        heard
    }
}

/// What was tried, and the outcome.
struct Seen {
    answered: Vec<SocketAddr>,
    views: Vec<NetworkView>,
    heard: Vec<Heard>,
    datagrams: BTreeSet<String>,
    /// How many packets this host received from the bridge in the meantime.
    packets: u64,
}

/// Tries every way out, from every network together. `alone` says that nothing of the application runs in there: then
/// IPv6 is also enabled inside.
fn try_everything(wire: &Wire, doors: &[NetworkNamespace], alone: bool) -> Result<Seen, EngineError> {
    let failed = |error: std::io::Error| unproven(format!("no listener can be opened on this host: {error}"));
    let listeners = Listeners::open().map_err(failed)?;
    let port = listeners.tcp.local_addr().map_err(failed)?.port();
    let port_of = |address: std::io::Result<SocketAddr>| address.map(|address| address.port()).ok();
    let port_six = listeners.tcp_six.as_ref().and_then(|six| port_of(six.local_addr()));
    let own: Vec<SocketAddr> = host_addresses()
        .into_iter()
        .filter_map(|address| match address {
            IpAddr::V4(_) => Some(SocketAddr::new(address, port)),
            IpAddr::V6(_) => port_six.map(|port| SocketAddr::new(address, port)),
        })
        .collect();
    // The control: this host reaches the listeners. Without it, silence from inside would prove nothing. The system
    // accepts connections into the queue, so nobody needs to take them.
    let answered: Vec<SocketAddr> =
        own.into_iter().filter(|address| TcpStream::connect_timeout(address, ATTEMPT).is_ok()).collect();
    if !answered.iter().any(|address| !address.ip().is_loopback()) {
        return Err(unproven("this host does not reach its own listener, so nothing can be told"));
    }
    let udp_port = listeners.udp.local_addr().map_err(failed)?.port();
    let udp_six_port = listeners.udp_six.as_ref().and_then(|six| port_of(six.local_addr()));
    let control = format!("{} control", wire.word);
    let sent = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.send_to(control.as_bytes(), (Ipv4Addr::LOCALHOST, udp_port)));
    if sent.is_err() || !listeners.datagrams(&wire.word).contains("control") {
        return Err(unproven("this host does not hear its own datagrams, so nothing can be told"));
    }
    let aim = Aim {
        bridge: wire.bridge.mac()?,
        listeners: answered.clone(),
        udp_port,
        udp_six_port: udp_six_port.unwrap_or(udp_port),
        tcp_six_port: port_six.unwrap_or(port),
        word: wire.word.clone(),
    };
    let mut tried = answered.clone();
    tried.extend(
        wire.gateways
            .iter()
            .filter_map(|gateway| gateway.parse().ok())
            .map(|gateway| SocketAddr::new(gateway, port)),
    );
    let before = wire.bridge.packets_received()?;
    let looks = thread::scope(|scope| {
        let looks: Vec<_> = doors
            .iter()
            .enumerate()
            .map(|(place, door)| {
                let (aim, tried) = (&aim, &tried);
                scope.spawn(move || door.enter(|| try_inside(aim, tried, place, alone)))
            })
            .collect();
        looks
            .into_iter()
            .map(|look| look.join().unwrap_or_else(|_| Err(unproven("a look from inside ended in a panic"))))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let packets = wire.bridge.packets_received()?.saturating_sub(before);
    let (views, heard) = looks.into_iter().unzip();
    Ok(Seen { answered, views, heard, datagrams: listeners.datagrams(&wire.word), packets })
}

fn try_inside(
    aim: &Aim,
    tried: &[SocketAddr],
    place: usize,
    alone: bool,
) -> Result<(NetworkView, Heard), EngineError> {
    let failed = |error: std::io::Error| unproven(format!("a container's network cannot be tried: {error}"));
    let (view, mut heard) = thread::scope(|scope| {
        // Threads that are started here are inside, too.
        let looking = scope.spawn(|| look_around(tried, ATTEMPT));
        attack::by_broadcast(aim);
        let heard = attack::by_frames(aim, place).map_err(failed);
        let view = looking.join().unwrap_or_else(|_| Err(unproven("a look from inside ended in a panic")));
        Ok((view?, heard?))
    })?;
    // After the test, which would take an IPv6 address for a way out.
    if alone {
        heard.answers.extend(attack::by_own_ipv6(aim, ATTEMPT).map_err(failed)?);
    }
    Ok((view, heard))
}

fn judge(seen: &Seen, faults: &[String]) -> Result<Isolation, EngineError> {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    for view in &seen.views {
        reached.extend(view.reached.iter().map(|address| address.ip().to_string()));
        reached
            .extend(view.gateways.iter().map(|gateway| format!("the gateway {gateway} of a default route")));
        reached.extend(
            view.ipv6.iter().map(|address| format!("an IPv6 network (it has the address {address})")),
        );
    }
    reached.extend(seen.heard.iter().flat_map(|heard| heard.answers.iter().cloned()));
    reached.extend(seen.datagrams.iter().map(|way| format!("a listener on this host ({way})")));
    if !reached.is_empty() {
        return Err(EngineError::NotIsolated { reached: reached.into_iter().collect() });
    }
    if !faults.is_empty() {
        return Err(EngineError::WallFell { faults: faults.to_vec() });
    }
    // The other control: what was sent did arrive at the bridge, where the barriers stopped it.
    let frames: u64 = seen.heard.iter().map(|heard| heard.frames).sum();
    if seen.packets < frames {
        return Err(unproven(format!(
            "{frames} packets were sent from inside and only {} came to the bridge, so nothing can be told",
            seen.packets
        )));
    }
    Ok(Isolation {
        unreachable_from_inside: seen.answered.iter().map(|address| address.ip().to_string()).collect(),
        networks: seen.views.len(),
    })
}

/// The addresses of this host, without IPv6 link-local ones, which need an interface to be reached.
fn host_addresses() -> BTreeSet<IpAddr> {
    let mut addresses = local_ipv4(&fs::read_to_string("/proc/net/fib_trie").unwrap_or_default());
    addresses.extend(global_ipv6(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default()));
    addresses
}

/// Parses `/proc/net/fib_trie`: an address is on a line of its own, above the line that says what it is.
pub(super) fn local_ipv4(trie: &str) -> BTreeSet<IpAddr> {
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

    fn silence() -> Seen {
        Seen {
            answered: vec!["10.0.0.1:99".parse().unwrap()],
            views: vec![NetworkView { reached: vec![], gateways: vec![], ipv6: vec![] }],
            heard: vec![Heard { answers: vec![], frames: 7 }],
            datagrams: BTreeSet::new(),
            packets: 7,
        }
    }

    type Leak = (&'static str, fn(&mut Seen));

    #[test]
    fn any_way_out_is_a_leak() {
        let isolation = judge(&silence(), &[]).unwrap();
        assert_eq!((isolation.unreachable_from_inside, isolation.networks), (vec!["10.0.0.1".to_owned()], 1));
        let leaks: [Leak; 5] = [
            ("10.0.0.1", |seen| seen.views[0].reached = seen.answered.clone()),
            ("gateway", |seen| seen.views[0].gateways = vec![Ipv4Addr::new(10, 0, 0, 1)]),
            ("IPv6 network", |seen| seen.views[0].ipv6 = vec!["fe80".into()]),
            ("ARP", |seen| seen.heard[0].answers = vec!["the host by ARP".into()]),
            ("a broadcast", |seen| seen.datagrams = BTreeSet::from(["a broadcast".to_owned()])),
        ];
        for (word, leak) in leaks {
            let mut seen = silence();
            leak(&mut seen);
            match judge(&seen, &["fallen".to_owned()]) {
                Err(EngineError::NotIsolated { reached }) => {
                    assert!(reached[0].contains(word), "{reached:?}");
                }
                other => panic!("{word}: {other:?}"),
            }
        }
    }

    #[test]
    fn silence_proves_nothing_where_a_wall_fell_or_nothing_arrived() {
        assert!(matches!(
            judge(&silence(), &["iptables: the rule of INPUT is not there".to_owned()]),
            Err(EngineError::WallFell { .. })
        ));
        let mut lost = silence();
        lost.packets = 3;
        assert!(matches!(judge(&lost, &[]), Err(EngineError::IsolationUnproven { .. })));
    }

    #[test]
    fn datagrams_of_ours_are_told_from_those_of_others() {
        let listeners = Listeners::open().unwrap();
        let port = listeners.udp.local_addr().unwrap().port();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(b"noise", (Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.send_to(b"word a way", (Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(listeners.datagrams("word"), BTreeSet::from(["a way".to_owned()]));
    }
}
