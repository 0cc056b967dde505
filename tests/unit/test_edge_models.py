"""A device follows the announced model: what is not what it says it is never labels, what fails gives way."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtime import Encoded
from disc_stream.clock import ManualClock
from disc_stream.errors import BundleError, ConfigError, EncoderUnavailableError, StorageError
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.stream.pipeline import LabelOptions
from disc_stream_edge.fetching import FetchError, ModelSource, check_base
from disc_stream_edge.following import (
    TRIAL_WINDOWS,
    ModelFollower,
    TrialLabeller,
    announced_version,
)
from disc_stream_edge.modelstore import MOST_STARTS, ModelStore
from tests.support.device import REST, constant, make_batch
from tests.support.keys import make_keys
from tests.support.tiny_bundle import CENTROIDS, CHANNELS, FS, WINDOW, ClusterInfo, write_tiny_bundle


class Server:
    """Bundles over HTTP, as any web server has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[str] = []
        self.tokens: list[str | None] = []
        outer = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: object, **more: object) -> None:
                super().__init__(*args, directory=str(folder), **more)  # type: ignore[arg-type]

            def do_GET(self) -> None:
                if self.path.endswith(".zip"):  # not that it has no names of its own
                    outer.paths.append(self.path)
                outer.tokens.append(self.headers.get("Authorization"))
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def make(folder: Path, shift: float) -> str:
    """A bundle as VERSION.zip; its version."""
    spec = InputSpec(CHANNELS, FS, WINDOW)
    clusters = [ClusterInfo(id=k, name=f"{shift:g}-{k}", size=10, distance_q95=4.0) for k in range(3)]
    path = folder / "new.zip"
    manifest = write_mean_bundle(path, "tiny", spec, CENTROIDS + np.float32(shift), clusters)
    path.rename(folder / f"{manifest.version}.zip")
    return manifest.version


@pytest.fixture
def first(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "first")
    return tmp_path / "first"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "web").mkdir()
    server = Server(tmp_path / "web")
    yield server
    server.close()


class Device:
    """What runs on the device, without its broker."""

    def __init__(self, folder: Path, first: Path, url: str) -> None:
        self.store = ModelStore(folder, first)
        opened = self.store.open()
        self.labeller = TrialLabeller(opened.model, LabelOptions(top_k=1), ManualClock())
        self.labeller.begin_trial(self.store, on_trial=opened.on_trial)
        self.follower = ModelFollower(self.store, ModelSource(url, "secret"), self.labeller.offer)
        self.seq = 0

    def announce(self, version: str) -> bool:
        self.follower.hear(json.dumps({"schema": "disc-stream.model/1", "version": version}).encode())
        return self.follower.look()

    def label(self, windows: int) -> set[str]:
        """Models of the next windows."""
        models = set()
        for _ in range(windows):
            noise = np.random.default_rng(self.seq).normal(size=(8, 3)).astype(np.float32)
            batch = make_batch("a", self.seq, constant(REST, 8) + noise)
            models |= {found.label.model for found in self.labeller.take(batch)}
            self.seq += 1
        return models


def test_an_announced_model_proves_itself_and_stays(tmp_path: Path, first: Path, server: Server) -> None:
    version = make(server.folder, 1.0)
    device = Device(tmp_path / "models", first, server.url)
    device.label(5)
    assert device.announce(version)
    assert server.paths == [f"/{version}.zip"]
    assert set(server.tokens) == {"Bearer secret"}
    assert device.label(TRIAL_WINDOWS - 1) == {version}
    assert Device(tmp_path / "models", first, server.url).store.open().on_trial
    assert device.label(1) == {version}
    again = Device(tmp_path / "models", first, server.url)
    assert not again.store.open().on_trial
    assert again.label(1) == {version}
    assert again.announce(version)
    assert len(server.paths) == 1, "what is here is not downloaded again"


def test_the_one_before_is_kept_and_comes_back_without_a_download(
    tmp_path: Path, first: Path, server: Server
) -> None:
    versions = [make(server.folder, shift) for shift in (1.0, 2.0, 3.0)]
    device = Device(tmp_path / "models", first, server.url)
    for version in versions:
        device.announce(version)
        assert device.label(TRIAL_WINDOWS) == {version}
    assert sorted(path.stem for path in device.store.folder.glob("*.zip")) == sorted(versions[1:])
    device.announce(versions[1])
    assert device.label(1) == {versions[1]}
    assert len(server.paths) == 3


@pytest.mark.parametrize("damage", ["flipped", "cut", "another", "no zip"])
def test_what_is_not_what_was_announced_never_labels(
    tmp_path: Path, first: Path, server: Server, damage: str
) -> None:
    version, other = make(server.folder, 1.0), make(server.folder, 2.0)
    path = server.folder / f"{version}.zip"
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0x10
    elif damage == "cut":
        del data[-30:]
    elif damage == "no zip":
        data = bytearray(b"hello")
    path.write_bytes((server.folder / f"{other}.zip").read_bytes() if damage == "another" else bytes(data))
    device = Device(tmp_path / "models", first, server.url)
    before = device.label(1)
    assert device.announce(version)
    assert device.follower.fault
    assert device.label(3) == before
    assert not list(device.store.folder.glob("*.zip"))
    assert device.store.is_refused(version)
    assert device.announce(version)
    assert len(server.paths) == 1, "it is not tried again"


def test_a_model_without_the_right_signature_never_labels(
    tmp_path: Path, first: Path, server: Server
) -> None:
    version = make(server.folder, 1.0)
    _, public = make_keys(tmp_path, "fleet")
    store = ModelStore(tmp_path / "models", first, [public])
    ModelSource(server.url).bundle(version, store.part(version))
    with pytest.raises(BundleError, match="is not signed"):
        store.take(version)
    assert store.is_refused(version)


def test_a_server_that_is_away_is_tried_again(tmp_path: Path, first: Path, server: Server) -> None:
    device = Device(tmp_path / "models", first, server.url)
    assert not device.announce("abcdef012345")
    assert "cannot be downloaded" in device.follower.fault
    assert not device.store.is_refused("abcdef012345")


class _Broken:
    def encode(self, x: object) -> Encoded:
        raise RuntimeError("no")


def test_a_model_that_cannot_encode_gives_way_at_once(
    tmp_path: Path, first: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make(server.folder, 1.0)
    device = Device(tmp_path / "models", first, server.url)
    before = device.label(3)
    device.announce(version)
    device.label(2)
    monkeypatch.setattr(device.labeller._pipeline._encoder, "_encoder", _Broken())
    assert device.label(2) == before
    assert device.store.is_refused(version)
    assert device.store.version == ""
    monkeypatch.setattr(device.labeller._pipeline._encoder, "_encoder", _Broken())
    with pytest.raises(EncoderUnavailableError):
        device.label(1)


def test_a_process_that_dies_again_and_again_during_a_trial_gets_the_model_before(
    tmp_path: Path, first: Path, server: Server
) -> None:
    version = make(server.folder, 1.0)
    device = Device(tmp_path / "models", first, server.url)
    device.announce(version)
    for _ in range(MOST_STARTS):
        assert Device(tmp_path / "models", first, server.url).label(1) == {version}
    last = Device(tmp_path / "models", first, server.url)
    assert last.label(1) == {Bundle.open(first).version}
    assert last.store.is_refused(version)


def test_a_model_that_ends_the_process_while_it_is_tried_is_given_up(
    tmp_path: Path, first: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make(server.folder, 1.0)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(MOST_STARTS):
        device = Device(tmp_path / "models", first, server.url)
        monkeypatch.setattr("disc_stream_edge.modelstore.verify_bundle", dies)
        with pytest.raises(KeyboardInterrupt):
            device.announce(version)
    device = Device(tmp_path / "models", first, server.url)
    assert device.announce(version)
    assert f"ended the process {MOST_STARTS} times" in device.follower.fault


def test_a_bundle_that_is_damaged_later_gives_way(tmp_path: Path, first: Path, server: Server) -> None:
    old, new = make(server.folder, 1.0), make(server.folder, 2.0)
    device = Device(tmp_path / "models", first, server.url)
    for version in (old, new):
        device.announce(version)
        device.label(TRIAL_WINDOWS)
    (tmp_path / "models" / f"{new}.zip").write_bytes(b"")
    assert Device(tmp_path / "models", first, server.url).label(1) == {old}
    shutil.rmtree(tmp_path / "models")
    assert Device(tmp_path / "models", first, server.url).label(1) == {Bundle.open(first).version}


def test_a_state_file_that_is_damaged_begins_anew(tmp_path: Path, first: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "current.json").write_text("{")
    (tmp_path / "models" / "abc123.part").write_text("half")
    assert ModelStore(tmp_path / "models", first).version == ""
    assert not (tmp_path / "models" / "abc123.part").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        ModelStore(tmp_path / "file" / "x", first)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{", b'{"version":7}', b'{"version":"../../etc/x"}', b"\xff"]
)
def test_announcements_that_name_no_version_are_passed_over(payload: bytes) -> None:
    assert announced_version(payload) == ""


def test_places_and_sizes(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ("ftp://x", "file:///etc", "host/folder"):
        with pytest.raises(ConfigError, match="no place to download"):
            check_base(base)
    assert check_base("https://host/models/") == "https://host/models"
    version = make(server.folder, 1.0)
    monkeypatch.setattr("disc_stream_edge.fetching.MAX_BYTES", 100)
    with pytest.raises(FetchError, match="has more than"):
        ModelSource(server.url).bundle(version, tmp_path / "x")
