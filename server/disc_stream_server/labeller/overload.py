"""Load shedding: when live labels are worth more than old ones.

When the spool's backlog is long, windows older than a limit are deferred, and those that come now are
labelled first. The rows of a deferred stretch become a lane of their own, which is labelled from the state at
its beginning when there is time again: nothing is lost, and a model with other windows can do it as well.

The decision rests on the machine's clock, so it takes effect only once a checkpoint has written it down: a
replay of the same rows finds it there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OverloadRules:
    """When windows are deferred.

    Args:
        stale_us: age from which on they are, with a backlog; in microseconds.
        backlog: rows of backlog that are no reason to.
    """

    stale_us: int
    backlog: int


class Overload:
    """Decides whether windows are to be deferred, with some hysteresis.

    Args:
        rules: when.
    """

    def __init__(self, rules: OverloadRules) -> None:
        self._rules = rules

    def wants_deferral(self, age_us: int, backlog: int, *, deferring: bool) -> bool:
        """Whether the windows of the next rows are to be deferred.

        Args:
            age_us: of the next row.
            backlog: rows behind it.
            deferring: whether they are at the moment.
        """
        if backlog <= self._rules.backlog:
            return False
        return age_us > (self._rules.stale_us // 2 if deferring else self._rules.stale_us)
