"""The log of decisions: one line of JSON each, bounded in size, and what the next start reads from it."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disc_stream_server.retraining.schedule import Decision
from disc_stream_server.storage.forget import DECISIONS, RETRAINING

log = logging.getLogger(__name__)

MAX_BYTES = 2**20
_REPEAT_US = 6 * 3_600_000_000  # a decision not to is written again after so long


@dataclass(frozen=True, slots=True)
class Last:
    """The last retraining that a server of this state folder began.

    Args:
        begun_us: Unix microseconds; None if there was none.
        ended_us: None while it goes on, or if the server ended first.
        interrupted: whether it was stopped with the server, or the server ended first.
        outcome: in a word; "" if it has none.
    """

    begun_us: int | None = None
    ended_us: int | None = None
    interrupted: bool = False
    outcome: str = ""


class DecisionLog:
    """Writes what was decided and what came of it, for people and for the next start.

    A decision not to retrain is written when its kind changes, and again after six hours. Nothing in it
    names a device, so ``data forget`` leaves it.

    Args:
        state: the state folder.
        max_bytes: from which on the older half is dropped.
    """

    def __init__(self, state: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = state / RETRAINING / DECISIONS
        self._max_bytes = max_bytes
        self._told: tuple[str, int] | None = None

    def decided(self, decision: Decision, now_us: int) -> None:
        """A decision was made."""
        code = str(decision.code)
        if not decision.retrain and self._told is not None:
            told, at_us = self._told
            if told == code and now_us - at_us < _REPEAT_US:
                return
        self._told = (code, now_us)
        log.info("%s: %s", "retraining" if decision.retrain else "not retraining", decision.reason)
        line = {"event": "decision", "retrain": decision.retrain, "code": code, "reason": decision.reason}
        self._write(now_us, line | ({} if decision.due_us is None else {"due": decision.due_us}))

    def ended(self, now_us: int, facts: dict[str, Any]) -> None:
        """A retraining has ended: its ``outcome``, and what else there is to say."""
        self._told = None
        self._write(now_us, {"event": "ended", **facts})

    def last(self) -> Last:
        """What the log says of the last retraining."""
        found = Last()
        for line in self._lines():
            at_us = line.get("at")
            if not isinstance(at_us, int):
                continue
            if line.get("event") == "decision" and line.get("retrain") is True:
                found = Last(at_us, None, interrupted=True)
            elif line.get("event") == "ended":
                outcome = str(line.get("outcome", ""))
                found = Last(found.begun_us, at_us, outcome == "interrupted", outcome)
        return found

    def entries(self) -> list[tuple[int, str, dict[str, Any]]]:
        """What was written, oldest first: Unix microseconds, the kind of event, and its facts."""
        found = []
        for line in self._lines():
            at_us, event = line.pop("at", None), line.pop("event", "")
            if isinstance(at_us, int):
                found.append((at_us, str(event), line))
        return found

    def _lines(self) -> list[dict[str, Any]]:
        """What can be read; a line that was cut by a crash is passed over."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        found = []
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def _write(self, now_us: int, facts: dict[str, Any]) -> None:
        """Append a line. A disk that does not take it must not keep the server from labelling."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._shorten()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(os.open(self._path, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(json.dumps({"at": now_us, **facts}) + "\n")
        except OSError as error:
            log.error("cannot write %s: %s", self._path, error.strerror or error)  # noqa: TRY400 - no traceback

    def _shorten(self) -> None:
        """Drop the older half of a file that has become too long."""
        if not self._path.exists() or self._path.stat().st_size < self._max_bytes:
            return
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        part = self._path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(lines[len(lines) // 2 :])
        part.replace(self._path)
