"""cosign's older forms in the shape of bundles (acceptance.md, Legacy layers)."""

from . import certificates, json_reader
from .bundle import Bundle, Entry, Envelope, check_kind
from .encodings import MAX_INDEX, base64_bytes, hexadecimal, natural, pem
from .json_reader import mapping, structure
from .refusal import Refused

SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
LOG = "dev.sigstore.cosign/bundle"
TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp"


def signature_layer(annotations: dict[str, str]) -> Bundle:
    """A layer that is the signed payload itself, with its signature in an annotation."""
    return _bundle(base64_bytes(annotations.get(SIGNATURE)), None, annotations)


def attestation_layer(data: bytes, annotations: dict[str, str]) -> Bundle:
    """A layer that is a DSSE envelope, an open structure with exactly one signature."""
    bare = structure(json_reader.parse(data), ("payload", "payloadType", "signatures"))
    signatures, kind = bare.get("signatures"), bare.get("payloadType")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(kind, str):
        raise Refused("its envelope has not one signature, or no type")
    signed = structure(signatures[0], ("sig", "keyid"))
    envelope = Envelope(base64_bytes(bare.get("payload")), kind)
    return _bundle(base64_bytes(signed.get("sig")), envelope, annotations)


def _bundle(signature: bytes, envelope: Envelope | None, annotations: dict[str, str]) -> Bundle:
    """The bundle that a layer with these annotations is judged like."""
    certificate = None
    if CERTIFICATE in annotations:
        label, encoding = pem(annotations[CERTIFICATE].encode())
        if label != "CERTIFICATE":
            raise Refused("its certificate is none")
        certificate = certificates.parse(encoding)
    entries = [_entry(annotations[LOG])] if LOG in annotations else []
    timestamps = []
    if TIMESTAMP in annotations:
        stamped = mapping(json_reader.parse(annotations[TIMESTAMP].encode()))
        timestamps.append(base64_bytes(stamped.get("SignedRFC3161Timestamp")))
    version = 1 if entries else 2
    return Bundle(version, certificate, [], "", entries, timestamps, signature, envelope)


def _entry(annotation: str) -> Entry:
    """The log entry of the annotation, with a promise and without a proof."""
    logged = mapping(json_reader.parse(annotation.encode()))
    payload = mapping(logged.get("Payload"))
    promise = base64_bytes(logged.get("SignedEntryTimestamp"))
    log_id = hexadecimal(payload.get("logID"), lower=True)
    if len(log_id) != 32:
        raise Refused("a log id of another length")
    body = base64_bytes(payload.get("body"))
    stated = mapping(json_reader.parse(body))
    kind, version = stated.get("kind"), stated.get("apiVersion")
    check_kind(kind, version)
    numbers = [payload.get("logIndex"), payload.get("integratedTime")]
    if any(isinstance(number, str) for number in numbers):
        raise Refused("a log entry without numbers")
    index, time = (natural(number, MAX_INDEX) for number in numbers)
    return Entry(log_id, kind, version, body, index, time, promise, None)
