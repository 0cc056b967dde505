"""Every runtime that can run a model: the same labels, whichever windows share a batch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtime import Encoded, OnnxEncoder
from disc_stream.artifacts.runtimes.buckets import SIZES, run_padded, sizes_up_to
from disc_stream.artifacts.runtimes.onnx_session import BoundSession
from disc_stream.artifacts.runtimes.opening import open_session
from disc_stream.artifacts.runtimes.openvino_session import has_bf16, is_installed
from disc_stream.artifacts.runtimes.probes import limit_windows, probe_windows
from disc_stream.artifacts.runtimes.refined import RefinedSession, gap_of, largest_difference
from disc_stream.artifacts.runtimes.session import Concrete, GraphFacts, Outputs, Session
from disc_stream.errors import BundleError, ConfigError, MissingExtraError
from disc_stream.types import Float32Array
from tests.support.recurrent_bundle import CHANNELS, STEPS, write_recurrent_bundle

pytestmark = pytest.mark.numeric

# Of the scale of an output, what it may differ by from onnxruntime's. A bfloat16 has 8 bits of fraction, of
# which 16 steps of a recurrence with large weights leave four.
TOLERANCE = {"cpu": 1e-5, "bound": 1e-5, "openvino": 1e-5, "openvino-bf16": 6e-2}


def needs(name: str) -> None:
    if name.startswith("openvino") and not is_installed():
        pytest.skip("OpenVINO is not installed: pip install 'disc-stream[openvino]'")
    if name == "openvino-bf16" and not has_bf16():
        pytest.skip("this processor multiplies no bfloat16")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_recurrent_bundle(tmp_path_factory.mktemp("bundles") / "recurrent")


@pytest.fixture(scope="module", params=["cpu", "bound", "openvino", "openvino-bf16"])
def name(request: pytest.FixtureRequest) -> str:
    chosen = str(request.param)
    needs(chosen)
    return chosen


@pytest.fixture(scope="module")
def session(name: str, bundle: Bundle) -> Session:
    if name == "bound":
        plain = onnxruntime.InferenceSession(bundle.model_bytes, providers=["CPUExecutionProvider"])
        return BoundSession(plain, "cpu")
    names: dict[str, Concrete] = {"cpu": "cpu", "openvino": "openvino", "openvino-bf16": "openvino-bf16"}
    return open_session(bundle, names[name], threads=1)


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> Encoded:
    return OnnxEncoder(bundle, "cpu", threads=1).encode(probe_windows(bundle.manifest))


def test_the_probes_have_many_labels(reference: Encoded) -> None:
    assert len(np.unique(reference.labels)) >= 4


def test_a_runtime_gives_the_labels_of_onnxruntime(
    name: str, session: Session, bundle: Bundle, reference: Encoded
) -> None:
    found = Encoded(*run_padded(session, probe_windows(bundle.manifest)))
    for one, other in zip(
        (found.embedding, found.q, found.distance),
        (reference.embedding, reference.q, reference.distance),
        strict=True,
    ):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=TOLERANCE[name] * float(np.abs(other).max()))
    assert (found.labels == reference.labels).all()


def groupings() -> Iterator[list[int]]:
    """Sizes of successive batches: alone, in odd sizes, and at random."""
    yield [1] * 256
    yield [5] * 51 + [1]
    yield [13] * 19 + [9]
    random = np.random.default_rng(5)
    for _ in range(3):
        cuts = np.sort(random.choice(np.arange(1, 256), 11, replace=False))
        yield np.diff([0, *cuts, 256]).tolist()


@pytest.mark.parametrize("sizes", list(groupings()), ids=["alone", "5", "13", "random", "random", "random"])
def test_which_windows_share_a_batch_changes_no_label(
    sizes: list[int], session: Session, bundle: Bundle
) -> None:
    windows = probe_windows(bundle.manifest)
    order = np.random.default_rng(len(sizes)).permutation(len(windows))
    together = Encoded(*run_padded(session, windows))
    parts = np.split(order, np.cumsum(sizes)[:-1])
    shared = [run_padded(session, windows[part]) for part in parts]
    embedding, q, distance = (np.concatenate(columns) for columns in zip(*shared, strict=True))
    assert (q.argmax(1) == together.labels[order]).all()
    for one, other in (
        (embedding, together.embedding), (q, together.q), (distance, together.distance)
    ):  # fmt: skip
        np.testing.assert_allclose(one, other[order], atol=1e-5 * float(np.abs(other).max()))


def test_windows_at_the_limits_are_finite_alike_and_spoil_no_other(
    name: str, session: Session, bundle: Bundle
) -> None:
    limits, plain = limit_windows(bundle.manifest), probe_windows(bundle.manifest)[:5]
    alone = OnnxEncoder(bundle, "cpu", threads=1).encode(limits)
    beside = Encoded(*run_padded(session, np.concatenate([plain, limits])))
    assert np.isfinite(beside.q[5:]).all(1).tolist() == np.isfinite(alone.q).all(1).tolist()
    assert not np.isfinite(beside.q[-1]).any(), "the last window has a NaN"
    clean = Encoded(*run_padded(session, plain))
    np.testing.assert_allclose(beside.q[:5], clean.q, atol=1e-6)


def test_results_stay_as_they_are_when_more_is_run(session: Session, bundle: Bundle) -> None:
    windows = probe_windows(bundle.manifest)
    first = run_padded(session, windows[:8])
    kept = [one.copy() for one in first]
    run_padded(session, windows[8:16])
    for one, other in zip(first, kept, strict=True):
        np.testing.assert_array_equal(one, other)


def test_strided_windows_are_read_as_they_are(session: Session, bundle: Bundle) -> None:
    """They are copied first, and the copy must live as long as it is read."""
    whole = np.repeat(probe_windows(bundle.manifest), 2, axis=1)
    expected = run_padded(session, np.ascontiguousarray(whole[:, ::2]))
    for _ in range(10):
        for one, other in zip(run_padded(session, whole[:, ::2]), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6 * float(np.abs(other).max()))


def test_threads_may_share_a_session(session: Session, bundle: Bundle) -> None:
    windows = probe_windows(bundle.manifest)
    together = Encoded(*run_padded(session, windows)).labels
    parts = np.split(np.arange(256), 32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: run_padded(session, windows[part])[1].argmax(1), parts))
    np.testing.assert_array_equal(np.concatenate(found), together)


@pytest.mark.parametrize("provider", ["openvino", "openvino-bf16"])
def test_an_encoder_runs_on_openvino(provider: Concrete, bundle: Bundle) -> None:
    needs(provider)
    encoder = OnnxEncoder(bundle, provider, threads=1)
    encoder.warm_up(64)
    assert encoder.provider == provider
    assert len(encoder.encode(np.zeros((0, STEPS, CHANNELS), np.float32))) == 0


def test_a_graph_that_is_not_the_manifests_is_refused_by_openvino_too(bundle: Bundle, tmp_path: Path) -> None:
    needs("openvino")
    changed = bundle.manifest.model_copy(update={"n_clusters": 7})
    with pytest.raises(BundleError, match=r"q is \[6\] a window, the manifest says \[7\]"):
        OnnxEncoder(Bundle(tmp_path, changed, bundle.model_bytes, bundle.catalogue), "openvino")
    with pytest.raises(BundleError, match=r"cannot be loaded: .*upgrade openvino") as caught:
        OnnxEncoder(Bundle(tmp_path, changed, b"no graph", bundle.catalogue), "openvino")
    assert "\n" not in str(caught.value)


def test_without_openvino_the_extra_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from disc_stream.artifacts.runtimes import openvino_session

    def missing() -> None:
        raise MissingExtraError("openvino", "Running a model with OpenVINO")

    monkeypatch.setattr(openvino_session, "_core", missing)
    with pytest.raises(MissingExtraError, match=r"needs the extra 'openvino'"):
        OnnxEncoder(bundle, "openvino")


def test_a_processor_without_bfloat16_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from disc_stream.artifacts.runtimes import openvino_session

    monkeypatch.setattr(openvino_session, "_core", object)
    monkeypatch.setattr(openvino_session, "has_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"no bfloat16\. Use --provider openvino"):
        OnnxEncoder(bundle, "openvino-bf16")


@pytest.mark.parametrize(
    ("limit", "may"), [("", True), ("avx2", False), ("AVX512_CORE", False), ("DEFAULT", True)]
)
def test_kernels_without_bfloat16_are_believed_before_the_processor(
    limit: str, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from disc_stream.artifacts.runtimes import openvino_session

    class WithBf16:
        def get_property(self, _device: str, _name: str) -> list[str]:
            return ["FP32", "BF16"]

    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    monkeypatch.setattr(openvino_session, "_core", WithBf16)
    assert openvino_session.has_bf16.__wrapped__() is may


class Fixed:
    """A session that gives the rows of a table, by the number that each window holds."""

    provider: Concrete = "openvino-bf16"
    buckets = ()

    def __init__(self, q: Float32Array) -> None:
        self._q = q
        self.asked: list[int] = []

    def facts(self) -> GraphFacts:
        raise NotImplementedError

    def run(self, x: Float32Array) -> Outputs:
        rows = x[:, 0, 0].astype(int)
        self.asked += rows.tolist()
        return self._q[rows], self._q[rows], self._q[rows]


def test_doubtful_windows_are_run_again_and_no_others() -> None:
    fast = Fixed(np.array([[0.9, 0.1], [0.51, 0.49], [np.nan, np.nan], [0.3, 0.7]], np.float32))
    exact = Fixed(np.array([[0.8, 0.2], [0.49, 0.51], [0.6, 0.4], [0.2, 0.8]], np.float32))
    margin = largest_difference(fast, exact, np.array([0, 1, 2], np.float32).reshape(3, 1, 1))
    assert margin == pytest.approx(0.1, abs=1e-6)
    exact.asked.clear()
    x = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    _, q, _ = RefinedSession(fast, exact, margin).run(x)
    assert exact.asked == [1, 2]
    np.testing.assert_allclose(q, [[0.9, 0.1], [0.49, 0.51], [0.6, 0.4], [0.3, 0.7]], atol=1e-6)


def test_with_one_cluster_nothing_is_doubtful() -> None:
    assert np.isinf(gap_of(np.ones((3, 1), np.float32))).all()


# ── Sizes of batches ──────────────────────────────────────────────────────────────────────────────────


class Sizes:
    """A session that notes the batches it is given."""

    provider: Concrete = "cpu"
    buckets = (1, 4, 8)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def run(self, x: Float32Array) -> Outputs:
        self.seen.append(len(x))
        return x[:, 0], x[:, 0], x[:, 0]


@pytest.mark.parametrize(
    ("n", "sizes"), [(1, [1]), (2, [4]), (4, [4]), (5, [8]), (8, [8]), (9, [8, 1]), (21, [8, 8, 8])]
)
def test_batches_are_padded_and_split(n: int, sizes: list[int]) -> None:
    session = Sizes()
    x = np.random.default_rng(0).normal(size=(n, 2, 3)).astype(np.float32)
    for one in run_padded(session, x):  # type: ignore[arg-type]
        np.testing.assert_array_equal(one, x[:, 0])
    assert session.seen == sizes


def test_what_is_warmed_up_is_what_batches_are_padded_to() -> None:
    assert sizes_up_to(1) == (1,)
    assert sizes_up_to(5) == (1, 2, 3, 4, 6)
    assert sizes_up_to(256)[-1] == 256
    assert sizes_up_to(5000) == SIZES
    assert sizes_up_to(5, ()) == ()
