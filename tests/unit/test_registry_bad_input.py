"""Registries that are damaged, incomplete, foreign or in use: a clear error, or a clear recovery."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from disc_stream.errors import (
    BundleError,
    ConfigError,
    InputNotFoundError,
    RegistryConflictError,
    RegistryError,
)
from disc_stream.registry import Author, Lineage, Registry, RowIds
from disc_stream.registry import database as database_module
from tests.support.registries import ANN, Models, make_bundle


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """Two versions, the second in production, with a name."""
    models = Models(tmp_path)
    models.promote([None, None])
    models.promote([0, 1])
    models.registry.clusters.name(1, "walking", ANN)
    return models


def sql(models: Models, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(models.path / "registry.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def refused(path: Path, message: str, kind: type[Exception] = RegistryError) -> None:
    with pytest.raises(kind, match=message) as caught:
        Registry.open(path)
    assert getattr(caught.value, "remedy", None)


def test_a_registry_of_a_newer_version_is_left_alone(models: Models) -> None:
    models.registry.close()
    sql(models, "PRAGMA user_version = 2")
    before = (models.path / "registry.sqlite").read_bytes()
    refused(models.path, r"written by a newer disc-stream \(format 2, this one knows 1\)")
    assert (models.path / "registry.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        '{"version": "x"}',
        None,
        '{"version": "x", "number": 99, "folder": "y", "deployment": 99}',
    ],
)
def test_a_current_that_is_missing_or_points_nowhere_is_put_right(broken: str | None, models: Models) -> None:
    right = (models.path / "CURRENT").read_bytes()
    models.registry.close()
    (models.path / "CURRENT").unlink()
    if broken is not None:
        (models.path / "CURRENT").write_text(broken)
    with Registry.open(models.path) as registry:
        assert registry.version("current").number == 2
    assert (models.path / "CURRENT").read_bytes() == right


def test_an_older_current_is_put_right_and_one_of_nothing_removed(models: Models, tmp_path: Path) -> None:
    right = (models.path / "CURRENT").read_text()
    models.registry.rollback("ann", "x")
    (models.path / "CURRENT").write_text(right)
    Registry.open(models.path).close()
    assert json.loads((models.path / "CURRENT").read_text())["deployment"] == 3
    Registry.create(tmp_path / "empty").close()
    (tmp_path / "empty" / "CURRENT").write_text(right)
    Registry.open(tmp_path / "empty").close()
    assert not (tmp_path / "empty" / "CURRENT").exists()


def test_half_copied_versions_are_never_listed_and_cleaned_up_if_they_are_ours(models: Models) -> None:
    registry, versions = models.registry, models.path / "versions"
    killed = versions / ".adding-0123456789ab"
    killed.mkdir()
    (killed / "model.onnx").write_bytes(b"half")
    renamed = versions / f"0003-{'a' * 12}"  # renamed, and killed before it was recorded
    shutil.copytree(registry.version(2).path, renamed)
    facts = json.loads((renamed / "lineage.json").read_text())
    (renamed / "lineage.json").write_text(json.dumps({**facts, "number": 3}))
    by_hand = versions / f"0007-{'b' * 12}"  # somebody's own copy, broken off
    by_hand.mkdir()
    (by_hand / "model.onnx").write_bytes(b"half")
    assert [info.number for info in registry.versions()] == [1, 2]
    assert registry.strangers() == [f"versions/{renamed.name}", f"versions/{by_hand.name}"]
    info = models.add([0, 1])
    assert info.number == 8  # nothing of others is written over
    assert not killed.exists()
    assert not renamed.exists()
    assert (by_hand / "model.onnx").read_bytes() == b"half"
    assert registry.strangers() == [f"versions/{by_hand.name}"]


def test_a_version_that_is_being_copied_is_not_taken_for_a_leftover(models: Models) -> None:
    registry = models.registry
    with registry._database.writing():
        being_filled = registry._folder.partial()
        path = being_filled.__enter__()
    with Registry.open(models.path) as other:
        other.add(models.bundle(2), Lineage(), RowIds.all_fresh(2))
    assert path.is_dir()
    being_filled.__exit__(None, None, None)
    assert not path.exists()


def test_files_of_a_version_that_are_damaged_or_gone_are_not_put_into_production(models: Models) -> None:
    first = models.registry.version(1).path
    (first / "model.onnx").write_bytes((first / "model.onnx").read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"was changed or damaged.*Restore .* or promote another version"):
        models.registry.rollback("ann", "x")
    (first / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"no manifest\.json.*Restore .* or promote another version"):
        models.registry.rollback("ann", "x")
    shutil.rmtree(first)
    shutil.copytree(models.registry.version(2).path, first)
    with pytest.raises(RegistryError, match=r"holds model .*, not"):
        models.registry.rollback("ann", "x")
    shutil.rmtree(first)
    with pytest.raises(RegistryError, match=r"files of version 1 .* are missing.*Restore"):
        models.registry.rollback("ann", "x")
    assert models.registry.version("current").number == 2


def test_a_folder_that_is_no_registry_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "does not exist.*models init", InputNotFoundError)
    refused(tmp_path, "is no registry of models.*models init", InputNotFoundError)
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(RegistryError, match=r"holds other files \(thesis\.doc\)"):
        Registry.create(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError):
        Registry.create(tmp_path / "file")


def test_a_registry_is_not_made_twice_and_an_interrupted_making_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "models"
    Registry.create(path).close()
    with pytest.raises(RegistryError, match=r"holds a registry\.sqlite already"):
        Registry.create(path)
    for part in path.glob("registry.sqlite*"):
        part.unlink()
    (path / "registry.sqlite").touch()
    refused(path, "was begun and not finished.*models init")
    Registry.create(path).close()
    assert Registry.open(path).versions() == []


def test_a_database_that_is_lost_damaged_or_another_one_is_named(models: Models) -> None:
    models.registry.close()
    file = models.path / "registry.sqlite"
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + bytes(range(256)) * 64 + whole[20_480:])
    refused(models.path, "is damaged.*Restore it from a backup")
    file.write_bytes(whole[: len(whole) // 2])
    refused(models.path, "is damaged.*Restore it from a backup")
    file.write_bytes(b"not a database at all" * 100)
    refused(models.path, "is damaged.*Restore it from a backup")
    file.unlink()
    refused(models.path, r"has lost its registry\.sqlite.*models add")
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE versions (x)")
    refused(models.path, "is a database, but no registry of models")


def test_two_servers_read_one_registry_and_see_what_is_changed(models: Models) -> None:
    with Registry.open(models.path) as one, Registry.open(models.path) as other:
        seen = one.revision, other.revision
        models.registry.clusters.name(0, "sitting", ANN)
        models.registry.rollback("ann", "x")
        assert one.revision == other.revision == seen[0] + 2
        for server in (one, other):
            assert server.version("current").number == 1
            assert server.catalogue_of("current").names == ("sitting", "walking")


def test_writers_at_once_take_turns_and_none_loses_a_name(models: Models) -> None:
    models.promote([None] * 8)

    def write(cluster: int) -> None:
        with Registry.open(models.path) as registry:
            for step in range(5):
                registry.clusters.name(cluster, f"{cluster}-{step}", Author(f"writer {cluster}"))

    ids = models.registry.version("current").ids or ()
    threads = [threading.Thread(target=write, args=(own,)) for own in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert models.published() == {own: f"{own}-4" for own in ids}
    assert sum(event.what == "name" for event in models.registry.clusters.history()) == 1 + 5 * len(ids)


def test_of_two_promotions_of_candidates_of_one_base_one_is_refused(models: Models) -> None:
    first, second = models.add([0, 1]), models.add([1, 0])
    with Registry.open(models.path) as other:
        other.promote(first.number, "ann", "x")
    with pytest.raises(RegistryConflictError, match="were worked out beside"):
        models.registry.promote(second.number, "bob", "y")
    with pytest.raises(ConfigError, match="is in production already"):
        models.registry.promote(first.number, "bob", "y")


def test_a_writer_that_holds_on_is_not_waited_for_for_ever(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_BUSY_MS", 50)
    with Registry.open(models.path) as patient, models.registry._database.writing():
        with pytest.raises(RegistryConflictError, match=r"held by another process.*nothing was changed"):
            patient.clusters.name(0, "x", ANN)
        assert patient.version("current").number == 2  # readers go on


def test_bundles_that_are_none_leave_nothing_behind(models: Models, tmp_path: Path) -> None:
    bundle = models.bundle(2)
    (bundle / "model.onnx").write_bytes(b"x")
    cases: list[tuple[Path, RowIds, type[Exception], str]] = [
        (tmp_path / "nowhere", RowIds.all_fresh(2), InputNotFoundError, "does not exist"),
        (bundle, RowIds.all_fresh(2), BundleError, "model.onnx of bundle .*bundle-3.* was changed"),
        (models.bundle(2), RowIds.all_fresh(3), ConfigError, "has 2 clusters, but ids are given for 3 rows"),
    ]
    for path, rows, kind, message in cases:
        with pytest.raises(kind, match=message):
            models.registry.add(path, Lineage(), rows)
    assert len(list((models.path / "versions").iterdir())) == 2


def test_reasons_and_names_of_people_are_one_printable_line(models: Models) -> None:
    registry = models.registry
    for who, why in (("", "x"), ("a\nb", "x"), ("ann", ""), ("ann", "x" * 10_000), ("ann", "\x1b[2J")):
        with pytest.raises(ConfigError, match="cannot be"):
            registry.rollback(who, why)
        with pytest.raises(ConfigError, match="cannot be"):
            registry.promote(1, who, why)
    assert len(registry.deployments()) == 2


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small file system; call it with other options to change it."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
        return disk

    yield mount
    subprocess.run(["umount", "--lazy", disk], check=False, capture_output=True)


def test_a_read_only_folder_can_be_read_and_says_why_it_cannot_be_changed(
    mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = mounted("size=8m")
    with Registry.create(disk / "models") as registry:
        registry.add(make_bundle(tmp_path / "bundle", 1, 2), Lineage(), RowIds.all_fresh(2))
        registry.promote(1, "ann", "first")
    mounted("remount,ro")
    with Registry.open(disk / "models") as registry:
        assert registry.version("current").number == 1
        assert registry.revision == 1
        for change in (
            lambda: registry.clusters.name(0, "x", ANN),
            lambda: registry.add(tmp_path / "bundle", Lineage(), RowIds.all_fresh(2)),
        ):
            with pytest.raises(RegistryError, match=r"cannot be written: .* is read-only"):
                change()
    with pytest.raises(RegistryError, match="cannot be written"):
        Registry.create(disk / "other")


def test_a_full_disk_changes_nothing(mounted: Callable[[str], Path], tmp_path: Path) -> None:
    disk = mounted("size=1m")
    registry = Registry.create(disk / "models")
    bundle = make_bundle(tmp_path / "bundle", 1, 2)
    registry.add(bundle, Lineage(), RowIds.all_fresh(2))
    registry.promote(1, "ann", "first")
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass
    with pytest.raises(RegistryError, match=r"disk is full.*nothing was changed"):
        registry.add(make_bundle(tmp_path / "other", 2, 2), Lineage(), RowIds.all_fresh(2))

    def name_until_full() -> None:
        for number in range(1000):  # the log has some room left
            registry.clusters.name(0, f"name {number}", ANN)

    with pytest.raises(RegistryError, match=r"disk is full.*nothing was changed"):
        name_until_full()
    ballast.unlink()
    kept = registry.clusters.get(0).name
    assert [info.number for info in registry.versions()] == [1]
    registry.clusters.name(0, "walking", ANN)
    assert registry.clusters.history(0)[-1].changes[0].before == kept
    registry.close()
    with Registry.open(disk / "models") as again:
        assert again.clusters.get(0).name == "walking"
