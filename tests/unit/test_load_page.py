"""Parts of `benchmark page`: processor time by thread, growth of memory, numbers of viewers."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from disc_stream.cli.benchmark_page import _numbers
from disc_stream.errors import UsageError
from disc_stream.load.page import _summary, growth
from disc_stream.load.threadtimes import ThreadTimes

NAME = "busy-for-a-test"


def test_the_time_of_threads_with_a_name_and_of_those_that_they_start_is_told_apart() -> None:
    times = ThreadTimes(os.getpid(), NAME)
    named, everybody = times.look()
    assert named == 0
    gone, looked = threading.Event(), threading.Event()

    def burn() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass

    def work() -> None:
        Path("/proc/thread-self/comm").write_text(NAME, encoding="ascii")
        inner = threading.Thread(target=burn)
        inner.start()
        burn()
        inner.join()
        gone.set()
        looked.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    burn()
    gone.wait(10)
    named, everybody_then = times.look()
    looked.set()
    thread.join()
    assert 0.045 <= named < 0.5
    assert everybody_then - everybody >= named + 0.045
    assert times.look()[0] >= named, "what ended counts with what it had"


def test_memory_is_judged_by_levels_without_the_beginning() -> None:
    mib = 2**20
    samples = [
        {"server_bytes": (50 if n < 10 else 100 + (n > 80)) * mib, "browser_heap_bytes": 4 * mib,
         "browser_rss_bytes": None}
        for n in range(100)
    ]  # fmt: skip
    samples[0]["browser_rss_bytes"] = None
    found = growth(samples)
    assert found["server"] == {"first_mib": 100.0, "last_mib": 101.0, "growth": 0.01}
    assert found["browser_heap"]["growth"] == 0
    assert "browser_rss" not in found


def test_what_viewers_add_is_told_against_the_same_run_without_them() -> None:
    phases = [
        {"viewers": n, "page_cores": 0.01 * n, "server_cores": 0.3, "label_ms": {"p50": 10.0, "p99": ms}}
        for n, ms in ((0, 100.0), (20, 110.0), (0, 200.0), (20, 220.0))
    ]
    found = _summary(phases)
    assert found["0"]["p99_ratio"] == 1.0
    assert found["20"] == {
        "page_cores": 0.2, "server_cores": 0.3, "label_p50_ms": 10.0, "label_p99_ms": 165.0, "p99_ratio": 1.1
    }  # fmt: skip


def test_numbers_of_viewers_are_read() -> None:
    assert _numbers("0, 1,20") == [0, 1, 20]
    for text in ("", "1,,2", "-1", "many", "1000"):
        with pytest.raises(UsageError):
            _numbers(text)
