"""Which devices are not worn, as a stage: beside the encoder, on the same windows.

Only devices that lie still have a state: a window that moves ends it. So the stage costs nothing for devices
that move but the deviation of their samples, which is computed for all windows of a turn at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from disc_stream.stream.encoding import stacked
from disc_stream.stream.sessions import StreamSpec
from disc_stream.stream.values import ReadyInput
from disc_stream.stream.wear import WearDetector, WearState
from disc_stream.types import Float32Array


class WearStage:
    """Follows all devices (a part of the labeller's state).

    Args:
        spec: what the windows are of.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._detector = WearDetector(spec.channels, spec.window.hop / spec.fs)
        self._key = spec.key
        self._states: dict[str, WearState] = {}
        self._changed: set[str] = set()
        self._stored: set[str] = set()  # devices of which the disk knows a state

    def not_worn(self, ready: Sequence[ReadyInput], samples: Float32Array | None = None) -> list[bool]:
        """Whether each window is of a device that is not worn; windows of a device come in order.

        Args:
            ready: n windows.
            samples: (n, T, C), theirs, where they are at hand as one array.
        """
        if not ready or not self._detector.can_tell:
            return [False] * len(ready)
        seen = zip(ready, *self._detector.look(stacked(ready) if samples is None else samples), strict=True)
        return [
            self._follow(one, level, is_still) if usable else self._is_off(one.device)
            for one, is_still, usable, level in seen
        ]

    def _is_off(self, device: str) -> bool:
        """What was known before a window that cannot be used, and so is passed over."""
        state = self._states.get(device)
        return state is not None and not state.worn

    def _follow(self, ready: ReadyInput, level: list[float], is_still: bool) -> bool:
        device = ready.device
        if not is_still:
            if self._states.pop(device, None) is not None:
                self._changed.add(device)
            return False
        state = self._detector.rest(self._states.get(device), ready.boot, ready.t0_us, tuple(level))
        self._states[device] = state
        self._changed.add(device)
        return not state.worn

    # -- a part of the labeller's state -----------------------------------------------------------------

    def capture(self) -> dict[str, bytes]:
        """What has changed since the last call; an empty state stands for none."""
        changed, self._changed = self._changed, set()
        taken: dict[str, bytes] = {}
        for device in sorted(changed):
            state = self._states.get(device)
            if state is not None:
                taken[device] = msgspec.msgpack.encode((self._key, state))
                self._stored.add(device)
            elif device in self._stored:
                taken[device] = b""
                self._stored.discard(device)
        return taken

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk; nothing depends on it."""

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._states.pop(device, None)
        for names in (self._changed, self._stored):
            names.discard(device)

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take up what ``capture`` gave; states of other windows begin anew."""
        for device, blob in states.items():
            self._stored.add(device)
            key, state = msgspec.msgpack.decode(blob, type=tuple[str, WearState])
            if key == self._key:
                self._states[device] = state
            else:
                self._changed.add(device)
