"""Bundles: what goes in comes out, and everything that is broken is named."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disc_stream.artifacts import container
from disc_stream.artifacts.bundle import Bundle, write_bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.manifest import Manifest
from disc_stream.errors import BundleError, DiscStreamError, InputNotFoundError, UsageError
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    write_tiny_bundle(path)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.zip"
    write_tiny_bundle(path)
    return path


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def entries(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


# ── Round trip ────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_and_a_zip_hold_the_same_bundle(folder: Path, archive: Path) -> None:
    a, b = Bundle.open(folder), Bundle.open(str(archive))
    assert a.model_bytes == b.model_bytes == (folder / "model.onnx").read_bytes()
    assert a.manifest == b.manifest
    assert a.version == a.manifest.version
    assert a.path == folder


def test_what_write_returns_is_what_open_reads(tmp_path: Path) -> None:
    manifest = write_tiny_bundle(tmp_path / "b")
    assert Bundle.open(tmp_path / "b").manifest == manifest
    assert list(manifest.files) == ["model.onnx"]


def another(graph: bytes) -> bytes:
    """The same graph with a note of one letter: field 6 of the model."""
    return graph + b"\x32\x01x"


def test_the_version_depends_on_the_graph_and_on_nothing_else(tmp_path: Path, folder: Path) -> None:
    bundle = Bundle.open(folder)
    graph = bundle.model_bytes

    def version(manifest: Manifest, catalogue: Catalogue, graph: bytes) -> str:
        files = {"model.onnx": graph}
        return write_bundle(tmp_path / "v", manifest, catalogue.clusters, files, overwrite=True).version

    again = bundle.manifest.model_copy(update={"name": "other", "created": "2030-01-01T00:00:00+00:00"})
    renamed = bundle.catalogue.renamed({0: "standing"})
    assert version(again, bundle.catalogue, graph) == bundle.version
    assert version(bundle.manifest, renamed, graph) == bundle.version
    assert version(bundle.manifest, bundle.catalogue, another(graph)) != bundle.version


def test_equal_bundles_are_equal_zips(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "a.zip")
    write_tiny_bundle(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


# ── Broken bundles ────────────────────────────────────────────────────────────────────────────────────


def remove_graph(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def remove_graph_and_its_entry(folder: Path) -> None:
    remove_graph(folder)
    edit_manifest(folder, lambda raw: raw["files"].clear())


def change_one_bit(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


def truncate_graph(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-10])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no graph": (remove_graph, "lacks model.onnx, which its manifest lists"),
    "no graph, not listed": (remove_graph_and_its_entry, "has no graph"),
    "one bit": (change_one_bit, "model.onnx of .* was changed or damaged"),
    "truncated": (truncate_graph, "model.onnx of .* was changed or damaged"),
    "extra file": (
        lambda f: (f / "notes.txt").write_text("x"),
        "holds notes.txt, which its manifest does not",
    ),
    "extra folder": (lambda f: (f / "more").mkdir(), "'more' in bundle .* is not a file"),
    "hidden file": (lambda f: (f / ".DS_Store").write_text("x"), "name '.DS_Store', which is not allowed"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "it has a graph but no manifest.json"),
    "empty manifest": (lambda f: (f / "manifest.json").write_text(""), "manifest.json of .* is not JSON"),
    "binary manifest": (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"), "is not JSON"),
    "deep manifest": (lambda f: (f / "manifest.json").write_text("[" * 100_000), "is not JSON"),
    "list": (lambda f: (f / "manifest.json").write_text("[]"), "not a manifest of disc-stream"),
    "other schema": (
        lambda f: edit_manifest(f, lambda raw: raw.update(schema_name="mlflow")),
        "not a manifest of disc-stream: its schema_name is 'mlflow'",
    ),
    "newer schema": (
        lambda f: edit_manifest(f, lambda raw: raw.update(schema_version=4, something="new")),
        r"written by a newer disc-stream \(schema 4, this one knows 3\). Upgrade",
    ),
    "no schema version": (
        lambda f: edit_manifest(f, lambda raw: raw.pop("schema_version")),
        "schema_version of .* is None, not 2",
    ),
    "missing field": (lambda f: edit_manifest(f, lambda raw: raw.pop("fs")), "fs: Field required"),
    "unknown field": (lambda f: edit_manifest(f, lambda raw: raw.update(colour=1)), "colour: Extra inputs"),
    "negative rate": (
        lambda f: edit_manifest(f, lambda raw: raw.update(fs=-50)),
        "fs: Input should be greater",
    ),
    "no channels": (lambda f: edit_manifest(f, lambda raw: raw.update(channels=[])), "channels: List should"),
    "clusters in the manifest": (
        lambda f: edit_manifest(f, lambda raw: raw.update(clusters=[])),
        r"lists clusters, which belong into catalogue\.json",
    ),
    "another version": (
        lambda f: edit_manifest(f, lambda raw: raw.update(version="0" * 12)),
        "the version in manifest.json .* was changed: it is not that of its graph",
    ),
    "another number of clusters": (
        lambda f: edit_manifest(f, lambda raw: raw.update(n_clusters=2)),
        "the catalogue of .* has 3 clusters, the graph 2",
    ),
    "no catalogue": (lambda f: (f / "catalogue.json").unlink(), r"lacks catalogue\.json"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_says_what_is_broken(case: str, folder: Path) -> None:
    spoil, message = BROKEN[case]
    spoil(folder)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


CONTRADICTIONS = [
    ({"channels": ["acc_x", "acc_x", "acc_z"]}, "two channels have one name"),
    ({"scaler": [0.0, 0.0]}, "the scaler is not for 3 channels"),
    ({"scaler": [0.0, 0.0, float("nan")]}, r"scaler\.offset\.2: .* finite number"),
    ({"window": {"samples": 8, "hop": 8, "input_samples": 16}}, "input_samples must be 1..8"),
    ({"window": {"samples": 8, "hop": 9, "input_samples": 4}}, "hop of 1..samples"),
]


@pytest.mark.parametrize(("change", "message"), CONTRADICTIONS, ids=[m for _, m in CONTRADICTIONS])
def test_facts_that_contradict_each_other_are_refused(
    change: dict[str, Any], message: str, folder: Path
) -> None:
    def contradict(raw: dict[str, Any]) -> None:
        for channel, name in zip(raw["channels"], change.get("channels", []), strict=False):
            channel["name"] = name
        raw["scaler"]["offset"] = change.get("scaler", raw["scaler"]["offset"])
        raw["window"] = change.get("window", raw["window"])

    edit_manifest(folder, contradict)
    with pytest.raises(BundleError, match=message):
        Bundle.open(folder)


# ── What is not a bundle at all ───────────────────────────────────────────────────────────────────────


def make(path: Path, data: bytes) -> None:
    path.write_bytes(data)


NOT_BUNDLES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "empty folder": ("b", Path.mkdir, "it is empty"),
    "some folder": ("b", lambda p: (p / "src").mkdir(parents=True), r"no manifest.json \(it holds src\)"),
    "empty file": ("b.zip", Path.touch, "it is an empty file"),
    "bare graph": ("model.onnx", lambda p: make(p, b"\x08\x08abc"), "it is a bare ONNX graph"),
    "weights": ("m.safetensors", lambda p: make(p, b"\x00" * 20), "it is a file of weights"),
    "text": ("b.txt", lambda p: make(p, b"hello"), "it is a file of 5 bytes that is no zip"),
    "truncated zip": ("b.zip", lambda p: make(p, b"PK\x03\x04" + b"\x00" * 40), "that is no zip"),
}


@pytest.mark.parametrize("case", NOT_BUNDLES)
def test_what_is_not_a_bundle_is_called_what_it_is(case: str, tmp_path: Path) -> None:
    name, create, message = NOT_BUNDLES[case]
    create(tmp_path / name)
    with pytest.raises(BundleError, match=f"is not a bundle: .*{message}"):
        Bundle.open(tmp_path / name)


def test_a_run_folder_comes_with_the_command_that_exports_it(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BundleError, match=r"folder of a training run\. Run: disc-stream export"):
        Bundle.open(tmp_path)


def test_nothing_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="does not exist"):
        Bundle.open(tmp_path / "nowhere")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match="neither a folder nor a file"):
        Bundle.open(tmp_path / "pipe")


# ── Hostile and damaged zips ──────────────────────────────────────────────────────────────────────────


def rezip(archive: Path, out: Path, **changes: Any) -> Path:
    """Copy a zip; ``changes`` are `rename` of entries, and `extra` entries."""
    rename, extra = changes.get("rename", {}), changes.get("extra", {})
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            target.writestr(rename.get(name, name), source.read(name))
        for name, data in extra.items():
            target.writestr(name, data)
    return out


@pytest.mark.parametrize("name", ["../escape.txt", "/etc/passwd", "a/b.txt", "..", "a\\b", "C:x", ".hidden"])
def test_names_that_lead_elsewhere_are_refused(name: str, archive: Path, tmp_path: Path) -> None:
    hostile = rezip(archive, tmp_path / "hostile.zip", extra={name: b"x"})
    with pytest.raises(BundleError, match="which is not allowed"):
        Bundle.open(hostile)


def test_a_zip_of_the_folder_itself_says_how_to_mend_it(archive: Path, tmp_path: Path) -> None:
    nested = {name: f"tiny/{name}" for name in ("manifest.json", "model.onnx", "catalogue.json")}
    wrapped = rezip(archive, tmp_path / "wrapped.zip", rename=nested)
    with pytest.raises(BundleError, match="lie in a folder 'tiny' inside the zip"):
        Bundle.open(wrapped)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = tmp_path / "bomb.zip"
    shutil.copy(archive, bomb)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros.bin", bytes(4 << 20))
    monkeypatch.setattr(container, "MAX_TOTAL_BYTES", 1 << 20)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(BundleError, match="more than 1 MiB"):
        Bundle.open(bomb)


def test_a_folder_that_is_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_TOTAL_BYTES", 100)
    with pytest.raises(BundleError, match="more than 0 MiB"):
        Bundle.open(folder)


def test_too_many_entries_are_no_bundle(archive: Path, tmp_path: Path) -> None:
    crowd = rezip(archive, tmp_path / "crowd.zip", extra={f"f{i}": b"" for i in range(100)})
    with pytest.raises(BundleError, match="it holds 103 entries"):
        Bundle.open(crowd)


def test_two_files_of_one_name_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        double = rezip(archive, tmp_path / "double.zip", extra={"model.onnx": b"evil"})
    with pytest.raises(BundleError, match="two files of one name"):
        Bundle.open(double)


def test_a_damaged_zip_is_named(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF  # within the graph: the CRC no longer fits
    archive.write_bytes(data)
    with pytest.raises(BundleError, match="damaged zip: Bad CRC"):
        Bundle.open(archive)


# ── Writing: all or nothing, and never over someone's files ───────────────────────────────────────────


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_a_taken_place_is_refused_without_overwrite(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    old = write_tiny_bundle(out)
    bundle = Bundle.open(out)
    with pytest.raises(UsageError, match="exists already"):
        write_bundle(out, old, bundle.catalogue.clusters, {"model.onnx": another(bundle.model_bytes)})
    assert Bundle.open(out) == bundle
    new = write_bundle(
        out, old, bundle.catalogue.clusters, {"model.onnx": another(bundle.model_bytes)}, overwrite=True
    )
    assert Bundle.open(out).version == new.version != old.version
    assert entries(tmp_path) == [name]


def home_with_files(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


def bundle_with_notes(path: Path) -> None:
    write_tiny_bundle(path)
    (path / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    "occupy",
    [home_with_files, bundle_with_notes, lambda p: p.write_text("a file"), lambda p: p.symlink_to("gone")],
    ids=["folder", "bundle and more", "file", "dangling link"],
)
def test_what_is_not_just_a_bundle_is_never_replaced(
    occupy: Callable[[Path], object], tmp_path: Path, folder: Path
) -> None:
    out = tmp_path / "out"
    occupy(out)
    before = entries(out) if out.is_dir() else None
    bundle = Bundle.open(folder)
    with pytest.raises(UsageError, match="--force does not replace it"):
        write_bundle(
            out,
            bundle.manifest,
            bundle.catalogue.clusters,
            {"model.onnx": bundle.model_bytes},
            overwrite=True,
        )
    assert (entries(out) if out.is_dir() else None) == before
    assert entries(tmp_path) == ["out", "tiny"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_tiny_bundle(tmp_path / "out")
    Bundle.open(tmp_path / "out")


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_a_write_that_fails_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        write_tiny_bundle(tmp_path / name)
    assert entries(tmp_path) == []


def test_an_old_bundle_survives_a_failed_replacement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write_tiny_bundle(tmp_path / "b")
    bundle = Bundle.open(tmp_path / "b")
    clusters = bundle.catalogue.clusters
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(UsageError, match="Input/output error"):
        write_bundle(
            tmp_path / "b", old, clusters, {"model.onnx": another(bundle.model_bytes)}, overwrite=True
        )
    assert Bundle.open(tmp_path / "b").manifest == old
    assert entries(tmp_path) == ["b"]


def test_a_parent_that_is_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiscStreamError, match="file/b"):
        write_tiny_bundle(tmp_path / "file" / "b")


def test_a_bundle_needs_a_graph(tmp_path: Path, folder: Path) -> None:
    bundle = Bundle.open(folder)
    with pytest.raises(ValueError, match=r"model\.onnx"):
        write_bundle(tmp_path / "b", bundle.manifest, bundle.catalogue.clusters, {"other.bin": b""})
