"""Timestamps of RFC 3161 (acceptance.md, Timestamps; RFC 5652, CMS; RFC 5035)."""

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import HashAlgorithm

from . import certificates as x
from . import der, keys, path
from .certificates import Certificate
from .encodings import SECOND
from .refusal import Refused
from .trusted_root import Authority, TrustedRoot

_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE, _MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_CERTIFICATE_V1, _CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
_LEEWAY = 60


@dataclass(frozen=True)
class _Signer:
    """The parts of the `SignerInfo`."""

    sid: der.Node
    digest: HashAlgorithm
    attributes: dict[str, list[list[der.Node]]]
    signed: bytes
    signature: bytes


def witnessed(token: bytes, signature: bytes, root: TrustedRoot, now: int) -> int:
    """Hold one token for the signature; give its `genTime` in seconds since 1970."""
    info, signer = _signed_data(_content_info(token))
    time = _gen_time(info, signature)
    if time < 0 or time * SECOND > now + _LEEWAY * SECOND:
        raise Refused("a timestamp from before 1970 or from the future")
    reason = Refused("a timestamp of an authority that is not known")
    for authority in root.timestamp_authorities:
        certificate = authority.chain[0]
        if _names(signer.sid, certificate):
            try:
                _check_signer(signer, info, certificate)
                _check_authority(authority, time, now)
                return time
            except Refused as refused:
                reason = refused
    raise reason


def _content_info(token: bytes) -> der.Node:
    """The `ContentInfo`, also out of a `TimeStampResp` with status 0 or 1 (RFC 3161, 2.4.2)."""
    outer = der.single(token)
    parts = outer.sequence()
    if parts and parts[0].tag == der.SEQUENCE:
        status = parts[0].children()
        if len(parts) != 2 or not status or der.integer(status[0]) not in (0, 1):
            raise Refused("a response without a timestamp")
        outer = parts[1]
    kind, content = der.pair(outer.sequence())
    if der.oid(kind) != _SIGNED_DATA:
        raise Refused("a timestamp that is no signed data")
    return der.single(der.expect(content, 0xA0).content)


def _signed_data(node: der.Node) -> tuple[bytes, _Signer]:
    """The `TSTInfo` and its one signer (RFC 5652, section 5.1)."""
    parts = der.Cursor(node.sequence())
    der.integer(parts.take())
    parts.take(der.SET)
    kind, content = der.pair(parts.take().sequence())
    if der.oid(kind) != _TST_INFO:
        raise Refused("signed data around something else than a timestamp")
    info = der.expect(der.single(der.expect(content, 0xA0).content), der.OCTET_STRING).content
    carried = parts.optional(0xA0)
    _check_carried(carried.children() if carried else [])
    parts.optional(0xA1)
    signers = parts.take(der.SET).children()
    parts.end()
    if len(signers) != 1:
        raise Refused("a timestamp of not one signer")
    return info, _signer(signers[0])


def _check_carried(certificates: list[der.Node]) -> None:
    """Certificates in the token are not used, but each can be parsed and none is there twice."""
    if len({node.encoding for node in certificates}) != len(certificates):
        raise Refused("a token with a certificate twice")
    for node in certificates:
        x.check_names(x.read(node.encoding), sorted_sets=False)


def _signer(node: der.Node) -> _Signer:
    """Read a `SignerInfo` (RFC 5652, section 5.3)."""
    parts = der.Cursor(node.sequence())
    der.integer(parts.take())
    sid = parts.take()
    digest = _digest(parts.take())
    attributes = parts.take(0xA0).children()
    parts.take(der.SEQUENCE)
    signature = der.expect(parts.take(), der.OCTET_STRING).content
    parts.optional(0xA1)
    parts.end()
    values: dict[str, list[list[der.Node]]] = {}
    encodings = []
    for attribute in attributes:
        kind, content = der.pair(attribute.sequence())
        items = der.expect(content, der.SET).children()
        values.setdefault(der.oid(kind), []).append(items)
        encodings.append(der.encode(der.SEQUENCE, kind.encoding + _set_of(
            [item.encoding for item in items])))
    if len(set(encodings)) != len(encodings):
        raise Refused("a signed attribute twice with the same values")
    return _Signer(sid, digest, values, _set_of(encodings), signature)


def _set_of(encodings: list[bytes]) -> bytes:
    """Encode a `SET OF` in DER (ITU-T X.690, section 11.6)."""
    return der.encode(der.SET, b"".join(sorted(encodings)))


def _digest(node: der.Node) -> HashAlgorithm:
    """A digest algorithm."""
    by = keys.HASHES.get(der.oid(der.Cursor(node.sequence()).take()))
    if by is None:
        raise Refused("a digest by another algorithm")
    return by


def _gen_time(info: bytes, signature: bytes) -> int:
    """The `genTime` of a `TSTInfo` about the signature (RFC 3161, section 2.4.2)."""
    parts = der.Cursor(der.single(info).sequence())
    if der.integer(parts.take()) != 1:
        raise Refused("a timestamp of another version")
    der.oid(parts.take())
    algorithm, hashed = der.pair(parts.take().sequence())
    imprint = der.expect(hashed, der.OCTET_STRING).content
    if imprint != hashlib.new(_digest(algorithm).name, signature).digest():
        raise Refused("a timestamp of another signature")
    der.integer(parts.take())
    time = der.moment(parts.take(der.GENERALIZED_TIME))
    parts.optional(der.SEQUENCE)
    ordering = parts.optional(der.BOOLEAN)
    if ordering:
        der.boolean(ordering)
    nonce = parts.optional(der.INTEGER)
    if nonce:
        der.integer(nonce)
    parts.optional(0xA0)
    parts.optional(0xA1)
    parts.end()
    return time


def _names(sid: der.Node, certificate: Certificate) -> bool:
    """Say whether a `sid` names the certificate."""
    if sid.tag == 0x80:
        value = certificate.value(x.KEY_IDENTIFIER)
        return value == der.encode(der.OCTET_STRING, sid.content)
    issuer, serial = der.pair(sid.sequence())
    return issuer.encoding == certificate.issuer and der.integer(serial) == certificate.serial


def _check_signer(signer: _Signer, info: bytes, certificate: Certificate) -> None:
    """Hold the signed attributes and the signature over them."""
    if der.oid(_only(signer, _CONTENT_TYPE)) != _TST_INFO:
        raise Refused("a content type that is no timestamp")
    digest = der.expect(_only(signer, _MESSAGE_DIGEST), der.OCTET_STRING).content
    if digest != hashlib.new(signer.digest.name, info).digest():
        raise Refused("a message digest of another timestamp")
    second = _CERTIFICATE_V2 in signer.attributes
    value = _only(signer, _CERTIFICATE_V2 if second else _CERTIFICATE_V1)
    if not _is_signing(value, second, certificate):
        raise Refused("a timestamp that names another certificate")
    by, key = signer.digest, x.key(certificate)
    if by not in (keys.SHA256, keys.SHA384) or key.kind not in (keys.P256, keys.P384):
        raise Refused("a timestamp signed by another algorithm")
    if not key.verifies_hashed(signer.signed, signer.signature, by):
        raise Refused("a timestamp that the authority did not sign")


def _only(signer: _Signer, name: str) -> der.Node:
    """The value of a signed attribute that occurs once with one value."""
    occurrences = signer.attributes.get(name, [])
    if len(occurrences) != 1 or len(occurrences[0]) != 1:
        raise Refused("a signed attribute that does not occur once with one value")
    return occurrences[0][0]


def _is_signing(value: der.Node, second: bool, certificate: Certificate) -> bool:
    """Say whether the first certificate that is named is the signing one (RFC 5035)."""
    listed = der.Cursor(value.sequence()).take()
    first = der.Cursor(der.Cursor(listed.sequence()).take().sequence())
    written = first.optional(der.SEQUENCE) if second else None
    algorithm = _digest(written).name if written else "sha256" if second else "sha1"
    digest = first.take(der.OCTET_STRING).content
    by_serial = first.optional(der.SEQUENCE)
    first.end()
    if digest == hashlib.new(algorithm, certificate.encoding).digest():
        return True
    if by_serial is None:
        return False
    names, serial = der.pair(by_serial.children())
    general = names.sequence()
    return (
        len(general) == 1 and general[0].tag == x.DIRECTORY_NAME
        and general[0].content == certificate.issuer and der.integer(serial) == certificate.serial
    )


def _check_authority(authority: Authority, time: int, now: int) -> None:
    """The authority's window and path hold at the time."""
    if not authority.window.begun(now) or not authority.window.contains(time * SECOND):
        raise Refused("a timestamp from beyond the authority's window")
    signing, *between = authority.chain
    if not between:
        if not (signing.self_issued and path.signed_by(signing, signing)):
            raise Refused("a lone certificate that is not self-signed")
        x.check_names(signing)
        path.check_purpose(signing, path.TIME_STAMPING)
        if not signing.not_before <= time <= signing.not_after:
            raise Refused("a lone certificate that is not valid at the time")
        return
    above = Authority(between, authority.window)
    if not path.issuers(signing, above, [], time, path.TIME_STAMPING):
        raise Refused("no path to the timestamp authority's anchor")
