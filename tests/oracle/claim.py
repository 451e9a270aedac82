"""What evidence must claim to answer the question (acceptance.md, Claim)."""

from .certificates import Certificate, Saying
from .encodings import SECOND, rfc3339
from .policy import Policy
from .provenance import PROVENANCE_TYPE, check_consistency, check_expectations, is_there, pointed
from .refusal import Refused
from .statement import Bound

IMAGE_SIGNATURE = "https://sigstore.dev/cosign/sign/v1"

_TIMES = {
    PROVENANCE_TYPE: ("/runDetails/metadata/finishedOn", "/runDetails/metadata/startedOn"),
    "https://spdx.dev/Document": ("/creationInfo/created",),
    "https://cyclonedx.org/bom": ("/metadata/timestamp",),
    "https://cosign.sigstore.dev/attestation/vuln/v1": ("/metadata/scanFinishedOn",),
    "https://openvex.dev/ns": ("/timestamp",),
    "https://cosign.sigstore.dev/attestation/v1": ("/Timestamp",),
    "urn:lifeboat:snapshot:v0": ("/time",),
}


def check_type(bound: Bound, legacy: bool, policy: Policy) -> None:
    """The evidence is of the type that is asked for (Type)."""
    wanted = policy.predicate_type
    if wanted is not None and bound.predicate_type != wanted:
        if not (legacy and wanted == IMAGE_SIGNATURE):
            raise Refused("it is of another type")


def check_annotations(bound: Bound, policy: Policy) -> None:
    """Each annotation that is wanted is there (Annotations)."""
    for name, value in policy.annotations.items():
        found = bound.annotations.get(name)
        if not isinstance(found, str) or found != value:
            raise Refused("an annotation is missing or another")


def check_provenance(bound: Bound, saying: Saying | None, policy: Policy) -> None:
    """Provenance agrees with its certificate and with what is expected (Provenance)."""
    if bound.predicate_type != PROVENANCE_TYPE or policy.predicate_type is None:
        return
    if saying:
        check_consistency(bound.predicate, saying)
    if policy.expectations and policy.expects:
        check_expectations(bound.predicate, policy.expectations, saying)


def check_minimum_time(
    bound: Bound, certificate: Certificate | None, policy: Policy, now: int
) -> None:
    """The evidence is not from before the minimum time (Minimum time)."""
    if policy.minimum_time is None:
        return
    times = []
    if certificate:
        times.append(certificate.not_before * SECOND)
    for pointer in _TIMES.get(bound.predicate_type or "", ()):
        value = pointed(bound.predicate, pointer)
        if is_there(value):
            stated = rfc3339(value)
            if stated is not None:
                if stated > now + 60 * SECOND:
                    raise Refused("it says that it is from the future")
                times.append(stated)
            break
    if not times or max(times) < policy.minimum_time:
        raise Refused("it may be from before the minimum time")
