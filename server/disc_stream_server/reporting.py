"""The server's status: counters, and what is missing for messages to become labels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.status import ServerStatus, State, server_status_to_dict
from disc_stream_server.intake import Watchers
from disc_stream_server.labeller.labeller import Labeller
from disc_stream_server.memory import resident_bytes
from disc_stream_server.metrics.snapshot import Snapshot
from disc_stream_server.receiving.process import ReceiverProcess
from disc_stream_server.receiving.rivals import End, Rivals


class Reporter:
    """Makes the status of a running server.

    Args:
        watchers: have counted what was refused, and the time of each stage.
        link: the connection that labels go out on.
        receiver: the receiving process.
        memory_bytes: that both processes may take.
    """

    def __init__(
        self,
        watchers: Watchers,
        link: MqttLink,
        receiver: ReceiverProcess,
        memory_bytes: int,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._watchers, self._link, self._receiver = watchers, link, receiver
        self._labeller: Labeller | None = None
        self._retraining: Callable[[], Mapping[str, int | str]] = dict
        self._of_link, self._of_receiver = Rivals(), Rivals()
        self.since_us = 0
        """When the server was started, Unix microseconds."""
        self.snapshot: Snapshot | None = None
        """What metrics show; replaced as a whole with each status, so it may be read from any thread."""

    def watch(self, labeller: Labeller) -> None:
        """Report of this labeller, too, which labels what is received from now on."""
        self._labeller = labeller

    def watch_retraining(self, facts: Callable[[], Mapping[str, int | str]]) -> None:
        """Report of the retraining, too, what this function tells from any thread."""
        self._retraining = facts

    def waits_for(self) -> str | None:
        """What is missing for messages to become labels; None if nothing is."""
        if not self._receiver.connected or not self._link.connected:
            doing = self._receiver.waits or self._link.connecting
            if self._receiver.connected or self._link.connected:
                doing += "; our other connection is there: does another client use our id?"
            return self._receiver.trouble or (f"the broker ({doing})" if doing else "the broker")
        if self._receiver.blocked:
            return f"space for the spool ({self._receiver.blocked})"
        return None if self._labeller is None else _labeller_waits_for(self._labeller)

    def summarise(self) -> None:
        """Log what was refused since the last summary, if one is due."""
        self._watchers.rejections.summarise()

    def forget(self, device: str) -> None:
        """Drop a device that was erased."""
        self._watchers.rejections.forget(device)

    def status(self, state: State, now_us: int) -> ServerStatus:
        """The message on ``$server/status``."""
        self._look_for_rivals()
        return ServerStatus(
            state=state,
            since_us=self.since_us,
            updated_us=now_us,
            model="" if self._labeller is None else self._labeller.model.version,
            provider="" if self._labeller is None else self._labeller.model.provider,
            counters=self._counters(),
            rejected=self._rejected(),
            limited=self._receiver.limited,
            retraining=self._retraining(),
        )

    def facts(self, status: ServerStatus, waits_for: str | None, backlog: int) -> dict[str, Any]:
        """What observers are told: the status, and what only this process knows."""
        connected = self._link.connected and self._receiver.connected
        stages = self._watchers.stages
        self.snapshot = Snapshot(status, connected, backlog, stages.durations(), stages.delays())
        facts = {"connected": connected, "waits_for": waits_for, "backlog": backlog}
        return {**server_status_to_dict(status), **facts}

    def _look_for_rivals(self) -> None:
        now, link, receiver = time.monotonic(), self._link, self._receiver
        ends = [End(link.client_id, link.history.ends.popleft()) for _ in range(len(link.history.ends))]
        self._of_link.look(now, ends, receiver.since if receiver.connected else None)
        ends = [receiver.ends.popleft() for _ in range(len(receiver.ends))]
        self._of_receiver.look(now, ends, link.history.since if link.connected else None)

    def _rejected(self) -> dict[str, int]:
        """By reason; empty samples do not come further than the receiver."""
        empty = self._receiver.counts.get("empty", 0)
        return {**self._watchers.rejections.by_reason, **({"empty": empty} if empty else {})}

    @property
    def _takeovers(self) -> int:
        """Of both connections: what the broker said, and what it did not say."""
        told = self._receiver.counts.get("takeovers", 0) + self._link.history.takeovers
        return told + self._of_link.count + self._of_receiver.count

    def _counters(self) -> dict[str, int]:
        stages = self._watchers.stages
        other_us = round(time.process_time() * 1e6) - stages.total_us  # network, page, start-up
        return {
            **({} if self._labeller is None else _labeller_counters(self._labeller)),
            **self._receiver.counts,
            **stages.counters(),
            "cpu_us_other": other_us,
            "refused": self._link.refused,  # by the broker, labels mostly: an access list is wrong
            "takeovers": self._takeovers,
            "spooled": self._receiver.head,
            "queue": 0 if self._labeller is None else max(0, self._receiver.head - self._labeller.position),
            "receiver_restarts": self._receiver.restarts,
            "memory_bytes": resident_bytes(filter(None, (os.getpid(), self._receiver.pid))),
            "memory_limit_bytes": self._memory_bytes,
        }


def _labeller_waits_for(labeller: Labeller) -> str | None:
    if labeller.encoder_fault:
        return labeller.encoder_fault
    if labeller.checkpoints.blocked:
        return f"space for checkpoints ({labeller.checkpoints.blocked})"
    return None


def _labeller_counters(labeller: Labeller) -> dict[str, int]:
    sessions = labeller.live.sessions
    counts = asdict(sessions.counts)
    faults = counts.pop("clock_faults")
    return {
        **asdict(labeller.live.intake.counts),
        **counts,
        **{f"clock_{name}": count for name, count in faults.items()},
        **{f"problem_{code}": count for code, count in labeller.problems.book.counts().items()},
        **asdict(labeller.counts),
        "evicted": sessions.evicted,
        "restored": sessions.restored,
        "devices": len(sessions),
        "deferred": labeller.deferral.windows,
        "windows_waiting": labeller.waiting,
        "checkpoint": labeller.checkpoints.position,
    }
