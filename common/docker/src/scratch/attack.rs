//! Tries what an attacker inside a sandbox would try: this process's own code on a thread that has entered a
//! container's network, with the rights of root there, which are more than any container of a sandbox has.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use smoltcp::phy::{Device, Medium, RawSocket, RxToken, TxToken};
use smoltcp::time::Instant as Tick;

use super::frames::{self, EVERYBODY, Mac};
use super::isolation::local_ipv4;

/// How long to wait for answers.
const WINDOW: Duration = Duration::from_millis(600);

/// The polling interval for answers.
const TICK: Duration = Duration::from_millis(5);

/// An outside address (RFC 5737): a packet from inside with this source would be answered over the host's own routes.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// Everybody on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The host as a target.
#[derive(Debug, Clone)]
pub(super) struct Aim {
    /// The hardware address of the bridge.
    pub(super) bridge: Mac,
    /// The addresses of the host, each with a listener's port.
    pub(super) listeners: Vec<SocketAddr>,
    /// The port of the datagram listener.
    pub(super) udp_port: u16,
    /// The port of the IPv6 datagram listener.
    pub(super) udp_six_port: u16,
    /// The port of the IPv6 connection listener.
    pub(super) tcp_six_port: u16,
    /// The first word of every datagram, by which the listener recognises it.
    pub(super) word: String,
}

/// The outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// What answered, in words.
    pub(super) answers: Vec<String>,
    /// How many frames were sent to the bridge.
    pub(super) frames: u64,
}

/// A hardware address that nobody has: its second bit marks it as locally administered.
fn made_up(place: usize) -> Mac {
    let [.., a, b] = place.to_be_bytes();
    [0x02, 0x6c, 0x62, 0xfe, a, b]
}

/// The interfaces of this thread's network, other than the loopback.
fn interfaces() -> io::Result<Vec<String>> {
    Ok(wired(&fs::read_to_string("/proc/thread-self/net/dev")?))
}

/// Parses `/proc/net/dev`: two header lines, then a name and a colon.
fn wired(table: &str) -> Vec<String> {
    table
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name != "lo")
        .collect()
}

/// An IPv4 address of this thread's network, for use as the sender.
fn own_address() -> Ipv4Addr {
    let table = fs::read_to_string("/proc/thread-self/net/fib_trie").unwrap_or_default();
    let own = local_ipv4(&table).into_iter().find_map(|address| match address {
        IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    });
    own.unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// Every frame that a sender with the address `me` sends to the bridge.
fn questions(me: Mac, own: Ipv4Addr, aim: &Aim) -> Vec<Vec<u8>> {
    let say = |way: &str| format!("{} {way}", aim.word);
    let port = aim.udp_port;
    let broadcast = Ipv4Addr::BROADCAST;
    let mut questions = vec![
        frames::echo(me, None, ALL_NODES),
        frames::udp(
            me,
            EVERYBODY,
            Ipv4Addr::UNSPECIFIED.into(),
            broadcast.into(),
            port,
            &say("a broadcast from 0.0.0.0"),
        ),
        frames::udp(me, EVERYBODY, own.into(), broadcast.into(), port, &say("a broadcast")),
    ];
    let lowest = frames::link_local(aim.bridge);
    let mine = IpAddr::V6(frames::link_local(me));
    let targets = std::iter::once(SocketAddr::new(lowest.into(), aim.tcp_six_port))
        .chain(aim.listeners.iter().copied());
    for target in targets {
        let to = target.ip();
        match to {
            IpAddr::V4(address) => {
                questions.push(frames::arp(me, own, address));
                for from in [own, OUTSIDE] {
                    let way = format!("UDP for {address} from {from}");
                    questions.push(frames::udp(me, aim.bridge, from.into(), to, port, &say(&way)));
                }
                questions.push(frames::syn(me, aim.bridge, own.into(), to, target.port()));
            }
            IpAddr::V6(address) => {
                // The question also tells the host where to send its answers.
                questions.push(frames::solicit(me, address));
                questions.push(frames::echo(me, Some(aim.bridge), address));
                let way = format!("UDP for {address}");
                questions.push(frames::udp(me, aim.bridge, mine, to, aim.udp_six_port, &say(&way)));
                questions.push(frames::syn(me, aim.bridge, mine, to, target.port()));
            }
        }
    }
    questions
}

/// Sends the frames on every interface of this thread's network and listens for answers. `place` distinguishes the
/// senders when several networks are tested together.
pub(super) fn by_frames(aim: &Aim, place: usize) -> io::Result<Heard> {
    let mut heard = Heard::default();
    let own = own_address();
    let host: Vec<Ipv4Addr> = aim
        .listeners
        .iter()
        .filter_map(|listener| match listener.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect();
    for interface in interfaces()? {
        let me = made_up(place);
        let mut wire = RawSocket::new(&interface, Medium::Ethernet)?;
        for question in questions(me, own, aim) {
            if let Some(token) = wire.transmit(Tick::ZERO) {
                token.consume(question.len(), |buffer| buffer.copy_from_slice(&question));
                heard.frames += 1;
            }
        }
        let deadline = Instant::now() + WINDOW;
        while Instant::now() < deadline {
            while let Some((token, _)) = wire.receive(Tick::ZERO) {
                heard.answers.extend(token.consume(|frame| frames::answer(frame, me, aim.bridge, &host)));
            }
            thread::sleep(TICK);
        }
    }
    heard.answers.sort_unstable();
    heard.answers.dedup();
    Ok(heard)
}

/// Sends a broadcast the way any process can.
pub(super) fn by_broadcast(aim: &Aim) {
    // Without a route the system refuses: then nothing was sent.
    let _ = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.set_broadcast(true)?;
        let text = format!("{} a broadcast of a plain socket", aim.word);
        socket.send_to(text.as_bytes(), (Ipv4Addr::BROADCAST, aim.udp_port))
    });
}

/// Enables IPv6 in this thread's network, connects to the host's link-local address with plain sockets, and disables it
/// again. Returns what answered.
pub(super) fn by_own_ipv6(aim: &Aim, attempt: Duration) -> io::Result<Vec<String>> {
    let mut answers = Vec::new();
    for interface in interfaces()? {
        let setting = |name: &str| format!("/proc/sys/net/ipv6/conf/{interface}/{name}");
        // A kernel without IPv6.
        if !std::path::Path::new(&setting("disable_ipv6")).exists() {
            continue;
        }
        let before = fs::read_to_string(setting("disable_ipv6"))?;
        // Skip the wait for others that might have the same address.
        fs::write(setting("accept_dad"), "0")?;
        fs::write(setting("disable_ipv6"), "0")?;
        answers.extend(knock(aim, &interface, attempt));
        fs::write(setting("disable_ipv6"), before.trim())?;
    }
    Ok(answers)
}

fn knock(aim: &Aim, interface: &str, attempt: Duration) -> Option<String> {
    let deadline = Instant::now() + attempt;
    let scope = loop {
        let table = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
        match link_index(&table, interface) {
            Some(index) => break index,
            None if Instant::now() < deadline => thread::sleep(TICK),
            None => return None,
        }
    };
    let target = frames::link_local(aim.bridge);
    let address = SocketAddrV6::new(target, aim.tcp_six_port, 0, scope);
    let deadline = Instant::now() + attempt;
    // A route may appear after the address, and a first packet is lost while the neighbour is being resolved.
    while Instant::now() < deadline {
        if let Ok(socket) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
            for (to, way) in
                [(target, "UDP of a plain socket over IPv6"), (ALL_NODES, "a multicast over IPv6")]
            {
                let text = format!("{} {way}", aim.word);
                let _ = socket.send_to(text.as_bytes(), SocketAddrV6::new(to, aim.udp_six_port, 0, scope));
            }
        }
        if TcpStream::connect_timeout(&address.into(), attempt / 4).is_ok() {
            return Some(format!("{target} with IPv6 switched on"));
        }
        thread::sleep(TICK);
    }
    None
}

/// The flag of an address that the kernel is still checking, and does not send from (`IFA_F_TENTATIVE`).
const TENTATIVE: u8 = 0x40;

/// The index of an interface with a link-local address to send from. `/proc/net/if_inet6` has address, index, length,
/// scope and flags in hexadecimal, and then the interface.
fn link_index(table: &str, interface: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [address, index, _, _, flags, name] = fields[..] else { return None };
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let usable = name == interface && address.starts_with("fe80") && flags & TENTATIVE == 0;
        usable.then(|| u32::from_str_radix(index, 16).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_every_address_is_tried() {
        let aim = Aim {
            bridge: [2, 0x42, 0, 0, 0, 1],
            listeners: vec!["172.17.0.1:81".parse().unwrap(), "[2001:db8::1]:82".parse().unwrap()],
            udp_port: 83,
            udp_six_port: 84,
            tcp_six_port: 85,
            word: "w".to_owned(),
        };
        let all = questions(made_up(1), Ipv4Addr::new(172, 20, 0, 2), &aim);
        // Two broadcasts and the group; four for IPv4; four for each address of IPv6, the link-local one included.
        assert_eq!(all.len(), 3 + 4 + 2 * 4);
        let texts: Vec<String> = all.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
        for way in
            ["w a broadcast from 0.0.0.0", "w UDP for 172.17.0.1 from 198.51.100.7", "w UDP for 2001:db8::1"]
        {
            assert!(texts.iter().any(|text| text.contains(way)), "{way}");
        }
        assert_ne!(made_up(1), made_up(2));
    }

    #[test]
    fn the_kernels_tables_are_understood() {
        let table = "Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth0: 1 2\n";
        assert_eq!(wired(table), ["eth0"]);
        let six = "00000000000000000000000000000001 01 80 10 80 lo\nfe800000000000000042acfffe110002 1f 40 20 80 eth0\n";
        assert_eq!(link_index(six, "eth0"), Some(31));
        assert_eq!(link_index(six, "eth1"), None);
        let asked_about = six.replace("20 80 eth0", "20 c0 eth0");
        assert_eq!(link_index(&asked_about, "eth0"), None);
    }
}
