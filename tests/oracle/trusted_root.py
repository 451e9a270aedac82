"""Trusted roots (acceptance.md, Trusted root; sigstore_trustroot.proto)."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from . import certificates, der, json_reader, keys
from .certificates import Certificate
from .encodings import base64_bytes, rfc3339
from .json_reader import Message
from .keys import PublicKey
from .refusal import Refused, Unusable

MAX_SIZE = 4 << 20
MEDIA_TYPES = (
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
)
_HASHES = ("SHA2_256", "SHA2_384", "SHA2_512")


@dataclass(frozen=True)
class Window:
    """A time window that contains its ends, in nanoseconds; `None` is no end."""

    start: int | None = None
    end: int | None = None

    def begun(self, time: int) -> bool:
        """Say whether the time is not before the start."""
        return self.start is None or self.start <= time

    def contains(self, time: int) -> bool:
        """Say whether the window contains the time."""
        return self.begun(time) and (self.end is None or time <= self.end)


@dataclass(frozen=True, eq=False)
class Log:
    """A transparency log, or a log of certificates."""

    id: bytes
    key: PublicKey
    window: Window
    base_url: str
    checkpoint_key_id: bytes

    def bears_name(self, name: str) -> bool:
        """Say whether a name is the log's (Checkpoint)."""
        authority = re.split("[/?#]", self.base_url.partition("://")[2])[0].rpartition("@")[2]
        host = re.sub(r":[0-9]*\Z", "", authority)
        if host and name in (host, authority):
            return True
        hashed = hashlib.sha256(name.encode() + b"\n\x01" + self.key.raw).digest()
        return self.key.kind == keys.ED25519 and hashed == self.id


@dataclass(frozen=True, eq=False)
class Authority:
    """A certificate authority or timestamp authority."""

    chain: list[Certificate]
    window: Window

    @property
    def anchor(self) -> Certificate:
        """The last certificate of the chain, and no other."""
        return self.chain[-1]

    @property
    def intermediates(self) -> list[Certificate]:
        """The certificates before the anchor."""
        return self.chain[:-1]


@dataclass(frozen=True, eq=False)
class TrustedRoot:
    """Whom a verifier believes about certificates, logs and times."""

    logs: dict[bytes, Log]
    certificate_logs: dict[bytes, Log]
    certificate_authorities: list[Authority]
    timestamp_authorities: list[Authority]


@lru_cache(maxsize=64)
def parse(data: bytes) -> TrustedRoot:
    """Parse a trusted root, or say that it cannot be used."""
    if len(data) > MAX_SIZE:
        raise Unusable("the trusted root is too large")
    try:
        root = Message(json_reader.parse(data), (
            "mediaType", "tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities"))
        if root.text("mediaType") not in MEDIA_TYPES:
            raise Refused("it is of another media type")
        return TrustedRoot(
            _logs(root.list("tlogs"), keys.load, 4),
            _logs(root.list("ctlogs"), _certificate_log_key, 0),
            _authorities(root.list("certificateAuthorities")),
            _authorities(root.list("timestampAuthorities")),
        )
    except Refused as reason:
        raise Unusable(f"the trusted root: {reason}") from None


def _logs(
    items: list[Any], read_key: Callable[[bytes], PublicKey], shortest: int
) -> dict[bytes, Log]:
    """Read a list of logs, no two of one id, and no id for checkpoints below the shortest."""
    logs: dict[bytes, Log] = {}
    for item in items:
        log = Message(item, ("baseUrl", "hashAlgorithm", "publicKey", "logId",
                             "checkpointKeyId", "operator"))
        log.pass_over("operator")
        key = Message(log.required("publicKey"), ("rawBytes", "keyDetails", "validFor"))
        key.text("keyDetails")
        if log.text("hashAlgorithm") not in _HASHES:
            raise Refused("a log with another hash algorithm")
        identifier = _key_id(log.required("logId"))
        checkpoint = log.optional("checkpointKeyId")
        checkpoint_id = identifier if checkpoint is None else _key_id(checkpoint)
        if len(identifier) != 32 or len(checkpoint_id) < shortest or identifier in logs:
            raise Refused("a log's id is of another length, or stands twice")
        logs[identifier] = Log(
            identifier, read_key(base64_bytes(key.text("rawBytes"))), _window(key),
            log.text("baseUrl", ""), checkpoint_id[:4])
    return logs


def _key_id(value: Any) -> bytes:
    """The bytes of a `LogId`."""
    return base64_bytes(Message(value, ("keyId",)).text("keyId"))


def _certificate_log_key(data: bytes) -> PublicKey:
    """The key of a log of certificates, which may be a PKCS#1 `RSAPublicKey`."""
    try:
        return keys.load(data)
    except Refused:
        return keys.load_pkcs1(data)


def _authorities(items: list[Any]) -> list[Authority]:
    """Read a list of authorities, each with certificates."""
    authorities = []
    for item in items:
        authority = Message(item, ("subject", "uri", "certChain", "validFor", "operator"))
        subject = authority.optional("subject")
        if subject is not None:
            names = ("organization", "commonName")
            Message(subject, names).pass_over(*names)
        authority.text("uri", "")
        authority.pass_over("operator")
        chain = Message(authority.required("certChain"), ("certificates",)).list("certificates")
        if not chain:
            raise Refused("an authority has no certificates")
        authorities.append(Authority([_certificate(link) for link in chain], _window(authority)))
    return authorities


def _certificate(link: Any) -> Certificate:
    """A certificate of version 3; its key, and what its extensions say, are looked at when they are used."""
    certificate = certificates.read(base64_bytes(Message(link, ("rawBytes",)).text("rawBytes")))
    if certificate.version != 3 or certificate.algorithm != certificate.inner_algorithm:
        raise Refused("a certificate of another version, or with two algorithms")
    certificates.check_names(certificate)
    for name in certificates.SEQUENCES:
        value = certificate.value(name)
        if value is not None:
            der.expect(der.single(value), der.SEQUENCE)
    return certificate


def _window(holder: Message) -> Window:
    """The window `validFor`, which has a start; absent is a window without ends."""
    value = holder.optional("validFor")
    if value is None:
        return Window()
    window = Message(value, ("start", "end"))
    start = _time(window.required("start"))
    stated = window.optional("end")
    end = None if stated is None else _time(stated)
    if end is not None and end < start:
        raise Refused("a window ends before it begins")
    return Window(start, end)


def _time(text: Any) -> int:
    """A time that must be one."""
    time = rfc3339(text)
    if time is None:
        raise Refused("it is not a time")
    return time
