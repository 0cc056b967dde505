"""Sessions that fit the tiny bundle, and ways to feed them."""

from __future__ import annotations

from collections.abc import Sequence

from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.rules import STRICT, Rules
from disc_stream.stream.sessions import Residence, Sessions, StreamSpec
from disc_stream.types import Channel, WindowSpec
from tests.support.tiny_bundle import CHANNELS, FS

SPEC = WindowSpec(8, 4, 4)


def new_sessions(
    *,
    channels: Sequence[Channel] = CHANNELS,
    fs: float = FS,
    window: WindowSpec = SPEC,
    rules: Rules = STRICT,
    residence: Residence = Residence(),  # noqa: B008 - frozen
    problems: ProblemBook | None = None,
) -> Sessions:
    """Sessions for windows of 8 samples, 4 of them encoded, unless told otherwise."""
    spec = StreamSpec(tuple(channels), fs, window)
    return Sessions(spec, rules=rules, residence=residence, problems=problems)
