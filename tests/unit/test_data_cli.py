from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from disc_stream.cli.app import app
from disc_stream.errors import ConfigError, DataError, DiscStreamError
from tests.support.datasets import write_hapt, write_wisdm


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, args)], catch_exceptions=True)


def run(*args: str | Path) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def error(*args: str | Path) -> DiscStreamError:
    result = invoke(*args)
    assert isinstance(result.exception, DiscStreamError), result.exception
    return result.exception


def test_list_names_every_dataset_with_its_terms() -> None:
    listed = json.loads(run("list", "--json"))["datasets"]
    assert {d["name"] for d in listed} >= {"hapt", "uci-har", "motionsense", "wisdm", "mhealth", "skoda"}
    assert all(d["citation"] and d["terms"] for d in listed)
    assert "hapt" in run("list")


def test_info_as_json(tmp_path: Path) -> None:
    facts = json.loads(run("info", "hapt", "--path", write_hapt(tmp_path), "--json"))
    assert (facts["people"], len(facts["recordings"]), facts["fs"]) == (2, 3, 50.0)
    assert facts["samples_per_label"] == {
        "unlabelled": 780, "walking": 400, "walking_upstairs": 0, "walking_downstairs": 0, "sitting": 0,
        "standing": 10, "lying": 0, "stand_to_sit": 10, "sit_to_stand": 0, "sit_to_lie": 0, "lie_to_sit": 0,
        "stand_to_lie": 0, "lie_to_stand": 0,
    }  # fmt: skip
    assert {"what": "people", "found": 2, "published": 30, "ok": False} in facts["checks"]
    assert facts["channels"][0] == {"name": "acc_x", "unit": "g"}


def test_info_for_people(tmp_path: Path) -> None:
    text = run("info", "wisdm", "--path", write_wisdm(tmp_path), "--recordings")
    assert "people 2, recordings 4" in text
    assert "wisdm-user02-part002  person 2  6.0 s" in text
    assert "DIFFERS people: 2, published 36" in text
    assert "cite: Kwapisz" in text


def test_the_path_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISC_STREAM_DATA", raising=False)
    assert isinstance(error("info", "hapt"), ConfigError)
    write_hapt(tmp_path)
    monkeypatch.setenv("DISC_STREAM_DATA", str(tmp_path))
    assert "recordings 3" in run("info", "hapt")


def test_import_then_info_then_windows(tmp_path: Path) -> None:
    root, out, windows = write_hapt(tmp_path), tmp_path / "hapt.npz", tmp_path / "windows.npz"
    assert "3 recordings, 1,200 samples of acc_x [m/s2]" in run(
        "import", "hapt", "--path", root, "--out", out, "--si"
    )
    assert json.loads(run("info", out, "--json"))["channels"][0] == {"name": "acc_x", "unit": "m/s2"}
    written = json.loads(run("windows", out, "--out", windows, "--json"))
    assert (written["train"], written["test"], written["window"]) == (10, 5, [128, 6])
    assert len(written["header"]["train_fingerprint"]) == 64
    assert "5 test windows" in run("windows", out, "--out", windows, "--force")


def test_every_step_names_the_next(tmp_path: Path) -> None:
    root = write_hapt(tmp_path)
    out, windows = tmp_path / "my data.npz", tmp_path / "windows.npz"
    assert run("list").splitlines()[-1].startswith("next: disc-stream data info NAME --path ")
    after = f"next: disc-stream train --dataset hapt --path '{root}' --out RUN\n"
    assert run("info", "hapt", "--path", root).endswith(after)
    after = f"next: disc-stream train --dataset '{out}' --out RUN\n"
    assert run("import", "hapt", "--path", root, "--out", out).endswith(after)
    assert run("info", out, "--path", root).endswith(after)
    after = f"next: disc-stream train --dataset {windows} --out RUN\n"
    assert run("windows", out, "--out", windows).endswith(after)


def test_own_csv_files_are_imported(tmp_path: Path) -> None:
    for person in (1, 2, 3):
        rows = "\n".join(f"{i / 50:.2f},{person},0,1" for i in range(200))
        (tmp_path / f"walk_user{person}.csv").write_text(f"t,acc_x[g],acc_y[g],acc_z[g]\n{rows}\n")
    out = tmp_path / "mine.npz"
    run("import", "csv", "--path", tmp_path, "--out", out)
    facts = json.loads(run("info", out, "--json"))
    assert (facts["people"], facts["fs"], facts["samples_per_label"]) == (3, 50.0, {"unlabelled": 600})
    assert "test windows" in run("windows", out, "--out", tmp_path / "w.npz")


def test_a_path_with_brackets_is_read_on_a_terminal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m[").mkdir()
    (tmp_path / "a.csv").write_text("t,acc_x[g]\n0,1\n0.02,1\n")
    run("import", "csv", "--path", tmp_path / "a.csv", "--out", tmp_path / "m[" / "a].npz")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal and draws its bars
    assert "people 1" in run("info", tmp_path / "m[" / "a].npz")


def test_the_help_shows_units_in_their_brackets() -> None:
    assert "t,acc_x[g],gyro_x[rad/s],label" in run("import", "--help")


def test_nothing_is_overwritten_or_read_in_vain(tmp_path: Path) -> None:
    root = write_hapt(tmp_path)
    taken = tmp_path / "taken.npz"
    taken.write_text("precious")
    assert "exists already" in str(error("import", "hapt", "--path", root, "--out", taken))
    assert "must end in .npz" in str(error("windows", "hapt", "--path", root, "--out", tmp_path / "x.csv"))
    assert "does not exist" in str(error("import", "hapt", "--path", root, "--out", tmp_path / "no/x.npz"))
    assert taken.read_text() == "precious"


def test_a_failed_import_leaves_nothing_behind(tmp_path: Path) -> None:
    root = write_hapt(tmp_path / "data")
    (root / "RawData/gyro_exp01_user01.txt").unlink()
    assert isinstance(error("import", "hapt", "--path", root, "--out", tmp_path / "x.npz"), DataError)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_an_unknown_dataset_is_a_usage_error_that_lists_the_known_ones() -> None:
    raised = error("info", "hapd")
    assert raised.exit_code == 2
    assert "Use one of hapt, uci-har" in str(raised)


def test_a_file_of_ones_own_is_no_dataset_and_the_way_to_make_it_one_is_shown(tmp_path: Path) -> None:
    (tmp_path / "my walk.csv").write_text("t,acc_x[g]\n0,1\n0.02,1\n")
    said = str(error("info", tmp_path / "my walk.csv"))
    assert f"data import '{tmp_path / 'my walk.csv'}' --out mine.npz" in said
