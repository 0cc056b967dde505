"""``disc-stream bundle``: what it says of good bundles, and of bad and hostile ones."""

from __future__ import annotations

import json
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.bundlediff import LabelChange
from disc_stream.artifacts.selftest import SELFTEST_FILE, SelfTest
from disc_stream_export import Choices, export_run
from tests.support.commandline import CommandLine, Done
from tests.support.hostile_bundle import edit_manifest
from tests.support.keys import make_keys
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_run import N_CLUSTERS, write_tiny_run


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two exports of DISC, of different weights; the second has a name of its own."""
    folder = tmp_path_factory.mktemp("exported")
    for seed in (0, 1):
        run = write_tiny_run(folder / f"run{seed}", seed=seed)
        export_run(run, folder / f"bundle{seed}", choices=Choices(clusters={2: "stairs"} if seed else {}))
    return folder


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(exported / "bundle0", tmp_path / "bundle")
    return tmp_path / "bundle"


def facts_of(done: Done, code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rehash(bundle: Path, name: str) -> None:
    """Make the manifest agree with a file that was changed."""
    digest = sha256((bundle / name).read_bytes()).hexdigest()
    edit_manifest(bundle, lambda raw: raw["files"].update({name: digest}))


def failed(found: dict[str, Any]) -> list[str]:
    return [check["name"] for check in found["checks"] if check["passed"] is False]


# ── inspect ───────────────────────────────────────────────────────────────────────────────────────────


def test_inspect_says_what_a_model_expects_and_where_it_comes_from(
    command_line: CommandLine, exported: Path
) -> None:
    said = command_line("bundle", "inspect", exported / "bundle1").stdout
    version = Bundle.open(exported / "bundle1").version
    for words in (version, "DISC (small), seed 1", "1,000 windows of synthetic", "acc_x (g)", "50 Hz"):
        assert words in said
    assert "32 samples (0.64 s) every 16" in said
    assert "the first 16 samples (0.32 s)" in said
    assert "stairs" in said
    assert "40 windows" in said  # of the run, compared with torch


def test_inspect_for_machines_is_the_manifest_the_catalogue_and_the_sizes(
    command_line: CommandLine, exported: Path
) -> None:
    found = facts_of(command_line("bundle", "inspect", exported / "bundle1", "--json"))
    opened = Bundle.open(exported / "bundle1")
    assert found["version"] == opened.version
    assert [one["name"] for one in found["clusters"]] == [c.name for c in opened.catalogue.clusters]
    assert found["sizes"]["graph_bytes"] == len(opened.model_bytes)
    assert found["sizes"]["bundle_bytes"] == sum(p.stat().st_size for p in opened.path.iterdir())
    assert found["sizes"]["multiplications"] > 1000
    assert found["selftest_windows"] == 16
    assert (found["signed"], found["signature_checked"]) == (False, False)


# ── verify ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_export_is_sound(command_line: CommandLine, exported: Path) -> None:
    found = facts_of(command_line("bundle", "verify", exported / "bundle0", "--json"))
    assert found["passed"] is True
    assert [check["name"] for check in found["checks"]] == [
        "files, hashes and form", "signature", "graph loads", "finite", "missing samples", "batches",
        "self-test",
    ]  # fmt: skip
    said = command_line("bundle", "verify", exported / "bundle0").stdout
    assert said.rstrip().endswith("is sound")
    assert "16 windows, 0 with another label" in said


def test_a_bundle_without_windows_of_its_own_says_so(command_line: CommandLine, bundle: Path) -> None:
    (bundle / SELFTEST_FILE).unlink()
    edit_manifest(bundle, lambda raw: raw["files"].pop(SELFTEST_FILE))
    found = facts_of(command_line("bundle", "verify", bundle, "--json"))
    assert found["passed"] is True
    own = found["checks"][-1]
    assert (own["name"], own["passed"]) == ("self-test", None)
    assert "export its run again" in own["detail"]


def test_another_answer_than_at_the_export_is_found(command_line: CommandLine, bundle: Path) -> None:
    opened = Bundle.open(bundle)
    test = SelfTest.of_bytes(opened.files[SELFTEST_FILE], opened.manifest, "it")
    test.expected.embedding[3] += 1.0
    (bundle / SELFTEST_FILE).write_bytes(test.to_bytes())
    rehash(bundle, SELFTEST_FILE)
    found = facts_of(command_line("bundle", "verify", bundle, "--json"), code=1)
    assert failed(found) == ["self-test"]
    done = command_line("bundle", "verify", bundle)
    assert done.returncode == 1
    assert "FAILED  self-test" in done.stdout
    assert "--provider" in done.stdout  # what to do


def test_a_graph_that_overflows_is_found(command_line: CommandLine, tmp_path: Path) -> None:
    """The mean of the largest float32 values is not finite in the tiny bundle, which is not an export."""
    write_tiny_bundle(tmp_path / "tiny")
    found = facts_of(command_line("bundle", "verify", tmp_path / "tiny", "--json"), code=1)
    assert failed(found) == ["finite"]


def test_the_windows_are_read_back_as_they_were_written(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    test = SelfTest.of_bytes(opened.files[SELFTEST_FILE], opened.manifest, "it")
    assert test.windows.shape == (16, 16, 6)
    assert test.expected.q.shape == (16, N_CLUSTERS)
    np.testing.assert_allclose(test.expected.q.sum(1), 1.0, atol=1e-6)
    assert test.to_bytes() == opened.files[SELFTEST_FILE]


def truncated(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:-10])


def other_weights(bundle: Path) -> None:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)


def newer(bundle: Path) -> None:
    edit_manifest(bundle, lambda raw: raw.update(schema_version=99))


def added(bundle: Path) -> None:
    (bundle / "extra.bin").write_bytes(b"x")


def no_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()


def half_a_window(bundle: Path) -> None:
    (bundle / SELFTEST_FILE).write_bytes((bundle / SELFTEST_FILE).read_bytes()[:-4])
    rehash(bundle, SELFTEST_FILE)


def no_number(bundle: Path) -> None:
    data = np.frombuffer((bundle / SELFTEST_FILE).read_bytes(), dtype="<f4").copy()
    data[7] = np.nan
    (bundle / SELFTEST_FILE).write_bytes(data.tobytes())
    rehash(bundle, SELFTEST_FILE)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (truncated, "model.onnx of bundle"),
        (other_weights, "changed or damaged"),
        (newer, "newer disc-stream (schema 99"),
        (added, "extra.bin"),
        (no_manifest, "manifest.json"),
        (half_a_window, "not those of whole windows"),
        (no_number, "not finite"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(
    command_line: CommandLine, bundle: Path, spoil: Any, says: str
) -> None:
    spoil(bundle)
    found = facts_of(command_line("bundle", "verify", bundle, "--json"), code=1)
    (check,) = [check for check in found["checks"] if check["passed"] is False]
    assert says in check["detail"]
    assert check["remedy"]
    done = command_line("bundle", "verify", bundle)
    assert done.returncode == 1
    assert "is not sound" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_zip_that_unpacks_to_much_more_is_refused_before(command_line: CommandLine, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"{}")
        archive.writestr("model.onnx", bytes(64 << 20))
    for command in ("inspect", "bench"):
        done = command_line("bundle", command, bomb)
        assert done.returncode == 1
        assert "is a zip that is refused" in done.stderr
    found = facts_of(command_line("bundle", "verify", bomb, "--json"), code=1)
    assert "is a zip that is refused" in found["checks"][0]["detail"]


def test_a_signature_is_checked_when_a_key_is_trusted(
    command_line: CommandLine, exported: Path, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path, "ours")
    _, other = make_keys(tmp_path, "other")
    export_run(exported / "run0", tmp_path / "signed", sign_key=private)
    good = facts_of(command_line("bundle", "verify", tmp_path / "signed", "--trusted-key", public, "--json"))
    assert good["checks"][1]["passed"] is True
    unchecked = facts_of(command_line("bundle", "verify", tmp_path / "signed", "--json"))
    assert unchecked["checks"][1]["passed"] is None
    assert "--trusted-key" in unchecked["checks"][1]["detail"]
    bad = command_line("bundle", "verify", tmp_path / "signed", "--trusted-key", other, "--json")
    assert failed(facts_of(bad, code=1)) == ["files, hashes and form"]


@pytest.mark.parametrize("command", ["inspect", "verify", "bench"])
def test_nothing_there_is_one_line(command_line: CommandLine, command: str, tmp_path: Path) -> None:
    done = command_line("bundle", command, tmp_path / "nowhere")
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "does not exist" in line


def test_a_provider_that_there_is_not_is_named(command_line: CommandLine, exported: Path) -> None:
    done = command_line("bundle", "verify", exported / "bundle0", "--provider", "abacus")
    assert done.returncode != 0
    assert "abacus" in done.stderr
    assert "Traceback" not in done.stderr


# ── diff ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bundle_does_not_differ_from_itself(command_line: CommandLine, exported: Path) -> None:
    one = exported / "bundle0"
    found = facts_of(command_line("bundle", "diff", one, one, "--json"))
    assert found["same_graph"] is True
    assert found["facts"] == {}
    assert set(found["clusters"]["centroids_moved"].values()) == {0.0}
    assert found["synthetic_windows"] == {"windows": 256, "other_label": 0, "regrouped": 0, "moves": []}
    assert found["recordings"] is None


def test_two_trainings_differ_in_seed_names_and_labels(command_line: CommandLine, exported: Path) -> None:
    pair = exported / "bundle0", exported / "bundle1"
    found = facts_of(command_line("bundle", "diff", *pair, "--json"))
    assert found["same_graph"] is False
    assert found["facts"]["training.seed"] == {"old": 0, "new": 1}
    assert found["clusters"]["kept"]["2"]["name"] == {"old": "cluster 2", "new": "stairs"}
    assert found["clusters"]["centroids_moved"] is None  # of different networks
    assert found["synthetic_windows"]["other_label"] > 0
    said = command_line("bundle", "diff", *pair).stdout
    assert "training.seed: 0 → 1" in said
    assert "name cluster 2 → stairs" in said
    assert "cannot be compared" in said
    assert "have another label" in said


def test_models_of_other_windows_have_no_labels_in_common(
    command_line: CommandLine, exported: Path, tmp_path: Path
) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    pair = exported / "bundle0", tmp_path / "tiny"
    assert facts_of(command_line("bundle", "diff", *pair, "--json"))["synthetic_windows"] is None
    assert "take different windows" in command_line("bundle", "diff", *pair).stdout


def test_recordings_are_labelled_by_both(command_line: CommandLine, exported: Path, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(400, 6))
    names = [f"{kind}_{axis} [{unit}]" for kind, unit in (("acc", "g"), ("gyro", "rad/s")) for axis in "xyz"]
    lines = ["t," + ",".join(names)]
    lines += [
        f"{number / 50}," + ",".join(f"{value:.4f}" for value in row) for number, row in enumerate(rows)
    ]
    (tmp_path / "walk.csv").write_text("\n".join(lines) + "\n")
    pair = exported / "bundle0", exported / "bundle1"
    found = facts_of(command_line("bundle", "diff", *pair, "--recording", tmp_path / "walk.csv", "--json"))[
        "recordings"
    ]
    assert found["windows"] == 25  # (400 - 16) / 16 + 1: the first halves alone are read
    assert found["other_label"] == sum(move["windows"] for move in found["moves"])
    assert found["regrouped"] <= found["windows"]


def test_clusters_with_other_numbers_are_not_regrouped() -> None:
    change = LabelChange.between(np.array([0, 0, 1, 1, 2]), np.array([5, 5, 0, 0, 0]))
    assert (change.n, change.other, change.regrouped) == (5, 5, 1)
    assert list(change.moves.items()) == [((0, 5), 2), ((1, 0), 2), ((2, 0), 1)]


# ── bench ─────────────────────────────────────────────────────────────────────────────────────────────


def test_bench_measures_every_batch_size(command_line: CommandLine, exported: Path) -> None:
    options = ("--provider", "cpu", "--threads", "1", "--seconds", "0.05")
    found = facts_of(command_line("bundle", "bench", exported / "bundle0", *options, "--json"))
    assert [one["batch"] for one in found["batches"]] == [1, 4, 16, 64, 256]
    assert all(one["calls"] >= 3 and one["windows_per_s"] > 0 for one in found["batches"])
    assert found["provider"] == "cpu"
    assert "windows/s" in command_line("bundle", "bench", exported / "bundle0", *options).stdout
