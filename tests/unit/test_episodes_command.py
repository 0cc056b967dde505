"""``disc-stream episodes``: what people and programs are shown of the past."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from pathlib import Path

import pytest

from disc_stream_server.storage.state import StateStore
from tests.support.commandline import CommandLine
from tests.support.pasts import HOP_US, START_US, at_us, catalogue, day, label, labels, write

A, B, C = "a" * 20, "b" * 20, "c" * 20


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    untimed = label(900, 0, "watch")._replace(t0_unix_us=None)
    write(folder, labels(A + B + C), [untimed], day("d1", 1, 300), day("d2", 2, 300))
    with closing(StateStore(folder)) as store:
        store.note_catalogue(catalogue(names=("lie", "[bold]stand", "walk")))
    return folder


def test_people_see_from_when_to_when(command_line: CommandLine, state: Path) -> None:
    done = command_line("episodes", "list", "watch", "--state", state)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["2026-09-21", "14:13:20", "14:13:45", "26", "s", "0", "lie", "0.90"]
    assert "[bold]stand" in lines[2]
    assert " on " in lines[3]
    assert lines[4].startswith("in all: walk 27 s (34%), lie 26 s (33%)")
    assert lines[5].startswith("1 labels are in no episode")
    assert lines[6].startswith("next: disc-stream episodes export")


def test_a_part_of_it_for_programs(command_line: CommandLine, state: Path) -> None:
    since, until = (START_US + 30 * HOP_US) / 1e6, (START_US + 35 * HOP_US) / 1e6
    done = command_line(
        "episodes", "list", "watch", "--state", state, "--since", since, "--until", until, "--json"
    )
    facts = json.loads(done.stdout)
    (one,) = facts["episodes"]
    assert (one["begin_us"], one["end_us"], one["cluster"], one["goes_on"]) == (
        at_us(20),
        at_us(40),
        1,
        False,
    )
    assert one["begin"] == "2026-09-21T14:13:45.600000+00:00"
    assert facts["shares"] == [{"cluster": 1, "name": "[bold]stand", "seconds": 6.4, "episodes": 1}]
    assert facts["more_before"] is False
    done = command_line("episodes", "list", "watch", "--state", state, "--limit", 1, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["name"], row["goes_on"], row["seconds"]) for row in rows] == [("walk", "true", "26.880")]


def test_what_there_is_not(command_line: CommandLine, state: Path, tmp_path: Path) -> None:
    for words, says in (
        (("list", "nobody"), "there are no labels of 'nobody'"),
        (("list", "watch", "--since", "yesterday"), "'yesterday' is no time"),
        (("list", "watch", "--since", "2026-01-02", "--until", "2026-01-01"), "is not before"),
        (("list", "watch", "--csv", "--json"), "exclude each other"),
        (("export", "--out", tmp_path / "x.txt"), "must end in .csv or .parquet"),
        (("export", "--out", tmp_path / "x.csv", "--device", "nobody"), "there are no labels of 'nobody'"),
        (("export", "--out", tmp_path / "no" / "x.csv"), "x.csv"),
    ):
        done = command_line("episodes", *words, "--state", state)
        assert done.returncode != 0
        (line,) = done.stderr.splitlines()
        assert says in line
    done = command_line("episodes", "list", "watch", "--state", state, "--until", "2020-01-01")
    assert done.stdout.splitlines()[0] == "no episode of watch then"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_all_of_it_as_a_file(command_line: CommandLine, state: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"episodes.{kind}"
    done = command_line("episodes", "export", "--out", out, "--state", state, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    if kind == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        pq = pytest.importorskip("pyarrow.parquet")
        table = pq.read_table(out)
        assert str(table.schema.field("begin").type) == "timestamp[us, tz=UTC]"
        rows = table.to_pylist()
    assert facts == {"out": str(out), "episodes": len(rows), "devices": 3}
    assert {row["device"] for row in rows} == {"d1", "d2", "watch"}
    assert [int(row["begin_us"]) for row in rows if row["device"] == "watch"] == [
        at_us(0),
        at_us(20),
        at_us(40),
    ]
    assert [path.name for path in tmp_path.iterdir() if path != state] == [out.name]
    again = command_line("episodes", "export", "--out", out, "--state", state)
    assert "exists already" in again.stderr
    assert command_line("episodes", "export", "--out", out, "--state", state, "--force").returncode == 0
