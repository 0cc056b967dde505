"""From a run folder to a bundle on disk: proven equal to torch, or not written at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from disc_stream.artifacts.bundle import Bundle, graph_facts, write_bundle
from disc_stream.artifacts.curves import CURVES_FILE, decode_curves
from disc_stream.artifacts.examples import EXAMPLES_FILE, Examples
from disc_stream.artifacts.manifest import Manifest
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.errors import ParityError, TrainingError, UsageError
from disc_stream.models import inference
from disc_stream.training.estimators import DISC
from disc_stream.training.runs import load_run, save_run
from disc_stream_export import Choices, export_run, exporter
from tests.support.tiny_run import INPUT_SAMPLES, N_CLUSTERS, edit_run, tiny_info, write_tiny_run

GOLDEN = Path(__file__).parents[1] / "golden" / "manifest.json"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_tiny_run(tmp_path / "runs" / "tiny")


def entries(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


# ── What comes out ────────────────────────────────────────────────────────────────────────────────────


def moving(n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Windows of three kinds of motion: still, slow and fast."""
    rng = np.random.default_rng(3)
    t = np.arange(2 * INPUT_SAMPLES) / 50.0
    rate = np.array([0.0, 2.0, 6.0])[np.arange(n) % 3]
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 6))
    wave = np.sin(2 * np.pi * rate[:, None, None] * t[None, :, None] + phase) * (rate > 0)[:, None, None]
    return (wave + rng.normal(0, 0.1, wave.shape) + [0, 0, 1, 0, 0, 0]).astype(np.float32)


@pytest.mark.numeric
def test_a_trained_model_answers_as_torch_does(tmp_path: Path) -> None:
    x = moving(120)
    disc = DISC(N_CLUSTERS, epochs=2, refine_epochs=2, settings={"hidden": 12, "embedding": 4})
    disc.fit(x)
    network = disc.config_.network.to_dict()
    info = tiny_info(network, 0).model_copy(update={"scaler": disc.fitted_.scaler})
    save_run(
        tmp_path / "run", info=info, weights=disc.fitted_.module.state_dict(),
        centroids=disc.fitted_.centroids, samples=x[:, :INPUT_SAMPLES],
    )  # fmt: skip
    manifest = export_run(tmp_path / "run", tmp_path / "bundle")
    encoded = OnnxEncoder(Bundle.open(tmp_path / "bundle"), provider="cpu").encode(x[:, :INPUT_SAMPLES])
    q = disc.predict_proba(x)
    np.testing.assert_allclose(encoded.q, q, atol=1e-5)
    first, second = np.sort(q, axis=1)[:, :-3:-1].T
    decided = first - second > 1e-4  # elsewhere rounding decides
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(encoded.labels[decided], disc.labels_[decided])
    np.testing.assert_allclose(encoded.embedding, disc.transform(x), atol=1e-5)
    assert manifest.parity.n_windows == 120
    assert manifest.parity.labels_equal >= decided.mean()
    assert 0 <= manifest.parity.max_abs_q <= 1e-5


def test_the_bundle_tells_what_the_run_knows(run: Path, tmp_path: Path) -> None:
    written = export_run(
        run, tmp_path / "b.zip", choices=Choices("wrist", {0: "walking", 3: "Gehen – schnell"})
    )
    bundle = Bundle.open(tmp_path / "b.zip")
    manifest, info = bundle.manifest, load_run(run).info
    assert manifest == written
    assert list(bundle.catalogue.names) == [
        "walking", "cluster 1", "cluster 2", "Gehen – schnell", "cluster 4",
    ]  # fmt: skip
    assert [(c.id, c.size, c.distance_q95) for c in bundle.catalogue.clusters] == [
        (k, info.cluster_sizes[k], info.distance_q95[k]) for k in range(N_CLUSTERS)
    ]
    assert (manifest.name, manifest.fs, manifest.embedding_dim) == ("wrist", 50.0, 4)
    assert (manifest.channels, manifest.window, manifest.scaler) == (info.channels, info.window, info.scaler)
    assert manifest.training.fingerprint == info.fingerprint
    assert manifest.training.metrics == info.metrics
    model = onnx.load_from_string(bundle.model_bytes)
    assert json.loads(model.metadata_props[0].value) == graph_facts(manifest)


def test_windows_of_the_clusters_and_the_training_go_with_it_unless_they_are_not_to(
    run: Path, tmp_path: Path
) -> None:
    (run / "history.jsonl").write_text('{"phase": "refine", "epoch": 1, "losses": {"total": 2.0}}\n')
    export_run(run, tmp_path / "with")
    bundle = Bundle.open(tmp_path / "with")
    kept = Examples.of_bytes(bundle.files[EXAMPLES_FILE], bundle.manifest, "it")
    encoded = OnnxEncoder(bundle, provider="cpu").encode(kept.windows)
    assert np.abs(encoded.embedding - kept.embedding).max() < 0.05
    assert (encoded.labels == kept.rows).mean() > 0.9
    assert decode_curves(bundle.files[CURVES_FILE])[0]["values"] == {"total": 2.0}
    export_run(run, tmp_path / "again")
    assert (tmp_path / "again" / EXAMPLES_FILE).read_bytes() == bundle.files[EXAMPLES_FILE]
    without = export_run(run, tmp_path / "without", choices=Choices(examples=False))
    assert EXAMPLES_FILE not in without.files
    assert without.version == bundle.version


def test_the_same_run_gives_the_same_model_and_version(run: Path, tmp_path: Path) -> None:
    first = export_run(run, tmp_path / "first", choices=Choices("a"))
    second = export_run(run, tmp_path / "second", choices=Choices("b", {0: "walking"}))
    assert (tmp_path / "first" / "model.onnx").read_bytes() == (
        tmp_path / "second" / "model.onnx"
    ).read_bytes()
    assert first.version == second.version


def test_windows_that_are_no_whole_number_of_frames_are_exported(tmp_path: Path) -> None:
    """16 samples in frames of 5: the last sample is repeated, by operators that bundles may hold."""
    export_run(write_tiny_run(tmp_path / "run", frame=5), tmp_path / "bundle")
    assert Bundle.open(tmp_path / "bundle").manifest.parity.labels_equal == 1.0


def test_how_long_training_took_does_not_make_it_another_model(run: Path, tmp_path: Path) -> None:
    for seconds, out in ((10.0, "fast"), (99.0, "slow")):
        edit_run(run, lambda raw, seconds=seconds: raw["metrics"].update(seconds=seconds))
        export_run(run, tmp_path / out)
    fast, slow = (Bundle.open(tmp_path / out).version for out in ("fast", "slow"))
    assert fast == slow


def test_the_steps_are_told_and_torch_is_left_in_its_own_state(run: Path, tmp_path: Path) -> None:
    state, grad = torch.get_rng_state(), torch.is_grad_enabled()
    steps: list[str] = []
    export_run(run, tmp_path / "b", progress=steps.append)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() == grad
    assert [step.split()[0] for step in steps] == ["Reading", "Tracing", "Comparing", "Writing"]


def test_the_manifest_keeps_its_golden_form(run: Path, tmp_path: Path) -> None:
    """Servers in the field read this form: a change needs a new schema version, and a look at them."""
    export_run(run, tmp_path / "b", choices=Choices("golden", {0: "walking"}))
    golden = json.loads(GOLDEN.read_text())
    written = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert list(written) == list(golden)
    for field in ("version", "created", "software", "parity", "files"):  # differ with the machine and the day
        assert shape_of(written.pop(field)) == shape_of(golden.pop(field))
    assert written == golden


def shape_of(value: object) -> object:
    """Keys and types, without the values."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    return type(value).__name__


def test_the_golden_manifest_is_still_read() -> None:
    assert Manifest.model_validate_json(GOLDEN.read_bytes()).n_clusters == N_CLUSTERS


# ── A graph that differs is not written ───────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny run's bundle, as it should be."""
    folder = tmp_path_factory.mktemp("sound")
    export_run(write_tiny_run(folder / "run"), folder / "b")
    return Bundle.open(folder / "b")


def spoil(monkeypatch: pytest.MonkeyPatch, sound: Bundle, change: Any) -> None:
    """Change the graph between tracing and comparison."""

    def spoiled(*_: Any, **__: Any) -> onnx.ModelProto:
        model = onnx.load_from_string(sound.model_bytes)
        change(model)
        return model

    monkeypatch.setattr(exporter, "build_graph", spoiled)


def change_weight(name: str, add: float) -> Any:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name.endswith(name))
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[0] += add
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    return change


def drop_reset_form(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "linear_before_reset":
                attribute.i = 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_weight("layers.0.r", 0.05), "output 'embedding' of the graph differs .* in window"),
        (change_weight("centroids", 0.5), "output '(q|distance)' of the graph differs"),
        (change_weight("offset", 0.1), "output 'embedding' of the graph differs"),
        (change_weight("shift", float("nan")), "output 'embedding' of the graph differs from torch by nan"),
        (drop_reset_form, "output 'embedding' of the graph differs"),
    ],
    ids=["recurrent weight", "centroid", "scaler", "nan", "reset form"],
)
def test_a_difference_is_an_error_and_leaves_nothing(
    change: Any, message: str, run: Path, sound: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, sound, change)
    with pytest.raises(ParityError, match=message):
        export_run(run, tmp_path / "bundle")
    assert entries(tmp_path) == ["runs"]


def test_a_fast_form_that_computes_something_else_is_an_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph is made from the fast form and agrees with it; the readable one knows better."""
    fold = inference._folded_bottleneck

    def fold_wrongly(encoder: Any) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
        project, shift = fold(encoder)
        return project, torch.nn.Parameter(shift + 0.01)

    monkeypatch.setattr(inference, "_folded_bottleneck", fold_wrongly)
    with pytest.raises(ParityError, match=r"'embedding' of the graph .* compared with models/reference\.py"):
        export_run(run, tmp_path / "bundle")
    assert entries(tmp_path) == ["runs"]


def test_a_difference_leaves_the_older_bundle(
    run: Path, sound: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "b", sound.manifest, sound.catalogue.clusters, {"model.onnx": sound.model_bytes})
    older = Bundle.open(tmp_path / "b").manifest
    spoil(monkeypatch, sound, change_weight("shift", 1.0))
    with pytest.raises(ParityError):
        export_run(run, tmp_path / "b", force=True)
    assert Bundle.open(tmp_path / "b").manifest == older


# ── Runs and options that are wrong ───────────────────────────────────────────────────────────────────


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def unfinish(run: Path) -> None:
    (run / "run.json").unlink()
    (run / "checkpoint").mkdir()


BROKEN_RUNS: dict[str, tuple[Any, str]] = {
    "no run": (lambda run: (run / "run.json").unlink(), "no run: run.json is missing"),
    "unfinished": (unfinish, "an unfinished run.*--resume"),
    "truncated weights": (lambda run: truncate(run / "model.safetensors"), "is damaged"),
    "truncated samples": (lambda run: truncate(run / "samples.safetensors"), "is damaged"),
    "no weights": (lambda run: (run / "model.safetensors").unlink(), "is damaged"),
    "newer schema": (
        lambda run: edit_run(run, lambda raw: raw.update(schema_version=9, novelty={})),
        "schema 9.*Upgrade",
    ),
    "unknown field": (lambda run: edit_run(run, lambda raw: raw.update(novelty=1)), "novelty: Extra inputs"),
    "not JSON": (lambda run: truncate(run / "run.json"), r"run\.json' cannot be read"),
    "sizes": (lambda run: edit_run(run, lambda raw: raw["cluster_sizes"].pop()), "5 clusters, 4 sizes"),
    "clusters": (
        lambda run: edit_run(
            run, lambda raw: raw.update(n_clusters=4, cluster_sizes=[1] * 4, distance_q95=[1.0] * 4)
        ),
        r"q is \[5\] a window, the manifest says \[4\]",
    ),
}


@pytest.mark.parametrize("case", BROKEN_RUNS)
def test_a_broken_run_says_what_is_broken(case: str, run: Path, tmp_path: Path) -> None:
    spoil_run, message = BROKEN_RUNS[case]
    spoil_run(run)
    with pytest.raises((TrainingError, ParityError), match=message):
        export_run(run, tmp_path / "b")
    assert entries(tmp_path) == ["runs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choices": Choices(clusters={5: "x"})}, "clusters 0 to 4, there is no cluster 5"),
        ({"choices": Choices(clusters={-1: "x"})}, "there is no cluster -1"),
        ({"choices": Choices(clusters={0: " "})}, "cannot be the name of cluster 0"),
        ({"choices": Choices(clusters={0: "a\nb"})}, "cannot be the name of cluster 0"),
        ({"choices": Choices("x" * 65)}, "cannot be the name of the model"),
        ({"choices": Choices("")}, "cannot be the name of the model"),
        ({"sign_key": Path("no-such-key.pem")}, r"no-such-key\.pem"),
    ],
)
def test_options_that_are_wrong_are_usage_errors(
    options: dict[str, Any], message: str, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        export_run(run, tmp_path / "b", **options)
    assert entries(tmp_path) == ["runs"]


def test_a_taken_place_is_refused_before_any_work(run: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").touch()
    steps: list[str] = []
    for force in (False, True):
        with pytest.raises(UsageError, match="exists"):
            export_run(run, tmp_path / "b", force=force, progress=steps.append)
    assert steps == []
    assert entries(tmp_path / "b") == ["mine.txt"]


def test_export_needs_no_scikit_learn(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('sklearn', 'scipy', 'pandas'): sys.modules[name] = None\n"
        "from disc_stream_export import export_run\n"
        f"print(export_run({str(run)!r}, {str(tmp_path / 'b')!r}).version)\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == Bundle.open(tmp_path / "b").version
    assert result.stderr == ""
