"""What a signature is over (acceptance.md, Signatures)."""

import hashlib
from dataclasses import dataclass

from . import keys
from .bundle import Envelope
from .keys import PublicKey

MAX_ED25519_PAYLOAD = 24 << 20


@dataclass(frozen=True)
class Content:
    """A file, whole or by its digest, or an envelope."""

    digest: bytes
    whole: bytes | None
    envelope: Envelope | None

    def payload_digest(self) -> bytes:
        """The SHA-256 of the envelope's payload."""
        return hashlib.sha256(self.envelope.payload if self.envelope else b"").digest()

    def signed_digest(self) -> bytes:
        """The SHA-256 of the file, or of the pre-authentication encoding."""
        return hashlib.sha256(self.envelope.encoding).digest() if self.envelope else self.digest

    def signed_by(self, key: PublicKey, signature: bytes) -> bool:
        """Say whether the key made the signature over this content."""
        if self.envelope:
            if key.kind == keys.ED25519 and len(self.envelope.payload) > MAX_ED25519_PAYLOAD:
                return False
            return key.verifies(self.envelope.encoding, signature)
        if key.kind == keys.ED25519:
            return self.whole is not None and key.verifies(self.whole, signature)
        return key.verifies_digest(self.digest, signature)
