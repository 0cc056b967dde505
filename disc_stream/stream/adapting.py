"""Centroids that follow each device, as a stage: behind the encoder, before smoothing.

What is known belongs to (device, model). Under another model, devices begin anew with its own centroids, as
its embeddings mean something else; under the same one with other names they go on. It goes on over boots and
gaps, since the person stays, and fades with the time between two messages.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from disc_stream.artifacts.model import Model
from disc_stream.clustering.adaptation import AdaptationRule, Adapted, Adapter, DeviceMeans
from disc_stream.errors import ConfigError
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.residents import Archive, DeviceStates, StateCodec, no_archive

log = logging.getLogger(__name__)


class _Saved(msgspec.Struct, array_like=True):
    """Only clusters of which anything is known: with K = 12 and d = 64 about 130 bytes each."""

    model: str
    rows: bytes  # uint16
    counts: bytes  # float32
    means: bytes  # float16
    gain: float
    last_us: int


def adapter_of(model: Model, rule: AdaptationRule) -> Adapter:
    """The adaptation of a model's centroids.

    Raises:
        ConfigError: if the model's centroids are not known.
    """
    if model.centroids is None:
        raise ConfigError(
            f"the centroids of model {model.version} cannot follow devices: its graph does not tell them",
            remedy="Export its run again with `disc-stream export`, or leave out --adapt",
        )
    return Adapter(model.centroids, [one.unknown_above for one in model.catalogue.clusters], rule)


class AdaptationStage:
    """Follows all devices (a part of the labeller's state).

    Args:
        model: whose centroids are adapted. One whose centroids are not known is logged, and its assignments
            stay what they are.
        rule: how far and how fast.
        max_devices: states in memory.
        archive: where the others are.
    """

    def __init__(
        self,
        model: Model,
        rule: AdaptationRule,
        *,
        max_devices: int = 20_000,
        archive: Archive = no_archive,
    ) -> None:
        self._rule = rule
        self._states = DeviceStates(StateCodec(self._encode, self._decode), max_devices, archive)
        self._adapter, self._model = self._adapter_of(model), model.version

    def adapt(self, assigned: Assigned, not_worn: Sequence[bool]) -> Assigned:
        """Windows under the centroids of their devices; those of a device come in order.

        Args:
            assigned: n windows under the model's centroids.
            not_worn: n, whether the device is not worn; such windows change nothing.

        Returns:
            The same windows with other ``q`` and ``distance``.
        """
        adapter = self._adapter
        if adapter is None or not assigned.ready:
            return assigned
        q, distance = np.empty_like(assigned.q), np.empty_like(assigned.distance)
        rows = list(range(len(assigned.ready)))
        while rows:  # one window of each device at a time
            now: list[int] = []
            later: list[int] = []
            seen: set[str] = set()
            for row in rows:
                device = assigned.ready[row].device
                (later if device in seen else now).append(row)
                seen.add(device)
            q[now], distance[now], _ = self._step(adapter, assigned, not_worn, now)
            rows = later
        return assigned._replace(q=q, distance=distance)

    def _step(
        self,
        adapter: Adapter,
        assigned: Assigned,
        not_worn: Sequence[bool],
        rows: Sequence[int],
    ) -> Adapted:
        ready = [assigned.ready[row] for row in rows]
        states = [self._state_of(one.device, adapter) for one in ready]
        found = adapter.step(
            states,
            assigned.embedding[rows],
            [one.received_us for one in ready],
            [not not_worn[row] for row in rows],
        )
        for one, state, has_learned in zip(ready, states, found.learned.tolist(), strict=True):
            if has_learned:
                self._states.put(one.device, state)
        return found

    def _state_of(self, device: str, adapter: Adapter) -> DeviceMeans:
        return self._states.find(device) or adapter.new()

    def use(self, model: Model) -> None:
        """Go on with another model, or other names; everything must be on disk (``committed``)."""
        self._states.leave()
        self._adapter, self._model = self._adapter_of(model), model.version

    def _adapter_of(self, model: Model) -> Adapter | None:
        try:
            return adapter_of(model, self._rule)
        except ConfigError as error:
            log.warning("%s; its labels are those of the fleet", error.message)
            return None

    # -- a part of the labeller's state -----------------------------------------------------------------

    def capture(self) -> dict[str, bytes]:
        """What has changed since the last call."""
        return self._states.capture()

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk."""
        self._states.committed(taken)

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._states.forget(device)

    def _encode(self, state: DeviceMeans) -> bytes:
        rows = state.moved
        parts = (rows.astype("<u2"), state.counts[rows].astype("<f4"), state.means[rows].astype("<f2"))
        rows_, counts, means = (part.tobytes() for part in parts)
        return msgspec.msgpack.encode(_Saved(self._model, rows_, counts, means, state.gain, state.last_us))

    def _decode(self, _device: str, blob: bytes) -> DeviceMeans:
        assert self._adapter is not None  # noqa: S101 - without one, no state is looked for
        state = self._adapter.new()
        try:
            saved = msgspec.msgpack.decode(blob, type=_Saved)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
        if saved.model != self._model:
            return state
        rows = np.frombuffer(saved.rows, dtype="<u2").astype(np.intp)
        state.counts[rows] = np.frombuffer(saved.counts, dtype="<f4")
        state.means[rows] = np.frombuffer(saved.means, dtype="<f2").reshape(len(rows), -1)
        state.gain, state.last_us = saved.gain, saved.last_us
        return state
