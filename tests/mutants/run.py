"""How many small faults put into the core do its tests notice?

Every fault of a sample (``faults.py``) is put into a copy of the project, and those tests of its package are
run there that execute its line, quickest first, until one fails. Which tests these are was recorded before
(``records.py``). Results are kept in ``build/mutants``, and a run goes on where another one stopped.

    python -m tests.mutants.run --each 40 --seed 0 --jobs 2 [PACKAGE...]
    python -m tests.mutants.run --survivors
    python -m tests.mutants.run --report
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutants.faults import Mutant, mutated, sample
from tests.mutants.records import Choice, Records
from tests.mutants.report import KILLED, SURVIVED, TIMEOUT, Equivalent, read_results, report

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "build" / "mutants"


@dataclass(frozen=True)
class Package:
    """Part of the core, and the test files that answer for it."""

    name: str
    modules: list[str]
    tests: list[str]


def load_packages() -> dict[str, Package]:
    """All of ``packages.toml``, with its patterns resolved in the order given there."""
    table = tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))
    return {name: Package(name, _files(one["modules"]), _files(one["tests"])) for name, one in table.items()}


def _files(patterns: list[str]) -> list[str]:
    """What matches, relative to the project, each once."""
    files: list[str] = []
    for pattern in patterns:
        found = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))
        if not found:
            sys.exit(f"error: {pattern!r} in packages.toml matches no file")
        files.extend(found)
    return list(dict.fromkeys(files))


class Copy:
    """A copy of the working tree, in which one worker runs tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        files = "\0".join(name for name in listed if name and (ROOT / name).is_file())
        archive = subprocess.run(
            ["tar", "-c", "--null", "-T", "-"],
            cwd=ROOT,
            input=files.encode(),
            capture_output=True,
            check=True,
        )
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)

    def record(self, tests: list[str], file: Path) -> None:
        """Record what these test files execute; ends the program where a test fails without a mutant."""
        print(f"recording what {len(tests)} test files execute", flush=True)
        outcome, said = self.run(["--mutants-record", str(file), "--timeout=600", *tests], 3600)
        if outcome != SURVIVED:
            sys.exit(f"error: tests fail without any mutant:\n{said}")

    def try_mutant(self, mutant: Mutant, choice: Choice, known: Iterable[str]) -> tuple[str, str]:
        """Put the fault in, run the tests, take it out."""
        file = self.folder / mutant.module
        source = file.read_text(encoding="utf-8")
        wanted = self.folder / "build" / "choice.json"
        wanted.parent.mkdir(exist_ok=True)
        wanted.write_text(json.dumps({"run": choice.tests, "known": list(known)}), encoding="utf-8")
        # Each test may take far longer than alone on a quiet machine, but not for ever; nor may all of them.
        each_s, all_s = 20 + 10 * choice.longest_s, 60 + 5 * choice.seconds
        file.write_text(mutated(source, f"core/{mutant.operator}", mutant.occurrence), encoding="utf-8")
        try:
            options = ["--mutants-choice", str(wanted), f"--timeout={each_s:.0f}"]
            return self.run([*options, *choice.files], all_s)
        finally:
            file.write_text(source, encoding="utf-8")

    def run(self, arguments: list[str], limit_s: float) -> tuple[str, str]:
        """Outcome, and the last lines that pytest wrote."""
        roots = [str(self.folder / part) for part in ("", "server", "edge", "export")]
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join([*roots, *_extra()]), "COVERAGE_CORE": "ctrace",
            "DISC_STREAM_EXAMPLES": "unshrunk", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "tests.mutants.plugin", *options, *arguments],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL, start_new_session=True, errors="replace",
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return TIMEOUT, ""
        # 5: no test was left to run.
        return (SURVIVED if process.returncode in (0, 5) else KILLED), said[-2500:]


def _extra() -> list[str]:
    """What of the caller's path is not the project."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [path for path in paths if path and not Path(path).resolve().is_relative_to(ROOT)]


def run_package(package: Package, mutants: list[Mutant], copies: list[Copy], core: list[str]) -> None:
    """Try these mutants of a package."""
    records = Records(copies[0].folder, RESULTS / "records", core)
    records.complete(package.tests, copies[0].record)
    known = records.known(package.tests)
    print(f"{package.name}: {len(mutants)} mutants, {len(known)} tests", flush=True)
    free: queue.Queue[Copy] = queue.Queue()
    for copy in copies:
        free.put(copy)

    # Before any fault is in the copies, for statements are looked up there.
    choices = [records.choose(package.tests, mutant.module, mutant.line) for mutant in mutants]

    def one(mutant: Mutant, choice: Choice) -> None:
        started = time.monotonic()
        outcome, said = SURVIVED, ""
        if choice.tests:
            copy = free.get()
            try:
                outcome, said = copy.try_mutant(mutant, choice, known)
            finally:
                free.put(copy)
        told = (line for line in said.splitlines() if line.startswith(("FAILED tests", "ERROR tests")))
        result = {
            **asdict(mutant), "outcome": outcome, "seconds": round(time.monotonic() - started, 1),
            "tests": len(choice.tests), "by": next(told, ""),
        }  # fmt: skip
        with (RESULTS / f"{package.name}.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(result) + "\n")
        figures = f"{outcome:9} {result['seconds']:6} s {len(choice.tests):5} tests"
        print(f"{figures}  {mutant.key}  {mutant.after[:70]}", flush=True)

    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(one, mutants, choices))


def _to_run(name: str, mutants: list[Mutant], survivors: bool, equivalent: Equivalent) -> list[Mutant]:
    """Those without a result; with ``survivors`` also those that survived and could be noticed."""
    results = read_results(RESULTS / f"{name}.jsonl")
    again = {
        identity
        for identity, one in results.items()
        if survivors and one["outcome"] == SURVIVED and equivalent.reason(identity) is None
    }
    return [one for one in mutants if one.identity not in results or one.identity in again]


def main() -> None:
    """Run what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("packages", nargs="*", help="of packages.toml; default all")
    parser.add_argument("--each", type=int, default=40, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="copies of the project to work in")
    parser.add_argument("--survivors", action="store_true", help="also try again those that survived")
    parser.add_argument("--list", action="store_true", help="show the mutants and run nothing")
    parser.add_argument("--report", action="store_true", help="print the table of the results there are")
    options = parser.parse_args()
    packages = load_packages()
    unknown = set(options.packages) - set(packages)
    if unknown:
        parser.error(f"no package {min(unknown)!r} in packages.toml. There are: {', '.join(packages)}")
    names = options.packages or list(packages)
    equivalent = Equivalent(HERE / "equivalent.toml")
    samples = {name: sample(ROOT, packages[name].modules, options.each, options.seed) for name in names}
    if options.report:
        print(report(RESULTS, samples, equivalent))
        return
    if options.list:
        for name, mutants in samples.items():
            for mutant in mutants:
                print(name, mutant.key, mutant.before, "→", mutant.after)
        return
    core = sorted({module for package in packages.values() for module in package.modules})
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="copies-", dir=RESULTS) as folder:
        copies = []
        for number in range(options.jobs):
            (Path(folder) / str(number)).mkdir()
            copies.append(Copy(Path(folder) / str(number)))
        for name, mutants in samples.items():
            chosen = _to_run(name, mutants, options.survivors, equivalent)
            if chosen:
                run_package(packages[name], chosen, copies, core)
    print(report(RESULTS, samples, equivalent))


if __name__ == "__main__":
    main()
