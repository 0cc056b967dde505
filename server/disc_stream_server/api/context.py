"""What the routes are given: the stores, opened to read for each request, and the parts of the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from disc_stream.clock import Clock
from disc_stream.config import ServeConfig
from disc_stream.registry import Author, Registry
from disc_stream_server.api.audit import AuditLog
from disc_stream_server.api.auth.authenticator import Authenticator
from disc_stream_server.api.auth.roles import Identity
from disc_stream_server.api.offering import Shelf
from disc_stream_server.api.parts import Parts
from disc_stream_server.api.problems import ApiError
from disc_stream_server.storage.notes import Notes
from disc_stream_server.storage.queries import FILE, StateReader

if TYPE_CHECKING:
    from disc_stream_server.api.live.hub import LiveHub


@dataclass(frozen=True, slots=True)
class Context:
    """What the routes work with.

    Args:
        config: of the server.
        state: the state folder.
        parts: of the server.
        authenticator: tells who asks; has the tokens.
        notes: tags and rejected labels.
        audit: what was changed.
        live: what happens now.
        bundles: models to be downloaded.
        clock: time.
    """

    config: ServeConfig
    state: Path
    parts: Parts
    authenticator: Authenticator
    notes: Notes
    audit: AuditLog
    live: LiveHub
    bundles: Shelf
    clock: Clock

    @contextlib.contextmanager
    def reader(self) -> Iterator[StateReader]:
        """The labeller's database, to read; None of our reads is longer than a page, so its log stays short.

        Raises:
            ApiError: 503 if the server has just begun and there is none yet.
        """
        if not (self.state / FILE).exists():
            raise ApiError(
                503, "nothing is stored yet", "Ask again in a moment", headers={"retry-after": "1"}
            )
        with contextlib.closing(StateReader(self.state)) as reader:
            yield reader

    @contextlib.contextmanager
    def registry(self) -> Iterator[Registry]:
        """The registry of models.

        Raises:
            ApiError: 409 if this server has none.
        """
        if self.config.models is None:
            raise ApiError(
                409, "this server runs a bundle and no registry, so there is nothing to change or to list",
                "Start it with --models (disc-stream models add puts a bundle into a registry)",
            )  # fmt: skip
        with Registry.open(self.config.models) as registry:
            yield registry


def context_of(connection: HTTPConnection) -> Context:
    """That of the application."""
    found: Context = connection.app.state.context
    return found


def who_asks(connection: HTTPConnection) -> Identity:
    """Whoever sends a request, as the gate has found."""
    found: Identity = connection.scope["state"]["who"]
    return found


def author(connection: HTTPConnection, expected: int | None = None) -> Author:
    """The same for the registry's history."""
    return Author(who_asks(connection).name, expected)


def note(connection: HTTPConnection, **facts: Any) -> None:
    """Add to the entry of the audit log what is changed."""
    connection.scope["state"]["audit"].update(facts)
