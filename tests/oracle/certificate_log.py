"""Signed certificate timestamps (acceptance.md, Certificate log; RFC 6962, 3.2 and 3.3)."""

import hashlib

from . import certificates as x
from . import der, keys
from .certificates import Certificate
from .refusal import Refused
from .trusted_root import Log

_MILLISECOND = 1_000_000
_RSA, _ECDSA = 1, 3
_HASHES = {4: keys.SHA256, 5: keys.SHA384, 6: keys.SHA512}


def check(certificate: Certificate, issuers: list[Certificate], logs: dict[bytes, Log]) -> None:
    """The certificate carries one timestamp of a log that is known, good for an issuer."""
    value = certificate.value(x.SCT_LIST)
    if value is None:
        raise Refused("its certificate is in no certificate log")
    listed = der.expect(der.single(value), der.OCTET_STRING).content
    timestamp, rest = _vector(_exactly(listed, 2), 2)
    if rest:
        raise Refused("its certificate has several certificate timestamps")
    if len(timestamp) < 41 or timestamp[0] != 0:
        raise Refused("a certificate timestamp of another version")
    log = logs.get(timestamp[1:33])
    time = int.from_bytes(timestamp[33:41], "big")
    if log is None or not log.window.contains(time * _MILLISECOND):
        raise Refused("a certificate timestamp of a log that is not known at the time")
    extensions, rest = _vector(timestamp[41:], 2)
    if len(rest) < 2:
        raise Refused("a certificate timestamp that ends early")
    by, scheme = _HASHES.get(rest[0]), rest[1]
    signature = _exactly(rest[2:], 2)
    fits = {
        keys.P256: scheme == _ECDSA and by is keys.SHA256,
        keys.P384: scheme == _ECDSA and by is keys.SHA384,
        keys.RSA: scheme == _RSA and by is not None,
    }.get(log.key.kind, False)
    if not fits or by is None:
        raise Refused("a certificate timestamp by another algorithm")
    tbs = certificate.without(x.SCT_LIST)
    for spki in {issuer.spki for issuer in issuers}:
        signed = (
            b"\x00\x00" + timestamp[33:41] + b"\x00\x01" + hashlib.sha256(spki).digest()
            + len(tbs).to_bytes(3, "big") + tbs + len(extensions).to_bytes(2, "big") + extensions
        )
        if log.key.verifies_hashed(signed, signature, by):
            return
    raise Refused("a certificate timestamp that the log did not sign")


def _vector(data: bytes, size: int) -> tuple[bytes, bytes]:
    """A vector with its length in front, and what follows it (RFC 5246, section 4.3)."""
    length = int.from_bytes(data[:size], "big")
    if len(data) < size + length:
        raise Refused("a certificate timestamp that ends early")
    return data[size : size + length], data[size + length :]


def _exactly(data: bytes, size: int) -> bytes:
    """A vector that nothing follows."""
    content, rest = _vector(data, size)
    if rest:
        raise Refused("a certificate timestamp with more behind it")
    return content
