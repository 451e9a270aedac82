"""What FORMAT.md calls its conventions: hashes, CBOR, zstd, signatures and envelopes."""

import base64
import hashlib
import io
import json
import re
import sys

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KIB, MIB = 1 << 10, 1 << 20


class Damaged(Exception):
    """Something in the repository is not what it must be."""


def check(holds, what):
    if not holds:
        raise Damaged(what)


def warn(text):
    print(f"reader: {printable(str(text))}", file=sys.stderr)


# Control characters, and those that are invisible or change the direction of their neighbours.
DECEPTIVE = "\0-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f"


def is_name(text):
    """Whether a text may be the name of a stream or document: one part of a path, and nothing that deceives."""
    is_plain = isinstance(text, str) and text not in ("", ".", "..") and len(text.encode()) <= 255
    return is_plain and not re.search(f"[/{DECEPTIVE}]", text)


def printable(text):
    return re.sub(f"[{DECEPTIVE}]", lambda found: f"\\u{{{ord(found[0]):x}}}", text)


def sha256(data):
    return hashlib.sha256(data).digest()


def derive(context, data, length=32):
    return blake3(data, derive_key_context=context).digest(length=length)


def keyed(key, data):
    return blake3(data, key=key).digest()


def cbor(data):
    """One CBOR value that fills `data`: integers, strings, arrays and maps of definite length."""
    at = 0

    def take(count):
        nonlocal at
        check(count <= len(data) - at, "CBOR that is cut")
        at += count
        return data[at - count:at]

    def value(depth):
        check(depth < 32, "CBOR that is nested too deep")
        major, low = divmod(take(1)[0], 32)
        if major == 7 and low in (20, 21, 22):
            return {20: False, 21: True, 22: None}[low]
        check(major <= 5 and low < 28, "CBOR of a kind that this format does not have")
        number = low if low < 24 else int.from_bytes(take(1 << (low - 24)), "big")
        if major in (0, 1):
            return number if major == 0 else -1 - number
        if major in (2, 3):
            return bytes(take(number)) if major == 2 else take(number).decode()
        if major == 4:
            return [value(depth + 1) for _ in range(number)]
        return {value(depth + 1): value(depth + 1) for _ in range(number)}

    found = value(0)
    check(at == len(data), "bytes after the end of CBOR")
    return found


def unzstd(data, cap, window=32 << 20):
    """Decompresses one zstd frame, and nothing else that a zstd library takes."""
    try:
        check(data[:4] == b"\x28\xb5\x2f\xfd", "it is no zstd frame")
        header = zstandard.get_frame_parameters(data)
        check(header.window_size <= window and header.dict_id == 0, "zstd: its window or dictionary")
        plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(cap + 1)
        check(len(plain) <= cap, "it decompresses to more than it may")
        whole = zstandard.ZstdDecompressor().decompressobj()
        whole.decompress(data)
        check(whole.eof and not whole.unused_data, "it is not one zstd frame")
    except zstandard.ZstdError as error:
        raise Damaged(f"zstd: {error}") from error
    return plain


def pae(kind, payload):
    return b"DSSEv1 %d %s %d " % (len(kind), kind.encode(), len(payload)) + payload


def verifies(key, message, signature):
    try:
        public = serialization.load_der_public_key(key)
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        return isinstance(public.curve, ec.SECP256R1)
    except (InvalidSignature, ValueError):
        return False


def envelope(data):
    """The payload of a DSSE envelope before its signature was checked, and what checks it."""
    outer = json.loads(data)
    payload = base64.b64decode(outer["payload"], validate=True)
    signatures = [base64.b64decode(s["sig"], validate=True) for s in outer["signatures"]]
    check(0 < len(signatures) <= 64, "an envelope without signatures, or with too many")

    def signed_by(key, kind):
        check(outer["payloadType"] == kind, f"an envelope of another type than {kind}")
        check(any(verifies(key, pae(kind, payload), s) for s in signatures), "a signature that does not verify")

    return payload, signed_by
