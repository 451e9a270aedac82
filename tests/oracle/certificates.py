"""X.509 certificates in DER, and what a signer's says (acceptance.md, Certificates)."""

import re
from dataclasses import dataclass
from functools import lru_cache

from . import der, keys
from .refusal import Refused

MAX_SIGNER_SIZE = 64 * 1024
KEY_USAGE, ALTERNATIVE_NAME, BASIC_CONSTRAINTS = "2.5.29.15", "2.5.29.17", "2.5.29.19"
NAME_CONSTRAINTS, CRL_POINTS = "2.5.29.30", "2.5.29.31"
POLICY_CONSTRAINTS, EXTENDED_KEY_USAGE = "2.5.29.36", "2.5.29.37"
KEY_IDENTIFIER = "2.5.29.14"
# The extensions whose value is a sequence and nothing else, of those that a trusted root is refused for.
SEQUENCES = (ALTERNATIVE_NAME, BASIC_CONSTRAINTS, NAME_CONSTRAINTS, CRL_POINTS, EXTENDED_KEY_USAGE)
SCT_LIST = "1.3.6.1.4.1.11129.2.4.2"
RFC822_NAME, DNS_NAME, URI_NAME, IP_NAME, DIRECTORY_NAME = 0x81, 0x82, 0x86, 0x87, 0xA4

_FULCIO = "1.3.6.1.4.1.57264.1."
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True)
class Extension:
    """One extension: whether it is critical, and its value."""

    critical: bool
    value: bytes


@dataclass(frozen=True, eq=False)
class Certificate:
    """A parsed certificate. `repeats` says that an extension occurs twice."""

    encoding: bytes
    tbs: bytes
    version: int
    serial: int
    inner_algorithm: bytes
    algorithm: bytes
    issuer: bytes
    subject: bytes
    not_before: int
    not_after: int
    spki: bytes
    extensions: dict[str, Extension]
    repeats: bool
    signature: bytes

    @property
    def self_issued(self) -> bool:
        """Say whether issuer and subject are one name (RFC 5280, section 3.2)."""
        return self.issuer == self.subject

    def value(self, name: str) -> bytes | None:
        """The value of an extension, if it is there."""
        extension = self.extensions.get(name)
        return extension.value if extension else None

    def without(self, name: str) -> bytes:
        """The `TBSCertificate` without one extension (RFC 6962, section 3.2)."""
        parts = []
        for node in der.single(self.tbs).children():
            if node.tag == 0xA3:
                kept = [item.encoding for item in der.single(node.content).children()
                        if der.oid(item.children()[0]) != name]
                listed = der.encode(der.SEQUENCE, b"".join(kept))
                parts.append(der.encode(0xA3, listed))
            else:
                parts.append(node.encoding)
        return der.encode(der.SEQUENCE, b"".join(parts))


@dataclass(frozen=True)
class Saying:
    """What a signer's certificate says: who, vouched for by whom, and about the build."""

    identity: str
    issuer: str
    signer: str | None
    runner: str | None
    repository: str | None
    commit: str | None
    ref: str | None
    configuration: str | None


def parse(data: bytes) -> Certificate:
    """Parse a certificate of the evidence; what is not in DER refuses (Encodings)."""
    certificate = read(data)
    check_names(certificate)
    return certificate


@lru_cache(maxsize=4096)
def read(data: bytes) -> Certificate:
    """Read a certificate (RFC 5280, section 4.1), all but what its names hold."""
    parts = der.Cursor(der.single(data).sequence())
    tbs, algorithm = parts.take(der.SEQUENCE), parts.take(der.SEQUENCE)
    signature = der.bit_string(parts.take())
    parts.end()
    _algorithm(algorithm)

    fields = der.Cursor(tbs.children())
    explicit = fields.optional(0xA0)
    version = der.integer(der.single(explicit.content)) if explicit else 0
    if version not in (0, 1, 2) or (explicit and not version):
        raise Refused("a certificate of another version")
    serial = der.integer(fields.take())
    inner = _algorithm(fields.take(der.SEQUENCE))
    issuer = fields.take(der.SEQUENCE).encoding
    begin, end = der.pair(fields.take(der.SEQUENCE).children())
    subject = fields.take(der.SEQUENCE).encoding
    spki = fields.take(der.SEQUENCE)
    public = der.Cursor(spki.children())
    _algorithm(public.take(der.SEQUENCE))
    der.bit_string(public.take(), whole_bytes=False)
    public.end()
    for tag in (0x81, 0x82):
        unique = fields.optional(tag)
        if unique:
            der.bit_string(unique._replace(tag=der.BIT_STRING), whole_bytes=False)
    extensions, repeats = _extensions(fields.optional(0xA3))
    fields.end()
    return Certificate(
        data, tbs.encoding, version + 1, serial, inner.encoding, algorithm.encoding, issuer,
        subject, der.moment(begin), der.moment(end), spki.encoding, extensions,
        repeats, signature,
    )


def _algorithm(node: der.Node) -> der.Node:
    """Check an `AlgorithmIdentifier`: an object identifier and at most one parameter."""
    parts = node.children()
    if not 1 <= len(parts) <= 2:
        raise Refused("DER: it is no algorithm identifier")
    der.oid(parts[0])
    return node


def check_names(certificate: Certificate, *, sorted_sets: bool = True) -> None:
    """Check issuer and subject, whose sets are sorted as DER demands (RFC 5280, 4.1.2.4)."""
    for name in (certificate.issuer, certificate.subject):
        for relative in der.single(name).children():
            attributes = der.expect(relative, der.SET).children()
            encodings = [attribute.encoding for attribute in attributes]
            if not encodings or (sorted_sets and encodings != sorted(encodings)):
                raise Refused("DER: a set that is empty or not sorted")
            for attribute in attributes:
                kind, value = der.pair(attribute.sequence())
                der.oid(kind)
                # X.690, 10.2: texts are not put together from pieces.
                if value.tag & 0xE0 == 0x20 and value.tag not in (der.SEQUENCE, der.SET):
                    raise Refused("DER: a text in pieces")


def _extensions(node: der.Node | None) -> tuple[dict[str, Extension], bool]:
    """Read the extensions; of one that occurs twice the first is kept."""
    found: dict[str, Extension] = {}
    repeats = False
    for item in der.single(node.content).sequence() if node else []:
        parts = der.Cursor(item.sequence())
        name = der.oid(parts.take())
        critical = parts.optional(der.BOOLEAN)
        if critical and not der.boolean(critical):
            raise Refused("DER: a default that is written")
        value = parts.take(der.OCTET_STRING).content
        parts.end()
        repeats |= name in found
        found.setdefault(name, Extension(critical is not None, value))
    return found, repeats


def general_names(certificate: Certificate) -> list[der.Node]:
    """The subject alternative names (RFC 5280, section 4.2.1.6)."""
    value = certificate.value(ALTERNATIVE_NAME)
    return der.single(value).sequence() if value is not None else []


@lru_cache(maxsize=4096)
def says(certificate: Certificate) -> Saying:
    """Read what a signer's certificate says (What a certificate says)."""
    if len(certificate.encoding) > MAX_SIGNER_SIZE or certificate.repeats:
        raise Refused("a certificate that is too large or has an extension twice")
    names = general_names(certificate)
    if len(names) != 1 or names[0].tag not in (RFC822_NAME, URI_NAME):
        raise Refused("its certificate does not name one address or URI")
    identity = _text(names[0].content, "ascii")
    with_scheme = _SCHEME.match(identity) is not None
    if with_scheme != (names[0].tag == URI_NAME) or not (with_scheme or "@" in identity):
        raise Refused("its certificate's name is neither an address nor a URI")
    second, raw = _build(certificate, 8), certificate.value(_FULCIO + "1")
    first = None if raw is None else _text(raw, "utf-8")
    issuer = second if second is not None else first
    if issuer is None or first not in (None, issuer):
        raise Refused("its certificate names no issuer, or two")
    about = [_build(certificate, number) for number in (9, 11, 12, 13, 14, 18)]
    return Saying(identity, issuer, *about)


def _build(certificate: Certificate, number: int) -> str | None:
    """An extension below Fulcio's arc as the DER `UTF8String` that it must be."""
    value = certificate.value(f"{_FULCIO}{number}")
    if value is None:
        return None
    return _text(der.expect(der.single(value), der.UTF8_STRING).content, "utf-8")


def _text(data: bytes, encoding: str) -> str:
    """Decode a text."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise Refused("a text that is not in its encoding") from None


def key(certificate: Certificate) -> keys.PublicKey:
    """The certificate's key, of a kind in the table of Signatures."""
    return keys.load(certificate.spki)
