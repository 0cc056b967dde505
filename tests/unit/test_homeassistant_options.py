"""Names of clusters as options of Home Assistant: whatever people type, each state is one of the options."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.types import NOT_WORN, UNKNOWN, Label, SoftLabel
from disc_stream.wire.activity import MAX_ACTIVITY, Activity, decode_activity, encode_activity
from disc_stream_server.homeassistant.options import IS_NOT_WORN, MOTION_UNKNOWN, MUTED, Options


def label(one: int, name: str, *, muted: bool = False) -> Label:
    soft = SoftLabel(one, name, 0.9)
    return Label("d", 1, 0, 0, 1, soft, (soft,), soft, 1.0, 0.5, "v", 0, 1, muted=muted)


NAMES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["walking", "unknown", "None", "", "  ", "a\nb", "\x1b[2J", "x" * 10_000, "x" * 104 + "y", "x" * 104]
    ),
    st.text("x", min_size=100, max_size=120),
)


@given(st.dictionaries(st.integers(0, 50), NAMES, max_size=12), st.integers(-2, 60), NAMES)
def test_every_state_is_an_option_and_home_assistant_can_take_it(
    clusters: dict[int, str], seen: int, name: str
) -> None:
    options = Options(clusters.items())
    for one, text in [*clusters.items(), (seen, name)]:
        assert options.of(label(one, text)) in options.all
        assert options.of(label(one, text, muted=True)) in options.all
    assert len(set(options.all)) == len(options.all)
    for option in options.all:
        assert option.isprintable()
        assert option.strip() == option != ""
        assert len(option) <= MAX_ACTIVITY < 255
        assert option.casefold() not in {"unknown", "unavailable", "none"}
        assert decode_activity(encode_activity(Activity(option, 1, 2))).activity == option


def test_equal_names_share_an_option_and_names_that_only_look_equal_do_not() -> None:
    options = Options(
        [(1, "walking"), (2, "walking"), (3, "x" * 300 + "a"), (4, "x" * 300 + "b"), (5, "wal king")]
    )
    assert options.of(label(1, "walking")) == options.of(label(2, "walking")) == "walking"
    assert options.of(label(3, "x" * 300 + "a")) != options.of(label(4, "x" * 300 + "b"))
    assert len(options.all) == 4 + 3


@pytest.mark.parametrize(
    ("one", "name", "option"),
    [
        (UNKNOWN, "unknown", MOTION_UNKNOWN),
        (NOT_WORN, "not worn", IS_NOT_WORN),
        (3, "unknown", "unknown (3)"),
        (3, "not worn", "not worn (3)"),
        (3, "", "(3)"),
        (3, " \t stair  climbing ", "stair climbing"),
        (3, "a\x1b[2Jb", "a\\x1b[2Jb"),
    ],
)
def test_an_option(one: int, name: str, option: str) -> None:
    assert Options([(one, name)]).of(label(one, name)) == option


def test_a_label_of_a_model_that_was_not_announced_yet_gets_an_option() -> None:
    options = Options([(1, "walking")])
    assert options.of(label(9, "swimming")) == "swimming"
    assert options.of(label(1, "strolling")) == "strolling", "a name that was changed meanwhile"
    assert set(options.all) == {"swimming", "strolling", MOTION_UNKNOWN, IS_NOT_WORN, MUTED}
    for stranger in range(100, 5_000):
        options.of(label(stranger, f"c{stranger}"))
    assert len(options.all) < 1_010, "bounded, whatever comes"


def test_a_muted_cluster_is_other_motion() -> None:
    assert Options([(1, "typing")]).of(label(1, "typing", muted=True)) == MUTED
    assert msgspec.structs.replace(label(1, "a"), muted=True).muted
