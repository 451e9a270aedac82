"""Name constraints of issuers (acceptance.md, Path; RFC 5280, section 4.2.1.10)."""

from . import certificates as x
from . import der
from .certificates import Certificate
from .refusal import Refused

_EMAIL_ATTRIBUTE = "1.2.840.113549.1.9.1"


def check_names(issuer: Certificate, below: list[Certificate]) -> None:
    """Hold an issuer's constraints for the names below it (RFC 5280, 6.1.3, b and c)."""
    value = issuer.value(x.NAME_CONSTRAINTS)
    if value is None:
        return
    parts = der.Cursor(der.single(value).sequence())
    permitted = _bases(parts.optional(0xA0))
    excluded = _bases(parts.optional(0xA1))
    parts.end()
    names = []
    for position, certificate in enumerate(below):
        if position == 0 or not certificate.self_issued:
            names.extend(_names(certificate))
    for kind, name in names:
        allowed = [base.content for base in permitted if base.tag == kind]
        forbidden = [base.content for base in excluded if base.tag == kind]
        if not allowed and not forbidden:
            continue
        if kind not in (x.DNS_NAME, x.IP_NAME):
            raise Refused("a constraint on names that are not processed")
        if allowed and not any(_within(kind, name, base) for base in allowed):
            raise Refused("a name outside of what is permitted")
        if any(_within(kind, name, base) for base in forbidden):
            raise Refused("a name that is excluded")


def _bases(node: der.Node | None) -> list[der.Node]:
    """The bases of subtrees; beside one only a minimum of 0 is read, the default."""
    bases = []
    for subtree in node.children() if node else []:
        parts = subtree.sequence()
        if not parts or [part.encoding for part in parts[1:]] not in ([], [b"\x80\x01\x00"]):
            raise Refused("a subtree with a minimum or maximum")
        bases.append(parts[0])
    return bases


def _names(certificate: Certificate) -> list[tuple[int, bytes]]:
    """The names of a certificate by kind: alternative names, subject, addresses in it."""
    names = [(node.tag, node.content) for node in x.general_names(certificate)]
    for relative in der.single(certificate.subject).children():
        for attribute in relative.children():
            kind, text = attribute.children()
            if der.oid(kind) == _EMAIL_ATTRIBUTE:
                names.append((x.RFC822_NAME, text.content))
    return [*names, (x.DIRECTORY_NAME, certificate.subject)]


def _within(kind: int, name: bytes, base: bytes) -> bool:
    """Say whether a DNS name or IP address lies in a subtree."""
    if kind == x.DNS_NAME:
        host, domain = name.lower(), base.lower()
        return not domain or host == domain or host.endswith(b"." + domain.removeprefix(b"."))
    size = len(name)
    if len(base) != 2 * size or size not in (4, 16):
        raise Refused("a constraint on addresses of another size")
    mask = base[size:]
    return all(one & bit == two & bit for one, two, bit in zip(name, base[:size], mask))
