"""The results of mutants: lines of JSON, of which the last for a mutant counts, and a report in Markdown."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from tests.mutants.faults import Identity, Mutant

KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"


def read_results(file: Path) -> dict[Identity, dict[str, Any]]:
    """The latest result of each mutant of a package."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    results = [json.loads(line) for line in lines]
    return {(one["module"], one["definition"], one["before"], one["after"]): one for one in results}


class Equivalent:
    """Mutants that nothing can notice."""

    def __init__(self, file: Path) -> None:
        table = tomllib.loads(file.read_text(encoding="utf-8"))["mutants"]
        self._reasons = {(one["module"], one["before"], one["after"]): one["reason"] for one in table}

    def reason(self, identity: Identity) -> str | None:
        """Why nothing can notice it; None if something can, as far as anybody knows."""
        module, _, before, after = identity
        return self._reasons.get((module, before, after))


def report(folder: Path, samples: dict[str, list[Mutant]], equivalent: Equivalent) -> str:
    """A table of scores, and the survivors, of the mutants of each package that have a result."""
    table = ["| package | mutants | equivalent | noticed | share |", "| --- | --- | --- | --- | --- |"]
    survivors, same = ["", "Survivors:", ""], ["", "Equivalent, with the reason:", ""]
    sums = [0, 0, 0]
    for package, mutants in samples.items():
        known = read_results(folder / f"{package}.jsonl")
        results = {one.identity: known[one.identity] for one in mutants if one.identity in known}
        if not results:
            continue
        alike = 0
        for identity, result in results.items():
            if result["outcome"] != SURVIVED:
                continue
            reason = equivalent.reason(identity)
            what = f"- `{result['module']}:{result['line']}`: `{result['before']}` → `{result['after']}`"
            if reason is None:
                survivors.append(f"{what} ({result['tests']} tests)")
            else:
                same.append(f"{what}: {reason}")
                alike += 1
        noticed = sum(one["outcome"] != SURVIVED for one in results.values())
        table.append(_row(package, len(results), alike, noticed))
        sums = [a + b for a, b in zip(sums, (len(results), alike, noticed), strict=True)]
    return "\n".join([*table, _row("all", *sums), *survivors, *same]) + "\n"


def _row(name: str, mutants: int, equivalent: int, noticed: int) -> str:
    share = noticed / max(1, mutants - equivalent)
    return f"| {name} | {mutants} | {equivalent} | {noticed} | {share:.1%} |"
