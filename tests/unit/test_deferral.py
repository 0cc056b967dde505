"""Windows that are put off: every one of them comes back, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disc_stream.types import WindowSpec
from disc_stream_server.deferral import Deferral
from disc_stream_server.sessions import Sessions
from disc_stream_server.shards import ReadyInput
from disc_stream_server.storage.forget import forget
from disc_stream_server.storage.state import Commit, StateStore
from tests.support.tiny_bundle import CHANNELS, FS


def window(device: str, number: int, position: int) -> ReadyInput:
    samples = np.zeros((4, len(CHANNELS)), dtype=np.float32)
    return ReadyInput(device, 1, number, 0, number, 0, samples, position)


def write(store: StateStore, deferral: Deferral, position: int) -> None:
    """What a checkpoint does."""
    put_off, deferral.put_off = deferral.put_off, []
    done = list(deferral.done)
    store.commit(Commit(position, {}, set(), [], [], put_off, done, {}))
    deferral.stored(put_off, done)


def test_erasing_a_device_between_two_checkpoints_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    sessions = Sessions(CHANNELS, FS, WindowSpec(8, 4, 4), n_clusters=3)
    deferral = Deferral(sessions, store, stale_us=10, backlog=0)
    waiting = [window(("erased", "kept")[n % 2], n // 2, position=n + 1) for n in range(40)]
    assert deferral.split(waiting, 1_000, backlog=1) == []
    write(store, deferral, 40)
    assert deferral.waiting == 40
    found = deferral.catch_up(10)
    forget(tmp_path, "erased", "ds/v1")
    store.forgotten(0)
    deferral.forget("erased")
    write(store, deferral, 41)
    while deferral.waiting:
        late = deferral.catch_up(7)
        assert late
        found += late
        write(store, deferral, 42)
    assert [one.window for one in found if one.device == "kept"] == list(range(20))
    assert store.deferred_count == 0
    store.close()
