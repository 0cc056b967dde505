"""A process that forks writers of a registry and kills each at the moment it is told; run by the chaos tests.

A line of its stdin is ``SECONDS``; the answer is one JSON list of what the writer had been told was done.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import sys
from pathlib import Path

from disc_stream.errors import DiscStreamError
from disc_stream.registry import Author, Lineage, Registry, RowIds


def work(path: Path, bundles: Path, turn: int, out: int) -> None:
    """Add, promote, name, merge, split, roll back, until killed; every success is reported."""

    def done(*what: object) -> None:
        os.write(out, (json.dumps(what) + "\n").encode())

    author = Author("writer")
    registry = Registry.open(path)
    for step in itertools.count():
        current = registry.current()
        kept = registry.version("current").ids if current is not None else None
        proposal = (
            RowIds.keeping([kept[0], None], current.version) if kept and current else RowIds.all_fresh(2)
        )
        bundle = bundles / (str(turn) if step == 0 else "spare")
        info = registry.add(bundle, Lineage(method="trivial"), proposal)
        done("add", info.number)
        if step == 0:
            registry.promote(info.number, "writer", f"turn {turn}")
            done("promote", info.number)
        first, second = (registry.version("current").ids or (0, 1))[:2]
        name = f"name {turn}-{step}"
        registry.clusters.name(first, name, author)
        done("name", first, name)
        with contextlib.suppress(DiscStreamError):
            registry.clusters.merge(second, first, author)
            registry.clusters.undo(author)
        if turn > 1 and step % 3 == 1:
            with contextlib.suppress(DiscStreamError):
                done("promote", registry.rollback("writer", "x").version_number)
        if step % 3 == 2:
            registry.prune(1)


def main() -> None:
    path, bundles = map(Path, sys.argv[1:])
    for turn, line in enumerate(sys.stdin):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                work(path, bundles, turn, writing)
            except DiscStreamError as error:
                os.write(writing, (json.dumps(["error", str(error)]) + "\n").encode())
            finally:
                os._exit(1)
        os.close(writing)
        select.select([], [], [], float(line))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading) as reports:
            done = [json.loads(report) for report in reports if report.endswith("\n")]
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
