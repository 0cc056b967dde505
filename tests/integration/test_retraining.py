"""A server collects, learns its first model by itself, and labels with it; what is interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from disc_stream.clock import SystemClock
from disc_stream.config import ServeConfig
from disc_stream.data.synthetic import CHANNELS, SyntheticWearable
from disc_stream.registry import Registry
from disc_stream.types import SampleBatch
from disc_stream_server.retraining.process import Limits, RetrainProcess, retrain_command
from disc_stream_server.retraining.schedule import Trigger, Waits
from disc_stream_server.retraining.supervisor import Supervisor
from disc_stream_server.storage.state import StateStore
from tests.integration.conftest import StartServer
from tests.support.commandline import CommandLine
from tests.support.device import Sender, make_batch
from tests.support.labeller import START_US, arrival_of, write_spool
from tests.support.listener import Listener

RULES: dict[str, Any] = {
    "min_windows": 100,
    "clusters": 3,
    "preset": "small",
    "gpu": "none",
    "nice": 0,
    "settings": {"epochs": 2, "refine_epochs": 1, "hidden": 8, "embedding": 4, "decoder_hidden": 8},
}
N_BATCHES, SAMPLES = 100, 64  # 128 s of each device: 2 × 99 windows


def batches() -> Iterator[SampleBatch]:
    for number in range(2):
        wearable = SyntheticWearable(f"watch-{number}", dwell=0.3)
        for seq in range(N_BATCHES):
            samples, _labels = wearable.read(SAMPLES)
            yield make_batch(wearable.device, seq, samples, channels=CHANNELS)


def decisions(state: Path) -> list[dict[str, Any]]:
    text = (state / "retraining" / "decisions.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    Registry.create(tmp_path / "models").close()
    return tmp_path / "models"


@pytest.mark.broker
def test_a_server_without_a_model_learns_one_and_labels_with_it(
    start_server: StartServer, sender: Sender, listener: Listener, models: Path, tmp_path: Path
) -> None:
    server = start_server(bundle=None, models=models, follow_s=0.05, retrain=RULES)
    supervisor = server.supervisor
    assert supervisor is not None
    for batch in batches():
        sender.send(batch)
    listener.wait_for_count("spooled", 2 * N_BATCHES)
    supervisor.wake()
    listener.wait(lambda: listener.status.get("retraining", {}).get("last") == "promoted", 240)
    listener.wait_for_labels(150)
    with Registry.open(models) as registry:
        current = registry.current()
        assert current is not None
        assert current.who == "disc-stream serve"
        assert current.why.startswith("first: there is no model yet, and about ")
        ids = set(registry.version(current.version).ids or ())
    assert {label.model for label in listener.labels} == {current.version}
    assert {label.best.label for label in listener.labels} <= ids | {-1, -2}
    found = [(one["event"], one.get("code"), one.get("outcome")) for one in decisions(tmp_path / "state")]
    assert found[-2:] == [("decision", "first", None), ("ended", "first", "promoted")]
    supervisor.wake()
    listener.wait(lambda: listener.status["retraining"]["words"].startswith("the cool-down lasts"))


class Heard:
    """A supervisor without its thread, and the phases that its process has told of."""

    def __init__(self, config: ServeConfig, state: Path, stop_in: str = "") -> None:
        self.supervisor = Supervisor(config, state, SystemClock())
        self.phases: list[str] = []
        self._stop_in, self._hear = stop_in, self.supervisor._hear
        self.supervisor._hear = self._listen  # type: ignore[method-assign]

    def _listen(self, line: dict[str, Any]) -> None:
        phase = line.get("phase", "")
        if phase and phase not in self.phases:
            self.phases.append(phase)
        self._hear(line)
        if phase and phase == self._stop_in:
            running = self.supervisor._running
            assert running is not None
            running.cancel()


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """A state folder that a server has collected in."""
    state = tmp_path / "state"
    StateStore(state).close()
    everything = list(batches())
    write_spool(state, [arrival_of(one, START_US + one.t0_us) for one in everything])
    return state


def test_what_was_interrupted_goes_on_after_the_next_start(
    collected: Path, models: Path, command_line: CommandLine
) -> None:
    config = ServeConfig(models=models, state=collected, retrain=RULES)  # type: ignore[arg-type]
    assert config.retrain is not None
    told = command_line("retrain", "--models", models, "--state", collected, "--dry-run", "--json")
    facts = json.loads(told.stdout)
    assert (facts["serves"], facts["devices"], facts["unfinished"]) == (False, 2, False)
    assert facts["windows"] == pytest.approx(2 * N_BATCHES, rel=0.05)

    # It had other settings: what it has done is given up.
    slow = config.retrain.model_copy(update={"settings": {**RULES["settings"], "epochs": 100_000}})
    command = retrain_command(config.model_copy(update={"retrain": slow}), collected, "by hand")

    def leave_in_training(line: dict[str, Any]) -> None:
        """Go, as far as the process can tell."""
        child = process._process
        if line.get("phase") == "train" and child is not None and child.stdin is not None:
            child.stdin.close()

    process = RetrainProcess(command, Limits.of(slow), leave_in_training)
    assert process.run().code == 143, "it ends with whoever has started it"
    first = Heard(config, collected, stop_in="train")
    assert first.supervisor.look().code == Trigger.FIRST
    assert first.phases[-2:] == ["replay", "train"]
    assert first.supervisor.status.last == "interrupted"

    # It had the same settings: what it has done stands.
    second = Heard(config, collected)
    assert second.supervisor.look().code == Trigger.RESUME
    assert second.supervisor.status.last == "promoted", second.supervisor.status.words
    assert "replay" not in second.phases
    assert second.phases[0] == "train"
    found = [(one.get("code"), one.get("outcome")) for one in decisions(collected)]
    assert found == [("first", None), ("first", "interrupted"), ("resume", None), ("resume", "promoted")]
    assert second.supervisor.look().code == Waits.COOL_DOWN
