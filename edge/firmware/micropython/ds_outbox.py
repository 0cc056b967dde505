"""What waits until the broker has confirmed it: a ring in RAM, and behind it files in flash.

Both keep the order, and both count what gives way. Batches that were sent and are not confirmed never give
way, so a batch is either confirmed or counted as lost, never both.
"""

import binascii
import os
import struct
from array import array

DROP_OLDEST = 0
DROP_NEWEST = 1


class Ring:
    """Batches in RAM, allocated once.

    Args:
        slots: batches that it holds; at least 2.
        size: bytes of the largest one.
        when_full: what gives way.
    """

    def __init__(self, slots, size, when_full=DROP_OLDEST):
        if slots < 2:
            raise ValueError("a ring has at least 2 slots")
        self.slots = slots
        self.size = size
        self.lost = 0
        self.count = 0  # batches that wait, confirmed ones not among them
        self.flying = 0  # of these, the first so many are on their way on this connection
        self.doubtful = 0  # and the first so many have ever been sent
        self._when_full = when_full
        self._memory = bytearray(slots * size)
        self._view = memoryview(self._memory)
        self._lengths = array("H" if size < 65536 else "I", bytes(slots * (2 if size < 65536 else 4)))
        self._order = array("H", range(slots))  # the places of the batches, oldest first from `_head` on
        self._head = 0

    def put(self, payload):
        """Keep a batch; False if it is lost instead."""
        n = len(payload)
        if n > self.size:
            raise ValueError("the batch is larger than a slot")
        if self.count == self.slots:
            self.lost += 1
            if self._when_full == DROP_NEWEST or self.doubtful == self.count:
                return False
            self._remove(self.doubtful)
        slot = self._order[(self._head + self.count) % self.slots]
        at = slot * self.size
        self._view[at : at + n] = payload
        self._lengths[slot] = n
        self.count += 1
        return True

    def peek(self):
        """The next batch to send, None if all are on their way; valid until the next `put`."""
        return self.at(self.flying) if self.flying < self.count else None

    def at(self, k):
        """The batch that is the k-th oldest."""
        slot = self._order[(self._head + k) % self.slots]
        start = slot * self.size
        return self._view[start : start + self._lengths[slot]]

    def sent(self):
        """What `peek` gave is on its way."""
        self.flying += 1
        self.doubtful = max(self.doubtful, self.flying)

    def confirm(self, k):
        """The k-th of those on their way is confirmed."""
        self._remove(k)
        self.flying -= 1
        self.doubtful -= 1

    def down(self):
        """The connection is gone: what was on its way is sent again."""
        self.flying = 0

    def clear(self):
        """Forget everything."""
        self.count = self.flying = self.doubtful = 0

    def _remove(self, k):
        """Take the k-th out; the k before it move up, and there are few of them."""
        order = self._order
        slots = self.slots
        free = order[(self._head + k) % slots]
        while k:
            order[(self._head + k) % slots] = order[(self._head + k - 1) % slots]
            k -= 1
        order[self._head] = free
        self._head = (self._head + 1) % slots
        self.count -= 1


class Flash:
    """Two rings in RAM, and files between them while the broker is away.

    While labels are live, nothing is written. When both rings are full, all that the second one holds becomes
    one file, so flash wears by one file for that many batches. Files are read oldest first. A power cut takes
    what is in RAM; what is in files is sent after the restart. A file that was sent in part is sent again
    from its beginning, and the server drops what it has seen.

    Args:
        folder: for the files; made if there is none.
        slots: batches of each ring, and of a file.
        size: bytes of the largest batch.
        files: how many are kept; the oldest gives way, and its batches are counted.
    """

    def __init__(self, folder, slots, size, files):
        if files < 2:
            raise ValueError("keep at least 2 files")
        self.size = size
        self._folder = folder
        self._files = files
        self._open = None  # the file whose batches are in front
        self._lost = 0
        _make(folder)
        self._names = _names(folder)
        for name in self._names:
            slots = max(slots, _batches(name))  # of a run with larger rings
        self._front = Ring(slots, size)
        self._back = Ring(slots, size)
        self._next = 1 + (_number(self._names[-1]) if self._names else 0)
        self._recover()

    @property
    def lost(self):
        """Batches that gave way, over the folder's life."""
        return self._lost

    @property
    def count(self):
        """Batches that wait."""
        here = self._front.count + self._back.count
        return here + sum(_batches(name) for name in self._names if name != self._open)

    @property
    def flying(self):
        """Batches on their way."""
        return self._front.flying

    def put(self, payload):
        """Keep a batch; False if it is lost, because the flash takes no file."""
        direct = not self._names and not self._back.count
        ring = self._front if direct and self._front.count < self._front.slots else self._back
        if ring.count == ring.slots and not self._write_down():
            self._lost += 1
            return False
        return ring.put(payload)

    def peek(self):
        """The next batch to send, or None."""
        if not self._front.count:
            self._fill()
        return self._front.peek()

    def sent(self):
        """What `peek` gave is on its way."""
        self._front.sent()

    def confirm(self, k):
        """The k-th of those on their way is confirmed."""
        self._front.confirm(k)
        if not self._front.count and self._open:
            self._names.remove(self._open)
            _remove(self._path(self._open))
            self._open = None

    def down(self):
        """The connection is gone: what was on its way is sent again."""
        self._front.down()

    def flush(self):
        """Write down what is in RAM, before a planned restart."""
        if self._back.count:
            self._write()
        if self._front.count and not self._open:
            self._front.down()
            self._front, self._back = self._back, self._front
            self._write(before=True)

    def _fill(self):
        for name in tuple(self._names):
            if _read(self._path(name), self._front):
                self._open = name
                return
            self._give_up(name)  # damaged
        if self._back.count:
            self._front, self._back = self._back, self._front

    def _write_down(self):
        """Make a file of the second ring; the oldest one that is not being sent gives way to it."""
        while True:
            closed = [name for name in self._names if name != self._open]
            try:
                if closed and len(self._names) >= self._files:
                    self._give_up(closed.pop(0))
                self._write()
                return True
            except OSError:  # full before the bound is reached
                if not closed:
                    return False
                self._give_up(closed[0])

    def _write(self, before=False):
        """The second ring becomes a file, the newest or the oldest one."""
        number = _number(self._names[0]) - 1 if before and self._names else self._next
        name = "%08d-%d" % (number, self._back.count)
        crc = 0
        with open(self._path("new"), "wb") as file:
            for k in range(self._back.count):
                batch = self._back.at(k)
                crc = binascii.crc32(batch, crc)
                file.write(struct.pack("<H", len(batch)))
                file.write(batch)
            file.write(struct.pack("<I", crc))
        os.rename(self._path("new"), self._path(name))
        if number >= self._next:
            self._next = number + 1
        self._names.insert(0 if before else len(self._names), name)
        self._back.clear()

    def _give_up(self, name):
        """Count first: a power cut between the two is seen by `_recover`."""
        self._lost += _batches(name)
        try:
            with open(self._path("lost.new"), "w") as file:
                file.write("%d %s" % (self._lost, name))
            os.rename(self._path("lost.new"), self._path("lost"))
        except OSError:
            pass  # full: the number is in RAM, and is written with the next one
        self._names.remove(name)
        _remove(self._path(name))

    def _recover(self):
        try:
            with open(self._path("lost")) as file:
                words = file.read().split()
            self._lost = int(words[0])
            name = words[1]
        except (OSError, ValueError, IndexError):
            return
        if name in self._names:
            self._names.remove(name)
            _remove(self._path(name))

    def _path(self, name):
        return self._folder + "/" + name


def _read(path, ring):
    """A file's batches into a ring; False if it is damaged."""
    ring.clear()
    crc = 0
    try:
        with open(path, "rb") as file:
            for _ in range(_batches(path.rsplit("/", 1)[-1])):
                batch = file.read(struct.unpack("<H", file.read(2))[0])
                crc = binascii.crc32(batch, crc)
                ring.put(batch)
            whole = crc == struct.unpack("<I", file.read(4))[0]
    except (OSError, ValueError):
        whole = False
    if not whole:
        ring.clear()
    return whole


def _names(folder):
    return sorted(name for name in os.listdir(folder) if len(name) > 9 and name[8] == "-")


def _number(name):
    return int(name[:8])


def _batches(name):
    return int(name[9:])


def _make(folder):
    try:
        os.mkdir(folder)
    except OSError:
        os.listdir(folder)  # it is there, or this says why not


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


def next_boot(folder):
    """One above the last boot, kept in ``folder``."""
    _make(folder)
    try:
        with open(folder + "/boot") as file:
            boot = int(file.read()) + 1
    except (OSError, ValueError):
        boot = 1
    with open(folder + "/boot.new", "w") as file:
        file.write(str(boot))
    os.rename(folder + "/boot.new", folder + "/boot")
    return boot
