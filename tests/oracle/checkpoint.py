"""Checkpoints (acceptance.md, A checkpoint; C2SP, "Note" and "Checkpoint")."""

import re
import unicodedata
from dataclasses import dataclass

from .encodings import base64_bytes
from .refusal import Refused

MAX_LINES = 64

_DECIMAL = re.compile(r"[0-9]+\Z")
# The characters of Unicode's property White_Space that are no control characters.
_SPACES = set("\u0020\u00a0\u1680\u2028\u2029\u202f\u205f\u3000") | {
    chr(point) for point in range(0x2000, 0x200B)
}


@dataclass(frozen=True)
class SignatureLine:
    """One signature line: a name, a key id of 4 bytes, and a signature."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose form is right, and the name of the log that it is said to be of."""

    body: bytes
    origin: str
    lines: list[SignatureLine]
    log_name: str


def is_name(name: str) -> bool:
    """Say whether a text can be the name of a key (C2SP, "Note")."""
    return bool(name) and not any(
        letter in _SPACES or letter == "+" or unicodedata.category(letter) == "Cc"
        for letter in name
    )


def parse(text: str, log_id: bytes, tree_size: int, root_hash: str) -> Checkpoint:
    """Split a checkpoint and compare it with its proof (A checkpoint)."""
    head, blank, tail = text.partition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise Refused("a checkpoint without body and signatures")
    lines = [_line(line) for line in tail[:-1].split("\n")]
    if len(lines) > MAX_LINES:
        raise Refused("a checkpoint with too many signatures")
    stated = head.split("\n")
    if len(stated) < 3 or not _DECIMAL.match(stated[1]):
        raise Refused("a checkpoint without origin, size and root hash")
    if (stated[1].lstrip("0") or "0") != str(tree_size) or stated[2] != root_hash:
        raise Refused("a checkpoint of another tree than the proof's")
    names = [line.name for line in lines if line.key_id == log_id[:4]]
    if not names:
        raise Refused("a checkpoint that no key of the entry's log signed")
    origin = stated[0]
    for name in names:
        if origin == name or origin.startswith(name + " - "):
            break
    else:
        name = names[0]
    return Checkpoint((head + "\n").encode(), origin, lines, name)


def _line(line: str) -> SignatureLine:
    """Read one signature line."""
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not is_name(parts[1]):
        raise Refused("a signature line of another form")
    data = base64_bytes(parts[2])
    if len(data) < 5:
        raise Refused("a signature line without a signature")
    return SignatureLine(parts[1], data[:4], data[4:])
