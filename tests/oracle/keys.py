"""Public keys and what they signed (acceptance.md, Signatures)."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from . import der
from .refusal import Refused

P256, P384, RSA, ED25519 = "ECDSA P-256", "ECDSA P-384", "RSA", "Ed25519"
SHA256, SHA384, SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
# The hashes by their object identifiers (RFC 5754, section 2).
HASHES = {
    "2.16.840.1.101.3.4.2.1": SHA256,
    "2.16.840.1.101.3.4.2.2": SHA384,
    "2.16.840.1.101.3.4.2.3": SHA512,
}

_EC = "1.2.840.10045.2.1"
_CURVES = {"1.2.840.10045.3.1.7": (P256, 65), "1.3.132.0.34": (P384, 97)}
_RSA = "1.2.840.113549.1.1.1"
_ED25519 = "1.3.101.112"
_RSA_PREFIX = der.encode(der.SEQUENCE, bytes.fromhex("06092a864886f70d010101") + b"\x05\x00")


@dataclass(frozen=True, eq=False)
class PublicKey:
    """A key of a kind in the table of Signatures, with its `SubjectPublicKeyInfo`."""

    spki: bytes
    kind: str
    raw: bytes

    @cached_property
    def primitive(self) -> Any:
        """The key as the library has it; `None` if it is none, as with a point off its curve."""
        try:
            return serialization.load_der_public_key(self.spki)
        except (ValueError, UnsupportedAlgorithm):
            return None

    @property
    def id(self) -> bytes:
        """The id of a key: the SHA-256 of its `SubjectPublicKeyInfo`."""
        return hashlib.sha256(self.spki).digest()

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Say whether the key signed a message (column "over messages")."""
        if self.kind == ED25519:
            return self.verifies_pure(message, signature)
        if self.verifies_hashed(message, signature, SHA256):
            return True
        return self.kind == P384 and self.verifies_hashed(message, signature, SHA384)

    def verifies_pure(self, message: bytes, signature: bytes) -> bool:
        """Say whether an Ed25519 or ML-DSA key signed a message."""
        return _holds(self.primitive, signature, message)

    def verifies_pss(self, message: bytes, signature: bytes, by: hashes.HashAlgorithm) -> bool:
        """Say whether an RSA key signed a message by PSS with that hash throughout."""
        scheme = padding.PSS(padding.MGF1(by), by.digest_size)
        return _holds(self.primitive, signature, message, scheme, by)

    def verifies_hashed(self, message: bytes, signature: bytes, by: hashes.HashAlgorithm) -> bool:
        """Say whether an ECDSA or RSA PKCS#1 key signed a message by that hash."""
        hasher = hashes.Hash(by)
        hasher.update(message)
        return self.verifies_digest(hasher.finalize(), signature, by)

    def verifies_digest(
        self, digest: bytes, signature: bytes, by: hashes.HashAlgorithm = SHA256
    ) -> bool:
        """Say whether the key signed a digest; Ed25519 never does."""
        prehashed = utils.Prehashed(by)
        if self.kind == RSA:
            return _holds(self.primitive, signature, digest, padding.PKCS1v15(), prehashed)
        if self.kind in (P256, P384) and _is_ecdsa_signature(signature):
            return _holds(self.primitive, signature, digest, ec.ECDSA(prehashed))
        return False


def _holds(primitive: Any, signature: bytes, *rest: Any) -> bool:
    """Ask the primitive whether a signature is good."""
    try:
        primitive.verify(signature, *rest)
    except (AttributeError, InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _is_ecdsa_signature(signature: bytes) -> bool:
    """Say whether a signature is a DER `ECDSA-Sig-Value` (RFC 3279, section 2.2.3)."""
    try:
        numbers = der.single(signature).sequence()
        return len(numbers) == 2 and all(der.integer(number) > 0 for number in numbers)
    except Refused:
        return False


@lru_cache(maxsize=4096)
def load(spki: bytes) -> PublicKey:
    """Read a `SubjectPublicKeyInfo` of a kind in the table of Signatures, by its form."""
    algorithm, bits = der.pair(der.single(spki).sequence())
    identifier = algorithm.sequence()
    raw = der.bit_string(bits)
    name = der.oid(identifier[0]) if identifier else ""
    parameters = identifier[1:]
    if name == _EC and len(parameters) == 1 and parameters[0].tag == der.OID:
        kind, size = _CURVES.get(der.oid(parameters[0]), ("", 0))
        if len(raw) != size or raw[:1] != b"\x04":
            raise Refused("a key on another curve, or not as an uncompressed point")
    elif name == _RSA and len(parameters) == 1 and parameters[0].encoding == b"\x05\x00":
        kind = RSA
        modulus = der.single(raw).sequence()
        if len(modulus) != 2 or not 2048 <= der.integer(modulus[0]).bit_length() <= 8192:
            raise Refused("an RSA key of another size")
    elif name == _ED25519 and not parameters and len(raw) == 32:
        kind = ED25519
    else:
        raise Refused("a key of another kind")
    return PublicKey(spki, kind, raw)


def load_pkcs1(data: bytes) -> PublicKey:
    """Read a PKCS#1 `RSAPublicKey` (RFC 8017, A.1.1), as keys of certificate logs may be."""
    bits = der.encode(der.BIT_STRING, b"\x00" + data)
    return load(der.encode(der.SEQUENCE, _RSA_PREFIX + bits))
