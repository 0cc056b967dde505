"""Webhooks: each event posted, signed, tried again, and kept aside if nobody takes it."""

from __future__ import annotations

import http.client
import logging
import random
import threading
from collections.abc import Callable
from fnmatch import fnmatchcase

import msgspec

from disc_stream import __version__
from disc_stream.clock import Clock
from disc_stream.config import WebhookConfig
from disc_stream.errors import ConfigError, StorageError
from disc_stream.mappings.cloudevents import CONTENT_TYPE, to_cloudevent
from disc_stream.sparselog import SparseLog
from disc_stream.wire.event import Event, EventType
from disc_stream_server.events.posting import Answer, Target, post
from disc_stream_server.events.signing import read_secret, sign
from disc_stream_server.storage.journal import Journal

log = logging.getLogger(__name__)

_FIRST_S, _LONGEST_S, _LONGEST_ASKED_S = 1.0, 300.0, 3_600.0
_MAY_PASS = {408, 409, 421, 425, 429}  # refusals that are about the moment, not about the event
_AT_ONCE = 100
_TROUBLE_S = 5.0


class Webhook:
    """Delivers one webhook's events, in their order, on a thread of its own.

    Args:
        config: where to, and how long.
        source: of the CloudEvents.
        clock: time.

    Raises:
        ConfigError: if the address or the types are not usable, or the secret is none.
        InputNotFoundError: if the secret's file is not there.
    """

    def __init__(self, config: WebhookConfig, source: str, clock: Clock) -> None:
        known = {one.value for one in EventType}
        if wrong := [one for one in config.types if one not in known]:
            raise ConfigError(
                f"webhook: there is no type {wrong[0]!r}", remedy=f"Types: {', '.join(sorted(known))}"
            )
        self.target = Target.parse(config.url)
        self.name = f"webhook {config.url}"
        """Of this sink in the journal."""
        self._config, self._source, self._clock = config, source, clock
        self._journal: Journal | None = None
        self._key = read_secret(config.secret)
        self._log = SparseLog(log)
        self._position = self._failures = 0
        self._more, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)

    def open(self, journal: Journal) -> None:
        """Deliver what is in this journal, from where it ended the last time.

        Raises:
            StorageError: if the journal cannot be used.
        """
        self._journal, self._position = journal, journal.position(self.name)

    def start(self) -> None:
        """Deliver in the background."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._more.set()

    def stop(self, timeout_s: float) -> None:
        """Begin nothing more; what is not delivered is next time."""
        self._ended.set()
        self._more.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._ended.is_set():
            self._more.clear()
            try:
                pause_s = self.step()
            except StorageError as error:
                if self._ended.is_set():
                    return  # the file is closed: it answered after the stop, and gets the event once more
                self._log.error(str(self.target), "storage", "webhook to %s: %s", self.target, error)
                pause_s = _TROUBLE_S
            except Exception:  # noqa: BLE001 - it is logged
                text = "webhook to %s failed; it goes on"
                self._log.error(str(self.target), "failed", text, self.target, exc_info=True)
                pause_s = _TROUBLE_S
            if pause_s is None:
                self._more.wait()
            else:
                self._ended.wait(pause_s)

    def step(self) -> float | None:
        """Deliver what there is; seconds until it is to be tried again, None once there is nothing.

        Raises:
            StorageError: if the journal cannot be read or written.
        """
        journal = self._journal
        while journal is not None and (events := journal.read(self._position, _AT_ONCE)):
            for event in events:
                if self._ended.is_set():
                    return 0.0
                pause_s = self._deliver(event, journal) if self._wants(event) else None
                if pause_s is not None:
                    return pause_s
                self._position = event.number
            journal.advance(self.name, self._position)
        return None

    def _wants(self, event: Event) -> bool:
        config = self._config
        if config.types and event.type.value not in config.types:
            return False
        return not config.devices or any(fnmatchcase(event.device, one) for one in config.devices)

    def _deliver(self, event: Event, journal: Journal) -> float | None:
        """Try once; seconds until the next attempt, None if it is delivered or given up."""
        answer, why = self.attempt(event)
        now_us = self._clock.unix_us()
        if answer is not None and 200 <= answer.status < 300:
            self._failures = 0
            return None
        refused = answer is not None and 400 <= answer.status < 500 and answer.status not in _MAY_PASS
        too_old = now_us - event.at > self._config.give_up_h * 3.6e9
        if refused or too_old:
            journal.bury(self.name, event, why, now_us)
            self._warn("an event became a dead letter", why)
            self._failures = 0 if refused else self._failures
            return None
        self._failures += 1
        journal.advance(self.name, event.number - 1)
        self._warn("it is tried again", why)
        asked_s = answer.retry_after_s if answer is not None else None
        return backoff_s(self._failures, asked_s, random.random)

    def _warn(self, what: str, why: str) -> None:
        self._log.warning(str(self.target), what, "webhook to %s: %s; %s", self.target, why, what)

    def post_once(self, event: Event) -> str | None:
        """Post one event outside of the order; None if it was taken, else why not."""
        answer, why = self.attempt(event)
        return None if answer is not None and 200 <= answer.status < 300 else why

    def attempt(self, event: Event) -> tuple[Answer | None, str]:
        """Post one event: what came back, None if nothing did; and what is wrong with that, in words."""
        body = msgspec.json.encode(to_cloudevent(event, self._source))
        seconds = self._clock.unix_us() // 1_000_000
        headers = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": f"disc-stream/{__version__}",
            "webhook-id": event.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": sign(self._key, event.id, seconds, body),
        }
        try:
            answer = post(self.target, headers, body, self._config.timeout_s)
        except (OSError, http.client.HTTPException) as error:
            return None, f"no answer: {type(error).__name__}: {error}"
        return answer, f"answered {answer.status}"


def backoff_s(failures: int, asked_s: float | None, draw: Callable[[], float]) -> float:
    """Seconds until the next attempt: doubled each time, up to 5 minutes, and spread by chance.

    Args:
        failures: attempts that failed one after the other, at least 1.
        asked_s: what the other side asks for, at most an hour of which is granted.
        draw: from 0 to 1.

    Examples:
        >>> [backoff_s(n, None, lambda: 0.5) for n in (1, 2, 3, 20)]
        [1.0, 2.0, 4.0, 300.0]
    """
    wait_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, 16)) * (0.5 + draw())
    return max(wait_s, min(asked_s or 0.0, _LONGEST_ASKED_S))
