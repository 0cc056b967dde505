"""A device follows the model of a real server: over MQTT it hears of it, over the API it gets it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.clock import ManualClock
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Lineage, Registry, RowIds
from disc_stream.stream.pipeline import LabelOptions
from disc_stream.types import Label
from disc_stream.wire.broker import Broker
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream_edge.fetching import FetchError, ModelSource
from disc_stream_edge.following import TRIAL_WINDOWS, ModelFollower, TrialLabeller
from disc_stream_edge.modelstore import ModelStore
from disc_stream_edge.publisher import Publisher
from disc_stream_edge.uploading import Uploader, UploadRule
from tests.support.api import PREFIX, ApiPlace, api_place
from tests.support.device import make_batch
from tests.support.feed import Feed
from tests.support.tiny_bundle import CENTROIDS, CHANNELS, FS, WINDOW, ClusterInfo

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiPlace]:
    with api_place(tmp_path_factory.mktemp("follow"), roles=True) as place:
        yield place


def make(path: Path, shift: float) -> str:
    """A bundle with other centroids; its version."""
    clusters = [ClusterInfo(id=k, name=f"{shift:g}-{k}", size=10) for k in range(3)]
    spec = InputSpec(CHANNELS, FS, WINDOW)
    return write_mean_bundle(path, "tiny", spec, CENTROIDS + np.float32(shift), clusters).version


class Device:
    """What `edge label --follow` runs, and who hears its labels."""

    def __init__(self, place: ApiPlace, folder: Path) -> None:
        make(folder / "first", 0.5)
        self.models, self.first = folder / "models", folder / "first"
        self.source = ModelSource(f"{place.url}{PREFIX}/models", place.tokens["device"])
        store = ModelStore(self.models, self.first)
        labeller = TrialLabeller(store.open().model, LabelOptions(1))
        labeller.begin_trial(store, on_trial=False)
        self.follower = ModelFollower(store, self.source, labeller.offer)
        self.follower.start()
        self.heard: list[Label] = []
        self._changed = threading.Condition()
        self.link = MqttLink(Broker.parse(place.broker.url), "hears", LinkListener(on_message=self._take))
        self.link.subscribe("ds/v1/kitchen/label")
        self.link.connect()
        self.feed = Feed("kitchen")
        publisher = Publisher(
            Broker.parse(place.broker.url), maker=Uploader(labeller, UploadRule(every=True))
        )
        publisher.hear_model(self.follower.hear)
        self._thread = threading.Thread(target=publisher.run, args=([self.feed],), daemon=True)
        self._thread.start()

    def _take(self, message: Message) -> None:
        with self._changed:
            self.heard.append(decode_label(message.payload))
            self._changed.notify_all()

    def until(self, model: str, name: str) -> Label:
        """Move until a label of this model and name comes."""
        for _ in range(600):
            seen = len(self.heard)
            self.feed.push()
            with self._changed:
                assert self._changed.wait_for(lambda: len(self.heard) > seen, 30), self.follower.fault  # noqa: B023
                last = self.heard[-1]
                if (last.model, last.best.name) == (model, name):
                    return last
                self._changed.wait(0.05)
        pytest.fail(f"{model} never labels as {name!r}: {self.follower.fault}")

    def close(self) -> None:
        self.feed.end()
        self._thread.join(30)
        self.follower.stop()
        self.link.close()


def test_a_device_follows_promotions_names_and_rollbacks_and_goes_on_alone(
    place: ApiPlace, tmp_path: Path
) -> None:
    device = Device(place, tmp_path)
    with place.client(place.tokens["admin"]) as admin:
        begun = admin.get("/models/current").json()["version"]
        device.until(begun, "left")
        seen = admin.get("/clusters/1")
        admin.patch("/clusters/1", json={"name": "walking"}, headers={"If-Match": seen.headers["etag"]})
        device.until(begun, "walking")
        for _ in range(TRIAL_WINDOWS):
            device.until(begun, "walking")

        new = make(tmp_path / "new", 1.0)
        with Registry.open(place.models) as registry:
            info = registry.add(tmp_path / "new", Lineage(method="trivial"), RowIds.all_fresh(3, begun))
        assert admin.post(f"/models/{info.number}/promote", json={"why": "better"}).status_code == 200
        assert device.until(new, "1-1").best.label == 4, "the registry's ids, not those of the export"
        for _ in range(TRIAL_WINDOWS):
            device.until(new, "1-1")

        assert admin.post("/deployments/rollback", json={"why": "worse"}).status_code == 200
        assert device.until(begun, "walking").best.label == 1
        for _ in range(TRIAL_WINDOWS):
            device.until(begun, "walking")
    assert device.follower.fault == ""
    device.close()
    # Weeks later, switched on again: no broker, no server, no announcement, and a clock that begins anew.
    opened = ModelStore(device.models, device.first).open()
    assert (opened.model.version, opened.on_trial) == (begun, False)
    alone = TrialLabeller(opened.model, LabelOptions(1), ManualClock())
    alone.begin_trial(ModelStore(device.models, device.first), on_trial=False)
    still = np.random.default_rng(0).normal(scale=0.1, size=(8, 3)).astype(np.float32) + CENTROIDS[1]
    (found,) = alone.take(make_batch("kitchen", 0, still, boot=2))
    assert (found.label.best.label, found.label.best.name) == (1, "walking")


def test_a_bundle_comes_in_parts_and_once(place: ApiPlace, tmp_path: Path) -> None:
    with place.client(place.tokens["device"]) as client:
        whole = client.get("/models/1.zip")
        tag = whole.headers["etag"]
        assert tag == f'"{hashlib.sha256(whole.content).hexdigest()}"'
        (tmp_path / "got.zip").write_bytes(whole.content)
        version = Bundle.open(tmp_path / "got.zip").version
        assert client.get(f"/models/{version}.zip").content == whole.content
        assert client.get("/models/1.zip", headers={"If-None-Match": tag}).status_code == 304
        parts = [
            client.get("/models/1.zip", headers={"Range": what, "If-Range": tag})
            for what in ("bytes=0-99", "bytes=100-")
        ]
        assert [part.status_code for part in parts] == [206, 206]
        assert b"".join(part.content for part in parts) == whole.content
        other = client.get("/models/1.zip", headers={"Range": "bytes=100-", "If-Range": '"other"'})
        assert other.content == whole.content
        for path in ("/models/77.zip", "/models/77/catalogue", "/models/x.zip"):
            assert client.get(path).status_code in (404, 422)
        assert client.get("/devices").status_code == 403
    _goes_on_with_a_download(place, version, whole, tmp_path / "v.part")


def _goes_on_with_a_download(place: ApiPlace, version: str, whole: httpx2.Response, part: Path) -> None:
    source = ModelSource(f"{place.url}{PREFIX}/models", place.tokens["device"])
    part.write_bytes(whole.content[:500])
    source._tags[part] = whole.headers["etag"]
    assert source.bundle(version, part) == len(whole.content)
    assert part.read_bytes() == whole.content
    part.write_bytes(b"damaged" + whole.content[7:500])
    source._tags[part] = whole.headers["etag"]
    with pytest.raises(FetchError, match="came damaged"):  # the beginning was not downloaded again
        source.bundle(version, part)
    assert source.bundle(version, part) == len(whole.content)
    with pytest.raises(FetchError, match="401"):
        ModelSource(source.base, "wrong").bundle(version, part)
    assert source.catalogue("abcdef012345", None) is None
    names = source.catalogue(version, None)
    assert names is not None
    assert source.catalogue(version, names) is names
