"""Devices whose centroids somebody wants to be the model's again."""

from __future__ import annotations

from collections.abc import Iterable

from disc_stream_server.labeller.lane import LaneStream
from disc_stream_server.storage.resetting import RESET
from disc_stream_server.storage.state import StateStore


class Resets:
    """Does what ``ask_for_reset`` asks for. The checkpoint with the reset states takes the request away.

    Args:
        store: where the requests are.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._done: dict[str, bytes] = {}  # since the last checkpoint was taken
        self._taken: dict[str, bytes] = {}  # by that one, which may not be on disk yet

    def look(self, lanes: Iterable[LaneStream]) -> bool:
        """Reset the devices that are asked for; whether there were any."""
        asked = dict.fromkeys(self._store.facts_of(RESET), b"")
        self._taken = {name: value for name, value in self._taken.items() if name in asked}
        asked = {name: value for name, value in asked.items() if name not in self._done | self._taken}
        if not asked:
            return False
        for lane in lanes:
            for name in asked:
                lane.reset_adaptation(name.removeprefix(RESET))
        self._done |= asked
        return True

    def take_facts(self) -> dict[str, bytes]:
        """What the checkpoint that is being taken has to remove."""
        done, self._done = self._done, {}
        self._taken |= done
        return done
