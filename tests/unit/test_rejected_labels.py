"""Tags, and labels that people rejected: what is kept, what a retraining makes of it, what is erased."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disc_stream.errors import ConfigError, RegistryConflictError
from disc_stream.retraining.recent import RecentWindows
from disc_stream.retraining.rejected import obeying
from disc_stream.retraining.replayset import ReplayChooser, ReplayRule, own_ids
from disc_stream.stream.values import ReadyInput
from disc_stream_server.api.audit import AuditLog
from disc_stream_server.api.auth.roles import Identity, Role
from disc_stream_server.dataset.replay import LabelledWindow
from disc_stream_server.storage.forget import _forget_said
from disc_stream_server.storage.notes import MAX_TAGS, KnownRejections, Notes, Rejection
from disc_stream_server.storage.people import FILE, PeopleStore
from disc_stream_server.storage.records import StoredLabel

IDS = {"m1": (7, 8, 9)}
SECOND = 1_000_000


def labelled(number: int, cluster: int, device: str = "watch-1") -> LabelledWindow:
    """A window that begins in that second, published under an id of ``IDS``."""
    q = np.full(3, 0.1, dtype="<f4")
    q[cluster - 7] = 0.8
    at_us = number * SECOND
    samples = np.full((4, 2), number, dtype=np.float32)
    ready = ReadyInput(device, 1, number, at_us, number, 0, samples, received_us=at_us, t0_unix_us=at_us)
    label = StoredLabel(
        number, device, 1, number, at_us, at_us + SECOND, at_us, cluster, "n", 0.8, cluster, 0.8,
        q.tobytes(), 0.5, None, "m1", 0, 0,
    )  # fmt: skip
    return LabelledWindow(ready, label)


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(PeopleStore(tmp_path))


def test_a_retraining_obeys_what_people_said(notes: Notes, tmp_path: Path) -> None:
    """
    second   0 1 2 3 4 5 6 7 8 9
    label    7 7 7 7 7 8 8 8 8 8
    said         not 7       8 is 9     (the third says nothing: it was withdrawn)
    learned  7 7 - - 7 8 8 8 9 9
    """
    notes.reject(Rejection("watch-1", 2 * SECOND, 4 * SECOND, 7), "ann", 1)
    notes.reject(Rejection("watch-1", 8 * SECOND, 99 * SECOND, 8, instead=9), "ann", 2)
    taken_back = notes.reject(Rejection("watch-1", 0, 99 * SECOND, 7), "bob", 3)
    notes.reject(Rejection("watch-2", 0, 99 * SECOND, 7), "bob", 4)
    notes.withdraw(taken_back.number, 5)
    known = KnownRejections.of(tmp_path)
    assert len(known) == 3
    windows = [labelled(number, 7 if number < 5 else 8) for number in range(10)]
    chooser = ReplayChooser(ReplayRule(100, 1e9, 0), obeying(own_ids(IDS), known))
    chooser.take(windows)
    replay = chooser.result()
    assert dict(zip((replay.t0_us // SECOND).tolist(), replay.ids.tolist(), strict=True)) == {
        0: 7, 1: 7, 2: -1, 3: -1, 4: 7, 5: 8, 6: 8, 7: 8, 8: 9, 9: 9,
    }  # fmt: skip
    recent = RecentWindows(["m1"], [7, 8, 9], rejections=known)
    list(recent.watch(iter(windows)))
    assert recent.result().window.tolist() == [0, 1, 4, 5, 6, 7], "rejected ones judge no candidate"


def test_without_rejections_nothing_changes(tmp_path: Path) -> None:
    known = KnownRejections.of(tmp_path)
    assert not (tmp_path / FILE).exists(), "asking makes no file"
    own = own_ids(IDS)
    assert obeying(own, known) is own
    untimed = labelled(3, 7).label
    assert untimed is not None
    assert known.of_label(renewed_without_time(untimed)) is None


def renewed_without_time(label: StoredLabel) -> StoredLabel:
    return label._replace(t0_unix_us=None)


def test_tags_are_replaced_as_a_whole_and_by_whom_has_seen_them(notes: Notes) -> None:
    assert notes.tags("watch-1") == ((), 0)
    assert notes.set_tags("watch-1", ["b", "a", "a"]) == 1
    assert notes.set_tags("watch-1", ["a", "b"]) == 1, "it is so already"
    with pytest.raises(RegistryConflictError, match="have changed since revision 0"):
        notes.set_tags("watch-1", [], expected=0)
    assert notes.set_tags("watch-1", ["a"], expected=1) == 2
    assert notes.tags("watch-1") == (("a",), 2)
    with pytest.raises(ConfigError, match="too many"):
        notes.set_tags("watch-1", map(str, range(MAX_TAGS + 1)))


def test_what_people_said_of_a_device_is_erased_with_it(tmp_path: Path) -> None:
    with PeopleStore(tmp_path) as store:
        notes, audit = Notes(store), AuditLog(store)
        for device in ("watch-1", "watch-12"):
            notes.set_tags(device, ["ward 3"])
            notes.reject(Rejection(device, 0, 5, 7, note=f"of {device}"), "ann", 1)
            number = audit.begin(Identity("ann", Role.ADMIN), "::1", f"/api/v1/devices/{device}/tags", 7)
            audit.end(number, "PUT /devices/{device}/tags", {"device": device}, 200)
    assert _forget_said(tmp_path / FILE, "watch-1") == 4
    with PeopleStore(tmp_path) as store:
        assert list(Notes(store).all_tags()) == ["watch-12"]
        assert [one.device for one in Notes(store).rejections(limit=9)] == ["watch-12"]
        assert [(one.who, one.target) for one in AuditLog(store).entries(limit=9)] == [
            ("ann", "/api/v1/devices/watch-12/tags"),
            ("ann", "erased"),
        ]
    assert b"of watch-1." not in (tmp_path / FILE).read_bytes().replace(b"of watch-12", b"")
