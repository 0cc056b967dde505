"""What the API is given of the running server; importing this loads no web framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from disc_stream.artifacts.model import Model
from disc_stream_server.metrics.snapshot import Snapshot

Ask = Callable[[str, str], None]
"""Asks for a retraining: who, and why."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the running server that the API speaks for.

    Args:
        ready: None if messages become labels now, else what the server waits for.
        model: that the server began with; None where it only collects.
        ask_retraining: None if this server does not retrain.
        retraining: where the retraining is.
        snapshot: what metrics show, as of the last status; None before the first.
    """

    ready: Callable[[], str | None]
    model: Model | None = None
    ask_retraining: Ask | None = None
    retraining: Callable[[], Mapping[str, int | str]] = dict
    snapshot: Callable[[], Snapshot | None] = lambda: None
