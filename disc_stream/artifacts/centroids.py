"""The centroids of a model, read from its graph."""

from __future__ import annotations

import numpy as np

from disc_stream.artifacts.graph import GraphRefusedError, read_graph
from disc_stream.artifacts.manifest import Manifest
from disc_stream.types import Float32Array

NAME = "centroids"
"""Of the tensor; every export of every method has it."""


def read_centroids(model: bytes, manifest: Manifest) -> Float32Array | None:
    """The centroids that a graph compares embeddings with.

    They are a tensor of the graph like any other, known by its name and shape. Whether distances really are
    those to them is for ``runtime.measures_from`` to say.

    Args:
        model: the bytes of ``model.onnx``.
        manifest: says how many they are, and of which dimension.

    Returns:
        (K, d), a copy; None if the graph has no such tensor.
    """
    try:
        constant = read_graph(model).constants.get(NAME)
    except GraphRefusedError:
        return None
    shape = (manifest.n_clusters, manifest.embedding_dim)
    if constant is None or constant.floats is None or constant.shape != shape:
        return None
    found: Float32Array = np.frombuffer(constant.floats, dtype="<f4").astype(np.float32).reshape(shape)
    return found if np.isfinite(found).all() else None
