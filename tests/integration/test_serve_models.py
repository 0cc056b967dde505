"""A server that follows a registry: versions, names and merges take effect while it labels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import ClusterInfo
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Author, Lineage, Registry, RowIds
from tests.integration.conftest import StartServer
from tests.support.device import LEFT, REST, RIGHT, Sender, constant, make_batch
from tests.support.listener import Listener
from tests.support.tiny_bundle import CENTROIDS, CHANNELS, FS, WINDOW

pytestmark = pytest.mark.broker
ANN = Author("ann")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.create(tmp_path / "models") as registry:
        yield registry


def add(registry: Registry, bundle: Path, proposal: RowIds) -> int:
    lineage = Lineage.of_bundle(Bundle.open(bundle), created_us=0)
    return registry.add(bundle, lineage, proposal).number


def second_bundle(folder: Path) -> Path:
    """The places of the tiny bundle in another order, and a fourth."""
    centroids = np.vstack([CENTROIDS[[2, 0, 1]], [[0, 0, 40]]]).astype(np.float32)
    clusters = [ClusterInfo(id=k, name=f"cluster-{k}", size=1) for k in range(4)]
    write_mean_bundle(folder, "second", InputSpec(CHANNELS, FS, WINDOW), centroids, clusters)
    return folder


class Walker:
    """One device whose movement tells what label is right."""

    def __init__(self, sender: Sender, listener: Listener) -> None:
        self._sender, self._listener, self.n = sender, listener, 0

    def shows(self, *means: tuple[float, float, float]) -> list[tuple[int, str, str]]:
        """Move so; the labels that come of it: id, name, model."""
        before = len(self._listener.labels)
        for mean in means:
            self._sender.send(make_batch("watch", self.n, constant(mean, 8)))
            self.n += 1
        self._listener.wait_for_labels(before + len(means))
        found = self._listener.labels[before:]
        return [(one.best.label, one.best.name, one.model) for one in found]


def test_versions_names_and_merges_take_effect_on_the_next_label(
    start_server: StartServer, sender: Sender, listener: Listener, registry: Registry, tmp_path: Path,
    tiny_bundle: Path,
) -> None:  # fmt: skip
    first = add(registry, tiny_bundle, RowIds.all_fresh(3))
    registry.promote(first, "test", "the first one")
    ids = registry.version(first).ids
    assert ids is not None
    rest, left, right = ids
    server = start_server(bundle=None, models=registry.path, follow_s=0.05)
    walker = Walker(sender, listener)
    v1 = registry.version(first).version
    assert [one[::2] for one in walker.shows(REST, LEFT, RIGHT)] == [(rest, v1), (left, v1), (right, v1)]

    registry.clusters.name(rest, "lying", ANN)
    listener.wait(lambda: {"id": rest, "name": "lying"} in listener.model.get("clusters", []))
    assert walker.shows(REST)[0][:2] == (rest, "lying")

    second = add(registry, second_bundle(tmp_path / "second"), RowIds.keeping([right, rest, left, None], v1))
    registry.promote(second, "test", "better")
    v2 = registry.version(second).version
    listener.wait(lambda: listener.model.get("version") == v2 == listener.status.get("model"))
    fresh = (registry.version(second).ids or ())[3]
    far = (0.0, 0.0, 40.0)
    assert [one[::2] for one in walker.shows(REST, LEFT, RIGHT, far)] == [
        (rest, v2), (left, v2), (right, v2), (fresh, v2),
    ]  # fmt: skip
    assert walker.shows(REST)[0][1] == "lying", "a name belongs to the id, whatever row it has"

    registry.clusters.merge(left, right, ANN)
    listener.wait(lambda: left not in [one["id"] for one in listener.model["clusters"]])
    assert [one[0] for one in walker.shows(LEFT, RIGHT)] == [right, right]

    began = time.monotonic()
    registry.rollback("test", "worse after all")
    assert time.monotonic() - began < 1.0
    listener.wait(lambda: listener.model.get("version") == v1)
    assert [one[::2] for one in walker.shows(REST, LEFT, RIGHT)] == [(rest, v1), (right, v1), (right, v1)]
    windows = [label.window for label in listener.labels]
    assert windows == list(range(walker.n)), "each window once, and in order"
    assert server.waits_for() is None


def test_a_version_that_cannot_be_used_leaves_the_one_before_in_place(
    start_server: StartServer, sender: Sender, listener: Listener, registry: Registry, tmp_path: Path,
    tiny_bundle: Path, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    first = add(registry, tiny_bundle, RowIds.all_fresh(3))
    registry.promote(first, "test", "the first one")
    ids = registry.version(first).ids or ()
    server = start_server(bundle=None, models=registry.path, follow_s=0.05)
    walker = Walker(sender, listener)
    v1 = walker.shows(REST)[0][2]
    second = add(
        registry, second_bundle(tmp_path / "second"), RowIds.keeping([ids[2], ids[0], ids[1], None], v1)
    )
    graph = registry.version(second).path / "model.onnx"
    whole = graph.read_bytes()
    registry.promote(second, "test", "damaged on the way")
    graph.chmod(0o600)
    graph.write_bytes(whole[:-1])
    follower = server._follower
    assert follower is not None
    listener.wait(lambda: bool(follower.fault) or listener.model.get("version") != v1)
    if not follower.fault:  # it was quicker than the damage
        pytest.skip("the version was loaded before it was damaged")
    assert walker.shows(REST)[0][2] == v1
    assert "the one before goes on" in caplog.text
    graph.write_bytes(whole)
    registry.clusters.note(ids[0], "repaired", ANN)  # anything that changes the registry
    listener.wait(lambda: listener.model.get("version") != v1)
    assert walker.shows(REST)[0][2] == registry.version(second).version


def test_an_empty_registry_collects_and_its_first_model_labels_from_the_beginning(
    start_server: StartServer, sender: Sender, listener: Listener, registry: Registry, tiny_bundle: Path
) -> None:
    start_server(bundle=None, models=registry.path, follow_s=0.05)
    for seq, mean in enumerate([REST, LEFT, RIGHT]):
        sender.send(make_batch("watch", seq, constant(mean, 8)))
    listener.wait_for_count("spooled", 3)
    assert listener.labels == []
    registry.promote(add(registry, tiny_bundle, RowIds.all_fresh(3)), "test", "the first one")
    listener.wait_for_labels(3)
    assert [label.window for label in listener.labels] == [0, 1, 2]
    assert len({label.best.label for label in listener.labels}) == 3


def test_a_registry_that_is_not_there_is_refused_at_the_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    from disc_stream.errors import InputNotFoundError

    with pytest.raises(InputNotFoundError, match="models"):
        start_server(bundle=None, models=tmp_path / "models")
