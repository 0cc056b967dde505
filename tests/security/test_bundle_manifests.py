"""A bundle from somebody else: its manifest and catalogue hold no number and no name that does harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.errors import BundleError
from tests.support.hostile_bundle import edit_manifest
from tests.support.tiny_bundle import write_tiny_bundle

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "tiny")
    return tmp_path / "tiny"


def set_to(value: object, *path: str | int) -> Change:
    def change(raw: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


ESC = "\x1b]0;pwned\x07\x1b[2J"

NUMBERS = [
    (set_to(10**12, "window", "samples"), "window.samples"),
    (set_to(65_537, "window", "samples"), "window.samples"),
    (set_to(float("inf"), "fs"), "fs"),
    (set_to(1e9, "fs"), "fs"),
    (set_to(10**9, "n_clusters"), "n_clusters"),
    (set_to(10**9, "embedding_dim"), "embedding_dim"),
    (set_to(10**30, "training", "n_windows"), "training.n_windows"),
    (set_to([{"name": f"c{n}", "unit": "g"} for n in range(257)], "channels"), "channels"),
]
NAMES = [
    (set_to(ESC, "name"), "name"),
    (set_to("\u202egnp.exe", "name"), "name"),
    (set_to(f"acc_x{ESC}", "channels", 0, "name"), "channels.0.name"),
    (set_to("c" * 65, "channels", 0, "name"), "channels.0.name"),
    (set_to(ESC, "channels", 0, "unit"), "channels.0.unit"),
    (set_to(ESC, "training", "dataset"), "training.dataset"),
    (set_to(ESC, "training", "method"), "training.method"),
    (set_to(ESC, "version"), "version"),
    (set_to(ESC, "created"), "created"),
    (set_to({ESC: "1"}, "software"), "software."),
    (set_to(1, ESC), r"\x1b]0;pwned"),
    (set_to(ESC, "schema_name"), "schema_name"),
]


@pytest.mark.parametrize(("change", "field"), [*NUMBERS, *NAMES])
def test_a_value_that_does_harm_is_refused_and_shown_harmlessly(
    change: Change, field: str, folder: Path
) -> None:
    edit_manifest(folder, change)
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    line = str(caught.value)
    assert "manifest.json of bundle" in line
    assert field in line
    assert line.isprintable()


@pytest.mark.parametrize("name", [ESC, "rest\nroot: label", "", "x" * 65, "\u2066rest"])
def test_a_cluster_has_a_name_that_a_terminal_can_bear(name: str, folder: Path) -> None:
    catalogue = Bundle.open(folder).catalogue
    first = catalogue.clusters[0].model_copy(update={"name": name})
    hostile = Catalogue.model_construct(
        schema_name=catalogue.schema_name, schema_version=1, model=catalogue.model,
        clusters=(first, *catalogue.clusters[1:]),
    )  # fmt: skip
    (folder / "catalogue.json").write_bytes(hostile.to_bytes())
    with pytest.raises(BundleError, match=r"catalogue\.json of bundle .*: clusters\.0\.name: ") as caught:
        Bundle.open(folder)
    assert str(caught.value).isprintable()


def test_a_cluster_id_fits_into_a_label(folder: Path) -> None:
    catalogue = Bundle.open(folder).catalogue
    first = catalogue.clusters[0].model_copy(update={"id": 2**32})
    (folder / "catalogue.json").write_bytes(
        catalogue.model_copy(update={"clusters": (first, *catalogue.clusters[1:])}).to_bytes()
    )
    with pytest.raises(BundleError, match=r"clusters\.0\.id: "):
        Bundle.open(folder)


@pytest.mark.parametrize("name", ["manifest.json", "catalogue.json"])
def test_a_text_of_many_megabytes_is_refused_before_it_is_parsed(name: str, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b" " * (5 << 20))
    with pytest.raises(BundleError, match=f"{name} of bundle .* has more than 4 MiB"):
        Bundle.open(folder)


def test_metrics_may_not_be_nested_without_an_end(folder: Path) -> None:
    nested: Any = 1
    for _ in range(400):
        nested = [nested]
    edit_manifest(folder, set_to({"depth": nested}, "training", "metrics"))
    with pytest.raises(BundleError, match=r"manifest\.json of bundle"):
        Bundle.open(folder)
