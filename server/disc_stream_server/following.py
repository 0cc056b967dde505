"""The model that a server runs: a bundle, or what a registry has in production, followed as it changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.clock import Clock
from disc_stream.clustering.adaptation import AdaptationRule
from disc_stream.config import ServeConfig
from disc_stream.errors import ConfigError, DiscStreamError, EncoderUnavailableError
from disc_stream.registry import Registry
from disc_stream.stream.adapting import adapter_of, with_known_centroids
from disc_stream.stream.pipeline import encoder_stage
from disc_stream_server.memory import give_back_memory

log = logging.getLogger(__name__)

_RETRY_S = 60.0
_NEVER = -1


def open_model(bundle: Bundle, config: ServeConfig) -> Model:
    """A model that is known to run, and has run batches of several sizes.

    Raises:
        BundleError: if its graph cannot be loaded.
        EncoderUnavailableError: if it does not run.
        ConfigError: if the provider is not available.
        MissingExtraError: if onnxruntime is not installed.
    """
    encoder = OnnxEncoder(bundle, provider=config.provider, threads=config.threads)
    model = Model.of(bundle, encoder)
    try:
        encoder_stage(model, config.max_batch).probe()
    except EncoderUnavailableError as error:
        error.remedy = "If an earlier version exported the bundle, export its run again"
        raise
    encoder.warm_up(config.max_batch)
    return model if config.adapt is False else with_known_centroids(model)


def first_model(config: ServeConfig, labelled_by: Callable[[], str]) -> Model | None:
    """The model that a server begins with; None where data is only collected.

    With a registry it is the one that labelled last, so that whatever was published before a crash is
    published again by the same model; ``Follower`` then offers the one in production.

    Args:
        config: of the server.
        labelled_by: tells the version that labels the rows after the last checkpoint, "" for none.

    Raises:
        DiscStreamError: if it cannot be opened, or does not run, or its centroids are to follow devices and
            are not known.
    """
    model = _first_model(config, labelled_by)
    if config.adapt and model is not None:
        adapter_of(model, AdaptationRule())
    return model


def _first_model(config: ServeConfig, labelled_by: Callable[[], str]) -> Model | None:
    if config.bundle is not None:
        return open_model(Bundle.open(config.bundle, trusted_keys=config.trusted_key), config)
    if config.models is None:
        return None
    with Registry.open(config.models) as registry:
        if last := labelled_by():
            try:
                return _open_version(registry, last, config)
            except DiscStreamError as error:
                log.warning("the model that labelled last (%s) cannot go on: %s", last, error.message)
        current = registry.current()
        return None if current is None else _open_version(registry, current.version, config)


def _open_version(registry: Registry, version: str, config: ServeConfig) -> Model:
    catalogue = registry.catalogue_of(version)
    model = open_model(registry.bundle(version, trusted_keys=config.trusted_key), config)
    return model.with_catalogue(catalogue)


class Follower:
    """Watches a registry and offers the model in production, ready to run, whenever it or a name changes.

    A model that cannot be used is logged and not offered: the one before goes on. It is tried again when the
    registry changes, or after a minute.

    Args:
        config: names the registry.
        first: the model that the server began with.
        offer: is given each further one, on the follower's thread.
        clock: time.
    """

    def __init__(
        self, config: ServeConfig, first: Model | None, offer: Callable[[Model], None], clock: Clock
    ) -> None:
        if config.models is None:
            raise ConfigError("there is no registry to follow")
        self._config, self._path, self._offer, self._clock = config, config.models, offer, clock
        self._model, self._revision = first, _NEVER
        self._retry_at = 0.0
        self._has_exchanged = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)
        self.fault = ""
        """Why the model in production cannot be used, "" if it can."""

    def start(self) -> None:
        """Watch in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            try:
                with Registry.open(self._path) as registry:
                    self.look(registry)
            except DiscStreamError as error:
                self._fail(str(error))
            except Exception as error:  # whatever it is, the model that labels goes on
                log.exception("following the registry failed")
                self._fail(str(error))
            if self._ended.wait(self._config.follow_s):
                return

    def _fail(self, fault: str) -> None:
        if fault != self.fault:
            log.error("the model in production cannot be used, the one before goes on: %s", fault)
        self.fault = fault

    def look(self, registry: Registry) -> None:
        """Offer what is in production, if that or what is known of its clusters has changed.

        Raises:
            DiscStreamError: if the model in production cannot be used.
        """
        revision = registry.revision
        if revision == self._revision and (not self.fault or self._clock.monotonic() < self._retry_at):
            if self._has_exchanged:
                self._has_exchanged = False
                give_back_memory()  # of the model before
            return
        self._revision, self._retry_at = revision, self._clock.monotonic() + _RETRY_S
        model = self._current(registry)
        if self.fault:
            log.warning("the model in production can be used again")
            self.fault = ""
        if model is not None and model is not self._model:
            self._has_exchanged = self._model is not None and self._model.encoder is not model.encoder
            self._model = model
            self._offer(model)

    def _current(self, registry: Registry) -> Model | None:
        """The model in production; the one offered last if nothing has changed."""
        current, before = registry.current(), self._model
        if current is None:
            return None
        if before is None or before.version != current.version:
            return _open_version(registry, current.version, self._config)
        catalogue = registry.catalogue_of(current.version)
        return before if catalogue == before.catalogue else before.with_catalogue(catalogue)
