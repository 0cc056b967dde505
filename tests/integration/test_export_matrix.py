"""Every method on every dataset, exported, with the labels of its network; all of it by `make exports`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.readers import load_recordings, load_split
from disc_stream.data.readers.registry import READERS
from disc_stream.data.types import Split
from disc_stream.data.windows import plan_windows, split_recordings
from disc_stream.errors import DataError
from tests.exports.matrix import (
    DATASETS,
    EITHER,
    KINDS,
    METHODS,
    QUICK,
    compare_labels,
    export_one,
    some_people,
    train_one,
)

pytestmark = pytest.mark.real_data

PEOPLE = 4
WINDOWS = 100  # of each person
EACH = 400  # windows of each kind


@cache
def few_people(dataset: str, folder: Path) -> Split | None:
    """Some windows of the first people, of which fewer files have to be read; None if it is not there."""
    reader = READERS[dataset]
    try:
        if reader.kind == "windows":
            return some_people(load_split(dataset, folder), PEOPLE, WINDOWS)
        recordings = load_recordings(dataset, folder, subjects=range(1, PEOPLE + 2))
    except DataError as error:
        if "does not hold" not in str(error):
            raise
        return None
    people = sorted({recording.subject for recording in recordings})
    held_out = people[-1:] if len(people) > 2 else []
    plan = plan_windows(recordings[0].fs, reader.window_s, 0.5)
    split = Split(*split_recordings(recordings, plan, held_out), n_clusters=reader.n_clusters)
    return some_people(split, PEOPLE, WINDOWS)


# Half a window of every other dataset, and the whole of the others: an export takes seconds.
LENGTHS = {name: ("half", "whole")[n % 2] for n, name in enumerate(DATASETS)}
# With the kernels of other processors those that differ most in channels and length.
OTHER_KERNELS = ("uci-har", "actrectut-walk")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "dataset", [pytest.param(one, marks=[pytest.mark.numeric] * (one in OTHER_KERNELS)) for one in DATASETS]
)
def test_the_graph_gives_the_labels_of_its_network(
    dataset: str, method: str, real_data: Path, tmp_path: Path
) -> None:
    split = few_people(dataset, real_data)
    if split is None:
        pytest.skip(f"{dataset} is not in {real_data}")
    info = train_one(split, dataset, method, 0, tmp_path, QUICK)
    exported = export_one(info, tmp_path, {LENGTHS[dataset]: EITHER[LENGTHS[dataset]]})
    assert tuple(exported) == ((LENGTHS[dataset],) if method == "disc" else ("own",))
    for at, parity in exported.items():
        assert parity.labels_equal == 1.0
        found = compare_labels(tmp_path, at, np.concatenate([split.train.x, split.test.x]), EACH, 32)
        assert tuple(found) == KINDS
        for kind, figures in found.items():
            assert figures["n"] == EACH
            wrong = {name: figures[name] for name in ("other_than_torch", "other_alone", "not_finite")}
            assert set(wrong.values()) == {0}, (at, kind, figures)
