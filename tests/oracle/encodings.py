"""Texts that stand for bytes, numbers and times (acceptance.md, Encodings)."""

import base64
import re
from datetime import datetime, timedelta, timezone
from typing import Any

from .refusal import Refused

SECOND = 1_000_000_000
MAX_INDEX = (1 << 63) - 1
MAX_NATURAL = (1 << 64) - 1

_NATURAL = re.compile(r"\+?[0-9]+\Z")
_HEX = re.compile(r"[0-9a-fA-F]*\Z")
_PEM = re.compile(
    r"-----BEGIN ([^\r\n-]*(?:-[^\r\n-]+)*)-----[ \t]*\r?\n(.*?)-----END \1-----", re.DOTALL
)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def base64_bytes(text: Any) -> bytes:
    """Decode strict base64: RFC 4648, section 4, padded, with unused bits zero."""
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise Refused("it is not base64") from None
    if base64.b64encode(data) != (text.encode() if isinstance(text, str) else text):
        raise Refused("it is not base64")
    return data


def body_base64(text: Any) -> bytes:
    """Decode base64 in a log entry's body: URL-safe and unpadded as well."""
    if not isinstance(text, str):
        raise Refused("base64 is not a text")
    if "-" in text or "_" in text:
        if "+" in text or "/" in text:
            raise Refused("it mixes two alphabets")
        text = text.replace("-", "+").replace("_", "/")
    if not text.endswith("="):
        text += "=" * (-len(text) % 4)
    return base64_bytes(text)


def natural(value: Any, largest: int) -> int:
    """Read a number of 64 bits: a JSON number or its decimal digits as a text."""
    if isinstance(value, str) and _NATURAL.match(value):
        value = int(value.lstrip("+0")[:21] or "0")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise Refused("it is not a natural number of 64 bits")
    return value


def hexadecimal(text: Any, *, lower: bool) -> bytes:
    """Decode hexadecimal digits, of lower case only where that is asked."""
    if not isinstance(text, str) or not _HEX.match(text) or len(text) % 2:
        raise Refused("it is not hexadecimal")
    if lower and text != text.lower():
        raise Refused("it is not lower-case hexadecimal")
    return bytes.fromhex(text)


def pem(data: bytes) -> tuple[str, bytes]:
    """Read the first block of a PEM text: its label and content (RFC 7468)."""
    try:
        block = _PEM.search(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refused("it is not PEM") from None
    if block is None:
        raise Refused("it is not PEM")
    return block.group(1), base64_bytes(re.sub(r"[ \t\r\n]", "", block.group(2)))


def rfc3339(text: Any) -> int | None:
    """Read an RFC 3339 time with an offset as nanoseconds since 1970; `None` if it is none."""
    match = _RFC3339.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match.group(n)) for n in range(1, 7))
    fraction = int(((match.group(7) or "") + "0" * 9)[:9])
    leap = second == 60
    try:
        moment = datetime(year, month, day, hour, minute, 59 if leap else second, 0, timezone.utc)
    except ValueError:
        return None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if match.group(8):
        hours, minutes = int(match.group(9)), int(match.group(10))
        if hours > 23 or minutes > 59:
            return None
        offset = hours * 3600 + minutes * 60
        seconds -= offset if match.group(8) == "+" else -offset
    return seconds * SECOND + fraction
