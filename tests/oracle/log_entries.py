"""What a log entry is about (acceptance.md, About this signature)."""

from typing import Any

from . import certificates, json_reader
from .bundle import Bundle, Entry
from .content import Content
from .encodings import base64_bytes, body_base64, hexadecimal, pem
from .json_reader import mapping
from .keys import PublicKey
from .refusal import Refused

_SPELLINGS = {
    f"{family}{bits}": bits
    for bits in ("256", "384", "512")
    for family in ("sha", "sha-", "sha2_")
}


def check_all(bundle: Bundle, content: Content, key: PublicKey) -> None:
    """Each entry is about this signature, and no two have the same log and body."""
    seen = set()
    for entry in bundle.entries:
        identity = (entry.log_id, entry.body)
        if identity in seen:
            raise Refused("it carries one log entry twice")
        seen.add(identity)
        _check(entry, bundle, content, key)


def _check(entry: Entry, bundle: Bundle, content: Content, key: PublicKey) -> None:
    """One entry is about this signature, by its kind."""
    body = mapping(json_reader.parse(entry.body))
    if body.get("kind") != entry.kind or body.get("apiVersion") != entry.version:
        raise Refused("a log entry of another kind than it says")
    check = {
        ("hashedrekord", "0.0.1"): _hashedrekord,
        ("hashedrekord", "0.0.2"): _hashedrekord_v2,
        ("dsse", "0.0.1"): _dsse,
        ("intoto", "0.0.2"): _intoto,
    }[entry.kind, entry.version]
    check(mapping(body.get("spec")), bundle, content, key)
    certificate = bundle.certificate
    if certificate and entry.integrated_time and entry.version == "0.0.1":
        if entry.kind == "hashedrekord" and not (
            certificate.not_before <= entry.integrated_time <= certificate.not_after
        ):
            raise Refused("a log entry from beyond the certificate's validity")


def _hashedrekord(spec: dict[str, Any], bundle: Bundle, content: Content, key: PublicKey) -> None:
    """`hashedrekord` 0.0.1."""
    if content.envelope:
        raise Refused("a log entry for a file beside an envelope")
    hashed = mapping(mapping(spec.get("data")).get("hash"))
    signed = mapping(spec.get("signature"))
    _same(_sha256(hashed, lower=False), content.digest, "file")
    _same(body_base64(signed.get("content")), bundle.signature, "signature")
    _check_pem(mapping(signed.get("publicKey")).get("content"), bundle, key, may_be_certified=False)


def _hashedrekord_v2(
    spec: dict[str, Any], bundle: Bundle, content: Content, key: PublicKey
) -> None:
    """`hashedrekord` 0.0.2."""
    record = mapping(spec.get("hashedRekordV002"))
    data, signed = mapping(record.get("data")), mapping(record.get("signature"))
    if _bits(data.get("algorithm")) != "256":
        raise Refused("a log entry by another algorithm")
    _same(body_base64(data.get("digest")), content.signed_digest(), "content")
    _same(body_base64(signed.get("content")), bundle.signature, "signature")
    verifier = mapping(signed.get("verifier"))
    if verifier.get("keyDetails") != "PKIX_ECDSA_P256_SHA_256":
        raise Refused("a log entry of another kind of key")
    certificate, public = verifier.get("x509Certificate"), verifier.get("publicKey")
    if (certificate is None) == (public is None):
        raise Refused("a log entry of no signer, or two")
    if (certificate is None) != (bundle.certificate is None):
        raise Refused("a log entry of another signer")
    raw = body_base64(mapping(public if certificate is None else certificate).get("rawBytes"))
    wanted = bundle.certificate.encoding if bundle.certificate else key.spki
    _same(raw, wanted, "signer")


def _dsse(spec: dict[str, Any], bundle: Bundle, content: Content, key: PublicKey) -> None:
    """`dsse` 0.0.1."""
    if not content.envelope:
        raise Refused("a log entry for an envelope beside a file")
    hashed = _sha256(mapping(spec.get("payloadHash")), lower=True)
    _same(hashed, content.payload_digest(), "payload")
    signed = _only(spec.get("signatures"))
    _same(body_base64(signed.get("signature")), bundle.signature, "signature")
    _check_pem(signed.get("verifier"), bundle, key, may_be_certified=True)
    _check_unread_hash(spec.get("envelopeHash"))


def _intoto(spec: dict[str, Any], bundle: Bundle, content: Content, key: PublicKey) -> None:
    """`intoto` 0.0.2."""
    if not content.envelope:
        raise Refused("a log entry for an envelope beside a file")
    inner = mapping(spec.get("content"))
    envelope = mapping(inner.get("envelope"))
    _same(_sha256(mapping(inner.get("payloadHash")), lower=False), content.payload_digest(),
          "payload")
    if envelope.get("payloadType") != content.envelope.payload_type:
        raise Refused("a log entry about another type of payload")
    signed = _only(envelope.get("signatures"))
    _same(base64_bytes(body_base64(signed.get("sig"))), bundle.signature, "signature")
    _check_pem(signed.get("publicKey"), bundle, key, may_be_certified=True)
    _check_unread_hash(inner.get("hash"))


def _check_pem(text: Any, bundle: Bundle, key: PublicKey, *, may_be_certified: bool) -> None:
    """The signer in the body is the bundle's (The signer)."""
    label, found = pem(body_base64(text))
    if bundle.certificate:
        if label != "CERTIFICATE" or found != bundle.certificate.encoding:
            raise Refused("a log entry of another signer")
    elif label == "CERTIFICATE" and may_be_certified:
        _same(certificates.parse(found).spki, key.spki, "signer")
    elif label != "PUBLIC KEY" or found != key.spki:
        raise Refused("a log entry of another signer")


def _check_unread_hash(value: Any) -> None:
    """A hash that must be there and is not compared."""
    unread = mapping(value)
    _bits(unread.get("algorithm"))
    if not isinstance(unread.get("value"), str):
        raise Refused("a hash without a value")


def _sha256(hashed: dict[str, Any], *, lower: bool) -> bytes:
    """A SHA-256 hash in hexadecimal."""
    if _bits(hashed.get("algorithm")) != "256":
        raise Refused("a log entry by another algorithm")
    return hexadecimal(hashed.get("value"), lower=lower)


def _bits(algorithm: Any) -> str:
    """The size of a hash algorithm in one of its spellings, in any case."""
    bits = _SPELLINGS.get(algorithm.lower()) if isinstance(algorithm, str) else None
    if bits is None:
        raise Refused("a hash by an algorithm that is not known")
    return bits


def _same(found: bytes, wanted: bytes, what: str) -> None:
    """Refuse an entry about something else."""
    if found != wanted:
        raise Refused(f"a log entry about another {what}")


def _only(value: Any) -> dict[str, Any]:
    """The only item of a list."""
    if not isinstance(value, list) or len(value) != 1:
        raise Refused("a log entry of not one signature")
    return mapping(value[0])
