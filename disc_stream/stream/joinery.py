"""Devices that send each sensor in messages of its own: their parts are joined by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from disc_stream.errors import StreamMismatchError
from disc_stream.signal.joining import Joiner, JoinerState
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.residents import Archive, DeviceStates, StateCodec, no_archive
from disc_stream.stream.rules import StreamCounts
from disc_stream.types import Channel, SampleBatch

_MAX_BOOTS = 4
_MAX_LAYOUTS = 1_000


@dataclass(slots=True)
class Parts:
    """What waits for its counterparts, of one device, by boot."""

    joiners: dict[int, Joiner] = field(default_factory=dict)


class Joinery:
    """Joins the parts of all devices; a batch with all channels passes through.

    Args:
        channels: the model's.
        counts: joined batches are counted here.
        problems: missing counterparts are told here.
        max_devices: devices in memory.
        archive: where the others are.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        counts: StreamCounts,
        problems: ProblemBook,
        *,
        max_devices: int,
        archive: Archive = no_archive,
    ) -> None:
        self._channels = tuple(channels)
        self._wanted = frozenset(channel.name for channel in channels)
        self._counts, self._problems = counts, problems
        self._states = DeviceStates(StateCodec(_encode, self._decode), max_devices, archive)
        self._whole: dict[int, tuple[tuple[Channel, ...], bool]] = {}  # by identity, which is kept alive

    def is_whole(self, batch: SampleBatch) -> bool:
        """Whether a batch has all channels, or none: then it is for the layout to judge."""
        channels = batch.channels
        known = self._whole.get(id(channels))  # hashing them would take longer than all the rest
        if known is not None and known[0] is channels:
            return known[1]
        if len(self._whole) > _MAX_LAYOUTS:
            self._whole.clear()
        found = self._wanted.intersection(channel.name for channel in channels)
        whole = not found or len(found) == len(self._wanted)
        self._whole[id(channels)] = channels, whole
        return whole

    def push(self, batch: SampleBatch, now_us: int) -> list[SampleBatch]:
        """Take a part and return the joined batches that it completes.

        Raises:
            StreamMismatchError: with reason ``channels`` if the other parts have been missing for long.
        """
        parts = self._states.find(batch.device)
        if parts is None:
            parts = Parts()
            self._states.put(batch.device, parts)
        self._states.changed(batch.device)
        joiner = parts.joiners.get(batch.boot)
        if joiner is None:
            while len(parts.joiners) >= _MAX_BOOTS:
                del parts.joiners[next(iter(parts.joiners))]
            joiner = parts.joiners[batch.boot] = Joiner(self._channels)
        differed = joiner.differs
        joined = joiner.push(batch, now_us)
        self._tell_rate(batch.device, differed, joiner.differs, now_us)
        self._counts.joined += len(joined)
        if joined:
            self._problems.resolve(batch.device, "channels")
        elif joiner.expire(now_us) and (missing := joiner.missing(now_us)):
            words = f"the model needs channels {', '.join(missing)}, too; they have not come for 10 s"
            remedy = "Send them, or train a model on the channels that there are"
            raise StreamMismatchError("channels", words, remedy=remedy)
        return joined

    def _tell_rate(
        self, device: str, before: tuple[float, float] | None, now: tuple[float, float] | None, now_us: int
    ) -> None:
        if now is not None:
            words = f"it declares {now[0]:g} samples/s and sends {now[1]:.4g} by its clock, which counts"
            self._problems.report(
                device, "rate-differs", words, now_us, "Declare the rate at which it samples (fs)"
            )
        elif before is not None:
            self._problems.resolve(device, "rate-differs")

    def capture(self) -> dict[str, bytes]:
        """What has changed since the last call."""
        return self._states.capture()

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk."""
        self._states.committed(taken)

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._states.forget(device)

    def _decode(self, _device: str, blob: bytes) -> Parts:
        try:
            saved = msgspec.msgpack.decode(blob, type=dict[int, JoinerState])
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
        parts = Parts()
        for boot, state in saved.items():
            parts.joiners[boot] = Joiner(self._channels)
            parts.joiners[boot].restore(state)
        return parts


def _encode(parts: Parts) -> bytes:
    return msgspec.msgpack.encode({boot: joiner.state() for boot, joiner in parts.joiners.items()})
