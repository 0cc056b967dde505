"""From a bundle to C source: templates filled with the model's numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from disc_stream import __version__
from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.centroids import read_centroids
from disc_stream.artifacts.manifest import MODEL_FILE
from disc_stream.artifacts.publicids import PublicClusters
from disc_stream.errors import BundleError, ConfigError
from disc_stream.stream.pipeline import LabelOptions
from disc_stream.types import Float32Array
from disc_stream_export.c.kinds import kind_of
from disc_stream_export.c.literals import comment, matrix, real, reals, strings, wrapped
from disc_stream_export.c.parts import template

MAX_INPUT = 65_535  # samples of a window, which a uint16_t counts
_MAX_ID = 2**31 - 1
_PREFIX = "disc"
_PREFIX_FORM = re.compile(r"[a-z][a-z0-9_]{0,30}")
_TOKEN = re.compile(r"@([A-Z0-9_]+)@")


@dataclass(frozen=True, slots=True)
class SourceNames:
    """What files and symbols are called.

    Args:
        stem: of ``STEM.c`` and ``STEM.h``.
        prefix: of every name that the files define, in place of ``disc``.
    """

    stem: str
    prefix: str = _PREFIX

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ConfigError: if one could not stand in C source.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,60}", self.stem):
            raise ConfigError(
                f"{self.stem + '.c'!r} cannot be included from C source",
                remedy="Name the file with letters, digits, - and _, such as activity.c",
            )
        if not _PREFIX_FORM.fullmatch(self.prefix):
            raise ConfigError(
                f"{self.prefix!r} cannot begin the names of C functions",
                remedy="Use lower-case letters, digits and _, such as --prefix activity",
            )

    @property
    def header(self) -> str:
        """File name of the header."""
        return f"{self.stem}.h"


@dataclass(frozen=True, slots=True)
class Tests:
    """What a self-test compares.

    Args:
        windows: (N, input_samples, C) float32.
        labels: N, as the exported code gave them.
        distance_bits: N, the bits of its distances.
    """

    windows: Float32Array
    labels: Sequence[int]
    distance_bits: Sequence[int]


class CSource:
    """The source of one model.

    Args:
        bundle: the model.
        names: of files and symbols.

    Raises:
        ConfigError: if there is no C for this kind of model, or an id does not fit.
        BundleError: if the graph is not as exports of its kind are.
    """

    def __init__(self, bundle: Bundle, names: SourceNames) -> None:
        self._bundle, self._names = bundle, names
        self._encoder = kind_of(bundle).parts(bundle)
        self._clusters = PublicClusters.of(bundle.catalogue)
        _check_sizes(bundle, self._clusters)
        self._values = {
            **_facts(bundle, self._clusters),
            **_clusters(bundle, self._clusters),
            "HEADER": names.header,
            "TYPES": self._own(self._encoder.types),
            "SCRATCH": self._own(self._encoder.scratch),
            "TABLES": self._own(self._encoder.tables),
            "ENCODE": self._own(self._encoder.code),
            **_filter(len(self._clusters.ids)),
        }

    def model(self) -> str:
        """The text of ``STEM.c``."""
        return self._filled("model.c")

    def header(self) -> str:
        """The text of ``STEM.h``."""
        return self._filled("model.h")

    def driver(self) -> str:
        """A program that labels windows from a file, for comparisons."""
        return self._filled("driver.c")

    def selftest(self, tests: Tests) -> str:
        """A program that says whether compiler and processor compute as they should."""
        return self._filled(
            "selftest.c",
            {
                "N_TESTS": str(len(tests.windows)),
                "WINDOWS": ",\n".join(f"    {{\n{matrix(window)}\n    }}" for window in tests.windows),
                "LABELS": wrapped(map(str, tests.labels)),
                "DISTANCES": wrapped(f"0x{bits:08x}u" for bits in tests.distance_bits),
            },
        )

    def _filled(self, name: str, more: Mapping[str, str] | None = None) -> str:
        values = {**self._values, **(more or {})}
        return _TOKEN.sub(lambda match: values[match[1]], self._own(template(name))) + "\n"

    def _own(self, text: str) -> str:
        """Source with the names' own prefix."""
        if self._names.prefix == _PREFIX:
            return text
        text = re.sub(rf"\b{_PREFIX}_", f"{self._names.prefix}_", text)
        return re.sub(rf"\b{_PREFIX.upper()}_", f"{self._names.prefix.upper()}_", text)


def _check_sizes(bundle: Bundle, clusters: PublicClusters) -> None:
    if bundle.manifest.window.input_samples > MAX_INPUT:
        raise ConfigError(
            f"a window of {bundle.manifest.window.input_samples} samples is too long for C",
            remedy=f"Train with windows of at most {MAX_INPUT} samples",
        )
    if (largest := max(clusters.ids)) > _MAX_ID:
        raise ConfigError(
            f"cluster id {largest} does not fit into 32 bits with a sign",
            remedy="Export a bundle whose ids are smaller",
        )


def _facts(bundle: Bundle, clusters: PublicClusters) -> dict[str, str]:
    """What the files say of the model."""
    manifest = bundle.manifest
    training, window = manifest.training, manifest.window
    width = max(len(comment(channel.name)) for channel in manifest.channels)
    return {
        "TITLE": comment(f"{manifest.name}, version {manifest.version}"),
        "NAME": comment(manifest.name),
        "VERSION": comment(manifest.version),
        "SOFTWARE": __version__,
        "GRAPH_SHA256": comment(manifest.files[MODEL_FILE]),
        "CATALOGUE_SHA256": hashlib.sha256(bundle.catalogue.to_bytes()).hexdigest(),
        "METHOD": comment(training.method),
        "DATASET": comment(training.dataset),
        "N_WINDOWS": f"{training.n_windows:,}",
        "RATE": real(manifest.fs).removesuffix("f"),
        "RATE_TEXT": f"{manifest.fs:g}",
        "HOP_SECONDS": f"{window.hop / manifest.fs:.4g}",
        "CHANNELS": "\n".join(
            f" *     {n}  {comment(channel.name):<{width}}  {comment(channel.unit)}".rstrip()
            for n, channel in enumerate(manifest.channels)
        ),
        "N_CHANNELS": str(len(manifest.channels)),
        "N_INPUT": str(window.input_samples),
        "HOP": str(window.hop),
        "N_EMBEDDING": str(manifest.embedding_dim),
        "N_ROWS": str(manifest.n_clusters),
        "N_CLUSTERS": str(len(clusters.ids)),
    }


def _clusters(bundle: Bundle, clusters: PublicClusters) -> dict[str, str]:
    """The tables of the clusters."""
    centroids = read_centroids(bundle.model_bytes, bundle.manifest)
    if centroids is None:
        raise BundleError(
            f"the graph of bundle {str(bundle.path)!r} does not hold its centroids",
            remedy="Export its run again with this version",
        )
    rows = bundle.catalogue.clusters
    return {
        "CENTROIDS": matrix(centroids),
        "UNKNOWN_ABOVE": reals(_not_above(row.unknown_above) for row in rows),
        "DISTANCE_Q95": reals(row.distance_q95 or 0.0 for row in rows),
        "CLUSTER_OF": wrapped(str(column) for column in clusters.column.tolist()),
        "IDS": wrapped(map(str, clusters.ids)),
        "NAMES": strings(clusters.names),
    }


def _not_above(limit: float | None) -> float:
    """The largest float32 that is not above a limit: a float32 exceeds either or none. -1 for no limit."""
    if limit is None:
        return -1.0
    rounded = np.float32(min(limit, float(np.finfo(np.float32).max)))
    return float(rounded if float(rounded) <= limit else np.nextafter(rounded, np.float32(0.0)))


def _filter(n_clusters: int) -> dict[str, str]:
    """The numbers of ``disc_stream.clustering.smoothing.StickyFilter``, as the server has them."""
    only, stay = n_clusters == 1, LabelOptions().stay
    return {
        "STAY": real(1.0 if only else stay),
        "MOVE": real(0.0 if only else (1.0 - stay) / (n_clusters - 1)),
    }
