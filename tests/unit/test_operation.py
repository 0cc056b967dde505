"""What is told of a server's work: quantiles of histograms, room of the spool, drift, hours of the day."""

from __future__ import annotations

from pathlib import Path

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.config import ServeConfig
from disc_stream.types import Label, SoftLabel
from disc_stream.wire.status import ServerStatus, State
from disc_stream_server.api.library import Library
from disc_stream_server.api.live.drift import MOST, SPAN_US, DriftSeries
from disc_stream_server.api.operation import quantile, spool_facts
from disc_stream_server.metrics.snapshot import Snapshot
from disc_stream_server.stages import Distribution
from disc_stream_server.storage.activity import _spread
from tests.support.tiny_bundle import for_people, write_tiny_bundle

HOUR_US = 3_600_000_000


def test_examples_that_are_hashed_and_damaged_cost_nothing_but_themselves(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny", files=for_people(b"disc-stream.examples/1\n nonsense"))
    version = Bundle.open(tmp_path / "tiny").version
    library = Library(ServeConfig(bundle=tmp_path / "tiny"), tmp_path)
    opened = library.open(version)
    assert opened is not None
    assert (opened.kept, opened.examples) == ("unreadable", None)
    assert len(opened.book.epochs) == 12
    assert library.open("0" * 12) is None
    (tmp_path / "tiny" / "model.onnx").write_bytes(b"")
    assert Library(ServeConfig(bundle=tmp_path / "tiny"), tmp_path).open(version) is None


def test_quantiles_lie_within_their_buckets() -> None:
    found = Distribution((0.1, 0.2, 0.4), (50, 0, 40, 10), 0.0)
    assert quantile(found, 0.25) == pytest.approx(0.05)
    assert quantile(found, 0.5) == pytest.approx(0.1)
    assert quantile(found, 0.7) == pytest.approx(0.3)
    assert quantile(found, 0.99) is None


def snapshot(received_bytes: int, run_s: float) -> Snapshot:
    status = ServerStatus(
        State.ONLINE, 0, updated_us=round(run_s * 1e6), counters={"received_bytes": received_bytes}
    )
    return Snapshot(status, True, 0)


def test_how_long_there_is_room(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "0.sqlite").write_bytes(bytes(5_000))
    config = ServeConfig(bundle=tmp_path, keep_days=1e9, keep_bytes=2**62)
    told = spool_facts(config, tmp_path, snapshot(1 << 40, 86_400))
    assert (told["bytes"], told["files"]) == (5_000, 1)
    assert told["days_left"] == pytest.approx(told["free"] / 2**40)
    assert spool_facts(config, tmp_path, snapshot(1 << 40, 60))["days_left"] is None
    short = ServeConfig(bundle=tmp_path, keep_bytes=2**20)
    assert spool_facts(short, tmp_path, snapshot(1 << 40, 86_400))["days_left"] is None
    assert spool_facts(config, tmp_path / "gone", None)["free"] is None


def label(at_us: int, *, cluster: int = 1, novelty: float | None = 0.5, model: str = "m") -> Label:
    soft = SoftLabel(cluster, "", 1.0)
    return Label("d", 1, 0, 0, 0, soft, (soft,), soft, 1.0, novelty, model, 0, at_us)


def test_drift_is_counted_in_points_and_by_model() -> None:
    series = DriftSeries()
    for one in (
        label(SPAN_US),
        label(SPAN_US + 1, novelty=1.5),
        label(SPAN_US + 2, cluster=-1, novelty=9.0),
        label(SPAN_US + 3, cluster=-2),
        label(SPAN_US + 4, novelty=None, model="n"),
        label(3 * SPAN_US, model="n"),
    ):
        series.add(one)
    found = [(p.from_us // SPAN_US, p.model, p.windows, p.unusual, p.unknown) for p in series.points()]
    assert found == [(1, "m", 3, 2, 1), (1, "n", 1, 0, 0), (3, "n", 1, 0, 0)]
    for n in range(2 * MOST):
        series.add(label(n * SPAN_US + 10**15))
    assert len(series.points()) == MOST


@pytest.mark.parametrize(
    ("begin_h", "end_h", "hours"),
    [
        (3.5, 5.25, {3: 0.5, 4: 1.0, 5: 0.25}),
        (23.5, 24.5, {23: 0.5, 0: 0.5}),
        (0, 25, dict.fromkeys(range(24), 1.0) | {0: 2.0}),
        (7, 7, {}),
    ],
)
def test_a_time_is_spread_over_its_hours(begin_h: float, end_h: float, hours: dict[int, float]) -> None:
    found = [0] * 24
    _spread(found, round(begin_h * HOUR_US), round(end_h * HOUR_US))
    assert {hour: us / HOUR_US for hour, us in enumerate(found) if us} == hours
