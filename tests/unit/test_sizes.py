"""Sizes of the guided network: what they need, which one fits, and how well they agree with their teacher."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from disc_stream.artifacts.bundle import INPUT
from disc_stream.artifacts.graph import read_graph
from disc_stream.artifacts.graphcost import BATCH
from disc_stream.artifacts.graphcost import cost_of as cost_of_graph
from disc_stream.artifacts.sizes import Agreement, SizeInfo
from disc_stream.errors import ConfigError, TrainingError
from disc_stream.models.autoencoder import MultiTaskAutoencoder
from disc_stream.models.described import Described
from disc_stream.training.fitting import infer
from disc_stream.training.guided.config import GuidedConfig
from disc_stream.training.guided.sizes import PRESET_OF_SIZE, SIZES, cost_of, descriptors_of, is_smaller
from disc_stream.training.recipes import RECIPES
from disc_stream.training.recipes.guided import LearnedGuided
from disc_stream.training.sizing import Sized, SizeRequest, choose, held_out_windows, judged, measure
from disc_stream.training.task import FitOptions, Task
from tests.support.commandline import CommandLine
from tests.support.people import people

pytestmark = pytest.mark.numeric

SHAPE = (128, 6)
QUICK = {
    "hidden": 8, "decoder_hidden": 8, "embedding": 4, "frame": 4, "batch_size": 64, "steps": 60,
    "learning_rate": 1e-2, "restarts": 3, "moves": 5, "precision": "fp32",
}  # fmt: skip
X, Y, WHO = people(5)
OUT = held_out_windows(WHO, 1)
TASK = Task(X, 4, seed=1, devices=WHO, held_out=OUT)


@pytest.fixture(scope="module")
def learned() -> LearnedGuided:
    recipe = RECIPES["disc"]
    found = recipe.fit(TASK, recipe.resolve("guided-tiny", QUICK), FitOptions("cpu"))
    assert isinstance(found, LearnedGuided)
    return found


def sized(name: str) -> Sized:
    return choose(SizeRequest(name), SHAPE, {})


class TestCosts:
    """What a network needs, from its shape alone."""

    @pytest.mark.parametrize("name", SIZES)
    def test_kib_are_those_of_the_encoders_parameters(self, name: str) -> None:
        encoder = MultiTaskAutoencoder(SIZES[name], 6, torch.Generator()).encoder
        norm = sum(p.numel() for p in encoder.bottleneck.norm.parameters())  # folded into the linear map
        numbers = sum(p.numel() for p in encoder.parameters()) - norm
        described = Described(*SHAPE, SIZES[name].embedding)
        beside = ("waves", "shares")
        numbers += sum(getattr(described.descriptors, part).numel() for part in beside)
        numbers += described.project.numel() + described.shift.numel()
        assert cost_of(SIZES[name], *SHAPE).kib == pytest.approx(numbers * 4 / 1024)

    def test_the_ladder_falls_in_weights_and_in_work(self) -> None:
        costs = [cost_of(network, *SHAPE) for network in SIZES.values()]
        for larger, smaller in pairwise(costs):
            assert larger.kib > smaller.kib
            assert larger.mmac_half > smaller.mmac_half
            assert larger.mmac_whole > smaller.mmac_whole

    def test_a_step_that_is_begun_counts_whole(self) -> None:
        tiny = SIZES["tiny"]
        recurrent = {
            n: cost_of(tiny, n, 6).mmac_half - descriptors_of(tiny, n, 6)[1] / 1e6 for n in (128, 130, 144)
        }
        assert recurrent[130] == pytest.approx(recurrent[144])
        assert recurrent[128] < 0.99 * recurrent[130]


class TestChoice:
    """The largest size within a budget."""

    @pytest.mark.parametrize("name", SIZES)
    def test_a_size_fits_into_what_it_needs_and_not_into_less(self, name: str) -> None:
        cost = cost_of(SIZES[name], *SHAPE)
        assert choose(SizeRequest(max_kib=cost.kib), SHAPE, {}).name == name
        assert choose(SizeRequest(max_mmac=cost.mmac_half), SHAPE, {}).name == name
        with pytest.raises(ConfigError, match=f"size {name} has"):
            choose(SizeRequest(name, max_kib=cost.kib - 0.01), SHAPE, {})

    def test_both_limits_hold(self) -> None:
        small, tiny = sized("small").cost, sized("tiny").cost
        assert choose(SizeRequest("", small.kib, tiny.mmac_half), SHAPE, {}).name == "tiny"

    def test_what_cannot_fit_names_the_smallest(self) -> None:
        last = list(SIZES)[-1]
        with pytest.raises(ConfigError, match=f"into 1 KiB and 5 MMAC: the smallest size, {last}, has"):
            choose(SizeRequest("", 1.0, 5.0), SHAPE, {})

    def test_settings_of_the_network_count(self) -> None:
        assert choose(SizeRequest("tiny"), SHAPE, {"hidden": 6}).cost.kib < sized("tiny").cost.kib

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"name": "tny"}, "no size 'tny'.*tiny"),
            ({"max_kib": 0.0}, "KiB must be above 0"),
            ({"max_mmac": float("nan")}, "MMAC must be above 0"),
            ({"floor": 1.5}, "between 0 and 1"),
        ],
    )
    def test_what_is_wrong_is_said(self, values: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            SizeRequest(**values)

    def test_every_size_is_a_preset_that_a_retraining_can_take_over(self) -> None:
        disc = RECIPES["disc"]
        for name, preset in PRESET_OF_SIZE.items():
            assert preset in disc.presets
            config = disc.resolve(preset, {})
            assert isinstance(config, GuidedConfig)
            assert config.network == SIZES[name]


class TestHeldOut:
    """People that a smaller network does not learn from."""

    def test_a_fifth_of_the_people_whole_and_by_seed(self) -> None:
        devices = np.repeat(np.arange(10), 7)
        out = held_out_windows(devices, 3)
        assert len(np.unique(devices[out])) == 2
        assert out.sum() == 14
        assert (out == held_out_windows(devices, 3)).all()
        assert any((out != held_out_windows(devices, seed)).any() for seed in range(5))

    def test_one_person_cannot_be_left_out(self) -> None:
        assert not held_out_windows(np.zeros(5, dtype=np.int64), 0).any()

    def test_the_network_does_not_learn_from_them(self, learned: LearnedGuided) -> None:
        kept = TASK.windows[TASK.learned]
        assert len(learned.found) == len(X)  # the teacher's labels of everybody
        mean = kept.mean((0, 1), dtype=np.float64)
        np.testing.assert_allclose(learned.scaler.offset, mean, rtol=1e-4, atol=1e-4)

    def test_agreement_is_the_share_of_their_windows_with_the_teachers_label(
        self, learned: LearnedGuided
    ) -> None:
        agreement = measure(learned, TASK, 0.9)
        assert agreement is not None
        for share, n in ((agreement.half, 16), (agreement.whole, 32)):
            labels = infer(learned.net, X[OUT][:, :n])[1].argmax(1)
            assert share == pytest.approx((labels == learned.found[OUT]).mean())
        assert (agreement.windows, agreement.people) == (int(OUT.sum()), 1)

    def test_below_the_floor_is_an_error_unless_allowed(self, learned: LearnedGuided) -> None:
        size = sized("tiny")
        agreement = measure(learned, TASK, 1.0)
        assert agreement is not None
        below = agreement.least + 0.01
        task = TASK
        if below <= 1.0:
            with pytest.raises(TrainingError, match="agrees too little") as caught:
                judged(size, SizeRequest("tiny", floor=below), learned, task)
            assert "--allow-below --resume" in str(caught.value.remedy)
            facts = judged(size, SizeRequest("tiny", floor=below, allow_below=True), learned, task)
            assert "BELOW IT" in str(SizeInfo.model_validate(facts).agreement)
        facts = judged(size, SizeRequest("tiny", floor=agreement.least), learned, task)
        assert facts["agreement"]["half"] == agreement.half

    def test_one_person_is_no_measurement(self, learned: LearnedGuided) -> None:
        alone = Task(
            X, 4, devices=np.zeros(len(X), dtype=np.int64), held_out=np.zeros(len(X), dtype=np.bool_)
        )
        with pytest.raises(TrainingError, match="cannot be measured with one person"):
            judged(sized("tiny"), SizeRequest("tiny"), learned, alone)
        facts = judged(sized("tiny"), SizeRequest("tiny", allow_below=True), learned, alone)
        assert facts["agreement"] is None

    @pytest.mark.parametrize("name", ["full", "medium", "small"])
    def test_the_default_size_and_larger_ones_learn_from_all(self, learned: LearnedGuided, name: str) -> None:
        assert not is_smaller(name)
        assert judged(sized(name), SizeRequest(name), learned, TASK)["agreement"] is None


class TestWords:
    """What people and other programs read."""

    def test_metrics_of_another_form_say_nothing(self) -> None:
        for metrics in ({}, {"size": 3}, {"size": {"name": "tiny\x1b[2J"}}, {"size": {"name": "tiny"}}):
            assert SizeInfo.of(metrics) is None

    def test_a_size_says_what_it_needs(self) -> None:
        info = sized("tiny").info()
        assert f"tiny, {info.weights_kib:.1f} KiB of weights, {info.mmac.half:.3f} MMAC" in str(info)

    def test_agreement_says_with_whom_and_against_what(self) -> None:
        words = str(Agreement(half=0.95, whole=0.97, windows=1200, people=3, floor=0.9))
        assert "95.0% from half a window, 97.0% from the whole" in words
        assert "1,200 windows of 3 people held out (floor 90%)" in words


SYNTHETIC = ("train", "--synthetic", "--devices", "4", "--minutes", "1", "--clusters", "4")
FAST = (
    "--set", "restarts=2", "--set", "moves=0", "--set", "steps=4", "--set", "hidden=4",
    "--set", "decoder_hidden=4",
)  # fmt: skip


class TestCommand:
    """``train --size`` to ``bundle inspect``."""

    def test_from_a_budget_to_the_bundle(self, command_line: CommandLine, tmp_path: Path) -> None:
        run, bundle = tmp_path / "run", tmp_path / "bundle"
        words = (*SYNTHETIC, *FAST, "--size", "tiny", "--max-kib", "100", "--out", run)
        refused = command_line(*words, "--min-agreement", "1")
        assert refused.returncode == 1
        assert "agrees too little with its teacher" in refused.stderr
        assert "size tiny, " in refused.stderr
        assert not (run / "run.json").exists()
        done = command_line(*words, "--min-agreement", "1", "--allow-below", "--resume", "--json")
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        assert facts["preset"] == "guided-tiny"
        assert facts["metrics"]["size"]["agreement"]["people"] == 1
        assert command_line("export", run, "--out", bundle).returncode == 0
        said = command_line("bundle", "inspect", bundle).stdout
        assert "network    tiny, " in said
        assert "agreement  " in said
        assert "BELOW IT" in said
        graph = read_graph((bundle / "model.onnx").read_bytes())
        work = cost_of_graph(graph, INPUT, (64, 6)).multiplications / BATCH / 1e6
        # The graph's own count has the distances and what is done element by element as well.
        assert 0 <= work / facts["metrics"]["size"]["mmac"]["half"] - 1 < 0.2

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--size", "huge"), "there is no size 'huge'"),
            (("--size", "tiny", "--method", "disc-plus"), "disc-plus has one size"),
            (("--size", "tiny", "--preset", "paper"), "sizes are those of the preset guided"),
            (("--size", "tiny", "--set", "targets=self"), "sizes are those of the preset guided"),
            (("--size", "small", "--preset", "guided-tiny"), "--size small contradicts --preset guided-tiny"),
            (("--allow-below",), "of sizes below small alone"),
            (("--max-kib", "1"), "no network fits into 1 KiB"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, command_line: CommandLine, tmp_path: Path, words: tuple[str, ...], said: str
    ) -> None:
        done = command_line(*SYNTHETIC, *words, "--out", tmp_path / "run")
        assert done.returncode != 0
        assert said in done.stderr
