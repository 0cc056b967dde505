"""A clustering that takes seconds, for measurements that need clusters and not the best ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from disc_stream.data.readers import load_recordings
from disc_stream.data.readers.registry import get_reader
from disc_stream.data.synthetic import Placement, synthetic_recordings
from disc_stream.data.types import Recording, WindowSet
from disc_stream.data.windows import plan_windows, window_recordings
from disc_stream.errors import ConfigError
from disc_stream.models.descriptors import Descriptors
from disc_stream.training.fitting import infer
from disc_stream.training.runs import TrainedRun
from disc_stream.types import Float32Array, IntArray

METHOD = "k-means on spectral descriptors, standardised per person"
SYNTHETIC = "synthetic"
_DEVICES, _SECONDS, _ACTIVITIES = 12, 600.0, 8
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Motion:
    """The windows of a dataset.

    Args:
        name: of the dataset.
        windows: of everybody, in time order within each recording.
        n_clusters: the usual number of activities K.
    """

    name: str
    windows: WindowSet
    n_clusters: int

    @property
    def people(self) -> IntArray:
        """Numbers of the people, sorted."""
        found: IntArray = np.unique(self.windows.subject)
        return found

    def of(self, people: npt.NDArray[np.integer]) -> Motion:
        """The same of some people."""
        chosen = self.windows.select(np.isin(self.windows.subject, people))
        return Motion(self.name, chosen, self.n_clusters)


def recordings_of(name: str, data: Path | None, seed: int) -> list[Recording]:
    """The recordings of a dataset, or of a synthetic fleet.

    Args:
        name: of a dataset, or ``synthetic`` for a fleet that wears its sensors at the waist, also
            ``synthetic-pocket`` and ``synthetic-wrist``.
        data: the folder that holds the datasets.
        seed: of the synthetic fleet.

    Raises:
        ConfigError: if there is no such dataset.
        InputNotFoundError: if it is not there.
    """
    first, _, place = name.partition("-")
    if first == SYNTHETIC and place in ("", *Placement):
        return synthetic_recordings(_DEVICES, _SECONDS, seed, placement=place or Placement.WAIST)
    return load_recordings(name, data)


def load_motion(name: str, data: Path | None, seed: int) -> Motion:
    """Windows of ``recordings_of``, of the length that the dataset usually has.

    Raises:
        ConfigError: if there is no such dataset.
        InputNotFoundError: if it is not there.
    """
    recordings = recordings_of(name, data, seed)
    synthetic = name.startswith(SYNTHETIC)
    seconds = 2.56 if synthetic else get_reader(name).window_s
    plan = plan_windows(recordings[0].fs, seconds, 0.5)
    long = [recording for recording in recordings if len(recording.samples) >= plan.length]
    return Motion(
        name,
        window_recordings(long, plan),
        _ACTIVITIES if synthetic else get_reader(name).n_clusters,
    )


def describe_windows(windows: WindowSet) -> Float32Array:
    """Level, variance, spectrum and correlations of windows: (n, F); see ``models.descriptors``."""
    spread = windows.x.std((0, 1))
    net = Descriptors(windows.x.shape[1], torch.from_numpy(1.0 / np.maximum(spread, 1e-6)))
    with torch.inference_mode():
        parts = [
            net(torch.from_numpy(np.ascontiguousarray(windows.x[start : start + _BATCH]))).numpy()
            for start in range(0, len(windows), _BATCH)
        ]
    return np.concatenate(parts)


def standardised(values: Float32Array, group: npt.NDArray[np.integer]) -> Float32Array:
    """Each column less its mean in units of its deviation, within each group of rows."""
    out = np.empty_like(values)
    for one in np.unique(group):
        mine = group == one
        out[mine] = (values[mine] - values[mine].mean(0)) / np.maximum(values[mine].std(0), 1e-6)
    return out


def assign(run: TrainedRun, motion: Motion) -> tuple[IntArray, Float32Array]:
    """Cluster of every window by a trained run, and the squared distance to its centroid.

    Raises:
        ConfigError: if the run was trained on other channels or windows than the dataset usually has.
    """
    windows, shape = motion.windows, run.samples.shape[1:]
    if shape[1] != windows.x.shape[2] or shape[0] > windows.x.shape[1]:
        raise ConfigError(
            f"the run reads {shape[0]} samples of {shape[1]} channels, windows of {motion.name} have "
            f"{windows.x.shape[1]} of {windows.x.shape[2]}",
            remedy="Train a run with the dataset's own channels and window length",
        )
    _, q, distance = infer(run.net, windows.x[:, : shape[0]])
    row: IntArray = q.argmax(1).astype(np.int64)
    return row, distance[np.arange(len(row)), row]


def quick_clusters(motion: Motion, n_clusters: int, seed: int) -> IntArray:
    """Cluster of every window, by ``METHOD``; no label is used."""
    from sklearn.cluster import KMeans

    z = standardised(describe_windows(motion.windows), motion.windows.subject)
    found: IntArray = KMeans(n_clusters, n_init=4, random_state=seed).fit_predict(z).astype(np.int64)
    return found
