"""What fills the journal: events of episodes, and devices that come and go."""

from __future__ import annotations

import logging
import threading

from disc_stream.clock import Clock
from disc_stream.errors import PayloadError, TopicError
from disc_stream.wire.event import EventType, type_of
from disc_stream.wire.mqtt import Message
from disc_stream.wire.status import State, decode_device_status
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.storage.history import History
from disc_stream_server.storage.historyrecords import EpisodeEvent
from disc_stream_server.storage.journal import Draft, Journal

log = logging.getLogger(__name__)

_AT_ONCE = 500
_MOST_WAITING = 100_000  # statuses between two looks


class EpisodeFeed:
    """Moves events of episodes into the journal, each once.

    Args:
        history: where they are read.
        journal: where they go.
    """

    def __init__(self, history: History, journal: Journal) -> None:
        self._history, self._journal = history, journal
        taken = journal.taken
        newest = history.newest_event
        if taken is None:  # what was before anybody wanted events is history
            taken = newest
            journal.add([], taken=taken)
        elif taken > newest:
            log.warning("the episodes began anew: events are taken from the first of them on")
            taken = 0
            journal.add([], taken=taken)
        self._taken = taken

    def step(self) -> int:
        """Take what there is; how many events were taken.

        Raises:
            StorageError: if they cannot be read or written.
        """
        n = 0
        while True:
            page = self._history.events_since(self._taken, limit=_AT_ONCE)
            if not page.complete:
                log.warning("events were removed before they could be told: keep_episodes_days is short")
            if page.sequence == self._taken:
                return n
            n += self._journal.add(map(_draft, page.events), taken=page.sequence)
            self._taken = page.sequence
            if not page.more:
                return n


def _draft(event: EpisodeEvent) -> Draft:
    kind = type_of(event.cluster, ended=event.kind != "begin")
    return Draft(kind, event.device, event.at_us, event.begin_us, event.end_us, event.cluster, event.name)


class PresenceFeed:
    """Notes who comes and who goes, by the devices' own statuses and last wills.

    A status that the broker had retained is news only if it differs from what was known: of a device that was
    never heard of before it says how things are, not that anything has happened.

    Args:
        topics: of the devices.
        journal: where events go.
        clock: time.
    """

    def __init__(self, topics: Topics, journal: Journal, clock: Clock) -> None:
        self._topics, self._journal, self._clock = topics, journal, clock
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, bool, bool, int]] = []
        self._known = journal.presence()

    def hear(self, message: Message) -> bool:
        """Take a message from the network thread; whether it says anything."""
        try:
            device, kind = self._topics.parse(message.topic)
            if kind is not Kind.STATUS or not message.payload:
                return False
            online = decode_device_status(message.payload).state is State.ONLINE
        except (PayloadError, TopicError):
            return False  # the receiver counts such
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                return False  # the retained status says it again after the next connection
            self._waiting.append((device, online, message.retained, self._clock.unix_us()))
        return True

    def step(self) -> int:
        """Write down what was heard; how many events came of it.

        Raises:
            StorageError: if they cannot be written.
        """
        with self._lock:
            heard, self._waiting = self._waiting, []
        known, drafts = dict(self._known), []
        for device, online, retained, at_us in heard:
            before = known.get(device)
            known[device] = online
            if before is online or (before is None and retained):
                continue
            drafts.append(Draft(EventType.ONLINE if online else EventType.OFFLINE, device, at_us))
        changed = {
            device: known[device] for device, *_ in heard if self._known.get(device) is not known[device]
        }
        if drafts or changed:
            try:
                self._journal.add(drafts, presence=changed)
            except BaseException:
                with self._lock:
                    self._waiting = heard + self._waiting
                raise
        self._known = known
        return len(drafts)

    def forget(self, device: str) -> None:
        """Drop a device that was erased."""
        with self._lock:
            self._waiting = [one for one in self._waiting if one[0] != device]
        self._known = {name: online for name, online in self._known.items() if name != device}
