"""The shape of the code: what a newcomer can rely on, checked."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("disc_stream", "server/disc_stream_server", "edge/disc_stream_edge", "export/disc_stream_export")
MAX_PARAMETERS = 6


def sources() -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in {"self", "cls"}]


def test_functions_take_at_most_six_parameters() -> None:
    """Commands are excepted: their parameters are options."""
    wide = [
        f"{path}:{node.lineno} {node.name} takes {len(parameters(node))}"
        for path, text in sources()
        if "cli" not in path.parts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(parameters(node)) > MAX_PARAMETERS
    ]
    assert wide == []


def test_the_life_cycle_of_the_server_fits_on_a_few_screens() -> None:
    lines = (ROOT / "server/disc_stream_server/service.py").read_text(encoding="utf-8").count("\n")
    assert lines < 250


def test_files_stay_short() -> None:
    long = {str(path): text.count("\n") for path, text in sources() if text.count("\n") > 420}
    assert long == {}
