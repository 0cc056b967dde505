"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    ROOT / "disc_stream", ROOT / "server" / "disc_stream_server", ROOT / "edge" / "disc_stream_edge",
    ROOT / "export" / "disc_stream_export",
}  # fmt: skip


def modules_with_examples() -> list[str]:
    """Only these are imported: the others may need a device or minutes, and have nothing to run."""
    return sorted(
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for package in PACKAGES
        for path in package.rglob("*.py")
        if ">>> " in path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0, f"{name} shows examples where doctest does not look for them"
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples in {name} are not true"


def test_examples_are_found() -> None:
    assert len(modules_with_examples()) >= 5
