"""Which recordings a word of the command line names."""

from __future__ import annotations

from pathlib import Path

import pytest

from disc_stream.data.readers import load_recordings_spec
from disc_stream.data.readers.naming import names_recording
from disc_stream.data.uniform import DatasetFacts, write_uniform
from disc_stream.errors import ConfigError
from tests.support.datasets import write_hapt
from tests.unit.test_data_files import recording

HAPT = {f"hapt-exp{exp:02d}-user{user:02d}": user for exp, user in ((1, 1), (2, 1), (3, 2), (7, 4), (20, 10))}


def named(pattern: str) -> list[str]:
    return [name.removeprefix("hapt-") for name, user in HAPT.items() if names_recording(pattern, name, user)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("user04", ["exp07-user04"]),
        ("user4", ["exp07-user04"]),
        ("USER04", ["exp07-user04"]),
        ("person-04", ["exp07-user04"]),
        ("sub_4", ["exp07-user04"]),
        ("user0*", ["exp01-user01", "exp02-user01", "exp03-user02", "exp07-user04"]),
        ("subject0*", ["exp01-user01", "exp02-user01", "exp03-user02", "exp07-user04"]),
        ("User0?", ["exp01-user01", "exp02-user01", "exp03-user02", "exp07-user04"]),
        ("user0[24]", ["exp03-user02", "exp07-user04"]),
        ("user1*", ["exp20-user10"]),
        ("user*", [name.removeprefix("hapt-") for name in HAPT]),
        ("*-user01", ["exp01-user01", "exp02-user01"]),
        ("exp0*", ["exp01-user01", "exp02-user01", "exp03-user02", "exp07-user04"]),
        ("hapt-exp0*", ["exp01-user01", "exp02-user01", "exp03-user02", "exp07-user04"]),
        ("exp07", ["exp07-user04"]),
        ("user02-05", ["exp03-user02", "exp07-user04"]),
        ("user2-user5", ["exp03-user02", "exp07-user04"]),
        ("person2-5", ["exp03-user02", "exp07-user04"]),
        ("exp02-exp07", ["exp02-user01", "exp03-user02", "exp07-user04"]),
        ("exp02-user01", ["exp02-user01"]),
        ("user5-2", []),
        ("user", []),
        ("use0*", []),
        ("user01*0", []),
    ],
)
def test_what_a_pattern_names(pattern: str, expected: list[str]) -> None:
    assert named(pattern) == expected


def test_a_name_without_a_person_is_found_by_its_person() -> None:
    assert names_recording("user0*", "morning", 7)
    assert names_recording("user5-8", "morning", 7)
    assert not names_recording("user0*", "morning", 12)


def test_patterns_work_for_datasets_and_for_files_alike(tmp_path: Path) -> None:
    root = write_hapt(tmp_path)
    mine = tmp_path / "mine.npz"
    people = [recording("walk", 1), recording("long-walk", 2), recording("user12-run", 12)]
    write_uniform(mine, people, DatasetFacts("mine", 2))

    def names(*specs: str) -> list[str]:
        return [r.name for r in load_recordings_spec(specs, root)]

    assert names("hapt:user0*") == names("HAPT:User01-02") == names("hapt")
    assert names(f"{mine}:user02,user10-19") == ["long-walk", "user12-run"]
    assert names(f"{mine}:walk") == ["walk"], "a full name names no other recording"
    assert names(f"{mine}:*walk") == ["walk", "long-walk"]
    with pytest.raises(ConfigError, match=r"'hapt' has no recording 'user9\*'"):
        names("hapt:user9*")
    with pytest.raises(ConfigError, match=r"neither a recording file nor a dataset, did you mean 'hapt'\?"):
        names("hatp:user01")
