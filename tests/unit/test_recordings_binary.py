"""Binary recordings, written as their makers describe the formats, become the samples that were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.importing.front import import_recordings
from tests.support.written.base import motion
from tests.support.written.binary import START, WRITERS

pytest.importorskip("actfast")


@pytest.mark.parametrize("ending", WRITERS)
def test_what_was_written_comes_back(ending: str, tmp_path: Path) -> None:
    acc = motion(2_400, seed=3)[:, :3]
    count = WRITERS[ending](tmp_path / f"user07{ending}", acc, 50)
    plan, (recording,) = import_recordings(tmp_path / f"user07{ending}")
    said = "\n".join(plan.lines())
    assert (recording.fs, recording.subject, len(recording.samples)) == (50.0, 7, 2_400), said
    assert [(c.name, c.unit) for c in recording.channels] == [(f"acc_{a}", "g") for a in "xyz"]
    assert abs(recording.start_us / 1e6 - START.timestamp()) <= 0.5 / 50, said
    np.testing.assert_allclose(recording.samples, acc, atol=0.51 * count)
