"""The models on a device: the one that labels, the one before, and which is believed.

::

    FOLDER/
      VERSION.zip      bundles, each written whole under another name first and never changed
      VERSION.json     what their clusters are called, as the server says today
      current.json     which one labels, which one before it, and whether it has proved itself

Every change is one rename, so that a power cut leaves the old state or the new one. A model that was just
taken is on trial: it must have labelled for a while before it is believed. One that fails, or whose trial is
begun again and again because the process dies with it, gives way to the one before.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import parse_catalogue
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.runtime import OnnxEncoder, Provider
from disc_stream.artifacts.verification import verify_bundle
from disc_stream.errors import BundleError, DiscStreamError, StorageError

log = logging.getLogger(__name__)

MOST_STARTS = 3
"""Starts of the process during a model's trial, after which it is taken to be the reason."""

_STATE = "current.json"
_PART = ".part"
_MOST_REFUSED = 16
_TOLERATED = {"finite"}  # windows at the edge of the possible, which no server labels by this model either
_MOST_STATE_BYTES = 65_536


class _State(msgspec.Struct, frozen=True):
    """``current.json``: versions, "" for the model that the command line names."""

    version: str = ""
    before: str = ""
    on_trial: bool = False
    starts: int = 0
    refused: tuple[str, ...] = ()
    tried: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is ready to label.

    Args:
        model: the model.
        on_trial: whether it has still to prove itself.
    """

    model: Model
    on_trial: bool


@dataclass(slots=True)
class ModelStore:
    """The models in a folder.

    Args:
        folder: made if it is not there.
        first: the bundle that labels while the folder has none, and where everything else fails.
        trusted_keys: PEM files of Ed25519 public keys, one of which must have signed a bundle; None asks for
            no signature.
        provider: runs the models; one that it cannot run is not taken.

    Raises:
        StorageError: if the folder cannot be used.
    """

    folder: Path
    first: Path
    trusted_keys: Sequence[Path] | None = None
    provider: Provider = "cpu"
    _state: _State = field(default_factory=_State)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        """Make the folder, read the state, remove what an interrupted download has left."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for part in self.folder.glob(f"*{_PART}"):
                part.unlink()
            self._state = self._read()
        except OSError as error:
            raise StorageError(
                f"the model folder {str(self.folder)!r} cannot be used: {error.strerror}",
                remedy="Name one that can be written with --follow",
            ) from error

    @property
    def version(self) -> str:
        """Version that labels; "" for the first."""
        return self._state.version

    def is_refused(self, version: str) -> bool:
        """Whether a version was tried and failed."""
        return version in self._state.refused

    def part(self, version: str) -> Path:
        """Where a version is to be downloaded to."""
        return self.folder / f"{version}{_PART}"

    def has(self, version: str) -> bool:
        """Whether a version is here."""
        return self._path(version).exists()

    # -- names ------------------------------------------------------------------------------------------

    def names(self, version: str) -> bytes | None:
        """The catalogue that a server has of a version, as it came; None if none did."""
        try:
            return self._names(version).read_bytes()
        except OSError:
            return None

    def put_names(self, version: str, data: bytes) -> bool:
        """Keep what a server calls the clusters of a version; whether that is something new.

        Raises:
            BundleError: if it is no catalogue of that version.
            StorageError: if the disk does not take it.
        """
        if data == self.names(version):
            return False
        if (model := parse_catalogue(data, version).model) != version:
            raise BundleError(f"the names of model {version} are those of {model}")
        self._replace(self._names(version), data)
        return True

    # -- opening ----------------------------------------------------------------------------------------

    def open(self) -> Opened:
        """The model that labels, at the start of the process.

        A trial that was begun too often, or a bundle that cannot be opened, ends with the model before.

        Raises:
            DiscStreamError: if none can be opened, the first included.
        """
        if self._state.on_trial:
            self._write(replace_state(self._state, starts=self._state.starts + 1))
            if self._state.starts > MOST_STARTS:
                self.roll_back(f"the process ended {MOST_STARTS} times before it had proved itself")
        while self._state.version:
            try:
                return Opened(self._open(self._path(self._state.version)), self._state.on_trial)
            except DiscStreamError as error:
                self.roll_back(error.message)
        return Opened(self._open(self.first), on_trial=False)

    def take(self, version: str) -> Model:
        """Check a version that was downloaded, and let it label from now on, on trial.

        Args:
            version: as it was announced; the graph's own hash must be the same.

        Raises:
            BundleError: if it is not what was announced, not signed, or computes something else here. It is
                removed and not tried again.
            StorageError: if the disk does not take it.
        """
        part = self.part(version)
        source = part if part.exists() else self._path(version)
        self._note_try(version)
        try:
            model = self._check(source, version)
        except BundleError:
            self.refuse(version)
            raise
        with self._lock:
            self._accept(version, part, source)
        return model

    def _note_try(self, version: str) -> None:
        """Write down that a version is tried, before it is: it may take the process with it.

        Raises:
            BundleError: if it has been tried too often.
        """
        with self._lock:
            state = self._state
            tries = state.tries + 1 if state.tried == version else 1
            self._write(replace_state(state, tried=version, tries=tries))
            if tries > MOST_STARTS:
                self.refuse(version)
                raise BundleError(f"model {version} ended the process {MOST_STARTS} times while it was tried")

    def _accept(self, version: str, part: Path, source: Path) -> None:
        with self._translated():
            if source is part:
                _sync(part)
                part.replace(self._path(version))
                _sync(self.folder)
        state = self._state
        before = state.version if not state.on_trial else state.before
        trial = {"version": version, "before": before, "on_trial": True, "starts": 0}
        self._write(replace_state(state, **trial, tried="", tries=0))
        self._remove_others()

    def confirm(self) -> None:
        """The model has labelled for long enough: it is believed."""
        with self._lock:
            if self._state.on_trial:
                self._write(replace_state(self._state, on_trial=False, starts=0))

    def roll_back(self, why: str) -> None:
        """Let the model before label again; the present one is not tried again."""
        state = self._state
        log.error(
            "model %s is given up (%s); %s labels again", state.version, why, state.before or "the first"
        )
        refused = (*state.refused, state.version)[-_MOST_REFUSED:]
        self._write(_State(state.before, "", on_trial=False, refused=refused))
        self._remove_others()

    def refuse(self, version: str) -> None:
        """A version is not to be tried (again)."""
        with self._lock:
            self.part(version).unlink(missing_ok=True)
            if not self.is_refused(version):
                refused = (*self._state.refused, version)[-_MOST_REFUSED:]
                self._write(replace_state(self._state, refused=refused))

    def present(self) -> Model:
        """The model that labels now, opened again.

        Raises:
            DiscStreamError: if it cannot be opened.
        """
        return self._open(self._path(self._state.version) if self._state.version else self.first)

    # -- files ------------------------------------------------------------------------------------------

    def _path(self, version: str) -> Path:
        return self.folder / f"{version}.zip"

    def _names(self, version: str) -> Path:
        return self.folder / f"{version}.json"

    def _open(self, path: Path) -> Model:
        bundle = Bundle.open(path, trusted_keys=self.trusted_keys)
        model = Model.of(bundle, OnnxEncoder(bundle, self.provider, 1))
        names = self.names(model.version)
        if names is None:
            return model
        try:
            return model.with_catalogue(parse_catalogue(names, model.version))
        except BundleError as error:
            log.warning("%s; its clusters are called as at its export", error.message)
            return model

    def _check(self, path: Path, version: str) -> Model:
        for check in verify_bundle(path, self.trusted_keys, self.provider):
            if check.passed is False and check.name not in _TOLERATED:
                raise BundleError(f"model {version}: {check.name}: {check.detail}")
        model = self._open(path)
        if model.version != version:
            raise BundleError(f"model {version} was announced, and {model.version} was downloaded")
        return model

    def _read(self) -> _State:
        path = self.folder / _STATE
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(_MOST_STATE_BYTES), type=_State)
        except FileNotFoundError:
            return _State()
        except msgspec.MsgspecError as error:
            log.warning("%s is damaged (%s); the first model labels", path, error)
            return _State()

    def _write(self, state: _State) -> None:
        self._replace(self.folder / _STATE, json.dumps(msgspec.to_builtins(state)).encode())
        self._state = state

    def _replace(self, path: Path, data: bytes) -> None:
        new = path.with_suffix(".new")
        with self._translated():
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            _sync(self.folder)

    def _remove_others(self) -> None:
        """Bundles that are neither in use nor the ones before take no room."""
        versions = [one for one in (self._state.version, self._state.before) if one]
        keep = {self.folder / _STATE, *map(self._path, versions), *map(self._names, versions)}
        for path in (*self.folder.glob("*.zip"), *self.folder.glob("*.json")):
            if path not in keep:
                with contextlib.suppress(OSError):
                    path.unlink()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"the model folder {str(self.folder)!r} cannot be written: {error}") from error


def replace_state(state: _State, **changes: object) -> _State:
    """The state with some of it changed."""
    return msgspec.structs.replace(state, **changes)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
