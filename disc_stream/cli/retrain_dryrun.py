"""``disc-stream retrain --dry-run``: what there is to learn from, and whether a server would retrain now."""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from disc_stream.cli.common import print_json, say

if TYPE_CHECKING:
    from disc_stream.config import RetrainConfig


def tell_dry_run(
    models: Path, state: Path, prefix: str, wanted: tuple[int, float], config: Path | None, *, as_json: bool
) -> None:
    """Print it.

    Args:
        models: the registry.
        state: the state folder.
        prefix: of the topics.
        wanted: windows to learn from at most, and their length in seconds for a first model.
        config: of the server, for its rules; None if there is none.
        as_json: as one JSON object.

    Raises:
        DiscStreamError: if the registry, the state folder or the configuration cannot be read.
    """
    facts = _facts(models, state, prefix, wanted, config)
    if as_json:
        print_json(facts)
        return
    about = "" if facts["serves"] else "about "
    number = f"{about}{facts['learn']:,} of {facts['windows']:,}"
    say(f"would learn from {number} windows of {facts['devices']} devices")
    if facts["since"] is not None:
        say(
            f"since the newest version came in, {_ago(facts['since'])}: {facts['new_windows']:,} windows, "
            f"{facts['new_devices']} new devices"
        )
    else:
        say("the registry is empty: it would make the first model")
    if facts["busy"] is not None:
        say(f"a retraining runs already, in process {facts['busy']}")
    elif facts["unfinished"]:
        say("an unfinished retraining would go on, if the settings are the same")
    if "decision" in facts:
        decision = facts["decision"]
        say(f"the server would {'' if decision['retrain'] else 'not '}retrain now: {decision['reason']}")
        if facts["drift_watched"]:
            say("whether its motion has changed only the running server knows")
    say(f"next: disc-stream retrain --models {quote(str(models))} --state {quote(str(state))}")


def _facts(
    models: Path, state: Path, prefix: str, wanted: tuple[int, float], config: Path | None
) -> dict[str, Any]:
    from contextlib import closing
    from dataclasses import replace

    from disc_stream_server.retraining.decisions import DecisionLog
    from disc_stream_server.retraining.evidence import Evidence
    from disc_stream_server.retraining.schedule import decide
    from disc_stream_server.storage.forget import RETRAINING
    from disc_stream_server.storage.queries import StateReader

    now_us = time.time_ns() // 1000
    with closing(StateReader(state)) as store:
        labelled = store.labels_by_device(0, store.last_labelled)
    evidence = Evidence(state, models, prefix, wanted[1])
    now = evidence.look_at_all(now_us)
    windows = sum(labelled.values()) or now.windows
    facts: dict[str, Any] = {
        "models": str(models), "state": str(state), "serves": now.serves, "windows": windows,
        "devices": len(labelled) or now.devices, "learn": min(windows, wanted[0]), "since": now.since_us,
        "new_windows": now.windows, "new_devices": now.devices, "busy": now.busy,
        "unfinished": (state / RETRAINING / "plan.json").exists(),
    }  # fmt: skip
    rules = None if config is None else _rules_of(config, models)
    if rules is not None:
        last = DecisionLog(state).last()
        now = replace(
            now, unfinished=last.interrupted, begun_us=last.begun_us,
            ended_us=None if last.interrupted else last.ended_us,
        )  # fmt: skip
        decision = decide(rules, now)
        told = {"retrain": decision.retrain, "code": str(decision.code), "reason": decision.reason}
        facts |= {"decision": {**told, "due": decision.due_us}, "drift_watched": rules.drift}
    return facts


def _rules_of(config: Path, models: Path) -> RetrainConfig:
    """The rules of a server's configuration.

    Raises:
        ConfigError: if it has none.
    """
    from disc_stream.config import load_serve_config
    from disc_stream.errors import ConfigError

    rules = load_serve_config(config, {"models": models}).retrain
    if rules is None:
        raise ConfigError(f"{str(config)!r} has no rules of retraining", remedy="Put `retrain:` into it")
    return rules


def _ago(since_us: int) -> str:
    from disc_stream_server.retraining.schedule import hours

    return f"{hours((time.time_ns() // 1000 - since_us) / 3.6e9)} ago"
