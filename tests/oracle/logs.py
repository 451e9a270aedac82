"""Entries of known logs and cosignatures (acceptance.md, Of a known log to Witnesses)."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass

from . import keys
from .bundle import Bundle, Entry, Proof
from .checkpoint import Checkpoint, is_name
from .encodings import SECOND, base64_bytes
from .keys import PublicKey
from .refusal import Refused, Unusable
from .trusted_root import Log, TrustedRoot

_DIGITS = re.compile(r"[0-9]+\Z")
_KEY_ID = re.compile(r"[0-9a-f]{8}\Z")
_ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")
_LAST_SECOND = 253_402_300_799


@dataclass(frozen=True)
class Witness:
    """A witness's name, key id and key."""

    name: str
    key_id: bytes
    key: PublicKey


def known_entries(bundle: Bundle, root: TrustedRoot) -> list[tuple[Entry, Log]]:
    """The entries of logs that the trusted root knows."""
    return [(entry, root.logs[entry.log_id]) for entry in bundle.entries
            if entry.log_id in root.logs]


def check_entry(entry: Entry, log: Log, bundle: Bundle, demanded: bool, now: int) -> int | None:
    """Hold an entry of a known log (Of a known log); give its witnessed time, if any."""
    certificate = bundle.certificate
    if bundle.version == 1:
        shown = entry.promise is not None
    elif entry.proof is None and certificate and not demanded:
        shown = entry.promise is not None
    else:
        shown = entry.proof is not None
    if not shown:
        raise Refused("a log entry that does not show that it is in the log")
    if not log.window.begun(now):
        raise Refused("a log whose window has not begun")
    end = log.window.end
    if certificate and end is not None and end < certificate.not_before * SECOND:
        raise Refused("a log whose window ended before the certificate began")
    if entry.proof is not None:
        _check_proof(entry, entry.proof, log)
    return _check_promise(entry, log, bundle, now) if entry.promise is not None else None


def check_times(log: Log, times: set[int]) -> None:
    """A demanded log that has ended took the entry before (Of a known log, 5)."""
    if log.window.end is not None and not any(
            log.window.contains(time * SECOND) for time in times):
        raise Refused("a log that has ended, and nothing from within its window")


def _check_promise(entry: Entry, log: Log, bundle: Bundle, now: int) -> int | None:
    """Hold an entry's promise (Of a known log, 3); give its witnessed time, if any."""
    time = entry.integrated_time
    if not log.window.contains(time * SECOND):
        raise Refused("a promise from beyond the log's window")
    promised = json.dumps(
        {"body": base64.b64encode(entry.body).decode(), "integratedTime": time,
         "logID": entry.log_id.hex(), "logIndex": entry.index},
        separators=(",", ":"))
    if not log.key.verifies(promised.encode(), entry.promise or b""):
        raise Refused("a promise that the log did not make")
    if entry.second_generation or not time:
        return None
    if time * SECOND > now:
        raise Refused("a promise from the future")
    certificate = bundle.certificate
    if certificate and not certificate.not_before <= time <= certificate.not_after:
        raise Refused("a promise from beyond the certificate's validity")
    return time


def _check_proof(entry: Entry, proof: Proof, log: Log) -> None:
    """Hold an entry's proof and its checkpoint (Of a known log, 4; RFC 9162, 2.1.3.2)."""
    if proof.checkpoint is None:
        raise Refused("a proof without a checkpoint")
    _check_checkpoint(proof.checkpoint, log)
    index, last = entry.index if entry.second_generation else proof.index, proof.tree_size - 1
    if index > last:
        raise Refused("an index beyond the tree")
    computed = hashlib.sha256(b"\x00" + entry.body).digest()
    for sibling in proof.hashes:
        if last == 0:
            raise Refused("a proof that is too long")
        if index & 1 or index == last:
            computed = hashlib.sha256(b"\x01" + sibling + computed).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            computed = hashlib.sha256(b"\x01" + computed + sibling).digest()
        index, last = index >> 1, last >> 1
    if last or computed != proof.root_hash:
        raise Refused("a proof that does not lead to the root hash")


def _check_checkpoint(checkpoint: Checkpoint, log: Log) -> None:
    """The checkpoint is of this very log (Checkpoint)."""
    name, origin = checkpoint.log_name, checkpoint.origin
    suffix = origin.removeprefix(name + " - ")
    if not log.bears_name(name) or (origin != name and (
            suffix == origin or not _DIGITS.match(suffix))):
        raise Refused("a checkpoint in the name of another log")
    if not any(
        line.name == name and line.key_id == log.checkpoint_key_id
        and log.key.verifies(checkpoint.body, line.signature)
        for line in checkpoint.lines
    ):
        raise Refused("a checkpoint that the log did not sign")


def read_witness(text: str) -> Witness:
    """Read a witness's verifier key (Witnesses; C2SP, "Note")."""
    parts = text.split("+", 2)
    try:
        if len(parts) != 3 or not is_name(parts[0]) or not _KEY_ID.match(parts[1]):
            raise Refused("another form")
        data = base64_bytes(parts[2])
        name = parts[0].encode()
        if len(data) != 33 or data[0] != 4 or len(name) > 256:
            raise Refused("another kind of key")
        key_id = hashlib.sha256(name + b"\n" + data).digest()[:4]
        if key_id.hex() != parts[1]:
            raise Refused("another key id")
        return Witness(parts[0], key_id, keys.load(_ED25519_PREFIX + data[1:]))
    except (Refused, UnicodeEncodeError) as reason:
        raise Unusable(f"a witness's key: {reason}") from None


def check_witnesses(entry: Entry, witnesses: list[Witness], threshold: int) -> None:
    """Enough of the witnesses cosigned an entry's checkpoint, and none wrongly (Witnesses)."""
    checkpoint = entry.proof.checkpoint if entry.proof else None
    if checkpoint is None:
        raise Refused("a log entry without a checkpoint that witnesses could have signed")
    signed = set()
    for line in checkpoint.lines:
        for witness in witnesses:
            named = line.name == witness.name and line.key_id == witness.key_id
            if named and line.name != checkpoint.log_name:
                _check_cosignature(line.signature, checkpoint.body, witness)
                signed.add(witness.key.spki)
    if len(signed) < threshold:
        raise Refused("too few witnesses signed its checkpoint")


def _check_cosignature(signature: bytes, body: bytes, witness: Witness) -> None:
    """A cosignature verifies (C2SP, "Transparency Log Cosignatures")."""
    time = int.from_bytes(signature[:8], "big")
    message = b"cosignature/v1\ntime %d\n" % time + body
    if len(signature) != 72 or time > _LAST_SECOND or not witness.key.verifies(
            message, signature[8:]):
        raise Refused("a witness's cosignature is wrong")
