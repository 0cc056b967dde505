"""Which tests execute a line, and how long they take: recorded once, and again for test files that changed.

Kept in ``build/mutants/records``, one file for each test file, with a digest of it and of the core.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Phases = dict[str, float]


@dataclass(frozen=True)
class Choice:
    """Tests that answer for a fault, in the order to run them, and the seconds that they took."""

    tests: list[str]
    seconds: float
    longest_s: float

    @property
    def files(self) -> list[str]:
        """The files they are in, each once."""
        return list(dict.fromkeys(test.partition("::")[0] for test in self.tests))


class Records:
    """What the test files of a package execute of the core.

    Args:
        root: of the project.
        folder: where records are kept.
        core: the modules of all packages, relative to the root; a change of one of them makes records stale.
    """

    def __init__(self, root: Path, folder: Path, core: Iterable[str]) -> None:
        self._root, self._folder = root, folder
        self._core = hashlib.sha256()
        for module in sorted(core):
            self._core.update(module.encode() + (root / module).read_bytes())
        self._read: dict[str, dict[str, Any]] = {}

    def complete(self, tests: list[str], record: Callable[[list[str], Path], None]) -> None:
        """Have ``record`` run those test files of which there is no valid record, and keep what it wrote."""
        stale = [test for test in tests if not self._is_fresh(test)]
        if not stale:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        raw = self._root / "build" / "raw.json"
        raw.parent.mkdir(exist_ok=True)
        record(stale, raw)
        found = json.loads(raw.read_text(encoding="utf-8"))
        raw.unlink()
        for test in stale:
            mine = f"{test}::"
            kept: dict[str, Any] = {
                "digest": self._digest(test),
                "seconds": {name: s for name, s in found["seconds"].items() if name.startswith(mine)},
                "lines": {},
            }
            for module, lines in found["lines"].items():
                own = {n: [c for c in said if not c or c.startswith(mine)] for n, said in lines.items()}
                kept["lines"][module] = {n: said for n, said in own.items() if said}
            new = self._file(test).with_suffix(".new")
            new.write_text(json.dumps(kept), encoding="utf-8")
            new.replace(self._file(test))
            self._read.pop(test, None)

    def known(self, tests: list[str]) -> list[str]:
        """All tests of these files."""
        return [name for test in tests for name in self._record(test)["seconds"]]

    def choose(self, tests: list[str], module: str, line: int) -> Choice:
        """Those tests of ``tests`` that execute the statement in this line; all, if it is run on import.

        A line that the set-up of a test executes counts for all tests of its file, which may share what was
        made; one that was executed outside of any test, for all of them. Those that execute it themselves
        come first.
        """
        span = statement_span(self._root / module, line)
        direct: set[str] = set()
        names: list[str] = []
        for test in tests:
            record = self._record(test)
            lines: dict[str, list[str]] = record["lines"].get(module, {})
            at = list(lines) if span is None else [str(n) for n in span]
            contexts = {context for n in at for context in lines.get(n, [])}
            own = {context.rpartition("|")[0] for context in contexts if context} & set(record["seconds"])
            shared = span is None or "" in contexts or any(context.endswith("|setup") for context in contexts)
            names.extend(record["seconds"] if shared else own)
            direct |= own
        costs = self._costs(tests)

        def place(name: str) -> tuple[bool, int, str, float]:
            # Tests of about the same cost stay together by file, so that they share what is set up for it.
            about = round(math.log2(costs[name] + 0.02))
            return name not in direct, about, name.partition("::")[0], costs[name]

        names.sort(key=place)
        chosen = [costs[name] for name in names]
        return Choice(names, sum(chosen), max(chosen, default=0.0))

    def _costs(self, tests: list[str]) -> dict[str, float]:
        """Seconds of each test; the longest set-up of a file, which its tests may share, counts for each."""
        costs = {}
        for test in tests:
            seconds: dict[str, Phases] = self._record(test)["seconds"]
            shared = max((phases.get("setup", 0.0) for phases in seconds.values()), default=0.0)
            for name, phases in seconds.items():
                costs[name] = shared + phases.get("call", 0.0) + phases.get("teardown", 0.0)
        return costs

    def _is_fresh(self, test: str) -> bool:
        return self._file(test).exists() and self._record(test)["digest"] == self._digest(test)

    def _record(self, test: str) -> dict[str, Any]:
        if test not in self._read:
            self._read[test] = json.loads(self._file(test).read_text(encoding="utf-8"))
        return self._read[test]

    def _digest(self, test: str) -> str:
        digest = self._core.copy()
        digest.update((self._root / test).read_bytes())
        return digest.hexdigest()

    def _file(self, test: str) -> Path:
        return self._folder / f"{test.replace('/', '.')}.json"


def statement_span(path: Path, line: int) -> range | None:
    """Lines whose execution shows whether a test can notice a fault in a line; None if that cannot be said.

    They are those of its statement; of a compound one those of its head; of the head of a function those of
    the function, for what a head says takes effect when it is called. Other statements that are run on import
    take effect anywhere. What is cached is executed by whichever test comes first and noticed by any.
    """
    heads = [one for one in _statements(path) if line in one[0]]
    return min(heads, key=lambda one: len(one[0]))[1] if heads else None


@cache
def _statements(path: Path) -> list[tuple[range, range | None]]:
    """Lines of the head of every statement, and those of ``statement_span``."""
    found: list[tuple[range, range | None]] = []

    def visit(node: ast.AST, on_import: bool) -> None:
        for child in ast.iter_child_nodes(node):
            called = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_cached(child)
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                head, body = _lines(child)
                shows = body if called else head
                found.append((head, None if on_import and not called else shows))
            visit(child, on_import and not called)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def _lines(node: ast.stmt | ast.excepthandler | ast.match_case) -> tuple[range, range]:
    """Those of the head and of the body; of a simple statement all and none."""
    first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
    first = min([first, *(one.lineno for one in getattr(node, "decorator_list", []))])
    body: list[ast.stmt] = getattr(node, "body", [])
    last = max([getattr(node, "end_lineno", None) or first, *(one.end_lineno or 0 for one in body)])
    if not body:
        return range(first, last + 1), range(0)
    begin = max(first + 1, body[0].lineno)
    return range(first, begin), range(begin, last + 1)


def _is_cached(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("cache" in ast.unparse(decorator) for decorator in function.decorator_list)
