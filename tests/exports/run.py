"""Exports of every method on every dataset, several seeds: what `make exports` runs.

Each line of the results is one export; what is there already is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disc_stream.data.readers import load_split
from disc_stream.data.types import Split
from disc_stream.errors import DataError, ParityError
from tests.exports.matrix import DATASETS, METHODS, REAL_SIZE, compare_labels, export_one, train_one

COUNTED = ("other_than_torch", "other_than_exact", "other_alone", "not_finite")


def main(words: Sequence[str] | None = None) -> int:
    """Run what is missing, print every result; 1 if an export was refused or a label differs."""
    parser = argparse.ArgumentParser(prog="make exports", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("DISC_STREAM_DATA"))
    parser.add_argument("--out", type=Path, default=Path("exports.jsonl"), help="results, one a line")
    parser.add_argument("--datasets", nargs="*", default=DATASETS)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--windows", type=int, default=10_000, help="of each kind")
    parser.add_argument("--preset-training", action="store_true", help="train as `train` does, for hours")
    given = parser.parse_args(words)
    if given.data is None:
        parser.error("DISC_STREAM_DATA or --data must name the folder of recordings")
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    done = [json.loads(line) for line in lines]
    for dataset in given.datasets:
        wanted = [(method, seed) for method in given.methods for seed in given.seeds]
        there = [(one["method"], one["seed"]) for one in done if one["dataset"] == dataset]
        missing = [pair for pair in wanted if pair not in there]
        if not missing:
            continue
        try:
            split = load_split(dataset, given.data, include_unlabelled=True)
        except DataError as error:
            if "does not hold" not in str(error):
                raise
            print(f"{dataset}: not in {given.data}", flush=True)
            continue
        for method, seed in missing:
            done.append(one_export(split, dataset, method, seed, given))
            with given.out.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(text_of(done[-1]), flush=True)
    bad = [one for one in done if not is_good(one)]
    print(f"{len(done)} exports, {len(bad)} of them not as they should be")
    for one in bad:
        print("  " + text_of(one))
    return 1 if bad else 0


def one_export(
    split: Split, dataset: str, method: str, seed: int, given: argparse.Namespace
) -> dict[str, Any]:
    """Train, export, compare; a refused export is a result, too."""
    began = time.perf_counter()
    found: dict[str, Any] = {"dataset": dataset, "method": method, "seed": seed, "refused": None}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            settings = {} if given.preset_training else REAL_SIZE
            parity = export_one(train_one(split, dataset, method, seed, folder, settings), folder)
            found["parity"] = {at: one.model_dump() for at, one in parity.items()}
        except ParityError as error:
            found["refused"] = str(error)
        else:
            x, alone = np.concatenate([split.train.x, split.test.x]), min(given.windows, 500)
            found["kinds"] = {
                f"{at} {kind}": figures
                for at in parity
                for kind, figures in compare_labels(folder, at, x, given.windows, alone).items()
            }
    found["seconds"] = round(time.perf_counter() - began, 1)
    return found


def is_good(found: dict[str, Any]) -> bool:
    """Whether it was exported, and says what torch says, everything finite, alone and in company."""
    if found["refused"]:
        return False
    fields = ("other_than_torch", "other_alone", "not_finite")
    return not any(figures[field] for figures in found["kinds"].values() for field in fields)


def text_of(found: dict[str, Any]) -> str:
    """One line for people."""
    head = f"{found['dataset']:<20}{found['method']:<12}seed {found['seed']}  {found['seconds']:6.0f} s"
    if found["refused"]:
        return f"{head}  REFUSED: {found['refused']}"
    parts = [
        f"{kind} {'/'.join(str(one[field]) for field in COUNTED)} {one['embedding']:.0e}"
        for kind, one in found["kinds"].items()
    ]
    return f"{head}  " + ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
