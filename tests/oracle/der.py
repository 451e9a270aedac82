"""A reader of DER (ITU-T X.690, section 10): what is not in its one encoding refuses."""

from datetime import datetime, timezone
from typing import NamedTuple

from .refusal import Refused

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING = 0x01, 0x02, 0x03, 0x04
NULL, OID, UTF8_STRING, UTC_TIME, GENERALIZED_TIME = 0x05, 0x06, 0x0C, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31


class Node(NamedTuple):
    """One element: its tag, its content, and its whole encoding."""

    tag: int
    content: bytes
    encoding: bytes

    def children(self) -> list["Node"]:
        """The elements in the content."""
        return elements(self.content)

    def sequence(self) -> list["Node"]:
        """The elements of a SEQUENCE."""
        return expect(self, SEQUENCE).children()


def elements(data: bytes) -> list[Node]:
    """Read elements up to the end of the data."""
    found = []
    position = 0
    while position < len(data):
        tag = data[position]
        if tag & 0x1F == 0x1F:
            raise Refused("DER: a tag of more than one byte")
        start = position + 2
        if start > len(data):
            raise Refused("DER: it ends early")
        length = data[position + 1]
        if length & 0x80:
            size = length & 0x7F
            digits = data[start : start + size]
            start += size
            length = int.from_bytes(digits, "big")
            if not size or len(digits) != size or not digits[0] or length < 0x80:
                raise Refused("DER: a length that is not minimal")
        end = start + length
        if end > len(data):
            raise Refused("DER: it ends early")
        found.append(Node(tag, data[start:end], data[position:end]))
        position = end
    return found


def single(data: bytes) -> Node:
    """Read data that is one element and nothing else."""
    found = elements(data)
    if len(found) != 1:
        raise Refused("DER: not one element")
    return found[0]


def expect(node: Node, tag: int) -> Node:
    """The element, which must bear that tag."""
    if node.tag != tag:
        raise Refused("DER: another type than expected")
    return node


def pair(nodes: list[Node]) -> tuple[Node, Node]:
    """The two elements of a SEQUENCE of two."""
    if len(nodes) != 2:
        raise Refused("DER: not two elements")
    return nodes[0], nodes[1]


class Cursor:
    """The elements of a SEQUENCE, taken one after another."""

    def __init__(self, items: list[Node]) -> None:
        self._items = items
        self._next = 0

    def take(self, tag: int | None = None) -> Node:
        """The next element, which must be there."""
        if self._next >= len(self._items):
            raise Refused("DER: an element is missing")
        node = self._items[self._next]
        self._next += 1
        return node if tag is None else expect(node, tag)

    def optional(self, tag: int) -> Node | None:
        """The next element if it bears that tag."""
        if self._next < len(self._items) and self._items[self._next].tag == tag:
            return self.take()
        return None

    def end(self) -> None:
        """Refuse further elements."""
        if self._next < len(self._items):
            raise Refused("DER: an element too many")


def integer(node: Node) -> int:
    """A minimal INTEGER."""
    content = expect(node, INTEGER).content
    if not content or (len(content) > 1 and content[0] in (0x00, 0xFF)
                       and (content[0] ^ content[1]) & 0x80 == 0):
        raise Refused("DER: an integer that is not minimal")
    return int.from_bytes(content, "big", signed=True)


def boolean(node: Node) -> bool:
    """A BOOLEAN of 0x00 or 0xFF."""
    content = expect(node, BOOLEAN).content
    if content not in (b"\x00", b"\xff"):
        raise Refused("DER: a boolean that is neither")
    return content == b"\xff"


def bit_string(node: Node, *, whole_bytes: bool = True) -> bytes:
    """A BIT STRING whose unused bits are zero, and of whole bytes where that is asked."""
    content = expect(node, BIT_STRING).content
    unused = content[0] if content else 8
    if unused > 7 or (unused and (len(content) == 1 or content[-1] & ((1 << unused) - 1))):
        raise Refused("DER: a bit string with stray bits")
    if whole_bytes and unused:
        raise Refused("DER: a bit string of no whole bytes")
    return content[1:]


def oid(node: Node) -> str:
    """An OBJECT IDENTIFIER in dotted form."""
    content = expect(node, OID).content
    if not content or content[-1] & 0x80:
        raise Refused("DER: an object identifier that ends early")
    arcs: list[int] = []
    value, fresh = 0, True
    for byte in content:
        if fresh and byte == 0x80:
            raise Refused("DER: an object identifier that is not minimal")
        value = value << 7 | byte & 0x7F
        fresh = not byte & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def moment(node: Node) -> int:
    """A UTCTime or GeneralizedTime to the second, in seconds since 1970 (RFC 5280, 4.1.2.5)."""
    text = node.content.decode("latin-1")
    if node.tag == UTC_TIME and len(text) == 13:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif node.tag != GENERALIZED_TIME:
        raise Refused("DER: it is not a time")
    if len(text) != 15 or text[-1] != "Z" or not (text[:-1].isascii() and text[:-1].isdigit()):
        raise Refused("DER: a time that is not to the second")
    try:
        parsed = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise Refused("DER: a time that there is not") from None
    return int(parsed.timestamp())


def encode(tag: int, content: bytes) -> bytes:
    """Encode one element."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content
