"""The windows that a bundle keeps for people to look at, and the plane that they lie on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.curves import MAX_EPOCHS, curves_of, decode_curves, encode_curves, read_history
from disc_stream.artifacts.examples import EXAMPLES_FILE, Examples
from disc_stream.clustering.exemplars import BORDER, CENTRE, choose_exemplars, fit_projection
from disc_stream.errors import BundleError
from disc_stream.registry import Lineage, Registry, RowIds
from tests.support.tiny_bundle import for_people, tiny_examples, write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_tiny_bundle(tmp_path / "tiny", files=for_people())
    return Bundle.open(tmp_path / "tiny")


def test_windows_come_back_as_they_were(bundle: Bundle) -> None:
    made = tiny_examples()
    found = Examples.of_bytes(bundle.files[EXAMPLES_FILE], bundle.manifest, "it")
    assert np.abs(found.windows - made.windows).max() < 1e-3
    assert np.abs(found.embedding - made.embedding).max() < 1e-2
    assert found.rows.tolist() == made.rows.tolist()
    assert found.border.tolist() == made.border.tolist()
    assert np.array_equal(found.centres, made.centres)
    nearest = found.nearest(found.embedding[3], 2)
    assert nearest[0] == (3, 0.0)
    assert nearest[1][1] >= 0.0


def _cut(data: bytes) -> bytes:
    return data[:-7]


def _bomb(data: bytes) -> bytes:
    return data[:27] + zlib.compress(bytes(50_000_000))


def _many(data: bytes) -> bytes:
    return data[:23] + struct.pack("<I", 2**31) + data[27:]


def _hostile_row(data: bytes) -> bytes:
    body = bytearray(zlib.decompress(data[27:]))
    body[28:30] = b"\xff\xff"
    return data[:27] + zlib.compress(bytes(body))


def _not_finite(data: bytes) -> bytes:
    body = bytearray(zlib.decompress(data[27:]))
    body[:4] = struct.pack("<f", float("nan"))
    return data[:27] + zlib.compress(bytes(body))


@pytest.mark.parametrize(
    "damage", [_cut, _bomb, _many, _hostile_row, _not_finite, lambda _: b"", lambda d: b"x" + d]
)
def test_damage_is_an_error_of_one_line(bundle: Bundle, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BundleError, match=EXAMPLES_FILE):
        Examples.of_bytes(damage(bundle.files[EXAMPLES_FILE]), bundle.manifest, "it")


def test_they_may_be_taken_out_and_never_exchanged(bundle: Bundle) -> None:
    file = bundle.path / EXAMPLES_FILE
    data = file.read_bytes()
    file.write_bytes(data + b" ")
    with pytest.raises(BundleError, match="changed or damaged"):
        Bundle.open(bundle.path)
    file.unlink()
    assert Bundle.open(bundle.path).version == bundle.version


def test_a_registry_drops_them_and_the_version_stays_good(bundle: Bundle, tmp_path: Path) -> None:
    with Registry.create(tmp_path / "models") as registry:
        number = registry.add(bundle.path, Lineage(method="trivial"), RowIds.all_fresh(3, None)).number
        assert EXAMPLES_FILE in registry.bundle(number).files
        assert registry.drop_examples(number)
        assert not registry.drop_examples(number)
        assert EXAMPLES_FILE not in registry.bundle(number).files
        registry.promote(number, "test", "it is good without")


def test_the_centre_is_near_and_the_border_undecided() -> None:
    rng = np.random.default_rng(0)
    centroids = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0]], dtype=np.float32)
    z = (centroids[np.arange(300) % 3] + rng.normal(0, 1, (300, 3))).astype(np.float32)
    distance = np.square(z[:, None] - centroids).sum(2)
    q = (1 / (1 + distance)) / (1 / (1 + distance)).sum(1, keepdims=True)
    one = choose_exemplars(q, distance)
    assert len(one.chosen) == 3 * (CENTRE + BORDER)
    assert len(set(one.chosen.tolist())) == len(one.chosen)
    assert (q[one.chosen].argmax(1) == one.rows).all()
    own = distance[one.chosen, one.rows]
    assert own[~one.border].max() < own[one.border].min()
    assert len(choose_exemplars(q, distance, 0.25).chosen) == 3 * (4 + 2)
    assert len(choose_exemplars(q[:2], distance[:2]).chosen) == 2


def test_the_plane_keeps_clusters_apart_and_is_always_the_same() -> None:
    rng = np.random.default_rng(1)
    rows = np.arange(400) % 4
    centres = np.array([[5, 0], [-5, 0], [0, 5], [0, -5]])
    z = rng.normal(0, 20, (400, 8))  # most of the variance says nothing
    z[:, 2:4] = centres[rows] + rng.normal(0, 0.5, (400, 2))
    plane = fit_projection(z.astype(np.float32), rows)
    placed = plane.place(z.astype(np.float32))
    middles = np.array([placed[rows == row].mean(0) for row in range(4)])
    spread = max(placed[rows == row].std(0).max() for row in range(4))
    gaps = [np.linalg.norm(a - b) for n, a in enumerate(middles) for b in middles[:n]]
    assert min(gaps) > 5 * spread
    assert np.array_equal(plane.axes, fit_projection(z.astype(np.float32), rows).axes)


@pytest.mark.parametrize(("n", "d", "k"), [(1, 4, 1), (50, 1, 3), (50, 4, 1), (50, 4, 2), (3, 4, 3)])
def test_there_is_a_plane_for_any_windows(n: int, d: int, k: int) -> None:
    z = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    placed = fit_projection(z, np.arange(n) % k).place(z)
    assert placed.shape == (n, 2)
    assert np.isfinite(placed).all()


def test_curves_are_thinned_and_what_cannot_be_read_is_left_out() -> None:
    losses = {"total": 0.5, "bad": "x", "inf": float("inf")}
    epoch = {"phase": "refine", "epoch": 1, "losses": losses, "nmi": 0.7}
    (one,) = curves_of([epoch, {"phase": 5}, {"phase": "x", "epoch": "1"}])
    assert one == {"phase": "refine", "epoch": 1, "values": {"total": 0.5, "nmi": 0.7}}
    tried = curves_of([{"phase": "candidates", "score": 1.0, "seconds": 2.0}] * 2)
    assert [(t["epoch"], t["values"]) for t in tried] == [(1, {"score": 1.0}), (2, {"score": 1.0})]
    many = curves_of({**epoch, "epoch": n} for n in range(5_000))
    assert len(many) == MAX_EPOCHS
    assert (many[0]["epoch"], many[-1]["epoch"]) == (0, 4_999)
    assert decode_curves(encode_curves([one])) == [one]
    assert decode_curves(b"{") == decode_curves(b"[]") == decode_curves(b'{"epochs": 3}') == []
    assert read_history(b'{"phase": "", "epoch": 1}\nnonsense\n[' + b"[" * 100_000 + b"\n") == [
        {"phase": "", "epoch": 1, "values": {}}
    ]
