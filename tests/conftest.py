"""Fixtures for every test, and how the tests are shared out to parallel workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before numpy and torch are loaded: with threads of their own the workers would fight for the processors.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.support.commandline import CommandLine

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and what the tests start would be deaf to their SIGINT as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a machine that does other things too. The examples are the same in
# every run, so that a red test is due to the change at hand; `make long` looks at new ones, and more of them.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", settings.get_profile("repeatable"), derandomize=False, max_examples=2000, print_blob=True
)
settings.register_profile(
    "unshrunk", settings.get_profile("repeatable"), phases=(Phase.explicit, Phase.generate), database=None
)
settings.load_profile(os.environ.get("DISC_STREAM_EXAMPLES", "repeatable"))

_TESTS = Path(__file__).parent

# What takes longest goes first, or one worker is left with it at the end; all else in the order of names.
_FIRST = (
    "integration/test_end_to_end.py",
    "chaos",
    "integration",
    "browser",
    "contract/test_methods.py",
    "contract/test_readers_real.py",
    "unit/test_export",
    "unit/test_train_cli.py",
    "unit/test_plots.py",
    "unit/test_benchmark_command.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On parallel workers, which take file by file: long files first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    place = item.path.relative_to(_TESTS).as_posix()
    return next((n for n, first in enumerate(_FIRST) if place.startswith(first)), len(_FIRST))


@pytest.fixture(autouse=True)
def _own_state(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that are not told where to keep their state keep it in the test's own folder.

    Which provider is fastest is remembered from test to test, and not beyond.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "xdg-cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real recordings, from DISC_STREAM_DATA; skips where there is none."""
    folder = os.environ.get("DISC_STREAM_DATA")
    if not folder:
        pytest.skip("DISC_STREAM_DATA is not set: no real recordings here")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"DISC_STREAM_DATA names {folder!r}, which is not a folder")
    return path


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """Runs commands within this process."""
    return CommandLine(monkeypatch, capfd)


@pytest.fixture(autouse=True)
def _same_umask() -> Iterator[None]:
    """`serve` and `retrain` narrow that of their process, which within a test is everybody's."""
    before = os.umask(0)
    os.umask(before)
    yield
    os.umask(before)
