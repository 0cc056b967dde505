"""Fixtures for every test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and what the tests start would be deaf to their SIGINT as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are not told where to keep their state keep it in the test's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


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
