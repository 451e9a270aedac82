"""Items, and putting them back into a folder."""

import errno
import os
import stat

from conventions import MIB, check, warn

FILE, FOLDER, SYMLINK, HARD_LINK, BLOCK, CHARACTER, FIFO, SOCKET = range(8)
# Keys of an item that are used more than once.
PATH, KIND, MODE, SIZE, CONTENT, SEGMENTS, TARGET = 0, 1, 2, 8, 9, 10, 11


def check_item(item):
    for path in [item[PATH]] + ([item[TARGET]] if item[KIND] == HARD_LINK else []):
        parts = path.split(b"/") if path or path is not item[PATH] else []
        check(len(path) <= MIB and not any(p in (b"", b".", b"..") or b"\0" in p for p in parts), "a path that leaves")
    check(item[PATH] or item[KIND] == FOLDER, "an empty path of what is not the captured folder")
    check(item[MODE] <= 0o7777 and item[6] <= 999_999_999, "a mode or time that cannot be")
    check(item[KIND] == FILE or not (CONTENT in item or SEGMENTS in item), "content of what is no file")
    end, total = 0, 0
    for offset, length in segments(item):
        check(offset >= end and length > 0 and offset + length <= item[SIZE], "segments that overlap or leave the file")
        end, total = offset + length, total + length
    stored = sum(extent[4] for extent in item[CONTENT][1]) if CONTENT in item else 0
    check(stored == total, "content of another length than its file")


def segments(item):
    """Where a file's data lies; all else is holes."""
    return item.get(SEGMENTS, [[0, item[SIZE]]] if item.get(SIZE) else [])


class Tree:
    """Puts a stream into a folder. Folders and files are closed to others until all is there."""

    def __init__(self, target):
        self.target, self.kinds = os.fsencode(target), {}
        os.makedirs(self.target, mode=0o700, exist_ok=True)
        check(not os.listdir(self.target), f"`{target}` is not empty")

    def at(self, path):
        return os.path.join(self.target, path) if path else self.target

    def make(self, item, contents):
        path, kind, place = item[PATH], item[KIND], self.at(item[PATH])
        # What was made is a folder, so nothing is ever written through a link.
        check(not path or self.kinds.get(os.path.dirname(path)) == FOLDER, "an item that lies in no folder")
        check(path not in self.kinds, "two items of one path")
        self.kinds[path] = kind
        if kind == FOLDER and path:
            os.mkdir(place, 0o700)
        elif kind == FILE:
            with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                try:
                    write_content(file, item, contents)
                except BaseException:
                    # No file stays that is not whole. Its other names come later in the stream, so there are none.
                    file.truncate(0)
                    os.unlink(place)
                    raise
        elif kind == SYMLINK:
            os.symlink(item[TARGET], place)
        elif kind == HARD_LINK:
            check(self.kinds.get(item[TARGET], FOLDER) != FOLDER, "a hard link to nothing")
            os.link(self.at(item[TARGET]), place, follow_symlinks=False)
        elif kind in (BLOCK, CHARACTER, FIFO, SOCKET):
            types = {BLOCK: stat.S_IFBLK, CHARACTER: stat.S_IFCHR, FIFO: stat.S_IFIFO, SOCKET: stat.S_IFSOCK}
            os.mknod(place, 0o600 | types[kind], os.makedev(*item.get(12, [0, 0])))

    def finish(self, item):
        """Owner, mode, attributes, time, in this order: each may undo one that comes after it."""
        if item[KIND] == HARD_LINK:
            return
        place = self.at(item[PATH])
        mode = item[MODE]
        try:
            os.chown(place, item[3], item[4], follow_symlinks=False)
        except PermissionError as error:
            check(error.errno == errno.EPERM, str(error))  # Without root all stays the reader's own, so it
            mode &= ~0o6000  # must not run with the reader's rights either.
        if item[KIND] != SYMLINK:
            os.chmod(place, mode)
        for name, value in item.get(7, []):
            try:
                os.setxattr(place, name, value, follow_symlinks=False)
            except OSError as error:
                warn(f"attribute {name} of {place}: {error.strerror}")
        time = item[5] * 1_000_000_000 + item[6]
        os.utime(place, ns=(time, time), follow_symlinks=False)


def write_content(file, item, contents):
    file.truncate(item[SIZE])
    data = contents.stream(item[CONTENT]) if CONTENT in item else iter(())
    pending = b""
    for offset, length in segments(item):
        file.seek(offset)
        while length:
            pending = pending or next(data)
            file.write(pending[:length])
            pending, length = pending[length:], length - min(length, len(pending))
    check(next(data, None) is None and not pending, "content that is longer than its file")
