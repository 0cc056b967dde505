"""The motion that a model knows, kept beside it, so that a retraining can tell what is new."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from disc_stream.artifacts.run import KNOWN_FILE
from disc_stream.clustering.newmotion import KnownMotion, NewMotion, find_new_motion, near_to
from disc_stream.errors import DataError, TrainingError
from disc_stream.models.descriptors import Descriptors
from disc_stream.training.files import replace_file
from disc_stream.types import Float32Array, IntArray

_MOST_WINDOWS = 4_000
_MOST_NUMBERS = 2_000_000
_FEWEST_WINDOWS = 500
_BATCH = 2048


@dataclass(frozen=True, slots=True)
class Known:
    """Known motion as descriptors of whole windows; the same for every method.

    Args:
        scale: (C,) factor for each channel before it is described; that of the first training for ever.
        n_samples: T.
        n_clusters: K of the model.
        motion: the sample.
    """

    scale: Float32Array = field(repr=False)
    n_samples: int
    n_clusters: int
    motion: KnownMotion

    @classmethod
    def of(
        cls,
        windows: Float32Array,
        rows: IntArray,
        devices: IntArray,
        *,
        n_clusters: int,
        seed: int,
        before: Known | None = None,
    ) -> Known:
        """After a training.

        Args:
            windows: (n, T, C) that the model has learned from.
            rows: (n,) the cluster of each.
            devices: (n,) number of the device of each.
            n_clusters: K.
            seed: of the sample.
            before: that of the model that the training went on from. What is farther from it than known
                motion is, and has no cluster of its own since, is left out: it may be the beginning of
                something that more devices do later. With fewer clusters than that model had, all is known.
        """
        if before is None or not before.fits(windows) or before.n_clusters > n_clusters:
            before = None
            spread = windows.std((0, 1), dtype=np.float64)
            scale = (1.0 / np.where(spread > 0.0, spread, 1.0)).astype(np.float32)
            features = _describe(windows, scale)
            known = np.ones(len(windows), dtype=np.bool_)
        else:
            scale, features = before.scale, _describe(windows, before.scale)
            known = (rows >= before.n_clusters) | near_to(before.motion, features, rows)
        motion = KnownMotion(features[known], rows[known], devices[known])
        if before is not None:
            motion = before.motion.joined(motion)
        most = int(np.clip(_MOST_NUMBERS // features.shape[1], _FEWEST_WINDOWS, _MOST_WINDOWS))
        return cls(scale, windows.shape[1], n_clusters, motion.reduced(most, seed=seed))

    def fits(self, windows: Float32Array) -> bool:
        """Whether windows (n, T, C) can be compared with it."""
        return windows.shape[1:] == (self.n_samples, len(self.scale))

    def new_in(self, windows: Float32Array, rows: IntArray, devices: IntArray) -> NewMotion:
        """Groups of new motion; see ``find_new_motion``."""
        return find_new_motion(_describe(windows, self.scale), rows, devices, self.motion)

    @property
    def digest(self) -> str:
        """sha256 of everything in it."""
        digest = hashlib.sha256()
        for array in (self.scale, self.motion.features, self.motion.rows, self.motion.devices):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, run: Path) -> None:
        """Write it into a run folder.

        Raises:
            TrainingError: if the disk does not take it.
        """
        arrays = {
            "scale": self.scale,
            "features": self.motion.features,
            "rows": self.motion.rows,
            "devices": self.motion.devices,
        }
        packed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        try:
            run.mkdir(parents=True, exist_ok=True)
            replace_file(run / KNOWN_FILE, to_bytes(packed))
        except OSError as error:
            raise TrainingError(
                f"the run cannot be written to {str(run)!r}: {error.strerror or error}",
                remedy="Check space and permissions there",
            ) from error

    @classmethod
    def load(cls, run: Path, n_samples: int, n_clusters: int) -> Known | None:
        """Read it from a run folder; None where it has none, as those of older versions.

        Args:
            run: the folder.
            n_samples: T of the run.
            n_clusters: K of the run.

        Raises:
            TrainingError: if it is damaged.
        """
        file = run / KNOWN_FILE
        if not file.is_file():
            return None
        try:
            arrays = load_file(file)
            motion = KnownMotion(arrays["features"], arrays["rows"], arrays["devices"])
            return cls(arrays["scale"], n_samples, n_clusters, motion)
        except (OSError, SafetensorError, KeyError, DataError) as error:
            raise TrainingError(f"{str(file)!r} cannot be read", remedy="Train it again") from error


def _describe(windows: Float32Array, scale: Float32Array) -> Float32Array:
    """Descriptors (n, F) of windows (n, T, C)."""
    descriptors = Descriptors(windows.shape[1], torch.from_numpy(scale))
    with torch.no_grad():
        parts = [descriptors(part) for part in torch.split(torch.from_numpy(windows), _BATCH)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)
