//! Builds frames by hand, as a process with a packet socket does, and interprets the answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, NdiscRepr, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// Everybody on the wire.
pub(super) const EVERYBODY: Mac = [0xff; 6];

/// The link-local address that a kernel gives to an interface with this hardware address (RFC 4291, appendix A).
pub(super) fn link_local(mac: Mac) -> Ipv6Addr {
    let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let interface = [pair(mac[0] ^ 2, mac[1]), pair(mac[2], 0xff), pair(0xfe, mac[3]), pair(mac[4], mac[5])];
    Ipv6Addr::new(0xfe80, 0, 0, 0, interface[0], interface[1], interface[2], interface[3])
}

fn framed(source: Mac, target: Mac, ethertype: EthernetProtocol, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; EthernetFrame::<&[u8]>::buffer_len(content.len())];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    EthernetRepr { src_addr: EthernetAddress(source), dst_addr: EthernetAddress(target), ethertype }
        .emit(&mut frame);
    frame.payload_mut().copy_from_slice(content);
    bytes
}

/// Who has `wanted`? Sent to everybody.
pub(super) fn arp(source: Mac, own: Ipv4Addr, wanted: Ipv4Addr) -> Vec<u8> {
    let question = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(source),
        source_protocol_addr: own,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: wanted,
    };
    let mut content = vec![0; question.buffer_len()];
    question.emit(&mut ArpPacket::new_unchecked(&mut content));
    framed(source, EVERYBODY, EthernetProtocol::Arp, &content)
}

fn ipv6(
    source: Mac,
    target: Mac,
    from: Ipv6Addr,
    to: Ipv6Addr,
    protocol: IpProtocol,
    content: &[u8],
) -> Vec<u8> {
    let header = Ipv6Repr {
        src_addr: from,
        dst_addr: to,
        next_header: protocol,
        payload_len: content.len(),
        hop_limit: 255,
    };
    let mut bytes = vec![0; header.buffer_len() + content.len()];
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes);
    header.emit(&mut packet);
    packet.payload_mut().copy_from_slice(content);
    framed(source, target, EthernetProtocol::Ipv6, &bytes)
}

fn ipv4(
    source: Mac,
    target: Mac,
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: IpProtocol,
    content: &[u8],
) -> Vec<u8> {
    let header = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: protocol,
        payload_len: content.len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; header.buffer_len() + content.len()];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    header.emit(&mut packet, &ChecksumCapabilities::default());
    packet.payload_mut().copy_from_slice(content);
    framed(source, target, EthernetProtocol::Ipv4, &bytes)
}

fn icmpv6(source: Mac, target: Mac, from: Ipv6Addr, to: Ipv6Addr, message: &Icmpv6Repr<'_>) -> Vec<u8> {
    let mut content = vec![0; message.buffer_len()];
    let mut packet = Icmpv6Packet::new_unchecked(&mut content);
    message.emit(&from, &to, &mut packet, &ChecksumCapabilities::default());
    ipv6(source, target, from, to, IpProtocol::Icmpv6, &content)
}

/// The hardware address of an IPv6 multicast group (RFC 2464).
fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Is anybody there? Sent to `to`, which may be a group.
pub(super) fn echo(source: Mac, target: Option<Mac>, to: Ipv6Addr) -> Vec<u8> {
    let message = Icmpv6Repr::EchoRequest { ident: 0x6c62, seq_no: 1, data: b"lifeboat" };
    icmpv6(source, target.unwrap_or_else(|| group_mac(to)), link_local(source), to, &message)
}

/// Who has `wanted`? Sent to the group that its owner listens to (RFC 4861).
pub(super) fn solicit(source: Mac, wanted: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = wanted.octets();
    let group =
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), (u16::from(b) << 8) | u16::from(c));
    let message = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
        target_addr: wanted,
        lladdr: Some(EthernetAddress(source).into()),
    });
    icmpv6(source, group_mac(group), link_local(source), group, &message)
}

/// A datagram. The addresses must have the same family.
pub(super) fn udp(source: Mac, target: Mac, from: IpAddr, to: IpAddr, port: u16, text: &str) -> Vec<u8> {
    let header = UdpRepr { src_port: port, dst_port: port };
    let mut content = vec![0; header.header_len() + text.len()];
    header.emit(
        &mut UdpPacket::new_unchecked(&mut content),
        &from.into(),
        &to.into(),
        text.len(),
        |place| place.copy_from_slice(text.as_bytes()),
        &ChecksumCapabilities::default(),
    );
    ip(source, target, from, to, IpProtocol::Udp, &content)
}

/// The first packet of a connection. The addresses must have the same family.
pub(super) fn syn(source: Mac, target: Mac, from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
    let header = TcpRepr {
        src_port: 40_000,
        dst_port: port,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(1),
        ack_number: None,
        window_len: 1024,
        window_scale: None,
        max_seg_size: Some(536),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let mut content = vec![0; header.buffer_len()];
    header.emit(
        &mut TcpPacket::new_unchecked(&mut content),
        &from.into(),
        &to.into(),
        &ChecksumCapabilities::default(),
    );
    ip(source, target, from, to, IpProtocol::Tcp, &content)
}

fn ip(source: Mac, target: Mac, from: IpAddr, to: IpAddr, protocol: IpProtocol, content: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(source, target, from, to, protocol, content),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(source, target, from, to, protocol, content),
        (IpAddr::V4(from), IpAddr::V6(to)) => {
            ipv6(source, target, from.to_ipv6_mapped(), to, protocol, content)
        }
        (IpAddr::V6(_), IpAddr::V4(to)) => ipv4(source, target, Ipv4Addr::UNSPECIFIED, to, protocol, content),
    }
}

/// Whether `frame` is an answer of the host's to `own`: one from the bridge's own hardware address to `own`, or one
/// that reveals where one of the host's addresses is. Returns a description.
pub(super) fn answer(frame: &[u8], own: Mac, bridge: Mac, host: &[Ipv4Addr]) -> Option<String> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() == EthernetProtocol::Arp {
        let packet = ArpPacket::new_checked(frame.payload()).ok()?;
        let ArpRepr::EthernetIpv4 { operation: ArpOperation::Reply, source_protocol_addr, .. } =
            ArpRepr::parse(&packet).ok()?
        else {
            return None;
        };
        let told = host.contains(&source_protocol_addr) || frame.src_addr().0 == bridge;
        return told.then(|| format!("the host by ARP (for {source_protocol_addr})"));
    }
    if frame.src_addr().0 != bridge || frame.dst_addr().0 != own {
        return None;
    }
    Some(match frame.ethertype() {
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            format!("the host by IPv6 ({} from {})", packet.next_header(), packet.src_addr())
        }
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            format!("the host by IPv4 ({} from {})", packet.next_header(), packet.src_addr())
        }
        other => format!("the host by a frame of type {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 1, 2, 3, 4, 5];
    const BRIDGE: Mac = [2, 0x42, 9, 8, 7, 6];
    const HOST: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);

    fn arp_reply(from: Mac, address: Ipv4Addr) -> Vec<u8> {
        let reply = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(from),
            source_protocol_addr: address,
            target_hardware_addr: EthernetAddress(OWN),
            target_protocol_addr: Ipv4Addr::new(172, 20, 0, 2),
        };
        let mut content = vec![0; reply.buffer_len()];
        reply.emit(&mut ArpPacket::new_unchecked(&mut content));
        framed(from, OWN, EthernetProtocol::Arp, &content)
    }

    #[test]
    fn an_answer_of_the_hosts_is_told_from_one_of_a_neighbours() {
        let neighbour: Mac = [2, 0x42, 1, 1, 1, 1];
        let hear = |frame: &[u8]| answer(frame, OWN, BRIDGE, &[HOST]);
        assert_eq!(hear(&arp_reply(BRIDGE, HOST)).unwrap(), "the host by ARP (for 172.17.0.1)");
        assert!(hear(&arp_reply(neighbour, HOST)).is_some(), "anybody who gives the host's address away");
        assert_eq!(hear(&arp_reply(neighbour, Ipv4Addr::new(172, 20, 0, 3))), None);
        assert!(hear(&echo(BRIDGE, Some(OWN), link_local(OWN))).unwrap().contains("IPv6"));
        assert_eq!(hear(&echo(neighbour, Some(OWN), link_local(OWN))), None);
        let syn = syn(BRIDGE, OWN, HOST.into(), Ipv4Addr::new(172, 20, 0, 2).into(), 80);
        assert!(hear(&syn).unwrap().contains("IPv4"));
        // A packet socket also receives our own questions.
        assert_eq!(hear(&arp(OWN, Ipv4Addr::new(172, 20, 0, 2), HOST)), None);
        assert_eq!(hear(&[0; 3]), None);
    }

    #[test]
    fn addresses_and_groups_are_those_of_the_standards() {
        assert_eq!(link_local([2, 0x42, 0xac, 0x11, 0, 2]).to_string(), "fe80::42:acff:fe11:2");
        let question = solicit(OWN, "fe80::42:acff:fe11:2".parse().unwrap());
        assert_eq!(question[..6], [0x33, 0x33, 0xff, 0x11, 0, 2]);
        assert_eq!(echo(OWN, None, "ff02::1".parse().unwrap())[..6], [0x33, 0x33, 0, 0, 0, 1]);
    }
}
