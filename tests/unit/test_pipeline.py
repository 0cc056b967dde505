"""The pipeline below the transport, on a real ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.model import Encoder, Model
from disc_stream.artifacts.runtime import Encoded, OnnxEncoder
from disc_stream.clock import ManualClock
from disc_stream.data.types import Recording
from disc_stream.errors import EncoderUnavailableError, StreamMismatchError
from disc_stream.stream.pipeline import LabelOptions, Pipeline
from disc_stream.types import Float32Array, Label, SampleBatch
from disc_stream_server.offline import label_recording, recording_batches, score, segments, truth_of
from tests.support.device import LEFT, REST, RIGHT, constant, make_batch
from tests.support.tiny_bundle import CHANNELS, FS, write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path: Path = tmp_path_factory.mktemp("pipeline") / "tiny"
    write_tiny_bundle(path)
    return Bundle.open(path)


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> OnnxEncoder:
    return OnnxEncoder(bundle, "cpu", threads=1)


def make_pipeline(bundle: Bundle, encoder: Encoder, *, top_k: int = 3, max_batch: int = 256) -> Pipeline:
    options = LabelOptions(top_k=top_k, max_batch=max_batch)
    return Pipeline(model_of(bundle, encoder), options, clock=ManualClock(42))


def model_of(bundle: Bundle, encoder: Encoder) -> Model:
    return Model(bundle.manifest, encoder, bundle.catalogue)


def run(pipeline: Pipeline, *batches: SampleBatch) -> list[Label]:
    for batch in batches:
        pipeline.accept(batch)
    return pipeline.run()


def test_smoothing_takes_a_window_for_as_sure_as_the_model_says(bundle: Bundle, encoder: OnnxEncoder) -> None:
    """After rest, a window that is nearer to another centroid, but not much, changes nothing."""
    model = model_of(bundle, encoder)
    careful = replace(model, manifest=model.manifest.model_copy(update={"likelihood_exponent": 0.5}))
    stream = [constant(REST, 8)] * 6 + [constant((6, 0, 0), 8)] * 2
    batches = [make_batch("watch", seq, samples) for seq, samples in enumerate(stream)]
    found = {
        name: [(label.best.label, label.smoothed.label) for label in run(Pipeline(one), *batches)]
        for name, one in (("density", model), ("careful", careful))
    }
    assert [best for best, _ in found["density"]] == [best for best, _ in found["careful"]]
    rest, new = found["density"][0][0], found["density"][-1][0]
    assert rest != new
    assert found["density"][-1] == (new, new)
    assert found["careful"][-1] == (new, rest)


def test_a_label_says_everything_about_its_window(bundle: Bundle, encoder: OnnxEncoder) -> None:
    (label,) = run(make_pipeline(bundle, encoder), make_batch("watch", 3, constant((8, 0, 0), 8), boot=9))
    # squared distances 64, 4, 164; t = 1/65, 1/5, 1/165
    t = np.array([1 / 65, 1 / 5, 1 / 165])
    assert (label.device, label.boot, label.window, label.seq) == ("watch", 9, 0, 3)
    assert (label.t0_us, label.t1_us) == (480_000, 800_000)
    assert [soft.name for soft in label.soft] == ["left", "rest", "right"]
    assert label.best == label.soft[0]
    assert label.best.label == 1
    assert [soft.confidence for soft in label.soft] == pytest.approx(np.sort(t / t.sum())[::-1], abs=1e-6)
    assert label.distance == pytest.approx(4.0, abs=1e-4)
    assert label.novelty == pytest.approx(1.0, abs=1e-4), "its training quantile is 4, too"
    assert label.model == bundle.manifest.version
    assert label.published_us == 42


def test_novelty_is_unknown_where_training_gave_no_quantile(bundle: Bundle, encoder: OnnxEncoder) -> None:
    (label,) = run(make_pipeline(bundle, encoder), make_batch("watch", 0, constant(REST, 8)))
    assert label.best.name == "rest"
    assert label.novelty is None


@pytest.mark.parametrize(("top_k", "given"), [(1, 1), (2, 2), (9, 3)])
def test_top_k_is_at_most_the_number_of_clusters(
    bundle: Bundle, encoder: OnnxEncoder, top_k: int, given: int
) -> None:
    (label,) = run(make_pipeline(bundle, encoder, top_k=top_k), make_batch("watch", 0, constant(LEFT, 8)))
    assert len(label.soft) == given


def test_what_is_encoded_together_does_not_change_the_labels(bundle: Bundle, encoder: OnnxEncoder) -> None:
    rng = np.random.default_rng(3)
    batches = [
        make_batch(f"watch-{d}", seq, rng.normal(5, 5, (7, 3)).astype(np.float32))
        for seq in range(30)
        for d in range(4)
    ]

    def labels(every: int, max_batch: int) -> dict[tuple[str, int], Label]:
        pipeline = make_pipeline(bundle, encoder, max_batch=max_batch)
        found: list[Label] = []
        for n, batch in enumerate(batches):
            pipeline.accept(batch)
            if n % every == 0:
                found += pipeline.run()
        found += pipeline.run()
        return {(label.device, label.window): label for label in found}

    one_by_one, all_at_once, by_seven = labels(1, 256), labels(10**6, 256), labels(10**6, 7)
    assert one_by_one.keys() == all_at_once.keys() == by_seven.keys()
    assert len(one_by_one) == 4 * (30 * 7 // 8)
    for key, label in one_by_one.items():
        for other in (all_at_once[key], by_seven[key]):
            assert (other.t0_us, other.best.label, other.smoothed.label) == (
                label.t0_us, label.best.label, label.smoothed.label,
            )  # fmt: skip
            assert other.smoothed.confidence == pytest.approx(label.smoothed.confidence, abs=1e-5)


def test_a_short_doubt_is_smoothed_away_but_shown(bundle: Bundle, encoder: OnnxEncoder) -> None:
    doubtful = (4.9, 5.1, 0.0)  # hardly more right than left
    labels = run(
        make_pipeline(bundle, encoder),
        *(
            make_batch("watch", seq, constant(mean, 8))
            for seq, mean in enumerate([LEFT, LEFT, doubtful, LEFT])
        ),
    )
    assert [label.best.name for label in labels] == ["left", "left", "right", "left"]
    assert [label.smoothed.name for label in labels] == ["left"] * 4


def test_repetitions_are_not_labelled_again(bundle: Bundle, encoder: OnnxEncoder) -> None:
    pipeline = make_pipeline(bundle, encoder)
    batch = make_batch("watch", 0, constant(REST, 8))
    assert pipeline.accept(batch)
    assert not pipeline.accept(batch)
    assert pipeline.waiting == 1
    assert len(pipeline.run()) == 1
    assert pipeline.run() == []


@dataclass
class Faulty:
    """A real encoder that breaks down: on batches that hold a certain value, or a number of times."""

    inner: OnnxEncoder
    poison: float = np.inf
    breakdowns: int = 0
    spoil: float | None = None
    monstrous: float = np.inf
    runs: int = 0

    def encode(self, x: Float32Array) -> Encoded:
        self.runs += 1
        if self.breakdowns:
            self.breakdowns -= 1
            raise RuntimeError("out of memory")
        if (x == self.poison).any():
            raise RuntimeError("cannot compute this")
        encoded = self.inner.encode(x)
        encoded.q[(x == self.monstrous).any(axis=(1, 2))] = np.nan
        if self.spoil is None:
            return encoded
        return replace(encoded, q=encoded.q * np.float32(self.spoil))


def test_a_breakdown_of_the_encoder_loses_nothing(
    bundle: Bundle, encoder: OnnxEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make_pipeline(bundle, Faulty(encoder, breakdowns=1))
    labels = run(pipeline, *(make_batch(f"watch-{d}", 0, constant(REST, 8)) for d in range(3)))
    assert [label.device for label in labels] == ["watch-0", "watch-1", "watch-2"]
    assert pipeline.failures == []
    assert "out of memory" in caplog.text


def test_one_window_that_breaks_the_encoder_does_not_take_others_with_it(
    bundle: Bundle, encoder: OnnxEncoder
) -> None:
    pipeline = make_pipeline(bundle, Faulty(encoder, poison=5.0))
    labels = run(
        pipeline,
        make_batch("good", 0, constant(REST, 8)),
        make_batch("bad", 0, constant((5.0, 0, 0), 8)),
        make_batch("fine", 0, constant(RIGHT, 8)),
    )
    assert [label.device for label in labels] == ["good", "fine"]
    (failure,) = pipeline.failures
    assert (failure.ready.device, failure.reason) == ("bad", "encoder-failed")
    assert failure.message == "the encoder failed on this window: cannot compute this"


@pytest.mark.parametrize(("poison", "monstrous", "runs"), [(5.0, np.inf, 20), (np.inf, 5.0, 1)])
def test_one_bad_window_costs_the_others_few_further_runs(
    bundle: Bundle, encoder: OnnxEncoder, poison: float, monstrous: float, runs: int
) -> None:
    """64 windows: 13 groups, and a probe of the encoder after each of the seven that fail."""
    faulty = Faulty(encoder, poison=poison, monstrous=monstrous)
    pipeline = make_pipeline(bundle, faulty)
    batches = [make_batch(f"watch-{d}", 0, constant((5.0 * (d == 41), 0, 0), 8)) for d in range(64)]
    labels = run(pipeline, *batches)
    assert [label.device for label in labels] == [f"watch-{d}" for d in range(64) if d != 41]
    assert (len(pipeline.failures), faulty.runs) == (1, runs)


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_what_is_not_a_number_never_becomes_a_label(
    bundle: Bundle, encoder: OnnxEncoder, spoil: float
) -> None:
    """It is so of a window of zeros, too: it is the encoder, and the window waits until it is mended."""
    faulty = Faulty(encoder, spoil=spoil)
    pipeline = make_pipeline(bundle, faulty)
    with pytest.raises(EncoderUnavailableError, match="not finite"):
        run(pipeline, make_batch("watch", 0, constant(REST, 8)))
    assert pipeline.waiting == 1
    faulty.spoil = None
    assert [label.device for label in pipeline.run()] == ["watch"]


def test_windows_are_smoothed_once_however_often_they_are_encoded(
    bundle: Bundle, encoder: OnnxEncoder
) -> None:
    batches = [make_batch("watch", seq, constant((4.0 + seq / 3, 0, 0), 8)) for seq in range(6)]
    once = run(make_pipeline(bundle, encoder), *batches)
    again = run(make_pipeline(bundle, Faulty(encoder, breakdowns=1)), *batches)
    assert [label.smoothed.label for label in again] == [label.smoothed.label for label in once]
    assert [label.smoothed.confidence for label in again] == pytest.approx(
        [label.smoothed.confidence for label in once], abs=1e-5
    )


def test_an_encoder_that_fails_on_everything_keeps_all_windows_until_it_heals(
    bundle: Bundle, encoder: OnnxEncoder
) -> None:
    faulty = Faulty(encoder, breakdowns=10**6)
    pipeline = make_pipeline(bundle, faulty)
    for seq in range(64):
        pipeline.accept(make_batch("watch", seq, constant(LEFT, 8)))
    for _ in range(2):
        with pytest.raises(EncoderUnavailableError, match="the encoder does not work: out of memory"):
            pipeline.run()
    assert pipeline.waiting == 64
    assert faulty.runs == 4, "a group and a probe each time"
    faulty.breakdowns = 0
    assert len(pipeline.run()) == 64
    assert pipeline.failures == []


def make_recording(means: list[tuple[float, ...]], seconds: float = 3.2) -> Recording:
    n = round(seconds * FS)
    return Recording(
        name="synthetic-01",
        subject=1,
        fs=FS,
        channels=CHANNELS,
        samples=np.concatenate([constant(mean, n) for mean in means]),
        labels=np.repeat(np.arange(len(means), dtype=np.int16) - 1, n),  # the first is unlabelled
        label_names=("walking", "sitting"),
    )


@pytest.mark.parametrize("samples", [1, 7, 50, 10_000])
def test_a_recording_has_the_same_labels_however_it_is_cut_into_batches(
    bundle: Bundle, encoder: OnnxEncoder, samples: int
) -> None:
    recording = make_recording([REST, LEFT, RIGHT])
    labels, _ = label_recording(recording, model_of(bundle, encoder), samples=samples)
    assert [label.t0_us for label in labels] == [k * 160_000 for k in range(60)]
    assert [label.best.name for label in labels] == ["rest"] * 20 + ["left"] * 20 + ["right"] * 20
    assert {label.device for label in labels} == {"synthetic-01"}


def test_a_recording_is_sent_as_a_device_would(bundle: Bundle) -> None:
    batches = list(recording_batches(make_recording([REST]), samples=50))
    assert [len(batch.samples) for batch in batches] == [50, 50, 50, 10]
    assert [batch.t0_us for batch in batches] == [0, 1_000_000, 2_000_000, 3_000_000]
    assert [batch.seq for batch in batches] == [0, 1, 2, 3]


def test_the_timeline_of_a_recording(bundle: Bundle, encoder: OnnxEncoder) -> None:
    labels, _ = label_recording(make_recording([REST, LEFT]), model_of(bundle, encoder))
    rest, left = segments(labels, bundle.manifest)
    assert (rest.name, rest.start_s, rest.windows) == ("rest", 0.0, 20)
    assert (left.name, left.start_s, left.windows) == ("left", 3.2, 20)
    assert left.duration_s == pytest.approx(3.2)
    assert 0.9 < rest.confidence <= 1.0


def test_scores_against_the_labels_of_the_recording(bundle: Bundle, encoder: OnnxEncoder) -> None:
    pytest.importorskip("sklearn")
    recording = make_recording([REST, LEFT, RIGHT])
    labels, _ = label_recording(recording, model_of(bundle, encoder))
    truth = truth_of(recording, labels, bundle.manifest)
    # A window is two halves of 8 samples. Where they differ the first label there is wins; the last one
    # has no second half, so no truth.
    assert truth.tolist() == [-1] * 19 + [0] * 21 + [1] * 19 + [-1]
    metrics = score([(recording, labels)], bundle.manifest)
    assert metrics is not None
    assert metrics["windows"] == 40
    assert metrics["acc"] == pytest.approx(39 / 40), "the window that half is rest is the only other one"
    assert 0.8 < metrics["smoothed"]["nmi"] < 1.0


def test_no_scores_without_labels(bundle: Bundle, encoder: OnnxEncoder) -> None:
    recording = make_recording([REST])
    assert (
        score([(recording, label_recording(recording, model_of(bundle, encoder)).labels)], bundle.manifest)
        is None
    )


def test_a_recording_that_does_not_fit_is_named(bundle: Bundle, encoder: OnnxEncoder) -> None:
    recording = replace(make_recording([REST]), fs=10.0)
    with pytest.raises(
        StreamMismatchError, match="recording 'synthetic-01' does not fit the model: the stream has 10"
    ):
        label_recording(recording, model_of(bundle, encoder))


def test_a_window_that_fails_costs_a_recording_its_own_label_only(
    bundle: Bundle, encoder: OnnxEncoder
) -> None:
    faulty = Faulty(encoder, poison=10.0)
    labels, failures = label_recording(make_recording([REST, LEFT, REST]), model_of(bundle, faulty))
    assert [label.window for label in labels] == [*range(20), *range(40, 60)]
    assert [failure.ready.window for failure in failures] == list(range(20, 40))


def test_the_catalogue_decides_ids_and_names(bundle: Bundle, encoder: OnnxEncoder) -> None:
    """Its order is that of the graph's rows; what leaves the program is the public id."""
    clusters = bundle.catalogue.clusters
    renamed = tuple(
        one.model_copy(update={"id": 100 + row, "name": f"c{row}"}) for row, one in enumerate(clusters)
    )
    catalogue = bundle.catalogue.model_copy(update={"clusters": renamed})
    pipeline = Pipeline(Model(bundle.manifest, encoder, catalogue))
    (label,) = run(pipeline, make_batch("watch", 0, constant(RIGHT, 8)))
    assert (label.best.label, label.best.name) == (102, "c2")
    assert (label.smoothed.label, label.smoothed.name) == (102, "c2")
