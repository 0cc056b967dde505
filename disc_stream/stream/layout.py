"""From a device's channels to the model's: which columns, in which order, times what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.errors import StreamMismatchError
from disc_stream.signal.units import conversion_factor
from disc_stream.types import Channel, Float32Array

# Rates that are converted, in model rates. Slower streams lack most of what the model looks at.
SLOWEST, FASTEST = 0.35, 64.0


@dataclass(frozen=True, slots=True)
class Layout:
    """How the samples of one channel layout become the model's input.

    Args:
        columns: (n_model_channels,) column of each model channel in the stream, None if they are equal.
        factors: (n_model_channels,) float32, counts to model units; None if all are 1.
    """

    columns: npt.NDArray[np.intp] | None
    factors: Float32Array | None

    def apply(self, samples: npt.NDArray[np.generic]) -> Float32Array:
        """Samples (n, n_stream_channels) in counts as (n, n_model_channels) in the model's units."""
        picked = samples if self.columns is None else samples[:, self.columns]
        if self.factors is None:
            return picked.astype(np.float32, copy=False)
        if picked.dtype != np.int16:  # int32 times float32 would be float64
            picked = picked.astype(np.float32, copy=False)
        scaled: Float32Array = np.multiply(picked, self.factors)
        return scaled


def fit_layout(stream: Sequence[Channel], model: Sequence[Channel]) -> Layout:
    """Match a stream's channels with the model's by name; further channels are ignored.

    Raises:
        StreamMismatchError: with reason ``channels`` if one is missing or doubled, ``units`` if one
            measures something else.
    """
    names = [channel.name for channel in stream]
    missing = [channel.name for channel in model if channel.name not in names]
    if missing:
        raise StreamMismatchError(
            "channels",
            f"the model needs channels {', '.join(missing)}; the stream has {', '.join(names)}",
            remedy="Send these channels, or train a model on the channels that there are",
        )
    if len(set(names)) < len(names):
        raise StreamMismatchError("channels", f"a channel name comes twice in {', '.join(names)}")
    columns = [names.index(channel.name) for channel in model]
    factors = np.array(
        [
            stream[column].scale * _factor(stream[column], wanted)
            for column, wanted in zip(columns, model, strict=True)
        ],
        dtype=np.float32,
    )
    return Layout(
        columns=None if columns == list(range(len(names))) else np.array(columns, dtype=np.intp),
        factors=None if bool(np.all(factors == 1.0)) else factors,
    )


def _factor(channel: Channel, wanted: Channel) -> float:
    try:
        return conversion_factor(channel.unit, wanted.unit)
    except StreamMismatchError as error:
        raise StreamMismatchError(
            error.reason, f"channel {channel.name}: {error.message}", remedy=error.remedy
        ) from None


def check_rate(fs: float, model_fs: float) -> None:
    """Check that a stream can be brought to the model's sampling rate.

    Raises:
        StreamMismatchError: with reason ``rate``.
    """
    if not SLOWEST * model_fs <= fs <= FASTEST * model_fs:
        raise StreamMismatchError(
            "rate",
            f"the stream has {fs:g} samples/s; the model needs {model_fs:g}, and "
            f"{SLOWEST * model_fs:g} to {FASTEST * model_fs:g} can be converted to that",
            remedy="Sample at a rate in that range, or train a model for this one",
        )
