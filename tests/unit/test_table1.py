"""The grid of Table I: cells are computed once, kept, gone on with, and shown beside the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disc_stream.benchmarks.cells import Cell, CellKey, hash_of, read_cell, read_cells
from disc_stream.benchmarks.grid import Failure, Request, keys, run_grid
from disc_stream.benchmarks.paper import best_figures, paper_figures
from disc_stream.benchmarks.protocols import StreamSettings, protocol_facts
from disc_stream.benchmarks.report import render, write_page
from disc_stream.benchmarks.summary import rows
from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import ConfigError, DataError
from disc_stream.training.events import EpochEvent, TrainingEvent
from disc_stream.training.methods import METHODS
from disc_stream.training.plus.config import PlusConfig
from disc_stream.types import Channel

TINY = {"epochs": 3, "refine_epochs": 1, "hidden": 4, "embedding": 3, "decoder_hidden": 4}


def part(people: list[int], seed: int) -> WindowSet:
    random = np.random.default_rng(seed)
    n = 12 * len(people)
    y = np.tile(np.repeat([0, 1, 2], 4), len(people)).astype(np.int16)
    x = random.normal(size=(n, 16, 3)).astype(np.float32) * np.array([0.1, 1.0, 4.0])[y, None, None]
    return WindowSet(
        x.astype(np.float32), y, np.repeat(people, 12).astype(np.int16),
        np.repeat(people, 12).astype(np.int32), np.tile(np.arange(12) * 8, len(people)).astype(np.int64),
        50.0,         tuple(Channel(f"acc_{axis}", "g") for axis in "xyz"), ("still", "slow", "fast"),
    )  # fmt: skip


SPLIT = Split(part([1, 2, 3], 0), part([4, 5], 1), "people 4, 5 are held out for the test", 3)


def request(out: Path, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "datasets": ["tiny"], "protocols": ["paper"], "methods": ["kmeans"], "seeds": [0], "preset": "small",
        "out": out / "cells", "work": out / "work",
    }  # fmt: skip
    return Request(**{**values, **changes})


def run(wanted: Request, **more: Any) -> list[Cell | Failure]:
    return list(run_grid(wanted, lambda _name: SPLIT, **more))


def test_a_cell_is_computed_once_and_read_afterwards(tmp_path: Path) -> None:
    (first,) = run(request(tmp_path))
    assert isinstance(first, Cell)
    (file,) = (tmp_path / "cells").rglob("*.json")
    assert file.name == f"kmeans-none-{first.config_hash[:8]}-seed0.json"
    changed = json.loads(file.read_text()) | {"seconds": 123.0}
    file.write_text(json.dumps(changed))
    (again,) = run(request(tmp_path))
    assert isinstance(again, Cell)
    assert again.seconds == 123.0
    (forced,) = run(request(tmp_path, force=True))
    assert isinstance(forced, Cell)
    assert forced.seconds != 123.0
    assert forced.scores == first.scores


def test_other_settings_are_another_cell(tmp_path: Path) -> None:
    for settings in (TINY, {**TINY, "gamma": 0.5}):
        run(request(tmp_path, methods=["disc-kmeans"], settings=settings))
    assert len(read_cells(tmp_path / "cells")) == 2
    assert hash_of({"a": 1}, "x") != hash_of({"a": 1}, "y")


def test_methods_of_a_family_share_one_autoencoder(tmp_path: Path) -> None:
    epochs: list[str] = []

    def count(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent):
            epochs.append(event.phase)

    methods = ["disc-kmeans", "disc-ward", "disc-ae-ward", "disc-ae-kmeans"]
    cells = run(request(tmp_path, methods=methods, settings=TINY), callback=count)
    assert all(isinstance(cell, Cell) for cell in cells)
    assert epochs.count("pretrain") == 3
    assert epochs.count("refine") == 2


class _KilledError(Exception):
    pass


def test_a_killed_grid_goes_on_from_the_last_epoch(tmp_path: Path) -> None:
    wanted = {"methods": ["disc-kmeans"], "settings": TINY}
    (whole,) = run(request(tmp_path / "whole", **wanted))
    seen: list[int] = []

    def kill_after_two(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent):
            seen.append(event.epoch)
            if len(seen) == 2:
                raise _KilledError

    with pytest.raises(_KilledError):
        run(request(tmp_path / "killed", **wanted), callback=kill_after_two)
    seen.clear()

    def count(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent) and event.phase == "pretrain":
            seen.append(event.epoch)

    (resumed,) = run(request(tmp_path / "killed", **wanted), callback=count)
    assert seen == [3]
    assert isinstance(resumed, Cell)
    assert isinstance(whole, Cell)
    assert resumed.scores == whole.scores


def test_one_failing_cell_does_not_stop_the_others(tmp_path: Path) -> None:
    settings = {"restarts": 1, "moves": 0, "bands": 0}
    results = run(request(tmp_path, methods=["disc-plus", "kmeans"], settings=settings))
    kinds = {type(result).__name__ for result in results}
    assert kinds == {"Cell", "Failure"}
    (failure,) = [result for result in results if isinstance(result, Failure)]
    assert failure.key.method == "disc-plus"
    assert "bands must be at least 1" in failure.reason


def test_the_stream_protocol_scores_both_kinds_of_smoothing(tmp_path: Path) -> None:
    methods = ["kmeans", "disc-plus", "ac-ward"]
    settings = {"restarts": 2, "moves": 5}
    for cell in run(request(tmp_path, protocols=["stream"], methods=methods, settings=settings)):
        assert isinstance(cell, Cell)
        assert list(cell.scores) == ["train", "test", "test_causal", "test_noncausal"]
        assert ("prior_windows" in cell.config) == (cell.method != "disc-plus")
        if cell.method == "disc-plus":  # distance alone cannot tell still from slow
            assert cell.scores["test_causal"]["acc"] > 0.9


def test_the_adapted_protocol_lets_centroids_follow_each_device(tmp_path: Path) -> None:
    settings = {"restarts": 2, "moves": 5}
    wanted = {"methods": ["kmeans", "disc-plus"], "settings": settings}
    many = Split(part([1, 2, 3, 6, 7, 8], 7), part([4, 5], 8), "six people", 3)
    found = {
        protocol: [
            cell
            for cell in run_grid(request(tmp_path, protocols=[protocol], **wanted), lambda _name: many)
            if isinstance(cell, Cell)
        ]
        for protocol in ("stream", "adapted")
    }
    for cell in found["adapted"]:
        assert list(cell.scores) == ["train", "test", "test_causal", "test_noncausal"]
        assert cell.config["rule"]["prior_windows"] > 0
    (stream,) = [cell for cell in found["stream"] if cell.method == "disc-plus"]
    (adapted,) = [cell for cell in found["adapted"] if cell.method == "disc-plus"]
    assert adapted.config_hash != stream.config_hash
    assert adapted.scores["train"] == stream.scores["train"]
    assert adapted.scores["test_noncausal"]["acc"] > 0.9


def test_with_few_people_nothing_follows(tmp_path: Path) -> None:
    """Nobody can say what is unknown then."""
    settings = {"restarts": 2, "moves": 5}
    wanted = {"methods": ["disc-plus"], "settings": settings}
    (stream,) = run(request(tmp_path, protocols=["stream"], **wanted))
    (adapted,) = run(request(tmp_path, protocols=["adapted"], **wanted))
    assert isinstance(stream, Cell)
    assert isinstance(adapted, Cell)
    assert adapted.scores == stream.scores


def test_other_data_under_the_same_name_gets_its_own_autoencoder(tmp_path: Path) -> None:
    epochs: list[TrainingEvent] = []
    other = Split(part([1, 2, 3], 7), part([4, 5], 8), "other recordings", 3)
    wanted = request(tmp_path, methods=["disc-ae-kmeans", "disc-kmeans"], settings=TINY)
    run(wanted)
    results = list(run_grid(wanted, lambda _name: other, callback=epochs.append))
    assert [type(result).__name__ for result in results] == ["Cell", "Cell"]
    assert sum(isinstance(e, EpochEvent) and e.phase == "pretrain" for e in epochs) == 3


def test_a_killed_refinement_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    wanted = {"methods": ["disc-kmeans"], "settings": {**TINY, "refine_epochs": 4, "tolerance": 0.0}}
    (whole,) = run(request(tmp_path / "whole", **wanted))
    refined: list[int] = []

    def kill_after_two(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent) and event.phase == "refine":
            refined.append(event.epoch)
            if len(refined) == 2:
                raise _KilledError

    with pytest.raises(_KilledError):
        run(request(tmp_path / "killed", **wanted), callback=kill_after_two)
    (resumed,) = run(request(tmp_path / "killed", **wanted), callback=kill_after_two)
    assert refined == [1, 2, 3, 4]
    assert isinstance(resumed, Cell)
    assert isinstance(whole, Cell)
    assert resumed.scores == whole.scores
    assert resumed.epochs == {"pretrain": 3, "refine": 4}
    assert [p.name for p in (tmp_path / "killed/work/tiny/paper").iterdir() if "kmeans" in p.name] == []


def test_labels_at_half_and_whole_windows_come_from_one_training(tmp_path: Path) -> None:
    small = {"restarts": 2, "moves": 0, "steps": 3, "hidden": 4, "embedding": 3, "frame": 4}
    methods, epochs = ["disc-guided-half", "disc-guided-whole"], list[TrainingEvent]()
    wanted = request(tmp_path, methods=methods, protocols=["paper", "stream"], settings=small)
    cells = run(wanted, callback=epochs.append)
    assert [type(cell).__name__ for cell in cells] == ["Cell"] * 4
    assert sum(isinstance(e, EpochEvent) and e.phase == "guided" for e in epochs) == 3
    table = rows([cell for cell in cells if isinstance(cell, Cell)])
    assert {row.title.split(",")[0] for row in table} == {"DISC guided (half)", "DISC guided (whole)"}
    assert all("hidden=4" in row.variant and "moves=0" in row.variant for row in table)


def test_a_file_keeps_its_name_and_its_cells_stay_in_the_results(tmp_path: Path) -> None:
    (found,) = run(request(tmp_path, datasets=["/some/where/own.npz"]))
    assert isinstance(found, Cell)
    assert found.dataset == "own.npz"
    assert len(list((tmp_path / "cells/own.npz/paper").iterdir())) == 1


def test_a_dataset_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    def load(name: str) -> Split:
        if name == "broken":
            raise DataError("'broken' is cut short")
        return SPLIT

    results = list(run_grid(request(tmp_path, datasets=["broken", "tiny"], seeds=[0, 1]), load))
    assert [type(result).__name__ for result in results] == ["Failure", "Failure", "Cell", "Cell"]


def test_the_protocol_can_be_set_and_its_defaults_are_those_of_the_kept_cells(tmp_path: Path) -> None:
    kmeans = METHODS["kmeans"]
    kept = {"protocol": "stream", "stay": 0.8, "prior_windows": 50.0}
    assert protocol_facts("stream", kmeans, StreamSettings()) == kept
    assert protocol_facts("paper", kmeans, StreamSettings(stay=0.5)) == {"protocol": "paper"}
    for stream in (StreamSettings(), StreamSettings(prior_windows=1.0), StreamSettings(stay=0.99)):
        run(request(tmp_path, protocols=["stream"], stream=stream))
    found = read_cells(tmp_path / "cells")
    assert len({cell.config_hash for cell in found}) == 3
    for wrong in ({"stay": 1.0}, {"prior_windows": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            StreamSettings(**wrong)


def test_cells_that_share_an_autoencoder_stand_together() -> None:
    wanted = request(Path(), methods=["disc-ward", "kmeans", "dsc-ward", "disc-ae-ward"], seeds=[0, 1])
    assert [(k.method, k.seed) for k in keys(wanted)][:4] == [
        ("kmeans", 0), ("disc-ae-ward", 0), ("disc-ward", 0), ("dsc-ward", 0),
    ]  # fmt: skip
    assert keys(wanted)[0] == CellKey("tiny", "paper", "kmeans", "none", 0)


def cell(method: str, seed: int, nmi: float, dataset: str = "uci-har") -> Cell:
    scores = {p: {"nmi": nmi, "acc": nmi + 0.1, "ari": 0.0, "ami": 0.0} for p in ("train", "test")}
    config = PlusConfig().to_dict() if method == "disc-plus" else {}
    return Cell(
        dataset=dataset, protocol="paper", method=method, preset="none", seed=seed, config=config,
        config_hash="0" * 64, fingerprint="f", split="as the authors split it", n_clusters=6, scores=scores,
        epochs={}, seconds=2.0, hardware="a machine", software={}, date="2026-11-24",
    )  # fmt: skip


def test_rows_have_mean_deviation_and_distance_from_the_paper() -> None:
    (row,) = rows([cell("kmeans", 1, 0.5), cell("kmeans", 0, 0.4)])
    nmi = row.to_dict()["scores"]["test"]["nmi"]
    assert nmi == {"mean": 45.0, "sd": 7.07, "paper": 45.9, "difference": -0.9}
    (single,) = rows([cell("disc-plus", 0, 0.9)])
    assert single.to_dict()["scores"]["test"]["acc"] == {
        "mean": 100.0, "sd": None, "paper": None, "difference": None,
    }  # fmt: skip


def test_the_page_shows_rows_in_table_order_with_notes(tmp_path: Path) -> None:
    cells = [cell("disc-plus", 0, 0.9), cell("kmeans", 0, 0.4), cell("kmeans", 1, 0.5)]
    (tmp_path / "t-notes.md").write_text("## What it says\n\nWords.\n")
    write_page(cells, tmp_path / "t.md", tmp_path / "t-notes.md")
    text = (tmp_path / "t.md").read_text()
    assert text == render(list(reversed(cells)), "## What it says\n\nWords.\n")
    assert text.index("Words.") < text.index("| k-Means |") < text.index("| disc-plus |")
    assert "45.0 ± 7.1 (45.90) / 55.0 ± 7.1 (40.69)" in text
    assert "90.00 / 100.00 | – | 0 |" in text
    assert "a machine" in text
    assert "the null class, unlabelled stretches and transitions are left out" in text


def test_an_ablation_says_what_it_changes(tmp_path: Path) -> None:
    changed = cell("disc-plus", 0, 0.8).model_copy(
        update={"config": {**PlusConfig().to_dict(), "tied": False}, "config_hash": "1" * 64}
    )
    usual = cell("disc-plus", 0, 0.9).model_copy(update={"config": PlusConfig().to_dict()})
    assert [row.title for row in rows([changed, usual])] == ["disc-plus", "disc-plus, tied=False"]


def test_partial_data_is_marked_as_no_like_for_like() -> None:
    assert paper_figures("mhealth-partial", "disc-ae-ward") == paper_figures("mhealth", "disc-ae-ward")
    (row,) = rows([cell("kmeans", 0, 0.4, "mhealth-partial")])
    assert row.to_dict()["paper_is_of"] == "mhealth"
    assert "not like for like" in render([cell("kmeans", 0, 0.4, "mhealth-partial")], "")
    assert paper_figures("actrectut", "kmeans") is None
    assert best_figures("uci-har") == (81.91, 87.99)
    assert best_figures("skoda") == (59.06, 54.45)
    assert best_figures("mhealth") == (70.98, 59.52)
    assert best_figures("hapt") is None


def test_the_page_says_that_the_paper_knew_no_devices() -> None:
    stream = cell("kmeans", 0, 0.4).model_copy(update={"protocol": "stream"})
    assert "which knew neither devices nor time" in render([stream], "")
    assert "which knew neither" not in render([cell("kmeans", 0, 0.4)], "")


def test_a_file_that_is_no_cell_is_named(tmp_path: Path) -> None:
    (tmp_path / "x-seed0.json").write_text("{}")
    with pytest.raises(DataError, match=r"x-seed0\.json' is not a cell of the table"):
        read_cell(tmp_path / "x-seed0.json")


def test_no_setting_of_a_method_is_named_like_one_of_a_protocol() -> None:
    for method in METHODS.values():
        if method.recipe is None or method.recipe.presets:
            continue
        own = set(method.recipe.resolve("none", {}).to_dict())
        for protocol in ("paper", "stream", "adapted"):
            assert not own & set(protocol_facts(protocol, method, StreamSettings())), method.name


def test_a_cell_from_before_there_was_a_setting_is_no_variant() -> None:
    older = cell("disc-plus", 0, 0.5)
    (row,) = rows([older.model_copy(update={"config": {"moves": PlusConfig().moves}})])
    assert row.variant == ""
    (row,) = rows([older.model_copy(update={"config": {"moves": 0}})])
    assert row.variant == "moves=0"
