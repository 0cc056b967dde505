"""The input of a training, and the options for running it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from disc_stream.training.events import Callback, ignore
from disc_stream.types import Float32Array, IntArray

if TYPE_CHECKING:
    from disc_stream.training.warm import WarmStart


@dataclass(frozen=True, slots=True)
class Task:
    """The input of a training.

    Args:
        windows: (n, T, C), checked, in physical units.
        n_clusters: K.
        seed: same seed, same result on the same machine.
        devices: (n,) which device each window came from; None for all from one.
        order: (n,) the windows by device and time; None if they are in that order.
        warm: a trained model of the same shape to go on from; None to start from scratch.
        grow: with ``warm``: a cluster more for every group of new motion that is found.
        held_out: (n,) windows that the search for targets may read but no network learns from, so that its
            agreement with them can be measured; None for none. Of methods that search and then learn.
    """

    windows: Float32Array = field(repr=False)
    n_clusters: int
    seed: int = 0
    devices: IntArray | None = field(default=None, repr=False)
    order: IntArray | None = field(default=None, repr=False)
    warm: WarmStart | None = field(default=None, repr=False)
    grow: bool = False
    held_out: npt.NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def learned(self) -> npt.NDArray[np.bool_]:
        """(n,) which windows the network learns from."""
        return np.ones(len(self.windows), dtype=np.bool_) if self.held_out is None else ~self.held_out

    @property
    def shape(self) -> tuple[int, int]:
        """T and C."""
        return self.windows.shape[1], self.windows.shape[2]


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Options for running a training that do not change its result.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``; methods without a network to train have no use for it.
        callback: told of every batch, epoch or candidate.
        checkpoints: folder to keep a checkpoint in, or None.
        resume: go on from that checkpoint if it is there.
    """

    device: str = "auto"
    callback: Callback = ignore
    checkpoints: Path | None = None
    resume: bool = False


DEFAULT_OPTIONS = FitOptions()
