"""Measurements in steps, each kept in a file when it is done, so that a run that was stopped resumes."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from disc_stream.errors import ConfigError, DiscStreamError

_PATIENCE, _LEAST_S = 2.0, 5.0  # a step may take so many times its share and so much more, and is cut then


class Step(NamedTuple):
    """One measurement.

    Args:
        name: of it, unique.
        run: given the moment of ``time.monotonic`` by which it is to end; measures.
        skipped: why it is not measured here, "" if it is.
        share: of the time that is left, at most.
    """

    name: str
    run: Callable[[float], dict[str, Any]]
    skipped: str = ""
    share: float = 0.5


class OutOfTimeError(DiscStreamError):
    """A step was cut short, because its time is over."""


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Raise ``OutOfTimeError`` in what runs here once so much time has passed.

    A step looks at its deadline between two rounds, and on a slow processor a round may take minutes. The
    timer's signal is handled between two operations of torch. Only the main thread can have signals; on
    others, nothing is cut short.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def cut(_number: int, _frame: object) -> None:
        raise OutOfTimeError("its share of the time was over; the same command tries again")

    before = signal.signal(signal.SIGALRM, cut)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True, slots=True)
class Report:
    """A report that grows step by step.

    Args:
        path: JSON file; None to keep nothing.
        schema: of it.
        facts: what the measurements belong to. A file with other facts is of another machine or version.
    """

    path: Path | None
    schema: str
    facts: Mapping[str, Any]

    def run(self, steps: Sequence[Step], limit_s: float, on_step: Callable[[str], None]) -> dict[str, Any]:
        """Measure what is not in the file yet, as far as the time goes.

        What was skipped or failed in an earlier run is tried again.

        Raises:
            ConfigError: if the file is of other facts, or cannot be read or written.
        """
        began = time.monotonic()
        done = self._read()
        skipped: dict[str, str] = {}
        for step in steps:
            if step.name in done:
                continue
            left = limit_s - (time.monotonic() - began)
            if step.skipped or left <= 0:
                skipped[step.name] = step.skipped or "no time was left; the same command goes on with it"
                continue
            on_step(step.name)
            started = time.monotonic()
            try:
                with _ended_after(min(left, _PATIENCE * step.share * left + _LEAST_S)):
                    found = step.run(started + step.share * left)
            except DiscStreamError as error:
                skipped[step.name] = error.message
            except (RuntimeError, MemoryError) as error:  # torch's, such as a GPU without memory left
                skipped[step.name] = f"it failed: {next(iter(str(error).splitlines()), '?'):.300}"
            else:
                done[step.name] = {**found, "took_s": round(time.monotonic() - started, 1)}
            self._write(done, skipped)
        self._write(done, skipped)
        return self._value(done, skipped)

    def _value(self, done: Mapping[str, Any], skipped: Mapping[str, str]) -> dict[str, Any]:
        return {"schema": self.schema, **self.facts, "steps": dict(done), "skipped": dict(skipped)}

    def _read(self) -> dict[str, Any]:
        if self.path is None or not self.path.exists():
            return {}
        remedy = "Name another file with --out, or remove it"
        try:
            found = json.loads(self.path.read_bytes())
            facts = json.loads(json.dumps(dict(self.facts)))
            other = [name for name in facts if found[name] != facts[name]]
            steps: dict[str, Any] = dict(found["steps"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{str(self.path)!r} is no report of this benchmark", remedy=remedy) from error
        if found.get("schema") != self.schema or other:
            what = f": {other[0]} differs" if other else ""
            raise ConfigError(f"{str(self.path)!r} is of another machine or version{what}", remedy=remedy)
        return steps

    def _write(self, done: Mapping[str, Any], skipped: Mapping[str, str]) -> None:
        if self.path is None:
            return
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            new.write_text(json.dumps(self._value(done, skipped), indent=1) + "\n", encoding="utf-8")
            new.replace(self.path)
        except OSError as error:
            raise ConfigError(
                f"{str(self.path)!r} cannot be written: {error.strerror}", remedy="Name another with --out"
            ) from error
