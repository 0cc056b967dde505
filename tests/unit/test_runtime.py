"""The encoder: what it takes, what it gives, and what it refuses to run."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from disc_stream.artifacts.bundle import METADATA_KEY, Bundle
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.artifacts.runtimes import choosing
from disc_stream.errors import BundleError, ConfigError, MissingExtraError, StreamMismatchError
from tests.support.tiny_bundle import CENTROIDS, write_tiny_bundle

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(path)
    return Bundle.open(path)


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> OnnxEncoder:
    return OnnxEncoder(bundle, provider="cpu", threads=1)


@pytest.fixture(autouse=True)
def _nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which provider was fastest in another test does not count."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))


def windows(n: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(3, 5, size=(n, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("method", "n_probes", "warned"), [("disc-plus", 0, 1), ("disc-plus", 270, 0), ("DISC", 0, 0)]
)
def test_a_bundle_from_before_still_windows_were_tried_is_warned_of(
    method: str, n_probes: int, warned: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    file = tmp_path / "bundle" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["training"]["method"], manifest["parity"]["n_probes"] = method, n_probes
    file.write_text(json.dumps(manifest))
    Bundle.open(tmp_path / "bundle")
    assert caplog.text.count("export its run again") == warned


# ── Encoding ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_outputs_are_the_formulas(encoder: OnnxEncoder) -> None:
    x = windows(50)
    encoded = encoder.encode(x)
    z = x.mean(axis=1)
    distance = ((z[:, None] - CENTROIDS) ** 2).sum(axis=2)
    t = 1 / (1 + distance)
    np.testing.assert_allclose(encoded.embedding, z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoded.distance, distance, rtol=1e-5)
    np.testing.assert_allclose(encoded.q, t / t.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(encoded.labels, distance.argmin(axis=1))
    assert {a.dtype for a in (encoded.embedding, encoded.q, encoded.distance)} == {np.dtype(np.float32)}
    assert len(encoded) == 50


def test_the_batch_size_changes_nothing(encoder: OnnxEncoder) -> None:
    x = windows(13)
    together = encoder.encode(x)
    one_by_one = np.concatenate([encoder.encode(x[i : i + 1]).q for i in range(13)])
    np.testing.assert_allclose(together.q, one_by_one, atol=1e-6)


def test_no_windows_give_no_rows(encoder: OnnxEncoder) -> None:
    encoded = encoder.encode(windows(0))
    assert (encoded.embedding.shape, encoded.q.shape, encoded.distance.shape) == ((0, 3), (0, 3), (0, 3))
    assert encoded.labels.shape == (0,)


def test_a_strided_view_is_taken_as_it_is(encoder: OnnxEncoder) -> None:
    x = windows(10)
    backwards = x[::-1, ::-1]
    np.testing.assert_allclose(
        encoder.encode(backwards).embedding, x.mean(axis=1)[::-1], rtol=1e-4, atol=1e-6
    )


def test_a_window_with_nan_spoils_its_own_row_alone(encoder: OnnxEncoder) -> None:
    x = windows(5)
    clean = encoder.encode(x)
    x[2, 3, 1] = np.nan
    spoiled = encoder.encode(x)
    others = [0, 1, 3, 4]
    assert np.isnan(spoiled.q[2]).all()
    np.testing.assert_allclose(spoiled.q[others], clean.q[others], atol=1e-6)


def test_threads_may_share_an_encoder(encoder: OnnxEncoder) -> None:
    inputs = [windows(7, seed) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(encoder.encode, inputs))
    for x, encoded in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(encoded.embedding, x.mean(axis=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "reason", "message"),
    [
        (np.zeros((2, 8, 4), np.float32), "channels", r"takes \(B, 8, 3\) samples, not \(2, 8, 4\)"),
        (np.zeros((8, 3), np.float32), "channels", r"not \(8, 3\)"),
        (np.zeros((2, 16, 3), np.float32), "window", r"takes \(B, 8, 3\) samples, not \(2, 16, 3\)"),
        (np.zeros((2, 8, 3), np.float64), "dtype", "takes float32 samples, not float64"),
        (np.zeros((2, 8, 3), np.int16), "dtype", "takes float32 samples, not int16"),
    ],
)
def test_samples_that_do_not_fit_are_refused(encoder: OnnxEncoder, x: Any, reason: str, message: str) -> None:
    with pytest.raises(StreamMismatchError, match=message) as caught:
        encoder.encode(x)
    assert caught.value.reason == reason


# ── Providers ─────────────────────────────────────────────────────────────────────────────────────────


class FakeSession:
    """An onnxruntime session that says it runs somewhere; CUDA is not at hand in tests."""

    def __init__(self, real: Any, providers: list[str]) -> None:
        self._real, self._providers = real, providers

    def get_providers(self) -> list[str]:
        return self._providers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, *, works: bool) -> list[Any]:
    """The onnxruntime of the GPU build, on a machine where CUDA works or silently falls back."""
    asked: list[Any] = []
    create = onnxruntime.InferenceSession

    def session(model: bytes, options: Any, providers: list[Any], **_: Any) -> FakeSession:
        asked.append(providers)
        names = (
            ["CUDAExecutionProvider", "CPUExecutionProvider"]
            if works and len(providers) > 1
            else providers[-1:]
        )
        return FakeSession(create(model, options, providers=["CPUExecutionProvider"]), names)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    allocate = onnxruntime.OrtValue.ortvalue_from_shape_and_type
    on_cpu = staticmethod(lambda shape, kind, _device, number: allocate(shape, kind, "cpu", number))
    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", on_cpu)
    said = "" if works else "Failed to load libcublas.so.13: no such file\nSee the manual."
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print(said, end=""))
    return asked


def test_cpu_runs_on_the_cpu_and_asks_for_nothing_else(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pretend_cuda(monkeypatch, works=True)
    assert OnnxEncoder(bundle, provider="cpu").provider == "cpu"
    assert asked == [["CPUExecutionProvider"]]


def test_what_others_print_while_a_model_is_opened_is_printed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server opens models on one thread and reports on another."""
    session = onnxruntime.InferenceSession

    def open_slowly(*args: Any, **how: Any) -> Any:
        other = threading.Thread(target=print, args=('{"event": "ready"}',))
        other.start()
        other.join()
        return session(*args, **how)

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_slowly)
    OnnxEncoder(bundle, provider="cpu")
    assert capsys.readouterr().out == '{"event": "ready"}\n'


def test_cuda_without_the_gpu_build_names_the_extra(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match=r"build for CPUs.*\[gpu\].*--provider cpu"):
        OnnxEncoder(bundle, provider="cuda")


def test_cuda_that_falls_back_silently_is_an_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, works=False)
    with pytest.raises(ConfigError, match=r"cannot use it here: Failed to load libcublas\.so\.13"):
        OnnxEncoder(bundle, provider="cuda")


def test_auto_takes_the_cpu_and_says_why(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pretend_cuda(monkeypatch, works=False)
    with caplog.at_level(logging.INFO, "disc_stream"):
        encoder = OnnxEncoder(bundle, provider="auto")
    assert encoder.provider == "cpu"
    assert "cuda cannot be used: " in caplog.text
    assert "Failed to load libcublas.so.13" in caplog.text
    assert capfd.readouterr().out == ""  # what onnxruntime prints must not get into --json
    assert f"model {bundle.version} runs on cpu" in caplog.text


@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_cuda_that_works_is_taken_at_full_precision(
    provider: Any, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pretend_cuda(monkeypatch, works=True)
    speeds = {"cuda": 2.0}
    monkeypatch.setattr(choosing, "windows_per_s", lambda session, _x, **_: speeds.get(session.provider, 1.0))
    encoder = OnnxEncoder(bundle, provider=provider)
    assert encoder.provider == "cuda"
    x = windows(5)
    np.testing.assert_allclose(encoder.encode(x).embedding, x.mean(axis=1), rtol=1e-4, atol=1e-6)
    assert asked[-1:] == [[("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]]


def test_an_unknown_provider_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"'tpu' is not known\. Use one of: auto, cpu, cuda, openvino"):
        OnnxEncoder(bundle, provider="tpu")  # type: ignore[arg-type]


def test_no_threads_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="threads must be at least 1, got 0"):
        OnnxEncoder(bundle, threads=0)


def test_without_onnxruntime_the_extra_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"needs the extra 'cpu'.*\[cpu\]"):
        OnnxEncoder(bundle)


# ── Graphs that are not what the manifest says ────────────────────────────────────────────────────────


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = model.graph.output[1].name = "probability"


def swap_outputs(model: onnx.ModelProto) -> None:
    first, second = model.graph.output[0], model.graph.output[1]
    first.name, second.name = second.name, first.name


def fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4


def other_window(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 9


def no_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def garbled_metadata(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = "[1"


def other_units(model: onnx.ModelProto) -> None:
    assert model.metadata_props[0].key == METADATA_KEY
    model.metadata_props[0].value = model.metadata_props[0].value.replace("m/s2", "g")


UNFIT: list[tuple[Callable[[onnx.ModelProto], None], str]] = [
    (rename_output, r"maps \['x'\] to \['embedding', 'probability', 'distance'\]"),
    (swap_outputs, r"maps \['x'\] to \['q', 'embedding', 'distance'\]"),
    (fix_batch, "x has a fixed batch size of 4"),
    (other_window, r"x is \[9, 3\] a window, the manifest says \[8, 3\]"),
    (no_metadata, "metadata has no JSON under 'disc_stream'"),
    (garbled_metadata, "metadata has no JSON under 'disc_stream'"),
    (other_units, "metadata says channels = .*'g'"),
]


@pytest.mark.parametrize(("change", "message"), UNFIT, ids=lambda v: getattr(v, "__name__", ""))
def test_a_graph_that_is_not_the_manifests_is_refused(
    change: Callable[[onnx.ModelProto], None], message: str, bundle: Bundle
) -> None:
    model = onnx.load_from_string(bundle.model_bytes)
    change(model)
    other = Bundle(bundle.path, bundle.manifest, model.SerializeToString(), bundle.catalogue)
    with pytest.raises(BundleError, match=f"not the one its manifest describes: .*{message}"):
        OnnxEncoder(other, provider="cpu")


def test_a_double_precision_input_is_refused(bundle: Bundle) -> None:
    model = onnx.load_from_string(bundle.model_bytes)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    cast = onnx.helper.make_node("Cast", ["x"], ["x32"], to=onnx.TensorProto.FLOAT)
    model.graph.node[0].input[0] = "x32"
    model.graph.node.insert(0, cast)
    other = Bundle(bundle.path, bundle.manifest, model.SerializeToString(), bundle.catalogue)
    with pytest.raises(BundleError, match=r"x is tensor\(double\), not tensor\(float\)"):
        OnnxEncoder(other, provider="cpu")


@pytest.mark.parametrize("data", [b"", b"not a graph", b"\x08\x09"], ids=["empty", "text", "bare"])
def test_bytes_that_are_no_graph_are_a_bundle_error(data: bytes, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"cannot be loaded: .*Export it again") as caught:
        OnnxEncoder(Bundle(tmp_path, bundle.manifest, data, bundle.catalogue), provider="cpu")
    assert "\n" not in str(caught.value)


def test_an_operator_from_the_future_is_a_bundle_error(bundle: Bundle) -> None:
    model = onnx.load_from_string(bundle.model_bytes)
    model.opset_import[0].version = 999
    with pytest.raises(BundleError, match="cannot be loaded"):
        OnnxEncoder(
            Bundle(bundle.path, bundle.manifest, model.SerializeToString(), bundle.catalogue), provider="cpu"
        )
