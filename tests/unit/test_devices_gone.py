"""What is known of devices that are gone is dropped, and the same rows drop the same devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from disc_stream.artifacts.model import Model
from disc_stream.types import DeviceMeta
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.storage.spool import Arrival, SpoolWriter
from disc_stream_server.storage.state import StateStore
from tests.support.device import REST, constant, make_batch
from tests.support.labeller import START_US, Bench, arrival_of, facts, model_of, time_row
from tests.support.tiny_bundle import CHANNELS, FS, write_tiny_bundle

DAY_US = 86_400_000_000
TOPICS = Topics()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("gone") / "tiny"
    write_tiny_bundle(path)
    return model_of(path)


def sent(device: str, seq: int, day: float) -> Arrival:
    return arrival_of(make_batch(device, seq, constant(REST, 8)), START_US + round(day * DAY_US))


def described(device: str, day: float) -> Arrival:
    payload = encode_meta(DeviceMeta(FS, CHANNELS))
    return Arrival(START_US + round(day * DAY_US), TOPICS.of(device, Kind.META), "", payload)


def spool(folder: Path, rows: list[Arrival]) -> None:
    writer = SpoolWriter(folder / "spool")
    writer.append(rows)
    writer.close()


def known(folder: Path) -> set[str]:
    store = StateStore(folder)
    try:
        return {device for device in store.devices() if device}
    finally:
        store.close()


def label_all(folder: Path, model: Model, *, rows: int = 512) -> Bench:
    bench = Bench(folder, model, rows=rows, keep_days=2)
    bench.run()
    return bench


def test_a_device_that_was_not_heard_for_longer_than_is_kept_is_dropped(tmp_path: Path, model: Model) -> None:
    #           day  0        1        2        3        4
    # gone           x
    # seldom         x                 x                 x
    # often          x        x        x        x        x
    rows = [sent(name, 0, 0) for name in ("gone", "often", "seldom")]
    rows += [sent("often", 1, 1), sent("often", 2, 2), sent("seldom", 1, 2), sent("often", 3, 3)]
    spool(tmp_path, rows[:-1])
    bench = label_all(tmp_path, model)
    bench.checkpoint()
    bench.close()
    assert known(tmp_path) == {"gone", "often", "seldom"}, "two days are not longer than two days"
    spool(tmp_path, rows[-1:])
    bench = label_all(tmp_path, model)
    bench.checkpoint()
    bench.close()
    assert known(tmp_path) == {"often", "seldom"}
    spool(tmp_path, [sent("often", 4, 4), sent("seldom", 2, 4)])
    bench = label_all(tmp_path, model)
    bench.checkpoint()
    bench.close()
    assert known(tmp_path) == {"often", "seldom"}


def test_time_alone_drops_a_device_and_its_retained_description_does_not_hold_it(
    tmp_path: Path, model: Model
) -> None:
    rows = [described("gone", 0), sent("gone", 0, 0), described("gone", 1), described("gone", 2)]
    spool(tmp_path, [*rows, time_row(START_US + 3 * DAY_US)])
    bench = label_all(tmp_path, model)
    bench.checkpoint()
    bench.close()
    assert known(tmp_path) == set()


def test_a_device_that_returns_begins_anew_whatever_the_chunks_and_crashes(
    tmp_path: Path, model: Model
) -> None:
    rows = [sent("watch", seq, 0) for seq in range(3)]
    rows += [sent("other", 0, 1)]
    rows += [sent("watch", seq, 4) for seq in range(3, 6)]  # the first row of that day is its own
    rows += [time_row(START_US + 5 * DAY_US)]
    found = []
    for place, (chunk, crash) in enumerate([(512, None), (1, None), (2, None), (512, 3), (1, 4), (1, 5)]):
        folder = tmp_path / str(place)
        spool(folder, rows[:crash])
        bench = label_all(folder, model, rows=chunk)
        labels = list(bench.outbox.sent)
        if crash is not None:
            bench.checkpoint()
            bench.close()
            spool(folder, rows[crash:])
            bench = label_all(folder, model, rows=chunk)
            labels += bench.outbox.sent
        bench.checkpoint()
        bench.close()
        assert known(folder) == {"watch"}
        found.append(sorted(facts(labels), key=repr))
    assert all(one == found[0] for one in found)
    assert len(found[0]) == 7


def test_devices_known_from_before_days_were_noted_count_from_the_first_day(
    tmp_path: Path, model: Model
) -> None:
    spool(tmp_path, [sent("old", 0, 0)])
    bench = label_all(tmp_path, model)
    bench.checkpoint()
    bench.store._connection.execute("DELETE FROM parts WHERE part = 'heard'")
    bench.close()
    spool(tmp_path, [sent("often", 0, 10)])
    bench = label_all(tmp_path, model)
    bench.checkpoint()
    bench.close()
    assert known(tmp_path) == {"old", "often"}
    spool(tmp_path, [sent("often", 1, 13)])
    bench = label_all(tmp_path, model)
    bench.checkpoint()
    bench.close()
    assert known(tmp_path) == {"often"}
