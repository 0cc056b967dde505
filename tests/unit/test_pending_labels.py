"""Labels that wait for their checkpoint come out as they went in, and nothing stays of who is erased."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.stream.values import Labelled, ReadyInput
from disc_stream.types import Label, SoftLabel
from disc_stream_server.labeller.pending import PendingLabels
from disc_stream_server.storage.records import BRIDGED, DEFERRED, StoredLabel

int64 = st.integers(-(2**62), 2**62)
finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.sampled_from(["walking", "", "büro", "watch"])  # one is a device, too


@st.composite
def labels(draw: st.DrawFn) -> Labelled:
    soft = [SoftLabel(draw(st.integers(-2, 2**31)), draw(names), draw(finite)) for _ in range(2)]
    label = Label(
        device=draw(st.sampled_from(["watch", "walking", "d1"])), boot=draw(st.integers(0, 2**32 - 1)),
        window=draw(st.integers(0, 2**40)), t0_us=draw(int64), t1_us=draw(int64), best=soft[0],
        soft=(soft[0],), smoothed=soft[1], distance=draw(finite), novelty=draw(st.none() | finite),
        model=draw(st.sampled_from(["m1", "m2"])), seq=0, published_us=draw(int64),
        t0_unix_us=draw(st.none() | int64), bridged=draw(st.booleans()), deferred=draw(st.booleans()),
        muted=False,
    )  # fmt: skip
    samples = np.zeros((2, 3), np.float32)
    ready = ReadyInput(label.device, label.boot, label.window, label.t0_us, 0, 0, samples, draw(int64))
    q = np.array(draw(st.lists(st.floats(0, 1, width=32), max_size=5)), dtype=np.float32)
    return Labelled(label, ready, q)


def stored(one: Labelled) -> StoredLabel:
    """By hand, field by field."""
    label = one.label
    return StoredLabel(
        position=one.ready.position, device=label.device, boot=label.boot, window=label.window,
        t0_us=label.t0_us, t1_us=label.t1_us, t0_unix_us=label.t0_unix_us, label=label.best.label,
        name=label.best.name, confidence=label.best.confidence, smoothed=label.smoothed.label,
        smoothed_confidence=label.smoothed.confidence, q=one.q.astype("<f4").tobytes(),
        distance=label.distance, novelty=label.novelty, model=label.model,
        flags=DEFERRED * label.deferred + BRIDGED * label.bridged, labelled_us=label.published_us,
    )  # fmt: skip


@given(st.lists(st.lists(labels(), max_size=5), max_size=4))
def test_they_come_out_as_they_went_in(turns: list[list[Labelled]]) -> None:
    pending = PendingLabels()
    for turn in turns:
        pending.add(turn)
    wanted = [stored(one) for turn in turns for one in turn]
    assert list(pending) == wanted
    assert len(pending) == len(wanted)


@given(
    st.lists(labels(), max_size=8),
    st.sampled_from(["watch", "walking", "d1"]),
    st.lists(labels(), max_size=3),
)
def test_who_is_erased_leaves_nothing_and_the_others_stay(
    before: list[Labelled], device: str, after: list[Labelled]
) -> None:
    pending = PendingLabels()
    pending.add(before)
    pending.forget(device)
    kept = [stored(one) for one in before if one.label.device != device]
    assert list(pending) == kept
    assert len(pending) == len(kept)
    assert device not in pending._devices
    pending.add(after)
    assert list(pending) == [*kept, *map(stored, after)]
