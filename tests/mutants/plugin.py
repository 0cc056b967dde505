"""A pytest plugin that records which lines each test executes, or runs the tests chosen by that record.

    python -m pytest -p tests.mutants.plugin --mutants-record FILE TESTS...
    python -m pytest -p tests.mutants.plugin --mutants-choice FILE TESTS...

Contexts are named ``nodeid|phase``, where a phase is ``setup``, ``call`` or ``teardown``; lines executed on
import or collection have an empty one. Only this process counts, with all its threads.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two files, of which one at most is given."""
    parser.addoption("--mutants-record", default=None, help="write executed lines and durations to this file")
    parser.addoption("--mutants-choice", default=None, help="run the tests in this file, in its order")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to record, before any module of the project is imported."""
    config.pluginmanager.register(_InProcess(), "mutants-in-process")
    if config.getoption("--mutants-record"):
        config.pluginmanager.register(_Recorder(config), "mutants-recorder")
    if config.getoption("--mutants-choice"):
        config.pluginmanager.register(_Chooser(config), "mutants-chooser")


class _InProcess:
    """Leaves out tests with a real broker: what servers do there is another process's, and takes its time."""

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if "mosquitto" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


class _Recorder:
    def __init__(self, config: pytest.Config) -> None:
        import coverage

        self._file = Path(config.getoption("--mutants-record"))
        self._root = config.rootpath
        self._seconds: dict[str, dict[str, float]] = {}
        source = [str(self._root / "disc_stream"), str(self._root / "server")]
        self._coverage: Any = coverage.Coverage(data_file=None, config_file=False, source=source)
        self._coverage.start()
        self._tracer = sys.gettrace()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        yield from self._within(item, "setup")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        yield from self._within(item, "call")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        yield from self._within(item, "teardown")

    def _within(self, item: pytest.Item, phase: str) -> Iterator[None]:
        if sys.gettrace() is not self._tracer:  # a test had one of its own
            sys.settrace(self._tracer)
        self._coverage.switch_context(f"{item.nodeid}|{phase}")
        yield
        self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds.setdefault(report.nodeid, {})[report.when or ""] = report.duration

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines: dict[str, dict[str, list[str]]] = {}
        for file in data.measured_files():
            module = os.path.relpath(file, self._root)
            of_lines = data.contexts_by_lineno(file).items()
            lines[module] = {str(line): sorted(contexts) for line, contexts in of_lines}
        self._file.write_text(json.dumps({"seconds": self._seconds, "lines": lines}), encoding="utf-8")


class _Chooser:
    """The chosen tests in their order, and behind them those that nobody knew when the record was made."""

    def __init__(self, config: pytest.Config) -> None:
        choice = json.loads(Path(config.getoption("--mutants-choice")).read_text(encoding="utf-8"))
        self._rank = {nodeid: rank for rank, nodeid in enumerate(choice["run"])}
        self._known = set(choice["known"])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = [item for item in items if item.nodeid in self._rank or item.nodeid not in self._known]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = sorted(kept, key=lambda item: self._rank.get(item.nodeid, len(self._rank)))
