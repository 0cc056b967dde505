"""When a retraining is due: every trigger, and every reason not to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from disc_stream.clock import ManualClock
from disc_stream.config import RetrainConfig, load_serve_config
from disc_stream.errors import ConfigError
from disc_stream_server.retraining.decisions import DecisionLog
from disc_stream_server.retraining.schedule import (
    Decision,
    Situation,
    Trigger,
    Waits,
    decide,
    hours,
    next_due,
)
from disc_stream_server.storage.forget import _forget_retraining

HOUR = 3_600_000_000
MIDNIGHT = 1_700_006_400_000_000  # 2023-11-15 00:00 UTC
RULES = RetrainConfig(every_h=24, windows=50_000, devices=5, drift=True, min_windows=1_000, cooldown_h=6)
CALM = Situation(now_us=MIDNIGHT + 10 * HOUR, since_us=MIDNIGHT, serves=True, windows=2_000)


def test_nothing_is_due_and_the_reason_says_how_far_each_trigger_is() -> None:
    decision = decide(RULES, CALM)
    assert (decision.retrain, decision.code) == (False, Waits.NOT_DUE)
    assert decision.reason == (
        "nothing is due: by schedule in 14.0 h; 2,000 of 50,000 new windows; 0 of 5 new devices; no drift"
    )
    assert decision.due_us == MIDNIGHT + 24 * HOUR


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"now_us": MIDNIGHT + 24 * HOUR}, Trigger.SCHEDULE),
        ({"windows": 50_000}, Trigger.WINDOWS),
        ({"devices": 5}, Trigger.DEVICES),
        ({"drift": "3 of 9 devices"}, Trigger.DRIFT),
        ({"serves": False, "since_us": None}, Trigger.FIRST),
        ({"asked": "asked for by ann: now"}, Trigger.HAND),
        ({"unfinished": True}, Trigger.RESUME),
        ({"asked": "by ann", "busy": 7}, Waits.BUSY),
        ({"drift": "all", "windows": 999}, Waits.TOO_FEW),
        ({"drift": "all", "now_us": MIDNIGHT + 5 * HOUR}, Waits.COOL_DOWN),
        ({"drift": "all", "begun_us": MIDNIGHT + 8 * HOUR, "ended_us": MIDNIGHT + 9 * HOUR}, Waits.COOL_DOWN),
        ({"serves": False, "since_us": None, "windows": 999}, Waits.TOO_FEW),
        ({"asked": "by ann", "windows": 0, "now_us": MIDNIGHT}, Trigger.HAND),
    ],
)
def test_each_trigger_and_each_reason_not_to(change: dict[str, object], code: Trigger | Waits) -> None:
    decision = decide(RULES, replace(CALM, **change))  # type: ignore[arg-type]
    assert decision.code == code
    assert decision.retrain == isinstance(code, Trigger)
    assert decision.reason


def test_without_triggers_only_a_first_model_is_made() -> None:
    bare = RetrainConfig()
    assert not bare.watches
    assert decide(bare, replace(CALM, serves=False, since_us=None)).code == Trigger.FIRST
    plenty = replace(CALM, now_us=MIDNIGHT + 9_999 * HOUR, windows=10**9, devices=10**4, drift="all")
    decision = decide(bare, plenty)
    assert not decision.retrain
    assert "only begun by hand" in decision.reason


def test_a_month_of_nights_at_three_however_long_each_retraining_takes() -> None:
    rules = RetrainConfig(every_h=24, at="03:00", min_windows=8, cooldown_h=1)
    clock = ManualClock(MIDNIGHT + 15 * HOUR)
    began, now = [], replace(CALM, since_us=clock.now_us)
    for _ in range(30 * 24 * 4):
        clock.advance(900)
        if decide(rules, replace(now, now_us=clock.now_us)).retrain:
            began.append(clock.now_us)
            clock.advance(900 * (1 + 7 * len(began) % 16))  # from 15 minutes to 4 hours
            now = replace(now, begun_us=began[-1], ended_us=clock.now_us, since_us=clock.now_us)
    days, times = zip(*(divmod(at_us - MIDNIGHT, 24 * HOUR) for at_us in began), strict=True)
    assert all(3 * HOUR <= time < 3.5 * HOUR for time in times)
    assert days == tuple(range(1, 1 + len(days))), "each night, and none twice"
    assert len(days) >= 29


def test_an_interval_without_a_time_of_day_counts_from_the_last() -> None:
    rules = RetrainConfig(every_h=5)
    assert next_due(rules, CALM) == MIDNIGHT + 5 * HOUR
    assert next_due(rules, replace(CALM, begun_us=MIDNIGHT + HOUR)) == MIDNIGHT + 6 * HOUR
    assert next_due(rules, replace(CALM, since_us=None)) is None
    assert next_due(RetrainConfig(), CALM) is None


@pytest.mark.parametrize(("value", "text"), [(0.1, "6 min"), (0, "1 min"), (5.52, "5.5 h"), (72, "3.0 days")])
def test_times_for_people(value: float, text: str) -> None:
    assert hours(value) == text


# -- settings --------------------------------------------------------------------------------------------


def test_options_replace_single_settings_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("models: m\nretrain:\n  every_h: 24\n  memory_mb: 2048\n")
    rules = load_serve_config(file, {"retrain": {"every_h": 12.0}}).retrain
    assert rules is not None
    assert (rules.every_h, rules.memory_mb) == (12.0, 2048)
    assert load_serve_config(None, {"models": "m"}).retrain is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bundle: b\nretrain: {}\n", "needs a registry.*Give --models"),
        ("models: m\nretrain: {evry_h: 3}\n", r"unknown key 'retrain\.evry_h'.*Known: every_h"),
        ("models: m\nretrain: {every_h: 0}\n", r"'retrain\.every_h' in .* is not usable: .*greater than 0"),
        ("models: m\nretrain: {at: '03:00'}\n", "interval of whole days"),
        ("models: m\nretrain: {at: '24:00', every_h: 24}\n", r"'retrain\.at' in .* is not usable"),
        ("models: m\nretrain: {settings: {'a b': 1}}\n", r"'retrain\.settings' in .* is not usable.*no name"),
        ("models: m\nretrain: often\n", "'retrain' in .* is not usable"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_serve_config(file, {})


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(ConfigError, match=r"option --retrain-every-h is not usable"):
        load_serve_config(None, {"models": "m", "retrain": {"every_h": -1.0}})


# -- the log ---------------------------------------------------------------------------------------------


def test_the_log_says_each_decision_once_and_what_came_of_it(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    assert log.last().begun_us is None
    wait, go = Decision(Waits.TOO_FEW, "few"), Decision(Trigger.WINDOWS, "many")
    for minute in range(30):
        log.decided(wait, minute * 60_000_000)
    log.decided(go, 10 * HOUR)
    assert DecisionLog(tmp_path).last().interrupted, "begun, and no end: the server was killed"
    log.ended(11 * HOUR, {"outcome": "promoted"})
    log.decided(wait, 12 * HOUR)
    last = DecisionLog(tmp_path).last()
    assert (last.begun_us, last.ended_us, last.interrupted, last.outcome) == (
        10 * HOUR, 11 * HOUR, False, "promoted",
    )  # fmt: skip
    text = (tmp_path / "retraining" / "decisions.jsonl").read_text()
    assert [line.count('"few"') for line in text.splitlines()] == [1, 0, 0, 1]


def test_the_log_stays_small_and_survives_a_cut_line(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, max_bytes=4_096)
    file = tmp_path / "retraining" / "decisions.jsonl"
    for n in range(500):
        log.decided(Decision(Trigger.WINDOWS, "many"), n)
        log.ended(n, {"outcome": "rejected"})
        assert file.stat().st_size < 4_096 + 200
    with file.open("a") as end:
        end.write('{"at": 600, "event": "deci')
    assert DecisionLog(tmp_path).last().ended_us == 499


def test_erasing_a_device_leaves_the_log(tmp_path: Path) -> None:
    DecisionLog(tmp_path).decided(Decision(Trigger.WINDOWS, "many"), 1)
    (tmp_path / "retraining" / "replay.npz").write_bytes(b"motion")
    assert _forget_retraining(tmp_path / "retraining") == 1
    assert [path.name for path in (tmp_path / "retraining").iterdir()] == ["decisions.jsonl"]
    assert DecisionLog(tmp_path).last().begun_us == 1
