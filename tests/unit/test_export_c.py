"""C source of disc-plus on this machine: the same bits by every compiler, the labels of onnxruntime."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.publicids import PublicClusters
from disc_stream.artifacts.runtime import Encoded, OnnxEncoder
from disc_stream.clustering.smoothing import filter_sequence, likelihood_exponent
from disc_stream.types import UNKNOWN, Float32Array
from disc_stream_export.c.comparing import NO_LABEL, Expected, compare
from disc_stream_export.c.compiling import FLAGS, Labelled, run_source
from disc_stream_export.probes import HUGE, probes
from tests.support.cmodel import (
    STRICT,
    Shape,
    moving,
    run_program,
    source_files,
    with_clusters,
    write_descriptor_bundle,
)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")

SHAPES = {
    "two sensors": Shape(),
    "a window of 100": Shape(samples=100, channels=3, hop=30),
    "an odd window, channels of no sensor": Shape(samples=75, channels=4),
    "one channel, one cluster": Shape(samples=33, channels=1, clusters=1),
}


@dataclass(frozen=True)
class Model:
    bundle: Bundle
    shape: Shape
    windows: Float32Array
    encoded: Encoded

    @property
    def files(self) -> dict[str, str]:
        return source_files(self.bundle)


def make_model(path: Path, shape: Shape) -> Model:
    """Its graph is traced, which takes seconds: tests share models that they do not change."""
    bundle = write_descriptor_bundle(path, shape)
    windows = moving(200, shape)
    return Model(bundle, shape, windows, OnnxEncoder(bundle, "cpu").encode(windows))


@pytest.fixture(scope="module", params=SHAPES)
def any_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("c") / "bundle", SHAPES[request.param])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Two sensors of three axes, windows of 128."""
    return make_model(tmp_path_factory.mktemp("c") / "bundle", SHAPES["two sensors"])


@pytest.fixture
def copied(model: Model, tmp_path: Path) -> Bundle:
    """Its bundle, to be changed."""
    shutil.copytree(model.bundle.path, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def gcc(model: Model, windows: Float32Array, *flags: str) -> Labelled:
    return run_source(model.files, windows, ["gcc"], (*FLAGS, *flags))


def assert_same_bits(one: Labelled, other: Labelled) -> None:
    for name in ("label", "smoothed", "distance", "novelty", "smoothed_confidence", "q"):
        got, wanted = (np.ascontiguousarray(getattr(part, name)) for part in (one, other))
        assert got.tobytes() == wanted.tobytes(), name


# ── The labels are the graph's ────────────────────────────────────────────────────────────────────────


def test_ordinary_windows_have_the_labels_of_onnxruntime(any_model: Model) -> None:
    model = any_model
    got = gcc(model, model.windows)
    parity = compare(model.bundle, model.encoded, got)
    assert parity.n_windows == 200
    assert parity.labels_equal == 1.0
    assert parity.max_abs_q < 2e-5
    assert (got.q.argmax(axis=1) == model.encoded.labels).all()
    assert len(set(got.label.tolist())) == model.shape.clusters


def test_windows_at_the_limits_of_sensors_have_them_too(any_model: Model) -> None:
    """Where two clusters are equal in all digits that float32 has, rounding decides which is the first."""
    model = any_model
    encoder = OnnxEncoder(model.bundle, "cpu")
    for probe in probes(model.windows):
        encoded = encoder.encode(probe.windows)
        got = gcc(model, probe.windows)
        assert np.isfinite(got.q).all()
        best = np.take_along_axis(encoded.q, got.q.argmax(axis=1)[:, None], 1)[:, 0]
        tied = encoded.q.max(axis=1) - best
        assert (tied <= 2e-6).all(), f"{probe.kind}: {tied.max()}"
        np.testing.assert_allclose(got.q, encoded.q, atol=1e-4, err_msg=probe.kind)


def test_a_window_with_nan_has_no_label_and_spoils_no_other(model: Model) -> None:
    windows = model.windows[:4].copy()
    windows[1, 0, 0] = windows[2, -1, -1] = np.nan
    got = gcc(model, windows)
    assert (got.label == NO_LABEL).tolist() == [False, True, True, False]
    assert (got.smoothed == NO_LABEL).tolist() == [False, True, True, False]
    assert not got.q[1:3].any()
    parity = compare(model.bundle, OnnxEncoder(model.bundle, "cpu").encode(windows), got)
    assert parity.labels_equal == 1.0


def test_infinite_samples_do_what_they_do_in_onnxruntime(model: Model) -> None:
    """A single one is the largest; two that follow each other have no difference, and the window no label."""
    windows = model.windows[:5].copy()
    windows[0, 5, 0], windows[1, 7, 2], windows[2, 9:11, 1] = np.inf, -np.inf, np.inf
    windows[3, 0, 4], windows[4] = np.inf, -np.inf
    got = gcc(model, windows)
    encoded = OnnxEncoder(model.bundle, "cpu").encode(windows)
    assert compare(model.bundle, encoded, got).labels_equal == 1.0
    assert (got.label == NO_LABEL).tolist() == [False, False, True, True, True]


def test_samples_as_counts_of_a_saturated_sensor(model: Model) -> None:
    """±2 g in 16 bits: motion beyond it is cut off, and everything is a multiple of a count."""
    counts = np.clip(np.round(model.windows * 4.0 * 16384.0), -32768, 32767)
    windows = (counts / 16384.0).astype(np.float32)
    parity = compare(model.bundle, OnnxEncoder(model.bundle, "cpu").encode(windows), gcc(model, windows))
    assert parity.labels_equal == 1.0
    assert HUGE == 1e6


# ── The bits are the same everywhere ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "flags",
    [
        ("-O0",),
        ("-O3", "-funroll-loops"),
        ("-Os",),
        ("-std=gnu17", "-O3", "-march=native", "-ffp-contract=fast"),
        ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    ],
    ids=lambda flags: flags[-1],
)
def test_every_option_of_gcc_gives_the_same_bits(flags: tuple[str, ...], model: Model) -> None:
    windows = np.concatenate([model.windows, *(probe.windows for probe in probes(model.windows))])
    assert_same_bits(gcc(model, windows, *flags), gcc(model, windows))


@pytest.mark.skipif(shutil.which("clang") is None, reason="there is no clang")
@pytest.mark.parametrize("flags", [("-O0",), ("-std=gnu17", "-O3", "-march=native", "-ffp-contract=on")])
def test_clang_gives_the_same_bits(flags: tuple[str, ...], model: Model) -> None:
    windows = np.concatenate([model.windows, *(probe.windows for probe in probes(model.windows))])
    strict = (*STRICT, *flags)
    assert_same_bits(run_source(model.files, windows, ["clang"], strict), gcc(model, windows))


def test_options_that_change_the_order_of_sums_are_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="compile without -ffast-math"):
        run_program(tmp_path / "c", model.files, "-ffast-math")


def test_equal_bundles_give_equal_source(model: Model) -> None:
    assert model.files == source_files(Bundle.open(model.bundle.path))


# ── The stream ────────────────────────────────────────────────────────────────────────────────────────


def streamed(model: Model, stream: Float32Array, *flags: str) -> Labelled:
    """Labels of one stream (n, C), a sample at a time."""
    return gcc(model, stream, "-DDRIVER_STREAM", *flags)


def test_a_stream_has_a_label_for_every_hop(any_model: Model) -> None:
    r"""
    ::

        samples   0         T        T + hop
        windows   |── 0 ───────|
                       |── 1 ───────|
    """
    model, shape = any_model, any_model.shape
    stream = model.windows[:9].reshape(-1, shape.channels)[:-5]
    hop, length = model.bundle.manifest.window.hop, shape.samples
    starts = range(0, len(stream) - length + 1, hop)
    windows = np.stack([stream[start : start + length] for start in starts])
    alone, together = gcc(model, windows), streamed(model, stream)
    assert alone.label.tolist() == together.label.tolist()
    assert alone.distance.tobytes() == together.distance.tobytes()
    assert np.ascontiguousarray(alone.q).tobytes() == np.ascontiguousarray(together.q).tobytes()


def test_smoothing_is_the_servers(model: Model) -> None:
    stream = np.repeat(model.windows[:40], 2, axis=0).reshape(-1, model.shape.channels)
    got = streamed(model, stream)
    exponent = likelihood_exponent(model.shape.embedding)
    wanted = filter_sequence(got.q, stay=0.8, exponent=exponent)
    assert (got.smoothed == wanted.argmax(axis=1)).all()
    np.testing.assert_allclose(got.smoothed_confidence, wanted.max(axis=1), atol=1e-5)
    assert (got.smoothed != got.label).any()


def test_a_window_without_a_label_leaves_the_filter_as_it_is(model: Model) -> None:
    """Of one window in three, a sample is lost; the labels of the others are as if it had never been."""
    hop = model.shape.samples  # windows that do not overlap
    with_gaps = make_gaps = model.windows[:12].copy()
    make_gaps[2::3, 50, 1] = np.nan
    files = {name: text.replace("_HOP 64u", f"_HOP {hop}u") for name, text in model.files.items()}
    flags = (*FLAGS, "-DDRIVER_STREAM")
    whole = np.delete(model.windows[:12], np.s_[2::3], axis=0)
    got = run_source(files, with_gaps.reshape(-1, model.shape.channels), ["gcc"], flags)
    wanted = run_source(files, whole.reshape(-1, model.shape.channels), ["gcc"], flags)
    kept = got.label != NO_LABEL
    assert kept.tolist() == [True, True, False] * 4
    assert got.smoothed[kept].tolist() == wanted.smoothed.tolist()
    assert got.smoothed_confidence[kept].tobytes() == wanted.smoothed_confidence.tobytes()


def test_without_smoothing_the_label_stands_for_itself(model: Model) -> None:
    got = streamed(model, model.windows[:20].reshape(-1, model.shape.channels), "-DDISC_SMOOTHING=0")
    assert got.smoothed.tolist() == got.label.tolist()
    assert got.state_bytes < gcc(model, model.windows[:1]).state_bytes


# ── Clusters, as the catalogue has them ───────────────────────────────────────────────────────────────


def test_ids_merges_and_thresholds_are_the_catalogues(model: Model, copied: Bundle) -> None:
    merged = with_clusters(copied, id={0: 7, 1: 12, 2: 3, 3: 2**31 - 1, 4: 9}, merged_into={2: 12, 4: 7})
    encoded = OnnxEncoder(merged, "cpu").encode(model.windows)
    limits = {row: float(np.median(encoded.distance.min(axis=1))) * (1.0 + 0.1 * row) for row in range(4)}
    merged = with_clusters(merged, unknown_above=limits)
    got = run_source(source_files(merged), model.windows, ["gcc"])
    parity = compare(merged, encoded, got)
    assert parity.labels_equal == 1.0
    assert set(got.label.tolist()) == {UNKNOWN, 7, 12, 2**31 - 1}
    clusters = PublicClusters.of(merged.catalogue)
    np.testing.assert_allclose(got.q, clusters.add_up(encoded.q), atol=2e-5)
    assert (got.smoothed[got.label == UNKNOWN] == UNKNOWN).all()
    rows = clusters.rows_of(encoded.q, got.q.argmax(axis=1))
    q95 = np.array([one.distance_q95 for one in merged.catalogue.clusters])[rows]
    np.testing.assert_allclose(got.novelty, got.distance / q95, rtol=1e-5)
    assert Expected.of(merged, encoded).label.tolist() == got.label.tolist()


PRINT_NAMES = """
#include <stdio.h>
#include "model.h"

int main(void)
{
    unsigned k;
    for (k = 0; k < DISC_CLUSTERS; ++k) {
        puts(disc_name(disc_ids[k]));
    }
    puts(disc_name(DISC_UNKNOWN));
    puts(disc_name(DISC_NO_LABEL));
    return 0;
}
"""


def test_no_name_ends_a_comment_or_a_string(copied: Bundle, tmp_path: Path) -> None:
    names = ['walking "fast"', "*/ int x; /*", "Treppe hinauf – schnell", "a\\", "what??/"]
    bundle = with_clusters(copied, name=dict(enumerate(names)))
    training = bundle.manifest.training.model_copy(update={"dataset": "*/ #error no /* \\ ??/"})
    channels = [one.model_copy(update={"name": f"*/{n} °"}) for n, one in enumerate(bundle.manifest.channels)]
    changed = {"name": "*/ #error no", "training": training, "channels": channels}
    hostile = Bundle(
        bundle.path, bundle.manifest.model_copy(update=changed), bundle.model_bytes, bundle.catalogue
    )
    files = {**source_files(hostile), "main.c": PRINT_NAMES}
    del files["driver.c"]
    printed = run_program(tmp_path / "c", files, "-trigraphs", "-Wno-trigraphs")
    assert printed.splitlines() == [*names, "unknown", "no label"]


def test_two_models_go_into_one_program(model: Model, tmp_path: Path) -> None:
    walk = {
        name.replace("model", "walk"): text.replace("model.h", "walk.h")
        for name, text in source_files(model.bundle, "walk").items()
    }
    files = {**model.files, **walk, "driver.c": TWO_MODELS}
    assert run_program(tmp_path / "c", files) == "cluster 0 cluster 1 128 128\n"


TWO_MODELS = """
#include <stdio.h>
#include "model.h"
#include "walk.h"

int main(void)
{
    static disc_state one;
    static walk_state other;
    disc_reset(&one);
    walk_reset(&other);
    printf("%s %s %u %u\\n", disc_name(0), walk_name(1), DISC_INPUT, WALK_INPUT);
    return 0;
}
"""
