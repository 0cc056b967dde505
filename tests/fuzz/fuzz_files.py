"""Coverage-guided fuzzing of the files of somebody else that are opened; see ``make fuzz``.

    python tests/fuzz/fuzz_files.py bundle-zip -max_total_time=60

The first argument names the kind of file, ``list`` lists them; the others are libFuzzer's. The corpus starts
from good files (``tests/support/hostile_files.py``), kept in ``build/fuzz/<kind>``. Whatever a reader raises
but its typed error, opens elsewhere or writes elsewhere ends the run with the input that did it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import resource
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["disc_stream.artifacts", "disc_stream.data", "disc_stream.zipfiles"]
):
    from tests.support.hostile_files import TARGETS
from tests.support.opened import OPENED

CORPUS = Path("build/fuzz").absolute()
SHOWN = {2_000, 10_000, 50_000, 200_000}


def main() -> None:
    """Fuzz one kind of file."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "list":
        print("\n".join(TARGETS))
        return
    if name not in TARGETS:
        sys.exit(f"usage: fuzz_files.py {'|'.join(TARGETS)} [libFuzzer options]")
    target, corpus = TARGETS[name], CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    logging.disable()  # warnings of incomplete datasets
    warnings.simplefilter("ignore")  # numpy's, of numbers that a damaged file holds
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory(dir=_memory()) as work:
        for seed in target.seeds(Path(made)):
            (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
            target.read(seed, Path(work))
        elsewhere = Path(made) / "elsewhere"
        elsewhere.mkdir()
        os.chdir(elsewhere)
        runs = 0

        def one_input(data: bytes) -> None:
            nonlocal runs
            runs += 1
            try:
                with OPENED.watch():
                    target.read(data, Path(work))
            except target.errors as error:
                if "\n" in str(error):
                    raise AssertionError(f"an error of several lines: {error}") from error
            if outside := OPENED.outside(Path(work)) or list(elsewhere.iterdir()):
                raise AssertionError(f"opened or written elsewhere: {outside}")
            if runs in SHOWN:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                print(f"after {runs} inputs the largest memory was {peak / 1024:.0f} MiB", file=sys.stderr)

        atheris.Setup([sys.argv[0], *sys.argv[2:], str(corpus)], one_input)
        atheris.Fuzz()


def _memory() -> str | None:
    """A folder in memory, where there is one: files are written by the thousand a second."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


if __name__ == "__main__":
    main()
