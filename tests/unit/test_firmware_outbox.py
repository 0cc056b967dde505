"""The MicroPython outbox, which is plain Python too: against a model, and with a power cut at every write."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.micropython import FOLDER


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ds_outbox", FOLDER / "ds_outbox.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ds_outbox = load()
steps = st.lists(st.tuples(st.sampled_from(["put", "put", "send", "ack", "down"]), st.integers(0, 7)))


def waiting(ring: Any) -> list[int]:
    return [ring.at(k)[0] for k in range(ring.count)]


@given(steps=steps, slots=st.integers(2, 5), rule=st.sampled_from([0, 1]))
def test_a_ring_is_a_queue(steps: list[tuple[str, int]], slots: int, rule: int) -> None:
    """In order; what was ever sent does not give way; every batch is waiting, confirmed or lost."""
    ring = ds_outbox.Ring(slots, 2, rule)
    queue: list[int] = []
    sent = flying = lost = n = 0
    for what, k in steps:
        if what == "put":
            if len(queue) == slots:
                lost += 1
                if rule == 1 or sent == slots:
                    assert not ring.put(bytes([n]))
                    n += 1
                    continue
                del queue[sent]
            queue.append(n)
            assert ring.put(bytes([n]))
            n += 1
        elif what == "send" and ring.peek() is not None:
            assert ring.peek()[0] == queue[flying]
            ring.sent()
            flying += 1
            sent = max(sent, flying)
        elif what == "ack" and flying:
            ring.confirm(k % flying)
            del queue[k % flying]
            flying, sent = flying - 1, sent - 1
        elif what == "down":
            ring.down()
            flying = 0
        assert waiting(ring) == queue
        assert ring.lost == lost


class PowerCut(BaseException):
    """Nothing after it is carried out."""


class Power:
    """Lets so many operations of the file system through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.files = 10**9, 0
        for name in ("rename", "remove"):
            real = getattr(os, name)
            monkeypatch.setattr(ds_outbox.os, name, lambda *args, real=real: self._do(real, *args))
        monkeypatch.setattr(ds_outbox, "open", self._open, raising=False)

    def _do(self, real: Any, *args: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise PowerCut
        done = real(*args)
        self.files += args[-1].rpartition("/")[2][8:9] == "-" and real is not os.remove and len(args) == 2
        return done

    def _open(self, path: str, mode: str = "r") -> Any:
        return self._do(open, path, mode)


def drain(box: Any) -> list[int]:
    found = []
    while box.peek() is not None:
        found.append(box.peek()[0])
        box.sent()
        box.confirm(0)
    assert box.count == 0
    return found


def test_a_power_cut_at_any_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """60 batches into files of 4, of which 3 are kept: what is in files is sent or counted."""
    power = Power(monkeypatch)
    cuts = 0
    for budget in range(1_000):
        folder, power.left = str(tmp_path / str(budget)), budget
        try:
            box = ds_outbox.Flash(folder, 4, 2, 3)
            for n in range(60):
                box.put(bytes([n]))
                if n == 30:
                    for _ in range(6):
                        box.peek()
                        box.sent()
                        box.confirm(0)
        except PowerCut:
            cuts += 1
            power.left = 10**9
            found = drain(again := ds_outbox.Flash(folder, 4, 2, 3))
            assert found == sorted(set(found))
            assert len(found) + again.lost == 4 * power.files, "no file was confirmed before the cut"
            power.files = 0
        else:
            power.left = 10**9
            assert box.count + box.lost + 6 == 60
            assert drain(box)[-1] == 59
            break
    assert cuts > 20


def test_a_damaged_file_is_counted(tmp_path: Path) -> None:
    box = ds_outbox.Flash(str(tmp_path), 4, 2, 9)
    for n in range(17):
        box.put(bytes([n]))
    assert box.count == 17
    first = min(tmp_path.glob("0*"))
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    assert drain(box) == [0, 1, 2, 3, *range(8, 17)]
    assert box.lost == 4
    assert ds_outbox.Flash(str(tmp_path), 4, 2, 9).lost == 4


def test_larger_rings_of_an_earlier_run(tmp_path: Path) -> None:
    box = ds_outbox.Flash(str(tmp_path), 8, 2, 9)
    for n in range(20):
        box.put(bytes([n]))
    box.flush()
    assert drain(ds_outbox.Flash(str(tmp_path), 4, 2, 9)) == list(range(20)), "a planned restart"
    assert not list(tmp_path.glob("0*"))


def test_flash_that_is_full_gives_the_oldest_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    box = ds_outbox.Flash(str(tmp_path), 2, 2, 9)
    real = open

    def full(path: str, mode: str = "r") -> Any:
        if "w" in mode and len(list(tmp_path.glob("0*"))) >= 3:
            raise OSError(28, "full")
        return real(path, mode)

    monkeypatch.setattr(ds_outbox, "open", full, raising=False)
    for n in range(20):
        assert box.put(bytes([n]))
    found = drain(box)
    assert (found[:2], found[-1], len(found) + box.lost) == ([0, 1], 19, 20)


def test_boots_count(tmp_path: Path) -> None:
    assert [ds_outbox.next_boot(str(tmp_path / "q")) for _ in range(3)] == [1, 2, 3]
