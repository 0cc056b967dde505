"""Episodes are a function of the set of labels, whatever the order in which they come."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from disc_stream.episodes import (
    Ended,
    EpisodeRules,
    Fold,
    Span,
    Window,
    derive,
    replay,
    restart_before,
)
from disc_stream.episodes.fold import WEIGHT

HOP, LENGTH = 10, 20
RULES = EpisodeRules(dwell_s=40e-6, hysteresis=0.5, join_s=60e-6)
"""An episode takes about three windows; a gap of six hops ends it."""

states = st.sampled_from([0, 1, 2, -1])
probabilities = st.sampled_from([0.3, 0.5, 0.9])
starts = st.one_of(st.integers(0, 60).map(lambda n: n * HOP), st.integers(0, 600))
windows = st.builds(
    lambda start, state, p, length: Window(start, start + length, state, p),
    starts, states, probabilities, st.sampled_from([LENGTH, LENGTH, LENGTH, 3]),
)  # fmt: skip
rules = st.builds(
    EpisodeRules,
    dwell_s=st.sampled_from([0, 15e-6, 40e-6, 90e-6]),
    hysteresis=st.sampled_from([0.0, 0.5, 1.0]),
    join_s=st.sampled_from([0, 30e-6, 60e-6]),
)


@dataclass
class Ledger:
    """A device whose labels are kept, as the server's store does it: in order, or once more over the past."""

    rules: EpisodeRules
    windows: list[Window] = field(default_factory=list)
    spans: dict[int, Span] = field(default_factory=dict)
    fold: Fold = field(default_factory=Fold)
    read: int = 0

    def add(self, window: Window) -> None:
        self.windows.append(window)
        if self.fold.last_us is None or window.start_us > self.fold.last_us:
            for step in self.fold.add(window, self.rules):
                self.spans[step.span.begin_us] = step.span
            return
        before = [span for begin, span in sorted(self.spans.items()) if begin < window.start_us]
        restart = restart_before(window.start_us, reversed(before))
        following = (one for one in sorted(self.windows) if one.start_us > restart.after_us)
        result = replay(restart, self._counted(following), self.rules, window.start_us, self.spans.get)
        first = -1 if restart.begin_us is None else restart.begin_us
        until = 2**62 if result.until_us is None else result.until_us
        for begin in [begin for begin in self.spans if first <= begin < until]:
            del self.spans[begin]
        for span in result.spans:
            self.spans[span.begin_us] = span
        if result.fold is not None:
            self.fold = result.fold

    def _counted(self, windows):  # type: ignore[no-untyped-def]
        for one in windows:
            self.read += 1
            yield one

    def episodes(self) -> list[Span]:
        """What goes on is not written with every window: it is known behind the newest."""
        spans = [span for _, span in sorted(self.spans.items())]
        current = self.fold.current
        return [*spans[:-1], current] if current is not None else spans


@given(st.lists(windows, max_size=60), rules)
def test_any_order_of_arrival_gives_the_same_episodes(arriving: list[Window], rules: EpisodeRules) -> None:
    ledger = Ledger(rules)
    for window in arriving:
        ledger.add(window)
    assert ledger.episodes() == derive(arriving, rules)


@given(st.lists(windows, max_size=60, unique_by=lambda one: one.start_us), rules, st.integers(0, 60))
def test_a_part_that_comes_at_once_and_late(arriving: list[Window], rules: EpisodeRules, cut: int) -> None:
    """As after an overload: a stretch in the middle is missing at first, then comes in its order."""
    ordered = sorted(arriving)
    missing = ordered[cut // 2 : cut]
    ledger = Ledger(rules)
    for window in [*(one for one in ordered if one not in missing), *missing]:
        ledger.add(window)
    assert ledger.episodes() == derive(arriving, rules)


@given(st.lists(windows, max_size=80), rules)
def test_episodes_are_in_order_and_apart(arriving: list[Window], rules: EpisodeRules) -> None:
    spans = derive(arriving, rules)
    for one, following in itertools.pairwise(spans):
        assert one.end_us is not None
        assert one.begin_us < one.end_us <= following.begin_us
        assert following.fresh == (following.begin_us - one.end_us > rules.join_us)
        if one.state == following.state:
            assert following.fresh
    assert sum(span.windows for span in spans) <= len(arriving)
    assert all(0 < span.weight <= span.windows * WEIGHT for span in spans)
    assert all(span.end_us is not None for span in spans[:-1])


@given(st.lists(windows, max_size=80, unique_by=lambda one: one.start_us), rules)
def test_only_the_end_of_the_data_makes_an_episode_short(arriving: list[Window], rules: EpisodeRules) -> None:
    for span in derive(arriving, rules):
        if span.sure_us is None:
            assert span.fresh
        else:
            assert span.sure_end_us - span.begin_us >= rules.dwell_us
        if span.end_us is not None and span.sure_us is not None:
            assert span.end_us - span.begin_us >= rules.dwell_us or span.end_us < span.sure_end_us


@given(st.lists(windows, max_size=60))
def test_what_is_remembered_is_bounded(arriving: list[Window]) -> None:
    fold = Fold()
    for window in sorted(arriving):
        steps = fold.add(window, RULES)
        assert len(fold.rivals) <= 4  # as many as there are states
        assert len(steps) <= 2
        assert sum(isinstance(step, Ended) for step in steps) <= 1
