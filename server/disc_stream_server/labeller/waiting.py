"""Windows that wait for the encoder, taken in turn from each device.

One message may complete hundreds of windows. Were they all encoded at once, every other device would wait for
them. Here each device has a queue, and a turn of the encoder takes one window of each device first, then what
there is time for from those that have more: deficit round robin, with windows that all cost the same.

What waits is a part of the labeller's state, samples included, so a checkpoint may be taken at any time, and
which windows shared a turn has no influence on any label.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from disc_stream.stream.values import ReadyInput

log = logging.getLogger(__name__)

_OVERHEAD = 400  # bytes of a window beside its samples, about
_MANY = 32  # windows of a device from which on it is looked at
_SHARE = 16  # a device may have this part of the room that is left


class WaitingWindows:
    """The queues of all devices (a part of the labeller's state).

    Args:
        model: stands for the shape of the windows; those of another one cannot be encoded.
        shape: (input_samples, n_channels) of a window.
        max_bytes: from here on the queues are full, and no further rows are to be taken.
    """

    def __init__(self, model: str, shape: tuple[int, int], max_bytes: int) -> None:
        self._model, self._shape, self._max_bytes = model, shape, max_bytes
        self._window_bytes = 4 * shape[0] * shape[1] + _OVERHEAD
        self._queues: OrderedDict[str, deque[ReadyInput]] = (
            OrderedDict()
        )  # the next one to serve stands first
        self._many: set[str] = set()
        self._unserved: set[str] = set()  # devices of which none has been encoded since they have any
        self._held: set[str] = set()
        self._changed: set[str] = set()
        self._stored: set[str] = set()  # devices of which the disk knows windows
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def devices(self) -> int:
        """Devices that have any."""
        return len(self._queues)

    @property
    def unserved(self) -> int:
        """Devices of which no window has been encoded since they have any."""
        return len(self._unserved)

    @property
    def size(self) -> int:
        """Memory that they take, about."""
        return self._count * self._window_bytes

    @property
    def is_full(self) -> bool:
        """Whether no further rows are to be taken."""
        return self.size >= self._max_bytes

    def add(self, ready: Iterable[ReadyInput]) -> None:
        """Put windows at the end of their devices' queues."""
        for one in ready:
            queue = self._queues.get(one.device)
            if queue is None:
                queue = self._queues[one.device] = deque()
                self._unserved.add(one.device)
            queue.append(one)
            self._count += 1
            self._changed.add(one.device)
            if len(queue) >= _MANY:
                self._many.add(one.device)

    def choose(self, quantum: int, limit: int) -> list[ReadyInput]:
        """The windows of the next turn; they stay in their queues until ``done``.

        Args:
            quantum: windows that there is time and room for, however few devices have any; if there is none,
                devices of which many wait are passed over, so the others need not wait for them.
            limit: windows of a turn at most.
        """
        shares: dict[str, int] = {}
        for device in self._queues:
            if len(shares) >= limit:
                break
            if quantum > 0 or device not in self._many:
                shares[device] = 1
        left = min(quantum, limit) - len(shares)
        while left > 0:
            more = [device for device in shares if len(self._queues[device]) > shares[device]]
            if not more:
                break
            each = max(1, left // len(more))
            for device in more:
                n = min(each, left, len(self._queues[device]) - shares[device])
                shares[device] += n
                left -= n
        return [self._queues[device][at] for device, n in shares.items() for at in range(n)]

    def done(self, chosen: Sequence[ReadyInput]) -> None:
        """These windows, as ``choose`` gave them, need not be encoded any more."""
        for one in chosen:
            queue = self._queues[one.device]
            queue.popleft()
            self._count -= 1
            self._changed.add(one.device)
            if len(queue) < _MANY:
                self._many.discard(one.device)
            if not queue:
                del self._queues[one.device]
        for device in dict.fromkeys(one.device for one in chosen):
            self._unserved.discard(device)
            if device in self._queues:
                self._queues.move_to_end(device)

    def crowding(self) -> frozenset[str]:
        """Devices with so many windows that no further messages of theirs should come for now.

        A device may have a share of the room that is left, so whoever comes later finds some, too; it is
        let in again once it has half of that.
        """
        if self._many or self._held:
            share = max(0, self._max_bytes - self.size) // _SHARE // self._window_bytes
            lengths = {device: len(self._queues[device]) for device in self._many}
            self._held = {
                device for device, n in lengths.items() if n > (share // 2 if device in self._held else share)
            }
        return frozenset(self._held)

    # -- a part of the labeller's state -----------------------------------------------------------------

    def capture(self) -> dict[str, bytes]:
        """The queue of each device for which it has changed since the last call; empty for none.

        Of a device whose windows came and went between two calls nothing is said: nobody knows of them.
        """
        changed, self._changed = self._changed, set()
        taken: dict[str, bytes] = {}
        for device in sorted(changed):
            queue = self._queues.get(device)
            if queue:
                taken[device] = self._encode(queue)
                self._stored.add(device)
            elif device in self._stored:
                taken[device] = b""
                self._stored.discard(device)
        return taken

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk; nothing depends on it."""

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._count -= len(self._queues.pop(device, ()))
        for names in (self._many, self._unserved, self._held, self._changed, self._stored):
            names.discard(device)

    def restore(self, states: Mapping[str, bytes]) -> list[ReadyInput]:
        """Take up what ``capture`` gave.

        Returns:
            Windows of another model, which cannot be encoded by this one.
        """
        misfits: list[ReadyInput] = []
        for device, state in states.items():
            model, windows = _decode(state)
            self._stored.add(device)
            if model == self._model:
                self.add(windows)
                self._changed.discard(device)
            else:
                misfits += windows
                self._changed.add(device)
        return misfits

    def _encode(self, queue: Iterable[ReadyInput]) -> bytes:
        windows = [
            _SavedWindow(
                one.device, one.boot, one.window, one.t0_us, one.seq, one.segment,
                one.samples.astype("<f4").tobytes(), one.position, one.received_us, one.t0_unix_us,
                one.bridged,
            )
            for one in queue
        ]  # fmt: skip
        return msgspec.msgpack.encode(_Saved(self._model, self._shape, windows))


class _SavedWindow(msgspec.Struct, array_like=True):
    device: str
    boot: int
    window: int
    t0_us: int
    seq: int
    segment: int
    samples: bytes
    position: int
    received_us: int
    t0_unix_us: int | None
    bridged: bool


class _Saved(msgspec.Struct):
    model: str
    shape: tuple[int, int]
    windows: list[_SavedWindow]


def _decode(state: bytes) -> tuple[str, list[ReadyInput]]:
    saved = msgspec.msgpack.decode(state, type=_Saved)
    windows = [
        ReadyInput(
            one.device, one.boot, one.window, one.t0_us, one.seq, one.segment,
            np.frombuffer(one.samples, "<f4").reshape(saved.shape), one.position, one.received_us,
            one.t0_unix_us, one.bridged,
        )
        for one in saved.windows
    ]  # fmt: skip
    return saved.model, windows
