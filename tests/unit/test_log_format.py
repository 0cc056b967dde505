"""Log lines for people and for machines."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

from disc_stream.text import JsonFormatter, log_formatter


def record(message: str, *values: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord(
        "disc_stream.x", logging.WARNING, "x.py", 1, message, values, exc_info, None  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_line_of_json_has_what_is_counted_and_what_is_read() -> None:
    line = json.loads(JsonFormatter().format(record("refused a message of %s (%s)", "watch", "truncated")))
    assert line["message"] == "refused a message of watch (truncated)"
    assert line["event"] == "refused a message of %s (%s)"
    assert (line["level"], line["logger"]) == ("warning", "disc_stream.x")
    assert line["time"].endswith("Z")


def test_whatever_a_device_sends_it_is_one_line_without_control_characters() -> None:
    text = JsonFormatter().format(record("%s", "a\nb\x1b[2J\u202e"))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["message"] == "a\nb\x1b[2J\u202e"


def test_an_exception_comes_with_its_name_and_traceback() -> None:
    try:
        int("no")
    except ValueError:
        line = json.loads(JsonFormatter().format(record("it failed", exc_info=sys.exc_info())))
    assert line["error"] == "ValueError"
    assert "ValueError: invalid literal" in line["traceback"]
    assert "it failed" in log_formatter("text").format(record("it failed"))


def test_every_line_of_a_command_is_json_the_last_one_too() -> None:
    words = ["edge", "publish", "--synthetic", "--seconds", "1", "--broker", "mqtt://127.0.0.1:1"]
    done = subprocess.run(
        [sys.executable, "-m", "disc_stream", *words, "--log-format", "json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert lines[-1]["level"] == "error"
    assert "127.0.0.1:1" in lines[-1]["message"]
