"""Labels of devices with a past, as a labeller would commit them."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo
from disc_stream.episodes import RULES, EpisodeRules, Span, Window, derive
from disc_stream_server.storage.clusterkeys import key_of
from disc_stream_server.storage.clusternames import number_of
from disc_stream_server.storage.history import Episode, History
from disc_stream_server.storage.late import SPANS, span_of
from disc_stream_server.storage.state import StateStore, StoredLabel
from tests.support.commits import commit

START_US = 1_790_000_000_000_000
HOP_US, WINDOW_US = 1_280_000, 2_560_000
MODEL = "m1"


def label(
    n: int,
    cluster: int,
    device: str = "watch",
    *,
    position: int | None = None,
    p: float = 0.9,
    model: str = MODEL,
    shift_us: int = 0,
) -> StoredLabel:
    """The label of the n-th window of a device since ``START_US``.

    Args:
        n: of the window.
        cluster: smoothed.
        device: its id.
        position: in the spool; default n + 1, elsewhere for each other device than ``watch``.
        p: smoothed probability.
        model: version.
        shift_us: of its time.
    """
    t0_us = n * HOP_US
    if position is None:
        position = n + 1 + (0 if device == "watch" else 10**6 * (1 + zlib.crc32(device.encode()) % 9_973))
    return StoredLabel(
        position=position, device=device, boot=1, window=n, t0_us=t0_us,
        t1_us=t0_us + WINDOW_US, t0_unix_us=START_US + t0_us + shift_us, label=cluster, name=f"c{cluster}",
        confidence=p, smoothed=cluster, smoothed_confidence=p, q=b"\0" * 12, distance=1.0, novelty=0.5,
        model=model, flags=0, labelled_us=START_US + t0_us + 3_000_000,
    )  # fmt: skip


def labels(text: str, device: str = "watch", *, first: int = 0, model: str = MODEL) -> list[StoredLabel]:
    """A label for each letter: ``a`` is cluster 0 and so on, ``?`` unknown, ``-`` not worn, ``.`` none."""
    clusters = {"?": -1, "-": -2}
    return [
        label(first + n, clusters.get(letter, ord(letter) - ord("a")), device, model=model)
        for n, letter in enumerate(text)
        if letter != "."
    ]


def at_us(n: int) -> int:
    """Start of the n-th window."""
    return START_US + n * HOP_US


def catalogue(
    version: str = MODEL,
    names: Sequence[str] = ("lie", "stand", "walk", "run"),
    *,
    registry: str = "",
    ids: Sequence[int] | None = None,
    merged: dict[int, int] | None = None,
) -> Catalogue:
    """The clusters of a model."""
    own = list(range(len(names))) if ids is None else list(ids)
    clusters = [
        ClusterInfo(id=one, name=name, size=5, merged_into=(merged or {}).get(one))
        for one, name in zip(own, names, strict=True)
    ]
    return Catalogue.of(version, clusters).model_copy(update={"registry": registry})


def write(state: Path, *checkpoints: Iterable[StoredLabel], rules: EpisodeRules = RULES) -> None:
    """Commit labels, each part with a checkpoint of its own, behind what is there."""
    with closing(StateStore(state, rules)) as store:
        for part in checkpoints:
            rows = list(part)
            store.commit(commit(max([store.position, *(one.position for one in rows)]), labels=rows))
        store.episodes.settle_all()


def shown(episodes: Iterable[Episode]) -> list[str]:
    """Each as ``name first-last``, in numbers of windows; ``+`` where it goes on."""
    return [
        f"{one.name} {(one.begin_us - START_US) / HOP_US:g}-{(one.end_us - START_US) / HOP_US:g}"
        + "+" * one.goes_on
        for one in episodes
    ]


def read(state: Path, device: str = "watch", models: Path | None = None) -> list[str]:
    """All episodes of a device, see ``shown``."""
    with closing(History(state, models)) as history:
        return shown(history.episodes(device).items)


def expected(rows: Iterable[StoredLabel], rules: EpisodeRules = RULES, space: int = 1) -> list[Span]:
    """The episodes of labels of one model, made at once."""
    windows = [
        Window(
            one.t0_unix_us, one.t0_unix_us + one.t1_us - one.t0_us, key_of(space, one.smoothed),
            one.smoothed_confidence, one.position,
        )
        for one in rows
        if one.t0_unix_us is not None
    ]  # fmt: skip
    return derive(windows, rules)


def assert_episodes_follow(state: Path) -> int:
    """Check that the episodes of all devices are those of the labels that are kept; returns how many."""
    count = 0
    with closing(StateStore(state)) as store:
        store.episodes.settle_all()
        connection, rows = store._connection, store.labels(limit=10**7)
        spaces = {one.model: number_of(connection, one.model)[1] for one in rows}
        assert len(set(spaces.values())) <= 1, "models of one registry, or one model"
        space = next(iter(spaces.values()), 1)
        for device in sorted({one.device for one in rows}):
            found = [span_of(row) for row in connection.execute(f"{SPANS} ORDER BY begin_us", (device,))]
            current = store.episodes.state(device).fold.current
            found = [*found[:-1], current] if current is not None else found
            assert found == expected(
                [one for one in rows if one.device == device], store.episodes.rules, space
            )
            count += len(found)
            untimed = sum(one.t0_unix_us is None for one in rows if one.device == device)
            assert store.episodes.state(device).untimed == untimed
    return count


def day(device: str, seed: int, windows: int, *, first: int = 0, clusters: int = 6) -> Iterator[StoredLabel]:
    """Labels of somebody who changes activity now and then, with flicker and gaps."""
    draw = random.Random(f"{device} {seed}")
    cluster, left = 0, 0
    n = first
    while n < first + windows:
        if left <= 0:
            cluster, left = draw.randrange(-1, clusters), draw.randrange(5, 120)
            if draw.random() < 0.1:
                n += draw.randrange(1, 100)
        now = draw.randrange(clusters) if draw.random() < 0.1 else cluster
        yield label(n, now, device, p=draw.choice([0.3, 0.6, 0.9, 0.99]))
        n, left = n + 1, left - 1
