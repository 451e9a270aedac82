"""JSON as the section "JSON" of acceptance.md restricts it (RFC 8259)."""

import json
import re
from typing import Any

from .refusal import Refused

MAX_DEPTH = 64
UNSIGNED_CEILING = 65_536
STATEMENT_CEILING = 8_388_608
MAX_ESCAPED_STRING = 1 << 20

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HUMP = re.compile(r"[A-Z]")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; refuse a name that stands twice (JSON, first rule)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Refused("a member stands twice")
    return members


def integer(digits: str) -> int | float:
    """Read an integer; `-0`, and what is of absurd length, is read as a float is."""
    return int(digits) if digits != "-0" and len(digits) < 400 else float(digits)


def _constant(name: str) -> Any:
    """Refuse NaN and the infinities, which RFC 8259 does not have."""
    raise Refused(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=integer, parse_constant=_constant
)


def parse(data: bytes, *, ceiling: int = UNSIGNED_CEILING, signed: bool = False) -> Any:
    """Parse one JSON text (JSON). A `signed` one may have longer strings with escapes."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("it is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise Refused("it begins with a byte order mark")
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise Refused("it is not JSON") from None
    _check_size(value, text, ceiling)
    if _SURROGATE_ESCAPE.search(text):
        _check_surrogates(value)
    if not signed and len(data) > MAX_ESCAPED_STRING and "\\" in text:
        for match in _STRING.finditer(data):
            written = match.group()
            if len(written) > MAX_ESCAPED_STRING and b"\\" in written:
                raise Refused("a string with escapes is too long")
    return value


def _check_size(value: Any, text: str, ceiling: int) -> None:
    """Hold the ceilings of depth and of members and items (JSON, third and fourth rule)."""
    opened = text.count("{") + text.count("[")
    if opened <= MAX_DEPTH and opened + text.count(",") <= ceiling:
        return
    count = 0
    level = [value]
    for depth in range(MAX_DEPTH + 2):
        containers = [item for item in level if isinstance(item, (dict, list))]
        if not containers:
            break
        if depth == MAX_DEPTH:
            raise Refused("it is nested too deep")
        level = []
        for item in containers:
            level.extend(item.values() if isinstance(item, dict) else item)
        count += len(level)
        if count > ceiling:
            raise Refused("it has too many members")


def _check_surrogates(value: Any) -> None:
    """Refuse escapes that are half of a surrogate pair (JSON, second rule)."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if any("\ud800" <= letter <= "\udfff" for letter in item):
                raise Refused("an escape is half of a surrogate pair")
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def mapping(value: Any) -> dict[str, Any]:
    """An object; an array never stands for one."""
    if not isinstance(value, dict):
        raise Refused("it is not a JSON object")
    return value


def structure(value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    """An object whose names mean something (JSON, structures): no two differ in case only."""
    meant = {name.casefold(): name for name in known}
    seen: set[str] = set()
    for name in mapping(value):
        folded = name.casefold()
        if folded in seen or meant.get(folded, name) != name:
            raise Refused("two names differ in case only")
        seen.add(folded)
    return value


class Message:
    """An object of a closed format in protocol buffers' JSON form, in either spelling."""

    def __init__(self, value: Any, names: tuple[str, ...]) -> None:
        """Refuse members that are not known, and both spellings of one (JSON, closed)."""
        spelled = {name: name for name in names}
        spelled.update({_HUMP.sub(lambda m: "_" + m[0].lower(), name): name for name in names})
        self.members: dict[str, Any] = {}
        for name, member in mapping(value).items():
            known = spelled.get(name)
            if known is None:
                raise Refused("it has a member that is not known")
            if known in self.members:
                raise Refused("a member stands in both spellings")
            self.members[known] = member

    def text(self, name: str, default: str | None = None) -> str:
        """A text, required unless there is a default; `null` is none."""
        value = self.members.get(name, default)
        if not isinstance(value, str):
            raise Refused(f"{name} is not a text")
        return value

    def pass_over(self, *names: str) -> None:
        """Check texts that decide nothing, and may be absent or `null`."""
        for name in names:
            if not isinstance(self.members.get(name), str | None):
                raise Refused(f"{name} is not a text")

    def optional(self, name: str) -> Any:
        """The value of an object or number, `None` if it is absent or `null`."""
        return self.members.get(name)

    def required(self, name: str) -> Any:
        """The value of a member that must be there."""
        value = self.members.get(name)
        if value is None:
            raise Refused(f"{name} is missing")
        return value

    def list(self, name: str, *, may_be_null: bool = False) -> list[Any]:
        """A list; an absent one is empty, and `null` too where that is said."""
        value = self.members.get(name, [])
        if value is None and may_be_null:
            return []
        if not isinstance(value, list):
            raise Refused(f"{name} is not a list")
        return value
