"""Samples from standard input."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator

import pytest

from disc_stream.clock import SystemClock
from disc_stream.errors import DataError
from disc_stream.types import Channel
from disc_stream_edge.lines import Chunk, LineSource, read_chunks

CSV = "acc_x[g],gyro_z [ rad/s ]"
JSON = '{"channels": ["acc_x", "gyro_z"], "units": ["g", "rad/s"]}'


def source(lines: Iterable[str], fs: float = 100.0) -> LineSource:
    """All lines at once; the first sample is taken at 1 s."""
    header, *rows = lines or [""]
    n = sum(bool(row.strip()) for row in rows)
    return chunked([Chunk((header,)), Chunk(tuple(rows), 0.0, 1_000_000 + round((n - 1) * 1e6 / fs))], fs)


def chunked(chunks: Iterable[Chunk], fs: float = 100.0) -> LineSource:
    return LineSource(iter(chunks), device="dev", fs=fs, boot=3)


def read_lines(fd: int, stop: threading.Event) -> Iterator[str]:
    for chunk in read_chunks(fd, stop, SystemClock()):
        yield from chunk.lines


@pytest.mark.parametrize(("header", "rows"), [(CSV, ["1,2", "3.5,-4e0"]), (JSON, ["[1, 2]", "[3.5, -4.0]"])])
def test_csv_and_json_lines_give_the_same_samples(header: str, rows: list[str]) -> None:
    lines = source([header, *rows])
    assert lines.meta.channels == (Channel("acc_x", "g"), Channel("gyro_z", "rad/s"))
    (batch,) = lines.batches(25)
    assert batch.samples.tolist() == [[1.0, 2.0], [3.5, -4.0]]
    assert (batch.boot, batch.seq, batch.t0_us, batch.fs) == (3, 0, 1_000_000, 100.0)


def test_a_malformed_line_is_a_lost_sample_and_time_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    # line     2     3     4      5    6     7   8 (blank)  9     10
    rows = ["0,0", "1,1", "x,2", "", "nan,3", "4", "5,5", "6,6", "7,7"]
    lines = source([CSV, *rows])
    batches = list(lines.batches(2))
    # index    0      1     2          3       4     5      6      7
    assert [b.samples[:, 0].tolist() for b in batches] == [[0.0, 1.0], [5.0, 6.0], [7.0]]
    assert [b.t0_us - 1_000_000 for b in batches] == [0, 50_000, 70_000]
    assert [b.seq for b in batches] == [0, 2, 3]  # the server sees where samples are missing
    assert lines.malformed == 3
    assert "line 4 is skipped: not all values are numbers: 'x,2'" in caplog.text
    assert "line 6 is skipped: a value is NaN, infinite or too large" in caplog.text
    assert "line 7 is skipped: 1 values for 2 channels" in caplog.text


def test_a_malformed_line_ends_the_batch_so_that_no_gap_hides_in_it() -> None:
    batches = list(source([CSV, "0,0", "bad", "2,2", "3,3"]).batches(25))
    assert [b.samples[:, 0].tolist() for b in batches] == [[0.0], [2.0, 3.0]]
    assert [b.t0_us - 1_000_000 for b in batches] == [0, 20_000]


def rows(first: int, n: int) -> tuple[str, ...]:
    return tuple(f"{value},0" for value in range(first, first + n))


def test_a_pause_ends_the_batch_and_shows_in_the_clock() -> None:
    """At 100 Hz, in messages of up to 25 samples.

    ::

        seconds   1.00 … 1.09        7.00      8.00 … 8.04
        lines     ##########       nothing     #####
        batches   [ 10 rows]                   [5 rows]
    """
    lines = chunked([
        Chunk((CSV, *rows(0, 10)), 0.0, 1_090_000),
        Chunk((), 6.0, 7_090_000),
        Chunk(rows(10, 5), 6.95, 8_040_000),
    ])  # fmt: skip
    batches = list(lines.batches(25))
    assert [len(b.samples) for b in batches] == [10, 5]
    assert [b.t0_us for b in batches] == [1_000_000, 8_000_000]  # its last sample is the one at 8.04 s
    assert [b.seq for b in batches] == [0, 1], "nothing was lost: the clock shows the gap, not the number"
    assert lines.pauses == 1


def test_what_came_before_a_pause_is_not_held_until_it_ends() -> None:
    def arriving() -> Iterable[Chunk]:
        yield Chunk((CSV, *rows(0, 10)))
        yield Chunk((), 1.1, 0)
        pytest.fail("the first samples were still held")

    assert len(next(chunked(arriving()).batches(25)).samples) == 10


def test_a_program_that_writes_in_blocks_makes_no_pause() -> None:
    """Four seconds of silence, then the lines of four seconds: nothing is missing between the samples."""
    blocks = [Chunk(rows(400 * i, 400), 4.0, 4_990_000 + 4_000_000 * i) for i in range(3)]
    lines = chunked([Chunk((CSV,)), *blocks])
    batches = list(lines.batches(400))
    assert [b.t0_us for b in batches] == [1_000_000, 5_000_000, 9_000_000]
    assert lines.pauses == 0


def test_lines_that_lay_ready_at_the_start_are_as_old_as_their_number() -> None:
    """The sensor's program was quicker to start than ours, by 90 lines."""
    lines = chunked([Chunk((CSV, *rows(0, 90)), 0.0, 1_890_000), Chunk(rows(90, 1), 1.5, 3_390_000)])
    batches = list(lines.batches(100))
    assert [b.t0_us for b in batches] == [1_000_000, 3_390_000]
    assert lines.pauses == 1, "a pause is not hidden by a clock that began too late"


def test_a_pause_before_the_first_sample_moves_the_beginning() -> None:
    lines = chunked([Chunk((CSV,)), Chunk(rows(0, 1), 6.0, 7_000_000), Chunk(rows(1, 1), 0.01, 7_010_000)])
    (batch,) = lines.batches(25)
    assert batch.t0_us == 7_000_000


@pytest.mark.parametrize(("idle_s", "pauses"), [(0.9, 0), (1.2, 1)])
def test_short_waits_are_no_pauses(idle_s: float, pauses: int) -> None:
    lines = chunked([Chunk((CSV, *rows(0, 10)), 0.0, 1_000_000), Chunk(rows(10, 1), idle_s, 9_000_000)])
    assert len(list(lines.batches(25))) == 1 + pauses
    assert lines.pauses == pauses


def test_slow_sensors_may_wait_for_longer() -> None:
    lines = chunked([Chunk((CSV, "0,0"), 0.0, 1_000_000), Chunk(("1,1",), 4.0, 5_000_000)], fs=0.5)
    assert [b.t0_us for b in lines.batches(2)] == [1_000_000]
    assert lines.pauses == 0


def test_a_wall_clock_that_was_set_back_makes_no_time_go_back() -> None:
    lines = chunked([Chunk((CSV, *rows(0, 100)), 0.0, 1_990_000), Chunk(rows(100, 1), 6.0, 500_000)])
    assert [b.t0_us for b in lines.batches(100)] == [1_000_000, 2_000_000]


@pytest.mark.parametrize(
    "row",
    ["[1]", "[1, true]", '["1", 2]', "{}", "[1, 2", "[1e999, 2]", "[1" + "0" * 400 + ",2]", "[" * 60_000],
    ids=["few", "bool", "text", "object", "open", "infinite", "large", "deep"],
)
def test_wrong_json_lines_are_counted(row: str) -> None:
    lines = source([JSON, row, "[1, 2]"])
    assert [b.samples.tolist() for b in lines.batches(5)] == [[[1.0, 2.0]]]
    assert lines.malformed == 1


def test_only_the_first_malformed_lines_are_described(caplog: pytest.LogCaptureFixture) -> None:
    lines = source([CSV, *["x"] * 100])
    assert list(lines.batches(5)) == []
    assert lines.malformed == 100
    assert len(caplog.records) == 6


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "empty"),
        ("0.1,0.2", "'0.1' is not name[unit]"),
        ("acc_x,acc_y", "'acc_x' is not name[unit]"),
        ("a[g],a[g]", "same name"),
        ("a[furlong]", "unit 'furlong' of 'a' is not known"),
        ('{"channels": ["a"]}', "'units' is missing"),
        ('{"units": "g"}', "without channels"),
        ("{}", "'channels' is missing"),
        ('{"channels": "a", "units": "g"}', "list"),
        ('{"channels": ["a"], "units": "g", "scale": 2}', "scale"),
        ("{", "does not name channels"),
    ],
)
def test_a_wrong_header_is_an_error(header: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        source([header] if header else [])
    assert said in str(caught.value)
    assert "acc_x[g]" in str(caught.value) or "Use one of" in str(caught.value)


@pytest.fixture
def pipe() -> Iterable[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def test_lines_are_read_as_they_come_and_the_last_needs_no_end(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = read_lines(reader, threading.Event())
    os.write(writer, b"one\r\ntw")
    assert next(lines) == "one"
    os.write(writer, b"o\n\xff\nlast")
    assert next(lines) == "two"
    assert next(lines) == "\ufffd"
    os.close(writer)
    assert list(lines) == ["last"]


def test_a_wait_is_measured_and_what_lies_ready_is_not_waited_for(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, b"header\n")
    chunks = read_chunks(reader, threading.Event(), SystemClock())
    assert next(chunks).idle_s == 0.0
    silent = next(chunks)  # after a second without a line
    assert silent.lines == ()
    assert silent.idle_s == pytest.approx(1.0, abs=0.5)
    before_us = SystemClock().unix_us()
    os.write(writer, b"1\n2\n")
    chunk = next(chunks)
    assert (chunk.lines, chunk.idle_s >= silent.idle_s) == (("1", "2"), True)
    assert before_us <= chunk.read_us <= SystemClock().unix_us()
    os.write(writer, b"3\n")
    third = next(chunks)
    assert (third.lines, third.idle_s) == (("3",), 0.0)
    os.close(writer)


def test_reading_ends_when_told_even_if_nothing_arrives(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stop = threading.Event()
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    assert list(read_lines(reader, stop)) == []
    os.close(writer)
    timer.join()


def test_an_endless_line_does_not_fill_the_memory(pipe: tuple[int, int]) -> None:
    reader, writer = pipe

    def write() -> None:
        for _ in range(20):
            os.write(writer, b"x" * 50_000)
        os.write(writer, b"\n1,2\n")
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    lines = list(read_lines(reader, threading.Event()))
    thread.join()
    assert [len(line) for line in lines] == [65_536, 3]
