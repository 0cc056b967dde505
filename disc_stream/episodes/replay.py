"""Windows that come late: the fold goes once more over what they may have changed, and no further.

What the fold knows behind a window depends on the windows up to it alone. It is known again, without those
windows, where an episode became sure (nothing speaks against it then) and where one begins behind a gap. So a
late window is taken in by folding again from the last such point before it, until an episode becomes sure
that was sure in just the same way before: all after it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from disc_stream.episodes.fold import Began, Ended, Fold, Span, Window
from disc_stream.episodes.rules import EpisodeRules


class Restart(NamedTuple):
    """A point to fold again from.

    Args:
        fold: as it was there.
        after_us: windows that start later follow.
        begin_us: spans from the one that begins here on are made anew; None for all.
    """

    fold: Fold
    after_us: int
    begin_us: int | None


class Replay(NamedTuple):
    """What has become of spans.

    Args:
        spans: instead of those from the restart's on; the last may go on.
        until_us: begin of the first span that stays; None if all are replaced.
        fold: what is known behind all windows; None if that has not changed.
    """

    spans: list[Span]
    until_us: int | None
    fold: Fold | None


def restart_before(start_us: int, spans: Iterable[Span]) -> Restart:
    """The last point that a window cannot have changed.

    Args:
        start_us: of the window.
        spans: that begin before it, the newest first; two of them are looked at, at most.
    """
    for span in spans:
        if span.sure_us is not None and span.sure_us < start_us:
            return Restart(Fold.resume(span), span.sure_us, span.begin_us)
        if span.fresh and span.begin_us < start_us:
            return Restart(Fold(), span.begin_us - 1, span.begin_us)
    return Restart(Fold(), -(2**62), None)


def replay(
    restart: Restart,
    windows: Iterable[Window],
    rules: EpisodeRules,
    upto_us: int,
    known: Callable[[int], Span | None],
) -> Replay:
    """Fold again.

    Args:
        restart: from where.
        windows: all that start after it, in their order; read no further than needed.
        rules: what makes an episode.
        upto_us: start of the last window that is new.
        known: the span that began at a time, as it was before; None if none did.
    """
    fold, spans = restart.fold, list[Span]()
    for window in windows:
        for step in fold.add(window, rules):
            span = step.span
            point_us = span.begin_us if span.sure_us is None else span.sure_us
            if point_us > upto_us and _became_alike(span, known(span.begin_us), isinstance(step, Began)):
                return Replay(spans, span.begin_us, None)
            if isinstance(step, Ended):
                spans.append(span)
    if (current := fold.current) is not None:
        spans.append(current)
    return Replay(spans, None, fold)


def _became_alike(span: Span, before: Span | None, began: bool) -> bool:
    """Whether the fold is where it was before, just when an episode became sure or a short one ended."""
    if before is None or (not began and span.sure_us is not None):
        return False
    if not began:
        return span == before
    return (span.state, span.fresh, span.sure_us, span.sure_end_us, span.sure_windows, span.sure_weight) == (
        before.state, before.fresh, before.sure_us, before.sure_end_us, before.sure_windows,
        before.sure_weight,
    )  # fmt: skip


def derive(windows: Iterable[Window], rules: EpisodeRules) -> list[Span]:
    """The episodes of a set of windows, in any order; the last may go on."""
    return list(_derived(sorted(windows), rules))


def _derived(windows: Iterable[Window], rules: EpisodeRules) -> Iterator[Span]:
    fold = Fold()
    for window in windows:
        for step in fold.add(window, rules):
            if isinstance(step, Ended):
                yield step.span
    if (current := fold.current) is not None:
        yield current
