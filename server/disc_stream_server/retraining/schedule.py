"""When to retrain: a function of what is known, without any state, clock or file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from disc_stream.config import RetrainConfig

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US


class Trigger(StrEnum):
    """What a retraining is begun for."""

    RESUME = "resume"
    HAND = "hand"
    FIRST = "first"
    DRIFT = "drift"
    DEVICES = "devices"
    WINDOWS = "windows"
    SCHEDULE = "schedule"


class Waits(StrEnum):
    """Why none is begun."""

    BUSY = "busy"
    COOL_DOWN = "cool-down"
    TOO_FEW = "too-few-windows"
    NOT_DUE = "not-due"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision rests on.

    Args:
        now_us: Unix microseconds, as all times here.
        since_us: when the newest version came into the registry; None if it has none.
        serves: whether a version is in production.
        windows: that have come since then; without a model, about how many there are.
        devices: that have come since then and that the newest version has not learned from.
        drift: how the fleet's motion has changed, in words; "" if it has not.
        asked: who asks for a retraining, and why; "" if nobody does.
        unfinished: whether one that this server began was interrupted.
        busy: process that retrains already; None if none does.
        begun_us: when this server last began a retraining; None if it never did.
        ended_us: when that ended.
    """

    now_us: int
    since_us: int | None = None
    serves: bool = False
    windows: int = 0
    devices: int = 0
    drift: str = ""
    asked: str = ""
    unfinished: bool = False
    busy: int | None = None
    begun_us: int | None = None
    ended_us: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """To retrain now, or not.

    Args:
        code: what for, or why not.
        reason: in words.
        due_us: when it is due whatever comes, in Unix microseconds; None if the schedule says nothing.
    """

    code: Trigger | Waits
    reason: str
    due_us: int | None = None

    @property
    def retrain(self) -> bool:
        """Whether to retrain now."""
        return isinstance(self.code, Trigger)


def decide(rules: RetrainConfig, now: Situation) -> Decision:
    """Decide.

    One at a time. What was interrupted is finished first, and what a person asks for is done at once.
    Everything else waits for the end of the cool-down, and until enough windows have come.

    Args:
        rules: of the configuration.
        now: what is known.
    """
    due_us = next_due(rules, now)
    if now.busy is not None:
        return Decision(Waits.BUSY, f"a retraining runs already, in process {now.busy}", due_us)
    if now.unfinished:
        return Decision(Trigger.RESUME, "an earlier retraining was interrupted", due_us)
    if now.asked:
        return Decision(Trigger.HAND, now.asked, due_us)
    return _too_early(rules, now, due_us) or _by_trigger(rules, now, due_us)


def _too_early(rules: RetrainConfig, now: Situation, due_us: int | None) -> Decision | None:
    ended_us = max(now.ended_us or 0, now.since_us or 0)
    over_us = ended_us + round(rules.cooldown_h * _HOUR_US)
    if ended_us and now.now_us < over_us:
        left = hours((over_us - now.now_us) / _HOUR_US)
        return Decision(Waits.COOL_DOWN, f"the cool-down lasts for another {left}", due_us)
    if now.windows < rules.min_windows:
        text = f"{now.windows:,} new windows are too few: it needs {rules.min_windows:,}"
        return Decision(Waits.TOO_FEW, text, due_us)
    return None


def _by_trigger(rules: RetrainConfig, now: Situation, due_us: int | None) -> Decision:
    if not now.serves:
        text = f"there is no model yet, and about {now.windows:,} windows to learn one from"
        return Decision(Trigger.FIRST, text, due_us)
    if rules.drift and now.drift:
        return Decision(Trigger.DRIFT, now.drift, due_us)
    if rules.devices is not None and now.devices >= rules.devices:
        text = f"{now.devices} devices are new, which is at least {rules.devices}"
        return Decision(Trigger.DEVICES, text, due_us)
    if rules.windows is not None and now.windows >= rules.windows:
        text = f"{now.windows:,} windows are new, which is at least {rules.windows:,}"
        return Decision(Trigger.WINDOWS, text, due_us)
    if due_us is not None and now.now_us >= due_us:
        return Decision(Trigger.SCHEDULE, f"the last one was {_ago(now)}", due_us)
    return Decision(Waits.NOT_DUE, "nothing is due: " + "; ".join(_so_far(rules, now, due_us)), due_us)


def next_due(rules: RetrainConfig, now: Situation) -> int | None:
    """When the schedule asks for the next one, in Unix microseconds; None without a schedule or a model.

    With a time of day it is the one that is nearest to the interval after the last, so that a retraining
    that took long, or came in between for another reason, does not move those after it.
    """
    last_us = max(now.begun_us or 0, now.since_us or 0)
    if rules.every_h is None or not last_us:
        return None
    due_us = last_us + round(rules.every_h * _HOUR_US)
    if rules.at is None:
        return due_us
    hour, minute = rules.at.split(":")
    at_us = int(hour) * _HOUR_US + int(minute) * 60_000_000
    earliest_us = due_us - _DAY_US // 2
    return earliest_us + (at_us - earliest_us) % _DAY_US


def _so_far(rules: RetrainConfig, now: Situation, due_us: int | None) -> list[str]:
    """How far each trigger is."""
    found = []
    if due_us is not None:
        found.append(f"by schedule in {hours((due_us - now.now_us) / _HOUR_US)}")
    if rules.windows is not None:
        found.append(f"{now.windows:,} of {rules.windows:,} new windows")
    if rules.devices is not None:
        found.append(f"{now.devices} of {rules.devices} new devices")
    if rules.drift:
        found.append("no drift")
    return found or ["retrainings are only begun by hand"]


def _ago(now: Situation) -> str:
    last_us = max(now.begun_us or 0, now.since_us or 0)
    return f"{hours((now.now_us - last_us) / _HOUR_US)} ago"


def hours(value: float) -> str:
    """A time for people, given in hours: ``40 min``, ``5.5 h``, ``3 days``."""
    if value < 2:
        return f"{max(1, round(value * 60))} min"
    return f"{value:.1f} h" if value < 48 else f"{value / 24:.1f} days"
