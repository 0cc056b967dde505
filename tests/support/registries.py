"""Registries of models that cost nothing; every version is another model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Author, Lineage, Registry, RowIds, RowProposal, VersionInfo
from tests.support.tiny_bundle import CHANNELS, FS, WINDOW

ANN, BOB = Author("ann"), Author("bob")


def make_bundle(path: Path, seed: int, k: int, names: Sequence[str] = ()) -> Path:
    """A bundle of k clusters; another seed gives another model."""
    centroids = np.random.default_rng(seed).normal(size=(k, len(CHANNELS))).astype(np.float32)
    called = [*names, *(f"cluster {row}" for row in range(len(names), k))]
    clusters = [ClusterInfo(id=row, name=called[row], size=10 * (row + 1)) for row in range(k)]
    write_mean_bundle(path, "tiny", InputSpec(CHANNELS, FS, WINDOW), centroids, clusters)
    return path


class Models:
    """A registry, and the bundles that are made for it.

    Args:
        folder: for both.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "models"
        self.registry = Registry.create(self.path)
        self._made = 0

    def bundle(self, k: int, names: Sequence[str] = ()) -> Path:
        """A new model."""
        self._made += 1
        return make_bundle(self.folder / f"bundle-{self._made}", self._made, k, names)

    def add(self, ids: Sequence[int | None], names: Sequence[str] = ()) -> VersionInfo:
        """A candidate beside what is in production whose rows keep these ids, or get fresh ones."""
        current = self.registry.current()
        proposal = RowIds(
            based_on=None if current is None else current.version,
            rows=tuple(RowProposal(id=own) for own in ids),
        )
        return self.registry.add(self.bundle(len(ids), names), Lineage(method="trivial"), proposal)

    def promote(self, ids: Sequence[int | None], names: Sequence[str] = ()) -> VersionInfo:
        """The same, in production."""
        info = self.add(ids, names)
        self.registry.promote(info.number, "retrain", "passed the gate")
        return self.registry.version(info.number)

    def published(self) -> dict[int, str]:
        """Own id -> what its labels are called, of the version in production."""
        catalogue = self.registry.catalogue_of("current")
        return dict(zip(catalogue.ids, catalogue.names, strict=True))
