"""The causal fold from windows, in the order of time, to episodes.

What goes on ends when a rival has enough evidence. A rival's evidence grows with the seconds of its windows,
and shrinks with those of windows of what goes on, so that flickering between two others ends it too::

    windows    A A A A A B A A A A B B B A B B B B B          dwell: 4 windows
    evidence of B        1 .       1 2 3 2 3 4
    episodes   A─────────────────▶ B────────────────▶         B begins where its evidence began to grow

After a gap nothing goes on: the first state with enough evidence has all since the gap. Where the data ends
before, the one with most evidence has it, so that a short stretch is no hole.

Seconds that two windows share count once, for the earlier. All sums are whole numbers, so that folding again
from any point gives the same to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from disc_stream.episodes.rules import EpisodeRules

WEIGHT = 10_000
"""Weight of a window that is certain."""


class Window(NamedTuple):
    """A label, as far as episodes go; in the order of these fields.

    Args:
        start_us: UTC microseconds.
        end_us: after the start.
        state: a number for a cluster; negative for what is none, such as unknown and not worn.
        probability: of the state, 0 to 1.
        ref: of the caller, such as where it is kept; decides between windows that are equal.
    """

    start_us: int
    end_us: int
    state: int
    probability: float
    ref: int = 0


Fields = tuple[int, int, int, float, int]
"""A window as a plain tuple: made in a tenth of the time."""


class Span(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An episode.

    Args:
        begin_us: UTC microseconds.
        end_us: None while it goes on.
        state: that of its windows.
        windows: in it, also those of other states that were too few.
        weight: sum of the probabilities of those of its own state, in units of 1 / ``WEIGHT``.
        fresh: whether it begins behind a gap.
        sure_us: start of the window that made it sure; None if it ended before.
        sure_end_us: the time that was covered by then.
        sure_windows: ``windows`` then.
        sure_weight: ``weight`` then.
    """

    begin_us: int
    end_us: int | None
    state: int
    windows: int
    weight: int
    fresh: bool
    sure_us: int | None = None
    sure_end_us: int = 0
    sure_windows: int = 0
    sure_weight: int = 0


class Began(NamedTuple):
    """An episode has begun and goes on."""

    span: Span


class Ended(NamedTuple):
    """An episode has ended; it may not have been told of before, if the data was short."""

    span: Span


Step = Began | Ended


class Rival(msgspec.Struct, array_like=True, gc=False):
    """What may end what goes on.

    Args:
        state: of its windows.
        first_us: where its evidence began to grow.
        before_us: the time that was covered before.
        evidence_us: seconds to its credit, in microseconds.
        windows_before: of what goes on, before ``first_us``.
        weight_before: likewise.
        weight: of its own windows.
    """

    state: int
    first_us: int
    before_us: int
    evidence_us: int
    windows_before: int
    weight_before: int
    weight: int


class Fold(msgspec.Struct, array_like=True, gc=False):
    """What is to be remembered of a device's windows: bounded by the number of states.

    Args:
        state: what goes on; None if nothing does, or it is not decided.
        begin_us: of it, or of what is not decided.
        fresh: whether that is behind a gap.
        windows: since then.
        weight: of those of the state.
        last_us: start of the newest window; None before the first.
        covered_us: end of what windows have covered.
        sure: ``sure_us`` and so on of the span that goes on.
        rivals: in the order in which they came up.
    """

    state: int | None = None
    begin_us: int = 0
    fresh: bool = True
    windows: int = 0
    weight: int = 0
    last_us: int | None = None
    covered_us: int = 0
    sure: tuple[int, int, int, int] | None = None
    rivals: list[Rival] = []

    @classmethod
    def resume(cls, span: Span) -> Fold:
        """As it was when an episode became sure.

        Raises:
            ValueError: if it never did.
        """
        if span.sure_us is None:
            raise ValueError(f"{span} never became sure")
        sure = (span.sure_us, span.sure_end_us, span.sure_windows, span.sure_weight)
        return cls(
            span.state, span.begin_us, span.fresh, span.sure_windows, span.sure_weight, span.sure_us,
            span.sure_end_us, sure,
        )  # fmt: skip

    def add(self, window: Fields, rules: EpisodeRules) -> tuple[Step, ...]:
        """Take the next window.

        Args:
            window: starts no earlier than the last; of several with one start the first counts.
            rules: what makes an episode.

        Returns:
            What has ended and begun by it: nothing for nearly all windows.

        Raises:
            ValueError: if it starts before the last.
        """
        start_us, end_us, state, probability, _ref = window
        last_us, before_us = self.last_us, self.covered_us
        if last_us == start_us:
            return ()
        if last_us is None:
            before_us = start_us
        elif start_us < last_us:
            raise ValueError(f"{window} starts before the last, at {last_us}")
        steps = self.close() if start_us - before_us > rules.join_us else ()
        if not self.windows:
            self.begin_us, self.fresh = start_us, True
        gain_us = end_us - max(start_us, before_us)
        self.last_us = start_us
        self.windows += 1
        if gain_us > 0:
            self.covered_us = end_us
        if state == self.state:
            self.weight += round(probability * WEIGHT)
            if self.rivals:
                self._calm(gain_us)
        elif gain_us > 0 and self._counts(state, probability, rules):
            rival = self._rival(state, start_us, before_us)
            rival.evidence_us += gain_us
            rival.weight += round(probability * WEIGHT)
            if rival.evidence_us >= rules.dwell_us:
                steps += self._take_over(rival)
        return steps

    def run(self, windows: Sequence[Fields], rules: EpisodeRules) -> list[Step]:
        """Take the next windows, as ``add`` does; nearly all of them go on with what goes on, at little cost.

        Raises:
            ValueError: if one starts before the last.
        """
        found: list[Step] = []
        join_us = rules.join_us
        for window in windows:
            start_us, end_us, state, probability, _ref = window
            last_us, covered_us = self.last_us, self.covered_us
            if (
                state != self.state
                or self.rivals
                or last_us is None
                or start_us <= last_us
                or start_us - covered_us > join_us
            ):
                found += self.add(window, rules)
                continue
            self.last_us = start_us
            self.windows += 1
            self.weight += round(probability * WEIGHT)
            if end_us > covered_us:
                self.covered_us = end_us
        return found

    def close(self) -> tuple[Step, ...]:
        """No further window belongs to what goes on."""
        steps: tuple[Step, ...] = ()
        if self.state is not None:
            steps = (Ended(self._span(self.covered_us, self.windows, self.weight)),)
        elif self.rivals:
            rival = max(self.rivals, key=lambda one: one.evidence_us)  # of equal ones the first
            span = Span(self.begin_us, self.covered_us, rival.state, self.windows, rival.weight, True)
            steps = (Ended(span),)
        self.state = self.sure = None
        self.windows = self.weight = 0
        self.rivals = []
        return steps

    @property
    def current(self) -> Span | None:
        """What goes on, up to what is covered; None if nothing does, or it is not decided."""
        if self.state is None:
            return None
        return self._span(None, self.windows, self.weight)

    def _counts(self, state: int, probability: float, rules: EpisodeRules) -> bool:
        """Whether a window of another state speaks against what goes on."""
        return self.state is None or state < 0 or probability >= rules.hysteresis

    def _rival(self, state: int, start_us: int, before_us: int) -> Rival:
        for rival in self.rivals:
            if rival.state == state:
                return rival
        rival = Rival(state, start_us, before_us, 0, self.windows - 1, self.weight, 0)
        self.rivals.append(rival)
        return rival

    def _calm(self, gain_us: int) -> None:
        """A window of what goes on speaks against all rivals."""
        for rival in self.rivals:
            rival.evidence_us -= gain_us
        self.rivals = [rival for rival in self.rivals if rival.evidence_us > 0]

    def _take_over(self, rival: Rival) -> tuple[Step, ...]:
        steps: tuple[Step, ...] = ()
        if self.state is not None:
            end_us = min(rival.first_us, rival.before_us)
            steps = (Ended(self._span(end_us, rival.windows_before, rival.weight_before)),)
            self.begin_us, self.fresh = rival.first_us, False
            self.windows -= rival.windows_before
        self.state, self.weight, self.rivals = rival.state, rival.weight, []
        assert self.last_us is not None  # noqa: S101 - a window was taken
        self.sure = (self.last_us, self.covered_us, self.windows, self.weight)
        return (*steps, Began(self._span(None, self.windows, self.weight)))

    def _span(self, end_us: int | None, windows: int, weight: int) -> Span:
        assert self.state is not None  # noqa: S101 - of a state
        sure = self.sure or (None, 0, 0, 0)
        return Span(self.begin_us, end_us, self.state, windows, weight, self.fresh, *sure)
