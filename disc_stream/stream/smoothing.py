"""Smoothing as a stage of its own, after the encoder.

A filter belongs to one uninterrupted stretch of one device: (device, boot, segment). A window that belongs to
another one begins a new filter. So it does not matter which windows share a chunk. When another model of the
same registry takes over, or people merge clusters, what is known of a public id that is still there goes on
under it; nothing of one model goes on under an unrelated one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.publicids import PublicClusters
from disc_stream.clustering.smoothing import StickyFilter, smooth_stretches
from disc_stream.stream.residents import Archive, DeviceStates, StateCodec, no_archive
from disc_stream.stream.values import ReadyInput, stretches_begin


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """The filter of every device.

    Args:
        clusters: M public clusters of the model.
        stay: probability of staying in an activity from one window to the next.
        exponent: power of q that is a likelihood; see ``likelihood_exponent``.
        model: version of the model whose soft assignments are smoothed.
    """

    clusters: PublicClusters
    stay: float = 0.8
    exponent: float = 1.0
    model: str = ""


class _Saved(msgspec.Struct, array_like=True):
    boot: int
    segment: int
    stretch: int
    model: str
    p: bytes
    ids: tuple[int, ...] = ()
    registry: str = ""


class _Filter:
    __slots__ = ("boot", "filter", "segment", "stretch")

    def __init__(self, sticky: StickyFilter, boot: int, segment: int, stretch: int) -> None:
        self.filter, self.boot, self.segment, self.stretch = sticky, boot, segment, stretch


class Smoother:
    """Smooths the soft assignments of all devices.

    Args:
        spec: the filters.
        stretch: changes whenever windows were left out on purpose; filters begin anew then.
        max_devices: filters in memory.
        archive: where the others are.
    """

    def __init__(
        self, spec: FilterSpec, *, stretch: int = 0, max_devices: int = 20_000, archive: Archive = no_archive
    ) -> None:
        self._spec, self.stretch = spec, stretch
        self._states = DeviceStates(StateCodec(self._encode, self._decode), max_devices, archive)

    def smooth(self, ready: Sequence[ReadyInput], q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Filter the soft assignments of windows; those of a device come in order.

        Args:
            ready: n windows.
            q: (n, K), their soft assignments to the rows of the model.

        Returns:
            (n, M), to its public clusters, each row filtered over the earlier windows of its segment.
        """
        q = self._spec.clusters.add_up(q)
        out = np.empty(q.shape)
        rows = list(range(len(ready)))
        while rows:  # one window of each device at a time
            filters: list[StickyFilter] = []
            now, later, seen = [], [], set()
            for row in rows:
                if ready[row].device in seen:
                    later.append(row)
                    continue
                seen.add(ready[row].device)
                now.append(row)
                filters.append(self._filter_of(ready[row]))
            out[now] = StickyFilter.update_each(filters, q[now])
            rows = later
        return out

    def smooth_recording(
        self, ready: Sequence[ReadyInput], q: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """Smooth the windows of one recording by what came before and after each; no state is looked at.

        Args:
            ready: n windows of one device, in order; at least one.
            q: (n, K), their soft assignments to the rows of the model.

        Returns:
            (n, M), to its public clusters.
        """
        spec = self._spec
        return smooth_stretches(
            spec.clusters.add_up(q), stretches_begin(ready), stay=spec.stay, exponent=spec.exponent
        )

    def capture(self) -> dict[str, bytes]:
        """What has changed since the last call."""
        return self._states.capture()

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk."""
        self._states.committed(taken)

    def use(self, spec: FilterSpec) -> None:
        """Go on with another model, or other public clusters; everything must be on disk (``committed``).

        What is known of a device under an id that is still there is carried over, as after a restart.
        """
        self._states.leave()
        self._spec = spec

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._states.forget(device)

    def _filter_of(self, ready: ReadyInput) -> StickyFilter:
        one = self._states.find(ready.device)
        if one is None:
            one = _Filter(self._new(), ready.boot, ready.segment, self.stretch)
            self._states.put(ready.device, one)
        elif (one.boot, one.segment, one.stretch) != (ready.boot, ready.segment, self.stretch):
            one.filter.reset()
            one.boot, one.segment, one.stretch = ready.boot, ready.segment, self.stretch
        self._states.changed(ready.device)
        return one.filter

    def _new(self) -> StickyFilter:
        return StickyFilter(len(self._spec.clusters.ids), self._spec.stay, self._spec.exponent)

    def _encode(self, one: _Filter) -> bytes:
        (p,) = one.filter.state()
        blob = b"" if p is None else p.tobytes()
        model, clusters = self._spec.model, self._spec.clusters
        return msgspec.msgpack.encode(
            _Saved(one.boot, one.segment, one.stretch, model, blob, clusters.ids, clusters.registry)
        )

    def _decode(self, _device: str, blob: bytes) -> _Filter:
        try:
            saved = msgspec.msgpack.decode(blob, type=_Saved)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
        one = _Filter(self._new(), saved.boot, saved.segment, saved.stretch)
        if saved.p:
            one.filter.restore((self._carry_over(saved),))
        return one

    def _carry_over(self, saved: _Saved) -> npt.NDArray[np.float64] | None:
        """The saved distribution over the present clusters; None if it says nothing of them."""
        p = np.frombuffer(saved.p, dtype=np.float64)
        clusters = self._spec.clusters
        is_same = saved.model == self._spec.model
        if is_same and saved.ids in {(), clusters.ids}:
            return p
        mean_the_same = is_same or (saved.registry and saved.registry == clusters.registry)
        return clusters.carry_over(p, saved.ids) if saved.ids and mean_the_same else None
