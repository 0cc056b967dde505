"""How many small faults put into the core do its tests notice?

Cosmic Ray (docs/adr/0015-tests.md) knows the faults: another operator, comparison or number, a condition
turned round, a decorator or a loop left out. Places are drawn with a seed, and at each one of its faults;
faults in annotations and docstrings are none. Every fault is put into a copy of the last commit, and the
tests of its package are run there.

    python tests/mutants/run.py --each 40 --seed 0 --jobs 2 [PACKAGE...]
    python tests/mutants/run.py --report
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import queue
import random
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "build" / "mutants"
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"


@dataclass(frozen=True)
class Mutant:
    """One fault in one file."""

    module: str
    line: int
    definition: str
    operator: str
    occurrence: int
    before: str
    after: str

    @property
    def key(self) -> str:
        return f"{self.module}:{self.line}:{self.operator}:{self.occurrence}"


@dataclass(frozen=True)
class Package:
    """Part of the core, and the tests that answer for it."""

    name: str
    modules: list[str]
    tests: list[str]


def load_packages(names: list[str]) -> list[Package]:
    """Those named, or all, with the patterns of ``packages.toml`` resolved in the order given there."""
    table = tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))
    unknown = set(names) - set(table)
    if unknown:
        sys.exit(f"error: no package {min(unknown)!r} in packages.toml. There are: {', '.join(table)}")
    packages = []
    for name in names or table:
        found = {kind: _files(table[name][kind]) for kind in ("modules", "tests")}
        if not all(found.values()):
            sys.exit(f"error: the patterns of {name!r} in packages.toml match no modules or no tests")
        packages.append(Package(name, **found))
    return packages


def _files(patterns: list[str]) -> list[str]:
    """What matches, relative to the project, each once."""
    files = (path.relative_to(ROOT) for one in patterns for path in sorted(ROOT.glob(one)))
    return list(dict.fromkeys(map(str, files)))


# ── Faults ────────────────────────────────────────────────────────────────────────────────────────────


def sample(package: Package, each: int, seed: int) -> list[Mutant]:
    """Faults at ``each`` places of a package, drawn with the seed."""
    places: dict[tuple[str, int, int], list[tuple[str, int, str]]] = {}
    for module in package.modules:
        for place, fault in _faults(ROOT / module):
            places.setdefault((module, *place), []).append(fault)
    random_ = random.Random(f"{seed} {package.name}")
    order = sorted(places)
    random_.shuffle(order)
    chosen: list[Mutant] = []
    for module, line, column in order:
        if len(chosen) == each:
            break
        operator, occurrence, definition = random_.choice(places[module, line, column])
        mutant = _mutant(module, line, definition, operator, occurrence)
        if mutant is not None:
            chosen.append(mutant)
    return chosen


def _faults(path: Path) -> Iterator[tuple[tuple[int, int], tuple[str, int, str]]]:
    """Line and column, and operator, occurrence and definition, of all faults that Cosmic Ray knows."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.ast.ast_query import ASTQuery
    from cosmic_ray.plugins import get_operator, operator_names

    tree = get_ast_from_path(path)
    for name in operator_names():
        operator_class = get_operator(name)
        if name.endswith("/NoOp") or operator_class.arguments() or _is_type_error(name):
            continue
        operator = operator_class()
        places = ((node, at) for node in ast_nodes(tree) for at, _ in operator.mutation_positions(node))
        for occurrence, (node, at) in enumerate(places):
            yield (at[0], at[1]), (name, occurrence, ASTQuery(node).get_definition_name() or "")


def _is_type_error(operator: str) -> bool:
    """Bits in place of arithmetic: of floats that is an error at the first call, which every test notices."""
    bits = ("BitOr", "BitAnd", "BitXor", "LShift", "RShift")
    _, _, change = operator.partition("ReplaceBinaryOperator_")
    before, _, after = change.partition("_")
    return after in bits and before not in bits


def mutated(source: str, operator: str, occurrence: int) -> str:
    """The file with the fault in it."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    code = mutate_code(source, get_operator(operator)(), occurrence)
    assert code is not None, f"{operator} has no occurrence {occurrence}"
    return str(code)


def _mutant(module: str, line: int, definition: str, operator: str, occurrence: int) -> Mutant | None:
    """None where the program stays the same, or is none any more."""
    source = (ROOT / module).read_text(encoding="utf-8")
    code = mutated(source, operator, occurrence)
    try:
        if _program(code) == _program(source):
            return None
    except SyntaxError:
        return None
    changes = [
        text for text in difflib.ndiff(source.splitlines(), code.splitlines()) if text[:2] in ("- ", "+ ")
    ]
    before, after = (" ".join(t[2:].strip() for t in changes if t[0] == sign) for sign in "-+")
    return Mutant(module, line, definition, operator.removeprefix("core/"), occurrence, before, after)


def _program(source: str) -> str:
    """A module's syntax tree without annotations and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return ast.dump(tree)


# ── Runs ──────────────────────────────────────────────────────────────────────────────────────────────


def make_copy(folder: Path) -> None:
    """The last commit, for one worker."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def run_tests(copy: Path, tests: list[str], limit_s: float) -> tuple[str, str]:
    """Outcome, and the last lines that pytest wrote."""
    roots = [str(copy / part) for part in ("", "server", "edge", "export")]
    environment = {
        **os.environ, "DISC_STREAM_EXAMPLES": "unshrunk", "PYTHONPATH": os.pathsep.join(roots),
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=120"]
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests], cwd=copy, env=environment,
            capture_output=True, text=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return TIMEOUT, ""
    return (SURVIVED if result.returncode == 0 else KILLED), result.stdout[-2000:] + result.stderr[-500:]


def try_mutant(copy: Path, package: Package, mutant: Mutant, limit_s: float) -> dict[str, object]:
    """Put the fault in, run the tests, take it out."""
    file = copy / mutant.module
    source = file.read_text(encoding="utf-8")
    file.write_text(mutated(source, f"core/{mutant.operator}", mutant.occurrence), encoding="utf-8")
    started = time.monotonic()
    try:
        stem = Path(mutant.module).stem.removesuffix("s")
        own_first = sorted(package.tests, key=lambda test: stem not in Path(test).stem)
        outcome, said = run_tests(copy, own_first, limit_s)
    finally:
        file.write_text(source, encoding="utf-8")
    seconds = round(time.monotonic() - started, 1)
    failed = next((line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
    return {**asdict(mutant), "outcome": outcome, "seconds": seconds, "by": failed}


def run_package(package: Package, mutants: list[Mutant], copies: list[Path]) -> None:
    """Try all mutants of a package that have no result yet."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{package.name}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    done = {(one["module"], one["before"], one["after"]) for one in map(json.loads, lines)}
    left = [m for m in mutants if (m.module, m.before, m.after) not in done]
    if not left:
        return
    started = time.monotonic()
    outcome, said = run_tests(copies[0], package.tests, 3600)
    if outcome != SURVIVED:
        sys.exit(f"error: the tests of {package.name} fail without any mutant:\n{said}")
    limit_s = 60 + 5 * (time.monotonic() - started)
    print(f"{package.name}: {len(left)} mutants, at most {limit_s:.0f} s each", flush=True)
    free: queue.Queue[Path] = queue.Queue()
    for copy in copies:
        free.put(copy)

    def one(mutant: Mutant) -> None:
        copy = free.get()
        try:
            result = try_mutant(copy, package, mutant, limit_s)
        finally:
            free.put(copy)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(result) + "\n")
        print(f"{result['outcome']:9} {result['seconds']:6} s  {mutant.key}  {mutant.after[:70]}", flush=True)

    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(one, left))


# ── Report ────────────────────────────────────────────────────────────────────────────────────────────


def report(packages: list[Package]) -> str:
    """A table of scores, and the survivors, in Markdown."""
    known = {
        (m["module"], m["before"], m["after"]): m["reason"]
        for m in tomllib.loads((HERE / "equivalent.toml").read_text(encoding="utf-8"))["mutants"]
    }
    table = ["| package | mutants | equivalent | noticed | share |", "| --- | --- | --- | --- | --- |"]
    survivors, equivalent = ["", "Survivors:", ""], ["", "Equivalent, with the reason:", ""]
    sums = [0, 0, 0]
    for package in packages:
        file = RESULTS / f"{package.name}.jsonl"
        if not file.exists():
            continue
        results = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        same = 0
        for result in (r for r in results if r["outcome"] == SURVIVED):
            reason = known.get((result["module"], result["before"], result["after"]))
            what = f"- `{result['module']}`: `{result['before']}` → `{result['after']}`"
            if reason is None:
                survivors.append(what)
            else:
                equivalent.append(f"{what}: {reason}")
                same += 1
        noticed = sum(r["outcome"] != SURVIVED for r in results)
        table.append(_row(package.name, len(results), same, noticed))
        sums = [a + b for a, b in zip(sums, (len(results), same, noticed), strict=True)]
    return "\n".join([*table, _row("all", *sums), *survivors, *equivalent]) + "\n"


def _row(name: str, mutants: int, equivalent: int, noticed: int) -> str:
    share = noticed / max(1, mutants - equivalent)
    return f"| {name} | {mutants} | {equivalent} | {noticed} | {share:.1%} |"


def main() -> None:
    """Run what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("packages", nargs="*", help="of packages.toml; default all")
    parser.add_argument("--each", type=int, default=40, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="copies of the project to work in")
    parser.add_argument("--list", action="store_true", help="show the mutants and run nothing")
    parser.add_argument("--report", action="store_true", help="print the table of the results there are")
    options = parser.parse_args()
    packages = load_packages(options.packages)
    if options.report:
        print(report(packages))
        return
    chosen = {package.name: sample(package, options.each, options.seed) for package in packages}
    if options.list:
        for package in packages:
            for mutant in chosen[package.name]:
                print(package.name, mutant.key, mutant.before, "→", mutant.after)
        return
    copies = [RESULTS / f"copy-{number}" for number in range(options.jobs)]
    for copy in copies:
        make_copy(copy)
    for package in packages:
        run_package(package, chosen[package.name], copies)
    print(report(packages))


if __name__ == "__main__":
    main()
