"""The server's end of the receiving process: whatever happens to the process, another one is started."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from disc_stream.errors import BrokerError
from disc_stream_server.receiving import process as module
from disc_stream_server.receiving.process import ReceiverProcess
from disc_stream_server.receiving.settings import ReceiverSettings
from tests.support.silent import seconds_of, silent_server

STATE = (
    '{"event":"state","connected":true,"waits":"","since":1.0,"blocked":"",'
    '"head":%d,"counts":{"received":%d}}'
)
HEAD = '{"event":"head","head":%d}'
READY = '{"event":"ready","head":1}'


class Watch:
    """Lets a test wait for what the process's reports change."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def on_head(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def until(self, what: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(what, 15)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(module, "_FIRST_DELAY_S", 0.05)
    return Watch()


def make(tmp_path: Path, watch: Watch, *, broker: str = "mqtt://127.0.0.1:1") -> ReceiverProcess:
    settings = ReceiverSettings(broker, "ds/v1", "test", 60, 100, str(tmp_path), 2**20, 0.0)
    return ReceiverProcess(settings, on_head=watch.on_head)


def write(program: Path, script: str) -> None:
    """A stand-in for the receiving process, put in place at once."""
    new = program.with_suffix(".new")
    new.write_text(f"#!/bin/sh\n{script}\n")
    new.chmod(0o755)
    new.rename(program)


def test_a_broken_pipe_and_failed_starts_are_survived_and_nothing_is_ready_meanwhile(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "receiver"
    monkeypatch.setattr(sys, "executable", str(program))
    # Settings larger than a pipe: a process that ends without reading them breaks it.
    process = make(tmp_path, watch, broker="mqtt://127.0.0.1:1?" + "x" * 200_000)
    write(program, f"read settings; echo '{READY}'; echo '{STATE % (5, 5)}'; echo '{HEAD % 5}'; read more")
    with caplog.at_level(logging.ERROR):
        process.start()
        watch.until(lambda: process.connected and process.head == 5)
        assert process.trouble == ""
        write(program, 'mv "$0" "$0.gone"')  # ends at once, and cannot be started a second time
        first = process._process
        assert first is not None
        first.kill()
        watch.until(lambda: not process.connected)
        assert process.trouble == "the receiving process ended"
        watch.until(lambda: "cannot be started" in process.trouble)
        assert not process.connected
        assert process.head == 5, "what is durable stays so"
        write(
            program, f"read settings; echo '{READY}'; echo '{STATE % (9, 3)}'; echo '{HEAD % 9}'; read stop"
        )
        watch.until(lambda: process.connected and process.head == 9)
        assert process.trouble == ""
        assert process.restarts == 2
        assert process.counts == {"received": 8}, "over all processes"
        assert process.stop(10)
    assert "the receiving process ended; starting it again in 0.05 s" in caplog.text
    assert "the receiving process cannot be started (No such file or directory); starting" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_report_that_cannot_be_read_or_used_ends_nothing(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "receiver"
    monkeypatch.setattr(sys, "executable", str(program))
    write(
        program,
        f"read settings; echo '{READY}'; printf '\\377\\376 no text\\n'; echo '[1]'; echo '{{}}'; "
        f"echo '{STATE % (7, 7)}'; echo '{HEAD % 7}'; read stop",
    )
    process = make(tmp_path, watch)
    process.start()
    watch.until(lambda: process.head == 7)
    assert process.connected
    assert process.restarts == 0
    assert process.stop(10)
    assert caplog.text.count("error at a report of the receiving process") == 3


def test_a_machine_that_cannot_start_it_is_an_error_of_one_line(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "is-not-there"))
    with pytest.raises(BrokerError) as caught:
        make(tmp_path, watch).start()
    assert str(caught.value).startswith(
        "the receiving process cannot be started: No such file or directory. Check"
    )


def test_a_stop_while_it_waits_for_its_first_connection_is_immediate(tmp_path: Path, watch: Watch) -> None:
    """With the real process, and a broker that accepts and says nothing."""
    with silent_server() as (port, accepted):
        process = make(tmp_path, watch, broker=f"mqtt://127.0.0.1:{port}")

        def start() -> None:
            with pytest.raises(BrokerError):
                process.start()

        thread = threading.Thread(target=start)
        thread.start()
        assert accepted.acquire(timeout=60), "it waits for an answer now"
        assert seconds_of(lambda: process.stop(20)) < 2
        thread.join(5)
        assert not thread.is_alive()
