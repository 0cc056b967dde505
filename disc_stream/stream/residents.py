"""The states of many devices: recently used ones in memory, the others in an archive."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from disc_stream.sparselog import SparseLog

log = logging.getLogger(__name__)

S = TypeVar("S")

Archive = Callable[[str], bytes | None]
"""Finds the saved state of a device; None if there is none."""


def no_archive(_device: str) -> None:
    """An archive that holds nothing."""
    return


@dataclass(frozen=True, slots=True)
class StateCodec(Generic[S]):
    """How the state of a device is saved.

    Args:
        encode: the state as bytes.
        decode: the state from (device, bytes); raises ValueError if they are of another form.
        release: called with a state that leaves the memory.
    """

    encode: Callable[[S], bytes]
    decode: Callable[[str, bytes], S]
    release: Callable[[S], None] = lambda _state: None


class DeviceStates(Generic[S]):
    """States by device. Which of them are in memory has no influence on any result.

    A state that leaves the memory is kept as bytes until a checkpoint has written it (``committed``);
    after that the archive has it.

    Args:
        codec: how states are saved.
        max_devices: states in memory; with more, the one used longest ago leaves (LRU).
        archive: where the others are.
    """

    def __init__(self, codec: StateCodec[S], max_devices: int, archive: Archive = no_archive) -> None:
        self._codec, self._max_devices, self._archive = codec, max_devices, archive
        self._states: OrderedDict[str, S] = OrderedDict()  # the one used last stands last
        self._changed: set[str] = set()
        self._leaving: dict[str, bytes] = {}  # evicted, not yet captured
        self._taken: dict[str, bytes] = {}  # captured, not yet committed
        self._log = SparseLog(log)
        self.evicted = 0
        self.restored = 0

    def __len__(self) -> int:
        return len(self._states)

    def find(self, device: str) -> S | None:
        """The state of a device, restored if it is not in memory; None if there is none."""
        state = self._states.get(device)
        if state is not None:
            self._states.move_to_end(device)
            return state
        blob = self._leaving.get(device) or self._taken.get(device) or self._archive(device)
        return None if blob is None else self._restore(device, blob)

    def put(self, device: str, state: S) -> None:
        """Keep a new state."""
        self._states[device] = state
        self._states.move_to_end(device)
        self._changed.add(device)
        self._leaving.pop(device, None)
        if len(self._states) > self._max_devices:
            self.evict()

    def changed(self, device: str) -> None:
        """The state of a device in memory is not what is on disk any more."""
        self._changed.add(device)

    def oldest(self) -> tuple[str, S] | None:
        """The state that was used longest ago."""
        return next(iter(self._states.items()), None)

    def evict(self) -> None:
        """Let the state that was used longest ago leave the memory."""
        device, state = self._states.popitem(last=False)
        if device in self._changed:
            self._leaving[device] = self._codec.encode(state)
            self._changed.discard(device)
        self._codec.release(state)
        self.evicted += 1

    def leave(self) -> None:
        """Let all states leave the memory; each is decoded again when it is needed."""
        while self._states:
            self.evict()

    def capture(self) -> dict[str, bytes]:
        """All states that have changed since the last call, for a checkpoint."""
        taken, self._leaving = self._leaving, {}
        for device in self._changed:
            taken[device] = self._codec.encode(self._states[device])
        self._changed.clear()
        self._taken |= taken
        return taken

    def committed(self, taken: Mapping[str, bytes | None]) -> None:
        """What ``capture`` gave is on disk."""
        for device, blob in taken.items():
            if self._taken.get(device) is blob:
                del self._taken[device]

    def forget(self, device: str) -> None:
        """Drop the state of a device."""
        state = self._states.pop(device, None)
        if state is not None:
            self._codec.release(state)
        self._leaving.pop(device, None)
        self._taken.pop(device, None)
        self._changed.discard(device)

    def __iter__(self) -> Iterator[S]:
        return iter(self._states.values())

    def _restore(self, device: str, blob: bytes) -> S | None:
        try:
            state = self._codec.decode(device, blob)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            text = "the saved state of device %s cannot be used (%s); it begins anew"
            self._log.error(device, "state", text, device, error)
            self._leaving.pop(device, None)
            self._taken.pop(device, None)
            return None
        was_leaving = self._leaving.pop(device, None) is not None
        self._states[device] = state
        if was_leaving:
            self._changed.add(device)  # it is not on disk yet
        self.restored += 1
        if len(self._states) > self._max_devices:
            self.evict()
        return state
