"""Figures: drawn from real runs, the same bytes twice, no text over other text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from disc_stream.benchmarks.cells import Cell
from disc_stream.data.synthetic import LABEL_NAMES, synthetic_recordings
from disc_stream.data.types import Split
from disc_stream.data.windows import plan_windows, split_recordings
from disc_stream.errors import ConfigError, DataError, InputNotFoundError, TrainingError
from disc_stream.plots.confusion import draw_confusion
from disc_stream.plots.embedding import draw_embedding
from disc_stream.plots.style import save
from disc_stream.plots.table import draw_table
from disc_stream.plots.training import draw_training
from disc_stream.training.evidence import Evidence, load_evidence
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.session import TrainingRequest, train_run
from tests.support.commandline import CommandLine, Done


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny run of DISC and one of disc-plus on synthetic wearables."""
    recordings = synthetic_recordings(4, 40.0, 0)
    parts = split_recordings(recordings, plan_windows(recordings[0].fs, 2.56, 0.5), [recordings[0].subject])
    split = Split(*parts, n_clusters=4)
    settings: dict[str, Mapping[str, Any]] = {
        "disc": {"epochs": 2, "refine_epochs": 2, "hidden": 6, "embedding": 4, "decoder_hidden": 6},
        "disc-plus": {"restarts": 2, "moves": 5},
    }
    folder = tmp_path_factory.mktemp("runs")
    for method, chosen in settings.items():
        train_run(split, TrainingRequest("synthetic", folder / method, method=method, settings=chosen))
    return {method: folder / method for method in settings}


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def cells() -> list[Cell]:
    def cell(method: str, seed: int, dataset: str, nmi: float) -> Cell:
        config = PlusConfig().to_dict() if method == "disc-plus" else {}
        scores = {"test": {"nmi": nmi, "acc": nmi, "ari": nmi, "ami": nmi}}
        return Cell(
            dataset=dataset, protocol="paper", method=method, preset="none", seed=seed, config=config,
            config_hash=method, fingerprint="f", split="s", n_clusters=6, scores=scores, epochs={},
            seconds=1.0, hardware="h", software={}, date="2026-11-24",
        )  # fmt: skip

    several = [
        cell(m, s, "uci-har", 0.4 + s / 20) for m in ("kmeans", "ac-complete", "disc-plus") for s in (0, 1)
    ]
    return [*several, cell("disc-plus", 0, "elsewhere", 0.9)]


def every_figure(runs: dict[str, Path]) -> dict[str, Figure]:
    disc, plus = load_evidence(runs["disc"]), load_evidence(runs["disc-plus"])
    return {
        "embedding": draw_embedding(disc, "a run"),
        "embedding of one stage": draw_embedding(plus, "a run"),
        "confusion": draw_confusion(disc, "a run"),
        "training": draw_training({"one": history(runs["disc"])}),
        "several trainings": draw_training({"one": history(runs["disc"]), "another": history(runs["disc"])}),
        "candidates": draw_training({"plus": history(runs["disc-plus"])}),
        "table": draw_table(cells()),
    }


@pytest.fixture(scope="module")
def figures(runs: dict[str, Path]) -> dict[str, Figure]:
    """Every figure, to look at; most of their time is that of t-SNE."""
    return every_figure(runs)


def shown_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Texts with their boxes; ticks beyond the ends of an axis have a place but are not drawn."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
    return [(text, box) for text, box in boxes if box.overlaps(figure.bbox)]


def test_no_figure_has_text_over_text_or_outside(figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        texts = shown_texts(figure)
        assert len(texts) > 5
        for number, (text, box) in enumerate(texts):
            assert figure.bbox.padded(1.0).containsx(box.x0), (name, text)
            assert figure.bbox.padded(1.0).containsx(box.x1), (name, text)
            over = [other for other, place in texts[number + 1 :] if place.padded(-1.0).overlaps(box)]
            assert over == [], (name, text)


def test_the_same_content_gives_the_same_bytes(runs: dict[str, Path], tmp_path: Path) -> None:
    first, second = every_figure(runs), every_figure(runs)
    starts = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml"}
    for number, name in enumerate(first):
        for kind, start in list(starts.items())[number % 2 :]:  # a PNG takes ten times as long as an SVG
            paths = [tmp_path / f"{number}-{turn}.{kind}" for turn in (0, 1)]
            save(first[name], paths[0])
            save(second[name], paths[1])
            assert paths[0].read_bytes().startswith(start)
            assert paths[0].read_bytes() == paths[1].read_bytes(), name


def test_the_evidence_is_what_the_run_ended_with(runs: dict[str, Path]) -> None:
    evidence = load_evidence(runs["disc"])
    assert list(evidence.stages) == ["initial", "pretrained", "refining", "final"]
    assert len({z.shape for z in evidence.stages.values()}) == 1
    assert not np.allclose(evidence.stages["initial"], evidence.stages["pretrained"])
    assert not np.allclose(evidence.stages["refining"], evidence.stages["final"])
    assert tuple(evidence.label_names) == tuple(LABEL_NAMES)
    metrics = json.loads((runs["disc"] / "run.json").read_text())["metrics"]["refined"]["test"]
    title = draw_confusion(evidence, "t").axes[0].get_title()
    assert f"ACC {100 * metrics['acc']:.1f} %, NMI {100 * metrics['nmi']:.1f} %" in title
    assert list(load_evidence(runs["disc-plus"]).stages) == ["final"]


def test_every_kind_has_its_own_marker_and_colour(figures: dict[str, Figure]) -> None:
    legend = figures["embedding"].legends[0]
    looks = [(h.get_marker(), h.get_markeredgecolor()) for h in legend.legend_handles]  # type: ignore[union-attr]
    assert len(looks) == len({marker for marker, _ in looks}) > 2


def test_what_cannot_be_drawn_is_said(runs: dict[str, Path], tmp_path: Path) -> None:
    nothing = np.zeros(0, dtype=np.int64)
    evidence = load_evidence(runs["disc"])
    unlabelled = Evidence(
        evidence.stages, np.full(len(evidence.activities), -1), evidence.clusters,
        {"test": (nothing, nothing)}, (),
    )  # fmt: skip
    with pytest.raises(DataError, match="the test part has no labels to compare with"):
        draw_confusion(unlabelled, "t")
    names = [text.get_text() for text in draw_embedding(unlabelled, "t").legends[0].get_texts()]
    assert names
    assert all(name.startswith("cluster ") for name in names)
    with pytest.raises(DataError, match="no epochs"):
        draw_training({"a": history(runs["disc"]), "b": history(runs["disc-plus"])})
    with pytest.raises(DataError, match="there are no cells of the protocol 'stream'"):
        draw_table(cells(), "stream")
    with pytest.raises(ConfigError, match=r"a figure cannot be written as 'x\.pdf'\. Use a name in"):
        save(draw_table(cells()), tmp_path / "x.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="the figure cannot be written"):
        save(draw_table(cells()), tmp_path / "file" / "x.png")
    with pytest.raises(InputNotFoundError, match="does not exist"):
        load_evidence(tmp_path / "none")
    (runs["disc"] / "evidence.safetensors").rename(tmp_path / "kept")
    try:
        with pytest.raises(
            TrainingError, match=r"has no evidence\.safetensors: it comes from an older version"
        ):
            load_evidence(runs["disc"])
    finally:
        (tmp_path / "kept").rename(runs["disc"] / "evidence.safetensors")


def test_the_commands_write_files_and_say_so(
    runs: dict[str, Path], command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def plot(*arguments: str) -> Done:
        return command_line("plot", *arguments)

    for kind in ("embedding", "confusion", "training"):
        done = plot(kind, str(runs["disc"]), "--out", f"{kind}.svg", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["bytes"] == (tmp_path / f"{kind}.svg").stat().st_size
    done = plot("confusion", "nothing", "--out", "x.png")
    assert (done.returncode, done.stderr) == (
        2,
        "error: run folder 'nothing' does not exist. Check the path\n",
    )
    assert plot("embedding", str(runs["disc"]), "--out", "x.gif").returncode == 2
    assert plot("table1", "--out", "x.png").returncode == 2
