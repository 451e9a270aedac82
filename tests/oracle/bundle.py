"""Sigstore bundles (acceptance.md, Bundles; sigstore_bundle.proto)."""

from dataclasses import dataclass
from typing import Any

from . import certificates, checkpoint, json_reader
from .certificates import Certificate
from .checkpoint import Checkpoint
from .encodings import MAX_INDEX, MAX_NATURAL, base64_bytes, natural
from .json_reader import Message
from .refusal import Refused

MAX_ITEMS = 16
MAX_CHAIN = 10
MAX_BESIDE_PAYLOAD = 4 << 20
VERSIONS = {
    "application/vnd.dev.sigstore.bundle+json;version=0.1": 1,
    "application/vnd.dev.sigstore.bundle+json;version=0.2": 2,
    "application/vnd.dev.sigstore.bundle.v0.3+json": 3,
    "application/vnd.dev.sigstore.bundle+json;version=0.3": 3,
}
SECOND_GENERATION = ("hashedrekord", "0.0.2")
KINDS = [("hashedrekord", "0.0.1"), ("dsse", "0.0.1"), ("intoto", "0.0.2"), SECOND_GENERATION]


@dataclass(frozen=True)
class Proof:
    """A proof of inclusion."""

    root_hash: bytes
    tree_size: int
    hashes: list[bytes]
    index: int
    checkpoint: Checkpoint | None


@dataclass(frozen=True)
class Entry:
    """A log entry."""

    log_id: bytes
    kind: str
    version: str
    body: bytes
    index: int
    integrated_time: int
    promise: bytes | None
    proof: Proof | None

    @property
    def second_generation(self) -> bool:
        """Say whether the entry is of Rekor's second generation."""
        return (self.kind, self.version) == SECOND_GENERATION


@dataclass(frozen=True)
class Envelope:
    """A DSSE envelope without its one signature."""

    payload: bytes
    payload_type: str

    @property
    def encoding(self) -> bytes:
        """The pre-authentication encoding (DSSE 1.0.2)."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)


@dataclass(frozen=True)
class Bundle:
    """A bundle, or a legacy layer in its shape. Without a certificate a key signed it."""

    version: int
    certificate: Certificate | None
    brought: list[Certificate]
    hint: str
    entries: list[Entry]
    timestamps: list[bytes]
    signature: bytes
    envelope: Envelope | None
    message_digest: bytes | None = None


def check_kind(kind: Any, version: Any) -> None:
    """Refuse an entry of a kind and version that are not read."""
    if (kind, version) not in KINDS:
        raise Refused("a log entry of a kind that is not read")


def parse(data: bytes) -> Bundle:
    """Parse a bundle (Bundles)."""
    outer = Message(json_reader.parse(data), (
        "mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope"))
    version = VERSIONS.get(outer.text("mediaType"))
    if version is None:
        raise Refused("it is of another media type")
    material = Message(outer.required("verificationMaterial"), (
        "publicKey", "certificate", "x509CertificateChain", "tlogEntries",
        "timestampVerificationData"))
    certificate, brought, hint = _signer(material, version)
    entries = [_entry(item) for item in material.list("tlogEntries", may_be_null=True)]
    if version == 1 and any(entry.promise is None for entry in entries):
        raise Refused("a log entry without a promise")
    timestamps = _timestamps(material.optional("timestampVerificationData"))
    if len(entries) > MAX_ITEMS or len(timestamps) > MAX_ITEMS:
        raise Refused("too many log entries or timestamps")

    message, enveloped = outer.optional("messageSignature"), outer.optional("dsseEnvelope")
    if (message is None) == (enveloped is None):
        raise Refused("it holds no signature, or two")
    if message is not None:
        signature, stated = _message_signature(message)
        return Bundle(version, certificate, brought, hint, entries, timestamps, signature, None,
                      stated)
    sealed = Message(enveloped, ("payload", "payloadType", "signatures"))
    signatures = sealed.list("signatures")
    if len(signatures) != 1:
        raise Refused("its envelope has not one signature")
    signed = Message(signatures[0], ("sig", "keyid"))
    signed.pass_over("keyid")
    payload = sealed.text("payload")
    if len(data) - len(payload) > MAX_BESIDE_PAYLOAD:
        raise Refused("it is too large beside its payload")
    envelope = Envelope(base64_bytes(payload), sealed.text("payloadType"))
    return Bundle(version, certificate, brought, hint, entries, timestamps,
                  base64_bytes(signed.text("sig")), envelope)


def _signer(material: Message, version: int) -> tuple[Certificate | None, list[Certificate], str]:
    """The signer's certificate, the ones after it, and the hint of a key."""
    names = ("publicKey", "certificate", "x509CertificateChain")
    ways = [material.optional(name) for name in names]
    if sum(way is not None for way in ways) != 1:
        raise Refused("it names no signer, or two")
    public_key, certificate, chain = ways
    if public_key is not None:
        return None, [], Message(public_key, ("hint",)).text("hint", "")
    if certificate is not None:
        return certificates.parse(_raw_bytes(certificate)), [], ""
    links = Message(chain, ("certificates",)).list("certificates")
    if version == 3 or not 1 <= len(links) <= MAX_CHAIN:
        raise Refused("a certificate chain of this version or length")
    encodings = [_raw_bytes(link) for link in links]
    return certificates.parse(encodings[0]), _brought(encodings[1:]), ""


def _raw_bytes(value: Any) -> bytes:
    """The bytes of an `X509Certificate`."""
    return base64_bytes(Message(value, ("rawBytes",)).text("rawBytes"))


def _brought(encodings: list[bytes]) -> list[Certificate]:
    """The certificates that come with the signer's (Path, "brought")."""
    parsed = []
    for position, encoding in enumerate(encodings):
        try:
            certificate = certificates.parse(encoding)
        except Refused:
            continue
        if certificate.self_issued and position + 1 < len(encodings):
            raise Refused("a self-issued certificate that is not the last one")
        parsed.append(certificate)
    return parsed


def _entry(value: Any) -> Entry:
    """Read one log entry (A log entry)."""
    entry = Message(value, ("logIndex", "logId", "kindVersion", "integratedTime",
                            "inclusionPromise", "inclusionProof", "canonicalizedBody"))
    log_id = base64_bytes(Message(entry.required("logId"), ("keyId",)).text("keyId"))
    kind_version = Message(entry.required("kindVersion"), ("kind", "version"))
    kind, version = kind_version.text("kind"), kind_version.text("version")
    check_kind(kind, version)
    promise = entry.optional("inclusionPromise")
    if promise is not None:
        promised = Message(promise, ("signedEntryTimestamp",)).text("signedEntryTimestamp")
        promise = base64_bytes(promised)
    index = _index(entry, "logIndex")
    proof = entry.optional("inclusionProof")
    read = None if proof is None else _proof(proof, log_id)
    if read and (kind, version) == SECOND_GENERATION and read.index != index:
        raise Refused("a proof of another index than its entry's")
    return Entry(log_id, kind, version, base64_bytes(entry.text("canonicalizedBody")), index,
                 _index(entry, "integratedTime"), promise, read)


def _proof(value: Any, log_id: bytes) -> Proof:
    """Read one proof of inclusion and its checkpoint."""
    proof = Message(value, ("logIndex", "rootHash", "treeSize", "hashes", "checkpoint"))
    written = proof.text("rootHash")
    root_hash = base64_bytes(written)
    hashes = [base64_bytes(item) for item in proof.list("hashes")]
    if any(len(item) != 32 for item in [root_hash, *hashes]):
        raise Refused("a hash of another length")
    size = natural(proof.required("treeSize"), MAX_NATURAL)
    note = proof.optional("checkpoint")
    parsed = None
    if note is not None:
        envelope = Message(note, ("envelope",)).text("envelope")
        parsed = checkpoint.parse(envelope, log_id, size, written)
    return Proof(root_hash, size, hashes, _index(proof, "logIndex"), parsed)


def _index(message: Message, name: str) -> int:
    """An index or time, absent is 0."""
    value = message.optional(name)
    return 0 if value is None else natural(value, MAX_INDEX)


def _timestamps(value: Any) -> list[bytes]:
    """Read the timestamps."""
    if value is None:
        return []
    material = Message(value, ("rfc3161Timestamps",))
    items = material.list("rfc3161Timestamps", may_be_null=True)
    return [base64_bytes(Message(item, ("signedTimestamp",)).text("signedTimestamp"))
            for item in items]


def _message_signature(value: Any) -> tuple[bytes, bytes | None]:
    """Read a `messageSignature`: the signature and the stated digest."""
    message = Message(value, ("messageDigest", "signature"))
    stated = message.optional("messageDigest")
    digest = None
    if stated is not None:
        stated = Message(stated, ("algorithm", "digest"))
        digest = base64_bytes(stated.text("digest"))
        if stated.text("algorithm") != "SHA2_256" or len(digest) != 32:
            raise Refused("a digest by another algorithm")
    return base64_bytes(message.text("signature")), digest
