"""How two bundles differ: what they were made from, their clusters, and the labels they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.centroids import NAME as CENTROIDS
from disc_stream.artifacts.centroids import read_centroids
from disc_stream.artifacts.graph import read_graph
from disc_stream.artifacts.runtime import OnnxEncoder, Provider
from disc_stream.artifacts.verification import usual_windows
from disc_stream.types import IntArray

_LEFT_OUT = {"created", "files", "version", "clusters"}
PROBES = 256


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What two models say of the same windows.

    Args:
        n: windows that both have a label for.
        other: those with another cluster id.
        regrouped: those that are left when each cluster of the second is called as that of the first with
            which it shares most windows, each name once: what differs apart from numbering.
        moves: (id by the first, id by the second) -> windows, of those that differ, most frequent first.
    """

    n: int
    other: int
    regrouped: int
    moves: dict[tuple[int, int], int]

    @classmethod
    def between(cls, first: IntArray, second: IntArray) -> LabelChange:
        """Of two labellings (n,) by cluster id."""
        pairs = Counter(zip(first.tolist(), second.tolist(), strict=True))
        taken: tuple[set[int], set[int]] = (set(), set())
        shared = 0
        for (a, b), count in pairs.most_common():
            if a not in taken[0] and b not in taken[1]:
                taken[0].add(a)
                taken[1].add(b)
                shared += count
        moves = {pair: count for pair, count in pairs.most_common() if pair[0] != pair[1]}
        return cls(len(first), sum(moves.values()), len(first) - shared, moves)


@dataclass(frozen=True, slots=True)
class BundleDifference:
    """Two bundles beside one another.

    Args:
        facts: field of the manifest, by its path -> its value in either, where they differ; None where it
            has none.
        kept: cluster id -> what differs of it: field -> values in either; empty where nothing does.
        gone: ids that only the first has, with their names.
        new: ids that only the second has, with their names.
        same_graph: whether the models are the same, byte for byte.
        moved: cluster id -> how far its centroid has moved, relative to the distance of the first model's
            nearest two centroids; None if the networks differ, whose embeddings cannot be compared.
        probes: labels of synthetic windows; None if the models do not take the same windows.
    """

    facts: dict[str, tuple[Any, Any]]
    kept: dict[int, dict[str, tuple[Any, Any]]]
    gone: dict[int, str]
    new: dict[int, str]
    same_graph: bool
    moved: dict[int, float] | None
    probes: LabelChange | None


def compare_bundles(old: Bundle, new: Bundle, provider: Provider = "cpu") -> BundleDifference:
    """Compare two bundles.

    Args:
        old: the first.
        new: the second.
        provider: what to run them on.

    Raises:
        BundleError: if a graph cannot be loaded.
        MissingExtraError: if onnxruntime is not installed.
    """
    before = {cluster.id: cluster for cluster in old.catalogue.clusters}
    after = {cluster.id: cluster for cluster in new.catalogue.clusters}
    kept = {
        own: _changed(before[own].model_dump(mode="json"), after[own].model_dump(mode="json"))
        for own in sorted(before.keys() & after.keys())
    }
    return BundleDifference(
        facts=_changed(_facts(old), _facts(new)),
        kept=kept,
        gone={own: before[own].name for own in sorted(before.keys() - after.keys())},
        new={own: after[own].name for own in sorted(after.keys() - before.keys())},
        same_graph=old.version == new.version,
        moved=_moved(old, new),
        probes=_probed(old, new, provider),
    )


def alike(old: Bundle, new: Bundle) -> bool:
    """Whether both models take the same windows: channels, units, rate and length."""
    ours, theirs = old.manifest, new.manifest
    return (
        ours.channels == theirs.channels
        and ours.fs == theirs.fs
        and ours.window.input_samples == theirs.window.input_samples
    )


def ids_of(rows: IntArray, catalogue: Catalogue) -> IntArray:
    """Cluster ids of rows (n,)."""
    ids = np.array([cluster.id for cluster in catalogue.clusters], dtype=np.int64)
    found: IntArray = ids[rows]
    return found


def _probed(old: Bundle, new: Bundle, provider: Provider) -> LabelChange | None:
    if not alike(old, new):
        return None
    windows = np.concatenate([usual_windows(old, PROBES // 2), usual_windows(new, PROBES // 2)])
    labels = [ids_of(OnnxEncoder(one, provider).encode(windows).labels, one.catalogue) for one in (old, new)]
    return LabelChange.between(*labels)


def _moved(old: Bundle, new: Bundle) -> dict[int, float] | None:
    first = read_centroids(old.model_bytes, old.manifest)
    second = read_centroids(new.model_bytes, new.manifest)
    if first is None or second is None or not _same_network(old, new):
        return None
    apart = np.linalg.norm(first[:, None] - first, axis=2)
    apart[np.diag_indices(len(apart))] = np.inf
    unit = float(apart.min()) if len(first) > 1 and apart.min() > 0 else 1.0
    rows = {cluster.id: row for row, cluster in enumerate(old.catalogue.clusters)}
    return {
        cluster.id: float(np.linalg.norm(second[row] - first[rows[cluster.id]])) / unit
        for row, cluster in enumerate(new.catalogue.clusters)
        if cluster.id in rows
    }


def _same_network(old: Bundle, new: Bundle) -> bool:
    """Whether all weights but the centroids are equal."""
    weights = []
    for bundle in (old, new):
        constants = read_graph(bundle.model_bytes).constants
        named = {
            name: c.floats for name, c in constants.items() if c.floats is not None and name != CENTROIDS
        }
        weights.append({name: bytes(floats) for name, floats in named.items()})
    return weights[0] == weights[1]


def _facts(bundle: Bundle) -> dict[str, Any]:
    facts = bundle.manifest.model_dump(mode="json", exclude=_LEFT_OUT)
    return {**_flat(facts), "graph_bytes": len(bundle.model_bytes)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their path, such as ``training.seed``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _changed(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (ours.get(name), theirs.get(name))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    }
