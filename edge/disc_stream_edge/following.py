"""Follows the model that a server announces: download, check, take over, prove itself, or roll back."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable

from disc_stream.artifacts.model import Model
from disc_stream.errors import BundleError, DiscStreamError, EncoderUnavailableError
from disc_stream.types import SampleBatch
from disc_stream_edge.fetching import FetchError, ModelSource, is_version
from disc_stream_edge.labelling import EdgeLabeller, Found
from disc_stream_edge.modelstore import ModelStore

log = logging.getLogger(__name__)

TRIAL_WINDOWS = 20
"""Windows that a model must have labelled before it is believed."""

_FIRST_RETRY_S, _LONGEST_RETRY_S = 5.0, 900.0
_MOST_BYTES = 262_144  # of an announcement


def announced_version(payload: bytes) -> str:
    """The version in a message on ``$server/model``; "" if it names none that could be downloaded."""
    try:
        found = json.loads(payload[:_MOST_BYTES])
    except (ValueError, RecursionError):
        return ""
    version = found.get("version") if isinstance(found, dict) else None
    return version if isinstance(version, str) and is_version(version) else ""


class ModelFollower:
    """Gets the announced model ready and offers it, on a thread of its own.

    Args:
        store: keeps the models.
        source: where they come from.
        offer: is given each model that is to label.
    """

    def __init__(self, store: ModelStore, source: ModelSource, offer: Callable[[Model], None]) -> None:
        self._store, self._source, self._offer = store, source, offer
        self._wanted = ""
        self._changed, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self.fault = ""
        """Why the announced model does not label, "" if it does."""

    def start(self) -> None:
        """Follow in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no longer; a download that goes on is left to itself and begun again at the next start."""
        self._stopping.set()
        self._changed.set()

    def hear(self, payload: bytes) -> None:
        """Take an announcement; from any thread."""
        version = announced_version(payload)
        if version:
            self._wanted = version
            self._changed.set()

    def look(self) -> bool:
        """Get the announced model, if it is another one than labels; whether that is done with.

        What its clusters are called, and the ids that labels carry, come with it, and again when the server
        announces it with other names.

        Raises:
            StorageError: if the disk does not take it.
        """
        wanted = self._wanted
        if not wanted or self._store.is_refused(wanted):
            return True
        try:
            model = self._get(wanted)
        except FetchError as error:
            self._fail(error)
            return False
        except BundleError as error:
            self._fail(error)
            return True
        self.fault = ""
        if model is not None:
            self._offer(model)
        return True

    def _get(self, wanted: str) -> Model | None:
        """The announced model, ready to label; None if it labels already and is called as before."""
        names = self._source.catalogue(wanted, self._store.names(wanted))
        is_renamed = names is not None and self._store.put_names(wanted, names)
        if wanted == self._store.version:
            return self._store.present() if is_renamed else None
        if not self._store.has(wanted):
            self._source.bundle(wanted, self._store.part(wanted))
        return self._store.take(wanted)

    def _fail(self, error: DiscStreamError) -> None:
        if error.message != self.fault:
            log.error("%s; the model before goes on", error.message)
        self.fault = error.message

    def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        done = True
        while True:
            self._changed.wait(None if done else retry_s * random.uniform(0.5, 1.0))  # noqa: S311
            if self._stopping.is_set():
                return
            self._changed.clear()
            try:
                done = self.look()
            except DiscStreamError as error:
                self._fail(error)
                done = False
            except Exception as error:  # whatever it is, the model that labels goes on
                log.exception("following the model failed")
                self.fault, done = str(error), False
            retry_s = _FIRST_RETRY_S if done else min(2 * retry_s, _LONGEST_RETRY_S)


class TrialLabeller(EdgeLabeller):
    """Labels with the model of a store: believes one after a trial, and goes back to the one before."""

    store: ModelStore
    _left: int = 0

    def begin_trial(self, store: ModelStore, *, on_trial: bool) -> None:
        """Watch over the models of a store from now on."""
        self.store = store
        self._left = TRIAL_WINDOWS if on_trial else 0

    def offer(self, model: Model) -> None:
        """Let another model label, on trial."""
        super().offer(model)
        self._left = TRIAL_WINDOWS

    def take(self, batch: SampleBatch) -> list[Found]:
        """The windows that a batch completes.

        Raises:
            EncoderUnavailableError: if the encoder does not work, and there is no model before.
        """
        try:
            found = super().take(batch)
        except EncoderUnavailableError as error:
            if self.model.version != self.store.version:
                raise
            self.store.roll_back(error.message)
            super().offer(self.store.present())
            self._left = 0
            return super().take(batch)
        if self._left and found and self.model.version == self.store.version:
            self._left = max(0, self._left - len(found))
            if not self._left:
                self.store.confirm()
                log.info("model %s has proved itself", self.model.version)
        return found
