"""The lines of ``serve --json``."""

from __future__ import annotations

import contextlib
import io
import json

import pytest

from disc_stream.cli.serve import _JsonReport


class Ready:
    """What the report asks a server."""

    model = None
    broker, url = "mqtt://127.0.0.1:1883", None


def test_no_line_is_lost_while_another_thread_catches_what_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = _JsonReport()
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):  # as when a model is opened on a GPU
        report.ready(Ready())  # type: ignore[arg-type]
        report.on_status({"state": "online"})
        report.stopped()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["ready", "status", "stopped"]
    assert caught.getvalue() == ""
