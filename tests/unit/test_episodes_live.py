"""Episodes beside a real labeller: deferral and crashes, observers, a registry that changes, kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from disc_stream.artifacts.model import Model
from disc_stream.clock import ManualClock
from disc_stream.types import SampleBatch
from disc_stream_server.labeller.overload import OverloadRules
from disc_stream_server.observers import Observers
from disc_stream_server.storage.history import EpisodeEvent, History
from disc_stream_server.storage.state import StateStore
from tests.support.commits import commit
from tests.support.device import make_batch
from tests.support.labeller import START_US, Bench, arrival_of, model_of, write_spool
from tests.support.motion import walk_values
from tests.support.pasts import assert_episodes_follow, labels, read
from tests.support.registries import ANN, Models
from tests.support.tiny_bundle import write_tiny_bundle

STALE = OverloadRules(stale_us=30_000_000, backlog=10)
STEP_US = 160_000
A, B, C = "a" * 20, "b" * 20, "c" * 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("episodes") / "tiny"
    write_tiny_bundle(path)
    return model_of(path)


def batches(n: int, device: str = "watch", first: int = 0) -> list[SampleBatch]:
    """Somebody who does one thing for 25 s and then another; the clock shows the time of day."""
    values = walk_values(8)
    made = (make_batch(device, seq, values[seq // 160 * 5 % 30 + seq % 5]) for seq in range(first, first + n))
    return [msgspec.structs.replace(one, t0_us=START_US + one.seq * STEP_US) for one in made]


class Recorder:
    """Keeps what it is told of episodes, and fails once."""

    def __init__(self) -> None:
        self.events: list[EpisodeEvent] = []

    def on_episode(self, event: EpisodeEvent) -> None:
        self.events.append(event)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_") and name != "on_forget":
            return lambda *_: None
        raise AttributeError(name)


def test_observers_are_told_what_readers_find(tmp_path: Path, model: Model) -> None:
    recorder = Recorder()
    write_spool(tmp_path, [arrival_of(one, START_US + (one.seq + 1) * STEP_US) for one in batches(640)])
    bench = Bench(tmp_path, model, rows=64, observers=[recorder])  # type: ignore[list-item]
    for _ in range(20):
        bench.run(1)
        bench.checkpoint()
    bench.close()
    with closing(History(tmp_path)) as history:
        page = history.events_since(0)
        episodes = history.episodes("watch").items
    assert list(page.events) == recorder.events
    assert [event.kind for event in recorder.events][:3] == ["begin", "end", "begin"]
    assert {one.name for one in episodes} <= set(model.catalogue.names)
    assert [one.begin_us for one in episodes] == [e.begin_us for e in recorder.events if e.kind == "begin"]
    assert len(episodes) >= 3
    assert assert_episodes_follow(tmp_path) == len(episodes)


def test_an_observer_without_episodes_is_left_alone() -> None:
    class Plain:
        def on_batch(self, batch: Any) -> None: ...
        def on_label(self, label: Any) -> None: ...
        def on_status(self, status: Any) -> None: ...
        def on_problem(self, device: str, problem: Any) -> None: ...

    recorder = Recorder()
    event = EpisodeEvent(1, 2, "watch", "begin", 3, None, 4, "walk")
    Observers([Plain(), recorder]).on_episode(event)  # type: ignore[list-item]
    assert recorder.events == [event]


@pytest.mark.parametrize("crash_every", [None, 1, 3])
def test_deferred_labels_go_where_they_belong(tmp_path: Path, model: Model, crash_every: int | None) -> None:
    """Rows of long ago wait while those of now are labelled; then they are caught up, crash or not."""
    arriving = [arrival_of(one, START_US + (one.seq + 1) * STEP_US) for one in batches(640)]
    write_spool(tmp_path, arriving)
    for _ in range(200):
        bench = Bench(tmp_path, model, rows=16, overload=STALE, clock=ManualClock(START_US + 640 * STEP_US))
        bench.run(crash_every)
        bench.labeller.step(now=True)
        done = bench.labeller.position == bench.reader.head and not bench.store.lanes()
        bench.close()
        if done:
            break
    assert done
    with closing(StateStore(tmp_path)) as store:
        assert any(one.flags for one in store.labels(limit=10_000)), "some came late"
    assert assert_episodes_follow(tmp_path) >= 3


def test_a_registry_changes_what_is_read_and_nothing_that_is_kept(tmp_path: Path) -> None:
    models, state = Models(tmp_path), tmp_path / "state"
    first = models.promote([None, None, None], ["lie", "sit", "walk"])
    ids = first.ids or ()
    text = "".join(A[:20] + B[:20] + A[:20] + C[:20])
    with closing(StateStore(state)) as store:
        store.note_catalogue(models.registry.catalogue_of("current"))
        store.commit(commit(1, labels=labels(text, model=first.version)))
    kept = (state / "state.sqlite").read_bytes()
    names = {own: models.registry.clusters.get(own).label for own in ids}
    assert [one.split()[0:-1] for one in read(state, models=models.path)] == [
        names[n].split() for n in (ids[0], ids[1], ids[0], ids[2])
    ]
    clusters = models.registry.clusters
    with closing(History(state, models.path)) as history:

        def shown() -> list[str]:
            return [f"{one.name} {one.windows}" for one in history.episodes("watch").items]

        clusters.name(ids[0], "lying", ANN)
        assert shown()[0] == "lying 20"
        merged = clusters.merge(ids[1], ids[0], ANN)
        assert [one.split()[-1] for one in shown()] == ["60", "20"]
        assert shown()[0] == "lying 60"
        assert merged is not None
        clusters.undo(ANN, merged.number)
        assert [one.split()[-1] for one in shown()] == ["20", "20", "20", "20"]
        clusters.merge(ids[1], ids[0], ANN)
        clusters.split(ids[0], ANN)
        assert len(shown()) == 4
        second = models.promote([ids[0], None])
        assert second.ids is not None
        assert shown()[0] == "lying 20", "clusters that are retired keep their names"
    assert (state / "state.sqlite").read_bytes() == kept


_COMMITTING = """
import sys
from pathlib import Path
from disc_stream_server.storage.state import StateStore
from tests.support.commits import commit
from tests.support.pasts import day

state, size = Path(sys.argv[1]), 40
rows = sorted((one for name in ("d1", "watch") for one in day(name, 5, 3_000)), key=lambda r: r.window)
mixed = [one for n in range(0, len(rows), 400) for one in [*rows[n + 200 : n + 400], *rows[n : n + 200]]]
store = StateStore(state)
for done in range(store.position, len(mixed), size):
    store.commit(commit(done + size, labels=mixed[done : done + size]))
    print(done, flush=True)
print("all", flush=True)
"""


def test_a_server_that_is_killed_loses_no_episode_and_makes_none_twice(tmp_path: Path) -> None:
    """SIGKILL in the middle of checkpoints, again and again; the next process goes on from the last one."""
    kills, done = 0, False
    while not done:
        with subprocess.Popen(
            [sys.executable, "-c", _COMMITTING, str(tmp_path)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for number, line in enumerate(process.stdout):
                if done := line == "all\n":
                    break
                if kills < 3 and number == 10 + 17 * kills:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    break
        assert_episodes_follow(tmp_path)
    assert kills == 3
    with closing(History(tmp_path)) as history:
        events = history.events_since(0, limit=10_000).events
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    begun = [(event.device, event.begin_us) for event in events if event.kind == "begin"]
    assert len(begun) == len(set(begun)) or any(event.kind == "corrected" for event in events)
