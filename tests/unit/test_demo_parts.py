"""The demo's broker, fleet and kept models, each alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from disc_stream.demo.collect import window_spec
from disc_stream.demo.fleet import ReplayFleet, SyntheticFleet
from disc_stream.demo.kept import KeptModels, default_cache
from disc_stream.demo.model import Plan, cache_key, minutes
from disc_stream.errors import BrokerError, ConfigError, PortInUseError
from disc_stream.localbroker import start as brokers
from disc_stream.localbroker.mosquitto import Mosquitto
from disc_stream.localbroker.ports import port_taken
from disc_stream.localbroker.start import find_mosquitto, start_broker
from disc_stream.wire.broker import Broker

PLAN = Plan(seconds=60.0, epochs=2, clusters=None, seed=0)


def mosquitto() -> Path:
    program = find_mosquitto()
    if program is None:
        pytest.fail("mosquitto is needed for these tests. On Debian: apt-get install mosquitto")
    return program


@pytest.mark.broker
class TestMosquitto:
    def test_it_takes_connections_on_loopback_and_leaves_nothing(self) -> None:
        broker = Mosquitto(mosquitto(), None)
        assert broker.why_dead() is None
        assert port_taken(broker.port)
        socket.create_connection(("127.0.0.1", broker.port), timeout=5).close()
        broker.stop()
        broker.stop()
        assert not port_taken(broker.port)

    def test_a_broker_that_does_not_start_says_what_it_logged(self, tmp_path: Path) -> None:
        program = tmp_path / "mosquitto"
        program.write_text("#!/bin/sh\necho 'Error: no mood today' >&2\nexit 3\n", encoding="utf-8")
        program.chmod(0o755)
        with pytest.raises(BrokerError, match="did not start: Error: no mood today"):
            Mosquitto(program, None)

    def test_a_port_that_is_taken_in_the_last_moment_is_an_error_too(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            with pytest.raises(BrokerError, match="Address already in use"):
                Mosquitto(mosquitto(), other.getsockname()[1])

    @pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
    def test_it_does_not_outlive_us_even_when_we_are_killed(self) -> None:
        script = (
            "import sys, time\n"
            "from disc_stream.localbroker.start import start_broker\n"
            "broker = start_broker(None)\n"
            "print(broker.port, flush=True)\n"
            "time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as owner:
            assert owner.stdout is not None
            port = int(owner.stdout.readline())
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            owner.send_signal(signal.SIGKILL)
            connection.settimeout(10)
            with connection:
                assert connection.recv(1) == b""  # the broker closed it, or the kernel for it


def test_an_occupied_broker_port_is_said_before_anything_starts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortInUseError, match="already in use"):
            start_broker(other.getsockname()[1])


def test_without_mosquitto_the_embedded_broker_is_used_and_says_what_it_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(brokers, "find_mosquitto", lambda: None)
    broker = start_broker(None)
    try:
        assert broker.kind == "embedded"
        assert "first look" in (broker.notice or "")
        assert port_taken(Broker.parse(broker.url).port)
    finally:
        broker.stop()


class TestFleet:
    def test_what_is_labelled_follows_what_was_learned_from(self) -> None:
        fleet, whole = SyntheticFleet(2, seed=3), SyntheticFleet(2, seed=3)
        for source in fleet.training_sources(5.0):
            assert sum(len(b.samples) for b in source.batches(40)) == 250
        for live, source in zip(fleet.sources(boot=2, start_us=0), whole.training_sources(7.0), strict=True):
            *_, last = source.batches(250)
            np.testing.assert_array_equal(next(live.batches(100)).samples, last.samples)

    def test_the_truth_follows_the_stream(self) -> None:
        fleet = SyntheticFleet(1, seed=0)
        (source,) = fleet.sources(boot=1, start_us=5_000_000)
        truth = fleet.truths[source.device]
        assert truth.majority(5_000_000, 50) is None
        next(source.batches(50))
        assert truth.majority(5_000_000, 50) in range(len(fleet.label_names))

    def test_an_unknown_recording_is_a_usage_error(self) -> None:
        with pytest.raises(ConfigError, match="nowhere"):
            ReplayFleet(["nowhere:1"], None)


class TestKeptModels:
    def test_the_key_changes_with_everything_that_changes_the_model(self) -> None:
        fleet = SyntheticFleet(2, seed=0)
        key = cache_key(fleet, PLAN)
        assert cache_key(SyntheticFleet(2, seed=0), PLAN) == key
        others = {
            cache_key(SyntheticFleet(3, seed=0), PLAN),
            cache_key(SyntheticFleet(2, seed=1), PLAN),
            cache_key(fleet, Plan(61.0, 2, None, 0)),
            cache_key(fleet, Plan(60.0, 3, None, 0)),
            cache_key(fleet, Plan(60.0, 2, 5, 0)),
            cache_key(fleet, Plan(60.0, 2, None, 1)),
        }
        assert key not in others
        assert len(others) == 6

    def test_a_kept_model_that_is_damaged_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        kept = KeptModels(tmp_path, retrain=False)
        assert kept.find("abc") is None
        (tmp_path / "abc").mkdir()
        (tmp_path / "abc" / "facts.json").write_text("{}", encoding="utf-8")
        with pytest.raises(ConfigError, match=r"abc.*cannot be used"):
            kept.find("abc")
        assert KeptModels(tmp_path, retrain=True).find("abc") is None

    def test_models_are_kept_in_the_users_cache_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
        assert default_cache() == Path("/somewhere/disc-stream/demo")
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification says: ignore it
        monkeypatch.setenv("HOME", "/home/someone")
        assert default_cache() == Path("/home/someone/.cache/disc-stream/demo")

    @pytest.mark.parametrize(("fs", "half"), [(50.0, 64), (20.0, 26), (100.0, 128)])
    def test_windows_are_two_and_a_half_seconds_and_overlap_by_half(self, fs: float, half: int) -> None:
        spec = window_spec(fs)
        assert (spec.samples, spec.hop, spec.input_samples) == (2 * half, half, half)

    def test_durations_in_words(self) -> None:
        assert minutes(45) == "45 seconds"
        assert minutes(3_600) == "60 minutes"


def test_the_command_says_which_options_exclude_each_other() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "disc_stream", "demo", "--port", "0", "--no-page"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert result.returncode == 2
    assert "exclude each other" in result.stderr
    assert json.dumps(result.stdout) == '""'
