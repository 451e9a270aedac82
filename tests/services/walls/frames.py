"""What an attacker with every right inside a sandbox sends, and what a machine outside hears of it.

frames.py send MAC WORD HOST...   sends frames to the host's end of the wire, for each of the host's addresses and for the
                                  machine outside, by every family that there is
frames.py hear WORD               prints what comes with WORD on every interface, until the word `end` comes
"""

import socket
import struct
import sys

OUTSIDE = ("198.51.100.7", "2001:db8:77::7")
EVERYTHING = 0x0003
ME = bytes.fromhex("026c62fe0077")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(source: bytes, target: bytes, payload: bytes) -> bytes:
    """A datagram of UDP, with the pseudo header of its family in its checksum."""
    length = 8 + len(payload)
    head = struct.pack("!HHHH", 4000, 4001, length, 0)
    pseudo = source + target + struct.pack("!II", length, socket.IPPROTO_UDP)
    total = checksum(pseudo + head + payload) or 0xFFFF
    return struct.pack("!HHHH", 4000, 4001, length, total) + payload


def version_4(source: str, target: str, protocol: int, body: bytes) -> bytes:
    """A packet of IPv4."""
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, protocol, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def version_6(source: str, target: str, body: bytes) -> bytes:
    """A packet of IPv6 with a datagram."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    return struct.pack("!IHBB", 0x60000000, len(body), socket.IPPROTO_UDP, 64) + ends + body


def packets(word: bytes, hosts: list[str]):
    """Packets that the host would forward, or answer to the outside."""
    own = hosts[0]
    for target in [OUTSIDE[0], *hosts]:
        for source in (own, OUTSIDE[0], "0.0.0.0"):
            ends = socket.inet_aton(source), socket.inet_aton(target)
            yield 0x0800, version_4(source, target, socket.IPPROTO_UDP, datagram(*ends, word + b" UDP"))
            echo = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + word + b" echo"
            echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
            yield 0x0800, version_4(source, target, socket.IPPROTO_ICMP, echo)
    for source in ("2001:db8:77::66", "fe80::66"):
        ends = [socket.inet_pton(socket.AF_INET6, end) for end in (source, OUTSIDE[1])]
        yield 0x86DD, version_6(source, OUTSIDE[1], datagram(*ends, word + b" IPv6"))


def send(mac: str, word: str, *hosts: str) -> None:
    """Send everything on every wire of this network."""
    for _, name in socket.if_nameindex():
        if name == "lo":
            continue
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind((name, 0))
            for kind, packet in packets(word.encode(), list(hosts)):
                wire.send(bytes.fromhex(mac.replace(":", "")) + ME + struct.pack("!H", kind) + packet)


def hear(word: str) -> None:
    """Print what comes from elsewhere."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING)) as wire:
        print("ready", flush=True)
        while True:
            frame, (_, _, kind, *_) = wire.recvfrom(65535)
            _, found, rest = frame.partition(word.encode())
            if found and kind != socket.PACKET_OUTGOING:
                said = rest.decode(errors="replace").strip()
                print(said, flush=True)
                if said == "end":
                    return


if __name__ == "__main__":
    {"send": send, "hear": hear}[sys.argv[1]](*sys.argv[2:])
