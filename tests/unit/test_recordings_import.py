"""What becomes of recordings as loggers and people write them: the right samples, or a refusal that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.importing import rows
from disc_stream.data.importing.front import import_recordings
from disc_stream.data.importing.plan import ImportPlan
from disc_stream.data.importing.settings import Settings, read_settings
from disc_stream.data.types import Recording
from disc_stream.errors import DataError
from tests.support.written import CASES, Case, Expected


def settings_of(case: Case) -> Settings:
    return read_settings(case.maps).model_copy(update=case.settings)


def check(plan: ImportPlan, recordings: list[Recording], expected: Expected) -> None:
    said = "\n".join(plan.lines())
    assert [r.fs for r in recordings] == [expected.fs] * len(recordings), said
    assert recordings[0].channels == plan.channels
    assert tuple(c.name for c in plan.channels) == expected.names, said
    assert tuple(c.unit for c in plan.channels) == expected.units, said
    assert [len(r.samples) for r in recordings] == [len(part) for part in expected.parts], said
    assert tuple(r.subject for r in recordings) == expected.people * (
        len(recordings) // len(expected.people)
    ), said
    for recording, part in zip(recordings, expected.parts, strict=True):
        off = np.abs(recording.samples - part.astype(np.float32))
        assert off.max() <= expected.within, (off.max(), said)
    for words in expected.said:
        assert words in said, said


@pytest.mark.parametrize("name", CASES)
def test_a_recording_becomes_what_it_is(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    case.write(tmp_path)
    if case.refused:
        with pytest.raises(DataError, match=case.refused) as raised:
            import_recordings(tmp_path)
        assert raised.value.remedy, "a refusal says what to do"
    plan, recordings = import_recordings(tmp_path, settings_of(case))
    check(plan, recordings, case.expected)


@pytest.mark.parametrize("name", CASES)
def test_pythons_own_reader_gives_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base install has no pyarrow."""
    case = CASES[name]
    case.write(tmp_path)
    fast = import_recordings(tmp_path, settings_of(case))
    monkeypatch.setattr(rows, "has_arrow", lambda: False)
    slow = import_recordings(tmp_path, settings_of(case))
    assert fast[0].to_json() == slow[0].to_json()
    for one, other in zip(fast[1], slow[1], strict=True):
        assert np.array_equal(one.samples, other.samples)
        assert np.array_equal(one.labels, other.labels)
        assert (one.start_us, one.clock_fs, one.name) == (other.start_us, other.clock_fs, other.name)


def test_labels_come_with_their_samples(tmp_path: Path) -> None:
    CASES["labels with nan"].write(tmp_path)
    _, (recording,) = import_recordings(tmp_path)
    assert recording.label_names == ("walking",)
    assert recording.labels.tolist() == [-1] * 60 + [0] * 180
