"""The thread that retrains: asks the schedule, runs the process, and writes down every decision.

It touches nothing that the server labels with: a new version reaches the labeller through the registry, as
one that somebody promotes by hand does.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from disc_stream.clock import Clock
from disc_stream.clustering.drift import DriftWatch, require_river
from disc_stream.config import RetrainConfig, ServeConfig
from disc_stream.errors import ConfigError, DiscStreamError, MissingExtraError
from disc_stream.registry import Registry
from disc_stream_server.labeller.swap import serving_version
from disc_stream_server.retraining.decisions import DecisionLog, Last
from disc_stream_server.retraining.evidence import Evidence
from disc_stream_server.retraining.process import (
    REJECTED,
    Ended,
    Limits,
    RetrainProcess,
    retrain_command,
)
from disc_stream_server.retraining.schedule import Decision, Situation, Trigger, decide
from disc_stream_server.storage.queries import FILE, StateReader

log = logging.getLogger(__name__)

LOOK_S = 30.0
_LOOKS = 10  # at least so many in an interval of the schedule
_OTHER_PLAN = "--discard"  # is in the remedy of the error that an unfinished retraining is another one
_MAX_WHY = 200
_NEEDED = {"train": ("torch", "sklearn", "scipy", "safetensors"), "export": ("onnx", "onnxscript")}


@dataclass(frozen=True, slots=True)
class RetrainStatus:
    """Where the retraining is, for the server's status.

    Args:
        phase: ``idle``, or that of ``disc-stream retrain``: ``start``, ``replay``, ``train`` and so on.
        done: of ``total``.
        total: 0 if it is not known.
        words: what it does, or why it does nothing.
        last: what came of the last one: ``promoted``, ``rejected``, ``failed``, ``interrupted``; "" if none.
        due_us: when the schedule asks for the next, Unix microseconds; 0 without one.
        windows: new since the newest version.
        devices: new since then.
    """

    phase: str = "idle"
    done: int = 0
    total: int = 0
    words: str = ""
    last: str = ""
    due_us: int = 0
    windows: int = 0
    devices: int = 0


def require_retraining(rules: RetrainConfig) -> None:
    """Check that what a retraining needs is installed, without loading it.

    Raises:
        MissingExtraError: naming the extra.
    """
    for extra, modules in _NEEDED.items():
        if any(importlib.util.find_spec(module) is None for module in modules):
            raise MissingExtraError(extra, "retraining")
    if rules.drift:
        require_river()


class Supervisor:
    """Retrains beside the server, by the rules of its configuration.

    Args:
        config: with a registry, and rules for retraining.
        state: the state folder.
        clock: time.
        look_s: seconds between two looks, at most; a tenth of the interval of a quicker schedule.
        command: makes the command that retrains; that of ``disc-stream retrain`` by default.

    Raises:
        MissingExtraError: if drift is to be watched and river is not installed.
    """

    def __init__(
        self,
        config: ServeConfig,
        state: Path,
        clock: Clock,
        *,
        look_s: float = LOOK_S,
        command: Callable[..., list[str]] = retrain_command,
    ) -> None:
        if config.models is None or config.retrain is None:
            raise ConfigError("there is nothing to retrain")
        self._config, self._rules = config, config.retrain
        self._state, self._clock, self._command = state, clock, command
        every_s = math.inf if self._rules.every_h is None else self._rules.every_h * 3600
        self._look_s = min(look_s, every_s / _LOOKS)
        self._models = config.models
        drift = DriftWatch() if self._rules.drift else None
        self._evidence = Evidence(state, config.models, config.prefix, self._rules.window_s, drift)
        self._log = DecisionLog(state)
        self._last: Last | None = None
        self._asked = ""
        self._ended, self._woken = threading.Event(), threading.Event()
        self._running: RetrainProcess | None = None
        self._fault = ""
        self._thread = threading.Thread(target=self._work, name="retraining", daemon=True)
        self.status = RetrainStatus()
        """Where it is; replaced as a whole, so it may be read from any thread."""

    # -- from any thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Work in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Work no longer; a retraining that runs is stopped, and goes on after the next start."""
        self._ended.set()
        self._woken.set()
        if (running := self._running) is not None:
            running.cancel()
        if self._thread.ident is not None:
            self._thread.join()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def ask(self, who: str, why: str) -> None:
        """Retrain as soon as no other retraining runs, whatever the rules say."""
        self._asked = f"asked for by {who}: {why}"[:_MAX_WHY]
        self._woken.set()

    def facts(self) -> dict[str, int | str]:
        """The status, for the message on ``$server/status``."""
        now = self.status
        return {
            "phase": now.phase, "done": now.done, "total": now.total, "words": now.words, "last": now.last,
            "due": now.due_us, "windows": now.windows, "devices": now.devices,
        }  # fmt: skip

    # -- on the thread ------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
                self._fault = ""
            except DiscStreamError as error:
                self._fail(str(error))
            except Exception as error:  # whatever it is, the server goes on labelling
                log.exception("looking after retrainings failed")
                self._fail(str(error))
            self._woken.wait(self._look_s)
            self._woken.clear()

    def _fail(self, fault: str) -> None:
        if fault != self._fault:
            log.error("no retraining can be begun: %s", fault)
        self._fault = fault
        self.status = RetrainStatus(words=fault, last=self.status.last)

    def look(self) -> Decision:
        """Decide, and retrain if that is decided; returns when it has ended.

        Raises:
            DiscStreamError: if the registry or the state folder cannot be read.
        """
        now = self.situation()
        decision = decide(self._rules, now)
        self._show(now, decision)
        self._log.decided(decision, now.now_us)
        if decision.retrain:
            if decision.code is Trigger.HAND:
                self._asked = ""
            self._retrain(decision, now)
        return decision

    def situation(self) -> Situation:
        """What is known now."""
        last = self._last = self._last or self._log.last()
        found = self._evidence.look(self._clock.unix_us())
        return replace(
            found,
            asked=self._asked,
            unfinished=last.interrupted,
            begun_us=last.begun_us,
            ended_us=None if last.interrupted else last.ended_us,
        )

    def _show(self, now: Situation, decision: Decision) -> None:
        self.status = RetrainStatus(
            "start" if decision.retrain else "idle",
            words=decision.reason,
            last=self.status.last or (self._last.outcome if self._last is not None else ""),
            due_us=decision.due_us or 0,
            windows=now.windows,
            devices=now.devices,
        )

    def _retrain(self, decision: Decision, now: Situation) -> None:
        self._last = Last(now.now_us, None, interrupted=True)
        ended = self._run(decision, discard=False)
        if ended.code == 2 and _OTHER_PLAN in ended.error:
            log.info("an unfinished retraining is given up: %s", ended.error)
            ended = self._run(decision, discard=True)
        self._note(decision, ended, self._clock.unix_us())

    def _run(self, decision: Decision, *, discard: bool) -> Ended:
        why = f"{decision.code}: {decision.reason}"[:_MAX_WHY]
        command = self._command(self._config, self._state, why, discard=discard)
        running = self._running = RetrainProcess(command, Limits.of(self._rules), self._hear)
        if self._ended.is_set():  # a stop that came before there was anything to stop
            running.cancel()
        try:
            return running.run()
        finally:
            self._running = None

    def _hear(self, line: dict[str, Any]) -> None:
        if line.get("event") != "progress":
            return
        done, total = line.get("done"), line.get("total")
        self.status = replace(
            self.status,
            phase=str(line.get("phase", ""))[:20],
            done=done if isinstance(done, int) else 0,
            total=total if isinstance(total, int) else 0,
            words=str(line.get("words", ""))[:_MAX_WHY],
        )

    def _note(self, decision: Decision, ended: Ended, now_us: int) -> None:
        facts = outcome_of(ended)
        outcome = facts["outcome"]
        begun_us = now_us if self._last is None else self._last.begun_us
        self._last = Last(begun_us, now_us, outcome == "interrupted", outcome)
        self._log.ended(now_us, {"code": str(decision.code), **facts})
        words = f"the last one was {outcome}" + (f": {facts['error']}" if "error" in facts else "")
        (log.error if outcome == "failed" else log.info)("retraining %s", words.removeprefix("the last one "))
        self.status = replace(self.status, phase="idle", done=0, total=0, words=words, last=outcome)
        if outcome != "interrupted":
            self._evidence.begin_anew()
            self._prune()

    def _prune(self) -> None:
        """Remove the files of old versions, or every retraining would leave some for ever.

        Those that labels of this server still refer to stay; retention makes these fewer.
        """
        try:
            with Registry.open(self._models) as registry:
                there = sum(info.pruned_us is None for info in registry.versions())
                if there > self._rules.keep_versions:
                    for info in registry.prune(self._rules.keep_versions, self._referenced()):
                        log.info("the files of version %d (%s) were removed", info.number, info.version)
        except DiscStreamError as error:  # the next retraining tries again
            log.warning("old versions cannot be removed: %s", error)

    def _referenced(self) -> set[str]:
        """Versions of the labels that are kept, and the one that labels next."""
        if not (self._state / FILE).exists():
            return set()
        with closing(StateReader(self._state)) as store:
            return store.models() | {serving_version(store)}


def outcome_of(ended: Ended) -> dict[str, Any]:
    """What came of a retraining, in a word, with what there is to say."""
    peak = {"peak_mib": ended.peak_bytes >> 20}
    if ended.done is None:
        outcome = "interrupted" if ended.stopped == "asked" else "failed"
        return {"outcome": outcome, **peak, **({"error": ended.error} if outcome == "failed" else {})}
    outcome = "promoted" if ended.done.get("promoted") else "added"
    if ended.code == REJECTED or ended.done.get("rejected"):
        outcome = "rejected"
    kept = {name: ended.done.get(name) for name in ("version", "number", "windows", "devices", "rejected")}
    return {"outcome": outcome, **peak, **{name: value for name, value in kept.items() if value}}
