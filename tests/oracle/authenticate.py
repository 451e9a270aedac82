"""Who signed (acceptance.md, Authenticated)."""

from . import certificate_log, certificates, log_entries, logs, path, timestamps
from .bundle import Bundle, Envelope
from .certificates import Certificate
from .content import Content
from .encodings import base64_bytes
from .keys import PublicKey
from .policy import Identity, Policy
from .refusal import Refused
from .trusted_root import TrustedRoot

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def by_key(
    policy: Policy, root: TrustedRoot, bundle: Bundle, content: Content, now: int
) -> tuple[frozenset[int], PublicKey]:
    """The slots that a bundle with a key can fill, and that key (By a key)."""
    _check_payload_type(content.envelope)
    reason = Refused("no key of the policy made its signature")
    for key in {key.spki: key for key in policy.keys}.values():
        if not content.signed_by(key, bundle.signature):
            continue
        try:
            if _hinted(bundle.hint) not in (None, key.id):
                raise Refused("its hint is of another key")
            log_entries.check_all(bundle, content, key)
            _witnessed_times(policy, root, bundle, now)
            if bundle.version == 1 and bundle.timestamps and not logs.known_entries(bundle, root):
                raise Refused("timestamps without an entry of a known log")
        except Refused as refused:
            reason = refused
            continue
        return frozenset(
            number for number, slot in enumerate(policy.slots)
            if isinstance(slot, PublicKey) and slot.spki == key.spki), key
    raise reason


def by_certificate(
    policy: Policy, root: TrustedRoot, bundle: Bundle, certificate: Certificate, content: Content,
    now: int,
) -> tuple[frozenset[int], PublicKey]:
    """The slots that a bundle with a certificate can fill, and its key (By a certificate)."""
    if not policy.identities:
        raise Refused("no identity is asked for")
    saying = certificates.says(certificate)
    key = certificates.key(certificate)
    _check_payload_type(content.envelope)
    if not content.signed_by(key, bundle.signature):
        raise Refused("the key in its certificate did not make its signature")
    log_entries.check_all(bundle, content, key)
    if bundle.version == 1 and not logs.known_entries(bundle, root):
        raise Refused("it carries no entry of a known log")
    times = _witnessed_times(policy, root, bundle, now)
    if not times:
        raise Refused("nothing shows when it was signed")
    issuers: list[Certificate] = []
    for time in times:
        found = [
            issuer
            for authority in root.certificate_authorities
            for issuer in path.issuers(
                certificate, authority, bundle.brought, time, path.CODE_SIGNING)
        ]
        if not found:
            raise Refused("its certificate leads to no authority at a witnessed time")
        issuers.extend(found)
    if policy.certificates_must_be_logged:
        certificate_log.check(certificate, issuers, root.certificate_logs)
    slots = frozenset(
        number for number, slot in enumerate(policy.slots)
        if isinstance(slot, Identity) and slot.matches(saying.identity, saying.issuer))
    if not slots:
        raise Refused("it was signed by somebody else")
    return slots, key


def _witnessed_times(policy: Policy, root: TrustedRoot, bundle: Bundle, now: int) -> set[int]:
    """Hold known log entries, timestamps and witnesses; give the witnessed times."""
    demanded = policy.demands_log(bundle.certificate is not None)
    known = logs.known_entries(bundle, root)
    if demanded and not known:
        raise Refused("it carries no entry of a known log")
    times = set()
    for entry, log in known:
        time = logs.check_entry(entry, log, bundle, demanded, now)
        if time is not None:
            times.add(time)
        if policy.witnesses:
            logs.check_witnesses(entry, policy.witnesses, policy.witness_threshold)
    for token in bundle.timestamps:
        times.add(timestamps.witnessed(token, bundle.signature, root, now))
    if demanded:
        for _, log in known:
            logs.check_times(log, times)
    return times


def _check_payload_type(envelope: Envelope | None) -> None:
    """The payload of an envelope is of in-toto's type."""
    if envelope and envelope.payload_type != PAYLOAD_TYPE:
        raise Refused("its payload is of another type")


def _hinted(hint: str) -> bytes | None:
    """The id of a key in a hint, if it is one."""
    try:
        identifier = base64_bytes(hint)
    except Refused:
        return None
    return identifier if len(identifier) == 32 else None
