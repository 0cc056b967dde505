"""Bundles: one model, ready to be served, as a folder or a zip.

::

    BUNDLE/
      manifest.json    Manifest: what the model expects and gives, where it comes from, sha256 of the graph
      model.onnx       raw physical samples -> embedding, q, distance
      catalogue.json   Catalogue: what the clusters are called; can be replaced without touching the model
      selftest.f32     synthetic windows and what the graph must say of them, see ``selftest`` (optional)
      examples.bin     training windows for people to look at, see ``examples`` (optional; may be taken out)
      training.json    how training went, see ``curves`` (optional)
      manifest.sig     Ed25519 signature of manifest.json (optional)
      catalogue.sig    Ed25519 signature of catalogue.json (optional)
      lineage.json     where it comes from, if it is a version of a registry (optional)

Opening reads each file once and hashes the very bytes that are then used, so nothing can be exchanged
between the check and the use.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disc_stream.artifacts.catalogue import (
    CATALOGUE_FILE,
    CATALOGUE_SIGNATURE_FILE,
    Catalogue,
    ClusterInfo,
    parse_catalogue,
)
from disc_stream.artifacts.container import (
    is_plain_name,
    is_taken,
    list_names,
    read_files,
    replace_in,
    write_files,
)
from disc_stream.artifacts.examples import EXAMPLES_FILE
from disc_stream.artifacts.graph import GraphRefusedError, read_graph
from disc_stream.artifacts.graphcost import cost_of
from disc_stream.artifacts.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    SCHEMA_VERSION,
    SIGNATURE_FILE,
    Manifest,
    parse_manifest,
    schema_of,
)
from disc_stream.artifacts.run import RUN_FILE
from disc_stream.artifacts.signing import verify
from disc_stream.errors import BundleError, DiscStreamError, UsageError
from disc_stream.text import printable

INPUT = "x"
METADATA_KEY = "disc_stream"
"""Key of the graph's metadata under which its facts stand as JSON."""

_FACTS = {
    "schema_name",
    "schema_version",
    "fs",
    "window",
    "channels",
    "scaler",
    "embedding_dim",
    "n_clusters",
    "training",
}
LINEAGE_FILE = "lineage.json"
"""Beside the bundle's own files where it is a version of a registry: for people, and nothing reads it."""

_UNLISTED = {MANIFEST_FILE, SIGNATURE_FILE, CATALOGUE_FILE, CATALOGUE_SIGNATURE_FILE, LINEAGE_FILE}
_EXPORT_AGAIN = "Export or copy it again"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every byte has been checked.

    Args:
        path: where it was read from.
        manifest: the parsed ``manifest.json``.
        model_bytes: the ONNX graph.
        catalogue: the parsed ``catalogue.json``.
        files: every file, as it was read; empty for what was not read from a place.
    """

    path: Path
    manifest: Manifest
    model_bytes: bytes
    catalogue: Catalogue
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def version(self) -> str:
        """Content hash of the graph."""
        return self.manifest.version

    @classmethod
    def open(cls, path: Path | str, *, trusted_keys: Sequence[Path] | None = None) -> Bundle:
        """Read and check a bundle.

        Args:
            path: folder or zip.
            trusted_keys: PEM files of Ed25519 public keys, one of which must have signed the manifest and
                one the catalogue; None asks for no signature, and the log says so.

        Raises:
            InputNotFoundError: if there is nothing at ``path``.
            BundleError: if it is no bundle, incomplete, changed, from a newer version, not signed by a
                trusted key, or its graph holds what no export writes (see ``graph``).
        """
        path = Path(path)
        what = f"bundle {str(path)!r}"
        files = _read_bundle(path)
        manifest_bytes = files[MANIFEST_FILE]
        manifest = parse_manifest(manifest_bytes, what)
        if trusted_keys is None:
            _log.info("no signature of %s was checked: no trusted key is given", printable(what))
        else:
            verify(manifest_bytes, files.get(SIGNATURE_FILE), trusted_keys, what)
            if (catalogue_bytes := files.get(CATALOGUE_FILE)) is not None:
                signature = files.get(CATALOGUE_SIGNATURE_FILE)
                verify(catalogue_bytes, signature, trusted_keys, f"{CATALOGUE_FILE} of {what}")
        _check_files(files, manifest, what)
        _check_facts(manifest, what)
        check_graph(files[MODEL_FILE], manifest, what)
        catalogue = _catalogue_of(files, manifest, what)
        if manifest.gives_log_of_zero:
            _log.warning(
                "model %s was exported by an older disc-stream and has no labels for windows in which a "
                "channel does not vary, such as those of a device at rest; export its run again",
                manifest.version,
            )
        return cls(path, manifest, files[MODEL_FILE], catalogue, files)


def write_bundle(
    out: Path,
    manifest: Manifest,
    clusters: Sequence[ClusterInfo],
    files: Mapping[str, bytes],
    *,
    overwrite: bool = False,
    sign: Callable[[bytes], bytes] | None = None,
) -> Manifest:
    """Write a bundle whole or not at all.

    Args:
        out: folder to make, or a zip if it ends with ``.zip``.
        manifest: with ``files`` and ``version`` empty; they are filled in here.
        clusters: by row.
        files: name -> bytes of every file but manifest and catalogue; ``model.onnx`` must be one.
        overwrite: replace an older bundle at ``out``; anything else is never replaced.
        sign: gives the signature of bytes, if manifest and catalogue are to be signed.

    Returns:
        The manifest as written.

    Raises:
        UsageError: if ``out`` is taken or cannot be written to.
        BundleError: if the manifest's facts contradict each other, or the graph could not be opened.
    """
    if MODEL_FILE not in files or not all(map(is_plain_name, files)):
        raise ValueError(f"a bundle needs {MODEL_FILE} and plain file names, got {sorted(files)}")
    complete = manifest.model_copy(
        update={
            "schema_version": schema_of(manifest),
            "version": content_version(files[MODEL_FILE]),
            "files": {name: _sha256(files[name]) for name in sorted(files)},
        }
    )
    _check_facts(complete, "the new bundle")
    catalogue = Catalogue.of(complete.version, clusters)
    check_fits(catalogue, complete, "the new bundle")
    check_target(out, overwrite=overwrite)
    check_graph(files[MODEL_FILE], complete, "the new bundle")
    manifest_bytes = (complete.model_dump_json(indent=2) + "\n").encode()
    everything = {**files, MANIFEST_FILE: manifest_bytes, CATALOGUE_FILE: catalogue.to_bytes()}
    if sign is not None:
        everything[SIGNATURE_FILE] = sign(manifest_bytes)
        everything[CATALOGUE_SIGNATURE_FILE] = sign(everything[CATALOGUE_FILE])
    write_files(out, everything)
    return complete


def write_catalogue(
    path: Path, catalogue: Catalogue, *, sign: Callable[[bytes], bytes] | None = None
) -> None:
    """Replace the catalogue of a bundle; the model, its version and its signature stay as they are.

    Without ``sign``, an older signature of the catalogue is removed: it would not be one of the new names.
    Who asks for signatures (``trusted_keys``) then refuses the bundle.

    Args:
        path: of an intact bundle.
        catalogue: of the same model.
        sign: gives the signature of bytes, if the catalogue is to be signed.

    Raises:
        BundleError: if the bundle is not intact or of an older form, or the catalogue is another model's.
        UsageError: if it cannot be written to.
    """
    bundle = Bundle.open(path)
    check_fits(catalogue, bundle.manifest, f"bundle {str(path)!r}")
    if bundle.manifest.schema_version < SCHEMA_VERSION:
        raise BundleError(
            f"bundle {str(path)!r} is of an older form, in which names are a part of the model",
            remedy="Export its run again",
        )
    data = catalogue.to_bytes()
    signature = {CATALOGUE_SIGNATURE_FILE: sign(data)} if sign is not None else {}
    # The old signature goes first: a catalogue without one is good at any moment between.
    replace_in(path, remove={CATALOGUE_SIGNATURE_FILE}, write={CATALOGUE_FILE: data, **signature})


def check_target(out: Path, *, overwrite: bool) -> None:
    """Check that a bundle may be written to ``out``; a mistyped name must never cost someone's files.

    Raises:
        UsageError: if something is there, unless it is an intact bundle and ``overwrite`` is set.
    """
    try:
        taken = is_taken(out)
    except OSError as error:
        raise UsageError(f"{str(out)!r} cannot be read: {error.strerror or error}") from error
    if not taken:
        return
    if not overwrite:
        raise UsageError(f"{str(out)!r} exists already", remedy="Name another, or replace it with --force")
    try:
        files = _read_bundle(out)
        manifest = parse_manifest(files[MANIFEST_FILE], str(out))
        intact = set(files) - _UNLISTED | {EXAMPLES_FILE} == set(manifest.files) | {EXAMPLES_FILE}
    except DiscStreamError:
        intact = False
    if not intact:
        raise UsageError(
            f"{str(out)!r} exists and is not an intact bundle, so --force does not replace it",
            remedy="Name another place, or remove it yourself",
        )


def content_version(model: bytes) -> str:
    """Version of a model: the first 12 hex digits of the sha256 of its graph.

    Exporting the same weights again gives the same version, whatever the clusters are called; the time of
    export is not in it.
    """
    return _sha256(model)[:12]


def _older_version(model: bytes, clusters: Sequence[ClusterInfo]) -> str:
    """Version of a model in schema 1: over the graph and the clusters."""
    facts = [cluster.model_dump(mode="json") for cluster in clusters]
    text = json.dumps([_sha256(model), facts], sort_keys=True, separators=(",", ":"))
    return _sha256(text.encode())[:12]


def check_fits(catalogue: Catalogue, manifest: Manifest, what: str) -> None:
    """Check that a catalogue is the manifest's own.

    Raises:
        BundleError: saying how they differ.
    """
    if catalogue.model != manifest.version:
        raise BundleError(
            f"the catalogue of {what} is that of model {catalogue.model}, not of {manifest.version}",
            remedy="Export it again",
        )
    if len(catalogue) != manifest.n_clusters:
        raise BundleError(
            f"the catalogue of {what} has {len(catalogue)} clusters, the graph {manifest.n_clusters}",
            remedy="Export it again",
        )


def check_graph(model: bytes, manifest: Manifest, what: str) -> None:
    """Check that a graph is one that may be given to onnxruntime.

    Args:
        model: its bytes.
        manifest: says what its input is.
        what: the bundle, for messages.

    Raises:
        BundleError: if it reads other files, uses an operator or a form that no export writes, or asks for
            more memory or work than any model of ours.
    """
    try:
        cost_of(read_graph(model), INPUT, (manifest.window.input_samples, len(manifest.channels)))
    except GraphRefusedError as error:
        raise BundleError(
            f"the graph of {what} is refused: {error}",
            remedy="Use a bundle that `disc-stream export` wrote",
        ) from error


def graph_facts(manifest: Manifest) -> dict[str, Any]:
    """What the graph says of itself in its metadata: the manifest without what depends on the export."""
    facts: dict[str, Any] = json.loads(manifest.model_dump_json(include=_FACTS))
    return facts


def _read_bundle(path: Path) -> dict[str, bytes]:
    """The files of a bundle; what has no manifest is refused by its names, before much is read."""
    names = list_names(path) if path.is_dir() else {MANIFEST_FILE}
    if MANIFEST_FILE in names:
        files = read_files(path)
        names = set(files)
        if MANIFEST_FILE in names:
            return files
    raise BundleError(
        f"{str(path)!r} is not a bundle: {_describe(names)}",
        remedy=f"Run: disc-stream export {path} --out BUNDLE"
        if RUN_FILE in names
        else "Name a folder or zip that `disc-stream export` wrote",
    )


def _check_files(files: Mapping[str, bytes], manifest: Manifest, what: str) -> None:
    listed = set(manifest.files)
    present = set(files) - _UNLISTED
    if MODEL_FILE not in listed | present:
        raise BundleError(
            f"{what} has no graph: {MODEL_FILE} is neither there nor listed", remedy=_EXPORT_AGAIN
        )
    if missing := sorted(listed - present - {EXAMPLES_FILE}):  # which may be taken out: see ``examples``
        raise BundleError(
            f"{what} lacks {', '.join(missing)}, which its manifest lists", remedy=_EXPORT_AGAIN
        )
    if extra := sorted(present - listed):
        raise BundleError(
            f"{what} holds {', '.join(extra)}, which its manifest does not list",
            remedy="Remove what was added",
        )
    for name, digest in sorted(manifest.files.items()):
        if name == EXAMPLES_FILE and name not in files:
            continue
        if _sha256(files[name]) != digest:
            raise BundleError(
                f"{name} of {what} was changed or damaged: its sha256 is not the manifest's",
                remedy=_EXPORT_AGAIN,
            )
    if manifest.schema_version < SCHEMA_VERSION:
        if _older_version(files[MODEL_FILE], manifest.clusters) != manifest.version:
            raise BundleError(
                f"the clusters in {MANIFEST_FILE} of {what} were changed: they no longer give its version",
                remedy="To name clusters, export again with --names",
            )
    elif content_version(files[MODEL_FILE]) != manifest.version:
        raise BundleError(
            f"the version in {MANIFEST_FILE} of {what} was changed: it is not that of its graph",
            remedy=_EXPORT_AGAIN,
        )


def _catalogue_of(files: Mapping[str, bytes], manifest: Manifest, what: str) -> Catalogue:
    """The catalogue of a bundle; in schema 1 the clusters of its manifest, whose ids are their rows."""
    if manifest.schema_version < SCHEMA_VERSION:
        if CATALOGUE_FILE in files:
            raise BundleError(
                f"{what} is of an older form and cannot have a {CATALOGUE_FILE}", remedy=_EXPORT_AGAIN
            )
        return Catalogue(model=manifest.version, clusters=tuple(manifest.clusters))
    if CATALOGUE_FILE not in files:
        raise BundleError(f"{what} lacks {CATALOGUE_FILE}", remedy=_EXPORT_AGAIN)
    catalogue = parse_catalogue(files[CATALOGUE_FILE], what)
    check_fits(catalogue, manifest, what)
    return catalogue


def _check_facts(manifest: Manifest, what: str) -> None:
    """Check what the fields cannot check one by one."""
    problem = None
    names = [channel.name for channel in manifest.channels]
    try:
        manifest.window.spec()
    except ValueError as error:
        problem = str(error)
    ids = [cluster.id for cluster in manifest.clusters]
    if manifest.schema_version < SCHEMA_VERSION and ids != list(range(len(ids))):
        problem = "cluster ids must be 0, 1, 2, … in the order of the graph's outputs"
    if len(set(names)) != len(names):
        problem = "two channels have one name"
    if not len(manifest.scaler.offset) == len(manifest.scaler.scale) == len(names):
        problem = f"the scaler is not for {len(names)} channels"
    if not all(map(math.isfinite, [*manifest.scaler.offset, *manifest.scaler.scale])):
        problem = "the scaler holds a value that is not finite"
    if problem:
        raise BundleError(f"{MANIFEST_FILE} of {what}: {problem}", remedy=_EXPORT_AGAIN)


def _describe(names: set[str]) -> str:
    if not names:
        return "it is empty"
    if RUN_FILE in names:
        return "it is the folder of a training run"
    if MODEL_FILE in names:
        return f"it has a graph but no {MANIFEST_FILE}"
    shown = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
    return f"it has no {MANIFEST_FILE} (it holds {shown})"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
