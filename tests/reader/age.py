"""age files and identities (age-encryption.org/v1), as far as Lifeboat's own keys need them.

The post-quantum hybrid `mlkem768x25519` is HPKE (RFC 9180) with the KEM of X-Wing, HKDF-SHA256 and ChaCha20-Poly1305,
all of which `cryptography` brings: no age program is needed.
"""

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from conventions import KIB, check

BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bech32_sum(values):
    check_sum = 1
    for value in values:
        top = check_sum >> 25
        check_sum = (check_sum & 0x1FFFFFF) << 5 ^ value
        for bit, part in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check_sum ^= part if top >> bit & 1 else 0
    return check_sum


def regroup(values, old, new, pad):
    number, bits, out = 0, 0, []
    for value in values:
        number, bits = number << old | value, bits + old
        while bits >= new:
            bits -= new
            out.append(number >> bits & (1 << new) - 1)
    return out + [number << new - bits & (1 << new) - 1] if pad and bits else out


def bech32_prefix(prefix):
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def bech32_decode(text):
    prefix, _, rest = text.lower().rpartition("1")
    check(prefix and len(rest) >= 6 and all(c in BECH32 for c in rest), "a key that is no Bech32")
    values = [BECH32.index(c) for c in rest]
    check(bech32_sum(bech32_prefix(prefix) + values) == 1, "a key whose checksum is wrong")
    return prefix, bytes(regroup(values[:-6], 5, 8, pad=False))


def bech32_encode(prefix, data):
    values = regroup(data, 8, 5, pad=True)
    rest = bech32_sum(bech32_prefix(prefix) + values + [0] * 6) ^ 1
    return prefix + "1" + "".join(BECH32[v] for v in values + [rest >> 5 * (5 - i) & 31 for i in range(6)])


def hkdf(key, salt, info, length=32):
    return HKDF(hashes.SHA256(), length, salt, info).derive(key)


class Identity:
    """An age identity: the post-quantum hybrid, or the classical X25519."""

    def __init__(self, text):
        prefix, secret = bech32_decode(text)
        check(len(secret) == 32, "an identity of the wrong length")
        self.is_hybrid = prefix == "age-secret-key-pq-"
        check(self.is_hybrid or prefix == "age-secret-key-", f"`{prefix}` is no identity that this reader knows")
        # X-Wing expands its seed to that of ML-KEM-768 (64 bytes) and an X25519 key (32 bytes).
        expanded = hashlib.shake_256(secret).digest(96) if self.is_hybrid else bytes(64) + secret
        self.classical = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
        self.public = self.classical.public_key().public_bytes_raw()
        if self.is_hybrid:
            lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
            self.public = lattice.public_key().public_bytes_raw() + self.public
            self.private = hpke.MLKEM768X25519PrivateKey(lattice, self.classical)
        self.recipient = bech32_encode("age1pq" if self.is_hybrid else "age", self.public)

    def file_key(self, kind, arguments, body):
        try:
            if self.is_hybrid and kind == "mlkem768x25519":
                suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
                sealed = unpadded(arguments[0]) + body
                return suite.decrypt(sealed, self.private, b"age-encryption.org/mlkem768x25519")
            if not self.is_hybrid and kind == "X25519":
                theirs = unpadded(arguments[0])
                shared = self.classical.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
                wrap = hkdf(shared, theirs + self.public, b"age-encryption.org/v1/X25519")
                return ChaCha20Poly1305(wrap).decrypt(bytes(12), body, None)
        except (InvalidTag, ValueError, IndexError):
            pass  # It is for someone else.
        return None


def unpadded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def decrypt(data, identities):
    """What an age file holds, or None if none of the identities opens it."""
    end = data.find(b"\n--- ")
    if not data.startswith(b"age-encryption.org/v1\n") or end < 0:
        return None
    mac_end = data.find(b"\n", end + 5)
    lines = data[:end].decode("ascii", "replace").split("\n")[1:]
    found = None
    while lines:
        arrow, kind, *arguments = lines.pop(0).split(" ") + [""]
        body = ""
        while lines and not lines[0].startswith("-> "):
            body += lines.pop(0)
        if arrow == "->":
            keys = (i.file_key(kind, arguments, unpadded(body)) for i in identities)
            found = found or next((key for key in keys if key), None)
    if found is None:
        return None
    mac = hmac.digest(hkdf(found, b"", b"header"), data[:end + 4], "sha256")
    check(hmac.compare_digest(mac, unpadded(data[end + 5:mac_end].decode())), "an age header whose MAC is wrong")
    payload = data[mac_end + 1:]
    stream, sealed, plain = ChaCha20Poly1305(hkdf(found, payload[:16], b"payload")), payload[16:], b""
    pieces = [sealed[i:i + 64 * KIB + 16] for i in range(0, len(sealed), 64 * KIB + 16)]
    for number, piece in enumerate(pieces, 1):
        nonce = (number - 1).to_bytes(11, "big") + bytes([number == len(pieces)])
        plain += stream.decrypt(nonce, piece, None)
    return plain
