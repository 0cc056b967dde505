"""Bundles and dataset files with random damage: each is read, or refused in one line, and no more.

The damage is the same in every run; ``make fuzz`` looks for more, guided by coverage.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.hostile_files import TARGETS
from tests.support.opened import OPENED

MUTANTS = 40
WORDS = [b"1e999", b"nan", b"-1", b"\x1b[2J", b"[" * 50, b"9" * 400, b"\n"]


def damaged(seed: bytes, chance: random.Random) -> bytes:
    """A seed with a few bytes changed, cut out, repeated, or with numbers at their limits."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randint(1, 40)]
            case 2:
                data[at:at] = data[at : at + chance.randint(1, 200)]
            case 3:
                data[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
            case 4:
                data[at:at] = chance.choice(
                    [b"1e999", b"nan", b"-1", b"\x1b[2J", b"[" * 50, b"9" * 400, b"\n"]
                )
            case _:
                del data[at:]
    return bytes(data)


LONG = {"bundle-graph"}  # its seed is a graph that torch traces


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in TARGETS]
)
@pytest.mark.filterwarnings("ignore")  # numpy warns of numbers that a damaged file holds
def test_damage_is_read_or_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, chance = TARGETS[name], random.Random(name)
    made, work, elsewhere = (tmp_path / part for part in ("made", "work", "elsewhere"))
    for folder in (made, work, elsewhere):
        folder.mkdir()
    monkeypatch.chdir(elsewhere)
    seeds = target.seeds(made)
    for seed in seeds[:30]:
        target.read(seed, work)
    lines = []
    for _ in range(MUTANTS):
        data = damaged(chance.choice(seeds), chance)
        try:
            with OPENED.watch():
                target.read(data, work)
        except target.errors as error:
            lines.append(str(error))
        outside = OPENED.outside(tmp_path)
        assert outside == []
    assert lines
    assert not [line for line in lines if "\n" in line]
    assert list(elsewhere.iterdir()) == []
