"""What both clients share: addresses, errors, and the reading of server-sent events."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from disc_stream.errors import ConfigError, DiscStreamError, MissingExtraError

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
TIMEOUT_S = 30.0
"""Seconds for an answer; the live feed has a sign of life every few seconds."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Between two attempts to connect again."""


class ApiError(DiscStreamError):
    """The server has answered with an error.

    Args:
        status: of HTTP.
        message: what is wrong, and where.
        remedy: what to do about it.
    """

    def __init__(self, status: int, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether the same may go well later."""
        return self.status in (408, 429) or self.status >= 500


class UnreachableError(DiscStreamError):
    """No server answers at an address."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Labels that ``labels`` could not give.

    Args:
        labels: how many; None if that is not known.
        why: ``slow``: this program did not read in time; ``away``: it was away for too long.
    """

    labels: int | None
    why: str


def load_httpx() -> Any:
    """The library that speaks HTTP; an extra.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import httpx2
    except ImportError:
        raise MissingExtraError("client", "disc_stream.client") from None
    return httpx2


def settings(url: str, token: str | None) -> dict[str, Any]:
    """How to make a client of the library.

    Raises:
        ConfigError: if the address is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{url!r:.200} is no address of a server", remedy="Write it like http://127.0.0.1:8765"
        )
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return {"base_url": url.rstrip("/") + PREFIX, "headers": headers, "timeout": TIMEOUT_S}


def wanted(**given: Any) -> dict[str, Any]:
    """The parameters of a request, without those that are not given."""
    return {name.rstrip("_"): value for name, value in given.items() if value is not None}


def checked(answer: httpx2.Response, content: bytes) -> None:
    """Check that an answer is none of the errors.

    Raises:
        ApiError: if it is.
    """
    if answer.status_code < 400:
        return
    try:
        body = json.loads(content)
        message, remedy = str(body["detail"]), body.get("remedy")
    except (ValueError, KeyError, TypeError):
        message, remedy = f"the server has answered with {answer.status_code}", None
    raise ApiError(answer.status_code, message, remedy=remedy)


class Events:
    """Reads server-sent events line by line (WHATWG HTML, section 9.2.6), and remembers where it was."""

    def __init__(self) -> None:
        self.mark = ""
        """Of the last event that had one; to resume from."""
        self._name, self._data = "", list[str]()
        self._next_mark: str | None = None

    def take(self, line: str) -> tuple[str, Any] | None:
        """Take a line without its end; the event that it completes, if any."""
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._name = value
            elif name == "data":
                self._data.append(value)
            elif name == "id":
                self._next_mark = value
            return None
        found = (self._name, json.loads("\n".join(self._data))) if self._data else None
        self.mark = self._next_mark or self.mark
        self._name, self._next_mark, self._data = "", None, []
        return found


def labels_in(event: tuple[str, Any]) -> Iterable[dict[str, Any]]:
    """The labels of an event."""
    name, data = event
    return data["labels"] if name == "labels" else ()


def missed_in(event: tuple[str, Any]) -> Missed | None:
    """What an event says of labels that were left out."""
    name, data = event
    if name == "dropped":
        return Missed(int(data["labels"]), "slow")
    return Missed(None, "away") if name == "resumed" and not data["complete"] else None


def waits() -> Iterator[float]:
    """Seconds to wait before each further attempt, growing."""
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s
        wait_s = min(LONGEST_WAIT_S, 2 * wait_s)


def log_missed(missed: Missed) -> None:
    """Say in the log that labels were missed."""
    many = "some" if missed.labels is None else f"{missed.labels}"
    log.warning(
        "%s labels were missed: this program was %s",
        many,
        "too slow" if missed.why == "slow" else "away too long",
    )
