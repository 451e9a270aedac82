"""The decision about one verdict document (acceptance.md, the function `accept`)."""

import base64
import binascii
import hashlib
from typing import Any

from . import authenticate, bundle, certificates, claim, legacy, matching, statement, trusted_root
from . import policy as policies
from .bundle import Bundle
from .content import Content
from .encodings import rfc3339
from .matching import Vote
from .policy import Policy
from .refusal import Refused, Unusable
from .statement import Bound
from .trusted_root import TrustedRoot

MAX_IMAGE_SIGNATURE = 1 << 20
MAX_BUNDLE = 88 << 20
_FORMS = ("bundle", "file-bundle", "legacy-signature", "legacy-attestation")


class _Unread(Exception):
    """A content is not in the document."""


def judge(document: Any) -> dict[str, Any]:
    """Judge a document and give the answer as the command line writes it."""
    try:
        return _judge(document)
    except Unusable as reason:
        return _answer("unusable", [], 0, {"root": str(reason)})


def _judge(document: Any) -> dict[str, Any]:
    """Judge each piece of evidence by itself, then count (Counting, Verdict)."""
    try:
        now = rfc3339(document["now"])
        subject = bytes.fromhex(document["subject"]["digest"])
        policy = policies.parse(document["question"])
        root = trusted_root.parse(_content(document, document["trusted_root"]["digest"]))
        items, unjudged = document["evidence"], document["unjudged"]
        incomplete = bool(unjudged["unread"]) or unjudged["truncated"] is True
    except (KeyError, TypeError, ValueError, AttributeError) as reason:
        raise Unusable(f"the document: {reason}") from None
    except _Unread:
        raise Unusable("the trusted root is not in the document") from None
    if now is None or len(subject) != 32 or not isinstance(items, list):
        raise Unusable("the document has no time, subject or evidence")

    votes: dict[int, Vote] = {}
    reasons: dict[str, str] = {}
    for number, item in enumerate(items):
        try:
            votes[number] = _vote(document, item, policy, root, now)
        except Refused as reason:
            reasons[str(number)] = str(reason)
        except _Unread:
            incomplete = True
            reasons[str(number)] = "its content is not in the document"
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            reasons[str(number)] = "it is malformed"
    filled = matching.filled(list(votes.values()), len(policy.slots))
    met = votes and not incomplete if policy.each_by_itself else filled >= policy.threshold
    verdict = "verified" if met else "undetermined" if incomplete else "refused"
    return _answer(verdict, list(votes), filled, reasons)


def _answer(
    verdict: str, accepted: list[int], filled: int, reasons: dict[str, str]
) -> dict[str, Any]:
    """An answer."""
    return {"verdict": verdict, "accepted": accepted, "filled": filled, "reasons": reasons}


def _content(document: Any, digest: str) -> bytes:
    """A content of the document, which must have the digest that it goes by."""
    try:
        data = base64.b64decode(document["contents"][digest], validate=True)
    except (KeyError, binascii.Error):
        raise _Unread from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise _Unread
    return data


def _vote(document: Any, item: Any, policy: Policy, root: TrustedRoot, now: int) -> Vote:
    """Judge one piece of evidence (Authenticated, Bound, Claim)."""
    form = item["form"]
    if form not in _FORMS:
        raise Refused("evidence of a form that is not known")
    data = _content(document, item["content"])
    subject = bytes.fromhex(item["subject"])
    annotations = item["annotations"] or {}
    read = _read(form, data, annotations, policy)
    content = _signed(document, form, data, subject, read)
    certificate = read.certificate
    if certificate:
        slots, key = authenticate.by_certificate(policy, root, read, certificate, content, now)
    else:
        slots, key = authenticate.by_key(policy, root, read, content, now)
    bound = _bound(form, data, subject, read, policy)
    saying = certificates.says(certificate) if certificate else None
    if form == "bundle":
        _check_manifest(item, annotations, bound)
    claim.check_type(bound, form == "legacy-signature", policy)
    claim.check_annotations(bound, policy)
    claim.check_provenance(bound, saying, policy)
    claim.check_minimum_time(bound, certificate, policy, now)
    who = (saying.identity, saying.issuer) if saying else None
    return Vote(slots, key.id, hashlib.sha256(read.signature).digest(), who)


def _read(form: str, data: bytes, annotations: dict[str, str], policy: Policy) -> Bundle:
    """Read a piece of evidence of the largest size or below it (Evidence)."""
    image_signature = form == "legacy-signature" or (
        form == "bundle" and policy.predicate_type == claim.IMAGE_SIGNATURE)
    if len(data) > (MAX_IMAGE_SIGNATURE if image_signature else MAX_BUNDLE):
        raise Refused("it is too large")
    if form == "legacy-signature":
        return legacy.signature_layer(annotations)
    if form == "legacy-attestation":
        return legacy.attestation_layer(data, annotations)
    return bundle.parse(data)


def _signed(document: Any, form: str, data: bytes, subject: bytes, read: Bundle) -> Content:
    """What the signature is over: an envelope, a legacy payload, or the file."""
    if read.envelope:
        return Content(b"", None, read.envelope)
    if form == "legacy-signature":
        return Content(hashlib.sha256(data).digest(), data, None)
    if form == "bundle":
        raise Refused("a signature of a file beside an image")
    whole = document["whole"]
    file = None if whole is None else _content(document, whole)
    if file is not None and hashlib.sha256(file).digest() != subject:
        raise Refused("the file is another than the subject")
    return Content(subject, file, None)


def _bound(form: str, data: bytes, subject: bytes, read: Bundle, policy: Policy) -> Bound:
    """Bind the evidence to the subject (Bound)."""
    if read.envelope:
        return statement.bind_statement(read.envelope.payload, subject)
    if form == "legacy-signature":
        return statement.bind_legacy(data, subject)
    if read.message_digest not in (None, subject):
        raise Refused("it states the digest of another file")
    if policy.predicate_type is not None:
        raise Refused("a signature of a file is no statement")
    return Bound({})


def _check_manifest(item: Any, annotations: dict[str, str], bound: Bound) -> None:
    """The manifest's subject and annotations do not contradict the bundle (Verbs)."""
    if item["refers_to"] not in (None, item["subject"]):
        raise Refused("its manifest refers to something else")
    if annotations.get("dev.sigstore.bundle.content", "dsse-envelope") != "dsse-envelope":
        raise Refused("its manifest states another content")
    kind = annotations.get("dev.sigstore.bundle.predicateType", bound.predicate_type)
    if kind != bound.predicate_type:
        raise Refused("its manifest states another type")
