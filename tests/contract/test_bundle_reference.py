"""The reference page of the bundle: its programs run, and it names every field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo
from disc_stream.artifacts.manifest import Manifest
from tests.support.tiny_bundle import NAMES, write_tiny_bundle

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "bundle.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=["onnxruntime", "disc_stream"])
def test_the_programs_run(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_bundle(tmp_path / "bundles" / "hapt")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(program, found)  # noqa: S102 - the page's own example
    assert found["names"] == [NAMES[0]] * 4  # zeros lie on the first centroid


def test_every_field_is_named() -> None:
    written = [name for name, field in Manifest.model_fields.items() if not field.exclude]
    for field in [*written, *Catalogue.model_fields, *ClusterInfo.model_fields]:
        assert f"`{field}" in PAGE, f"{field} is not described"
