"""A disk that is full: nothing is acknowledged, nothing is lost, and all goes on once there is space."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.errors import SpoolFullError
from disc_stream_server.storage.forget import forget
from disc_stream_server.storage.segments import list_segments
from disc_stream_server.storage.spool import Arrival, Row, SpoolReader, SpoolWriter
from disc_stream_server.storage.state import StateStore
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto
from tests.support.commits import commit
from tests.support.device import LEFT, Sender, constant, make_batch
from tests.support.listener import Listener


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def group(number: int, n: int = 10, size: int = 1000) -> list[Arrival]:
    return [Arrival(number, f"ds/v1/d{k % 2}/raw", "", bytes([number % 256]) * size) for k in range(n)]


def rows_of(spool: Path) -> list[Row]:
    reader = SpoolReader(spool)
    rows = reader.read(0, 1_000_000)
    reader.close()
    return rows


def fill_up(disk: Path) -> Path:
    """Take all the space that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            return ballast
    return ballast


def append_until_full(writer: SpoolWriter) -> int:
    """Groups appended until the disk took no more."""
    for number in range(100_000):
        try:
            writer.append(group(number))
        except SpoolFullError as error:
            assert "the disk is full" in str(error)  # noqa: PT017 - the number of groups is wanted too
            return number
    pytest.fail("the disk was never full")


@pytest.mark.parametrize("max_file_bytes", [2**40, 300_000], ids=["one file", "several files"])
def test_a_full_disk_costs_no_row_and_a_retry_succeeds(small_disk: Path, max_file_bytes: int) -> None:
    spool = small_disk / "spool"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2**20))
    writer = SpoolWriter(spool, max_file_bytes=max_file_bytes)
    groups = append_until_full(writer)
    assert groups > 50
    assert writer.head == 10 * groups
    for _ in range(3):
        with pytest.raises(SpoolFullError):
            writer.append(group(groups, n=40))
    assert [row.position for row in rows_of(spool)] == list(range(1, 10 * groups + 1))
    ballast.unlink()
    writer.append(group(groups, n=40))
    for number in range(groups + 1, groups + 20):
        writer.append(group(number))
    writer.close()
    found = rows_of(spool)
    assert [row.position for row in found] == list(range(1, 10 * groups + 40 + 190 + 1))
    assert [row.payload[0] for row in found[: 10 * groups : 10]] == [n % 256 for n in range(groups)]
    assert (len(list_segments(spool)) > 1) == (max_file_bytes < 2**40)


def test_a_writer_that_finds_the_disk_full_when_it_starts_says_so_and_starts_later(small_disk: Path) -> None:
    writer = SpoolWriter(small_disk / "spool")
    writer.append(group(1))
    writer.close()
    ballast = fill_up(small_disk)
    with pytest.raises(SpoolFullError):
        SpoolWriter(small_disk / "spool")
    assert len(rows_of(small_disk / "spool")) == 10, "what is there can be read"
    ballast.unlink()
    writer = SpoolWriter(small_disk / "spool")
    writer.append(group(2))
    writer.close()
    assert [row.payload[0] for row in rows_of(small_disk / "spool")] == [1] * 10 + [2] * 10


def test_a_checkpoint_waits_for_space_too(small_disk: Path) -> None:
    store = StateStore(small_disk)
    store.commit(commit(1, {"d": b"old"}))
    ballast = fill_up(small_disk)
    new = commit(2, {**{f"d{n}": bytes(30_000) for n in range(20)}, "d": b""})
    for _ in range(2):
        with pytest.raises(SpoolFullError):
            store.commit(new)
    assert (store.position, store.state(0, "session", "d")) == (1, b"old")
    ballast.unlink()
    store.commit(new)
    assert (store.position, store.state(0, "session", "d"), len(store.states(0, "session"))) == (2, None, 20)
    store.close()


def test_erasing_on_a_full_disk_fails_cleanly_and_succeeds_later(small_disk: Path) -> None:
    StateStore(small_disk).close()
    writer = SpoolWriter(small_disk / "spool")
    for number in range(60):
        writer.append(group(number))
    writer.close()
    before = rows_of(small_disk / "spool")
    ballast = fill_up(small_disk)
    with pytest.raises(SpoolFullError):
        forget(small_disk, "d1", "ds/v1")
    ballast.unlink()
    forget(small_disk, "d1", "ds/v1")
    assert rows_of(small_disk / "spool") == [row for row in before if "d0" in row.topic]


LIMITED = """
import resource, sys
from pathlib import Path
from disc_stream.errors import SpoolFullError
from disc_stream_server.storage.spool import Arrival, SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
group = [Arrival(1, "t", "", b"x" * 1000)] * 20
try:
    while True:
        writer.append(group)
except SpoolFullError:
    print(writer.head)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(writer.append(group))
writer.close()
"""


def test_a_limit_of_the_system_counts_as_a_full_disk(tmp_path: Path) -> None:
    """As a quota does; this one needs nothing to be mounted."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(int, result.stdout.split())
    assert after == before + 20
    assert before >= 60
    assert [row.position for row in rows_of(tmp_path)] == list(range(1, after + 1))


@pytest.mark.broker
def test_what_came_while_the_disk_was_full_is_labelled_when_there_is_space(
    small_disk: Path,
    mosquitto: Mosquitto,
    start_server: StartServer,
    sender: Sender,
    listener: Listener,
) -> None:
    server = start_server(state=small_disk / "state", receive_maximum=20, checkpoint_s=0.1)
    sender.send(make_batch("watch", 0, constant(LEFT, 8)))
    listener.wait_for_labels(1)
    ballast = fill_up(small_disk)
    for seq in range(1, 400):
        sender.send(make_batch("watch", seq, constant(LEFT, 8)))
    sender.flush()
    listener.wait_for_count("retries", 2)
    assert "space for the spool" in str(server._service.waits_for())
    assert len(listener.labels) < 400
    ballast.unlink()
    listener.wait_for_labels(400, timeout=120)
    assert [label.seq for label in listener.labels] == list(range(400))
    listener.wait(lambda: listener.status["counters"]["checkpoint"] >= 400)
    assert server._service.waits_for() is None
    assert server.stop()
    rows = rows_of(small_disk / "state" / "spool")
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row.topic.endswith("/raw") for row in rows) == 400  # others tell that time has passed
