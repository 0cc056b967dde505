"""Why a device has no labels, or worse ones than it could have: in words, since when, how often."""

from __future__ import annotations

from collections import OrderedDict

from disc_stream.types import Problem

ADVISORY = frozenset(
    {"rate-differs", "seq-unusable", "two-senders", "boot-changes", "clock", "rate-limited", "over-quota"}
)
"""Problems of devices that have labels all the same; a label does not end them."""

LOST = "over-quota"
"""Messages of the device are refused, whatever is in them."""

MAX_DEVICES = 20_000
MAX_PER_DEVICE = 8
MAX_WORDS = 1_000


class ProblemBook:
    """The problems of all devices.

    ``drain`` gives what has changed, to be published. A count alone is no change until it has doubled, so
    that a device with a problem costs a few messages and not one a batch.
    """

    def __init__(self) -> None:
        self._problems: OrderedDict[str, dict[str, Problem]] = OrderedDict()
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._problems)

    def report(self, device: str, code: str, words: str, now_us: int, remedy: str = "") -> None:
        """A problem has come up, or goes on.

        Args:
            device: device id.
            code: stable name.
            words: what is missing or wrong, for a person.
            now_us: server time, Unix microseconds.
            remedy: what to do.
        """
        words, remedy = words[:MAX_WORDS], remedy[:MAX_WORDS]  # a refusal may quote what was sent
        mine = self._problems.get(device)
        if mine is None:
            mine = self._problems[device] = {}
            if len(self._problems) > MAX_DEVICES:
                gone, _ = self._problems.popitem(last=False)
                self._changed.add(gone)
        old = mine.get(code)
        if old is None:
            if len(mine) >= MAX_PER_DEVICE:
                del mine[next(iter(mine))]
            mine[code] = Problem(code, words, now_us, 1, remedy)
            self._changed.add(device)
            return
        mine[code] = Problem(code, words, old.since_us, old.count + 1, remedy)
        if words != old.words or (old.count + 1).bit_length() != old.count.bit_length():
            self._changed.add(device)

    def resolve(self, device: str, code: str) -> None:
        """A problem is over."""
        mine = self._problems.get(device)
        if mine is not None and mine.pop(code, None) is not None:
            self._changed.add(device)
            if not mine:
                del self._problems[device]

    def labelled(self, device: str) -> None:
        """The device has a label: what kept it from having one is over."""
        mine = self._problems.get(device)
        if mine is None:
            return
        for code in [code for code in mine if code not in ADVISORY]:
            self.resolve(device, code)

    def having(self, code: str) -> set[str]:
        """Devices that have a problem."""
        return {device for device, mine in self._problems.items() if code in mine}

    def of(self, device: str) -> Problem | None:
        """The problem to show: lost messages before what keeps it from having labels, and advice last."""
        mine = self._problems.get(device)
        if not mine:
            return None
        if LOST in mine:
            return mine[LOST]
        blocking = [one for one in mine.values() if one.code not in ADVISORY]
        return blocking[-1] if blocking else next(reversed(mine.values()))

    def counts(self) -> dict[str, int]:
        """Number of devices by the code of the problem that is shown."""
        found: dict[str, int] = {}
        for device in self._problems:
            shown = self.of(device)
            if shown is not None:
                found[shown.code] = found.get(shown.code, 0) + 1
        return found

    def drain(self) -> list[tuple[str, Problem | None]]:
        """Devices whose problem has changed since the last call, with the one to show now; None for none."""
        changed, self._changed = self._changed, set()
        return [(device, self.of(device)) for device in sorted(changed)]

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._problems.pop(device, None)
        self._changed.discard(device)

    def restore(self, device: str, problem: Problem) -> None:
        """Take up a problem that was published before a restart."""
        self._problems.setdefault(device, {})[problem.code] = problem
