"""The same rows give the same labels: in whatever chunks they are read, and wherever the labeller crashes.

Rows of several devices, with everything that goes wrong on the way: lost, late, doubled and reordered
messages, restarts, another sender under the same id, a rate that varies, sensors in messages of their own,
pauses. The labels of one run from beginning to end are compared with those of others.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from disc_stream.artifacts.model import Model
from disc_stream.types import Label, SampleBatch
from disc_stream_server.storage.spool import Arrival
from tests.support.device import make_batch
from tests.support.labeller import START_US, Bench, arrival_of, facts, model_of, time_row, write_spool
from tests.support.motion import walk_values
from tests.support.tiny_bundle import CHANNELS, FS, write_tiny_bundle

DEVICES = ("plain", "split", "trembling", "restarting")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("determinism") / "tiny"
    write_tiny_bundle(path)
    return model_of(path)


@dataclass(frozen=True)
class Sent:
    """A message and when it was sent, in microseconds from the start."""

    at_us: int
    batch: SampleBatch


def recorded(device: str, draw: st.DrawFn) -> list[Sent]:
    """What a device sends, in order."""
    values = walk_values(8)
    sent: list[Sent] = []
    at_us, seq, start, boot = draw(st.integers(0, 500_000)), 0, 0, 1
    for n in range(draw(st.integers(3, 25))):
        size = draw(st.integers(4, 24))
        samples = np.concatenate([values[(n + k) % len(values)] for k in range(3)])[:size]
        fs = FS * draw(st.floats(0.985, 1.015)) if device == "trembling" else FS
        if device == "restarting" and n and draw(st.integers(0, 7)) == 0:
            boot, seq, start = boot + draw(st.integers(1, 2)), 0, 0
        batch = replace(make_batch(device, seq, samples, boot=boot, start=start), fs=fs)
        if device == "split":
            sent += [
                Sent(at_us, replace(batch, channels=CHANNELS[:2], samples=samples[:, :2], seq=2 * seq)),
                Sent(at_us, replace(batch, channels=CHANNELS[2:], samples=samples[:, 2:], seq=2 * seq + 1)),
            ]
        else:
            sent.append(Sent(at_us, batch))
        seq, start = seq + 1, start + size
        pause_us = draw(st.sampled_from([0, 0, 0, 0, 3_000_000, 7_000_000]))
        at_us += round(size * 1e6 / FS) + pause_us
        start += round(pause_us * FS / 1e6)
    return sent


@st.composite
def spools(draw: st.DrawFn) -> list[Arrival]:
    """Rows in the order of receipt."""
    received: list[tuple[int, SampleBatch]] = []
    for device in draw(st.lists(st.sampled_from(DEVICES), min_size=1, max_size=4, unique=True)):
        for one in recorded(device, draw):
            fate = draw(st.sampled_from(["sent"] * 10 + ["lost", "late", "early", "doubled", "stray"]))
            if fate == "lost":
                continue
            delay_us = {"late": 2_000_000, "early": -400_000}.get(fate, 0)
            received.append((max(0, one.at_us + delay_us), one.batch))
            if fate == "doubled":
                received.append((one.at_us + draw(st.integers(0, 6_000_000)), one.batch))
            if fate == "stray":
                received.append((one.at_us, replace(one.batch, boot=77, seq=draw(st.integers(0, 9)))))
    received.sort(key=lambda item: item[0])
    rows: list[Arrival] = []
    last_us = 0
    for at_us, batch in received:
        while at_us - last_us > 1_000_000:  # the receiver tells the time while nothing comes
            last_us += 1_000_000
            rows.append(time_row(START_US + last_us))
        last_us = at_us
        rows.append(arrival_of(batch, START_US + at_us))
    return rows + [time_row(START_US + last_us + n * 1_000_000) for n in range(1, 13)]


def run(rows: list[Arrival], model: Model, chunk: int, crashes: list[int]) -> tuple[list[Label], object]:
    """Labels of all rows, read in chunks, with crashes after some turns: each starts again from the last
    checkpoint; what was sent after that is sent again, and the last word counts."""
    with tempfile.TemporaryDirectory() as folder:
        write_spool(Path(folder), rows)
        sent: list[Label] = []
        gaps = 0
        for turns in [*crashes, None]:
            bench = Bench(Path(folder), model, rows=chunk)
            if turns is None:
                bench.run()
            else:
                bench.run(turns)
                bench.checkpoint()
                gaps += bench.labeller.live.sessions.counts.missing
                sent += bench.outbox.sent
                bench.outbox.sent = []
                bench.run(2)  # labels that no checkpoint knows of
            sent += bench.outbox.sent
            if turns is None:
                gaps += bench.labeller.live.sessions.counts.missing
            bench.close()
    last = {(one.device, one.boot, one.window): one for one in sent}
    again = facts(sent)
    assert len(set(again)) == len(last), "a window that was labelled twice has one label"
    return list(last.values()), gaps


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(spools(), st.integers(1, 40), st.lists(st.integers(1, 6), max_size=4))
def test_chunks_pauses_and_crashes_do_not_change_a_label(
    model: Model, rows: list[Arrival], chunk: int, crashes: list[int]
) -> None:
    expected, gaps = run(rows, model, 10_000, [])
    for size in (1, chunk):
        found, found_gaps = run(rows, model, size, crashes)
        assert sorted(facts(found)) == sorted(facts(expected))
        assert found_gaps == gaps
