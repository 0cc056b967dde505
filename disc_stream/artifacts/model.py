"""One model as a value: what it expects, what runs it, and what its clusters are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from disc_stream.artifacts.bundle import Bundle, check_fits
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.centroids import read_centroids
from disc_stream.artifacts.manifest import Manifest
from disc_stream.artifacts.publicids import PublicClusters
from disc_stream.artifacts.runtime import Encoded, OnnxEncoder, Provider
from disc_stream.types import Float32Array


class Encoder(Protocol):
    """Anything that encodes windows; ``OnnxEncoder`` is one."""

    def encode(self, x: Float32Array) -> Encoded:
        """Embeddings, soft assignments and distances of windows (B, input_samples, C) float32."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """Handed to whoever needs a model, and exchanged as a whole between two batches.

    Column k of the encoder's ``q`` and ``distance`` is cluster ``catalogue.clusters[k]``, in row k of the
    catalogue; what leaves the program carries that cluster's public id (``clusters``), never the row.

    Args:
        manifest: what the model expects and gives.
        encoder: runs it.
        catalogue: its clusters, by row.
        centroids: (K, d), those that ``distance`` is measured from; None if they are not known.

    Raises:
        BundleError: if the catalogue is another model's, or has another number of clusters.

    Example::

        model = Model.open("bundles/hapt", provider="cpu")
        encoded = model.encoder.encode(windows)
        names = [model.catalogue.clusters[row].name for row in encoded.labels]
    """

    manifest: Manifest
    encoder: Encoder
    catalogue: Catalogue
    centroids: Float32Array | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fits(self.catalogue, self.manifest, "the model")

    @classmethod
    def open(
        cls,
        path: Path | str,
        provider: Provider = "auto",
        threads: int | None = None,
        *,
        trusted_keys: Sequence[Path] | None = None,
    ) -> Model:
        """Read and check a bundle, and get its graph ready to run.

        Args:
            path: folder or zip.
            provider: see ``OnnxEncoder``.
            threads: see ``OnnxEncoder``.
            trusted_keys: see ``Bundle.open``.

        Raises:
            InputNotFoundError: if there is nothing at ``path``.
            BundleError: if it is no bundle, incomplete, changed, from a newer version, not signed by a
                trusted key, or its graph cannot be loaded.
            ConfigError: if the provider is not available.
            MissingExtraError: if onnxruntime is not installed.
        """
        bundle = Bundle.open(path, trusted_keys=trusted_keys)
        return cls.of(bundle, OnnxEncoder(bundle, provider, threads))

    @classmethod
    def of(cls, bundle: Bundle, encoder: Encoder) -> Model:
        """The model of a bundle that was opened, run by that encoder."""
        centroids = read_centroids(bundle.model_bytes, bundle.manifest)
        return cls(bundle.manifest, encoder, bundle.catalogue, centroids)

    @property
    def version(self) -> str:
        """Content hash of the graph; the same whatever its clusters are called."""
        return self.manifest.version

    @property
    def provider(self) -> str:
        """What the encoder runs on, "" if it does not say."""
        return str(getattr(self.encoder, "provider", ""))

    @property
    def clusters(self) -> PublicClusters:
        """The clusters as labels name them."""
        return PublicClusters.of(self.catalogue)

    def with_catalogue(self, catalogue: Catalogue) -> Model:
        """The same model whose clusters are called otherwise; nothing is loaded again.

        Raises:
            BundleError: if the catalogue is another model's.
        """
        return replace(self, catalogue=catalogue)
