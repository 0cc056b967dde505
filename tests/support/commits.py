"""Checkpoints as the labeller would write them."""

from __future__ import annotations

from typing import Any

from disc_stream_server.storage.state import Commit, LaneState


def commit(position: int, sessions: dict[str, bytes] | None = None, **more: Any) -> Commit:
    """A checkpoint of the live lane.

    Args:
        position: of the live lane.
        sessions: states of devices; an empty one stands for none.
        more: ``parts`` of the live lane, and other fields of ``Commit``.
    """
    parts = more.pop("parts", {})
    if sessions:
        parts = {"session": sessions, **parts}
    return Commit([LaneState(0, position, parts)], **more)
