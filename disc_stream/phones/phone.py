"""One phone: from its messages to batches on their way, what is wrong with them, and its latest label."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from disc_stream.errors import PayloadError
from disc_stream.phones.sending import PhoneSender
from disc_stream.types import Label, Problem
from disc_stream_edge.phones import devicemotion, phyphox, sensorlogger, sensorserver, sensorspot
from disc_stream_edge.phones.assembling import Assembler
from disc_stream_edge.phones.checks import Checks, Finding, Needs
from disc_stream_edge.phones.readings import PhoneMessage, Sensor

Adapter = Callable[[bytes], PhoneMessage]

ADAPTERS: dict[str, Adapter] = {
    "page": devicemotion.read,
    "sensorlogger": sensorlogger.read,
    "phyphox": phyphox.read,
    "sensorspot": sensorspot.read,
    "sensorserver": sensorserver.read,
}
_CHECK_S = 0.5
_BURST_S = 4.0
_MESSAGES_S, _BYTES_S = 50.0, 1_000_000.0
_STREAM_MESSAGES_S = 1_500.0  # of apps with a message for each reading


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model reads, as far as phones have it.

    Args:
        needs: rate and sensors, for the checks.
        sensors: which are published.
        words: the model in words; "" while there is none.
    """

    needs: Needs = field(default_factory=Needs)
    sensors: tuple[Sensor, ...] = (Sensor.ACC, Sensor.GYRO)
    words: str = ""


class Phone:
    """A phone and its stream; safe to use from several threads.

    Args:
        device: device id.
        sender: of its batches.
        on_change: called with the phone when what is wrong with it has changed.
    """

    def __init__(self, device: str, sender: PhoneSender, on_change: Callable[[Phone], None]) -> None:
        self.device, self.token = device, secrets.token_urlsafe(16)
        self.sender, self._on_change = sender, on_change
        self.findings: tuple[Finding, ...] = ()
        self.label: Label | None = None
        self.problem: Problem | None = None  # what the server says
        self.trouble = ""  # why nothing comes from it, where we are the ones who ask
        self.opened: float | None = None  # monotonic time of the first contact
        self.first_label_s: float | None = None  # seconds from there to the first label
        self.messages = self.labels = self.refused = 0
        self._assembler = Assembler(device, sender.new_boot(device, int(time.time())))
        self._checks = Checks()
        self._budget = _Budget()
        self._lock = threading.Lock()
        self._next_check = 0.0
        self._told = ""  # in the app

    def open(self) -> None:
        """Note the first contact, from which the time to the first label counts."""
        if self.opened is None:
            self.opened = time.monotonic()

    def admits(self, n_bytes: int, messages_s: float = _MESSAGES_S) -> bool:
        """Whether a message is within what a phone may send."""
        with self._lock:
            return self._budget.take(n_bytes, messages_s, time.monotonic())

    def take(self, app: str, payload: bytes, reading: Reading) -> None:
        """Take a message of an app.

        Raises:
            PayloadError: if it is not what the app sends.
        """
        self.open()
        with self._lock:
            try:
                message = ADAPTERS[app](payload)
            except PayloadError:
                self.refused += 1
                raise
            self.messages += 1
            self._checks.push(message)
            for batch in self._assembler.push(message, reading.sensors):
                self.sender.put(batch)
            changed = self._check(reading.needs)
        if changed:
            self._on_change(self)

    def _check(self, needs: Needs) -> bool:
        now = time.monotonic()
        if now < self._next_check:
            return False
        self._next_check = now + _CHECK_S
        before = {one.code for one in self.findings}
        self.findings = tuple(self._checks.findings(needs))
        return {one.code for one in self.findings} != before

    def note_label(self, label: Label) -> bool:
        """Take a label; True for the first one."""
        self.label, self.labels = label, self.labels + 1
        if self.first_label_s is not None or self.opened is None:
            return False
        self.first_label_s = time.monotonic() - self.opened
        return True

    def complaint(self) -> str | None:
        """What to show in an app that shows an answer; None if it was shown, or nothing is wrong."""
        first = self.findings[0] if self.findings else None
        if first is None or self._told == first.code:
            return None
        self._told = first.code
        return f"{first.words}. {first.remedy}."

    def state(self, reading: Reading) -> dict[str, Any]:
        """What the page shows."""
        label, problem = self.label, self.problem
        problems = [{"words": one.words, "remedy": one.remedy} for one in self.findings]
        if problem is not None and all(one.code != problem.code for one in self.findings):
            problems.append({"words": f"the server: {problem.words}", "remedy": problem.remedy})
        troubles = filter(None, (self.trouble, self.sender.trouble))
        problems += [{"words": words, "remedy": ""} for words in troubles]
        return {
            "device": self.device,
            "messages": self.messages,
            "labels": self.labels,
            "late": self._assembler.late,
            "dropped": self.sender.dropped,
            "rate": self._assembler.measured(Sensor.ACC),
            "model": reading.words,
            "label": None
            if label is None
            else {"name": label.best.name, "confidence": round(label.best.confidence, 3)},
            "problems": problems,
        }


class _Budget:
    """A token bucket of messages and one of bytes."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._messages = self._bytes = 0.0

    def take(self, n_bytes: int, messages_s: float, now: float) -> bool:
        since = min(_BURST_S, now - self._at)
        self._at = now
        self._messages = min(_BURST_S * messages_s, self._messages + since * messages_s)
        self._bytes = min(_BURST_S * _BYTES_S, self._bytes + since * _BYTES_S)
        if self._messages < 1 or self._bytes < n_bytes:
            return False
        self._messages -= 1
        self._bytes -= n_bytes
        return True


STREAM_MESSAGES_S = _STREAM_MESSAGES_S
