"""in-toto statements and legacy payloads (acceptance.md, Bound)."""

from dataclasses import dataclass
from typing import Any

from . import json_reader
from .encodings import hexadecimal
from .json_reader import mapping, structure
from .refusal import Refused

TYPES = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
MAX_SUBJECTS = 1024
MAX_DIGESTS = 32
LEGACY_TYPE = "cosign container image signature"
_SUBJECT = ("name", "digest", "annotations", "uri", "content", "downloadLocation", "mediaType")

_DIGITS = {"md5": (32,), "sha1": (40,)}
_DIGITS |= dict.fromkeys(("sha224", "sha512_224", "sha3_224"), (56,))
_DIGITS |= dict.fromkeys(("sha256", "sha512_256", "sha3_256", "blake2s"), (64,))
_DIGITS |= dict.fromkeys(("sha384", "sha3_384"), (96,))
_DIGITS |= dict.fromkeys(("sha512", "sha3_512", "blake2b"), (128,))
_DIGITS |= dict.fromkeys(("gitBlob", "gitCommit", "gitTag", "gitTree"), (40, 64))


@dataclass(frozen=True)
class Bound:
    """What the evidence says of its subject: annotations, and its type and predicate, if any."""

    annotations: dict[str, Any]
    predicate_type: str | None = None
    predicate: Any = None


def bind_statement(payload: bytes, subject: bytes) -> Bound:
    """The payload is a statement about the subject (A statement)."""
    value = json_reader.parse(payload, ceiling=json_reader.STATEMENT_CEILING, signed=True)
    statement = structure(value, ("_type", "subject", "predicateType", "predicate"))
    items, kind = statement.get("subject"), statement.get("predicateType")
    if statement.get("_type") not in TYPES or not isinstance(kind, str):
        raise Refused("its payload is no statement")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_SUBJECTS:
        raise Refused("a statement about nothing, or too much")
    described = [structure(item, _SUBJECT) for item in items]
    for item in described:
        _check_item(item)
    for item in described:
        if item["digest"].get("sha256") == subject.hex():
            return Bound(item.get("annotations") or {}, kind, statement.get("predicate"))
    raise Refused("a statement about something else")


def _check_item(item: dict[str, Any]) -> None:
    """Check the form of one subject, and of its digests (Encodings)."""
    digests = item.get("digest")
    if not isinstance(digests, dict) or len(digests) > MAX_DIGESTS:
        raise Refused("a subject without digests, or with too many")
    if not isinstance(item.get("name", ""), str):
        raise Refused("a subject whose name is no text")
    if not isinstance(item.get("annotations"), dict | None):
        raise Refused("a subject whose annotations are no map")
    for algorithm, digest in digests.items():
        if not isinstance(digest, str):
            raise Refused("a digest that is no text")
        if algorithm in _DIGITS and (
            len(digest) not in _DIGITS[algorithm] or not hexadecimal(digest, lower=True)
        ):
            raise Refused("a digest of another length")


def bind_legacy(payload: bytes, subject: bytes) -> Bound:
    """The payload is cosign's, about the subject (A legacy payload)."""
    outer = _closed(json_reader.parse(payload), ("critical", "optional"))
    critical = _closed(outer.get("critical"), ("identity", "image", "type"))
    identity = _closed(critical.get("identity"), ("docker-reference",))
    image = _closed(critical.get("image"), ("docker-manifest-digest",))
    if not isinstance(identity.get("docker-reference"), str):
        raise Refused("a legacy payload without a reference")
    if critical.get("type") != LEGACY_TYPE:
        raise Refused("a legacy payload of another type")
    if image.get("docker-manifest-digest") != "sha256:" + subject.hex():
        raise Refused("a legacy payload about something else")
    optional = outer.get("optional")
    if not isinstance(optional, dict | None):
        raise Refused("a legacy payload whose annotations are no map")
    return Bound(optional or {})


def _closed(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """An object without members that are not known."""
    if not set(mapping(value)) <= set(names):
        raise Refused("a legacy payload of another form")
    return value
