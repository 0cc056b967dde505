"""What versions keep for people to look at: windows of clusters, the plane of the map, how training went.

Read from the bundle when somebody asks, and kept for the few versions that are looked at.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.curves import CURVES_FILE, decode_curves, read_history
from disc_stream.artifacts.examples import EXAMPLES_FILE, Examples
from disc_stream.artifacts.manifest import Manifest
from disc_stream.artifacts.run import HISTORY_FILE
from disc_stream.config import ServeConfig
from disc_stream.errors import BundleError, DiscStreamError
from disc_stream.registry import Registry
from disc_stream_server.storage.forget import RETRAINING

MOST = 4
"""Versions in memory."""
POINTS = 64
"""Of a window, for drawing."""
CHANNELS = 3
"""Of a window, likewise: the first ones."""
_MOST_HISTORY = 16 << 20

Kept = Literal["yes", "no", "unreadable"]


@dataclass(frozen=True, slots=True)
class Book:
    """One version.

    Args:
        manifest: of it.
        path: of its bundle.
        catalogue: as the bundle has it; a registry knows better.
        examples: None if there are none, or they cannot be used.
        kept: which of the two.
        epochs: how training went.
    """

    manifest: Manifest
    path: Path
    catalogue: Catalogue
    examples: Examples | None
    kept: Kept
    epochs: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A version with what its clusters are called now.

    Args:
        book: the version.
        catalogue: its clusters, by row.
    """

    book: Book
    catalogue: Catalogue

    @property
    def examples(self) -> Examples | None:
        """Those of the version, unless they have been taken out since."""
        if self.book.examples is None or (
            self.book.path.is_dir() and not (self.book.path / EXAMPLES_FILE).exists()
        ):
            return None
        return self.book.examples

    @property
    def kept(self) -> Kept:
        """Whether there are any."""
        if self.book.kept == "yes" and self.examples is None:
            return "no"
        return self.book.kept

    def reading(self) -> dict[str, Any]:
        """What a window consists of, as far as it is drawn."""
        manifest = self.book.manifest
        channels = manifest.channels[:CHANNELS]
        return {
            "names": [one.name for one in channels], "units": [one.unit for one in channels],
            "seconds": manifest.window.input_samples / manifest.fs,
        }  # fmt: skip


class Library:
    """Opens versions; from any thread.

    Args:
        config: names the registry or the bundle.
        state: the state folder.
    """

    def __init__(self, config: ServeConfig, state: Path) -> None:
        self._config, self._runs = config, state / RETRAINING / "runs"
        self._books: OrderedDict[str, Book] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, version: str) -> Opened | None:
        """A version by its hash; None if its bundle is not there, or not good.

        Args:
            version: content hash.
        """
        try:
            if self._config.models is None:
                book = self._of_bundle(version)
                return None if book is None else Opened(book, book.catalogue)
            with Registry.open(self._config.models) as registry:
                return Opened(self._book(version, registry), registry.catalogue_of(version))
        except DiscStreamError:
            return None

    def _of_bundle(self, version: str) -> Book | None:
        path = self._config.bundle
        if path is None:
            return None
        with self._lock:
            if version not in self._books:
                self._books[version] = self._read(Bundle.open(path, trusted_keys=self._config.trusted_key))
            book = self._books[version]
        return book if book.manifest.version == version else None

    def _book(self, version: str, registry: Registry) -> Book:
        with self._lock:
            book = self._books.get(version)
            if book is None:
                book = self._read(registry.bundle(version, trusted_keys=self._config.trusted_key))
                self._books[version] = book
                while len(self._books) > MOST:
                    self._books.popitem(last=False)
            self._books.move_to_end(version)
            return book

    def _read(self, bundle: Bundle) -> Book:
        examples, kept = _examples_of(bundle.files, bundle.manifest)
        epochs = decode_curves(bundle.files.get(CURVES_FILE, b""))
        epochs = epochs or self._of_run(bundle.version)
        return Book(bundle.manifest, bundle.path, bundle.catalogue, examples, kept, epochs)

    def _of_run(self, version: str) -> list[dict[str, Any]]:
        """How the training of a version went that this server has made, where its bundle does not say it."""
        path = self._runs / version / HISTORY_FILE
        try:
            return read_history(path.read_bytes()) if path.stat().st_size < _MOST_HISTORY else []
        except OSError:
            return []


def _examples_of(files: Mapping[str, bytes], manifest: Manifest) -> tuple[Examples | None, Kept]:
    data = files.get(EXAMPLES_FILE)
    if data is None:
        return None, "no"
    try:
        return Examples.of_bytes(data, manifest, "the model"), "yes"
    except BundleError:
        return None, "unreadable"


def drawn(window: Any) -> list[list[float]]:
    """A window (T, C) as it is drawn: a few of its samples, and its first channels."""
    step = -(-len(window) // POINTS)
    rows: list[list[float]] = window[::step, :CHANNELS].round(4).tolist()
    return rows
