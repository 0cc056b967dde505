"""Observers of the running server, such as the live page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from disc_stream.artifacts.model import Model
from disc_stream.stream.encoding import Assigned
from disc_stream.types import DeviceMeta, Label, Problem, SampleBatch
from disc_stream_server.storage.historyrecords import EpisodeEvent

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Is called on the labelling thread for everything that happens; its methods are O(1) and never block."""

    def on_batch(self, batch: SampleBatch) -> None:
        """A new batch was taken (not called for duplicates and rejected ones)."""
        ...

    def on_label(self, label: Label) -> None:
        """A label was handed to the broker connection."""
        ...

    def on_status(self, status: dict[str, Any]) -> None:
        """The server's status: the published message, and ``connected``: whether the broker is there."""
        ...

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """Why a device has no labels, as soon as it is known or changes; None once it is over."""
        ...


class ForgetfulObserver(Protocol):
    """An observer that keeps what it was told of devices, and drops those that are erased."""

    def on_forget(self, device: str) -> None:
        """A device was erased: nothing of it is kept or shown any more."""
        ...


class MetaObserver(Protocol):
    """An observer that wants to know what devices say of themselves."""

    def on_meta(self, device: str, meta: DeviceMeta) -> None:
        """A device has described itself, or has done so again."""
        ...


class WindowObserver(Protocol):
    """An observer that looks at the windows behind the labels."""

    def on_windows(self, labels: Sequence[Label], windows: Assigned) -> None:
        """Windows were labelled together: n labels. Views of the arrays are not to be kept for long."""
        ...


class ModelObserver(Protocol):
    """An observer that wants to know which model serves, and what its clusters are called."""

    def on_model(self, model: Model) -> None:
        """This model labels from now on, or has other names; told again after each new connection."""
        ...


class EpisodeObserver(Protocol):
    """An observer that is also told which episodes begin, end and are corrected.

    Each event is on disk when it is told, and told once, with the checkpoint of its label: seconds after it.
    What a crash has kept from being told is read from ``History.events_since``.
    """

    def on_episode(self, event: EpisodeEvent) -> None:
        """An episode has begun, ended, or been corrected; names and ids are those of the model in use."""
        ...


class Page(Observer, Protocol):
    """An observer that is viewed with a browser; ``dashboard.Dashboard`` is one."""

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    def start(self) -> None:
        """Take the port and serve in the background."""
        ...

    def stop(self) -> None:
        """Free the port."""
        ...


class Observers:
    """Calls all observers; the failure of one is logged once and does not affect the others or the server.

    Args:
        observers: in the order in which they are called.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        # Bound once: they are called for every message.
        self._on_batch = tuple([one.on_batch for one in observers])
        self._on_label = tuple([one.on_label for one in observers])
        self._on_status = tuple([one.on_status for one in observers])
        self._on_problem = tuple([one.on_problem for one in observers])
        models = [getattr(one, "on_model", None) for one in observers]
        self._on_model = tuple([one for one in models if one is not None])
        forgets = [getattr(one, "on_forget", None) for one in observers]  # many keep nothing
        self._on_forget = tuple([one for one in forgets if one is not None])
        metas = [getattr(one, "on_meta", None) for one in observers]
        self._on_meta = tuple([one for one in metas if one is not None])
        windows = [getattr(one, "on_windows", None) for one in observers]
        self._on_windows = tuple([one for one in windows if one is not None])
        episodes = [getattr(one, "on_episode", None) for one in observers]
        self._on_episode = tuple([one for one in episodes if one is not None])
        self._failed: set[str] = set()

    def on_batch(self, batch: SampleBatch) -> None:
        """A new batch was taken."""
        for method in self._on_batch:
            try:
                method(batch)
            except Exception:  # noqa: BLE001 - it is logged
                self._tell(method)

    def on_label(self, label: Label) -> None:
        """A label was handed to the broker connection."""
        for method in self._on_label:
            try:
                method(label)
            except Exception:  # noqa: BLE001 - it is logged
                self._tell(method)

    def on_status(self, status: dict[str, Any]) -> None:
        """The status was published."""
        for method in self._on_status:
            self._call(method, status)

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """A device has no labels for a reason, or has them again."""
        for method in self._on_problem:
            self._call(method, device, problem)

    def on_model(self, model: Model) -> None:
        """Another model serves, or its clusters have other names."""
        for method in self._on_model:
            self._call(method, model)

    def on_meta(self, device: str, meta: DeviceMeta) -> None:
        """A device has described itself."""
        for method in self._on_meta:
            self._call(method, device, meta)

    def on_windows(self, labels: Sequence[Label], windows: Assigned) -> None:
        """Windows were labelled together."""
        for method in self._on_windows:
            self._call(method, labels, windows)

    def on_forget(self, device: str) -> None:
        """A device was erased."""
        for method in self._on_forget:
            self._call(method, device)

    def on_episode(self, event: EpisodeEvent) -> None:
        """An episode has begun, ended, or been corrected."""
        for method in self._on_episode:
            self._call(method, event)

    def _call(self, method: Callable[..., None], *values: Any) -> None:
        try:
            method(*values)
        except Exception:  # noqa: BLE001 - it is logged
            self._tell(method)

    def _tell(self, method: Callable[..., None]) -> None:
        """An observer has just failed."""
        name = getattr(method, "__qualname__", repr(method))
        if name not in self._failed:
            self._failed.add(name)
            log.exception("observer %s failed; the server goes on", name)
