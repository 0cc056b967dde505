"""What a window says of each cluster, as a likelihood."""

from __future__ import annotations

from disc_stream.artifacts.manifest import Manifest
from disc_stream.clustering.smoothing import likelihood_exponent


def exponent_of(manifest: Manifest) -> float:
    """Power of q that is the likelihood of a model's windows."""
    own = manifest.likelihood_exponent
    return likelihood_exponent(manifest.embedding_dim) if own is None else own
