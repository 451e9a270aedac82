"""A reader of Lifeboat repositories, written from common/vault/FORMAT.md alone and sharing no code with Lifeboat.

    reader.py REPOSITORY KEY                     lists what can be restored
    reader.py REPOSITORY KEY SNAPSHOT TARGET     restores one snapshot into a folder that is absent or empty
    --root ID                                    the repository's id, where the key file does not name it

REPOSITORY is a folder: a repository on disk, or a plain copy of a bucket. KEY is a file of age identities: a recovery
key, or a data identity of the repository that `age --decrypt` has taken out of `keys/data-N`, which is the way for SSH
keys, passphrases and hardware. SNAPSHOT is an id, its first digits, or `latest`. A snapshot of one stream is put right
into TARGET; several come each under its own name.

It needs Python 3.11 and the packages of requirements.txt; age files are opened by age.py beside it, not by the age
program. A path that is longer than the system takes is beyond it.

Nothing is believed before it is checked, and whatever does not hold ends the program or is told on standard error.
The one thing that a reader cannot see from the repository alone is that a whole newer end of it is withheld.
"""

import argparse
import base64
import collections
import json
import os
import re
import struct
import sys

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import age
from conventions import (KIB, MIB, Damaged, cbor, check, derive, envelope, is_name, keyed, pae, printable, sha256,
                         unzstd, verifies, warn)
from tree import CONTENT, FOLDER, KIND, PATH, SEGMENTS, Tree, check_item

CAP = {"lifeboat.json": 4 * KIB, "roster": 16 * MIB, "keys": 64 * KIB, "runs": 64 * KIB, "forget": 16 * KIB,
       "snapshots": 4 * MIB, "parts": 24 * MIB, "contents": 24 * MIB, "locations": 24 * MIB}
FRAME, CONTENTS, LOCATIONS, PART, REGISTRATION = 1, 3, 4, 5, 7
MAX_SLOTS, MAX_CHUNK = 4096, 4 * MIB
MAX_BODY = MIB + MAX_CHUNK + 5 * (MAX_SLOTS + 1)
MAX_PACK_HEADER, MAX_ITEM = MIB, 256 * MIB
MAX_TEXT, MOST_STREAMS = 1024, 1 << 16
WRITER, KEEPER, ROOT = 0, 1, 2


# --- The repository: from the root's hash down to run keys -----------------------------------------------------------

class Repository:
    def __init__(self, path, identities, expected):
        self.path, self.id, self.identities = path, bytes.fromhex(expected), identities
        marker = json.loads(self.read("lifeboat.json"))
        check(marker["format"] == 0, f"format version {marker['format']}")
        check(marker["repository"] == expected, f"this is repository {marker['repository']}, not {expected}")
        self.roster = self.read_rosters()
        self.writers = {w["id"]: w for w in self.roster["writers"]}
        self.keepers = {k["id"]: k for k in self.roster["keepers"]}
        self.data = self.open_data_identities()
        self.groups = dict(self.open_groups())

    def read(self, name, start=0, length=None):
        """An object, or a range of one, that is not larger than its kind may be."""
        path = os.path.join(self.path, name)
        cap = CAP.get(name.split("/")[0], 64 * MIB)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            check(length is not None or size <= cap, f"`{name}` is larger than it may be")
            file.seek(start)
            return file.read(size if length is None else length)

    def list(self, folder):
        """The names of a folder's objects, sorted; a folder that is not there is empty."""
        try:
            entries = sorted(os.scandir(os.path.join(self.path, folder)), key=lambda e: e.name)
        except FileNotFoundError:
            return []
        return [f"{folder}/{e.name}" for e in entries if e.is_file() and not e.name.startswith(".")]

    def read_rosters(self):
        """The newest roster that the root signed: each holds the whole state."""
        names = [n for n in self.list("roster") if re.fullmatch(r"roster/\d{10}", n)]
        for name in reversed(names):
            try:
                roster = self.signed_by_root(name)
            except (Damaged, KeyError, TypeError, ValueError) as error:
                warn(f"`{name}` does not count: {error}")
                continue
            check(not roster["required"], f"`{name}` requires features that this reader does not know")
            check(roster["format"] == 0, f"`{name}` is of another format")
            return roster
        raise Damaged("there is no roster that the root signed")

    def signed_by_root(self, name):
        payload, signed_by = envelope(self.read(name))
        roster = json.loads(payload)
        root = base64.b64decode(roster["root_key"])
        check(sha256(root) == self.id, "it is signed by another root than the repository is named after")
        signed_by(root, "application/vnd.lifeboat.roster.v0+json")
        facts = (roster["repository"], roster["number"])
        check(facts == (self.id.hex(), int(name.rsplit("/", 1)[1])), "it belongs elsewhere")
        return roster

    def hashed(self, name):
        """An object whose name ends in the hash of its bytes."""
        data = self.read(name)
        check(sha256(data).hex() == re.split("[/-]", name.removesuffix(".age"))[-1], f"`{name}` has another hash")
        return data

    def unwrapped(self, folder, identities):
        for name in self.list(folder):
            try:
                secret = age.decrypt(self.hashed(name), identities)
            except (Damaged, InvalidTag, ValueError) as error:
                warn(f"`{name}` is passed over: {error}")
                continue
            if secret is not None:
                yield secret

    def open_data_identities(self):
        """The data identity of each epoch. One that the key file holds itself needs no unwrapping."""
        found = [i for i in self.identities if any(i.recipient == e["recipient"] for e in self.roster["epochs"])]
        for epoch in self.roster["epochs"]:
            for secret in self.unwrapped(f"keys/data-{epoch['epoch']}", self.identities):
                identity = age.Identity(secret.decode())
                if identity.recipient == epoch["recipient"]:
                    found.append(identity)
        check(found, "the key opens no data identity of this repository")
        return found

    def open_groups(self):
        """The groups whose keys open; one whose keys are lost stops no other."""
        for group in self.roster["groups"]:
            try:
                yield group["id"], self.open_group(group)
            except Damaged as error:
                warn(f"group {group['id']} stays closed: {error}")

    def open_group(self, group):
        for secret in self.unwrapped(f"keys/group-{group['id']}", self.data):
            if derive("lifeboat v0 group key commitment", secret).hex() == group["commitment"]:
                keys = cbor(secret)
                check(keys[0].hex() == group["id"], "group keys of another group")
                return {"id": keys[0], "chunk_ids": keys[1], "index": keys[3]}
        raise Damaged(f"the keys of group {group['id']} are missing, or others than the roster commits to")

    def key_of(self, role, holder):
        """The verification key of someone whom the roster knows, also of one who was removed."""
        if role == ROOT:
            return base64.b64decode(self.roster["root_key"])
        member = {WRITER: self.writers, KEEPER: self.keepers}.get(role, {}).get(holder)
        return member and base64.b64decode(member["key"])

    def unseal(self, key, purpose, context, sealed):
        data_id, ciphertext = sealed[:32], sealed[32:]
        aad = bytes([1, purpose]) + self.id + context + data_id
        try:
            plain = AESGCM(derive("lifeboat v0 sealed object key", key + aad)).decrypt(bytes(12), ciphertext, aad)
        except (InvalidTag, ValueError) as error:
            raise Damaged("sealed bytes do not open") from error
        check(keyed(derive("lifeboat v0 sealed object id", key), plain) == data_id, "sealed under another key")
        return plain

    def signed(self, name, purpose, group, data, only=None):
        """The body of a signed index object; `only` is the signer that it must have."""
        is_whole = data[:6] == b"LBSO\0" + bytes([purpose]) and len(data) > 25
        check(is_whole, f"`{name}` does not begin as it should")
        role, holder = data[6], data[7:23].hex()
        length, = struct.unpack_from("<H", data, 23)
        signature, sealed = data[25:25 + length], data[25 + length:]
        key = self.key_of(role, holder)
        check(key and only in (None, (role, holder)), f"`{name}` is signed by someone who may not")
        message = bytes([purpose]) + self.id + group["id"] + data[6:23] + sealed
        kind = "application/vnd.lifeboat.sealed-object.v0"
        check(verifies(key, pae(kind, message), signature), f"the signature of `{name}` does not verify")
        return cbor(unzstd(self.unseal(group["index"], purpose, group["id"], sealed), CAP["parts"]))

    # --- The history: manifests and requests to forget ---

    def manifest(self, name, writer, sequence):
        payload, signed_by = envelope(self.read(name))
        signed_by(base64.b64decode(writer["key"]), "application/vnd.in-toto+json")
        statement = json.loads(payload)
        facts, (subject,) = statement["predicate"], statement["subject"]
        here = (0, self.id.hex(), writer["group"], writer["id"], sequence)
        there = tuple(facts[k] for k in ("format", "repository", "group", "writer", "sequence"))
        kinds = (statement["_type"], statement["predicateType"])
        check(kinds == ("https://in-toto.io/Statement/v1", "urn:lifeboat:snapshot:v0"), f"`{name}` is no manifest")
        check(there == here and list(subject["digest"]) == ["sha256"], f"`{name}` belongs elsewhere")
        return dict(facts, id=sha256(payload).hex(), part=subject["digest"]["sha256"])

    def manifests(self, writer, sequences):
        for sequence in sequences:
            try:
                yield sequence, self.manifest(f"snapshots/{writer['id']}/{sequence:010}", writer, sequence)
            except (Damaged, ValueError, KeyError, OSError) as error:
                warn(f"snapshot {sequence} of writer {writer['id']} is damaged: {error}")

    def is_request(self, writer, sequence):
        name = f"forget/{writer['id']}/{sequence:010}"
        payload, signed_by = envelope(self.read(name))
        request = json.loads(payload)
        (role, holder), = {"root": ""}.items() if request["by"] == "root" else request["by"].items()
        role = {"writer": WRITER, "keeper": KEEPER, "root": ROOT}[role]
        check(role != WRITER or holder == writer["id"], f"`{name}` is another host's request")
        signed_by(self.key_of(role, holder), "application/vnd.lifeboat.forget.v0+json")
        here = (0, self.id.hex(), writer["id"], sequence)
        return here == tuple(request[k] for k in ("format", "repository", "writer", "sequence"))

    def snapshots(self):
        """Every snapshot that counts, oldest first. Gaps that no request explains and broken chains are told."""
        found, known = [], {}
        for writer in self.writers.values():
            numbers = lambda folder: [int(n[-10:]) for n in self.list(f"{folder}/{writer['id']}")
                                      if re.fullmatch(r".*/\d{10}", n)]
            forgotten = {n for n in numbers("forget") if self.is_request(writer, n)}
            last = writer["revoked"]["last"] if writer["revoked"] else None
            end = (last["sequence"] + 1 if last else 0) if writer["revoked"] else None
            places = [n for n in numbers("snapshots") if end is None or n < end]
            chain = dict(self.manifests(writer, places))
            newest = max([*chain, *forgotten, -1] if end is None else [end - 1])
            known[writer["id"]] = newest
            for number in range(newest + 1):
                if number not in chain and number not in forgotten:
                    warn(f"snapshot {number} of writer {writer['id']} is missing: it is withheld or lost")
            for number, manifest in chain.items():
                before = chain.get(number - 1)
                check(not before or manifest["previous"] == before["id"], f"snapshot {number} breaks its chain")
            check(not last or last["sequence"] not in chain or chain[last["sequence"]]["id"] == last["id"],
                  f"the last snapshot of the removed writer {writer['id']} is another than the roster names")
            found += chain.values()
        for seen in (s for manifest in found for s in manifest["seen"]):
            is_enrolled = seen["writer"] in self.writers and not self.writers[seen["writer"]]["revoked"]
            if is_enrolled and known[seen["writer"]] < seen["sequence"]:
                warn(f"snapshot {seen['sequence']} of writer {seen['writer']} was seen and is missing")
        return sorted(found, key=lambda m: (m["time"], m["sequence"]))

    def part(self, manifest):
        check(manifest["group"] in self.groups, f"group {manifest['group']} is closed")
        name, group = f"parts/{manifest['group']}/{manifest['part']}", self.groups[manifest["group"]]
        part = self.signed(name, PART, group, self.hashed(name), only=(WRITER, manifest["writer"]))
        check_part(name, part)
        return part


def check_part(name, part):
    """Names become files and folders here, so they are checked before anything else is done with a part."""
    texts = [part[0], *part[1], *([part[5]] if part.get(5) is not None else [])]
    check(all(len(text.encode()) <= MAX_TEXT for text in texts), f"`{name}` has a text that is too long")
    for what, named in (("streams", [(s[0], s[1]) for s in part[2]]), ("documents", [(0, d[0]) for d in part[3]])):
        check(len(named) <= MOST_STREAMS, f"`{name}` has too many {what}")
        check(all(is_name(text) for _, text in named), f"`{name}` has {what} with names that cannot be")
        check(len(set(named)) == len(named), f"`{name}` has two {what} of one name")
    check(len({run[0] for run in part[4]}) == len(part[4]), f"`{name}` names a run twice")


# --- Contents: frames, wherever they lie -----------------------------------------------------------------------------

Place = collections.namedtuple("Place", "pack offset length hash")


class Contents:
    """Opens the frames of one snapshot, and what is made of their chunks."""

    def __init__(self, repository, manifest, part):
        self.repository, self.group = repository, repository.groups[manifest["group"]]
        self.commitments = {run[0]: run[1] for run in part[4]}
        self.places, self.run_keys, self.frames, self.index = {}, {}, collections.OrderedDict(), None

    def places_of(self, run, ordinal):
        """Where a frame lies, by the locations objects of its run, the newest first."""
        if run not in self.places:
            found = self.places[run] = {}
            names = self.repository.list(f"locations/{self.group['id'].hex()}/{run.hex()}")
            age = lambda name: -os.stat(os.path.join(self.repository.path, name)).st_mtime_ns
            for name in sorted(names, key=age):
                try:
                    body = self.repository.signed(name, LOCATIONS, self.group, self.repository.hashed(name))
                    check(body[0] == run, f"`{name}` locates another run's frames")
                except Damaged as error:
                    warn(f"{error}; it is passed over")
                    continue
                for pack in body[1]:
                    for number, offset, length, digest, *_ in pack[1]:
                        found.setdefault(number, []).append(Place(pack[0].hex(), offset, length, digest))
        return self.places[run].get(ordinal, [])

    def pack_range(self, pack, start, length):
        return self.repository.read(f"packs/{self.group['id'].hex()}/{pack[:2]}/{pack}", start, length)

    def run_key(self, run):
        """A run's key: from its registration, or else from the header of any pack that holds frames of the run."""
        if run not in self.run_keys:
            wraps = (w for source in (self.registered, self.in_headers) for w in source(run))
            keys = (age.decrypt(w, self.repository.data) for w in wraps)
            right = (k for k in keys if k and derive("lifeboat v0 key commitment", k) == self.commitments[run])
            self.run_keys[run] = next(right, None)
        check(self.run_keys[run], f"the key of run {run.hex()} is lost")
        return self.run_keys[run]

    def registered(self, run):
        name = f"runs/{self.group['id'].hex()}/{run.hex()}"
        try:
            body = self.repository.signed(name, REGISTRATION, self.group, self.repository.read(name))
            check(body[4] == run, f"`{name}` belongs to another run")
            yield body[6]
        except (Damaged, OSError) as error:
            warn(f"{error}; the run's key is looked for in packs")

    def in_headers(self, run):
        self.places_of(run, 0)
        for pack in {place.pack for places in self.places[run].values() for place in places}:
            try:
                start = self.pack_range(pack, 0, MAX_PACK_HEADER)
                check(start[:5] == b"LBPK\0", f"pack {pack} does not begin as a pack does")
                header = cbor(start[9:9 + struct.unpack_from("<I", start, 5)[0]])
                check((header[0], header[1]) == (self.repository.id, self.group["id"]), "a pack of another group")
            except (Damaged, OSError, struct.error) as error:
                warn(error)
                continue
            yield from (wrapped[1] for wrapped in header[3] if wrapped[0] == run)

    def open_frame(self, run, ordinal):
        """The chunks of a frame by slot, from the first of its places where it is whole; None if there is none."""
        for place in self.places_of(run, ordinal):
            try:
                check(place.length <= MAX_BODY + 4096, "a frame that is longer than any can be")
                sealed = self.pack_range(place.pack, place.offset, place.length)
                check(sha256(sealed) == place.hash, f"frame {ordinal} in pack {place.pack} is damaged")
                context = run + struct.pack("<I", ordinal)
                return self.chunks(self.repository.unseal(self.run_key(run), FRAME, context, sealed))
            except (Damaged, OSError) as error:
                warn(error)
        return None

    @staticmethod
    def chunks(plain):
        method, length = struct.unpack_from("<BI", plain)
        check(method in (0, 1) and length <= MAX_BODY, "a frame of an unknown kind")
        body = plain[5:] if method == 0 else unzstd(plain[5:], length, 8 << 20)
        check(len(body) == length, "a frame of another length than it says")
        at = 0

        def number():
            nonlocal at
            value = 0
            for shift in range(0, 35, 7):
                check(at < len(body), "a frame that is cut")
                byte, at = body[at], at + 1
                value |= (byte & 127) << shift
                if byte < 128:
                    check(value < 1 << 32 and (byte or not shift), "a number that is not in its shortest form")
                    return value
            raise Damaged("a number that is too long")

        count = number()
        check(1 <= count <= MAX_SLOTS, "a frame of no chunk, or of too many")
        lengths = [number() for _ in range(count)]
        check(all(1 <= length <= MAX_CHUNK for length in lengths), "a chunk that is empty or too long")
        check(at + sum(lengths) == len(body), "a frame whose chunks do not fill it")
        starts = [at + sum(lengths[:slot]) for slot in range(count)]
        return [body[start:start + size] for start, size in zip(starts, lengths)]

    def frame(self, run, ordinal):
        """A frame's chunks, the last few frames from memory. One that is lost is put together from others."""
        if (run, ordinal) not in self.frames:
            chunks = self.open_frame(run, ordinal) or self.assembled(run, ordinal)
            check(chunks, f"frame {ordinal} of run {run.hex()} is lost")
            self.frames[run, ordinal] = chunks
            if len(self.frames) > 16:
                self.frames.popitem(last=False)
        return self.frames[run, ordinal]

    def assembled(self, run, ordinal):
        """The chunks of a lost frame from other frames that the contents index says hold the same ones."""
        if self.index is None:
            self.index = collections.defaultdict(list), {}
            for name in self.repository.list(f"contents/{self.group['id'].hex()}"):
                try:
                    body = self.repository.signed(name, CONTENTS, self.group, self.repository.hashed(name))
                except Damaged as error:
                    warn(f"{error}; it is passed over")
                    continue
                for listed in body[0]:
                    self.commitments.setdefault(listed[0], listed[2])
                    for number, ids in listed[1]:
                        self.index[1][listed[0], number] = ids
                        for slot, chunk_id in enumerate(ids):
                            self.index[0][chunk_id].append((listed[0], number, slot))
        opened, chunks = {}, []
        for chunk_id in self.index[1].get((run, ordinal), []):
            others = [place for place in self.index[0][chunk_id] if place[:2] != (run, ordinal)]
            chunks.append(None)
            for other in others[:8]:
                if other[:2] not in opened:
                    opened[other[:2]] = self.open_frame(*other[:2]) or []
                chunk = dict(enumerate(opened[other[:2]])).get(other[2], b"")
                if keyed(self.group["chunk_ids"], chunk) == chunk_id:
                    chunks[-1] = chunk
                    break
        return chunks

    def stream(self, content):
        """The chunks that a content reference names, in order; the end is reached only if all of them are right."""
        runs, extents, expected = content[0], content[1], content[2]
        ids = blake3()
        for run, ordinal, slot, count, size in extents:
            check(run < len(runs) and count > 0, "an extent that names no chunk")
            chunks = self.frame(runs[run], ordinal)[slot:slot + count]
            check(len(chunks) == count and None not in chunks, "chunks are lost")
            check(sum(map(len, chunks)) == size, "an extent has another length than its chunks")
            for chunk in chunks:
                ids.update(keyed(self.group["chunk_ids"], chunk))
                yield chunk
        check(ids.digest() == expected, "content is not what was backed up")

    def items(self, content):
        """The items of a stream, each checked, and their order with them."""
        buffer, last = bytearray(), None
        for chunk in self.stream(content):
            buffer += chunk
            while len(buffer) >= 4:
                length, = struct.unpack_from("<I", buffer)
                check(length <= MAX_ITEM, "an item that is longer than any can be")
                if len(buffer) < 4 + length:
                    break
                item = cbor(bytes(buffer[4:4 + length]))
                del buffer[:4 + length]
                check_item(item)
                order = item[PATH].split(b"/") if item[PATH] else []
                check(last is None or last < order, "items that are not in order")
                last = order
                yield item
        check(not buffer, "an item stream that ends within an item")


# --- Restoring -------------------------------------------------------------------------------------------------------

def restore(repository, manifest, target):
    part = repository.part(manifest)
    contents = Contents(repository, manifest, part)
    for stream in part[2]:
        tree = Tree(os.path.join(target, stream[1]) if len(part[2]) > 1 else target)
        done = []
        for item in contents.items(stream[4]):
            if not done and item[KIND] != FOLDER:
                tree.kinds[b""] = FOLDER  # Standard input is one file without a folder.
            tree.make(item, contents)
            done.append({key: item[key] for key in item if key not in (CONTENT, SEGMENTS)})
        for item in [i for i in done if i[KIND] != FOLDER] + [i for i in reversed(done) if i[KIND] == FOLDER]:
            tree.finish(item)
        check(len(done) == stream[5], "a stream of another number of items than its snapshot says")
    if manifest["incomplete"]:
        warn("the snapshot is marked incomplete: some of what was to be captured is missing")


def main():
    parser = argparse.ArgumentParser(description="Reads Lifeboat repositories of format version 0.")
    parser.add_argument("repository")
    parser.add_argument("key", help="a file of age identities")
    parser.add_argument("snapshot", nargs="?")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--root", metavar="ID", help="the repository's id")
    args = parser.parse_args()
    with open(args.key, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    named = [line.removeprefix("# repository id: ") for line in lines if line.startswith("# repository id: ")]
    expected = args.root or (named[0] if named else parser.error("the key names no repository: give --root ID"))
    repository = Repository(args.repository, [age.Identity(l) for l in lines if l and not l.startswith("#")], expected)
    snapshots = repository.snapshots()
    if args.snapshot is None:
        for manifest in snapshots:
            try:
                part = repository.part(manifest)
            except Damaged as error:
                warn(f"snapshot {manifest['id'][:12]} cannot be read: {error}")
                continue
            print(manifest["id"][:12], manifest["time"], printable(part[0]), *(stream[1] for stream in part[2]))
        return
    wanted = [m for m in snapshots if m["id"].startswith(args.snapshot)]
    wanted = snapshots[-1:] if args.snapshot == "latest" else wanted
    if len(wanted) != 1 or args.target is None:
        parser.error(f"{len(wanted)} snapshots are called `{args.snapshot}`" if args.target else "TARGET is missing")
    restore(repository, wanted[0], args.target)
    print(f"restored {wanted[0]['id']} to {args.target}")


if __name__ == "__main__":
    try:
        main()
    except (Damaged, OSError, InvalidTag, ValueError, KeyError) as failure:
        sys.exit(printable(f"reader: {failure or type(failure).__name__}"))
