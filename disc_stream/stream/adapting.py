"""Centroids that follow each device, as a stage: behind the encoder, before smoothing.

What is known belongs to (device, model). Under another model, devices begin anew with its own centroids, as
its embeddings mean something else; under the same one with other names they go on. It goes on over boots and
gaps, since the person stays, and fades with the time between two messages.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from disc_stream.artifacts.manifest import Manifest
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.runtime import measures_from
from disc_stream.clustering.adaptation import AdaptationRule, Adapted, Adapter, DeviceMeans, Occurrence
from disc_stream.errors import ConfigError
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.evidence import exponent_of
from disc_stream.stream.residents import Archive, DeviceStates, StateCodec, no_archive
from disc_stream.stream.values import stretches_begin

log = logging.getLogger(__name__)

_PROBES = 8  # windows on which a model's distances are compared with those to its centroids
MAX_STATE_BYTES = 8 * 2**10
"""What is known of a device takes at most so much, half of what the memory bound counts for a device."""


class _Saved(msgspec.Struct, array_like=True):
    """Only clusters of which anything is known: with K = 12 and d = 64 about 140 bytes each."""

    model: str
    rows: bytes  # uint16
    counts: bytes  # float32
    means: bytes  # float16
    gain: float
    last_us: int
    now: bytes = b""  # float32
    boot: int = 0
    segment: int = 0


@dataclass(slots=True)
class _Followed:
    """What is known of a device, and the stretch that its last window lay in."""

    means: DeviceMeans
    boot: int = 0
    segment: int = 0


def adapter_of(model: Model, rule: AdaptationRule) -> Adapter:
    """The adaptation of a model's centroids.

    Raises:
        ConfigError: if the model's centroids are not known, or are too many, or if it does not say what is
            unknown to it.
    """
    if model.centroids is None:
        raise ConfigError(
            f"the centroids of model {model.version} cannot follow devices: its graph does not tell them",
            remedy="Use --no-adapt, or export its run again with `disc-stream export`",
        )
    clusters = model.catalogue.clusters
    limits = [one.unknown_above for one in clusters]
    if all(limit is None for limit in limits):
        raise ConfigError(
            f"the centroids of model {model.version} cannot follow devices: it does not say which motion is "
            "unknown to it, so new motion would draw them",
            remedy="Use --no-adapt, or a model that was trained on six people or more",
        )
    k, d = model.centroids.shape
    if (size := k * (8 + 2 * d)) > MAX_STATE_BYTES:
        raise ConfigError(
            f"the centroids of model {model.version} cannot follow devices: {k} clusters of {d} dimensions "
            f"would take {size:,} bytes for every device, more than {MAX_STATE_BYTES:,}",
            remedy="Use --no-adapt, or a model of a smaller embedding",
        )
    spread = [_spread(one.distance_q95, d) for one in clusters]
    return Adapter(model.centroids, limits, rule, spread, exponent_of(model.manifest))


def follows_by_default(manifest: Manifest) -> bool:
    """Whether a model's centroids follow devices unless somebody says otherwise.

    Not where distances are no density (guided DISC): there it gains for some fleets what it loses for others
    (docs/adr/0025).
    """
    return manifest.likelihood_exponent is None


def with_known_centroids(model: Model) -> Model:
    """The model, without its centroids if its distances are not those to them."""
    if model.centroids is None:
        return model
    shape = (_PROBES, model.manifest.window.input_samples, len(model.manifest.channels))
    probes = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return model if measures_from(model.encoder.encode, probes, model.centroids) else _without(model)


def _without(model: Model) -> Model:
    return replace(model, centroids=None)


def _spread(q95: float | None, d: int) -> float:
    """Standard deviation of a cluster along one direction, from the 95 % quantile of squared distances.

    Over that of a chi-square distribution of d degrees of freedom, by Wilson and Hilferty's approximation
    (1931, doi:10.1073/pnas.17.12.684). 1 where the quantile is not known.
    """
    if not q95:
        return 1.0
    part = 2.0 / (9.0 * d)
    return math.sqrt(q95 / (d * (1.0 - part + 1.6449 * math.sqrt(part)) ** 3))


def adapt_recording(adapter: Adapter, assigned: Assigned, not_worn: Sequence[bool]) -> Assigned:
    """All windows of one recording under the centroids that all of them lead to; not causal.

    Args:
        adapter: of the model.
        assigned: n windows under the model's centroids, in order; at least one.
        not_worn: n, whether the device is not worn; such windows change nothing.
    """
    begins = stretches_begin(assigned.ready).tolist()
    occurrences = [
        Occurrence(one.received_us, first, not off)
        for one, first, off in zip(assigned.ready, begins, not_worn, strict=True)
    ]
    found = adapter.over_recording(assigned.embedding, occurrences)
    return assigned._replace(q=found.q, model_q=assigned.q, shift=found.shift)


class AdaptationStage:
    """Follows all devices (a part of the labeller's state).

    Args:
        model: whose centroids are adapted. One whose centroids are not known is logged, and its assignments
            stay what they are.
        rule: how far and how fast.
        everywhere: also models that do not follow devices by default.
        max_devices: states in memory.
        archive: where the others are.
    """

    def __init__(
        self,
        model: Model,
        rule: AdaptationRule,
        *,
        everywhere: bool = True,
        max_devices: int = 20_000,
        archive: Archive = no_archive,
    ) -> None:
        self._rule, self._everywhere = rule, everywhere
        self._states = DeviceStates(StateCodec(self._encode, self._decode), max_devices, archive)
        self._adapter, self._model = self._adapter_of(model), model.version

    def adapt(self, assigned: Assigned, not_worn: Sequence[bool]) -> Assigned:
        """Windows under the centroids of their devices; those of a device come in order.

        Args:
            assigned: n windows under the model's centroids.
            not_worn: n, whether the device is not worn; such windows change nothing.

        Returns:
            The same windows with another ``q``, the model's as ``model_q``, and ``shift``.
        """
        adapter = self._adapter
        if adapter is None or not assigned.ready:
            return assigned
        q, shift = np.empty_like(assigned.q), np.empty(len(assigned.q), dtype=np.float32)
        rows = list(range(len(assigned.ready)))
        while rows:  # one window of each device at a time
            now: list[int] = []
            later: list[int] = []
            seen: set[str] = set()
            for row in rows:
                device = assigned.ready[row].device
                (later if device in seen else now).append(row)
                seen.add(device)
            q[now], shift[now], _ = self._step(adapter, assigned, not_worn, now)
            rows = later
        return assigned._replace(q=q, model_q=assigned.q, shift=shift)

    def _step(
        self,
        adapter: Adapter,
        assigned: Assigned,
        not_worn: Sequence[bool],
        rows: Sequence[int],
    ) -> Adapted:
        ready = [assigned.ready[row] for row in rows]
        states = [self._state_of(one.device, adapter) for one in ready]
        occurrences = [
            Occurrence(
                one.received_us, (state.boot, state.segment) != (one.boot, one.segment), not not_worn[row]
            )
            for one, state, row in zip(ready, states, rows, strict=True)
        ]
        found = adapter.step([state.means for state in states], assigned.embedding[rows], occurrences)
        for one, state, has_learned in zip(ready, states, found.learned.tolist(), strict=True):
            if has_learned:
                state.boot, state.segment = one.boot, one.segment
                self._states.put(one.device, state)
        return found

    def _state_of(self, device: str, adapter: Adapter) -> _Followed:
        return self._states.find(device) or _Followed(adapter.new())

    def reset(self, device: str) -> None:
        """Let a device begin again with the model's own centroids."""
        if self._adapter is not None and self._states.find(device) is not None:
            self._states.put(device, _Followed(self._adapter.new()))

    def use(self, model: Model) -> None:
        """Go on with another model, or other names; everything must be on disk (``committed``)."""
        self._states.leave()
        self._adapter, self._model = self._adapter_of(model), model.version

    def _adapter_of(self, model: Model) -> Adapter | None:
        if not self._everywhere and not follows_by_default(model.manifest):
            log.info("the centroids of model %s follow devices with `adapt` only", model.version)
            return None
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

    def _encode(self, state: _Followed) -> bytes:
        known = state.means
        rows = known.moved
        parts = (
            rows.astype("<u2"), known.counts[rows].astype("<f4"), known.means[rows].astype("<f2"),
            known.now.astype("<f4"),
        )  # fmt: skip
        rows_, counts, means, now = (part.tobytes() for part in parts)
        return msgspec.msgpack.encode(
            _Saved(
                self._model, rows_, counts, means, known.gain, known.last_us, now, state.boot, state.segment
            )
        )

    def _decode(self, _device: str, blob: bytes) -> _Followed:
        assert self._adapter is not None  # noqa: S101 - without one, no state is looked for
        known = self._adapter.new()
        try:
            saved = msgspec.msgpack.decode(blob, type=_Saved)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
        if saved.model != self._model:
            return _Followed(known)
        rows = np.frombuffer(saved.rows, dtype="<u2").astype(np.intp)
        known.counts[rows] = np.frombuffer(saved.counts, dtype="<f4")
        known.means[rows] = np.frombuffer(saved.means, dtype="<f2").reshape(len(rows), -1)
        known.gain, known.last_us = saved.gain, saved.last_us
        if saved.now:
            known.now[:] = np.frombuffer(saved.now, dtype="<f4")
        return _Followed(known, saved.boot, saved.segment)
