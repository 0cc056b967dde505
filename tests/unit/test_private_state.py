"""What of a state folder is closed to others; in this process, see also ``tests/security``."""

from __future__ import annotations

import stat
from pathlib import Path

from disc_stream_server.storage.private import close_to_others, readable_by_others


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_ours_is_closed_and_nothing_else_is_touched(tmp_path: Path) -> None:
    state, spool = tmp_path / "state", tmp_path / "state" / "spool"
    spool.mkdir(parents=True)
    state.chmod(0o750)
    spool.chmod(0o755)
    ours = [state / "state.sqlite", state / "state.sqlite-wal", state / "lock", spool / "1.sqlite"]
    foreign, elsewhere = state / "notes.txt", tmp_path / "elsewhere"
    for path in (*ours, foreign, elsewhere):
        path.write_bytes(b"x")
        path.chmod(0o644)
    (state / "state.sqlite-old").symlink_to(elsewhere)
    assert readable_by_others(state) == [ours[0], ours[1], ours[3], ours[2]]
    close_to_others(state)
    assert readable_by_others(state) == []
    assert [mode_of(path) for path in ours] == [0o600] * 4
    assert (mode_of(spool), mode_of(state)) == (0o700, 0o750)
    assert [mode_of(path) for path in (foreign, elsewhere)] == [0o644, 0o644], "not even through a link"


def test_what_only_a_group_may_read_is_closed_too(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    lock.chmod(0o640)
    close_to_others(tmp_path)
    assert mode_of(lock) == 0o600
