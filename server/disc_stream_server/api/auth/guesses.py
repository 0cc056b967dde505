"""Slows down whoever tries tokens: after a few wrong ones, an address waits longer with each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE = 5  # wrong tokens before an address has to wait
LONGEST_S = 60.0
FORGIVEN_S = 900.0  # after so long without another one
_MOST = 4_096  # addresses remembered


@dataclass(slots=True)
class _Tries:
    wrong: int = 0
    at: float = 0.0


class Guesses:
    """Wrong tokens by address.

    While an address waits, whatever it presents is refused unread, except what was right from there before:
    a stranger behind the same proxy shuts nobody out who is in already.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self._right: OrderedDict[tuple[str, int], None] = OrderedDict()

    def wait_s(self, address: str, presented: str) -> float:
        """Seconds until a token from an address is looked at; 0 for now."""
        if (address, hash(presented)) in self._right:
            return 0.0
        tries = self._tries.get(address)
        if tries is None or tries.wrong < FREE:
            return 0.0
        pause = min(LONGEST_S, 2.0 ** (tries.wrong - FREE))
        return max(0.0, tries.at + pause - self._now())

    def wrong(self, address: str) -> int:
        """A token was wrong; how many were so lately."""
        now = self._now()
        tries = self._tries.setdefault(address, _Tries())
        tries.wrong = 1 if now - tries.at > FORGIVEN_S else tries.wrong + 1
        tries.at = now
        self._tries.move_to_end(address)
        if len(self._tries) > _MOST:
            self._tries.popitem(last=False)
        return tries.wrong

    def right(self, address: str, presented: str) -> None:
        """A token was right."""
        self._right[address, hash(presented)] = None
        self._right.move_to_end((address, hash(presented)))
        if len(self._right) > _MOST:
            self._right.popitem(last=False)
