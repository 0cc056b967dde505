"""``data import`` of recordings and ``data look``: plan, settings, figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from disc_stream.cli.app import app
from disc_stream.data.importing.front import read_recordings
from disc_stream.data.uniform import read_uniform
from disc_stream.errors import ConfigError, DataError
from tests.support.written import CASES


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, args)], catch_exceptions=True)


def run(*args: str | Path) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    CASES["a gap"].write(tmp_path)
    said = run("import", tmp_path, "--dry-run")
    assert "user01: person 1 ('user01' in its name)" in said
    assert "1 gap: 3 s before row 121" in said
    assert "nothing is written" in said
    assert [p.name for p in tmp_path.iterdir()] == ["user01.csv"]
    plan = json.loads(run("import", tmp_path, "--dry-run", "--json"))["plan"]
    assert plan["recordings"][0]["gaps"] == [{"row": 120, "seconds": 3.0}]
    assert plan["fs"] == 50.0


def test_what_is_asked_is_answered_by_map_and_kept_for_the_next_time(tmp_path: Path) -> None:
    CASES["no units"].write(tmp_path)
    file, out = tmp_path / "user01.csv", tmp_path / "mine.npz"
    refused = invoke("import", file, "--out", out)
    assert isinstance(refused.exception, DataError)
    assert "--map 'ax=acc_x[g]'" in str(refused.exception)
    columns = [f"--map=a{axis}=acc_{axis}[g]" for axis in "xyz"]
    said = run("import", file, "--out", out, *columns, "--map=user01.csv=person7")
    assert "settings, for --map:" in said
    first = read_uniform(out)
    assert [r.subject for r in first.recordings] == [7]
    run("import", file, "--out", tmp_path / "again.npz", "--map", tmp_path / "mine.import.yaml")
    again = read_uniform(tmp_path / "again.npz")
    assert np.array_equal(first.recordings[0].samples, again.recordings[0].samples)
    assert again.recordings[0].subject == 7


def test_stretches_and_their_times_survive_the_file(tmp_path: Path) -> None:
    CASES["a gap"].write(tmp_path)
    run("import", tmp_path / "user01.csv", "--out", tmp_path / "x.npz")
    one, two = read_uniform(tmp_path / "x.npz").recordings
    assert [one.name, two.name] == ["user01-part1", "user01-part2"]
    assert one.part_of == two.part_of == "user01"
    assert two.start_us - one.start_us == 5_400_000


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--dates", "backwards"), "neither day-first nor month-first"),
        (("--map", "acc_x"), "no COLUMN=WHAT"),
        (("--map", "a=acc_x[furlong]"), "unit 'furlong' of 'a' is not known"),
        (("--map", "a=t[h]"), "time unit 'h'"),
    ],
)
def test_settings_that_are_not_understood(args: tuple[str, ...], message: str, tmp_path: Path) -> None:
    CASES["plain"].write(tmp_path)
    raised = invoke("import", tmp_path, "--dry-run", *args).exception
    assert isinstance(raised, ConfigError)
    assert message in str(raised)


def test_options_for_recordings_are_refused_for_datasets(tmp_path: Path) -> None:
    raised = invoke("import", "hapt", "--dry-run").exception
    assert isinstance(raised, ConfigError)
    assert "is a dataset" in str(raised)


def test_a_look_at_a_recording(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    CASES["a gap"].write(tmp_path)
    figure = tmp_path / "look.png"
    said = run("look", tmp_path / "user01.csv", "--out", figure)
    assert "gaps: 1, 3.0 s" in said
    assert figure.read_bytes().startswith(b"\x89PNG")
    facts = json.loads(run("look", tmp_path / "user01.csv", "--json"))["recordings"][0]
    assert facts["gaps"] == [[2.4, 5.4]]


def test_gravity_at_rest_is_shown(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal([0, 0, 1.1], 0.002, (500, 3))
    rows = [f"{i / 50},{a:.5f},{b:.5f},{c:.5f}" for i, (a, b, c) in enumerate(noise)]
    (tmp_path / "still.csv").write_text("\n".join(["t,acc_x[g],acc_y[g],acc_z[g]", *rows]) + "\n")
    assert "1.100 g; which is not 1 g: check the unit, or calibrate" in run("look", tmp_path / "still.csv")


def test_a_binary_recording_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("actfast")
    (tmp_path / "x.cwa").write_bytes(b"nothing" * 500)
    with pytest.raises(DataError, match=r"x\.cwa.*Write it as text"):
        read_recordings(tmp_path / "x.cwa")
