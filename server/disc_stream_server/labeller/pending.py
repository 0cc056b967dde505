"""Labels that wait for their checkpoint, packed one behind the other.

At full load sixty thousand of them wait. As objects each would take half a KiB, in between what lives as long
as its device, so that the memory could not be given back either.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from disc_stream.stream.values import Labelled
from disc_stream_server.storage.records import BRIDGED, DEFERRED, StoredLabel

_NUMBERS = struct.Struct("<9q3I4dBI")
_NO_TIME = -(2**63)


class PendingLabels:
    """Labels in the order in which they were added; iterating gives them as they are kept."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._devices: dict[str, int] = {}  # the number under which it is packed
        self._texts: dict[str, int] = {}  # the same of names and models
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, labelled: Iterable[Labelled]) -> None:
        """Put labels behind the others."""
        parts: list[bytes] = []
        pack, devices, texts = _NUMBERS.pack, self._devices, self._texts
        for one in labelled:
            label, q = one.label, one.q.astype("<f4", copy=False).tobytes()
            best, smoothed, unix_us, novelty = label.best, label.smoothed, label.t0_unix_us, label.novelty
            parts += (
                pack(
                    one.ready.position, label.boot, label.window, label.t0_us, label.t1_us,
                    _NO_TIME if unix_us is None else unix_us, best.label, smoothed.label, label.published_us,
                    devices.setdefault(label.device, len(devices)), texts.setdefault(best.name, len(texts)),
                    texts.setdefault(label.model, len(texts)), best.confidence, smoothed.confidence,
                    label.distance, math.nan if novelty is None else novelty,
                    DEFERRED * label.deferred + BRIDGED * label.bridged, len(q),
                ),
                q,
            )  # fmt: skip
        self._data += b"".join(parts)
        self._count += len(parts) // 2

    def forget(self, device: str) -> None:
        """Leave a device out; nothing of it stays in memory."""
        number = self._devices.get(device)
        if number is None:
            return
        kept = bytearray()
        self._count = 0
        for begin, end, numbers in self._records():
            if numbers[9] != number:
                kept += self._data[begin:end]
                self._count += 1
        self._data = kept
        names = (f"\0{place}" if name == device else name for name, place in self._devices.items())
        self._devices = {name: place for place, name in enumerate(names)}

    def __iter__(self) -> Iterator[StoredLabel]:
        devices, texts, make = list(self._devices), list(self._texts), StoredLabel._make
        for begin, end, numbers in self._records():
            (
                position, boot, window, t0_us, t1_us, unix_us, best, smoothed, at_us, device, name, model,
                confidence, smoothed_confidence, distance, novelty, flags, _size,
            ) = numbers  # fmt: skip
            yield make((
                position, devices[device], boot, window, t0_us, t1_us,
                None if unix_us == _NO_TIME else unix_us, best, texts[name], confidence, smoothed,
                smoothed_confidence, bytes(self._data[begin + _NUMBERS.size : end]), distance,
                None if math.isnan(novelty) else novelty, texts[model], flags, at_us,
            ))  # fmt: skip

    def _records(self) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
        """Where each begins and ends, and its numbers."""
        begin, last = 0, len(self._data)
        while begin < last:
            numbers = _NUMBERS.unpack_from(self._data, begin)
            end = begin + _NUMBERS.size + numbers[-1]
            yield begin, end, numbers
            begin = end
