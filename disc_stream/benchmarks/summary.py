"""Cells of several seeds as rows: mean, deviation, and the paper's figure beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from disc_stream.benchmarks.cells import NO_PRESET, Cell
from disc_stream.benchmarks.paper import REFERENCE_ONLY, Figures, paper_figures
from disc_stream.training.methods import METHODS

METRICS = ("nmi", "acc", "ari", "ami")


@dataclass(frozen=True, slots=True)
class Row:
    """All seeds of one method with one configuration on one dataset under one protocol.

    Args:
        cells: sorted by seed.
        paper: what Table I says, or None.
    """

    cells: tuple[Cell, ...]
    paper: Figures | None

    @property
    def first(self) -> Cell:
        """Any of the cells, for what they have in common."""
        return self.cells[0]

    @property
    def variant(self) -> str:
        """What an ablation changes of a method that has no presets; empty for the method as it is."""
        recipe = METHODS[self.first.method].recipe
        if recipe is None or recipe.presets:
            return ""
        usual, config = _flat(recipe.resolve(NO_PRESET, {}).to_dict()), _flat(self.first.config)
        # A cell from before there was a setting was computed as it is by default.
        changed = [name for name in usual if config.get(name, usual[name]) != usual[name]]
        return ", ".join(f"{name}={config[name]}" for name in changed)

    @property
    def title(self) -> str:
        """As the table names it."""
        return METHODS[self.first.method].title + (f", {self.variant}" if self.variant else "")

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the scored parts."""
        return tuple(self.first.scores)

    def values(self, part: str, metric: str) -> list[float]:
        """In percent, by seed."""
        return [100.0 * cell.scores[part][metric] for cell in self.cells]

    def mean(self, part: str, metric: str) -> float:
        """In percent."""
        return float(np.mean(self.values(part, metric)))

    def deviation(self, part: str, metric: str) -> float | None:
        """Standard deviation over seeds (of a sample), in percent points; None for one seed."""
        values = self.values(part, metric)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def paper_value(self, part: str, metric: str) -> float | None:
        """Table I's figure for this part and metric, if it has one."""
        return getattr(self.paper, f"{part}_{metric}", None) if self.paper else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it, in percent."""
        scores: dict[str, Any] = {}
        for part in self.parts:
            scores[part] = {}
            for metric in METRICS:
                paper = self.paper_value(part, metric)
                mean = self.mean(part, metric)
                scores[part][metric] = {
                    "mean": round(mean, 2),
                    "sd": None if (sd := self.deviation(part, metric)) is None else round(sd, 2),
                    "paper": paper,
                    "difference": None if paper is None else round(mean - paper, 2),
                }
        first = self.first
        return {
            "dataset": first.dataset, "protocol": first.protocol, "method": first.method,
            "title": self.title, "preset": first.preset,
            "config_hash": first.config_hash, "seeds": [cell.seed for cell in self.cells],
            "epochs": first.epochs, "seconds": round(float(np.mean([c.seconds for c in self.cells])), 1),
            "paper_is_of": REFERENCE_ONLY.get(first.dataset, first.dataset) if self.paper else None,
            "scores": scores,
        }  # fmt: skip


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Also the settings inside settings, by their own names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat.update(value if isinstance(value, Mapping) else {name: value})
    return flat


def rows(cells: Iterable[Cell]) -> list[Row]:
    """Rows in the order of Table I; cells of methods that are no longer known are left out."""
    groups: dict[tuple[str, str, str, str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.method in METHODS:
            key = (cell.dataset, cell.protocol, cell.method, cell.preset, cell.config_hash)
            groups[key].append(cell)
    order = list(METHODS)

    def place(key: Sequence[str]) -> tuple[Any, ...]:
        dataset, protocol, method, preset, digest = key
        return (dataset, protocol, order.index(method), preset, digest)

    found = [
        Row(tuple(sorted(groups[key], key=lambda c: c.seed)), paper_figures(key[0], key[2]))
        for key in sorted(groups, key=place)
    ]
    return [row for row in found if not row.variant] + [row for row in found if row.variant]
