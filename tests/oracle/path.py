"""Paths from a certificate to an authority's anchor (acceptance.md, Path; RFC 5280, 6.1)."""

from collections.abc import Iterator
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import HashAlgorithm

from . import certificates as x
from . import der, keys
from .certificates import Certificate
from .encodings import SECOND
from .name_constraints import check_names
from .refusal import Refused
from .trusted_root import Authority

CODE_SIGNING, TIME_STAMPING = "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.8"
MAX_BETWEEN = 6

_KNOWN_TO_ISSUERS = {
    x.KEY_USAGE, x.ALTERNATIVE_NAME, x.BASIC_CONSTRAINTS, x.NAME_CONSTRAINTS, x.EXTENDED_KEY_USAGE,
}
_KNOWN_TO_LEAVES = _KNOWN_TO_ISSUERS | {x.CRL_POINTS, x.SCT_LIST}
_DIGITAL_SIGNATURE, _KEY_CERT_SIGN = 0x80, 0x04
_HASHED = {
    "1.2.840.10045.4.3.2": (keys.SHA256, False),
    "1.2.840.10045.4.3.3": (keys.SHA384, False),
    "1.2.840.113549.1.1.11": (keys.SHA256, True),
    "1.2.840.113549.1.1.12": (keys.SHA384, True),
    "1.2.840.113549.1.1.13": (keys.SHA512, True),
}
_ED25519, _PSS, _MGF1 = "1.3.101.112", "1.2.840.113549.1.1.10", "1.2.840.113549.1.1.8"
_ML_DSA = "2.16.840.1.101.3.4.3."


def issuers(
    leaf: Certificate, authority: Authority, brought: list[Certificate], time: int, purpose: str
) -> list[Certificate]:
    """The certificates that issued the leaf on a path that is good at a time in seconds."""
    if not authority.window.contains(time * SECOND):
        return []
    candidates = authority.intermediates
    if len(authority.chain) == 1 and authority.anchor.self_issued:
        candidates = candidates + [item for item in brought if not item.self_issued]
    found = []
    for above in _chains([leaf], authority.anchor, candidates):
        try:
            _check([leaf, *above], time, purpose)
        except Refused:
            continue
        found.append(above[0])
    return found


def _chains(
    below: list[Certificate], anchor: Certificate, candidates: list[Certificate]
) -> Iterator[list[Certificate]]:
    """Each chain of issuers from the last certificate up to the anchor."""
    last = below[-1]
    if _issued(last, anchor):
        yield [anchor]
    if len(below) > MAX_BETWEEN:
        return
    for candidate in candidates:
        if all(candidate.encoding != item.encoding for item in (*below, anchor)):
            if _issued(last, candidate):
                for rest in _chains([*below, candidate], anchor, candidates):
                    yield [candidate, *rest]


def _issued(child: Certificate, issuer: Certificate) -> bool:
    """Say whether names chain and the issuer's key signed the certificate (6.1.3, a)."""
    return child.issuer == issuer.subject and signed_by(child, issuer)


@lru_cache(maxsize=8192)
def signed_by(child: Certificate, issuer: Certificate) -> bool:
    """Say whether the issuer's key signed the certificate, by an algorithm that Path lists."""
    if child.algorithm != child.inner_algorithm:
        return False
    identifier, *parameters = der.single(child.algorithm).children()
    name = der.oid(identifier)
    try:
        if name.startswith(_ML_DSA):
            return _signed_by_ml_dsa(child, issuer)
        key = x.key(issuer)
        if name == _PSS and parameters:
            return key.kind == keys.RSA and key.verifies_pss(
                child.tbs, child.signature, _pss_hash(parameters[0]))
        if name == _ED25519:
            return (not parameters and key.kind == keys.ED25519
                    and key.verifies(child.tbs, child.signature))
        by, rsa = _HASHED.get(name, (None, False))
        if by is None or rsa != (key.kind == keys.RSA) or not (
                _plain(parameters) if rsa else not parameters):
            return False
        return key.verifies_hashed(child.tbs, child.signature, by)
    except (Refused, ValueError):
        return False


def _signed_by_ml_dsa(child: Certificate, issuer: Certificate) -> bool:
    """Verify ML-DSA (FIPS 204), whose keys the library reads."""
    if der.single(issuer.spki).children()[0].encoding != child.algorithm:
        return False
    return keys.PublicKey(issuer.spki, "ML-DSA", b"").verifies_pure(child.tbs, child.signature)


def _plain(parameters: list[der.Node]) -> bool:
    """Say whether parameters are NULL or absent."""
    return [node.encoding for node in parameters] in ([], [b"\x05\x00"])


def _pss_hash(parameters: der.Node) -> HashAlgorithm:
    """The hash of PSS parameters: MGF1 of the same, and a salt of its length (RFC 4055, 3.1)."""
    fields = der.Cursor(parameters.sequence())
    hashed, masked, salt = (der.single(fields.take(tag).content) for tag in (0xA0, 0xA1, 0xA2))
    fields.end()
    mask, inner = der.pair(masked.sequence())
    names = []
    for identifier in (hashed, inner):
        name, *rest = identifier.sequence()
        if not _plain(rest):
            raise Refused("a hash with parameters")
        names.append(der.oid(name))
    by = keys.HASHES.get(names[0])
    if (by is None or names[1] != names[0] or der.oid(mask) != _MGF1
            or der.integer(salt) != by.digest_size):
        raise Refused("other parameters of PSS than of one hash")
    return by


def _check(chain: list[Certificate], time: int, purpose: str) -> None:
    """Hold all that Path says of the certificates of one chain, leaf first, anchor last."""
    leaf, above = chain[0], chain[1:]
    for certificate in chain:
        x.check_names(certificate)
        if certificate.version != 3 or certificate.repeats:
            raise Refused("a certificate is not version 3, or has an extension twice")
        if not certificate.not_before <= time <= certificate.not_after:
            raise Refused("a certificate is not valid at the time")
    _refuse_critical(leaf, _KNOWN_TO_LEAVES)
    _check_key_usage(leaf, _DIGITAL_SIGNATURE)
    check_purpose(leaf, purpose)
    not_self_issued = 0
    for position, issuer in enumerate(above):
        _check_issuer(issuer, purpose, not_self_issued)
        check_names(issuer, chain[: position + 1])
        not_self_issued += not issuer.self_issued


def check_purpose(leaf: Certificate, purpose: str) -> None:
    """A leaf is for the purpose, and no certificate authority."""
    usages = _extended_key_usages(leaf)
    if usages is None or purpose not in usages:
        raise Refused("the certificate is not for this purpose")
    if _basic_constraints(leaf)[0]:
        raise Refused("the certificate is an authority's")


def _check_issuer(issuer: Certificate, purpose: str, below: int) -> None:
    """Hold what Path says of each other certificate; `below` are not self-issued."""
    _refuse_critical(issuer, _KNOWN_TO_ISSUERS)
    if x.POLICY_CONSTRAINTS in issuer.extensions:
        raise Refused("an issuer has policy constraints")
    authority, length = _basic_constraints(issuer)
    if not authority or (length is not None and below > length):
        raise Refused("an issuer is no authority, or not of so long a path")
    _check_key_usage(issuer, _KEY_CERT_SIGN)
    usages = _extended_key_usages(issuer)
    if usages is not None and purpose not in usages:
        raise Refused("an issuer is not for this purpose")


def _refuse_critical(certificate: Certificate, known: set[str]) -> None:
    """Refuse a critical extension that is not processed."""
    for name, extension in certificate.extensions.items():
        if extension.critical and name not in known:
            raise Refused("a critical extension that is not processed")


def _basic_constraints(certificate: Certificate) -> tuple[bool, int | None]:
    """Whether it is an authority, and its path length (RFC 5280, section 4.2.1.9)."""
    value = certificate.value(x.BASIC_CONSTRAINTS)
    if value is None:
        return False, None
    parts = der.Cursor(der.single(value).sequence())
    flag = parts.optional(der.BOOLEAN)
    length = parts.optional(der.INTEGER)
    parts.end()
    limit = der.integer(length) if length else None
    if limit is not None and limit < 0:
        raise Refused("a negative path length")
    return flag is not None and der.boolean(flag), limit


def _check_key_usage(certificate: Certificate, needed: int) -> None:
    """If there is a key usage, it has the needed bit of its first byte (4.2.1.3)."""
    value = certificate.value(x.KEY_USAGE)
    if value is not None:
        bits = der.bit_string(der.single(value), whole_bytes=False)
        if not bits or not bits[0] & needed:
            raise Refused("a key usage does not allow it")


def _extended_key_usages(certificate: Certificate) -> list[str] | None:
    """The extended key usages, or `None` without that extension (4.2.1.12)."""
    value = certificate.value(x.EXTENDED_KEY_USAGE)
    return None if value is None else [der.oid(node) for node in der.single(value).sequence()]
