"""What passes between the stages of the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from disc_stream.types import Float32Array, Label, SampleBatch


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A decoded batch and when it came.

    Args:
        batch: the batch.
        position: of its row in the spool; 0 where there is none.
        received_us: server time of its arrival, Unix microseconds.
        at_us: the watermark when it was read; see ``Watermark``.
    """

    batch: SampleBatch
    position: int = 0
    received_us: int = 0
    at_us: int = 0


class ReadyInput(msgspec.Struct, frozen=True, gc=False):
    """The encoder's input for one window.

    Args:
        device: device id.
        boot: boot of the device.
        window: number of the window within the boot, from 0; gaps do not reset it.
        t0_us: device time at the window's first sample, in microseconds.
        seq: number of the batch that completed the input.
        segment: number of the uninterrupted stretch of the device that the window lies in.
        samples: (input_samples, n_channels) float32, in the model's units and order.
        position: of the batch that completed the input, in the spool; 0 where there is none.
        received_us: server time of that batch's arrival, Unix microseconds.
        t0_unix_us: Unix time at the window's first sample; None if it is not known.
        bridged: whether a part of the samples was interpolated to bridge a gap.
    """

    device: str
    boot: int
    window: int
    t0_us: int
    seq: int
    segment: int
    samples: Float32Array
    position: int = 0
    received_us: int = 0
    t0_unix_us: int | None = None
    bridged: bool = False


class Labelled(msgspec.Struct, frozen=True, gc=False):
    """A window and its label.

    Args:
        label: as it is published.
        ready: the window.
        q: (K,) float32, its soft assignment.
    """

    label: Label
    ready: ReadyInput
    q: npt.NDArray[np.float32]


class Failure(NamedTuple):
    """A window that the encoder could not use.

    Args:
        ready: the window.
        reason: stable code.
        message: one line for a person.
    """

    ready: ReadyInput
    reason: str
    message: str


def stretches_begin(ready: Sequence[ReadyInput]) -> npt.NDArray[np.bool_]:
    """(n,), whether each of one device's windows, in order, begins an uninterrupted stretch."""
    stretches = [(one.boot, one.segment) for one in ready]
    before = [None, *stretches[:-1]]
    return np.array([now != then for now, then in zip(stretches, before, strict=True)], dtype=np.bool_)
