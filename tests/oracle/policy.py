"""Policies as verdict documents hold them (acceptance.md, Policy)."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from . import keys, logs
from .encodings import base64_bytes, rfc3339
from .keys import PublicKey
from .provenance import PROVENANCE_TYPE
from .refusal import Refused, Unusable

# What Rust's `regex` and Python's `re` read alike once `$` is rewritten.
_PIECE = re.compile(
    r"\\[.+*?()|\[\]{}^$\\/#&~@%:;,=!\"'` _-]|\\[dDwWsSbBnrt]|\\z|"
    r"\[\^?(?:\]|\\[.+*?()|\[\]{}^$\\/_@:-]|\\[dDwWsSnrt]|[^\]\[\\&~]|-(?!-))"
    r"(?:\\[.+*?()|\[\]{}^$\\/_@:-]|\\[dDwWsSnrt]|[^\]\[\\&~-]|-(?!-))*\]|"
    r"\((?:\?(?:[is]*:|P?<[A-Za-z_]\w*>)|(?!\?))|\)|\||"
    r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??(?![*+?{])|[\^$.]|[^\\\[\](){}|*+?^$.]"
)


@dataclass(frozen=True)
class Identity:
    """An identity signer: two patterns, each `("exact" or "regex", text)`."""

    identity: tuple[str, str]
    issuer: tuple[str, str]

    def matches(self, identity: str, issuer: str) -> bool:
        """Say whether identity and issuer match, whole (Patterns)."""
        return _matches(self.identity, identity) and _matches(self.issuer, issuer)


@dataclass(frozen=True)
class Policy:
    """What the caller demands; a slot is a key or an identity."""

    slots: list[PublicKey | Identity]
    threshold: int
    certificates_need_log: bool
    certificates_must_be_logged: bool
    keys_need_log: bool
    witnesses: list[logs.Witness]
    witness_threshold: int
    annotations: dict[str, str]
    minimum_time: int | None
    predicate_type: str | None
    expectations: dict[str, Any] | None
    each_by_itself: bool

    @property
    def keys(self) -> list[PublicKey]:
        """The keys of the policy."""
        return [slot for slot in self.slots if isinstance(slot, PublicKey)]

    @property
    def identities(self) -> list[Identity]:
        """The identities of the policy."""
        return [slot for slot in self.slots if isinstance(slot, Identity)]

    @property
    def expects(self) -> bool:
        """Say whether anything is expected of provenance."""
        stated = self.expectations or {}
        return any(value not in (None, {}) for value in stated.values())

    def demands_log(self, by_certificate: bool) -> bool:
        """Say whether a log entry is demanded of a signature."""
        needed = self.certificates_need_log if by_certificate else self.keys_need_log
        return needed or bool(self.witnesses)


def parse(question: Any) -> Policy:
    """Read the member `question` of a document, or say that it cannot be used."""
    try:
        policy = question["policy"]
        slots = [_slot(signer) for signer in policy["signers"]]
        witnesses = [logs.read_witness(text) for text in policy["witnesses"]]
        minimum = policy["minimum_time"]
        parsed = Policy(
            slots, policy["threshold"], policy["certificates_need_log"] is True,
            policy["certificates_must_be_logged"] is True, policy["keys_need_log"] is True,
            witnesses, policy["witness_threshold"], dict(policy["annotations"]),
            None if minimum is None else rfc3339(minimum), question["predicate_type"],
            question["expectations"], question["each_by_itself"] is True,
        )
        _check(parsed, minimum)
        return parsed
    except (KeyError, TypeError, AttributeError, ValueError, Refused) as reason:
        raise Unusable(f"the policy: {reason}") from None


def _check(policy: Policy, minimum: Any) -> None:
    """Refuse what the table of Policy calls a usage error."""
    distinct = len({slot.spki if isinstance(slot, PublicKey) else slot for slot in policy.slots})
    if len(policy.identities) > 1 or (not distinct and not policy.each_by_itself):
        raise Unusable("no signer, or two identities")
    if not 1 <= policy.threshold <= max(distinct, 1):
        raise Unusable("a threshold of none, or above the number of signers")
    named = len({witness.key.spki for witness in policy.witnesses})
    if not (1 <= policy.witness_threshold <= named or policy.witness_threshold == named):
        raise Unusable("a witness threshold of none, or above the number of witnesses")
    if minimum is not None and policy.minimum_time is None:
        raise Unusable("a minimum time that is none")
    if policy.expects and policy.predicate_type != PROVENANCE_TYPE:
        raise Unusable("expectations of something that is no provenance")


def _slot(signer: dict[str, Any]) -> PublicKey | Identity:
    """Read one signer."""
    if "key" in signer:
        key = keys.load(base64_bytes(signer["key"]["key"]))
        if key.primitive is None:
            raise Unusable("a key whose point is not on its curve")
        return key
    identity = signer["identity"]
    return Identity(_pattern(identity["identity"]), _pattern(identity["issuer"]))


def _pattern(pattern: dict[str, str]) -> tuple[str, str]:
    """Read a pattern; an empty one, and an expression that does not compile, are errors."""
    ((kind, text),) = pattern.items()
    if not text or kind not in ("exact", "regex"):
        raise Unusable("an empty pattern")
    if kind == "regex":
        _expression(text)
    return kind, text


@lru_cache(maxsize=4096)
def _expression(text: str) -> re.Pattern[str]:
    """Compile an expression of the part of the syntax that both languages read alike."""
    pieces = ["(?i)"] if text.startswith("(?i)") else []
    position = 4 * len(pieces)
    while position < len(text):
        piece = _PIECE.match(text, position)
        if piece is None:
            raise Unusable("an expression that Python does not read alike")
        position = piece.end()
        written = piece.group()
        if written in ("$", "\\z"):
            written = r"\Z"
        elif written.startswith("(?<"):
            written = "(?P" + written[2:]
        pieces.append(written)
    try:
        return re.compile("".join(pieces))
    except (re.error, RecursionError, OverflowError):
        raise Unusable("an expression that does not compile") from None


def _matches(pattern: tuple[str, str], text: str) -> bool:
    """Say whether a pattern matches a text from its first to its last character."""
    kind, wanted = pattern
    return text == wanted if kind == "exact" else _expression(wanted).fullmatch(text) is not None
